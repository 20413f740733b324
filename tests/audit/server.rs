//! A small WebSocket server with one selectable fault, or without a fault.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// The fault of a server.
// Without `deflate` no test uses the faults of compression.
#[cfg_attr(not(feature = "deflate"), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// The server sends no message back.
    NoEcho,
    // The opening handshake.
    Status(&'static str),
    /// A line of the answer, and the text that replaces it.
    Line(&'static str, &'static str),
    /// An additional line.
    Plus(&'static str),
    ProtocolAsOffered,
    OneProtocolField,
    AcceptsAnyExtension,
    CaseMatters,
    ConnectionIsOneWord,
    UnknownFieldIsRefused,
    OneSegment,
    /// It accepts any request.
    AnyRequest,
    /// The answer to a request with another version has no `Sec-WebSocket-Version`.
    NoVersion,
    // Frames.
    NoPong,
    /// Pongs with at most this many bytes.
    ShortPong(usize),
    FirstPongOnly,
    PongBehindTheMessage,
    PongIsRefused,
    /// A binary message of this length ends the connection.
    Length(usize),
    Backwards,
    FragmentsAreMessages,
    EmptyFragmentEnds,
    FragmentsAreTexts,
    /// A message may have at most this many frames.
    Fragments(usize),
    /// The message is cut at this length.
    Most(usize),
    /// A text with these bytes fails the connection.
    Without(&'static [u8]),
    // Frames of the server.
    Masks,
    ReservedBit,
    LongLengths,
    LongPong,
    OnlyContinuations,
    BadText,
    /// The payload of its close frame.
    CloseWith(&'static [u8]),
    TalksAfterClose,
    // The end of the connection.
    NoCloseFrame,
    /// A close frame with this payload fails the connection.
    CloseFails(&'static [u8]),
    NoCloseInFragments,
    KeepsTcp,
    /// It accepts everything.
    Lenient,
    /// The same, and it agrees to compression.
    LenientAgrees,
    /// It sends a ping before anything else.
    Pings,
    /// No fault: it checks a text after it has answered the ping that follows.
    LooksLate,
    // Compression.
    /// The answer to any offer of compression. Messages are sent back unchanged.
    Agrees(&'static str),
    /// It agrees to compression, and sends back data that does not inflate.
    Garbles,
    /// It agrees to compression, and fails the connection for a payload that starts with these
    /// bytes.
    NotInflated(&'static [u8]),
    /// It accepts no uncompressed text.
    NotPlain,
    /// It accepts no compressed text in fragments.
    NotInFragments,
    /// It accepts no ping between the fragments of a compressed message.
    NotAroundPings,
}

/// Serves until the process ends; returns the URL.
pub(crate) fn serve(flaw: Flaw) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for tcp in listener.incoming() {
            let Ok(tcp) = tcp else { return };
            // A client may end the connection at any time.
            std::thread::spawn(move || Conn { tcp, input: Vec::new(), flaw }.run());
        }
    });
    url
}

struct Conn {
    tcp: TcpStream,
    input: Vec<u8>,
    flaw: Flaw,
}

struct Frame {
    first: u8,
    masked: bool,
    shortest: bool,
    payload: Vec<u8>,
}

impl Conn {
    fn run(mut self) -> Option<()> {
        let head = self.head()?;
        let answer = self.answer(&head);
        self.tcp.write_all(answer.as_bytes()).ok()?;
        if !answer.contains(" 101 ") {
            return None;
        }
        if self.flaw == Flaw::Pings {
            self.send(0x89, b"are you there?")?;
        }
        let mut message: Option<(u8, Vec<u8>, usize)> = None;
        let (mut held, mut pongs, mut late) = (Vec::new(), 0, false);
        loop {
            let frame = self.frame()?;
            if let Some(code) = self.judge(&frame, message.is_some()) {
                return self.fail(code);
            }
            let Frame { first, payload, .. } = frame;
            match first & 0x0F {
                8 => {
                    if self.flaw == Flaw::NoCloseInFragments && message.is_some() {
                        continue;
                    }
                    return self.close(&payload);
                }
                9 if self.flaw == Flaw::NotAroundPings
                    && message.as_ref().is_some_and(|(first, ..)| first & 0x40 != 0) =>
                {
                    return self.fail(1002);
                }
                9 => {
                    pongs += 1;
                    match self.flaw {
                        Flaw::NoPong => {}
                        Flaw::FirstPongOnly if pongs > 1 => {}
                        Flaw::PongBehindTheMessage if message.is_some() => held.push(payload),
                        Flaw::ShortPong(most) => {
                            self.send(0x8A, &payload[..payload.len().min(most)])?;
                        }
                        Flaw::LongPong => self.send(0x8A, &[b'l'; 126])?,
                        Flaw::LooksLate if late => {
                            self.send(0x8A, &payload)?;
                            return self.fail(1007);
                        }
                        _ => self.send(0x8A, &payload)?,
                    }
                }
                10 if self.flaw == Flaw::PongIsRefused => return self.fail(1002),
                10 => {}
                _ => {
                    let (kind, data, frames) =
                        message.get_or_insert_with(|| (first, Vec::new(), 0));
                    *frames += 1;
                    data.extend_from_slice(&payload);
                    let ends = match self.flaw {
                        Flaw::FragmentsAreMessages => true,
                        Flaw::EmptyFragmentEnds if payload.is_empty() => true,
                        Flaw::Fragments(most) if *frames > most => return self.fail(1002),
                        Flaw::FragmentsAreTexts
                            if *kind & 0x0F == 1 && std::str::from_utf8(&payload).is_err() =>
                        {
                            return self.fail(1007);
                        }
                        _ => first & 0x80 != 0,
                    };
                    if ends {
                        let (kind, data, _) = message.take()?;
                        late = std::str::from_utf8(&data).is_err();
                        if late && self.flaw == Flaw::LooksLate {
                            continue;
                        }
                        self.message(kind, data)?;
                        for payload in held.drain(..) {
                            self.send(0x8A, &payload)?;
                        }
                    }
                }
            }
        }
    }

    fn head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.input.windows(4).position(|w| w == b"\r\n\r\n") {
                let head: Vec<u8> = self.input.drain(..at + 4).collect();
                return String::from_utf8(head).ok();
            }
            self.more()?;
            if self.flaw == Flaw::OneSegment && !self.input.ends_with(b"\r\n\r\n") {
                self.tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok()?;
                return None;
            }
        }
    }

    /// The answer to a request, as RFC 6455 §4.2 requires it, except for the fault.
    fn answer(&self, head: &str) -> String {
        let flaw = self.flaw;
        let fields = |name: &str| -> Vec<String> {
            let all = head.lines().filter_map(|line| line.split_once(": "));
            let same = |n: &str| match flaw {
                Flaw::CaseMatters => n == name,
                _ => n.eq_ignore_ascii_case(name),
            };
            all.filter(|(n, _)| same(n)).map(|(_, value)| value.to_owned()).collect()
        };
        let lists = |name: &str, word: &str| {
            fields(name).iter().any(|value| match flaw {
                Flaw::ConnectionIsOneWord => value.eq_ignore_ascii_case(word),
                Flaw::CaseMatters => value == word,
                _ => value.split(", ").any(|v| v.eq_ignore_ascii_case(word)),
            })
        };
        let keys = fields("Sec-WebSocket-Key");
        let key = keys.first().cloned().unwrap_or_default();
        let is_good = head.starts_with("GET ")
            && head.lines().next().is_some_and(|line| line.ends_with(" HTTP/1.1"))
            && fields("Host").len() == 1
            && !head.contains(" :")
            && lists("Upgrade", "websocket")
            && lists("Connection", "Upgrade")
            && keys.len() == 1
            && is_key(&key)
            && !(flaw == Flaw::UnknownFieldIsRefused && head.contains("X-Moonwire"));
        let protocols = fields("Sec-WebSocket-Protocol");
        let is_one = protocols.len() < 2 || flaw != Flaw::OneProtocolField;
        let versions = fields("Sec-WebSocket-Version");
        if flaw != Flaw::AnyRequest {
            if !is_good || !is_one || versions.len() != 1 {
                return "HTTP/1.1 400 Bad Request\r\n\r\n".into();
            }
            if versions[0] != "13" {
                let version = match flaw {
                    Flaw::NoVersion => "",
                    _ => "Sec-WebSocket-Version: 13\r\n",
                };
                return format!("HTTP/1.1 426 Upgrade Required\r\n{version}\r\n");
            }
        }
        let accept = accept(&key);
        let mut lines = vec![
            "HTTP/1.1 101 Switching Protocols".to_owned(),
            "Upgrade: websocket".to_owned(),
            "Connection: Upgrade".to_owned(),
            format!("Sec-WebSocket-Accept: {accept}"),
        ];
        if let Some(offered) = protocols.first() {
            let chosen = match flaw {
                Flaw::ProtocolAsOffered => offered.as_str(),
                _ => offered.split(", ").next().unwrap_or_default(),
            };
            lines.push(format!("Sec-WebSocket-Protocol: {chosen}"));
        }
        if let Some(offered) = fields("Sec-WebSocket-Extensions").first() {
            let with = |value: &str| format!("Sec-WebSocket-Extensions: {value}");
            let deflate = offered.starts_with("permessage-deflate");
            match flaw {
                Flaw::AcceptsAnyExtension => lines.push(with(offered)),
                Flaw::Agrees(value) if deflate => lines.push(with(value)),
                _ if deflate && self.compresses() => lines.push(with("permessage-deflate")),
                _ => {}
            }
        }
        match flaw {
            Flaw::Status(line) => line.clone_into(&mut lines[0]),
            Flaw::Line(start, with) => {
                lines.iter_mut().filter(|l| l.starts_with(start)).for_each(|l| *l = with.into());
                lines.retain(|line| !line.is_empty());
            }
            Flaw::Plus(line) => lines.push(line.into()),
            _ => {}
        }
        format!("{}\r\n\r\n", lines.join("\r\n"))
    }

    fn is_lenient(&self) -> bool {
        matches!(self.flaw, Flaw::Lenient | Flaw::LenientAgrees)
    }

    fn compresses(&self) -> bool {
        use Flaw::*;
        matches!(
            self.flaw,
            Agrees(_)
                | Garbles
                | LenientAgrees
                | NotAroundPings
                | NotInFragments
                | NotInflated(_)
                | NotPlain
        )
    }

    fn more(&mut self) -> Option<()> {
        let mut buf = [0; 65_536];
        let n = self.tcp.read(&mut buf).ok().filter(|n| *n > 0)?;
        self.input.extend_from_slice(&buf[..n]);
        Some(())
    }

    fn take(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.input.len() < n {
            self.more()?;
        }
        Some(self.input.drain(..n).collect())
    }

    fn frame(&mut self) -> Option<Frame> {
        let head = self.take(2)?;
        let (short, masked) = (head[1] & 0x7F, head[1] & 0x80 != 0);
        let size = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let extended = self.take(size)?;
        let long = extended.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
        let len = if size == 0 { u64::from(short) } else { long };
        let shortest = match size {
            0 => true,
            2 => len > 125,
            _ => len > 65_535 && len < 1 << 63,
        };
        if len >= 1 << 63 {
            let payload = Vec::new();
            return Some(Frame { first: head[0], masked, shortest, payload });
        }
        let key = if masked { self.take(4)? } else { vec![0; 4] };
        let mut payload = self.take(len as usize)?;
        payload.iter_mut().enumerate().for_each(|(i, b)| *b ^= key[i % 4]);
        Some(Frame { first: head[0], masked, shortest, payload })
    }

    /// The code with which the server fails the connection for this frame.
    fn judge(&self, frame: &Frame, within: bool) -> Option<u16> {
        if self.is_lenient() {
            return None;
        }
        let opcode = frame.first & 0x0F;
        let (fin, control) = (frame.first & 0x80 != 0, opcode >= 8);
        let rsv1 = self.compresses() && matches!(opcode, 1 | 2);
        let reserved = frame.first & 0x70 != 0 && !(rsv1 && frame.first & 0x70 == 0x40);
        let known = matches!(opcode, 0..=2 | 8..=10);
        let whole = !control || fin && frame.payload.len() <= 125;
        let follows = control || within == (opcode == 0);
        let good = frame.masked && frame.shortest && !reserved && known && whole && follows;
        if !good {
            return Some(1002);
        }
        match self.flaw {
            Flaw::NotPlain if opcode == 1 && frame.first & 0x40 == 0 => return Some(1002),
            Flaw::NotInFragments if frame.first == 0x41 => return Some(1002),
            Flaw::NotInflated(start)
                if frame.first & 0x40 != 0 && frame.payload.starts_with(start) =>
            {
                return Some(1007);
            }
            _ => {}
        }
        None
    }

    fn message(&mut self, kind: u8, mut data: Vec<u8>) -> Option<()> {
        let (is_text, compressed) = (kind & 0x0F == 1, kind & 0x40 != 0);
        if is_text && !compressed && !self.is_lenient() && std::str::from_utf8(&data).is_err() {
            return self.fail(1007);
        }
        match self.flaw {
            Flaw::NoEcho => return Some(()),
            Flaw::Length(n) if !is_text && data.len() == n => return None,
            Flaw::Backwards if data == b"glued 3" => data = b"glued 4".to_vec(),
            Flaw::Most(most) => data.truncate(most),
            Flaw::Without(bytes) if data.windows(bytes.len()).any(|w| w == bytes) => {
                return self.fail(1007);
            }
            Flaw::BadText if is_text => data.push(0xFF),
            Flaw::Garbles if compressed => data = vec![0xFF; 4],
            Flaw::OnlyContinuations => return self.send(0x80, &data),
            _ => {}
        }
        let first = 0x80 | kind & 0x4F;
        self.send(first, &data)
    }

    fn send(&mut self, first: u8, payload: &[u8]) -> Option<()> {
        let mut out = vec![first];
        let mask = if self.flaw == Flaw::Masks { 0x80 } else { 0 };
        if self.flaw == Flaw::ReservedBit {
            out[0] |= 0x10;
        }
        match payload.len() {
            n @ 0..=125 if self.flaw != Flaw::LongLengths => out.push(mask | n as u8),
            n @ 0..=65_535 => {
                out.push(mask | 126);
                out.extend_from_slice(&(n as u16).to_be_bytes());
            }
            n => {
                out.push(mask | 127);
                out.extend_from_slice(&(n as u64).to_be_bytes());
            }
        }
        if mask != 0 {
            out.extend_from_slice(&[0; 4]);
        }
        out.extend_from_slice(payload);
        self.tcp.write_all(&out).ok()
    }

    /// Sends a close frame with this code and ends the connection.
    fn fail(&mut self, code: u16) -> Option<()> {
        self.send(0x88, &code.to_be_bytes())?;
        self.drain();
        None
    }

    fn close(&mut self, payload: &[u8]) -> Option<()> {
        match self.flaw {
            Flaw::NoCloseFrame => return None,
            Flaw::CloseFails(which) if payload == which => return self.fail(1002),
            Flaw::CloseWith(payload) => self.send(0x88, payload)?,
            Flaw::Lenient | Flaw::LenientAgrees => {
                self.send(0x88, payload)?;
                // It also echoes the frames that follow.
                while let Some(frame) = self.frame() {
                    self.send(frame.first, &frame.payload)?;
                }
            }
            _ => {
                let code = &payload[..payload.len().min(2)];
                let is_code = |c| matches!(c, 1000..=1003 | 1007..=1014 | 3000..=4999);
                match code {
                    [a, b] if !is_code(u16::from_be_bytes([*a, *b])) => return self.fail(1002),
                    [_] => return self.fail(1002),
                    _ if std::str::from_utf8(&payload[code.len()..]).is_err() => {
                        return self.fail(1007);
                    }
                    _ => {}
                }
                let code = code.to_vec();
                self.send(0x88, &code)?;
            }
        }
        match self.flaw {
            Flaw::TalksAfterClose => self.send(0x81, b"and another thing")?,
            Flaw::KeepsTcp => while self.more().is_some() {},
            _ => {}
        }
        self.drain();
        None
    }

    /// Ends its side and reads the rest: otherwise the system would reset the connection, and the
    /// last bytes could be lost.
    fn drain(&mut self) {
        let _ = self.tcp.shutdown(std::net::Shutdown::Write);
        while self.more().is_some() {
            self.input.clear();
        }
    }
}

/// Whether this is base64 of sixteen bytes.
fn is_key(key: &str) -> bool {
    key.len() == 24
        && key.ends_with("==")
        && key[..22].bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

fn accept(key: &str) -> String {
    use base64::Engine as _;
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64::engine::general_purpose::STANDARD.encode(sha1.digest().bytes())
}
