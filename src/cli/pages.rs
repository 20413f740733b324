//! Makes completions for shells and manual pages from the descriptions that `--help` uses.

use std::fmt::Write as _;

use super::help;
use super::options::{Arg, ArgList, Command, Hint, Opt, Takes, shown};
use super::stdio::Failure;

pub(super) static COMPLETIONS: Command = Command {
    name: "completions",
    summary: "print completions for a shell",
    usage: &["completions bash|zsh|fish"],
    about: "Prints completions for a shell. Write them where the shell looks for them: \
            ~/.local/share/bash-completion/completions/moonwire for bash, a file _moonwire in a \
            folder of $fpath for zsh, ~/.config/fish/completions/moonwire.fish for fish.",
    groups: &[],
    notes: "",
    operand: Hint::OneOf(&["bash", "zsh", "fish"]),
};

pub(super) static MAN: Command = Command {
    name: "man",
    summary: "print a manual page",
    usage: &["man [COMMAND]"],
    about: "Prints the manual page moonwire(1), or that of a command, for `man -l -`.",
    groups: &[],
    notes: "",
    operand: Hint::Nothing,
};

/// `moonwire completions`; `None` if the arguments ask for help.
pub(super) fn completions(mut list: ArgList, all: &[&Command]) -> Result<Option<String>, Failure> {
    let text = match list.next()? {
        Arg::Option(_) => return Ok(None),
        Arg::End => {
            return Err(Failure::usage("which shell: moonwire completions bash, zsh or fish"));
        }
        Arg::Plain(shell) => match shell.to_str() {
            Some("bash") => bash(all),
            Some("zsh") => zsh(all),
            Some("fish") => fish(all),
            _ => {
                let text =
                    format!("there are completions for bash, zsh and fish, not {}", shown(&shell));
                return Err(Failure::usage(text));
            }
        },
    };
    last(list)?;
    Ok(Some(text))
}

/// `moonwire man`; `None` if the arguments ask for help.
pub(super) fn manual(mut list: ArgList, all: &[&Command]) -> Result<Option<String>, Failure> {
    let text = match list.next()? {
        Arg::Option(_) => return Ok(None),
        Arg::End => page_of_all(all),
        Arg::Plain(name) => match all.iter().find(|c| name == c.name) {
            Some(command) => page(command),
            None => return Err(Failure::usage(format!("there is no command {}", shown(&name)))),
        },
    };
    last(list)?;
    Ok(Some(text))
}

fn last(mut list: ArgList) -> Result<(), Failure> {
    match list.next()? {
        Arg::End => Ok(()),
        Arg::Option(given) => {
            Err(Failure::usage(format!("{} has to be the only argument", given.name)))
        }
        Arg::Plain(arg) => Err(Failure::usage(format!("{} is one argument too many", shown(&arg)))),
    }
}

/// Quotes a text with single quotes, for bash, zsh and fish.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The option's text up to the first comma, colon, semicolon or bracket, as a brief description.
fn brief(option: &Opt) -> &str {
    let end = option.text.find([',', ';', ':', '(', '.']).unwrap_or(option.text.len());
    option.text[..end].trim_end()
}

fn names(command: &Command) -> String {
    let all: Vec<&str> = command.options().flat_map(|o| o.names).copied().collect();
    all.join(" ")
}

/// The options that take a value, with its kind.
fn hints(command: &Command) -> impl Iterator<Item = (&'static Opt, Hint)> {
    command.options().filter_map(|option| match option.takes {
        Takes::Value(_, hint) | Takes::Perhaps(_, hint) => Some((option, hint)),
        Takes::Nothing => None,
    })
}

fn bash(all: &[&Command]) -> String {
    let mut text = String::from(
        "# moonwire for bash\n_moonwire() {\n    local cur=${COMP_WORDS[COMP_CWORD]} \
         prev=${COMP_WORDS[COMP_CWORD-1]}\n    COMPREPLY=()\n    if [ \"$COMP_CWORD\" = 1 ]; then\n",
    );
    let list: Vec<&str> = all.iter().map(|c| c.name).collect();
    let _ = writeln!(
        text,
        "        COMPREPLY=($(compgen -W {} -- \"$cur\"))\n        return\n    fi\n    case \
         ${{COMP_WORDS[1]}} in",
        quoted(&format!("{} help --help --version", list.join(" ")))
    );
    for command in all {
        let _ = writeln!(text, "    {})\n        case $prev in", command.name);
        for (option, hint) in hints(command).filter(|(o, _)| matches!(o.takes, Takes::Value(..))) {
            let action = match hint {
                Hint::File => "COMPREPLY=($(compgen -f -- \"$cur\"))".to_owned(),
                Hint::OneOf(list) => {
                    format!("COMPREPLY=($(compgen -W {} -- \"$cur\"))", quoted(&list.join(" ")))
                }
                Hint::Nothing => ":".to_owned(),
            };
            let _ = writeln!(text, "        {}) {action}; return ;;", option.names.join(" | "));
        }
        let operand = match command.operand {
            Hint::File => "COMPREPLY=($(compgen -f -- \"$cur\"))".to_owned(),
            Hint::OneOf(list) => {
                format!("COMPREPLY=($(compgen -W {} -- \"$cur\"))", quoted(&list.join(" ")))
            }
            Hint::Nothing => ":".to_owned(),
        };
        let _ = writeln!(
            text,
            "        esac\n        case $cur in\n        -*) COMPREPLY=($(compgen -W {} -- \"$cur\")) \
             ;;\n        *) {operand} ;;\n        esac\n        ;;",
            quoted(&names(command))
        );
    }
    text += "    esac\n}\ncomplete -o filenames -o bashdefault -F _moonwire moonwire\n";
    text
}

fn zsh(all: &[&Command]) -> String {
    let mut text =
        String::from("#compdef moonwire\n\n_moonwire() {\n    local -a commands\n    commands=(\n");
    for command in all {
        let _ =
            writeln!(text, "        {}", quoted(&format!("{}:{}", command.name, command.summary)));
    }
    text += "    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n        return\n    \
             fi\n    shift words\n    (( CURRENT-- ))\n    case $words[1] in\n";
    let action = |hint: Hint| match hint {
        Hint::File => "_files".to_owned(),
        Hint::OneOf(list) => format!("({})", list.join(" ")),
        Hint::Nothing => " ".to_owned(),
    };
    for command in all {
        let _ = writeln!(text, "    {})\n        _arguments \\", command.name);
        for option in command.options() {
            let brief = brief(option).replace(['[', ']'], "");
            for name in option.names {
                let spec = match option.takes {
                    Takes::Nothing => format!("{name}[{brief}]"),
                    Takes::Value(what, hint) => {
                        let what = what.replace(':', r"\:").replace('\'', "");
                        let glue = if name.starts_with("--") { "=" } else { "+" };
                        format!("*{name}{glue}[{brief}]:{what}:{}", action(hint))
                    }
                    Takes::Perhaps(what, hint) => {
                        format!("{name}=-[{brief}]::{what}:{}", action(hint))
                    }
                };
                let _ = writeln!(text, "            {} \\", quoted(&spec));
            }
        }
        let _ = writeln!(
            text,
            "            {}\n        ;;",
            quoted(&format!("*:operand:{}", action(command.operand)))
        );
    }
    text += "    esac\n}\n\n_moonwire \"$@\"\n";
    text
}

fn fish(all: &[&Command]) -> String {
    let mut text = String::from("# moonwire for fish\ncomplete -c moonwire -f\n");
    for command in all {
        let _ = writeln!(
            text,
            "complete -c moonwire -n __fish_use_subcommand -a {} -d {}",
            command.name,
            quoted(command.summary)
        );
        let seen =
            format!("-n {}", quoted(&format!("__fish_seen_subcommand_from {}", command.name)));
        for option in command.options() {
            let mut line = format!("complete -c moonwire {seen}");
            for name in option.names {
                match name.strip_prefix("--") {
                    Some(long) => line += &format!(" -l {long}"),
                    None => line += &format!(" -s {}", &name[1..]),
                }
            }
            match option.takes {
                Takes::Value(_, Hint::File) => line += " -r -F",
                Takes::Value(_, Hint::OneOf(list)) => {
                    line += &format!(" -x -a {}", quoted(&list.join(" ")));
                }
                Takes::Value(_, Hint::Nothing) => line += " -x",
                Takes::Perhaps(_, Hint::OneOf(list)) => {
                    line += &format!(" -a {}", quoted(&list.join(" ")));
                }
                Takes::Perhaps(..) | Takes::Nothing => {}
            }
            let _ = writeln!(text, "{line} -d {}", quoted(brief(option)));
        }
        match command.operand {
            Hint::File => {
                let _ = writeln!(text, "complete -c moonwire {seen} -F");
            }
            Hint::OneOf(list) => {
                let _ =
                    writeln!(text, "complete -c moonwire {seen} -a {}", quoted(&list.join(" ")));
            }
            Hint::Nothing => {}
        }
    }
    text
}

/// Escapes a text for roff, so that no part of it is a request of roff.
fn roff(text: &str) -> String {
    let text = text.replace('\\', r"\e").replace('-', r"\-");
    match text.starts_with(['.', '\'']) {
        true => format!(r"\&{text}"),
        false => text,
    }
}

fn title(name: &str) -> String {
    format!(".TH {} 1 \"\" \"moonwire {}\"\n", name.to_uppercase(), env!("CARGO_PKG_VERSION"))
}

fn page_of_all(all: &[&Command]) -> String {
    let mut text = title("moonwire");
    text += ".SH NAME\nmoonwire \\- WebSockets, event streams and Luau scripts, without an async runtime\n\
             .SH SYNOPSIS\n";
    for usage in all.iter().flat_map(|c| c.usage) {
        let _ = writeln!(text, ".B moonwire\n{}\n.br", roff(usage));
    }
    text += ".SH COMMANDS\n";
    for command in all {
        let _ = writeln!(text, ".TP\n.B {}\n{} (", roff(command.name), roff(command.summary));
        let _ = writeln!(text, ".BR moonwire\\-{} (1))", roff(command.name));
    }
    text
}

fn page(command: &Command) -> String {
    let mut text = title(&format!("moonwire-{}", command.name));
    let _ = writeln!(
        text,
        ".SH NAME\nmoonwire\\-{} \\- {}\n.SH SYNOPSIS",
        roff(command.name),
        roff(command.summary)
    );
    for usage in command.usage {
        let _ = writeln!(text, ".B moonwire\n{}\n.br", roff(usage));
    }
    text += ".SH DESCRIPTION\n";
    paragraphs(&mut text, command.about);
    for group in command.groups {
        let _ = writeln!(text, ".SH {}", roff(&group.title.to_uppercase()));
        for option in group.options {
            let _ = writeln!(text, ".TP\n.B {}\n{}", roff(&help::label(option)), roff(option.text));
        }
    }
    if !command.notes.is_empty() {
        text += ".SH NOTES\n";
        paragraphs(&mut text, command.notes);
    }
    text += ".SH SEE ALSO\n.BR moonwire (1)\n";
    text
}

fn paragraphs(text: &mut String, all: &str) {
    for paragraph in all.split("\n\n").filter(|p| !p.is_empty()) {
        let _ = writeln!(text, ".PP\n{}", roff(paragraph));
    }
}
