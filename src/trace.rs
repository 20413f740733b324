//! What goes on, as readable lines: every frame and every change of state.

use std::io::Write;
use std::time::Instant;

use crate::proto::secret::{SECRET, shown_value};
use crate::proto::{Direction, Note, escape, is_token};

/// Something to look at, of one connection.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Trace<'a> {
    /// A change of state, in words.
    State(&'a str),
    /// A head or a frame.
    Note(&'a Note),
}

/// Is told everything. It runs inside the reactor: it has to be quick, and it must not call the
/// reactor.
pub trait Observer: Send {
    /// Something happened on connection number `connection`.
    fn observe(&mut self, now: Instant, connection: u64, trace: Trace<'_>);
}

/// An observer that writes one line each: seconds since its start, connection, direction, what.
///
/// Values of fields that say who somebody is (`Authorization`, `Cookie`, and what ends in `-key`,
/// `-token` or `-secret`) are masked, and the queries and fragments of URLs.
#[derive(Debug)]
pub struct Lines<W> {
    to: W,
    start: Instant,
}

impl<W: Write> Lines<W> {
    /// Lines to `to`; errors of the writer are ignored, since nobody could be told.
    pub fn new(to: W) -> Lines<W> {
        Lines { to, start: Instant::now() }
    }
}

impl<W: Write + Send> Observer for Lines<W> {
    fn observe(&mut self, now: Instant, connection: u64, trace: Trace<'_>) {
        let time = now.saturating_duration_since(self.start).as_secs_f64();
        let text = match trace {
            Trace::State(state) => format!("-- {state}"),
            Trace::Note(note) => line(note),
        };
        let _ = writeln!(self.to, "{time:10.6} #{connection} {text}");
    }
}

/// A note as one line.
fn line(note: &Note) -> String {
    let arrow = |direction: &Direction| if *direction == Direction::In { "<-" } else { "->" };
    match note {
        Note::Head { direction, bytes } => {
            let fields: Vec<String> = bytes
                .split(|&b| b == b'\n')
                .filter_map(|l| l.strip_suffix(b"\r"))
                .filter(|l| !l.is_empty())
                .map(masked)
                .collect();
            format!("{} head {}", arrow(direction), fields.join(" | "))
        }
        Note::Body { len, start } => {
            let more = if start.len() < *len { "…" } else { "" };
            format!("<- body {len} \"{}{more}\"", escape(start, start.len()))
        }
        Note::Frame { direction, fin, opcode, len, start } => {
            let fin = if *fin { " fin" } else { "" };
            let more = if start.len() < *len { "…" } else { "" };
            let start = escape(start, start.len());
            format!("{} {}{fin} {len} \"{start}{more}\"", arrow(direction), opcode.name())
        }
    }
}

/// How much of a line of a head is shown.
const LINE: usize = 400;

/// A line of a head, escaped, without secrets.
fn masked(line: &[u8]) -> String {
    let colon = line.iter().position(|&b| b == b':').unwrap_or(0);
    let (name, value) = line.split_at(colon);
    if let Ok(name) = std::str::from_utf8(name)
        && is_token(name.as_bytes())
    {
        return format!("{name}:{}", masked_value(name, &value[1..]));
    }
    let text = escape(line, LINE);
    match text.split_once('?') {
        // The request line: the query may hold a token.
        Some((path, rest)) if !line.starts_with(b"HTTP/") => {
            let version = rest.rsplit_once(' ').map_or("", |(_, v)| v);
            format!("{path}?{SECRET} {version}")
        }
        _ => text,
    }
}

fn masked_value(name: &str, value: &[u8]) -> String {
    let (space, value) = value.split_at(usize::from(value.starts_with(b" ")));
    format!("{}{}", escape(space, 1), shown_value(name, value, LINE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Opcode;

    #[test]
    fn secrets_are_masked_and_bytes_escaped() {
        // FAULTS 32.
        let bytes = b"GET /chat?token=abc HTTP/1.1\r\nHost: a\r\nauthorization: Bearer abc\r\n\
            Cookie: id=abc\r\nX: \x1b[2J\r\n\r\n"
            .to_vec();
        let text = line(&Note::Head { direction: Direction::Out, bytes });
        assert_eq!(
            text,
            "-> head GET /chat?*** HTTP/1.1 | Host: a | authorization: *** | Cookie: *** | \
             X: \\x1b[2J"
        );
        assert!(!text.contains("abc"));
    }

    #[test]
    fn a_frame_is_one_line() {
        let note = Note::Frame {
            direction: Direction::In,
            fin: true,
            opcode: Opcode::Text,
            len: 100,
            start: b"a\r\n\xFF".to_vec(),
        };
        assert_eq!(line(&note), "<- text fin 100 \"a\\r\\n\\xff…\"");
    }
}
