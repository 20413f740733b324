//! A WebSocket client (RFC 6455) that also reads HTTP responses and server-sent events while they
//! arrive, without an async runtime and without unsafe code of its own; and, with the feature `luau`,
//! a runtime for Luau scripts written for Roblox's `WebStreamClient` or for the `WebSocket` API of
//! Roblox script environments.
//!
//! # Faces
//!
//! There is one implementation, [`proto`] over a poll loop, and several ways to use it. Choose by
//! the thread that waits for the sockets.
//!
//! **The calling thread waits: [`WebSocket`].** [`connect`] opens one with default options,
//! [`Options`] with your own. [`WebSocket::split`] makes two halves for two threads.
//!
#![cfg_attr(feature = "net", doc = "```no_run")]
#![cfg_attr(not(feature = "net"), doc = "```ignore")]
//! let mut ws = moonwire::connect("wss://echo.example/")?;
//! ws.send_text("hello")?;
//! while let Some(message) = ws.read()? {
//!     println!("{message:?}");
//! }
//! # Ok::<(), moonwire::Error>(())
//! ```
//!
//! **A thread of its own waits: [`Client`] and [`Events`].** Any thread opens, sends and closes with a
//! clone of the client; one receives the events of all connections.
//!
#![cfg_attr(feature = "net", doc = "```no_run")]
#![cfg_attr(not(feature = "net"), doc = "```ignore")]
//! use moonwire::{Client, Config, Event, Options};
//!
//! let (client, mut events) = Client::spawn(Config::default())?;
//! client.open(Options::new("wss://echo.example/")?)?;
//! // Call it until all connections are closed.
//! events.wait(None, |id, event| match event {
//!     Event::Opened(_) => client.send_text(id, "hello").unwrap_or_default(),
//!     Event::Text(text) => println!("{}", text.as_str()),
//!     _ => {}
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Your loop waits: [`Reactor`].** It has no thread. Each [`Reactor::turn`] does the work that is
//! due and passes every event to your closure, without copying its payload.
//!
#![cfg_attr(feature = "net", doc = "```")]
#![cfg_attr(not(feature = "net"), doc = "```ignore")]
//! use moonwire::{Config, Conn, Event, Options, Reactor};
//!
//! let mut reactor = Reactor::new(Config::default())?;
//! reactor.open(Options::new("ws://127.0.0.1:1/")?)?; // nobody listens there
//! while !reactor.is_empty() {
//!     reactor.turn(None, &mut |conn: &mut Conn<'_>, event: Event<'_>| match event {
//!         Event::Opened(_) => conn.send_text("hello").unwrap_or_default(),
//!         Event::Text(text) => println!("{}", text.as_str()),
//!         Event::Closed(why) => println!("{why}"),
//!         _ => {}
//!     })?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **HTTP: [`Stream`] and [`EventSource`].** [`StreamOptions`] is a request whose response is read
//! while it arrives; [`Reactor::open`] and [`Client::open`] accept it, too.
//!
#![cfg_attr(feature = "net", doc = "```no_run")]
#![cfg_attr(not(feature = "net"), doc = "```ignore")]
//! use moonwire::{EventSource, StreamOptions};
//!
//! let options = StreamOptions::get("https://example.com/events")?;
//! let mut source = EventSource::new(options).reconnect(true);
//! while let Some(event) = source.next_event()? {
//!     println!("{}: {}", event.event, event.data);
//! }
//! # Ok::<(), moonwire::Error>(())
//! ```
//!
//! **Luau scripts: [`luau::Runtime`].** In a VM of its own, or by [`luau::install`] in yours.
//!
#![cfg_attr(feature = "luau", doc = "```")]
#![cfg_attr(not(feature = "luau"), doc = "```ignore")]
//! use moonwire::luau::{Line, Options, Runtime};
//!
//! let mut runtime = Runtime::new(Options::new(|line: Line<'_>| println!("{line}")))?;
//! runtime.spawn("hello.luau", "task.wait() print('hello,', ...)", "embedder")?;
//! runtime.run()?;
//! # Ok::<(), moonwire::luau::Error>(())
//! ```
//!
//! **No sockets at all: [`proto`].** The protocol as a state machine, for your own transport.
//!
#![doc = include_str!("../docs/FEATURES.md")]
//!
//! # Limits
//!
//! [`Limits`] holds every number that bounds memory or time, each with its default and its reason.
//! [`Config::limits`] sets those of a reactor, [`Options::limits`] those of one connection. A
//! message has at most [`Limits::message`] bytes, and a send fails while [`Limits::send_queue`]
//! bytes wait to be sent. An open connection is never ended because what it sends leaves slowly
//! ([`Limits::stall`]). A [`Policy`] decides where connections may go; by default, anywhere.
//!
//! # Errors
//!
//! An [`Error`] prints as one line, `URL: stage: reason`. Programs read [`Error::stage`] and
//! [`Error::kind`]; [`Error::is_transient`] tells whether the same attempt may succeed later, and
//! [`Error::response`] is the response of a server that refused the request. A clean close is no
//! error. A call that the state of a connection does not allow, such as a send after the close,
//! returns [`proto::Misuse`]. No error shows a secret, and no peer, URL, header or certificate
//! makes a function of this crate panic.
//!
//! # Sections
//!
//! `§` and a number name a section of the RFC that is named before it: [RFC 6455] (WebSocket),
//! [RFC 7692] (compressed messages), [RFC 9110] and [RFC 9112] (HTTP), [RFC 3986] (URLs).
//!
//! [RFC 6455]: https://www.rfc-editor.org/rfc/rfc6455
//! [RFC 7692]: https://www.rfc-editor.org/rfc/rfc7692
//! [RFC 9110]: https://www.rfc-editor.org/rfc/rfc9110
//! [RFC 9112]: https://www.rfc-editor.org/rfc/rfc9112
//! [RFC 3986]: https://www.rfc-editor.org/rfc/rfc3986
//!
//! # Reading on
//!
//! The folder `docs/` of the repository has: `RUST.md`, a guide to all of the above; `LUAU.md` and
//! `EMBEDDING.md` for scripts; `POLICY.md`; `RFC6455.md`, `RFC7692.md` and `RFC9112.md`, which list
//! for each rule the code that keeps it and the test that proves it; `LIMITS.md`; `SYSTEMS.md`.
//! `SECURITY.md` names the promises and the attackers. `examples/` has a program for each face.
// Without these features, some items to which this page links do not exist.
#![cfg_attr(not(all(feature = "luau", feature = "tls")), allow(rustdoc::broken_intra_doc_links))]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(all(feature = "luau", panic = "abort"))]
compile_error!(
    "Luau reports errors by unwinding: with panic = \"abort\" a script's first wrong argument \
     would end the process. Remove panic = \"abort\" from the profile."
);

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod audit;
#[cfg(all(feature = "cli", feature = "luau", feature = "tls"))]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "net")]
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod limits;
#[cfg(feature = "luau")]
pub mod luau;
#[cfg(feature = "net")]
mod net;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod peer;
#[cfg(feature = "net")]
mod policy;
pub mod proto;
#[cfg(all(feature = "deflate", any(test, fuzzing, feature = "cli")))]
mod puff;
#[cfg(feature = "tape")]
pub mod tape;
pub mod trace;

#[cfg(feature = "net")]
pub use error::{Error, ErrorKind, ProxyError, Stage};
pub use limits::Limits;
#[cfg(feature = "luau")]
pub use mlua;
#[cfg(feature = "net")]
pub use net::*;
#[cfg(feature = "net")]
pub use policy::{Allowed, Destination, Policy};
#[cfg(feature = "tls")]
pub use rustls;
#[cfg(feature = "json")]
pub use serde_json;

/// Doc tests run the Rust code of the README and of the pages in `docs`.
#[cfg(all(doctest, feature = "luau", feature = "tls", feature = "deflate"))]
mod pages {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/EMBEDDING.md")]
    mod embedding {}
    #[doc = include_str!("../docs/POLICY.md")]
    mod policy {}
    #[doc = include_str!("../docs/RUST.md")]
    mod rust {}
}
