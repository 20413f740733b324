//! The options of an audit.

use std::fmt;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::net::Override;
use crate::policy::Policy;
use crate::proto::Url;

/// The options of an audit.
#[non_exhaustive]
pub struct Options {
    /// The URL of the server.
    pub url: Url,
    /// Whether hostile input is sent, too; for loopback addresses only.
    pub hostile: bool,
    /// The names of the checks; empty: all.
    pub only: Vec<String>,
    /// Additional fields of each request, as names and values.
    pub headers: Vec<(String, String)>,
    /// Addresses to connect to instead of asking the resolver.
    pub resolve: Vec<Override>,
    /// Where the audit may connect to.
    pub policy: Policy,
    /// When the whole audit ends.
    pub until: Option<Instant>,
    /// The time limit of an answer: 5 s. A later answer counts as missing.
    pub patience: Duration,
    /// How long the server is left alone, to see whether it pings: 2 s. Many servers ping every 20
    /// or 30 s.
    pub idle: Duration,
    /// TLS for `wss://`; without it, the roots of `webpki-roots`.
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

impl Options {
    /// An audit of this server, with the checks that send only what any client may send.
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
