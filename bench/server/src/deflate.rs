//! permessage-deflate (RFC 7692): windows of 15 bits and context takeover in both directions, or none.
//!
//! | path | what it does |
//! |---|---|
//! | `/deflate-flood` | `prepare COUNT SIZE` → `ready WIRE`, once the messages are compressed, with their bytes on the wire; `go` → the messages |
//! | `/deflate-sink` | `sample COUNT SIZE` → so many messages, not compressed; throws others away; one of one byte is answered with `MESSAGES BYTES WIRE` |
//! | `/deflate-idle?bytes=N` | sends one message of N bytes, then nothing |

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush};

use crate::frame::{self, BINARY, Frames, TEXT};
use crate::http::Request;
use crate::io::Io;
use crate::{Failure, control, finish, json};

/// The end of each compressed message, which is not sent (§7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// The bytes of one write.
const PIECE: usize = 256 * 1024;

/// The response's field line for the client's offer.
pub fn agree(offer: &str) -> Result<String, Failure> {
    let mut words = offer.split(',').next().unwrap_or_default().split(';').map(str::trim);
    if words.next() != Some("permessage-deflate") {
        return Err("compression is not asked for".into());
    }
    let mut answer = "Sec-WebSocket-Extensions: permessage-deflate".to_owned();
    for word in words {
        match word {
            // The response has to repeat this parameter (§7.1.2.1).
            "server_max_window_bits=15" => answer.push_str("; server_max_window_bits=15"),
            "client_max_window_bits" | "client_max_window_bits=15" => {}
            // Other parameters would be another case.
            other => return Err(format!("{other} is asked for").into()),
        }
    }
    Ok(answer + "\r\n")
}

pub fn serve(io: &mut Io, request: &Request) -> Result<(), Failure> {
    let mut peer = Peer { frames: Frames::new(), inflate: None, text: Vec::new() };
    match request.path.as_str() {
        "/deflate-flood" => flood(io, &mut peer),
        "/deflate-sink" => sink(io, &mut peer),
        "/deflate-idle" => {
            if let Some(bytes) = request.number("bytes") {
                io.write_all(&encode(1, bytes)?)?;
            }
            while peer.next(io)?.is_some() {}
            Ok(())
        }
        other => Err(format!("there is no {other}").into()),
    }
}

/// Makes frames of `count` messages of `size` bytes; the first refers to no earlier message.
fn encode(count: usize, size: usize) -> Result<Vec<u8>, Failure> {
    let config = DeflateConfig { level: 6, window_bits: -15, ..DeflateConfig::default() };
    let mut deflate = Deflate::new_with_config(config);
    // More than any message needs: incompressible data grows by a few bytes for each 16 KiB.
    let mut room = vec![0; size * 2 + 64];
    let mut out = Vec::new();
    for number in 0..count {
        let before = deflate.total_out();
        let text = json::text(number, size);
        deflate.compress(text.as_bytes(), &mut room, DeflateFlush::SyncFlush).map_err(failure)?;
        let made = (deflate.total_out() - before) as usize;
        let payload = room[..made].strip_suffix(&TAIL).ok_or("no flush")?;
        let at = out.len();
        frame::header(&mut out, TEXT, payload.len());
        out[at] |= 0x40;
        out.extend_from_slice(payload);
    }
    Ok(out)
}

fn failure(error: impl std::fmt::Debug) -> Failure {
    format!("{error:?}").into()
}

/// The same frames, kept, since many clients ask for them.
fn flood_of(count: usize, size: usize) -> Result<Arc<Vec<u8>>, Failure> {
    type Kept = HashMap<(usize, usize), Arc<Vec<u8>>>;
    static KEPT: Mutex<Option<Kept>> = Mutex::new(None);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = kept.get_or_insert_default();
    if let Some(flood) = kept.get(&(count, size)) {
        return Ok(Arc::clone(flood));
    }
    let flood = Arc::new(encode(count, size)?);
    kept.insert((count, size), Arc::clone(&flood));
    Ok(flood)
}

/// The messages of a client.
struct Peer {
    frames: Frames,
    /// Created for the first compressed message.
    inflate: Option<Inflate>,
    text: Vec<u8>,
}

impl Peer {
    /// Reads the next message and inflates it to `text`; returns its bytes on the wire, if one came.
    fn next(&mut self, io: &mut Io) -> Result<Option<usize>, Failure> {
        while let Some(next) = self.frames.next(io)? {
            let payload = self.frames.payload(&next);
            if !matches!(next.opcode, TEXT | BINARY) {
                let answer = control(next.opcode, payload);
                if finish(io, answer, next.opcode)? {
                    break;
                }
                continue;
            }
            self.text.clear();
            if next.compressed {
                let inflate = self.inflate.get_or_insert_with(|| Inflate::new(false, 15));
                for piece in [payload, &TAIL] {
                    inflated(inflate, piece, &mut self.text)?;
                }
            } else {
                self.text.extend_from_slice(payload);
            }
            return Ok(Some(next.wire));
        }
        Ok(None)
    }
}

fn inflated(inflate: &mut Inflate, mut piece: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
    // `resize` fills this room with zeros first, so it is bounded.
    let room = (piece.len() * 8).clamp(64, 64 * 1024);
    loop {
        let at = out.len();
        out.resize(at + room, 0);
        let (total_in, total_out) = (inflate.total_in(), inflate.total_out());
        let result = inflate.decompress(piece, &mut out[at..], InflateFlush::SyncFlush);
        let made = (inflate.total_out() - total_out) as usize;
        piece = &piece[(inflate.total_in() - total_in) as usize..];
        let full = at + made == out.len();
        out.truncate(at + made);
        // With no input left, `decompress` reports an error, which is ignored.
        if !full && piece.is_empty() {
            return Ok(());
        }
        result.map_err(failure)?;
    }
}

fn words(text: &[u8]) -> Result<Vec<&str>, Failure> {
    Ok(std::str::from_utf8(text)?.split(' ').collect())
}

fn plain(io: &mut Io, text: &str) -> Result<(), Failure> {
    let mut out = Vec::new();
    frame::header(&mut out, TEXT, text.len());
    out.extend_from_slice(text.as_bytes());
    Ok(io.write_all(&out)?)
}

fn flood(io: &mut Io, peer: &mut Peer) -> Result<(), Failure> {
    let mut load = None;
    while peer.next(io)?.is_some() {
        match words(&peer.text)?[..] {
            ["prepare", count, size] => {
                let flood = flood_of(count.parse()?, size.parse()?)?;
                plain(io, &format!("ready {}", flood.len()))?;
                load = Some(flood);
            }
            ["go"] => {
                let flood = load.take().ok_or("go without prepare")?;
                flood.chunks(PIECE).try_for_each(|piece| io.write_all(piece))?;
            }
            _ => return Err("an unknown order".into()),
        }
    }
    Ok(())
}

fn sink(io: &mut Io, peer: &mut Peer) -> Result<(), Failure> {
    let (mut messages, mut bytes, mut wire) = (0, 0, 0);
    while let Some(length) = peer.next(io)? {
        if peer.text.len() == 1 {
            plain(io, &format!("{messages} {bytes} {wire}"))?;
            (messages, bytes, wire) = (0, 0, 0);
        } else if peer.text.starts_with(b"sample ") {
            let words = words(&peer.text)?;
            let [_, count, size] = words[..] else { return Err("an unknown order".into()) };
            let size = size.parse()?;
            for number in 0..count.parse()? {
                plain(io, &json::text(number, size))?;
            }
        } else {
            messages += 1;
            bytes += peer.text.len();
            wire += length;
        }
    }
    Ok(())
}
