//! What an audit is told.

use std::fmt;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::net::Override;
use crate::policy::Policy;
use crate::proto::Url;

/// What an audit is told.
#[non_exhaustive]
pub struct Options {
    /// The server, and the path at it.
    pub url: Url,
    /// Broken input, too; for loopback addresses alone.
    pub hostile: bool,
    /// The names of the checks to be made; empty: all.
    pub only: Vec<String>,
    /// Further fields of each request, as a name and a value.
    pub headers: Vec<(String, String)>,
    /// Where to connect to instead of asking the resolver.
    pub resolve: Vec<Override>,
    /// Where the audit may connect to.
    pub policy: Policy,
    /// When the whole of it ends.
    pub until: Option<Instant>,
    /// How long an answer may take: 5 s. What has not come by then is said not to have come.
    pub patience: Duration,
    /// How long the server is left alone to see whether it pings: 2 s. Many servers ping every 20 or 30 s.
    pub idle: Duration,
    /// TLS for `wss://`; without it, the roots of `webpki-roots`.
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

impl Options {
    /// The audit of a server, with what any client may send.
    pub fn new(url: Url) -> Options {
        Options {
            url,
            hostile: false,
            only: Vec::new(),
            headers: Vec::new(),
            resolve: Vec::new(),
            policy: Policy::open(),
            until: None,
            patience: Duration::from_secs(5),
            idle: Duration::from_secs(2),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("url", &self.url)
            .field("hostile", &self.hostile)
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}
