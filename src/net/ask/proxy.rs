//! Proxies, and the rules which connections use which.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Stage};
use crate::policy::{name_of, network, number, plain, split_port, within};
use crate::proto::headers::Headers;
use crate::proto::secret::{Guarded, SECRET};
use crate::proto::{Host, Url, escape};

/// The protocol of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyScheme {
    /// HTTP: `CONNECT` (RFC 9110 §9.3.6), and plain requests in absolute form (RFC 9112 §3.2.2).
    Http,
    /// As `Http`, over TLS.
    Https,
    /// SOCKS 5 (RFC 1928); the client resolves names and sends addresses.
    Socks5,
    /// SOCKS 5; the client sends names, and the proxy resolves them.
    Socks5h,
}

impl ProxyScheme {
    const ALL: [ProxyScheme; 4] =
        [ProxyScheme::Http, ProxyScheme::Https, ProxyScheme::Socks5, ProxyScheme::Socks5h];

    /// The name of the scheme, as before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            ProxyScheme::Http => "http",
            ProxyScheme::Https => "https",
            ProxyScheme::Socks5 => "socks5",
            ProxyScheme::Socks5h => "socks5h",
        }
    }

    /// The port of a proxy without one; 1080 is from RFC 1928 §3.
    fn default_port(self) -> u16 {
        match self {
            ProxyScheme::Http => 80,
            ProxyScheme::Https => 443,
            ProxyScheme::Socks5 | ProxyScheme::Socks5h => 1080,
        }
    }

    fn is_socks(self) -> bool {
        matches!(self, ProxyScheme::Socks5 | ProxyScheme::Socks5h)
    }
}

/// A proxy, and our credentials for it.
///
/// The client sends user name and password to this proxy only. `Display` and `Debug` do not show
/// them.
///
/// ```
/// use moonwire::{Options, Proxy};
///
/// let proxy = Proxy::parse("socks5h://user:secret@proxy.example:1080")?;
/// assert_eq!(proxy.to_string(), "socks5h://proxy.example:1080");
/// let options = Options::new("wss://echo.example/")?.proxy(proxy);
/// # Ok::<(), moonwire::Error>(())
/// ```
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    scheme: ProxyScheme,
    /// Host and port.
    url: Url,
    user: Option<Credentials>,
    headers: Headers,
    #[cfg(feature = "tls")]
    tls: Option<Arc<rustls::ClientConfig>>,
}

/// User name and password.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) user: Guarded,
    pub(crate) password: Guarded,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme().as_str(), self.host(), self.port())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl Proxy {
    /// Parses `SCHEME://[USER[:PASSWORD]@]HOST[:PORT]`. The scheme is `http` (the default),
    /// `https`, `socks5` (or `socks`) or `socks5h`. User name and password may be percent-encoded;
    /// a slash, `?` and `#` in them have to be. The default port is 80, 443 or 1080.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ProxyUrl`], which contains neither user name nor password.
    pub fn parse(text: &str) -> Result<Proxy, Error> {
        let shown = match text.rsplit_once('@') {
            Some((_, place)) => place,
            // A text that is not a port may be a part of a password.
            None => {
                let place = text.split_once("://").map_or(text, |(_, rest)| rest);
                let odd = port_of(place).is_some_and(|port| !is_port(port.trim_end_matches('/')));
                if odd { SECRET } else { text }
            }
        };
        Proxy::read(text).map_err(|why| {
            let shown = escape(shown.as_bytes(), 100);
            Error::new(shown, Stage::Url, ErrorKind::ProxyUrl(why))
        })
    }

    fn read(text: &str) -> Result<Proxy, String> {
        let (scheme, rest) = match text.split_once("://") {
            None => (ProxyScheme::Http, text),
            Some((name, rest)) => {
                // GNOME calls the scheme `socks`.
                let name = if name.eq_ignore_ascii_case("socks") { "socks5" } else { name };
                let known = ProxyScheme::ALL.into_iter();
                let mut known = known.filter(|s| s.as_str().eq_ignore_ascii_case(name));
                let expected = "a proxy is http://, https://, socks5:// or socks5h://";
                (known.next().ok_or_else(|| expected.to_owned())?, rest)
            }
        };
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        if user.is_some_and(|user| user.contains(['/', '?', '#'])) {
            // Other parsers end the host here, and take the text behind the @ for another host.
            let what = "has to be percent-encoded in a user name or password";
            return Err(format!("a slash, ? or # {what}"));
        }
        let user = user.map(|user| Credentials::read(user, scheme)).transpose()?;
        let place = place.strip_suffix('/').unwrap_or(place);
        if place.contains(['/', '?', '#']) {
            return Err("a proxy has no path".to_owned());
        }
        if port_of(place).is_some_and(|port| !is_port(port)) {
            return Err("the port is not a number from 1 to 65535".to_owned());
        }
        // An empty port counts as none (RFC 3986 §3.2.3): the scheme's default is used.
        let names_port = |place: &str| port_of(place).is_some();
        let place = place.strip_suffix(':').filter(|rest| !names_port(rest)).unwrap_or(place);
        let port =
            if names_port(place) { String::new() } else { format!(":{}", scheme.default_port()) };
        let url = Url::parse_http(&format!("http://{place}{port}/")).map_err(|e| e.to_string())?;
        Ok(Proxy(Arc::new(Inner {
            scheme,
            url,
            user,
            headers: Headers::default(),
            #[cfg(feature = "tls")]
            tls: None,
        })))
    }

    /// Adds a field to requests to an HTTP proxy. `Proxy-Authorization` is allowed, and replaces
    /// user name and password; this client sends it to no other server. If the proxy handles a
    /// request itself (`http://`), one head is for the proxy and for the server behind it: the
    /// proxy does not forward `Proxy-Authorization` (RFC 9110 §11.7.2), but may forward the other
    /// fields. If the request has a field of the same name, only that one is sent. SOCKS has no
    /// fields.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`], as for [`Options::header`](crate::Options::header); and
    /// [`ErrorKind::ProxyUrl`] for a SOCKS proxy.
    pub fn header(mut self, name: &str, value: &str) -> Result<Proxy, Error> {
        let bad = |kind| Error::new(&self, Stage::Url, kind);
        if self.scheme().is_socks() {
            return Err(bad(ErrorKind::ProxyUrl("SOCKS has no header fields".to_owned())));
        }
        let mut headers = self.0.headers.clone();
        headers.add_for_proxy(name, value).map_err(|e| bad(ErrorKind::Request(e)))?;
        Arc::make_mut(&mut self.0).headers = headers;
        Ok(self)
    }

    /// Sets TLS to an `https` proxy; default: the roots of `webpki-roots`.
    /// [`Config::tls`](crate::Config::tls) is for servers only: it may contain a client
    /// certificate, which a proxy must not get.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: Arc<rustls::ClientConfig>) -> Proxy {
        Arc::make_mut(&mut self.0).tls = Some(config);
        self
    }

    /// The protocol of the proxy.
    pub fn scheme(&self) -> ProxyScheme {
        self.0.scheme
    }

    /// The host of the proxy.
    pub fn host(&self) -> &Host {
        self.0.url.host()
    }

    /// The port of the proxy.
    pub fn port(&self) -> u16 {
        self.0.url.port()
    }

    /// Whether both are the same proxy with the same credentials and fields.
    pub(in crate::net) fn is_same(&self, other: &Proxy) -> bool {
        let (a, b) = (&*self.0, &*other.0);
        let who = |inner: &Inner| inner.user.as_ref().map(|u| (u.user.clone(), u.password.clone()));
        #[cfg(feature = "tls")]
        let tls = match (&a.tls, &b.tls) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        #[cfg(not(feature = "tls"))]
        let tls = true;
        let place = |inner: &Inner| (inner.url.host().clone(), inner.url.port());
        Arc::ptr_eq(&self.0, &other.0)
            || a.scheme == b.scheme
                && place(a) == place(b)
                && who(a) == who(b)
                && a.headers == b.headers
                && tls
    }

    pub(in crate::net) fn url(&self) -> &Url {
        &self.0.url
    }

    pub(in crate::net) fn credentials(&self) -> Option<&Credentials> {
        self.0.user.as_ref()
    }

    pub(in crate::net) fn headers(&self) -> &Headers {
        &self.0.headers
    }

    #[cfg(feature = "tls")]
    pub(in crate::net) fn tls_config(&self) -> Option<&Arc<rustls::ClientConfig>> {
        self.0.tls.as_ref()
    }

    /// Whether the proxy handles a request for `url` itself, in absolute form, as for plain HTTP.
    pub(in crate::net) fn takes_requests_for(&self, url: &Url) -> bool {
        !self.scheme().is_socks() && url.scheme() == crate::proto::Scheme::Http
    }
}

/// The text behind the first colon outside brackets.
fn port_of(place: &str) -> Option<&str> {
    let tail = place.rsplit(']').next().unwrap_or_default();
    tail.split_once(':').map(|(_, port)| port)
}

/// Whether `port` is a port; an empty one means the default (RFC 3986 §3.2.3).
fn is_port(port: &str) -> bool {
    port.is_empty() || number::<u16>(port).is_some_and(|port| port > 0)
}

impl Credentials {
    fn read(text: &str, scheme: ProxyScheme) -> Result<Credentials, String> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let part = |what: &str, text: &str| {
            let decoded = crate::proto::percent_decoded(text);
            let text =
                decoded.ok_or_else(|| format!("the {what} is not correctly percent-encoded"))?;
            // RFC 7617 §2, RFC 1929 §2.
            if text.chars().any(char::is_control) {
                return Err(format!("the {what} contains a control character"));
            }
            if scheme.is_socks() && !(1..=255).contains(&text.len()) {
                return Err(format!("the {what} has to have 1 to 255 bytes (RFC 1929)"));
            }
            Ok(text)
        };
        let (user, password) = (part("user name", user)?, part("password", password)?);
        if !scheme.is_socks() && user.contains(':') {
            return Err("the user name contains a colon, which would end it (RFC 7617)".to_owned());
        }
        Ok(Credentials { user: Guarded::new(&user, true), password: Guarded::new(&password, true) })
    }
}

/// Rules which proxy a connection uses, by its URL. By default none.
///
/// ```
/// use moonwire::{Config, Proxy, ProxyRules};
///
/// let proxy = Proxy::parse("http://proxy.example:3128")?;
/// let rules = ProxyRules::all(proxy).except("localhost, .corp.example, 10.0.0.0/8, [::1]:8080")?;
/// let config = Config { proxy: rules, ..Config::default() };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ProxyRules {
    plain: Option<Proxy>,
    secure: Option<Proxy>,
    except: Vec<Exception>,
}

impl From<Proxy> for ProxyRules {
    fn from(proxy: Proxy) -> ProxyRules {
        ProxyRules::all(proxy)
    }
}

impl ProxyRules {
    /// No proxy.
    pub fn none() -> ProxyRules {
        ProxyRules::default()
    }

    /// The same proxy for all connections.
    pub fn all(proxy: Proxy) -> ProxyRules {
        ProxyRules { plain: Some(proxy.clone()), secure: Some(proxy), except: Vec::new() }
    }

    /// The proxy for `ws://` and `http://`.
    pub fn plain(mut self, proxy: Option<Proxy>) -> ProxyRules {
        self.plain = proxy;
        self
    }

    /// The proxy for `wss://` and `https://`.
    pub fn secure(mut self, proxy: Option<Proxy>) -> ProxyRules {
        self.secure = proxy;
        self
    }

    /// Adds targets that use no proxy: a list with commas or spaces between its entries. An entry
    /// is a name, which includes all names below it (a `.` or `*.` in front changes nothing), an
    /// address, a network as `ADDRESS/BITS`, or `*` for all targets. With `:PORT` behind it, it is
    /// for that port only; an IPv6 address then stands in brackets.
    ///
    /// Names are not resolved: an address or a network matches only URLs that contain an address.
    ///
    /// # Errors
    ///
    /// A text that names the invalid entry.
    pub fn except(mut self, list: &str) -> Result<ProxyRules, String> {
        for entry in list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()) {
            self.except.push(entry.parse()?);
        }
        Ok(self)
    }

    /// The proxy for `url`, if any. A Unix socket uses none.
    pub fn proxy_for(&self, url: &Url) -> Option<&Proxy> {
        let proxy = if url.scheme().is_secure() { &self.secure } else { &self.plain }.as_ref()?;
        let excepted = url.is_socket() || self.except.iter().any(|entry| entry.matches(url));
        (!excepted).then_some(proxy)
    }
}

/// An entry of [`ProxyRules::except`].
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exception {
    hosts: ExceptedHosts,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ExceptedHosts {
    All,
    /// This name and all names below it.
    Name(String),
    Network(IpAddr, u8),
}

impl FromStr for Exception {
    type Err = String;

    fn from_str(text: &str) -> Result<Exception, String> {
        let bad = || {
            let shown = escape(text.as_bytes(), 100);
            format!(
                "\"{shown}\" is not *, HOST, .HOST, ADDRESS or ADDRESS/BITS, with or without :PORT \
                 behind it ([IPV6]:PORT)"
            )
        };
        let (host, port) = split_port(text).ok_or_else(bad)?;
        let port = match port {
            Some(digits) => Some(number::<u16>(digits).filter(|&p| p > 0).ok_or_else(bad)?),
            None => None,
        };
        let hosts = match (host, network(host)) {
            ("*", _) => ExceptedHosts::All,
            (_, Some((address, bits))) => ExceptedHosts::Network(address, bits),
            _ => {
                let name = host.strip_prefix("*.").or(host.strip_prefix('.')).unwrap_or(host);
                ExceptedHosts::Name(name_of(name).ok_or_else(bad)?)
            }
        };
        Ok(Exception { hosts, port })
    }
}

impl Exception {
    fn matches(&self, url: &Url) -> bool {
        if self.port.is_some_and(|port| port != url.port()) {
            return false;
        }
        match (&self.hosts, url.host()) {
            (ExceptedHosts::All, _) => true,
            (ExceptedHosts::Name(name), Host::Name(host)) => {
                let above = host.strip_suffix(name.as_str());
                above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            (ExceptedHosts::Network(net, bits), Host::Address(ip)) => {
                within(plain(*ip), *net, *bits)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_as_urls_and_without_a_scheme() {
        for (text, shown) in [
            ("http://proxy.example:3128", "http://proxy.example:3128"),
            ("HTTP://Proxy.Example:3128/", "http://proxy.example:3128"),
            ("proxy.example", "http://proxy.example:80"),
            ("https://u:p@proxy.example", "https://proxy.example:443"),
            ("socks5://u:p@[::1]", "socks5://[::1]:1080"),
            ("socks5h://127.0.0.1:9050", "socks5h://127.0.0.1:9050"),
            ("u:p@proxy.example:81", "http://proxy.example:81"),
            ("socks://127.0.0.1", "socks5://127.0.0.1:1080"),
            ("socks5h://proxy.example:", "socks5h://proxy.example:1080"),
            ("https://[::1]:/", "https://[::1]:443"),
        ] {
            let proxy = Proxy::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(proxy.to_string(), shown);
            assert_eq!(format!("{proxy:?}"), format!("Proxy({shown})"));
        }
    }

    #[test]
    fn user_and_password_are_percent_decoded() {
        let proxy = Proxy::parse("http://us%3Aer%40:p%C3%A4%2Fss:w@a").map(drop).unwrap_err();
        assert!(proxy.to_string().contains("colon"), "{proxy}");
        let proxy = Proxy::parse("http://us%40er:p%C3%A4%2Fss:w@a").unwrap();
        let user = proxy.credentials().unwrap();
        assert_eq!((user.user.sent(), user.password.sent()), ("us@er", "pä/ss:w"));
        let proxy = Proxy::parse("socks5://a:b@c@host").unwrap();
        assert_eq!(proxy.credentials().unwrap().password.sent(), "b@c");
    }

    /// FAULTS 46: no error contains user name or password.
    #[test]
    fn bad_proxies_and_why() {
        let long = "a".repeat(256);
        for (text, part) in [
            ("ftp://a.example", "ftp://a.example: URL: a proxy is"),
            ("http://a.example/path", "http://a.example/path: URL: a proxy has no path"),
            ("ftp://hidden:hidden@a", "socks5h://"),
            ("socks4://a", "socks5h://"),
            ("http://a:hidden", "port"),
            ("hidden:hidden", "port"),
            ("http://hidden:hidden:80", "port"),
            ("http://a?hidden:hidden@b", "percent-encoded"),
            ("http:/hidden:hidden@b", "percent-encoded"),
            ("http://", "no host"),
            ("http://hidden:hidden@", "no host"),
            ("http://hidden:hi%2Fdden@a b", "space"),
            ("http://hidden:hi/dden@a", "percent-encoded"),
            ("http://hidden:hidden@a/path", "no path"),
            ("http://hidden:hidden@a?q", "no path"),
            ("http://a:0", "port"),
            ("http://a::", "port"),
            ("http://a:8:", "port"),
            ("http://a:99999", "port"),
            ("http://[::1%25eth0]:80", "neither a DNS name"),
            ("http://hidd%zzen:hidden@a", "percent-encoded"),
            ("http://hidden:hi%0add@en@a", "control character"),
            ("socks5://hidden@a", "1 to 255"),
            ("socks5://:hidden@a", "1 to 255"),
            (&format!("socks5://hidden:{long}@a"), "1 to 255"),
        ] {
            let error = Proxy::parse(text).map(drop).expect_err(text);
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(part), "{text}: {shown}");
            assert!(!shown.contains("hid") && !shown.contains("dden"), "{shown}");
        }
        let long = "a".repeat(255);
        assert!(Proxy::parse(&format!("socks5://{long}:{long}@a")).is_ok());
    }

    #[test]
    fn fields_for_a_proxy() {
        let proxy = || Proxy::parse("http://a").unwrap();
        assert!(proxy().header("X-Own", "1").is_ok());
        assert!(proxy().header("Proxy-Authorization", "Bearer abc").is_ok());
        for (name, value) in
            [("Host", "a"), ("Content-Length", "1"), ("X", "a\r\nB: c"), ("a b", "1")]
        {
            assert!(proxy().header(name, value).is_err(), "{name}");
        }
        assert!(Proxy::parse("socks5://a").unwrap().header("X-Own", "1").is_err());
    }

    /// FAULTS 48: an IPv6 address with a zone is no name, in a URL or in the list; and a name
    /// matches no part of an address.
    #[test]
    fn where_no_proxy_is_used() {
        let proxy = Proxy::parse("http://proxy.example:3128").unwrap();
        for (list, url, direct) in [
            ("", "ws://a.example/", false),
            ("*", "ws://a.example/", true),
            ("*", "ws://[::1]/", true),
            ("example.com", "ws://example.com/", true),
            ("example.com", "ws://a.example.com:81/", true),
            ("example.com", "ws://notexample.com/", false),
            ("example.com", "ws://example.com.evil.example/", false),
            (".example.com", "ws://example.com/", true),
            (".example.com", "wss://b.a.example.com/", true),
            ("*.example.com", "https://a.example.com/", true),
            ("EXAMPLE.com.", "http://Example.COM./", true),
            ("example.com:81", "ws://example.com:81/", true),
            ("example.com:81", "ws://example.com/", false),
            ("example.com:443", "wss://example.com/", true),
            ("localhost,127.0.0.1", "ws://localhost:9/", true),
            ("localhost 127.0.0.1", "ws://127.0.0.1:9/", true),
            ("127.0.0.1", "ws://localhost/", false),
            ("127.0.0.0/8", "ws://127.1.2.3/", true),
            ("10.0.0.0/8", "ws://11.0.0.1/", false),
            ("10.0.0.0/8:81", "ws://10.1.1.1:81/", true),
            ("10.0.0.0/8:81", "ws://10.1.1.1/", false),
            ("0.0.0.0/0", "ws://9.9.9.9/", true),
            ("0.0.0.0/0", "ws://name.example/", false),
            ("127.0.0.1", "ws://[::ffff:127.0.0.1]/", true),
            ("::1", "ws://[::1]/", true),
            ("[::1]", "ws://[::1]:81/", true),
            ("[::1]:81", "ws://[::1]:81/", true),
            ("[::1]:81", "ws://[::1]/", false),
            ("fd00::/8", "ws://[fd12::1]/", true),
            ("[fd00::/8]:80", "ws://[fd12::1]/", true),
            ("fd00::/8", "ws://[fe80::1]/", false),
            // The last part of an address is not compared as a name.
            ("xn--1.example", "ws://1.2.3.4/", false),
            ("a.example , .b.example\tc.example", "ws://x.c.example/", true),
        ] {
            let rules = ProxyRules::all(proxy.clone()).except(list).expect(list);
            let url = Url::parse(url).or_else(|_| Url::parse_http(url)).expect(url);
            assert_eq!(rules.proxy_for(&url).is_none(), direct, "{list} {url}");
        }
        for bad in [
            "::1%25.example.com",
            "[::1%25.example.com]:80",
            "[::1%.example.com]",
            "fe80::1%eth0",
            "a..b",
            "1.2.3",
            "example.com:0",
            "example.com:",
            "10.0.0.0/33",
            "[10.0.0.1]",
            "http://a",
            "a/b",
            "*a.example",
        ] {
            assert!(ProxyRules::none().except(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn plain_and_secure_may_have_proxies_of_their_own() {
        let proxy = |text| Some(Proxy::parse(text).unwrap());
        let rules = ProxyRules::none().plain(proxy("http://plain")).secure(proxy("http://secure"));
        for (url, want) in [
            ("ws://a/", Some("http://plain:80")),
            ("http://a/", Some("http://plain:80")),
            ("wss://a/", Some("http://secure:80")),
            ("https://a/", Some("http://secure:80")),
            ("ws+unix:/run/app.sock", None),
        ] {
            let url = Url::parse(url).or_else(|_| Url::parse_http(url)).unwrap();
            let got = rules.proxy_for(&url).map(Proxy::to_string);
            assert_eq!(got.as_deref(), want, "{url}");
        }
        assert!(ProxyRules::none().proxy_for(&Url::parse("ws://a/").unwrap()).is_none());
    }
}
