//! The proxies of a run: from options, and from the variables that other programs read, too.

use std::net::SocketAddr;

use super::stdio::{Failure, write_stderr};
use crate::net::{Proxy, ProxyRules, ProxyScheme};
use crate::policy::{Destination, Policy};

/// The values of the options.
#[derive(Debug, Default)]
pub(super) struct ProxyArgs {
    /// `--proxy`; an empty value means no proxy, whatever the variables contain.
    pub(super) proxy: Option<String>,
    /// `--no-proxy`, which replaces the variable `no_proxy`.
    pub(super) except: Option<String>,
    /// `--proxy-header`, each `Name: value`.
    pub(super) headers: Vec<(String, String)>,
}

/// Parses `Name: value`; errors name `option`.
pub(super) fn header(option: &str, text: &str) -> Result<(String, String), Failure> {
    // The error does not repeat the value, which may contain a password.
    let bad = || Failure::usage(format!("{option}: NAME: VALUE is expected"));
    let (name, value) = text.split_once(':').ok_or_else(bad)?;
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

/// The rules that choose a proxy, and all proxies in them.
pub(super) struct Proxies {
    pub(super) rules: ProxyRules,
    known: Vec<Proxy>,
}

impl Proxies {
    /// Makes the rules. `variable` returns the value of a variable that is set and not empty.
    ///
    /// `http_proxy` is for `ws://` and `http://`, `https_proxy` for `wss://` and `https://`,
    /// `all_proxy` for the schemes whose own variable is not set. Lower case goes before upper
    /// case. `HTTP_PROXY` is not read if `REQUEST_METHOD` is set: in a CGI program, a field of
    /// the request sets it (CVE-2016-5385).
    pub(super) fn new(
        args: &ProxyArgs,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Proxies, Failure> {
        let given = |name: &str, text: &str| {
            let bad = |e: crate::Error| Failure::usage(format!("{name}: {e}"));
            let mut proxy = Proxy::parse(text).map_err(bad)?;
            for (field, value) in &args.headers {
                proxy = proxy
                    .header(field, value)
                    .map_err(|e| Failure::usage(format!("--proxy-header: {}", e.kind())))?;
            }
            Ok(proxy)
        };
        let of = |names: &[&str]| -> Result<Option<Proxy>, Failure> {
            let cgi = variable("REQUEST_METHOD").is_some();
            let read = names.iter().filter(|name| **name != "HTTP_PROXY" || !cgi);
            let mut set = read.filter_map(|name| Some((name, variable(name)?)));
            set.next().map(|(name, text)| given(name, &text)).transpose()
        };
        let (plain, secure) = match args.proxy.as_deref() {
            Some("") => (None, None),
            Some(text) => {
                let proxy = given("--proxy", text)?;
                (Some(proxy.clone()), Some(proxy))
            }
            None => (
                of(&["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])?,
                of(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
            ),
        };
        let known: Vec<Proxy> = plain.iter().chain(&secure).cloned().collect();
        let mut rules = ProxyRules::none().plain(plain).secure(secure);
        match &args.except {
            Some(list) => {
                let bad = |e: String| Failure::usage(format!("--no-proxy: {e}"));
                rules = rules.except(list).map_err(bad)?;
            }
            None if known.is_empty() => {}
            None => {
                let list = variable("no_proxy").or_else(|| variable("NO_PROXY"));
                for entry in list.iter().flat_map(|list| list.split([',', ' ', '\t'])) {
                    // Such a list is written for many programs, which parse it in different ways.
                    match rules.clone().except(entry) {
                        Ok(more) => rules = more,
                        Err(e) => {
                            write_stderr(&format!("moonwire: NO_PROXY: {e}; this entry is ignored"))
                        }
                    }
                }
            }
        }
        Ok(Proxies { rules, known })
    }

    /// Adds an exception for the address of a server that this run has started.
    pub(super) fn except(&mut self, own: SocketAddr) {
        let host = match own {
            SocketAddr::V4(v4) => v4.to_string(),
            SocketAddr::V6(v6) => format!("[{}]:{}", v6.ip(), v6.port()),
        };
        self.except_for(&host);
    }

    /// Adds the exceptions of a list that the command itself has written.
    pub(super) fn except_for(&mut self, list: &str) {
        if let Ok(rules) = self.rules.clone().except(list) {
            self.rules = rules;
        }
    }

    /// `policy`, with an exception for the proxies that the user of the command has set.
    pub(super) fn trusted(&self, policy: Policy) -> Policy {
        let known = self.known.clone();
        let is_known = move |to: &Destination<'_>| {
            known.iter().any(|proxy| (proxy.host(), proxy.port()) == (to.host, to.port))
        };
        Policy::open().and(move |to| match to.is_proxy && is_known(to) {
            true => Ok(()),
            false => policy.check(to),
        })
    }

    pub(super) fn are_none(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether one of the proxies is reached over TLS.
    pub(super) fn have_tls(&self) -> bool {
        self.known.iter().any(|proxy| proxy.scheme() == ProxyScheme::Https)
    }

    /// A proxy that resolves names itself, if there is one.
    pub(super) fn resolves(&self) -> Option<&Proxy> {
        self.known.iter().find(|proxy| proxy.scheme() != ProxyScheme::Socks5)
    }
}

/// The policy of `--deny-private` if no given proxy resolves names: then no other may.
pub(super) fn resolves_here(to: &Destination<'_>) -> Result<(), String> {
    match to.proxy_resolves {
        true => Err(format!(
            "this proxy resolves {}, so its address is not known here; with socks5:// the client \
                             resolves names",
            to.host
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Url;

    fn proxies(args: &ProxyArgs, variables: &[(&str, &str)]) -> Result<Proxies, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(its, _)| *its == name);
            found.map(|(_, text)| (*text).to_owned()).filter(|text| !text.is_empty())
        };
        Proxies::new(args, variable).map_err(|f| f.text)
    }

    fn used(args: &ProxyArgs, variables: &[(&str, &str)], url: &str) -> Option<String> {
        let proxies = proxies(args, variables).unwrap();
        let url = Url::parse(url).or_else(|_| Url::parse_http(url)).unwrap();
        proxies.rules.proxy_for(&url).map(|proxy| proxy.host().to_string())
    }

    #[test]
    fn variables_in_the_usual_order_and_spelling() {
        let none = ProxyArgs::default();
        for (variables, url, want) in [
            (&[][..], "ws://a/", None),
            (&[("http_proxy", "http://x")], "ws://a/", Some("x")),
            (&[("http_proxy", "http://x")], "http://a/", Some("x")),
            (&[("http_proxy", "http://x")], "wss://a/", None),
            (&[("HTTP_PROXY", "http://x")], "ws://a/", Some("x")),
            (&[("HTTP_PROXY", "http://x"), ("REQUEST_METHOD", "GET")], "ws://a/", None),
            (&[("http_proxy", "http://x"), ("REQUEST_METHOD", "GET")], "ws://a/", Some("x")),
            (&[("HTTPS_PROXY", "http://x"), ("REQUEST_METHOD", "GET")], "wss://a/", Some("x")),
            (&[("HTTP_PROXY", "http://x"), ("http_proxy", "http://y")], "ws://a/", Some("y")),
            (&[("HTTP_PROXY", "http://x"), ("http_proxy", "")], "ws://a/", Some("x")),
            (&[("https_proxy", "x:8080")], "https://a/", Some("x")),
            (&[("ALL_PROXY", "socks5://x")], "wss://a/", Some("x")),
            (&[("ALL_PROXY", "socks5://x"), ("all_proxy", "socks5://y")], "ws://a/", Some("y")),
            (&[("ALL_PROXY", "socks5://x"), ("https_proxy", "http://y")], "wss://a/", Some("y")),
            (&[("all_proxy", "http://x"), ("no_proxy", "a")], "ws://a/", None),
            (&[("all_proxy", "http://x"), ("NO_PROXY", "b, a")], "ws://a/", None),
            (
                &[("all_proxy", "http://x"), ("no_proxy", "b"), ("NO_PROXY", "a")],
                "ws://a/",
                Some("x"),
            ),
            // An invalid entry is ignored; the others apply.
            (&[("all_proxy", "http://x"), ("no_proxy", "::1%eth0,a")], "ws://a/", None),
            (&[("all_proxy", "http://x"), ("no_proxy", "*")], "ws://127.0.0.1/", None),
        ] {
            assert_eq!(used(&none, variables, url).as_deref(), want, "{variables:?} {url}");
        }
    }

    #[test]
    fn options_come_before_variables() {
        let set = [("all_proxy", "http://x"), ("no_proxy", "a")];
        let args = |proxy: Option<&str>, except: Option<&str>| ProxyArgs {
            proxy: proxy.map(str::to_owned),
            except: except.map(str::to_owned),
            headers: Vec::new(),
        };
        for (args, url, want) in [
            (args(Some("http://y"), None), "ws://b/", Some("y")),
            (args(Some("http://y"), None), "ws://a/", None),
            (args(Some("http://y"), Some("b")), "ws://a/", Some("y")),
            (args(Some("http://y"), Some("b")), "wss://b/", None),
            (args(Some(""), None), "ws://b/", None),
            (args(None, Some("b")), "ws://a/", Some("x")),
            (args(None, Some("")), "ws://a/", Some("x")),
        ] {
            assert_eq!(used(&args, &set, url).as_deref(), want, "{args:?} {url}");
        }
    }

    /// FAULTS 46.
    #[test]
    fn what_is_wrong_is_said_without_a_password() {
        let with = |proxy: &str| ProxyArgs { proxy: Some(proxy.into()), ..ProxyArgs::default() };
        for (args, variables, part) in [
            (with("ftp://u:hidden@a"), &[][..], "--proxy: a: URL: a proxy is http://"),
            (
                ProxyArgs::default(),
                &[("https_proxy", "http://u:hidden@a:0")],
                "https_proxy: a:0: URL: the port",
            ),
            (
                ProxyArgs { except: Some("a..b".into()), ..with("http://a") },
                &[],
                "--no-proxy: \"a..b\" is not",
            ),
            (
                ProxyArgs { headers: vec![("Host".into(), "hidden".into())], ..with("http://a") },
                &[],
                "--proxy-header: header \"Host\" is set",
            ),
        ] {
            let Err(text) = proxies(&args, variables) else { panic!("{part}") };
            assert!(text.contains(part) && !text.contains("hidden"), "{text}");
        }
        assert!(header("--proxy-header", "hidden").is_err_and(|f| !f.text.contains("hidden")));
        assert_eq!(
            header("--proxy-header", "X: a: b ").ok(),
            Some(("X".to_owned(), "a: b".to_owned()))
        );
    }

    #[test]
    fn the_policy_is_asked_for_other_proxies_than_those_that_were_given() {
        let args = ProxyArgs { proxy: Some("http://10.0.0.1:3128".into()), ..ProxyArgs::default() };
        let proxies = proxies(&args, &[]).unwrap();
        let policy = proxies.trusted(Policy::public());
        let url = Url::parse("ws://a/").unwrap();
        for (proxy, fine) in [
            ("http://10.0.0.1:3128/", true),
            ("http://10.0.0.1:3129/", false),
            ("http://10.0.0.2:3128/", false),
        ] {
            let proxy = Url::parse_http(proxy).unwrap();
            assert_eq!(policy.check(&Destination::of_proxy(&proxy, &url)).is_ok(), fine, "{proxy}");
            assert!(policy.check(&Destination::of(&proxy)).is_err(), "as the destination");
        }
        assert!(proxies.resolves().is_some());
    }
}
