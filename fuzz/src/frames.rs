//! What a server sends, read by tungstenite.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use moonwire::Limits;
use moonwire::proto::{
    Closed, Context, Direction, Event, Failure, Note, Opcode, Random, Session, Settings, Violation,
};
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tungstenite::{Error, Message};

/// Bytes of a message; the bound of both.
const MESSAGE: usize = 2000;

/// A message or a control frame; of a close frame the code.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// The bytes were not enough for more.
    More,
    /// Behind a close frame.
    Closed,
    Ours(Violation),
    Theirs(String),
}

/// A difference that there may be: who is right, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// We say so at the byte that decides; tungstenite waits for the rest of the header, for the
    /// rest of the frame, or for the last frame of a text. Nothing legal could have come.
    Early,
    /// RFC 6455 §5.2: "the minimal number of bytes MUST be used". tungstenite takes any length, and
    /// so a short control frame with a long one (§5.5) too.
    NotMinimal,
    /// RFC 6455 §7.4: a close frame with a code that must not travel. We fail the connection;
    /// tungstenite tells its owner of a close frame with 1002. To tungstenite 1014, which IANA has
    /// assigned (Bad Gateway), is one of them, to us it is not.
    CloseCode,
    /// Two rules are broken by the same frame, and each of us names another one first. (tungstenite
    /// looks at the opcode before the reserved bits, at the length before the mask, …)
    OtherRule,
}

/// The same bytes to both: the same messages, pings and pongs, and an error for both or for none.
pub fn diff_frame(data: &[u8]) {
    let ((ours, our_end), (theirs, their_end)) = (us(data), them(data));
    let shown = || format!("{our_end:?} {their_end:?}\n{ours:?}\n{theirs:?}\n{data:x?}");
    let known = match (&our_end, &their_end) {
        (a, b) if a == b && ours == theirs => return,
        (End::Ours(Violation::CloseCode(_)), End::Closed) => Known::CloseCode,
        (End::Closed, End::Closed) => Known::CloseCode,
        (End::Ours(Violation::LengthNotMinimal | Violation::LongControl), _) => Known::NotMinimal,
        (End::Ours(_), End::More) => Known::Early,
        (End::Ours(_), End::Theirs(_)) => Known::OtherRule,
        _ => panic!("unknown difference: {}", shown()),
    };
    let same = match known {
        Known::OtherRule => theirs == ours,
        // tungstenite reads on where we do not.
        Known::NotMinimal => theirs.starts_with(&ours),
        Known::Early => theirs == ours && is_early(data, &ours, &our_end),
        Known::CloseCode => close_code(&ours, &theirs, &our_end),
    };
    assert!(same, "{known:?} is no reason: {}", shown());
}

/// The code decides, and only it differs.
fn close_code(ours: &[Heard], theirs: &[Heard], our_end: &End) -> bool {
    let Some((Heard::Close(Some(1002), _), before)) = theirs.split_last() else { return false };
    match (our_end, ours.split_last()) {
        (End::Ours(_), _) => before == ours,
        (_, Some((Heard::Close(Some(1014), _), rest))) => before == rest,
        _ => false,
    }
}

/// Whatever had come behind the bytes, tungstenite would have refused it too, or not have been able
/// to say more: some ends of a header and a payload that are as short as can be.
fn is_early(data: &[u8], ours: &[Heard], our_end: &End) -> bool {
    let refused = |fill: u8, n: usize| {
        let longer = [data, &vec![fill; n]].concat();
        // Nor does what we say change.
        let (heard, end) = us(&longer);
        assert!(heard == ours && end == *our_end, "{end:?} with more behind {data:x?}");
        matches!(them(&longer).1, End::Theirs(_))
    };
    match our_end {
        // Zeros give the shortest frame that the bytes can become, which is within the bound of
        // both; a length that is too large stays so.
        End::Ours(Violation::MessageTooBig | Violation::LengthTopBit) => refused(0, 10),
        _ => refused(0, 70_000) || refused(0x7F, 70_000),
    }
}

struct Zero;

impl Random for Zero {
    fn key(&mut self) -> [u8; 4] {
        [0; 4]
    }
}

fn us(data: &[u8]) -> (Vec<Heard>, End) {
    let limits = Limits { message: MESSAGE, fragments: u32::MAX, ..Default::default() };
    let settings = Settings { limits: Arc::new(limits), trace: true, ..Default::default() };
    let now = Instant::now();
    let mut session = Session::opened(settings, now);
    let mut cx = Context { now, random: &mut Zero };
    let (mut heard, mut end, mut at) = (Vec::new(), End::More, 0);
    loop {
        let (used, event) = session.receive(&mut cx, &data[at..]);
        at += used;
        // Pings are answered without the owner; the trace tells of them.
        for note in session.notes().into_iter().flat_map(std::mem::take) {
            if let Note::Frame { direction: Direction::Out, opcode: Opcode::Pong, len, .. } = note {
                heard.push(Heard::Ping(vec![0; len]));
            }
        }
        match event {
            Some(Event::Text(text)) => heard.push(Heard::Text(text.as_bytes().to_vec())),
            Some(Event::Binary(data)) => heard.push(Heard::Binary(data.into_owned())),
            Some(Event::Pong(data)) => heard.push(Heard::Pong(data.to_vec())),
            Some(Event::Closing(frame)) => {
                heard.push(Heard::Close(frame.code, frame.reason));
                end = End::Closed;
            }
            Some(Event::Closed(Closed::Failed(Failure::Violation(v)))) => end = End::Ours(v),
            Some(other) => panic!("{other:?}"),
            None => break,
        }
    }
    // The payloads of pings, which are those of the pongs on the wire.
    let pongs = pongs(session.outgoing());
    let mut pongs = pongs.into_iter();
    for ping in heard.iter_mut().filter(|h| matches!(h, Heard::Ping(_))) {
        let payload = pongs.next().expect("a pong for each ping");
        assert!(matches!(ping, Heard::Ping(p) if p.len() == payload.len()));
        *ping = Heard::Ping(payload);
    }
    assert!(pongs.next().is_none());
    (heard, end)
}

/// The payloads of pongs among frames with a key of zeros.
fn pongs(mut wire: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let [first, len, _, _, _, _, rest @ ..] = wire {
        let (payload, behind) = rest.split_at(usize::from(len & 0x7F));
        if *first == 0x8A {
            all.push(payload.to_vec());
        }
        wire = behind;
    }
    all
}

/// Gives the bytes and takes what is written.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn them(data: &[u8]) -> (Vec<Heard>, End) {
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(Some(MESSAGE))
        .max_frame_size(Some(MESSAGE));
    let mut socket = WebSocket::from_raw_socket(Wire(data), Role::Client, Some(config));
    let mut heard = Vec::new();
    loop {
        heard.push(match socket.read() {
            Ok(Message::Text(text)) => Heard::Text(text.as_str().as_bytes().to_vec()),
            Ok(Message::Binary(data)) => Heard::Binary(data.to_vec()),
            Ok(Message::Ping(data)) => Heard::Ping(data.to_vec()),
            Ok(Message::Pong(data)) => Heard::Pong(data.to_vec()),
            Ok(Message::Close(frame)) => {
                let reason = frame.as_ref().map_or("", |f| f.reason.as_str()).to_owned();
                heard.push(Heard::Close(frame.map(|f| f.code.into()), reason));
                return (heard, End::Closed);
            }
            Ok(Message::Frame(frame)) => panic!("a raw frame: {frame:?}"),
            Err(Error::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )) => {
                return (heard, End::More);
            }
            Err(e) => return (heard, End::Theirs(e.to_string())),
        });
    }
}
