//! How a session ends.

use super::http::{HttpError, Redirect};
use super::timer::Timer;
use super::ws::Violation;
use super::ws::close::CloseFrame;
use super::ws::handshake::{HandshakeError, Request};

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The closing handshake was completed; what the peer's close frame said.
    Clean(CloseFrame),
    /// The handshake was refused or the peer broke a rule.
    Failed(Failure),
    /// The connection ended without a closing handshake.
    Lost(Lost),
    /// The response is whole.
    Complete,
    /// The answer is elsewhere: the request goes on over another connection.
    Redirected(Box<Redirect>),
    /// The same of a handshake ([`Request::follow_redirects`]).
    Moved(Box<Redirect<Request>>),
}

/// Why the protocol gave a connection up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Before it was open.
    Handshake(HandshakeError),
    /// Afterwards; a close frame with [`Violation::close_code`] was queued.
    Violation(Violation),
    /// The response of a stream is of no use, or not whole.
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
    /// Both close frames passed, but the peer ended before it had taken all that was accepted:
    /// [`Session::unsent`](super::Session::unsent) bytes did not leave.
    Unsent,
}
