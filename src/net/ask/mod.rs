//! What a program asks a reactor to open: a WebSocket or a stream.

mod config;
mod options;
mod proxy;
mod source;
mod stream;
mod way;

use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(feature = "tape")]
use super::event::ConnId;
use super::time::after;
use crate::limits::Limits;
use crate::net::sys::KeepAlive;
use crate::policy::Policy;
use crate::proto::{Session, Settings, Url};
#[cfg(feature = "tape")]
use crate::tape::{OpenedWith, Recorder, Tape};

pub use config::{Config, Override};
pub use options::Options;
pub(in crate::net) use proxy::Credentials;
pub use proxy::{Proxy, ProxyRules, ProxyScheme};
pub(in crate::net) use source::{BodyRead, BodySource};
pub use stream::StreamOptions;
pub(in crate::net) use way::{ProgramStream, Way};

/// The connection to open; made from [`Options`] or [`StreamOptions`].
#[derive(Clone, Debug)]
pub enum Ask {
    /// A WebSocket.
    WebSocket(Options),
    /// A request whose response the program reads while it arrives.
    Stream(Box<StreamOptions>),
}

impl From<Options> for Ask {
    fn from(options: Options) -> Ask {
        Ask::WebSocket(options)
    }
}

impl From<StreamOptions> for Ask {
    fn from(options: StreamOptions) -> Ask {
        Ask::Stream(Box::new(options))
    }
}

impl Ask {
    pub(in crate::net) fn url(&self) -> &Url {
        match self {
            Ask::WebSocket(options) => options.url(),
            Ask::Stream(options) => options.url(),
        }
    }

    /// How the connection reaches the server.
    pub(in crate::net) fn way(&self) -> &Way {
        let way = match self {
            Ask::WebSocket(options) => &options.way,
            Ask::Stream(options) => &options.way,
        };
        way.as_deref().unwrap_or(&Way::USUAL)
    }

    /// The proxy that the options name, or else the proxy that `rules` choose.
    pub(in crate::net) fn proxy(&self, rules: &ProxyRules) -> Option<Proxy> {
        match &self.way().proxy {
            _ if self.url().is_socket() => None,
            Some(own) => own.clone(),
            None => rules.proxy_for(self.url()).cloned(),
        }
    }

    /// The TCP keep-alive probes. By default, a stream without an idle limit has them: without them
    /// it could wait for ever for a server that is gone.
    pub(in crate::net) fn probes(&self, limits: &Arc<Limits>) -> Option<KeepAlive> {
        let waits = matches!(self, Ask::Stream(options) if options.idle.is_none());
        self.way().socket.probes(self.limits(limits), waits)
    }

    /// Adds the keep-alive pings of a face whose calls wait. A stream has none; see
    /// [`StreamOptions::idle`].
    pub(in crate::net) fn kept_alive(self) -> Ask {
        match self {
            Ask::WebSocket(options) => Ask::WebSocket(options.kept_alive()),
            stream => stream,
        }
    }

    /// The limits of the options, or else of the reactor.
    pub(in crate::net) fn limits<'a>(&'a self, limits: &'a Arc<Limits>) -> &'a Arc<Limits> {
        self.own_limits().unwrap_or(limits)
    }

    pub(in crate::net) fn own_limits(&self) -> Option<&Arc<Limits>> {
        match self {
            Ask::WebSocket(options) => options.limits.as_ref(),
            Ask::Stream(options) => options.limits.as_ref(),
        }
    }

    /// The policy of the options, which is asked after the policy of the reactor.
    pub(in crate::net) fn policy(&self) -> &Policy {
        match self {
            Ask::WebSocket(options) => &options.policy,
            Ask::Stream(options) => &options.policy,
        }
    }

    fn timeout(&self) -> Option<Duration> {
        match self {
            Ask::WebSocket(options) => options.timeout,
            Ask::Stream(options) => options.timeout,
        }
    }

    /// The time limit of opening: for a WebSocket up to the end of its handshake, for a stream
    /// until the request can be sent.
    pub(in crate::net) fn opening(&self, limits: &Arc<Limits>) -> Duration {
        self.timeout().unwrap_or(self.limits(limits).opening)
    }

    /// The time limit of the response, once the connection is ready.
    pub(in crate::net) fn response(&self, limits: &Arc<Limits>) -> Duration {
        self.timeout().unwrap_or(self.limits(limits).response)
    }

    /// The deadline of everything before the first message or the body. For a stream without a
    /// timeout, all redirects together have as much time as one request.
    pub(in crate::net) fn total(&self, now: Instant, limits: &Arc<Limits>) -> Instant {
        let opening = self.opening(limits);
        match (self, self.timeout()) {
            (Ask::Stream(_), None) => after(now, opening.saturating_add(self.response(limits))),
            _ => after(now, opening),
        }
    }

    /// The reader of the request's body, if the body is read while it is sent.
    pub(in crate::net) fn source(&self) -> Option<&BodySource> {
        match self {
            Ask::WebSocket(_) => None,
            Ask::Stream(options) if !options.request.is_body_to_come() => None,
            Ask::Stream(options) => options.source.as_ref(),
        }
    }

    /// Whether RFC 6455 §4.1 allows only one such handshake at a time per address.
    pub(in crate::net) fn is_gated(&self) -> bool {
        matches!(self, Ask::WebSocket(_))
    }

    /// The session of this connection, which has to be open at `total`.
    pub(in crate::net) fn session(
        &self,
        limits: &Arc<Limits>,
        trace: bool,
        nonce: [u8; 16],
        total: Instant,
    ) -> Session {
        let limits = Arc::clone(self.limits(limits));
        match self {
            Ask::WebSocket(options) => {
                let settings = options.settings(limits, trace);
                Session::new(&options.request, settings, nonce, Some(total))
            }
            Ask::Stream(options) => {
                let timing = options.timing(&limits, total);
                let settings = Settings { limits, trace, ..Settings::default() };
                Session::stream(options.request.clone(), options.delivery, &settings, timing)
            }
        }
    }

    /// The recorder of that session.
    #[cfg(feature = "tape")]
    pub(in crate::net) fn record(
        &self,
        tape: &Tape,
        id: ConnId,
        now: Instant,
        limits: &Arc<Limits>,
        nonce: [u8; 16],
        total: Instant,
    ) -> Box<Recorder> {
        let limits = Arc::clone(self.limits(limits));
        let asked = match self {
            Ask::WebSocket(options) => OpenedWith::WebSocket {
                request: &options.request,
                settings: &options.settings(limits, false),
                nonce,
                deadline: Some(total),
            },
            Ask::Stream(options) => OpenedWith::Stream {
                request: &options.request,
                delivery: options.delivery,
                timing: options.timing(&limits, total),
                settings: &Settings { limits, ..Settings::default() },
            },
        };
        tape.record(id.to_bits(), now, &asked)
    }
}
