//! Makes the text of `--help` from the descriptions of commands and options.

use super::options::{Command, HELP, Opt, Takes};

/// The longest line, in columns.
const WIDTH: usize = 90;
/// The column at which the text of an option begins.
const INDENT: usize = 26;

/// The list of all commands.
pub(super) fn of_all(commands: &[&Command]) -> String {
    let mut text =
        "moonwire: WebSockets, event streams and Luau scripts, without an async runtime\n\n\
                    Usage:\n"
            .to_owned();
    let widest = commands.iter().flat_map(|c| c.usage).map(|u| u.len()).max().unwrap_or(0);
    for command in commands {
        for (i, usage) in command.usage.iter().enumerate() {
            let summary = if i == 0 { command.summary } else { "" };
            let line = format!("  moonwire {usage:widest$}   {summary}");
            text += line.trim_end();
            text += "\n";
        }
    }
    text += "  moonwire --version | --help\n\n\
             `moonwire COMMAND --help` lists its options; `moonwire man COMMAND` is its manual page.\n";
    text
}

/// The help of one command, with its options.
pub(super) fn of(command: &Command) -> String {
    let mut text = String::new();
    for (i, usage) in command.usage.iter().enumerate() {
        text += if i == 0 { "Usage: moonwire " } else { "       moonwire " };
        text += usage;
        text += "\n";
    }
    text += "\n";
    paragraphs(&mut text, command.about);
    for group in command.groups {
        if !group.title.is_empty() {
            text += &format!("{}:\n", group.title);
        }
        for option in group.options {
            entry(&mut text, option);
        }
        text += "\n";
    }
    if command.groups.is_empty() {
        text += "Options:\n";
    } else {
        text.pop();
    }
    entry(&mut text, &HELP);
    if !command.notes.is_empty() {
        text += "\n";
        paragraphs(&mut text, command.notes);
        text.pop();
    }
    text
}

fn paragraphs(text: &mut String, all: &str) {
    for paragraph in all.split("\n\n").filter(|p| !p.is_empty()) {
        for line in wrapped(paragraph, WIDTH) {
            *text += &line;
            *text += "\n";
        }
        *text += "\n";
    }
}

/// The names and the value of an option: `-H, --header 'NAME: VALUE'`.
pub(super) fn label(option: &Opt) -> String {
    let (long, short) = (option.names[0], &option.names[1..]);
    let mut text: String = short.iter().map(|name| format!("{name}, ")).collect();
    text += long;
    match option.takes {
        Takes::Nothing => {}
        Takes::Value(what, _) => text += &format!(" {what}"),
        Takes::Perhaps(what, _) => text += &format!("[={what}]"),
    }
    text
}

fn entry(text: &mut String, option: &Opt) {
    let label = format!("  {}", label(option));
    let mut lines = wrapped(option.text, WIDTH - INDENT).into_iter();
    if label.len() + 2 > INDENT {
        *text += &label;
        *text += "\n";
    } else if let Some(line) = lines.next() {
        *text += &format!("{label:INDENT$}{line}\n");
    }
    for line in lines {
        *text += &format!("{:INDENT$}{line}\n", "");
    }
}

/// Wraps a text into lines of at most `width` columns.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let room = lines.last().map_or(0, |line| line.chars().count());
        if room > 0 && room + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
