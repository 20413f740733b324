//! How a session ended.

use super::http::{HttpError, Redirect};
use super::timer::Timer;
use super::ws::Violation;
use super::ws::close::CloseFrame;
use super::ws::handshake::{HandshakeError, Request};

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The closing handshake was completed; this is the peer's close frame.
    Clean(CloseFrame),
    /// The handshake or the response failed, or the peer broke a rule.
    Failed(Failure),
    /// The connection ended without a closing handshake, or before the kernel took all that was
    /// accepted.
    Lost(Lost),
    /// The whole response was received.
    Complete,
    /// The response was a redirect: the session for its request continues over another connection.
    Redirected(Box<Redirect>),
    /// The server answered the handshake with a redirect ([`Request::follow_redirects`]).
    HandshakeRedirected(Box<Redirect<Request>>),
}

/// Why the session failed the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The opening handshake failed.
    Handshake(HandshakeError),
    /// The peer broke a rule after the handshake; a close frame with [`Violation::close_code`] was
    /// queued.
    Violation(Violation),
    /// The exchange failed: its response is not usable or not complete, or its request was not
    /// sent.
    Http(HttpError),
}

/// How an open connection ended too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lost {
    /// The peer ended the stream before its close frame came.
    Eof,
    /// A deadline passed.
    Timeout(Timer),
    /// Both close frames were exchanged, but the peer closed the connection before the kernel took
    /// all accepted bytes: [`Session::unsent`](super::Session::unsent) bytes were not sent.
    Unsent,
}
