//! The load server: blocking threads, and its own code for frames, which favours no client.
//!
//! `bench-server` prints `{"ws": PORT, "wss": PORT}` and serves until its standard input ends.
//!
//! | path | what it does |
//! |---|---|
//! | `/echo` | sends every message back |
//! | `/flood` | `prepare COUNT SIZE` → `ready`, once the messages are encoded (and, over TLS, encrypted); `go` → the messages |
//! | `/flood-json`, `/flood-binary` | the same with JSON, and as binary messages |
//! | `/turns`, `/turns-mixed`, `/waves`, `/member` | `turns.rs` |
//! | `/sink` | throws messages away; one of one byte is answered with `MESSAGES BYTES` |
//! | `/idle?bytes=N` | sends one message of N bytes, then nothing |
//! | `/deflate-flood`, `/deflate-sink`, `/deflate-idle?bytes=N` | `deflate.rs` |
//! | `/sse?n=N&size=S` | HTTP: an event stream of N events of S bytes each |
//! | `/raw?n=N&size=S` | HTTP: the same bytes as `application/octet-stream` |
//! | `/sse-chunked`, `/raw-chunked` | the same with each event in a chunk of its own |
//! | `/sse-fields` | events with `event`, `id` and two lines of `data`, each in a chunk of its own |
//! | `/get?size=S` | HTTP: S bytes to each GET or POST, again and again on one connection as long as the client keeps it |

mod deflate;
mod flood;
mod frame;
mod http;
mod io;
mod json;
mod turns;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use flood::{Load, What};
use frame::{BINARY, CLOSE, Frames, PING, PONG, TEXT};
use http::Request;
use io::Io;
use turns::Group;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let plain = TcpListener::bind("127.0.0.1:0")?;
    let secure = TcpListener::bind("127.0.0.1:0")?;
    let ports = (plain.local_addr()?.port(), secure.local_addr()?.port());
    let tls = io::tls_config()?;
    thread::spawn(move || accept(&plain, None));
    thread::spawn(move || accept(&secure, Some(&tls)));
    let mut out = std::io::stdout().lock();
    writeln!(out, "{{\"ws\": {}, \"wss\": {}}}", ports.0, ports.1)?;
    out.flush()?;
    // The process that started this one has the other end.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn accept(listener: &TcpListener, tls: Option<&Arc<rustls::ServerConfig>>) {
    for tcp in listener.incoming().flatten() {
        let tls = tls.cloned();
        // There may be thousands of these threads, so each has a small stack.
        let thread = thread::Builder::new().stack_size(256 * 1024);
        // If a client ends early, that is no error of the server.
        let spawned = thread.spawn(move || drop(Io::new(tcp, tls).and_then(serve)));
        if let Err(e) = spawned {
            eprintln!("bench-server: no thread: {e}");
        }
    }
}

fn serve(mut io: Io) -> Result<(), Failure> {
    let request = Request::read(&mut io)?;
    if let Some(key) = &request.key {
        if request.path.starts_with("/deflate-") {
            let agreed = deflate::agree(&request.offer)?;
            io.write_all(http::accepted(key, &agreed).as_bytes())?;
            return deflate::serve(&mut io, &request);
        }
        let answer = http::accepted(key, "");
        if request.path == "/member" {
            return turns::join(io, &answer);
        }
        let group = Group::begin_if(&request.path);
        io.write_all(answer.as_bytes())?;
        let mut frames = Frames::new();
        if let Some((group, order)) = group {
            return turns::serve(&mut io, &mut frames, &group, order);
        }
        match request.path.as_str() {
            "/echo" => echo(&mut io, &mut frames)?,
            "/flood" => flood(&mut io, &mut frames, What::Text)?,
            "/flood-binary" => flood(&mut io, &mut frames, What::Binary)?,
            "/flood-json" => flood(&mut io, &mut frames, What::Json)?,
            "/sink" => sink(&mut io, &mut frames)?,
            _ => {
                if let Some(bytes) = request.number("bytes") {
                    let mut out = Vec::new();
                    frame::header(&mut out, TEXT, bytes);
                    out.resize(out.len() + bytes, b'i');
                    io.write_all(&out)?;
                }
                while let Some(next) = frames.next(&mut io)? {
                    let answer = control(next.opcode, frames.payload(&next));
                    if finish(&mut io, answer, next.opcode)? {
                        break;
                    }
                }
            }
        }
        return Ok(());
    }
    match request.path.as_str() {
        "/get" => http::answers(&mut io, request),
        _ => http::stream(&mut io, &request),
    }
}

/// The answer to a control frame; nothing for another frame.
fn control(opcode: u8, payload: &[u8]) -> Option<Vec<u8>> {
    let answer = match opcode {
        PING => PONG,
        CLOSE => CLOSE,
        _ => return None,
    };
    let mut out = Vec::new();
    frame::header(&mut out, answer, payload.len());
    out.extend_from_slice(payload);
    Some(out)
}

/// Writes an answer; returns whether it was the last one.
fn finish(io: &mut Io, answer: Option<Vec<u8>>, opcode: u8) -> Result<bool, Failure> {
    if let Some(answer) = answer {
        io.write_all(&answer)?;
    }
    if opcode == CLOSE {
        io.end()?;
    }
    Ok(opcode == CLOSE)
}

fn echo(io: &mut Io, frames: &mut Frames) -> Result<(), Failure> {
    let mut out = Vec::new();
    while let Some(next) = frames.next(io)? {
        let payload = frames.payload(&next);
        if let TEXT | BINARY = next.opcode {
            out.clear();
            frame::header(&mut out, next.opcode, payload.len());
            out.extend_from_slice(payload);
            // Messages that arrived at once get a write each: each is a round trip.
            io.write_all(&out)?;
        } else {
            let answer = control(next.opcode, payload);
            if finish(io, answer, next.opcode)? {
                break;
            }
        }
    }
    Ok(())
}

fn flood(io: &mut Io, frames: &mut Frames, what: What) -> Result<(), Failure> {
    let prepare = |io: &mut Io, ready, count, size| Ok(Load::new(io, ready, what, count, size)?);
    orders(io, frames, prepare, |io, load| Ok(load.send(io)?))
}

/// Follows the orders `prepare COUNT SIZE`, which makes a load and sends `ready`, and `go`.
fn orders<L>(
    io: &mut Io,
    frames: &mut Frames,
    prepare: impl Fn(&mut Io, Vec<u8>, usize, usize) -> Result<L, Failure>,
    go: impl Fn(&mut Io, L) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut load = None;
    while let Some(next) = frames.next(io)? {
        let payload = frames.payload(&next);
        if next.opcode != TEXT {
            let answer = control(next.opcode, payload);
            if finish(io, answer, next.opcode)? {
                break;
            }
            continue;
        }
        let words: Vec<&str> = std::str::from_utf8(payload)?.split(' ').collect();
        match words[..] {
            ["prepare", count, size] => {
                let mut ready = Vec::new();
                frame::header(&mut ready, TEXT, 5);
                ready.extend_from_slice(b"ready");
                drop(load.take());
                load = Some(prepare(io, ready, count.parse()?, size.parse()?)?);
            }
            ["go"] => go(io, load.take().ok_or("go without prepare")?)?,
            _ => return Err("an unknown order".into()),
        }
    }
    Ok(())
}

fn sink(io: &mut Io, frames: &mut Frames) -> Result<(), Failure> {
    let (mut messages, mut bytes) = (0, 0);
    while let Some(next) = frames.skip(io)? {
        match next.opcode {
            TEXT | BINARY if next.len() == 1 => {
                let text = format!("{messages} {bytes}");
                let mut out = Vec::new();
                frame::header(&mut out, TEXT, text.len());
                out.extend_from_slice(text.as_bytes());
                io.write_all(&out)?;
                (messages, bytes) = (0, 0);
            }
            TEXT | BINARY => {
                messages += 1;
                bytes += next.len();
            }
            _ => {
                frames.unmask(&next);
                let answer = control(next.opcode, frames.payload(&next));
                if finish(io, answer, next.opcode)? {
                    break;
                }
            }
        }
    }
    Ok(())
}
