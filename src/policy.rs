//! Policies: where connections may go, checked for the URL of every hop, and for every address
//! after DNS.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use crate::proto::{Host, Scheme, Url, escape};

/// The destination of a connection, as a policy checks it.
///
/// A policy is called twice: with the URL before its host is resolved (`address` is `None`, unless
/// the URL contains one), and with each address before connecting to it. The connection goes to the
/// address that was checked, so a later change of the DNS answer has no effect.
///
/// With a proxy, the policy is called twice for the proxy (`is_proxy`), and once for the host of
/// the URL. The addresses of that host are checked only if this machine resolves it (`socks5`); a
/// proxy that resolves it may connect to any address.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Destination<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// The host of the URL.
    pub host: &'a Host,
    /// The port of the URL.
    pub port: u16,
    /// The address, once it is known. If a proxy resolves names, it is unknown, unless the URL
    /// contains it.
    pub address: Option<IpAddr>,
    /// Whether the destination is the proxy: then host, port and address are those of the proxy,
    /// and the scheme is that of the URL.
    pub is_proxy: bool,
    /// Whether the proxy resolves the host's name: then no address follows, and the policy is not
    /// called again for this host.
    pub proxy_resolves: bool,
}

impl<'a> Destination<'a> {
    pub(crate) fn of(url: &'a Url) -> Destination<'a> {
        let address = match url.host() {
            Host::Address(ip) => Some(*ip),
            Host::Name(_) | Host::Unix(_) => None,
        };
        let (scheme, host, port) = (url.scheme(), url.host(), url.port());
        Destination { scheme, host, port, address, is_proxy: false, proxy_resolves: false }
    }

    /// The proxy for a connection to `url`.
    pub(crate) fn of_proxy(proxy: &'a Url, url: &Url) -> Destination<'a> {
        Destination { scheme: url.scheme(), is_proxy: true, ..Destination::of(proxy) }
    }
}

/// A rule of the program; it returns `Err` with the reason if it does not allow the destination.
type Rule = dyn Fn(&Destination<'_>) -> Result<(), String> + Send + Sync;

/// Where connections may go. All rules of a policy have to allow a destination; a policy without
/// rules allows every one.
///
/// ```
/// use moonwire::{Config, Policy};
///
/// // No address of this machine or a private network, whatever a name resolves to.
/// let public = Config { policy: Policy::public(), ..Config::default() };
/// // Only these hosts.
/// let listed = Policy::list(["api.example.com:443".parse()?, "*.example.org".parse()?]);
/// // Only TLS, and nothing private.
/// let strict = Policy::public().and(|to| match to.scheme.is_secure() {
///     true => Ok(()),
///     false => Err("without TLS".to_owned()),
/// });
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Default)]
pub struct Policy {
    rules: Vec<Arc<Rule>>,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Policy({} rules)", self.rules.len())
    }
}

impl Policy {
    /// Allows everything; the default.
    pub fn open() -> Policy {
        Policy::default()
    }

    /// Allows the public internet: no address that is loopback, private, link-local, shared,
    /// reserved, multicast or for documentation, nor one that embeds such an address (IPv4 within
    /// IPv6, RFC 6890 and the registries that it describes). No Unix socket, and no name of this
    /// machine (`localhost` and names that end in `.localhost`, RFC 6761 §6.3): a proxy would
    /// resolve it to itself.
    ///
    /// A proxy has to be on the public internet, too; [`Policy::except_proxy`] exempts it.
    pub fn public() -> Policy {
        Policy::open().and(|to| {
            let what = match (to.address, to.host) {
                (Some(address), _) => not_public(address),
                (None, Host::Unix(_)) => Some("a Unix socket".to_owned()),
                (None, host) => is_localhost(host).then(|| host.to_string()),
            };
            what.map_or(Ok(()), |what| Err(format!("{what} is not on the public internet")))
        })
    }

    /// Allows this machine only. If a proxy resolves names, only `localhost` and names that end in
    /// `.localhost` are allowed: the addresses of other names are unknown.
    pub fn loopback() -> Policy {
        Policy::open().and(|to| match to.address {
            Some(address) if !plain(address).is_loopback() => {
                Err(format!("{address} is not this machine"))
            }
            None if to.proxy_resolves && !is_localhost(to.host) => {
                Err(format!("{} is not this machine by its name, and a proxy resolves it", to.host))
            }
            _ => Ok(()),
        })
    }

    /// The same rules, but every proxy is allowed: for a proxy that the program trusts.
    pub fn except_proxy(self) -> Policy {
        Policy::open().and(move |to| if to.is_proxy { Ok(()) } else { self.check(to) })
    }

    /// Allows destinations that match one of `allowed`.
    ///
    /// A network in the list also allows names that resolve to its addresses. This is known only
    /// after DNS has answered, so with a network in the list every name is resolved if the entry
    /// allows its port. A DNS query is itself a message, to whoever runs that name's zone; if the
    /// author of the URLs (a script, a redirect) must not send any, use [`Policy::list_by_url`].
    /// With names only in the list, no other name is resolved. A proxy that resolves names does not
    /// report the addresses: then the name itself has to be in the list.
    pub fn list(allowed: impl IntoIterator<Item = Allowed>) -> Policy {
        Policy::of_list(allowed, Allowed::matches)
    }

    /// Allows destinations whose URL matches one of `allowed`: a name has to be in the list itself,
    /// and an address or a network allows URLs that contain an address. No other name is resolved.
    pub fn list_by_url(allowed: impl IntoIterator<Item = Allowed>) -> Policy {
        Policy::of_list(allowed, Allowed::matches_url)
    }

    fn of_list(
        allowed: impl IntoIterator<Item = Allowed>,
        matches: fn(&Allowed, &Destination<'_>) -> bool,
    ) -> Policy {
        let allowed: Vec<Allowed> = allowed.into_iter().collect();
        Policy::open().and(move |to| {
            if allowed.iter().any(|a| matches(a, to)) {
                return Ok(());
            }
            Err(match to.host {
                Host::Unix(_) => format!("{} is not in the list", to.host),
                host if to.proxy_resolves => {
                    format!(
                        "{host}:{} is not in the list by its name, and a proxy resolves it",
                        to.port
                    )
                }
                host => format!("{host}:{} is not in the list", to.port),
            })
        })
    }

    /// This policy with an additional rule of the program, which returns the reason if it does not
    /// allow the destination. The reactor calls it, so it has to be quick, and must not call the
    /// reactor.
    pub fn and(
        mut self,
        rule: impl Fn(&Destination<'_>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Policy {
        self.rules.push(Arc::new(rule));
        self
    }

    /// Whether a connection to `to` is allowed; if not, the reason.
    ///
    /// # Errors
    ///
    /// The reason as text, which becomes a part of the connection's error.
    pub fn check(&self, to: &Destination<'_>) -> Result<(), String> {
        self.rules.iter().try_for_each(|rule| rule(to))
    }
}

/// A host that a list allows, optionally with a port. It is a name, `*.` and a name for all names
/// below it, an address, or a network as `ADDRESS/BITS`, then `:PORT` (with brackets around an IPv6
/// address or network, and only there). Or it is `unix:` and the absolute path of a Unix socket.
///
/// ```
/// let below: moonwire::Allowed = "*.example.com:443".parse()?;
/// let network: moonwire::Allowed = "10.1.0.0/16".parse()?;
/// assert!("example.com/path".parse::<moonwire::Allowed>().is_err());
/// let policy = moonwire::Policy::list([below, network]);
/// # drop(policy);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    target: AllowedTarget,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum AllowedTarget {
    Name(String),
    Below(String),
    Network(IpAddr, u8),
    Unix(String),
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Allowed, String> {
        let shown = escape(text.as_bytes(), 100);
        let bad = || {
            format!(
                "\"{shown}\" is not HOST, *.HOST, ADDRESS or ADDRESS/BITS, with or without :PORT \
                 behind it ([IPV6]:PORT), nor unix:PATH"
            )
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path =
                Some(path.to_owned()).filter(|path| path.starts_with('/')).ok_or_else(bad)?;
            return Ok(Allowed { target: AllowedTarget::Unix(path), port: None });
        }
        let (host, port) = split_port(text).ok_or_else(bad)?;
        let port = match port {
            Some(digits) => Some(number::<u16>(digits).filter(|&p| p > 0).ok_or_else(bad)?),
            None => None,
        };
        let target = match host.strip_prefix("*.") {
            Some(name) => AllowedTarget::Below(name_of(name).ok_or_else(bad)?),
            None => match network(host) {
                Some((address, bits)) => AllowedTarget::Network(address, bits),
                None => AllowedTarget::Name(name_of(host).ok_or_else(bad)?),
            },
        };
        Ok(Allowed { target, port })
    }
}

impl Allowed {
    fn matches(&self, to: &Destination<'_>) -> bool {
        if self.port.is_some_and(|port| port != to.port) {
            return false;
        }
        match (&self.target, to.host) {
            (AllowedTarget::Name(name), Host::Name(host)) => name == host,
            (AllowedTarget::Below(name), Host::Name(host)) => {
                host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            (AllowedTarget::Network(net, bits), Host::Address(ip)) => {
                within(plain(*ip), *net, *bits)
            }
            // A name is allowed if its address is in the network; the address is checked later.
            (AllowedTarget::Network(net, bits), Host::Name(_)) => match to.address {
                Some(address) => within(plain(address), *net, *bits),
                None => !to.proxy_resolves,
            },
            (AllowedTarget::Unix(path), Host::Unix(socket)) => path == socket,
            _ => false,
        }
    }

    /// As `matches`, but a network does not match the addresses of a name.
    fn matches_url(&self, to: &Destination<'_>) -> bool {
        let by_address =
            matches!((&self.target, to.host), (AllowedTarget::Network(..), Host::Name(_)));
        !by_address && self.matches(to)
    }
}

/// Splits host and port; an IPv6 address may have brackets. `None`: the brackets contain no IPv6
/// address, or something other than a port follows them.
pub(crate) fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, behind) = rest.split_once(']')?;
        let is_v6 = network(inside).is_some_and(|(address, _)| address.is_ipv6());
        let port = match behind {
            "" => None,
            _ => Some(behind.strip_prefix(':')?),
        };
        return is_v6.then_some((inside, port));
    }
    Some(match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, Some(port)),
        _ => (text, None),
    })
}

/// A name, normalised as in a URL.
pub(crate) fn name_of(text: &str) -> Option<String> {
    match Url::parse(&format!("ws://{text}/")).ok()?.host() {
        Host::Name(name) if !text.contains(['/', '?', ':']) => Some(name.clone()),
        _ => None,
    }
}

/// Whether the host is a name of this machine (RFC 6761 §6.3).
fn is_localhost(host: &Host) -> bool {
    matches!(host, Host::Name(name) if name == "localhost" || name.ends_with(".localhost"))
}

pub(crate) fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(most), |bits| number(bits).filter(|&b| b <= most))?;
    Some((address, bits))
}

/// Parses digits and nothing else: `parse` alone accepts a sign, too.
pub(crate) fn number<T: FromStr>(digits: &str) -> Option<T> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

pub(crate) fn within(address: IpAddr, net: IpAddr, bits: u8) -> bool {
    match (address, net) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        _ => false,
    }
}

/// An IPv4 address that is written in IPv6 form, as IPv4.
pub(crate) fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Why an address is not on the public internet; `None` if it is.
fn not_public(address: IpAddr) -> Option<String> {
    let what = match plain(address) {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    };
    what.map(|what| format!("{address} ({what})"))
}

/// The special-purpose IPv4 addresses (RFC 6890, from its current registry).
fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    const SPECIAL: [(Ipv4Addr, u8, &str); 15] = [
        (Ipv4Addr::new(0, 0, 0, 0), 8, "this network"),
        (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
        (Ipv4Addr::new(100, 64, 0, 0), 10, "shared"),
        (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
        (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
        (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
        (Ipv4Addr::new(192, 0, 0, 0), 24, "protocol assignments"),
        (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation"),
        (Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relay"),
        (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
        (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking"),
        (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation"),
        (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation"),
        (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
        (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
    ];
    let is = |(net, bits, _): &&(Ipv4Addr, u8, &str)| {
        within(IpAddr::V4(address), IpAddr::V4(*net), *bits)
    };
    SPECIAL.iter().find(is).map(|(_, _, what)| *what)
}

/// Global unicast IPv6 is 2000::/3, without its special addresses. An address that embeds an IPv4
/// address has the kind of the IPv4 address.
fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match (a, b) {
        _ if address.is_loopback() => Some("loopback"),
        _ if address.is_unspecified() => Some("unspecified"),
        // NAT64 (RFC 6052), 6to4 (RFC 3056).
        (0x64, 0xFF9B) if [c, d, e, f] == [0; 4] => special_v4(v4(g, h)),
        (0x2002, _) => special_v4(v4(b, c)),
        (0x2001, 0) => Some("Teredo"),
        (0x2001, 0xDB8) | (0x3FFF, 0..=0x0FFF) => Some("documentation"),
        (0x2001, 0x01..=0x1FF) => Some("protocol assignments"),
        (0x2000..=0x3FFF, _) => None,
        (0xFC00..=0xFDFF, _) => Some("private"),
        (0xFE80..=0xFEBF, _) => Some("link-local"),
        (0xFF00.., _) => Some("multicast"),
        _ => Some("not global unicast"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(url: &str, address: Option<&str>) -> Result<(), String> {
        check(&Policy::public(), url, address)
    }

    fn check(policy: &Policy, url: &str, address: Option<&str>) -> Result<(), String> {
        let url = Url::parse(url).unwrap();
        let mut to = Destination::of(&url);
        to.address = address.map(|a| a.parse().unwrap()).or(to.address);
        policy.check(&to)
    }

    #[test]
    fn what_is_not_on_the_public_internet() {
        // FAULTS 62.
        for (address, public) in [
            ("1.1.1.1", true),
            ("8.8.8.8", true),
            ("172.15.255.255", true),
            ("172.32.0.0", true),
            ("100.63.255.255", true),
            ("100.128.0.0", true),
            ("198.17.255.255", true),
            ("223.255.255.255", true),
            ("2606:4700::1111", true),
            ("64:ff9b::8.8.8.8", true),
            ("::ffff:8.8.8.8", true),
            ("2002:808:808::1", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("10.255.255.255", false),
            ("100.64.0.0", false),
            ("100.127.255.255", false),
            ("127.0.0.1", false),
            ("127.255.255.254", false),
            ("169.254.169.254", false),
            ("172.16.0.0", false),
            ("172.31.255.255", false),
            ("192.0.0.1", false),
            ("192.0.2.1", false),
            ("192.168.0.1", false),
            ("198.18.0.1", false),
            ("198.19.255.255", false),
            ("198.51.100.1", false),
            ("203.0.113.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("::127.0.0.1", false),
            ("64:ff9b::10.0.0.1", false),
            ("2002:7f00:1::", false),
            ("2001::1", false),
            ("2001:1::5", false),
            ("2001:1ff::1", false),
            ("2001:200::1", true),
            ("2001:db8::1", false),
            ("64:ff9b:1::7f00:1", false),
            ("::ffff:0:127.0.0.1", false),
            ("3fff::1", false),
            ("fc00::1", false),
            ("fd12:3456::1", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
            ("100::1", false),
            ("5f00::1", false),
        ] {
            let got = to("wss://host.example/", Some(address));
            assert_eq!(got.is_ok(), public, "{address}: {got:?}");
        }
        assert!(to("wss://host.example/", None).is_ok(), "a name says nothing yet");
        assert!(to("ws://127.0.0.1/", None).is_err(), "an address in the URL does");
        assert!(to("ws://[::1]/", None).is_err());
    }

    #[test]
    fn loopback_alone() {
        for (address, fine) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("1.1.1.1", false),
        ] {
            let got = check(&Policy::loopback(), "ws://a/", Some(address));
            assert_eq!(got.is_ok(), fine, "{address}");
        }
    }

    /// No address follows then, so no rule may wait for one.
    #[test]
    fn what_a_proxy_resolves_is_allowed_by_its_name_or_not_at_all() {
        let listed = |entry: &str| Policy::list([entry.parse().unwrap()]);
        for (policy, host, fine) in [
            (listed("10.0.0.0/8"), "a.example", false),
            (listed("0.0.0.0/0"), "a.example", false),
            (listed("10.0.0.0/8"), "10.1.2.3", true),
            (listed("a.example"), "a.example", true),
            (listed("*.example"), "a.example", true),
            (Policy::loopback(), "a.example", false),
            (Policy::loopback(), "localhost", true),
            (Policy::loopback(), "x.localhost", true),
            (Policy::public(), "a.example", true),
            (Policy::open(), "a.example", true),
        ] {
            let url = Url::parse(&format!("ws://{host}/")).unwrap();
            let to = Destination { proxy_resolves: true, ..Destination::of(&url) };
            assert_eq!(policy.check(&to).is_ok(), fine, "{host}");
        }
    }

    #[test]
    fn a_list_names_hosts_ports_and_networks() {
        for (entry, url, address, fine) in [
            ("a.example", "ws://A.Example./", None, true),
            ("a.example", "wss://a.example:8443/", None, true),
            ("a.example", "ws://b.example/", None, false),
            ("a.example", "ws://x.a.example/", None, false),
            ("a.example:443", "wss://a.example/", Some("10.0.0.1"), true),
            ("a.example:443", "ws://a.example/", None, false),
            ("*.a.example", "ws://x.a.example/", None, true),
            ("*.a.example", "ws://y.x.a.example/", None, true),
            ("*.a.example", "ws://a.example/", None, false),
            ("*.a.example", "ws://evila.example/", None, false),
            ("10.0.0.0/8", "ws://10.1.2.3/", None, true),
            ("10.0.0.0/8", "ws://11.1.2.3/", None, false),
            ("10.0.0.0/8", "ws://[::ffff:10.1.2.3]/", None, true),
            ("10.0.0.0/8", "ws://[::ffff:11.1.2.3]/", None, false),
            ("10.0.0.0/8", "ws://name/", Some("::ffff:10.9.9.9"), true),
            ("10.0.0.0/8", "ws://name/", Some("::ffff:11.9.9.9"), false),
            ("::/0", "ws://10.1.2.3/", None, false),
            ("10.0.0.0/8", "ws://name/", None, true),
            ("10.0.0.0/8", "ws://name/", Some("10.9.9.9"), true),
            ("10.0.0.0/8", "ws://name/", Some("11.9.9.9"), false),
            ("0.0.0.0/0", "ws://name/", Some("11.9.9.9"), true),
            ("127.0.0.1", "ws://127.0.0.1:9/", None, true),
            ("127.0.0.1:9", "ws://127.0.0.1/", None, false),
            ("[::1]:9", "ws://[::1]:9/", None, true),
            ("::1", "ws://[::1]:9/", None, true),
            ("fc00::/7", "ws://[fd00::1]/", None, true),
            ("fc00::/7", "ws://[::1]/", None, false),
            ("[fc00::/7]:9", "ws://[fd00::1]:9/", None, true),
            ("[fc00::/7]:9", "ws://[fd00::1]/", None, false),
            ("[::1]", "ws://[::1]:9/", None, true),
        ] {
            let policy = Policy::list([entry.parse().unwrap()]);
            assert_eq!(check(&policy, url, address).is_ok(), fine, "{entry}: {url} {address:?}");
        }
        for bad in [
            "",
            ":80",
            "a b",
            "*.",
            "*",
            "a.example:0",
            "a:x",
            "a:",
            "a:+80",
            "a:65536",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "::/129",
            "[::1",
            "[::1]:+9",
            "[::1]:",
            "[::1]8443",
            "[::1]junk",
            "[::1]]:9",
            "[fc00::]/7",
            "[fc00::]/7:9",
            "[]",
            "[]:9",
            "[10.0.0.1]",
            "[10.0.0.1]:9",
            "[10.0.0.1]x:9",
            "[10.0.0.0/8]:9",
            "[a.example]",
            "[a.example]zzz",
            "[*.a.example]:9",
            "u@a",
            "a/b",
        ] {
            assert!(bad.parse::<Allowed>().is_err(), "{bad:?}");
        }
    }

    /// A name that the policy refuses before it is resolved is not sent to DNS.
    #[test]
    fn a_list_by_url_lets_no_other_name_be_asked_for() {
        for (entry, url, address, fine) in [
            ("10.0.0.0/8", "ws://10.1.2.3/", None, true),
            ("10.0.0.0/8", "ws://11.1.2.3/", None, false),
            ("10.0.0.0/8", "ws://stolen-data.evil.example/", None, false),
            ("10.0.0.0/8", "ws://name/", Some("10.9.9.9"), false),
            ("0.0.0.0/0", "ws://name/", None, false),
            ("10.0.0.0/8:9", "ws://10.1.2.3/", None, false),
            ("10.0.0.0/8:9", "ws://10.1.2.3:9/", None, true),
            ("a.example", "ws://a.example./", None, true),
            ("a.example", "ws://a.example/", Some("10.9.9.9"), true),
            ("*.a.example", "ws://x.a.example/", None, true),
            ("*.a.example", "ws://b.example/", None, false),
        ] {
            let policy = Policy::list_by_url([entry.parse().unwrap()]);
            assert_eq!(check(&policy, url, address).is_ok(), fine, "{entry}: {url} {address:?}");
        }
        let both = ["a.example", "10.0.0.0/8"].map(|entry| entry.parse().unwrap());
        let policy = Policy::list_by_url(both);
        for (url, fine) in
            [("ws://a.example/", true), ("ws://10.0.0.1/", true), ("ws://b.example/", false)]
        {
            assert_eq!(check(&policy, url, None).is_ok(), fine, "{url}");
        }
    }

    #[test]
    fn all_rules_have_to_agree() {
        let policy = Policy::public().and(|to| match to.scheme.is_secure() {
            true => Ok(()),
            false => Err("without TLS".into()),
        });
        assert!(check(&policy, "wss://a/", Some("1.1.1.1")).is_ok());
        assert_eq!(check(&policy, "ws://a/", Some("1.1.1.1")), Err("without TLS".into()));
        assert!(check(&policy, "wss://a/", Some("10.0.0.1")).is_err());
    }
}
