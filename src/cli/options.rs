//! The one description of commands and their options. The parser of arguments, `--help`,
//! completions and manual pages use it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::stdio::Failure;

/// A command: the first argument of `moonwire`.
pub(super) struct Command {
    pub(super) name: &'static str,
    /// A summary for the list of commands.
    pub(super) summary: &'static str,
    /// The arguments after `moonwire`, one text for each form.
    pub(super) usage: &'static [&'static str],
    /// Paragraphs before the options.
    pub(super) about: &'static str,
    pub(super) groups: &'static [&'static Group],
    /// Paragraphs behind the options.
    pub(super) notes: &'static str,
    /// The kind of its operands.
    pub(super) operand: Hint,
}

/// A group of options under one title.
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) options: &'static [Opt],
}

pub(super) struct Opt {
    /// The long name is first; the code compares with it.
    pub(super) names: &'static [&'static str],
    pub(super) takes: Takes,
    pub(super) text: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    /// The option needs a value: `--name VALUE` or `--name=VALUE`.
    Value(&'static str, Hint),
    /// The option may have a value: `--name` or `--name=VALUE`.
    Perhaps(&'static str, Hint),
}

/// The kind of a value, for completions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    Nothing,
    File,
    OneOf(&'static [&'static str]),
}

/// `--help`, which every command has.
pub(super) const HELP: Opt =
    Opt { names: &["--help", "-h"], takes: Takes::Nothing, text: "this text" };

impl Command {
    pub(super) fn options(&self) -> impl Iterator<Item = &'static Opt> {
        self.groups.iter().flat_map(|group| group.options).chain([&HELP])
    }

    fn option(&self, name: &str) -> Option<&'static Opt> {
        self.options().find(|option| option.names.contains(&name))
    }
}

/// The arguments after a command.
pub(super) struct ArgList {
    command: &'static Command,
    /// All commands; an error names one that has the unknown option.
    all: &'static [&'static Command],
    args: std::vec::IntoIter<OsString>,
    /// `--` was read: no further argument is an option.
    over: bool,
}

pub(super) enum Arg {
    Option(Given),
    /// Any other argument; also `-`, and each argument after `--`.
    Plain(OsString),
    End,
}

/// An option that the arguments contain.
pub(super) struct Given {
    /// The first of its names.
    pub(super) name: &'static str,
    value: Option<OsString>,
}

impl ArgList {
    pub(super) fn new(
        command: &'static Command,
        all: &'static [&'static Command],
        args: std::vec::IntoIter<OsString>,
    ) -> ArgList {
        ArgList { command, all, args, over: false }
    }

    pub(super) fn next(&mut self) -> Result<Arg, Failure> {
        let Some(arg) = self.args.next() else { return Ok(Arg::End) };
        let text = match arg.to_str() {
            Some("--") if !self.over => {
                self.over = true;
                return self.next();
            }
            Some(text) if !self.over && text.len() > 1 && text.starts_with('-') => text,
            _ => return Ok(Arg::Plain(arg)),
        };
        let (name, given) = match text.split_once('=') {
            Some((name, value)) if text.starts_with("--") => (name, Some(OsString::from(value))),
            _ if text.starts_with("--") => (text, None),
            // `-xTEXT`
            _ => match text.char_indices().nth(2) {
                Some((at, _)) => (&text[..at], Some(OsString::from(&text[at..]))),
                None => (text, None),
            },
        };
        let Some(option) = self.command.option(name) else {
            return Err(self.unknown(name));
        };
        let value = match option.takes {
            Takes::Nothing if given.is_some() => {
                return Err(Failure::usage(format!("{name} takes no value")));
            }
            Takes::Nothing => None,
            Takes::Perhaps(..) => given,
            Takes::Value(..) => {
                let value = given.or_else(|| self.args.next());
                Some(value.ok_or_else(|| Failure::usage(format!("{name} needs a value")))?)
            }
        };
        Ok(Arg::Option(Given { name: option.names[0], value }))
    }

    /// Parses all arguments of a command that takes one URL, and returns the URL; `take` gets
    /// each option. Returns `None` if they ask for help. `send` names the option that sends
    /// text, for the error about a second argument that is no option.
    pub(super) fn one_url(
        mut self,
        send: &str,
        mut take: impl FnMut(Given) -> Result<(), Failure>,
    ) -> Result<Option<String>, Failure> {
        let (name, mut url) = (self.command.name, None);
        loop {
            match self.next()? {
                Arg::End => break,
                Arg::Plain(arg) if url.is_none() => {
                    let text = arg.into_string();
                    url = Some(
                        text.map_err(|w| Failure::usage(format!("not a URL: {}", shown(&w))))?,
                    );
                }
                Arg::Plain(arg) => {
                    let text = format!("{name} takes one URL; {} is one too many", shown(&arg));
                    return Err(Failure::usage(format!("{text} (to send it: {send})")));
                }
                Arg::Option(given) if given.name == HELP.names[0] => return Ok(None),
                Arg::Option(given) => take(given)?,
            }
        }
        let missing = || Failure::usage(format!("the URL is missing; see moonwire {name} --help"));
        url.ok_or_else(missing).map(Some)
    }

    /// Returns all remaining arguments, options or not.
    pub(super) fn rest(self) -> Vec<OsString> {
        self.args.collect()
    }

    fn unknown(&self, name: &str) -> Failure {
        let own = self.command.name;
        let names = self.command.options().flat_map(|option| option.names).copied();
        let hint = if let Some(near) = nearest(name, names) {
            format!(" (did you mean {near}?)")
        } else if let Some(other) = self.all.iter().find(|c| c.option(name).is_some()) {
            format!(" (moonwire {} has one)", other.name)
        } else {
            String::new()
        };
        Failure::usage(format!("there is no option {name}{hint}; see moonwire {own} --help"))
    }
}

/// The name that differs from `name` in so few letters that the user probably meant it.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (name.trim_start_matches('-').chars().count() / 3).min(2);
    names
        .filter(|other| other.starts_with("--") == name.starts_with("--"))
        .map(|other| (distance(name, other), other))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// How many letters have to be added, removed or changed (Levenshtein distance).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut before = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in b.iter().enumerate() {
            let change = before + usize::from(a != *b);
            before = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(before + 1);
        }
    }
    row[b.len()]
}

impl Given {
    /// The value of an option that may have none.
    pub(super) fn given(self) -> Option<OsString> {
        self.value
    }

    pub(super) fn raw(self) -> OsString {
        self.value.unwrap_or_default()
    }

    pub(super) fn path(self) -> PathBuf {
        self.raw().into()
    }

    pub(super) fn text(self) -> Result<String, Failure> {
        let name = self.name;
        self.raw().into_string().map_err(|v| Failure::usage(format!("{name}: {}", shown(&v))))
    }

    /// Parses the value; the error contains the text of the type's error.
    pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(self) -> Result<T, Failure> {
        let name = self.name;
        self.text()?.parse().map_err(|e| Failure::usage(format!("{name}: {e}")))
    }

    pub(super) fn count(self) -> Result<usize, Failure> {
        let (name, text) = (self.name, self.text()?);
        let count = text.parse().ok().filter(|n| *n > 0);
        count.ok_or_else(|| {
            Failure::usage(format!("{name}: \"{text}\" is not a whole number above 0"))
        })
    }

    pub(super) fn bytes(self) -> Result<usize, Failure> {
        let (name, text) = (self.name, self.text()?);
        let (digits, unit) = match text.to_ascii_uppercase().as_bytes() {
            [.., b'K'] => (&text[..text.len() - 1], 1 << 10),
            [.., b'M'] => (&text[..text.len() - 1], 1 << 20),
            [.., b'G'] => (&text[..text.len() - 1], 1 << 30),
            _ => (&*text, 1),
        };
        let count = digits.parse().ok().filter(|n: &usize| *n > 0 && !digits.starts_with('+'));
        count.and_then(|n| n.checked_mul(unit)).ok_or_else(|| {
            let what = "a number of bytes above 0, or one of KiB, MiB, GiB with K, M, G behind it";
            Failure::usage(format!("{name}: \"{text}\" is not {what}"))
        })
    }

    pub(super) fn seconds(self) -> Result<Duration, Failure> {
        self.seconds_where(|s| s > 0.0, "a number of seconds above 0")
    }

    /// As [`Given::seconds`]; 0 is allowed.
    pub(super) fn seconds_or_none(self) -> Result<Duration, Failure> {
        self.seconds_where(|s| s >= 0.0, "a number of seconds")
    }

    fn seconds_where(self, fits: fn(f64) -> bool, what: &str) -> Result<Duration, Failure> {
        let (name, text) = (self.name, self.text()?);
        let seconds = text.parse().ok().filter(|s: &f64| fits(*s));
        let time = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
        time.ok_or_else(|| Failure::usage(format!("{name}: \"{text}\" is not {what}")))
    }
}

pub(super) fn shown(arg: &OsString) -> String {
    format!("{arg:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nearly_a_name_is_recognized() {
        let names = ["--trace", "--timeout", "--tls-min", "-x"];
        for (name, near) in [
            ("--trce", Some("--trace")),
            ("--time-out", Some("--timeout")),
            ("--tlsmin", Some("--tls-min")),
            ("--ca", None),
            ("-y", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, names.iter().copied()), near, "{name}");
        }
    }

    #[test]
    fn distance_counts_letters() {
        for (a, b, count) in
            [("", "", 0), ("a", "", 1), ("abc", "abd", 1), ("ab", "ba", 2), ("aé", "é", 1)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (count, count), "{a} {b}");
        }
    }
}
