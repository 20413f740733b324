//! Shared by the tests of `WebStreamClient`: runtimes with helpers, and servers with one response.

use moonwire::luau::Options;

use super::common::{Peer, Scripted, serve_either, trusting};
use super::support::*;

/// A runtime that trusts the root of tests/certs, with the helpers of streams.luau.
pub(crate) fn runtime(mode: Mode) -> Rt {
    with(mode, |options| options)
}

pub(crate) fn with(mode: Mode, change: impl FnOnce(Options) -> Options) -> Rt {
    let rt = Rt::with(mode, |mut options| {
        options.config().tls = trusting().tls;
        change(options)
    });
    rt.runtime.lua().load(include_str!("streams.luau")).set_name("=streams").exec().unwrap();
    let lua = rt.runtime.lua();
    let collect = lua.create_function(|lua, ()| lua.gc_collect().and_then(|()| lua.gc_collect()));
    lua.globals().set("collect", collect.unwrap()).unwrap();
    rt
}

/// The URL of a server for a type of client.
pub(crate) fn url_for<R: Send + 'static>(kind: &str, server: &Scripted<R>) -> String {
    let url = server.url();
    if kind == "WebSocket" { url } else { url.replacen("ws", "http", 1) }
}

/// The events of a client of a URL, from its creation to its end; `options` is a Luau table.
#[track_caller]
pub(crate) fn watch(mode: Mode, kind: &str, url: &str, options: &str) -> Vec<String> {
    runtime(mode).says(&format!("local kind, url = ... watch(kind, url, {options})"), (kind, url))
}

/// The same with a server that reads the request, runs `act`, and ends the stream.
#[track_caller]
pub(crate) fn plays(
    mode: Mode,
    kind: &str,
    secure: bool,
    act: impl FnOnce(Peer) + Send + 'static,
) -> Vec<String> {
    let server = serve_either(secure, |mut peer| {
        peer.request();
        act(peer);
    });
    let said = watch(mode, kind, &url_for(kind, &server), "nil");
    server.join();
    said
}

/// The same with a server that sends this response and ends the stream. It may be closed before it
/// has sent everything.
#[track_caller]
pub(crate) fn answers(mode: Mode, kind: &str, answer: impl AsRef<[u8]>) -> Vec<String> {
    let answer = answer.as_ref().to_vec();
    plays(mode, kind, false, move |mut peer| {
        let _ = peer.try_write(&answer);
        finish(&mut peer);
    })
}

/// Ends the stream in order, so that a reset cannot destroy written bytes.
pub(crate) fn finish(peer: &mut Peer) {
    let _ = peer.tcp.shutdown(std::net::Shutdown::Write);
    peer.rest();
}

/// A response with a length.
pub(crate) fn response(status: &str, fields: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// The head of an event stream that ends with the connection.
pub(crate) const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

/// The events of a script for [`EVENTS`].
pub(crate) const OPENED: &str = "Opened Open 200 Content-Type: text/event-stream\\r\\n";

/// A URL at which no server listens.
pub(crate) fn refused_http() -> String {
    refused().replacen("ws", "http", 1)
}
