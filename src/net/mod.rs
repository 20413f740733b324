//! Sockets, the poll loop and its three faces: [`Reactor`] (the embedder drives it), [`Client`]
//! (a thread of its own), and [`WebSocket`], [`Stream`] and [`EventSource`] (blocking). For the Luau
//! side there is a fourth way, which `faces/stand_in.rs` describes.
//!
//! ```text
//! time, event, session leaves: times; what is told; what speaks the protocol
//! sys/                system calls, names to addresses, random bytes
//! ask/                what can be asked for
//! wire/               a socket and what lies on it: TLS, which address when
//! reactor/            the loop, what connections share, and one connection (driver/)
//! faces/              what a program holds
//! ```
//!
//! Each uses what stands above it in this list and nothing below (`tests/layering.rs`).

mod ask;
mod event;
mod faces;
mod reactor;
mod session;
pub(crate) mod sys;
mod time;
pub(crate) mod wire;

pub use ask::{Ask, Config, Options, Override, Proxy, ProxyRules, ProxyScheme, StreamOptions};
pub use event::{Closed, ConnId, Event};
pub use faces::{
    Batch, Client, EventIter, EventSource, Events, Incoming, Interrupter, Items, Message, Piece,
    Received, Receiver, Sender, Stream, WebSocket, connect, get,
};
#[cfg(feature = "luau")]
pub(crate) use faces::{Ending, Owner, Payloads, Run, Seat};
pub use reactor::{Conn, Reactor, Sink};
pub use sys::{
    Answer, Dial, Interest, KeepAlive, Os, OsPoller, OwnedStream, Poller, Ready, Socket,
    SocketOptions, Sys, random_byte,
};
#[cfg(feature = "luau")]
pub(crate) use time::{after, earlier};
#[cfg(feature = "tls")]
pub use wire::tls::{Pin, TlsOptions, TlsVersion, Trust, tls_config};

#[cfg(test)]
mod tests;
