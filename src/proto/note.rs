//! Notes: steps of the protocol for an observer.

use std::fmt;

use super::head::Head;
use super::secret::{SECRET, names_a_url, shown_url, shown_value};
use super::token::{escape, is_token};
use super::url::Url;
use super::ws::frame::Opcode;

/// In which direction bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the peer.
    In,
    /// To the peer.
    Out,
}

/// A step of the protocol, for an observer. `Display` writes a line of a trace, and masks the
/// values of fields that identify somebody and the queries of URLs. `Debug` shows lengths and no
/// bytes.
#[derive(Clone, PartialEq, Eq)]
pub enum Note {
    /// The head of a request or of its final response.
    Head {
        /// The direction.
        direction: Direction,
        /// The bytes of a request as they were sent, or a response written again from its fields.
        /// Fields and URLs that the program marked as secret are `***`. A field that is secret only
        /// by its name is not masked here.
        bytes: Vec<u8>,
    },
    /// A frame.
    Frame {
        /// The direction.
        direction: Direction,
        /// Whether the frame ends its message.
        fin: bool,
        /// The opcode.
        opcode: Opcode,
        /// The length of the payload in bytes.
        len: usize,
        /// The first bytes of the payload, unmasked.
        start: Vec<u8>,
    },
    /// A compressed message (RFC 7692), after the notes of its frames.
    Message {
        /// The direction.
        direction: Direction,
        /// Text or binary.
        opcode: Opcode,
        /// Bytes of the payloads of its frames, compressed.
        wire: usize,
        /// Bytes of the message.
        len: usize,
        /// The first bytes of the message.
        start: Vec<u8>,
    },
    /// A response has a coding that the session decodes (RFC 9110 §8.4).
    Coding {
        /// The name: `gzip` or `deflate`.
        name: &'static str,
        /// Whether the request accepted codings; otherwise it accepted `identity` only.
        asked: bool,
    },
    /// The end of a body that was decoded.
    Decoded {
        /// Bytes of the coded body.
        wire: u64,
        /// Bytes after decoding.
        len: u64,
    },
    /// A piece of a response's body, as the session reports it.
    Body {
        /// How many bytes it has.
        len: usize,
        /// The first bytes of the piece.
        start: Vec<u8>,
    },
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Head { direction, bytes } => write!(f, "Head({direction:?}, {})", bytes.len()),
            Note::Frame { direction, opcode, len, .. } => {
                write!(f, "Frame({direction:?}, {opcode:?}, {len})")
            }
            Note::Message { direction, opcode, wire, len, .. } => {
                write!(f, "Message({direction:?}, {opcode:?}, {wire}, {len})")
            }
            Note::Coding { name, asked } => write!(f, "Coding({name}, {asked})"),
            Note::Decoded { wire, len } => write!(f, "Decoded({wire}, {len})"),
            Note::Body { len, .. } => write!(f, "Body({len})"),
        }
    }
}

/// Writes one line without secrets: the direction, the kind, and the first bytes.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = |direction: &Direction| if *direction == Direction::In { "<-" } else { "->" };
        match self {
            Note::Head { direction, bytes } => {
                let lines = bytes.split(|&b| b == b'\n').filter_map(|l| l.strip_suffix(b"\r"));
                let fields: Vec<String> = lines.filter(|l| !l.is_empty()).map(masked).collect();
                write!(f, "{} head {}", arrow(direction), fields.join(" | "))
            }
            Note::Coding { name, asked: true } => write!(f, "<- coded as {name}; it is decoded"),
            Note::Coding { name, asked: false } => {
                write!(f, "<- coded as {name} though identity was asked for; it is decoded")
            }
            Note::Decoded { wire, len } => write!(f, "<- body {len} coded as {wire}"),
            Note::Body { len, start } => {
                let more = if start.len() < *len { "…" } else { "" };
                write!(f, "<- body {len} \"{}{more}\"", escape(start, start.len()))
            }
            Note::Message { direction, opcode, wire, len, start } => {
                let more = if start.len() < *len { "…" } else { "" };
                let (arrow, start) = (arrow(direction), escape(start, start.len()));
                let name = opcode.name();
                write!(f, "{arrow} {name} message {len} compressed to {wire} \"{start}{more}\"")
            }
            Note::Frame { direction, fin, opcode, len, start } => {
                let fin = if *fin { " fin" } else { "" };
                let more = if start.len() < *len { "…" } else { "" };
                let start = escape(start, start.len());
                write!(f, "{} {}{fin} {len} \"{start}{more}\"", arrow(direction), opcode.name())
            }
        }
    }
}

/// At most this many bytes of a line of a head are shown.
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
        // A request line: the query may contain a token.
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

impl Note {
    /// A note shows at most this many bytes of a payload.
    pub const START: usize = 64;

    /// The note for the head of a request, in which secrets are masked.
    pub(crate) fn request(shown: Vec<u8>) -> Note {
        Note::Head { direction: Direction::Out, bytes: shown }
    }

    /// The note for the head of a response to a request for `url`. Masks the values for which
    /// `is_repeated` returns true: they repeat a secret of the request.
    pub(crate) fn response(head: &Head, url: &Url, is_repeated: impl Fn(&[u8]) -> bool) -> Note {
        let is_hidden = |name: &str, value: &[u8]| match names_a_url(name) {
            true if url.is_secret() => true,
            // Compared without the query, which `Display` never shows.
            true => is_repeated(shown_url(&String::from_utf8_lossy(value)).as_bytes()),
            false => is_repeated(value),
        };
        let reason = if is_hidden("", head.reason.as_bytes()) { SECRET } else { &head.reason };
        let mut bytes = format!("HTTP/1.{} {} {reason}\r\n", head.minor, head.status).into_bytes();
        for (name, value) in head.fields.iter() {
            let value = if is_hidden(name, value) { SECRET.as_bytes() } else { value };
            let name = if is_repeated(name.as_bytes()) { SECRET } else { name };
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        Note::Head { direction: Direction::In, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::proto::head::HeadParser;

    #[test]
    fn the_query_of_a_request_is_masked_and_a_question_of_a_response_is_not() {
        for (direction, line, want) in [
            (Direction::Out, "GET /x?y HTTP/1.1", "-> head GET /x?*** HTTP/1.1"),
            (Direction::In, "HTTP/1.1 404 Where? Not here", "<- head HTTP/1.1 404 Where? Not here"),
        ] {
            let bytes = format!("{line}\r\n\r\n").into_bytes();
            assert_eq!(Note::Head { direction, bytes }.to_string(), want);
        }
    }

    /// It may be where the secret one leads.
    #[test]
    fn no_url_in_the_response_to_a_secret_url_is_shown() {
        let head = b"HTTP/1.1 302 Found\r\nLocation: /y\r\nServer: x\r\n\r\n";
        let (_, head) = HeadParser::default().feed(head, &Limits::default()).unwrap();
        let (head, url) = (head.unwrap(), Url::parse_http("http://a.example/x").unwrap());
        for (url, location) in [(url.clone(), "/y"), (url.into_secret(), SECRET)] {
            let note = Note::response(&head, &url, |_| false).to_string();
            let want = format!("<- head HTTP/1.1 302 Found | Location: {location} | Server: x");
            assert_eq!(note, want);
        }
    }

    #[test]
    fn a_line_shows_whether_bytes_are_left_out() {
        let (direction, opcode) = (Direction::In, Opcode::Text);
        for (len, more) in [(2, ""), (3, "…")] {
            let start = b"hi".to_vec();
            let frame = Note::Frame { direction, fin: true, opcode, len, start: start.clone() };
            let message = Note::Message { direction, opcode, wire: 1, len, start: start.clone() };
            let body = Note::Body { len, start };
            for (note, want) in [
                (frame, format!("<- text fin {len} \"hi{more}\"")),
                (message, format!("<- text message {len} compressed to 1 \"hi{more}\"")),
                (body, format!("<- body {len} \"hi{more}\"")),
            ] {
                assert_eq!(note.to_string(), want);
            }
        }
    }
}
