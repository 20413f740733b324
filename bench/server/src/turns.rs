//! Many connections that each get a message in turn.
//!
//! A client opens one connection to `/turns`, `/turns-mixed` or `/waves`, which gives the orders, and as
//! many as it likes to `/member`, which get the messages. Orders are those of `/flood`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};

use crate::flood::{Ring, What};
use crate::frame::{self, Frames, TEXT};
use crate::io::Io;
use crate::{Failure, control, finish};

/// Of a masked frame with one byte.
const ANSWER: usize = 7;
/// Messages of a wave.
const WAVE: usize = 1000;

/// Who gets the next message, and when.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The next one, when the one before has answered.
    Round,
    /// Any one, when the one before has answered.
    Mixed,
    /// The next one at once; after 1,000 messages an answer of the connection that gives the orders.
    Waves,
}

/// Those of the client that runs; one runs at a time.
static MEMBERS: Mutex<Vec<TcpStream>> = Mutex::new(Vec::new());

fn members() -> std::sync::MutexGuard<'static, Vec<TcpStream>> {
    MEMBERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connection is the group's from here on.
pub fn join(io: Io) -> Result<(), Failure> {
    let Io::Plain(tcp) = io else { return Err("only without TLS".into()) };
    members().push(tcp);
    Ok(())
}

pub fn serve(io: &mut Io, frames: &mut Frames, order: Order) -> Result<(), Failure> {
    let result = orders(io, frames, order);
    // The client goes, and the connections of its group with it.
    members().clear();
    result
}

fn orders(io: &mut Io, frames: &mut Frames, order: Order) -> Result<(), Failure> {
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
                load = Some(Ring::new(What::Text, count.parse()?, size.parse()?));
                let mut ready = Vec::new();
                frame::header(&mut ready, TEXT, 5);
                ready.extend_from_slice(b"ready");
                io.write_all(&ready)?;
            }
            ["go"] => {
                let mut ring = load.take().ok_or("go without prepare")?;
                send(io, &mut ring, order)?;
            }
            _ => return Err("an unknown order".into()),
        }
    }
    Ok(())
}

fn send(io: &mut Io, ring: &mut Ring, order: Order) -> Result<(), Failure> {
    let group = members();
    if group.is_empty() {
        return Err("nobody is in the group".into());
    }
    let (mut sent, mut random) = (0_usize, 1_u64);
    ring.each(|message| {
        // Any odd factor and a prime number visit them in no order that a cache could foresee.
        random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1_442_695_040_888_963_407);
        let at = if order == Order::Mixed { (random >> 33) as usize } else { sent };
        let mut tcp = &group[at % group.len()];
        tcp.write_all(message)?;
        sent += 1;
        if order != Order::Waves {
            tcp.read_exact(&mut [0; ANSWER])?;
        } else if sent.is_multiple_of(WAVE) {
            io.read_exact(&mut [0; ANSWER])?;
        }
        Ok(())
    })?;
    Ok(())
}
