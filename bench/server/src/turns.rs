//! Many connections that each get a message in turn.
//!
//! A client opens one connection to `/turns`, `/turns-mixed` or `/waves`, which gives the orders, and any
//! number of connections to `/member`, which get the messages. The orders are those of `/flood`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::flood::{Ring, What};
use crate::frame::Frames;
use crate::io::Io;
use crate::{Failure, orders};

/// The length of a masked frame with one byte.
const ANSWER: usize = 7;
/// The number of messages in a wave.
const WAVE: usize = 1000;

/// Which connection gets the next message, and when.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The next connection, when the previous one has answered.
    Round,
    /// Any connection, when the previous one has answered.
    Mixed,
    /// The next connection at once; after 1,000 messages, the connection with the orders answers.
    Waves,
}

/// The connections of one client that get messages.
#[derive(Default)]
pub struct Group(Mutex<Vec<TcpStream>>);

/// The group of the client that runs now; only one runs at a time.
static LATEST: Mutex<Option<Arc<Group>>> = Mutex::new(None);

impl Group {
    /// Makes a new group if a connection to this path gives orders. The server calls this before it answers
    /// the handshake, since the client opens the other connections then.
    pub fn begin_if(path: &str) -> Option<(Arc<Group>, Order)> {
        let order = match path {
            "/turns" => Order::Round,
            "/turns-mixed" => Order::Mixed,
            "/waves" => Order::Waves,
            _ => return None,
        };
        let group = Arc::new(Group::default());
        *LATEST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&group));
        Some((group, order))
    }

    fn members(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds the connection to the group. The client may give its order as soon as it has this answer; the order
/// waits until the connection is in the group.
pub fn join(mut io: Io, answer: &str) -> Result<(), Failure> {
    let latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let group = latest.ok_or("nobody gives orders")?;
    let mut members = group.members();
    io.write_all(answer.as_bytes())?;
    let Io::Plain(tcp) = io else { return Err("only without TLS".into()) };
    members.push(tcp);
    Ok(())
}

/// Takes orders and follows them.
pub fn serve(io: &mut Io, frames: &mut Frames, group: &Group, order: Order) -> Result<(), Failure> {
    let prepare = |io: &mut Io, ready: Vec<u8>, count, size| {
        let ring = Ring::new(What::Text, count, size);
        io.write_all(&ready)?;
        Ok(ring)
    };
    orders(io, frames, prepare, |io, mut ring| send(io, &mut ring, &group.members(), order))
}

fn send(io: &mut Io, ring: &mut Ring, group: &[TcpStream], order: Order) -> Result<(), Failure> {
    if group.is_empty() {
        return Err("nobody is in the group".into());
    }
    let (mut sent, mut random) = (0_usize, 1_u64);
    ring.each(|message| {
        // A linear congruential generator (with the constants of MMIX): no cache can foresee the order.
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
