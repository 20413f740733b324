//! The configuration of a reactor.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
#[cfg(feature = "tls")]
use std::sync::Arc;

use super::proxy::ProxyRules;
use crate::limits::Limits;
use crate::policy::Policy;
use crate::proto::{Host, Url};
#[cfg(feature = "tape")]
use crate::tape::Tape;
use crate::trace::Observer;

/// The configuration of a reactor; the default suits most programs.
///
/// ```
/// use moonwire::{Config, Limits, Policy};
///
/// let config = Config {
///     limits: Limits { message: 1024 * 1024, ..Limits::default() },
///     policy: Policy::public(),
///     ..Config::default()
/// };
/// # drop(config);
/// ```
#[derive(Default)]
pub struct Config {
    /// The limits of the reactor, and of its connections.
    pub limits: Limits,
    /// TLS for `wss://` and `https://`; `None`: the roots of `webpki-roots` (loaded at the first
    /// use). [`crate::TlsOptions`] makes a configuration, and [`crate::tls_config`] one with
    /// further roots.
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// TLS to `https` proxies, unless the proxy has its own configuration
    /// ([`Proxy::tls`](crate::Proxy::tls)); `None`: the roots of `webpki-roots`.
    #[cfg(feature = "tls")]
    pub proxy_tls: Option<Arc<rustls::ClientConfig>>,
    /// Addresses that replace the resolver's answer; a proxy gets such an address, too. If an HTTP
    /// proxy handles a request itself (`http://`), the request still names the host of its URL.
    pub resolve: Vec<Override>,
    /// Which connections use which proxy; none by default. No environment variable is read.
    pub proxy: ProxyRules,
    /// Where connections may go; [`Policy::open`] by default.
    pub policy: Policy,
    /// Is called for every frame and change of state. A clone of the configuration has the observer
    /// only if it can be shared ([`Observer::share`]), as an `Arc<Mutex<_>>` can.
    pub observer: Option<Box<dyn Observer>>,
    /// Records every connection, so that a test can replay it ([`Tape`]). A clone of the
    /// configuration records to the same tape.
    #[cfg(feature = "tape")]
    pub tape: Option<Tape>,
}

impl Clone for Config {
    /// Clones everything but an observer that cannot be shared ([`Config::observer`]).
    fn clone(&self) -> Config {
        Config {
            limits: self.limits.clone(),
            #[cfg(feature = "tls")]
            tls: self.tls.clone(),
            #[cfg(feature = "tls")]
            proxy_tls: self.proxy_tls.clone(),
            resolve: self.resolve.clone(),
            proxy: self.proxy.clone(),
            policy: self.policy.clone(),
            observer: self.observer.as_ref().and_then(|observer| observer.share()),
            #[cfg(feature = "tape")]
            tape: self.tape.clone(),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("limits", &self.limits)
            .field("resolve", &self.resolve)
            .field("proxy", &self.proxy)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// A host and port, and the address to which connections to them go. TLS and the `Host` field still
/// use the name in the URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The host, in lower case, without a final dot.
    pub host: String,
    /// The port of the URL.
    pub port: u16,
    /// The address to connect to.
    pub to: SocketAddr,
}

impl std::str::FromStr for Override {
    type Err = String;

    /// Parses `HOST:PORT:ADDRESS` or `HOST:PORT:ADDRESS:PORT`. An IPv6 address may stand in
    /// brackets, and has to if a port follows.
    ///
    /// ```
    /// let o: moonwire::Override = "echo.example:443:[::1]:8443".parse()?;
    /// assert_eq!((o.host.as_str(), o.port, o.to.port()), ("echo.example", 443, 8443));
    /// # Ok::<(), String>(())
    /// ```
    fn from_str(text: &str) -> Result<Override, String> {
        let bad = || format!("\"{text}\" is not HOST:PORT:ADDRESS[:PORT]");
        let (host, rest) = match text.strip_prefix('[').and_then(|t| t.split_once(']')) {
            Some((v6, rest)) => (format!("[{v6}]"), rest.strip_prefix(':').ok_or_else(bad)?),
            None => {
                let (host, rest) = text.split_once(':').ok_or_else(bad)?;
                (host.to_owned(), rest)
            }
        };
        let (port, address) = rest.split_once(':').ok_or_else(bad)?;
        // The parser of URLs decides which hosts and ports are valid.
        let url = Url::parse(&format!("ws://{host}:{port}/")).map_err(|_| bad())?;
        let to = match address.parse::<SocketAddr>() {
            Ok(to) => to,
            Err(_) => {
                let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
                let ip: IpAddr = bare.unwrap_or(address).parse().map_err(|_| bad())?;
                SocketAddr::new(ip, url.port())
            }
        };
        Ok(Override { host: url.host().to_string(), port: url.port(), to })
    }
}

impl Override {
    pub(crate) fn is_for(&self, host: &Host, port: u16) -> bool {
        self.port == port && self.host == host.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clone of a configuration is for another reactor.
    #[test]
    fn a_clone_has_all_but_an_observer_that_cannot_be_shared() {
        use std::sync::{Arc, Mutex};

        use crate::trace::Lines;

        let resolve = vec!["a.example:443:127.0.0.1".parse().unwrap()];
        let limits = Limits { connections: 7, ..Limits::default() };
        let policy = Policy::public();
        let of = |observer| Config {
            resolve: resolve.clone(),
            limits: limits.clone(),
            policy: policy.clone(),
            observer: Some(observer),
            ..Config::default()
        };
        let alone = of(Box::new(Lines::new(Vec::new())));
        let shared = of(Box::new(Arc::new(Mutex::new(Lines::new(Vec::new())))));
        let clones = [alone.clone(), shared.clone(), shared.clone().clone()];
        for clone in &clones {
            assert_eq!(format!("{clone:?}"), format!("{alone:?}"));
        }
        assert_eq!(clones.map(|clone| clone.observer.is_some()), [false, true, true]);
    }

    #[test]
    fn overrides_as_curl_writes_them() {
        for (text, host, port, to) in [
            ("a.example:443:127.0.0.1", "a.example", 443, "127.0.0.1:443"),
            ("A.Example:443:127.0.0.1:8443", "a.example", 443, "127.0.0.1:8443"),
            ("a:80:[::1]:8080", "a", 80, "[::1]:8080"),
            ("a:80:[::1]", "a", 80, "[::1]:80"),
            ("a:80:::1", "a", 80, "[::1]:80"),
            ("[::2]:80:127.0.0.1", "[::2]", 80, "127.0.0.1:80"),
        ] {
            let o: Override = text.parse().unwrap();
            assert_eq!((o.host.as_str(), o.port, o.to.to_string().as_str()), (host, port, to));
        }
        for bad in ["", "a", "a:80", "a:80:b", "a:0:127.0.0.1", "a:x:127.0.0.1", ":80:127.0.0.1"] {
            assert!(bad.parse::<Override>().is_err(), "{bad}");
        }
    }
}
