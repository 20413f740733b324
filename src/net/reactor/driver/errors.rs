//! Makes the error for the program from the end of a connection, without the parts of secret URLs.
//! Changes no state.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Stage};
use crate::limits::Limits;
use crate::net::event::Closed;
use crate::proto::http::HttpError;
use crate::proto::secret::SECRET;
use crate::proto::{self, Failure, HandshakeError, Lost, Phases, Timer, Url};

/// The data for errors of a connection that has ended.
pub(super) struct ErrorData<'a> {
    /// The URL as it may be shown.
    pub(super) url: &'a Shown,
    pub(super) stage: Stage,
    pub(super) limits: &'a Limits,
    /// The time limit of the current step.
    pub(super) limit: Duration,
    /// The idle limit of a stream's body.
    pub(super) idle: Duration,
    /// The status of a stream's response.
    pub(super) status: Option<u16>,
    /// How many bytes were accepted and not sent.
    pub(super) unsent: usize,
    /// How long each completed step took.
    pub(super) phases: Phases,
    /// How many requests the connection had carried before this one.
    pub(super) served: u32,
}

/// All that a connection keeps of its URL once the socket is connected: what errors show.
pub(super) struct Shown(Arc<str>);

impl Shown {
    pub(super) fn of(url: &Url) -> Shown {
        Shown(url.shown())
    }

    /// Any other URL begins with its scheme.
    fn is_secret(&self) -> bool {
        *self.0 == *SECRET
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'a> ErrorData<'a> {
    pub(super) fn new(url: &'a Shown, stage: Stage, limits: &'a Limits) -> ErrorData<'a> {
        let (limit, idle) = (Duration::ZERO, Duration::ZERO);
        let phases = Phases::default();
        ErrorData { url, stage, limits, limit, idle, status: None, unsent: 0, phases, served: 0 }
    }

    /// An error of this kind at the current stage.
    pub(super) fn error(&self, kind: ErrorKind) -> Error {
        Error::new(self.url, self.stage, self.discreet(kind)).with_phases(self.phases)
    }

    /// How the connection ended, for the program; `kind` is the error of the transport, if that was
    /// the cause. Not for redirects, which are no end.
    pub(super) fn closed(&self, closed: proto::Closed, kind: Option<ErrorKind>) -> Closed {
        match self.ended(closed, kind) {
            Closed::Failed(e) => Closed::Failed(e.with_phases(self.phases)),
            Closed::Lost(e) => Closed::Lost(e.with_phases(self.phases)),
            good => good,
        }
    }

    fn ended(&self, closed: proto::Closed, kind: Option<ErrorKind>) -> Closed {
        let unsent = |error: Error| error.with_unsent(self.unsent);
        match closed {
            proto::Closed::Clean(frame) => Closed::Clean(frame),
            proto::Closed::Complete
            | proto::Closed::Redirected(_)
            | proto::Closed::HandshakeRedirected(_) => Closed::Complete,
            proto::Closed::Failed(Failure::Http(e)) => self.stream(e, kind),
            // After a broken rule, these bytes may still be sent before our close frame.
            proto::Closed::Failed(failure) => Closed::Failed(unsent(self.failed(failure, kind))),
            proto::Closed::Lost(lost) => Closed::Lost(unsent(self.lost(lost, kind))),
        }
    }

    fn lost(&self, lost: Lost, kind: Option<ErrorKind>) -> Error {
        let kind = match lost {
            Lost::Timeout(Timer::Pong) => ErrorKind::Silence(self.limits.pong),
            Lost::Timeout(Timer::Stall) => ErrorKind::Stalled(self.limits.stall),
            Lost::Timeout(_) => ErrorKind::NoCloseAnswer(self.limits.close),
            Lost::Eof => return self.transport(kind.unwrap_or(ErrorKind::Eof)),
            Lost::Unsent => return self.transport(kind.unwrap_or(ErrorKind::Unsent)),
        };
        Error::new(self.url, Stage::Open, kind)
    }

    fn failed(&self, failure: Failure, kind: Option<ErrorKind>) -> Error {
        let error = |kind| Error::new(self.url, self.stage, kind);
        match failure {
            Failure::Violation(v) => {
                let kind = ErrorKind::Violation(v);
                Error::new(self.url, Stage::Open, kind).with_limits(self.limits)
            }
            Failure::Handshake(HandshakeError::Timeout) => error(ErrorKind::Timeout(self.limit)),
            // A received response is reported, even if the rest of its body failed.
            Failure::Handshake(
                e @ (HandshakeError::Status(_) | HandshakeError::Redirect { .. }),
            ) => error(ErrorKind::Handshake(e)),
            Failure::Handshake(e) => match (self.stage, kind) {
                (_, Some(kind)) => self.transport(kind),
                (Stage::Tls, None) => error(tls_ended()),
                (_, None) => error(ErrorKind::Handshake(e)),
            },
            Failure::Http(e) => error(ErrorKind::Http(e)),
        }
    }

    /// The end of a stream with an error: lost if its body had begun, otherwise failed.
    fn stream(&self, e: HttpError, kind: Option<ErrorKind>) -> Closed {
        let error = |kind| Error::new(self.url, self.stage, kind);
        let served = if e == HttpError::Eof { self.served } else { 0 };
        let error = match (e, kind) {
            (e @ (HttpError::ShortBody(_) | HttpError::LongBody(_)), _) => {
                Error::new(self.url, Stage::Request, ErrorKind::Http(e))
            }
            (HttpError::Timeout, _) => error(ErrorKind::Timeout(self.limit)),
            (HttpError::Idle, _) => error(ErrorKind::Idle(self.idle)),
            (HttpError::Stalled, _) => error(ErrorKind::Stalled(self.limits.stall)),
            (HttpError::Eof | HttpError::Truncated(_), Some(kind)) => self.transport(kind),
            (HttpError::Eof, None) if self.stage == Stage::Tls => error(tls_ended()),
            (e, _) => error(ErrorKind::Http(e)).with_limits(self.limits),
        };
        let error = error.with_status(self.status).with_unsent(self.unsent).with_served(served);
        if self.stage == Stage::Body { Closed::Lost(error) } else { Closed::Failed(error) }
    }

    /// The error for a request whose body could not be read.
    pub(super) fn upload(&self, kind: ErrorKind) -> Error {
        let error = Error::new(self.url, Stage::Request, kind);
        error.with_status(self.status).with_unsent(self.unsent)
    }

    /// An error of the transport; errors of TLS have the stage of TLS.
    fn transport(&self, kind: ErrorKind) -> Error {
        let tls = matches!(kind, ErrorKind::Tls(..) | ErrorKind::Certificate(..));
        Error::new(self.url, if tls { Stage::Tls } else { self.stage }, self.discreet(kind))
    }

    /// `kind` without the host of a secret URL, which the library or the system may have put into
    /// it.
    fn discreet(&self, kind: ErrorKind) -> ErrorKind {
        match kind {
            kind if !self.url.is_secret() => kind,
            ErrorKind::Connect(all) => {
                ErrorKind::Connect(all.into_iter().map(|(_, e)| (NOWHERE, e)).collect())
            }
            ErrorKind::Waited { limit, others, .. } => {
                ErrorKind::Waited { limit, others, address: NOWHERE }
            }
            ErrorKind::Certificate(text, _) => {
                let names = text.starts_with("the certificate is for ");
                let other = || "the certificate is for another name".into();
                ErrorKind::Certificate(if names { other() } else { text }, None)
            }
            ErrorKind::Tls(text, _) if text.ends_with(" is not a name for TLS") => {
                ErrorKind::Tls("the host is not a name for TLS".into(), None)
            }
            kind => kind,
        }
    }
}

/// Replaces an address that must not be shown, or that does not exist.
pub(super) const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

fn tls_ended() -> ErrorKind {
    ErrorKind::Tls("the server closed the connection".into(), None)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// What names the host or its address is replaced. The rest is kept, since it names the cause.
    #[test]
    fn an_error_of_a_secret_url_loses_the_host_and_nothing_else() {
        let address = SocketAddr::from(([192, 0, 2, 1], 443));
        let certificate = |text: &str| ErrorKind::Certificate(text.into(), None);
        let tls = |text: &str| ErrorKind::Tls(text.into(), None);
        let connect = ErrorKind::Connect(vec![(address, io::ErrorKind::TimedOut.into())]);
        let waited = ErrorKind::Waited { limit: Duration::ZERO, others: 1, address };
        let (url, limits) = (Shown(SECRET.into()), Limits::default());
        for (kind, want) in [
            (connect, "Connect([(0.0.0.0:0, Kind(TimedOut))])"),
            (waited, "Waited { limit: 0ns, others: 1, address: 0.0.0.0:0 }"),
            (
                certificate("the certificate is for b.example"),
                r#"Certificate("the certificate is for another name", None)"#,
            ),
            (certificate("expired"), r#"Certificate("expired", None)"#),
            (
                tls("a.example is not a name for TLS"),
                r#"Tls("the host is not a name for TLS", None)"#,
            ),
            (tls("the server has no TLS"), r#"Tls("the server has no TLS", None)"#),
        ] {
            let error = ErrorData::new(&url, Stage::Tls, &limits).error(kind);
            assert_eq!((error.url(), &*format!("{:?}", error.kind())), ("***", want));
        }
    }
}
