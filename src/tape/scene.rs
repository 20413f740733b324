//! A tape from the peer's side: the bytes that it sends and the frames that it expects; and inputs
//! for fuzz targets.

use std::collections::BTreeMap;

use super::text::{bytes, split};
use crate::proto::ws::handshake::accept;

/// A step of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Waits for a request: of a WebSocket (`true`), or any other.
    Request(bool),
    /// Sends the head of its response; `Sec-WebSocket-Accept` is computed for the client's key.
    Head(Vec<u8>),
    /// Sends bytes.
    Send(Vec<u8>),
    /// Waits for a frame.
    Expect(Frame),
    /// Ends its side, or (`true`) closes the socket at once.
    End(bool),
}

/// A frame of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whether it is the last frame of its message.
    pub fin: bool,
    /// Its opcode, with the reserved bits.
    pub opcode: u8,
    /// The unmasked payload.
    pub payload: Vec<u8>,
}

impl std::fmt::Display for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.opcode & 15 {
            0 => "continuation",
            1 => "text",
            2 => "binary",
            8 => "close",
            9 => "ping",
            10 => "pong",
            _ => "unknown",
        };
        let fin = if self.fin { " fin" } else { "" };
        let compressed = if self.opcode & 0x40 != 0 { " compressed" } else { "" };
        write!(f, "{name}{fin}{compressed}, {} bytes", self.payload.len())
    }
}

/// One connection of a tape, from the peer's side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    /// The number of the connection in the tape.
    pub id: u64,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Why the tape is not complete, if it is not.
    pub gap: Option<String>,
    /// Bytes of the client that are no complete frame yet.
    frames: Frames,
    /// The options of a stream.
    words: String,
}

/// The connections of a tape, in the order in which they began.
///
/// # Errors
///
/// The line that is invalid, and the reason.
pub fn scenes(text: &str) -> Result<Vec<Scene>, String> {
    let mut all: Vec<Scene> = Vec::new();
    let (mut current, mut id) = (BTreeMap::new(), 0u64);
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let wrong = |e: String| format!("line {}: {e}", at + 1);
        if word == "on" {
            id = rest.parse().map_err(|_| wrong(format!("{rest} is not a number")))?;
            continue;
        }
        if ["open", "handshake", "stream"].contains(&word) {
            let mut scene = Scene { id, words: rest.to_owned(), ..Scene::default() };
            if word != "open" {
                scene.steps.push(Step::Request(word == "handshake"));
            }
            current.insert(id, all.len());
            all.push(scene);
            continue;
        }
        let scene = current.get(&id).and_then(|n: &usize| all.get_mut(*n));
        let Some(scene) = scene.filter(|scene| scene.gap.is_none()) else { continue };
        scene.line(word, rest).map_err(wrong)?;
    }
    Ok(all)
}

impl Scene {
    fn line(&mut self, word: &str, rest: &str) -> Result<(), String> {
        match word {
            "peer" if rest == "EOF" || rest == "CUT" => {
                let ends = matches!(self.steps.last(), Some(Step::End(_)));
                self.steps.extend((!ends).then_some(Step::End(rest == "CUT")));
            }
            "peer" | "more" => self.send(bytes(rest)?),
            "gap" => self.gap = Some(rest.to_owned()),
            "took" if !rest.starts_with("request") && !rest.starts_with("nothing") => {
                let data = split(rest, "of ").map_or(rest, |(data, _)| data);
                self.takes(&bytes(data)?);
            }
            "wrote" | "rest" if rest != "nothing" => self.takes(&bytes(rest)?),
            _ => {}
        }
        Ok(())
    }

    fn send(&mut self, data: Vec<u8>) {
        match self.steps.last_mut() {
            Some(Step::Send(before)) => before.extend(data),
            Some(Step::Request(_)) => self.steps.push(Step::Head(data)),
            // A head that came in pieces stands whole in one line of a tape.
            _ => self.steps.push(Step::Send(data)),
        }
    }

    fn takes(&mut self, data: &[u8]) {
        let frames = self.frames.feed(data);
        self.steps.extend(frames.into_iter().map(Step::Expect));
    }

    /// All bytes that the peer sends to a client with this key: the head of its response, and the
    /// rest.
    fn sent(&self, key: &str) -> (Vec<u8>, Vec<u8>) {
        let (mut head, mut rest) = (Vec::new(), Vec::new());
        for step in &self.steps {
            match step {
                Step::Head(data) => head.extend(answer(data, key)),
                Step::Send(data) => rest.extend_from_slice(data),
                _ => {}
            }
        }
        (head, rest)
    }

    /// Inputs for the fuzz targets that parse such bytes: the target's name, and the input
    /// (fuzz/README.md).
    pub fn seeds(&self) -> Vec<(&'static str, Vec<u8>)> {
        let (head, rest) = self.sent("dGhlIHNhbXBsZSBub25jZQ==");
        let end = self.steps.iter().rev().find_map(|step| match step {
            Step::End(cut) => Some(1 + u8::from(*cut)),
            _ => None,
        });
        let end = end.unwrap_or(0);
        match self.steps.first() {
            Some(Step::Request(false)) => {
                let delivery = ["raw", "events", "blocks", "bytes"]
                    .iter()
                    .position(|name| self.words.contains(&format!("deliver={name}")));
                let how = delivery.unwrap_or(0) as u8 | end << 2;
                vec![("stream", [&[how, 0, 0], &head[..], &rest].concat())]
            }
            Some(Step::Request(true)) => vec![
                ("session", [&[end, SESSION_HANDSHAKE, SESSION_SIZES], &head[..], &rest].concat()),
                ("message", [&[0, 0], &rest[..]].concat()),
            ],
            _ => vec![
                ("session", [&[end, SESSION_OPEN, SESSION_SIZES], &rest[..]].concat()),
                ("message", [&[0, 0], &rest[..]].concat()),
            ],
        }
    }
}

/// Bytes of choices of the target `session`.
const SESSION_HANDSHAKE: u8 = 1;
const SESSION_OPEN: u8 = 0;
/// This choice allows the largest messages.
const SESSION_SIZES: u8 = 3;

/// The head of a response for a client whose `Sec-WebSocket-Key` is `key`.
pub fn answer(head: &[u8], key: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for line in head.split_inclusive(|&b| b == b'\n') {
        let name = line.split(|&b| b == b':').next().unwrap_or_default();
        match name.eq_ignore_ascii_case(b"sec-websocket-accept") {
            true => {
                out.extend_from_slice(name);
                out.extend_from_slice(format!(": {}\r\n", accept(key)).as_bytes());
            }
            false => out.extend_from_slice(line),
        }
    }
    out
}

/// Parses the frames of a client, however they are cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames(Vec<u8>);

impl Frames {
    /// The frames that are complete now.
    pub fn feed(&mut self, data: &[u8]) -> Vec<Frame> {
        self.0.extend_from_slice(data);
        let mut frames = Vec::new();
        while let Some((frame, used)) = first(&self.0) {
            frames.push(frame);
            self.0.drain(..used);
        }
        frames
    }
}

fn first(wire: &[u8]) -> Option<(Frame, usize)> {
    let [first, second, rest @ ..] = wire else { return None };
    let (size, len) = match second & 0x7F {
        126 => (2, rest.get(..2)?.iter().fold(0, |n, &b| n << 8 | u64::from(b))),
        127 => (8, rest.get(..8)?.iter().fold(0, |n, &b| n << 8 | u64::from(b))),
        n => (0, u64::from(n)),
    };
    let rest = &rest[size..];
    let (key, rest) = match second & 0x80 {
        0 => ([0; 4], rest),
        _ => (rest.get(..4)?.try_into().ok()?, &rest[4..]),
    };
    let payload = rest.get(..usize::try_from(len).ok()?)?;
    let payload = payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k).collect();
    let masked = if second & 0x80 == 0 { 0 } else { 4 };
    let used = 2 + size + masked + len as usize;
    Some((Frame { fin: first & 0x80 != 0, opcode: first & 0x7F, payload }, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tape_from_the_other_side() {
        let text = "on 7\nhandshake tape\nrequest 00\npeer \"HTTP/1.1 101 a\\r\\n\
            sec-websocket-accept: x\\r\\n\\r\\n\"\nevent opened none\npeer 8101 41\npeer 8101 42\n\
            took request\ntook 8182 01020304 6063 of 9\nsend text 00\ntook 888001020304\npeer EOF\n\
            on 8\nopen\npeer 8900\ngap x\npeer 8900";
        let all = scenes(text).unwrap();
        let frame = |opcode, payload: &[u8]| {
            Step::Expect(Frame { fin: true, opcode, payload: payload.to_vec() })
        };
        let head = b"HTTP/1.1 101 a\r\nsec-websocket-accept: x\r\n\r\n".to_vec();
        assert_eq!(
            all[0].steps,
            [
                Step::Request(true),
                Step::Head(head.clone()),
                Step::Send(b"\x81\x01A\x81\x01B".to_vec()),
                frame(1, b"aa"),
                frame(8, b""),
                Step::End(false),
            ]
        );
        assert_eq!((all[1].id, all[1].steps.len()), (8, 1));
        let text = answer(&head, "dGhlIHNhbXBsZSBub25jZQ==");
        assert!(text.ends_with(b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"));
        assert!(scenes("open\npeer 8").unwrap_err().starts_with("line 2: "));
    }

    /// A seed is more than noise to its target: the target reads the intended choices, and its laws
    /// hold.
    #[test]
    fn seeds_are_inputs_of_their_targets() {
        let handshake = "handshake\npeer \"HTTP/1.1 101 a\\r\\nUpgrade: websocket\\r\\n\
            Connection: Upgrade\\r\\nSec-WebSocket-Accept: x\\r\\n\\r\\n\" 8101 41\npeer EOF";
        let stream = "stream deliver=events\npeer \"HTTP/1.1 200 a\\r\\n\
            Content-Type: text/event-stream\\r\\n\\r\\n\" \"data: a\" 0a0a\npeer EOF";
        let mut targets = Vec::new();
        for scene in [handshake, stream, "open\npeer 8900"].iter().flat_map(|t| scenes(t).unwrap())
        {
            for (target, input) in scene.seeds() {
                let body =
                    crate::fuzzing::TARGETS.iter().find(|(name, _)| *name == target).unwrap();
                body.1(&input);
                targets.push(target);
            }
        }
        assert_eq!(targets, ["session", "message", "stream", "session", "message"]);
    }
}
