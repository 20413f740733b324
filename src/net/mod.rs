//! Sockets, the poll loop and its three faces: [`Reactor`] (the program drives it), [`Client`] (a
//! thread of its own drives it), and [`WebSocket`], [`Stream`] and [`EventSource`] (blocking).
//! `faces/stand_in.rs` describes a fourth way, in which the Luau side drives the reactor.
//!
//! ```text
//! time, event, session leaves: times; events of a connection; its session
//! sys/                system calls, names to addresses, random bytes
//! ask/                options of a connection
//! wire/               a socket and the layers on it: TLS, proxies; which address when
//! reactor/            the loop, what connections share, and one connection (driver/)
//! faces/              the handles of a program
//! ```
//!
//! Each module uses modules above it in this list and none below (`tests/layering.rs`).

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
pub(crate) use faces::{Ending, MessageGroup, Payloads, Seat, VmThread};
pub use reactor::{Conn, Reactor, Sink};
pub use sys::{
    Dial, Interest, KeepAlive, Os, OsPoller, OwnedStream, Poller, Ready, ResolverAnswer, Socket,
    SocketOptions, Sys, random_byte,
};
#[cfg(feature = "luau")]
pub(crate) use time::{after, earlier};
#[cfg(feature = "tls")]
pub use wire::tls::{Pin, TlsOptions, TlsVersion, Trust, tls_config};

#[cfg(test)]
mod tests;
