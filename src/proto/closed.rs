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
    /// The opening handshake was refused, or the peer broke a rule.
    Failed(Failure),
    /// The connection ended without a closing handshake.
    Lost(Lost),
    /// The response was received completely.
    Complete,
    /// The response was a redirect: the request continues over another connection.
    Redirected(Box<Redirect>),
    /// The handshake was answered by a redirect that is followed ([`Request::follow_redirects`]).
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
    /// The response of a stream is not usable, or not complete.
    Http(HttpError),
}

/// How a connection was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lost {
    /// The stream ended.
    Eof,
    /// A deadline passed.
    Timeout(Timer),
    /// Both close frames passed, but the peer closed the connection before it had taken everything
    /// that was accepted: [`Session::unsent`](super::Session::unsent) bytes were not sent.
    Unsent,
}
