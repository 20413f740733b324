//! What a client's behaviour is called.

use std::process::ExitStatus;

use crate::play::Seen;
use crate::script::{Case, Step, collapse, shown};

/// What a client reported.
pub struct Reported {
    opened: bool,
    /// Texts and binaries, as the cases name them.
    messages: Vec<String>,
    end: End,
    crash: Option<String>,
}

enum End {
    /// With this code.
    Close(u16),
    Error(String),
    /// Without a word.
    Silent,
}

impl Reported {
    /// Out of the lines that it printed; `None` for a process that had to be ended.
    pub fn read(text: &str, status: Option<ExitStatus>, errors: &str) -> Reported {
        let (mut opened, mut messages, mut end) = (false, Vec::new(), End::Silent);
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "opened" => opened = true,
                "text" | "binary" => messages.push(format!("{word} {}", payload(rest))),
                "close" => end = End::Close(rest.parse().expect("a code")),
                "error" => {
                    end = End::Error(rest.chars().take(100).collect());
                }
                "end" => {}
                _ => panic!("{line}?"),
            }
        }
        let crash = status.filter(|s| !s.success()).map(|status| {
            // What Rust says of a panic is in the line behind its place.
            let mut lines = errors.lines().filter(|l| !l.trim().is_empty());
            let panic = lines.find(|l| l.contains("panicked at")).and(lines.next());
            let last = panic.or(errors.lines().next_back()).unwrap_or_default();
            format!("{status}: {}", last.chars().take(200).collect::<String>())
        });
        Reported { opened, messages: collapse(messages), end, crash }
    }

    /// In one line, with what the server saw.
    pub fn shown(&self, seen: &Seen) -> String {
        let mut all = vec![if self.opened { "opened" } else { "not opened" }.to_owned()];
        all.extend(self.messages.iter().cloned());
        all.push(match (&self.crash, &self.end) {
            (Some(crash), _) => crash.clone(),
            (None, End::Close(code)) => format!("close {code}"),
            (None, End::Error(text)) => format!("error: {text}"),
            (None, End::Silent) => "no word".to_owned(),
        });
        let all = all.join("; ");
        let late = if seen.late > 0 { format!(" and {} bytes", seen.late) } else { String::new() };
        let hung = if seen.closed { "" } else { ", did not close" };
        let wrong = seen.wrong.as_ref().map_or(String::new(), |w| format!(", sent {w}"));
        format!("{all} | {}{late}{wrong}{hung}", seen.wire())
    }
}

/// `2 6869` as the cases write it.
fn payload(text: &str) -> String {
    let (len, hex) = text.split_once(' ').unwrap_or((text, ""));
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex"))
        .collect();
    if bytes.len().to_string() == len { shown(&bytes) } else { format!("{len} bytes") }
}

/// `strict` is what the case wants. `accepts`: it went on, or reported what it must not.
/// `refuses`: it failed where it must not. `code N`, `no code`: it failed, with another close code
/// on the wire or none. `hangs`: it waits, though it could know. `crash`: it came down.
pub fn judge(case: &Case, seen: &Seen, reported: &Reported) -> String {
    let (end, _) = case.end().split_once(' ').unwrap_or((case.end(), ""));
    let is_message = |w: &&String| w.starts_with("text ") || w.starts_with("binary ");
    let wanted: Vec<&String> = case.want.iter().filter(is_message).collect();
    let all_reported = reported.messages.iter().eq(wanted.iter().copied());
    let too_much = !wanted
        .iter()
        .map(|w| w.as_str())
        .collect::<Vec<_>>()
        .starts_with(&reported.messages.iter().map(String::as_str).collect::<Vec<_>>());
    let floods = case.steps.iter().any(|s| matches!(s, Step::Flood(_)));
    let hangs = || if floods { "accepts" } else { "hangs" }.to_owned();
    let code = seen.close.as_ref();
    let wrong_code = || code.map_or("no code".to_owned(), |c| format!("code {c}"));
    // The close frame is the last of the frames that are wanted.
    let wire = case.wire.as_deref().and_then(|w| w.rsplit(", ").next());
    let right_code = code.map(String::as_str) == wire.filter(|w| *w != "none" && *w != "pongs");
    match end {
        _ if reported.crash.is_some() => "crash".into(),
        "refused" if reported.opened => "accepts".into(),
        "refused" if !seen.closed => hangs(),
        "refused" if code.is_some() => wrong_code(),
        "refused" => "strict".into(),
        _ if !reported.opened => "refuses".into(),
        "failed" if too_much => "accepts".into(),
        "failed" if right_code => "strict".into(),
        "failed" if matches!(reported.end, End::Close(1000..=1005 | 1007..)) => "accepts".into(),
        "failed" if !seen.closed => hangs(),
        "failed" => wrong_code(),
        "lost" if too_much => "accepts".into(),
        "lost" if !seen.closed => hangs(),
        "lost" if matches!(reported.end, End::Close(1000..=1005 | 1007..)) => "accepts".into(),
        "lost" if !all_reported => "refuses".into(),
        "lost" if code.is_some() => wrong_code(),
        "lost" => "strict".into(),
        "clean" if too_much || seen.late > 0 => "accepts".into(),
        "clean" if !all_reported => "refuses".into(),
        "clean" if !seen.closed => hangs(),
        "clean" if right_code => "strict".into(),
        "clean" => wrong_code(),
        other => panic!("{}: {other}?", case.id),
    }
}

/// A string of JSON.
pub fn json(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() || !c.is_ascii() => {
                let mut pair = [0; 2];
                for unit in c.encode_utf16(&mut pair) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out + "\""
}
