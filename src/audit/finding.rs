//! The findings of an audit.

use std::fmt;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server keeps the rule.
    Ok,
    /// The server breaks the rule.
    Fault,
    /// The rule leaves the server a choice; the finding states which it made.
    Notice,
    /// The check could not be made.
    Skipped,
}

impl Verdict {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Fault => "fault",
            Verdict::Notice => "notice",
            Verdict::Skipped => "skipped",
        }
    }
}

/// The kind of input that a check sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Input that any client may send.
    Legit,
    /// Input that no client may send: for loopback addresses only.
    Hostile,
}

impl Kind {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Legit => "legit",
            Kind::Hostile => "hostile",
        }
    }
}

/// The description of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Its unique name.
    pub name: &'static str,
    /// The section of the rule, with its RFC.
    pub section: &'static str,
    /// The kind of input it sends.
    pub kind: Kind,
    /// The property that it shows if its verdict is ok.
    pub proves: &'static str,
}

/// A check and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check.
    pub about: About,
    /// The result.
    pub verdict: Verdict,
    /// What was seen, as text; bytes of the server are escaped.
    pub seen: String,
}

/// One line: the verdict, the section, the check, and what was seen.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { about: About { name, section, .. }, verdict, seen } = self;
        let section = Finding::short(section);
        write!(f, "{:<7}  {section:<17}  {name:<27}  {seen}", verdict.name())
    }
}

impl Finding {
    /// The finding as an object of JSON (RFC 8259), on one line.
    pub fn to_json(&self) -> String {
        let more = [("verdict", self.verdict.name()), ("seen", &self.seen)];
        object(self.about.fields().into_iter().chain(more))
    }

    /// A section as a line shows it: one of RFC 6455 without the RFC's number.
    pub fn short(section: &str) -> &str {
        section.strip_prefix("RFC 6455 ").unwrap_or(section)
    }
}

impl About {
    /// The description alone, in the form of [`Finding::to_json`].
    pub fn to_json(&self) -> String {
        object(self.fields().into_iter())
    }

    fn fields(&self) -> [(&'static str, &'static str); 4] {
        let About { name, section, kind, proves } = *self;
        [("check", name), ("section", section), ("kind", kind.name()), ("proves", proves)]
    }
}

fn object<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let fields = fields.map(|(name, value)| format!("\"{name}\":{}", quoted(value)));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// A string of JSON. Written here, so that an audit does not need feature `json`.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\n' => out += "\\n",
            c if c.is_control() => out += &format!("\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out + "\""
}

/// How many findings there were of each verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Of [`Verdict::Ok`].
    pub ok: usize,
    /// Of [`Verdict::Fault`].
    pub faults: usize,
    /// Of [`Verdict::Notice`].
    pub notices: usize,
    /// Of [`Verdict::Skipped`].
    pub skipped: usize,
}

impl Summary {
    pub(super) fn count(&mut self, verdict: Verdict) {
        *match verdict {
            Verdict::Ok => &mut self.ok,
            Verdict::Fault => &mut self.faults,
            Verdict::Notice => &mut self.notices,
            Verdict::Skipped => &mut self.skipped,
        } += 1;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { ok, faults, notices, skipped } = self;
        let s = |n: &usize| if *n == 1 { "" } else { "s" };
        write!(f, "{ok} ok, {faults} fault{}, {notices} notice{}", s(faults), s(notices))?;
        write!(f, ", {skipped} skipped")
    }
}

/// Why an audit has ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The options are not allowed: an unknown name, or hostile input to another machine.
    Usage(String),
    /// No WebSocket could be opened.
    Connect(String),
    /// [`Options::until`](super::Options::until) has passed.
    Timeout,
}

/// A verdict without its check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) seen: String,
}

pub(super) fn ok(seen: impl Into<String>) -> Judged {
    Judged { verdict: Verdict::Ok, seen: seen.into() }
}

pub(super) fn fault(seen: impl Into<String>) -> Judged {
    Judged { verdict: Verdict::Fault, seen: seen.into() }
}

pub(super) fn notice(seen: impl Into<String>) -> Judged {
    Judged { verdict: Verdict::Notice, seen: seen.into() }
}

pub(super) fn skipped(seen: impl Into<String>) -> Judged {
    Judged { verdict: Verdict::Skipped, seen: seen.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: About = About {
        name: "ping-empty",
        section: "RFC 6455 §5.5.2",
        kind: Kind::Legit,
        proves: "a \"ping\" is answered",
    };

    #[test]
    fn a_finding_is_one_line_of_text_or_json() {
        let seen = "close 1000 \"a\\b\"\n\u{1}ä".to_owned();
        let finding = Finding { about: ABOUT, verdict: Verdict::Fault, seen };
        let line = "fault    §5.5.2             ping-empty                   close 1000";
        assert!(finding.to_string().starts_with(line), "{finding}");
        assert_eq!(
            finding.to_json(),
            "{\"check\":\"ping-empty\",\"section\":\"RFC 6455 §5.5.2\",\"kind\":\"legit\",\
             \"proves\":\"a \\\"ping\\\" is answered\",\"verdict\":\"fault\",\
             \"seen\":\"close 1000 \\\"a\\\\b\\\"\\n\\u0001ä\"}"
        );
    }

    #[test]
    fn a_summary_counts() {
        let mut sum = Summary::default();
        for (verdict, times) in
            [(Verdict::Ok, 3), (Verdict::Fault, 1), (Verdict::Notice, 2), (Verdict::Skipped, 0)]
        {
            (0..times).for_each(|_| sum.count(verdict));
        }
        assert_eq!(sum.to_string(), "3 ok, 1 fault, 2 notices, 0 skipped");
    }
}
