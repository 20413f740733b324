//! permessage-deflate: negotiation, received messages, sent messages.

use std::time::{Duration, Instant};

use super::input::{Cut, Input};
use crate::limits::Limits;
use crate::proto::ws::deflate::Codec;
use crate::proto::ws::deflate::negotiate::{self, Refused};
use crate::proto::ws::message::{Assembly, Message};
use crate::proto::{Agreed, Compression, Opcode, Violation, escape, is_token};
use crate::puff::{Puff, Wrong};

/// A byte of choices, then a server's `Sec-WebSocket-Extensions`: the result is what a second
/// parser finds, and within the offer.
pub fn negotiate(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.byte();
    let wanted = Compression {
        client_window: [15, 12, 9, 0][usize::from(choice & 3)],
        server_window: [15, 15, 10, 8][usize::from(choice >> 2 & 3)],
        client_takeover: choice & 16 == 0,
        server_takeover: choice & 32 == 0,
        ..Compression::default()
    };
    let shown = |bytes: &[u8]| escape(bytes, 60);
    let got = negotiate::judge(&wanted, input.0, &shown);
    if let Err(Refused::Deflate(e)) = &got {
        let text = e.to_string();
        assert!(!text.contains(char::is_control) && text.len() < 400, "{text}");
    }
    let second = Second::read(input.0);
    match got {
        Ok(None) => assert_eq!(second.0, Some(vec![])),
        Ok(Some(agreed)) => {
            let all = second.0.expect("a list");
            assert_eq!(all.len(), 1);
            within(&wanted, &agreed, &all[0]);
        }
        Err(Refused::Other(_)) => {
            let all = second.0.expect("a list");
            assert!(all.iter().any(|(name, _)| name != b"permessage-deflate"));
        }
        Err(Refused::Deflate(_)) => {
            let is_fine = |all: &[Named]| all.len() == 1 && fine(&wanted, &all[0].1).is_some();
            assert!(!second.0.is_some_and(|all| is_fine(&all)), "{:?}", escape(input.0, 200));
        }
    }
}

fn within(wanted: &Compression, agreed: &Agreed, extension: &Named) {
    assert_eq!(extension.0, b"permessage-deflate");
    let (client, server) = fine(wanted, &extension.1).expect("parameters that may stand there");
    let has = |name: &[u8]| extension.1.iter().any(|(n, _)| n == name);
    assert_eq!(agreed.server_takeover, !has(b"server_no_context_takeover"));
    let client_alone = has(b"client_no_context_takeover") || !wanted.client_takeover;
    assert_eq!(agreed.client_takeover, !client_alone);
    assert_eq!(agreed.client_window, client.unwrap_or(wanted.client_window.clamp(9, 15)));
    assert_eq!(agreed.server_window, server.unwrap_or(15));
}

/// The windows of client and server, if every parameter is allowed.
fn fine(wanted: &Compression, params: &[Param]) -> Option<(Option<u8>, Option<u8>)> {
    let (mut client, mut server, mut seen) = (None, None, Vec::new());
    for (name, value) in params {
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
        let bits = || {
            let text = std::str::from_utf8(value.as_ref()?).ok()?;
            let number: u8 = text.parse().ok()?;
            (number.to_string() == text && number >= 8).then_some(number)
        };
        match &name[..] {
            b"server_no_context_takeover" | b"client_no_context_takeover" => {
                value.is_none().then_some(())?;
            }
            b"server_max_window_bits" => server = Some(bits()?),
            b"client_max_window_bits" => client = Some(bits()?),
            _ => return None,
        }
    }
    let asked = wanted.server_window.clamp(8, 15);
    let met = client.is_none_or(|n| n <= wanted.client_window.clamp(9, 15))
        && server.is_none_or(|n| n <= asked)
        && (asked == 15 || server.is_some())
        && (wanted.server_takeover || seen.iter().any(|n| n[..] == *b"server_no_context_takeover"));
    met.then_some((client, server))
}

type Param = (Vec<u8>, Option<Vec<u8>>);
type Named = (Vec<u8>, Vec<Param>);

/// A second parser of the grammar of RFC 6455 §9.1, which cuts outside quotes.
struct Second(Option<Vec<Named>>);

impl Second {
    fn read(value: &[u8]) -> Second {
        let elements = Self::split(value, b',').into_iter().map(|e| Self::trim(&e));
        Second(elements.filter(|e| !e.is_empty()).map(|e| Self::element(&e)).collect())
    }

    fn split(value: &[u8], at: u8) -> Vec<Vec<u8>> {
        let (mut parts, mut quoted, mut escaped) = (vec![vec![]], false, false);
        for &b in value {
            if b == at && !quoted {
                parts.push(vec![]);
                continue;
            }
            parts.last_mut().unwrap().push(b);
            quoted ^= b == b'"' && !escaped;
            escaped = quoted && b == b'\\' && !escaped;
        }
        parts
    }

    fn trim(mut part: &[u8]) -> Vec<u8> {
        while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = part {
            part = rest;
        }
        part.to_vec()
    }

    fn element(text: &[u8]) -> Option<Named> {
        let parts: Vec<_> = Self::split(text, b';').iter().map(|p| Self::trim(p)).collect();
        let (name, params) = parts.split_first()?;
        let params = params.iter().map(|p| Self::param(p)).collect::<Option<Vec<_>>>()?;
        is_token(name).then(|| (name.clone(), params))
    }

    fn param(text: &[u8]) -> Option<Param> {
        let Some(at) = text.iter().position(|&b| b == b'=') else {
            return is_token(text).then(|| (text.to_vec(), None));
        };
        let (name, value) = (Self::trim(&text[..at]), Self::trim(&text[at + 1..]));
        let value = match &value[..] {
            [b'"', inner @ .., b'"'] => {
                let (mut plain, mut escaped) = (Vec::new(), false);
                for &b in inner {
                    if b == b'\\' && !escaped {
                        escaped = true;
                    } else {
                        if b == b'"' && !escaped {
                            return None;
                        }
                        plain.push(b);
                        escaped = false;
                    }
                }
                if escaped {
                    return None;
                }
                plain
            }
            _ => value,
        };
        (is_token(&name) && is_token(&value)).then_some((name, Some(value)))
    }
}

/// A byte of choices, then payloads, each behind a byte with its length: for any cut, the inflated
/// bytes and the error are those of a second decoder of RFC 1951, and bounded.
pub fn inflate(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.byte();
    let wanted = Compression { server_takeover: choice & 1 == 0, ..Compression::default() };
    let limits =
        Limits { message: [100_000, 0, 5, 300][usize::from(choice >> 1 & 3)], ..Limits::default() };
    let opcode = if choice & 8 == 0 { Opcode::Binary } else { Opcode::Text };
    let mut codecs = Cut::ALL.map(|cut| (cut, Codec::client(&Agreed::to(&wanted), &wanted)));
    let mut puff = Puff::of(1 << 15);
    while !input.is_empty() {
        let len = usize::from(input.byte());
        // The last one may be longer.
        let payload = input.take(if len == 255 { usize::MAX } else { len });
        let (data, want) = puff.message(payload, limits.message);
        let want = meaning(opcode, data, want);
        if !wanted.server_takeover {
            puff.forget();
        }
        let mut goes_on = true;
        for (cut, codec) in &mut codecs {
            let got = inflated(codec, opcode, cut.pieces(payload), &limits);
            goes_on &= match (&got, &want) {
                // The error is reported with the next message, if at all.
                (_, Err((Wrong::CutInHead, _))) => false,
                (Ok(got), Ok(want)) => {
                    assert_eq!(got, want, "{cut:?}");
                    true
                }
                (Err(got), Err((_, want))) => {
                    assert_eq!(got, want, "{cut:?}");
                    false
                }
                (got, want) => panic!("{cut:?}: {got:?}, not {want:?}"),
            };
        }
        if !goes_on {
            return;
        }
    }
}

type Meaning = Result<Vec<u8>, (Wrong, Violation)>;

fn meaning(opcode: Opcode, data: Vec<u8>, result: Result<(), Wrong>) -> Meaning {
    let utf8 = std::str::from_utf8(&data).err();
    let is_bad = match result {
        Ok(()) => utf8.is_some(),
        // Whether more bytes could have made it valid.
        Err(_) => utf8.is_some_and(|e| e.error_len().is_some()),
    };
    if opcode == Opcode::Text && is_bad {
        return Err((result.err().unwrap_or(Wrong::Broken), Violation::NotUtf8));
    }
    match result {
        Ok(()) => Ok(data),
        Err(Wrong::TooBig) => Err((Wrong::TooBig, Violation::MessageTooBig)),
        Err(wrong) => Err((wrong, Violation::Deflate)),
    }
}

fn inflated(
    codec: &mut Codec,
    opcode: Opcode,
    pieces: Vec<&[u8]>,
    limits: &Limits,
) -> Result<Vec<u8>, Violation> {
    let mut message = Assembly::new(opcode, true);
    for (i, piece) in pieces.iter().enumerate() {
        let result = message.inflate(codec, piece, limits, i + 1 == pieces.len());
        let most = limits.message + 1 + 64 * 1024;
        assert!(message.data.capacity() <= most, "{} bytes", message.data.capacity());
        result?;
    }
    assert!(message.data.len() <= limits.message);
    Ok(match message.finish()? {
        Message::Text(text) => text.into_bytes().into_owned(),
        Message::Binary(data) => data.into_owned(),
    })
}

/// Two bytes of choices, then messages, each behind a byte with its length: a compressed frame is
/// shorter than the message, and a second decoder of RFC 1951 and our own one inflate it to the
/// message.
pub fn deflate(data: &[u8]) {
    let mut input = Input(data);
    let (choice, window) = (input.byte(), input.byte());
    let takeover = choice & 1 == 0;
    let wanted = Compression {
        client_window: 9 + window % 7,
        client_takeover: takeover,
        server_takeover: takeover,
        level: choice >> 1 & 15,
        threshold: usize::from(choice >> 5),
        ..Compression::default()
    };
    let mut codec = Codec::client(&Agreed::to(&wanted), &wanted);
    let mut reader = Codec::client(&Agreed::to(&wanted), &wanted);
    let mut puff = Puff::of(1 << wanted.client_window);
    let limits = Limits { deflate_rest: Duration::ZERO, ..Limits::default() };
    let now = Instant::now();
    // An error of a message may show many messages later.
    let (rounds, most) =
        [(1, usize::MAX), (1, usize::MAX), (4, 2000), (40, 200)][usize::from(window >> 6)];
    let all = input.take(most);
    for _ in 0..rounds {
        let mut input = Input(all);
        while !input.is_empty() {
            let len = usize::from(input.byte());
            // The last payload may be longer; some are repeated, so that they compress well.
            let piece = input.take(if len > 250 { usize::MAX } else { len });
            let payload = piece.repeat([1, 1, 5, 60][len % 4]);
            let mut out = b"before".to_vec();
            if !codec.deflate(&payload, |made| out.extend_from_slice(made)) {
                assert_eq!(out, b"before");
                // The next messages do not refer to it, either.
                if payload.len() >= wanted.threshold.max(1) {
                    puff.forget();
                }
                continue;
            }
            let compressed = out.strip_prefix(b"before").expect("what was there stays");
            assert!(compressed.len() < payload.len() && payload.len() >= wanted.threshold);
            assert_eq!(puff.message(compressed, payload.len()), (payload.clone(), Ok(())));
            if !takeover {
                puff.forget();
            }
            let pieces = Cut::Random.pieces(compressed);
            assert_eq!(inflated(&mut reader, Opcode::Binary, pieces, &limits), Ok(payload));
            // The memory is freed, and compression continues with the same history.
            if len % 7 == 3 {
                codec.used(now, &limits);
                codec.on_deadline(now, &limits);
            }
        }
    }
}
