//! The options of every command that connects: policy, proxies, TLS, time limits.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::options::{Given, Group, Hint, Opt, Takes};
use super::proxy::{self, Proxies, ProxyArgs};
use super::stdio::{Failure, Stderr, write_stderr};
use super::tls::{self, TlsArgs};
use crate::net::{Config, Override};
use crate::policy::{Allowed, Policy};
use crate::proto::Host;
use crate::tape::Tape;
use crate::trace::Lines;

const FILE: Hint = Hint::File;

pub(super) static TLS: Group = Group {
    title: "TLS",
    options: &[
        Opt {
            names: &["--ca"],
            takes: Takes::Value("FILE", FILE),
            text: "trust the certificates in FILE (PEM) in addition; the variable SSL_CERT_FILE \
                   names such a file, too",
        },
        Opt {
            names: &["--system-roots"],
            takes: Takes::Nothing,
            text: "trust the roots of the system instead of those that are built in (only in a build \
                   with the feature system-roots)",
        },
        Opt {
            names: &["--cert"],
            takes: Takes::Value("FILE", FILE),
            text: "show this certificate, with its chain, to servers that ask for one (PEM)",
        },
        Opt {
            names: &["--key"],
            takes: Takes::Value("FILE", FILE),
            text: "the key of --cert (PEM, not encrypted)",
        },
        Opt {
            names: &["--pin"],
            takes: Takes::Value("sha256/BASE64", Hint::Nothing),
            text: "require that the key of the server's certificate or of one that vouches for it \
                   has this SHA-256, in addition to all other checks; may be repeated: one of them \
                   must match",
        },
        Opt {
            names: &["--tls-min"],
            takes: Takes::Value("1.2|1.3", Hint::OneOf(&["1.2", "1.3"])),
            text: "speak no older version of TLS (1.2)",
        },
        Opt {
            names: &["--insecure"],
            takes: Takes::Nothing,
            text: "do not verify certificates of localhost and of loopback addresses; all others \
                   are verified",
        },
    ],
};

pub(super) static PROXY: Group = Group {
    title: "Proxies",
    options: &[
        Opt {
            names: &["--proxy"],
            takes: Takes::Value("URL", Hint::Nothing),
            text: "use this proxy: http://, https://, socks5:// (the client resolves names) or \
                   socks5h:// (the proxy resolves them), with USER:PASSWORD@ before the host or \
                   without; an empty URL: none. Without this option, the variables HTTP_PROXY \
                   (ws:// too), HTTPS_PROXY (wss:// too) and ALL_PROXY name it; names in lower case \
                   come first",
        },
        Opt {
            names: &["--no-proxy"],
            takes: Takes::Value("LIST", Hint::Nothing),
            text: "use no proxy for these: hosts (and names below them), addresses or networks, \
                   with :PORT or without, separated by commas; * for all. Without this option, the \
                   variable NO_PROXY names them",
        },
        Opt {
            names: &["--proxy-header"],
            takes: Takes::Value("'NAME: VALUE'", Hint::Nothing),
            text: "send this field to an HTTP proxy; may be repeated",
        },
    ],
};

pub(super) static NETWORK: Group = Group {
    title: "Network",
    options: &[
        Opt {
            names: &["--resolve"],
            takes: Takes::Value("HOST:PORT:ADDRESS[:PORT]", Hint::Nothing),
            text: "connect to ADDRESS for HOST:PORT; TLS still expects HOST",
        },
        Opt {
            names: &["--connect-timeout"],
            takes: Takes::Value("S", Hint::Nothing),
            text: "time limit of an opening: resolve, connect, TLS and handshake (30)",
        },
        Opt {
            names: &["--max-message"],
            takes: Takes::Value("BYTES", Hint::Nothing),
            text: "bytes of a message (64M) or of an event of an event stream (1M), unless a script \
                   sets its option MaxMessageSize; K, M or G behind the number: KiB, MiB, GiB",
        },
        Opt {
            names: &["--allow"],
            takes: Takes::Value("PLACE", Hint::Nothing),
            text: "connect to PLACE only; may be repeated: HOST, *.HOST, ADDRESS or ADDRESS/BITS, \
                   with :PORT or without. If the list has an address, every name is asked of DNS, \
                   to compare its addresses; a name that a proxy resolves must be in the list \
                   itself",
        },
        Opt {
            names: &["--deny-private"],
            takes: Takes::Nothing,
            text: "connect to no address of this machine or its networks, whatever a name resolves \
                   to. The server of --echo and the proxies given here are exempt from --allow and \
                   --deny-private. Behind a proxy that resolves names, only addresses and localhost \
                   are denied: the client does not see where a name leads",
        },
        Opt {
            names: &["--trace"],
            takes: Takes::Nothing,
            text: "write each frame and change of state as a line to standard error",
        },
        Opt {
            names: &["--tape"],
            takes: Takes::Value("FILE", FILE),
            text: "record in FILE what each connection reads and writes, for moonwire replay: \
                   without what a trace masks, and of payloads only the lengths",
        },
        Opt {
            names: &["--tape-payloads"],
            takes: Takes::Nothing,
            text: "record the payloads of messages and bodies, even if they contain secrets; \
                   without them, compressed messages and streams cannot be replayed",
        },
    ],
};

/// The values of these options.
#[derive(Default)]
pub(super) struct NetworkArgs {
    pub(super) tls: TlsArgs,
    pub(super) proxies: ProxyArgs,
    pub(super) resolve: Vec<Override>,
    pub(super) connect_timeout: Option<Duration>,
    /// The longest message, in bytes.
    pub(super) max_message: Option<usize>,
    pub(super) allow: Vec<Allowed>,
    pub(super) deny_private: bool,
    pub(super) trace: bool,
    pub(super) tape: Option<PathBuf>,
    pub(super) tape_payloads: bool,
}

/// Facts about this run that its connections depend on.
#[derive(Clone, Copy, Default)]
pub(super) struct RunFacts {
    /// The address of the server that this run has started (`--echo`); the policy always allows it.
    pub(super) echo: Option<SocketAddr>,
    /// Whether the certificate of that server is trusted.
    pub(super) echo_tls: bool,
    /// Whether a script may choose a proxy.
    pub(super) script_proxy: bool,
}

impl NetworkArgs {
    /// Takes an option of this group; returns any other option.
    pub(super) fn take(&mut self, given: Given) -> Result<Option<Given>, Failure> {
        match given.name {
            "--ca" => self.tls.ca.push(given.path()),
            "--system-roots" => self.tls.system_roots = true,
            "--cert" => self.tls.cert = Some(given.path()),
            "--key" => self.tls.key = Some(given.path()),
            "--pin" => self.tls.pins.push(given.parsed()?),
            "--tls-min" => self.tls.least = Some(tls::version(&given.text()?)?),
            "--insecure" => self.tls.insecure = true,
            "--proxy" => self.proxies.proxy = Some(given.text()?),
            "--no-proxy" => self.proxies.except = Some(given.text()?),
            "--proxy-header" => {
                let name = given.name;
                self.proxies.headers.push(proxy::header(name, &given.text()?)?);
            }
            "--resolve" => self.resolve.push(given.parsed()?),
            "--connect-timeout" => self.connect_timeout = Some(given.seconds()?),
            "--max-message" => self.max_message = Some(given.bytes()?),
            "--allow" => self.allow.push(given.parsed()?),
            "--deny-private" => self.deny_private = true,
            "--trace" => self.trace = true,
            "--tape" => self.tape = Some(given.path()),
            "--tape-payloads" => self.tape_payloads = true,
            _ => return Ok(Some(given)),
        }
        Ok(None)
    }

    /// Writes the values into `config`, and warns on standard error about options that make the run
    /// less safe.
    pub(super) fn configure(&self, config: &mut Config, facts: RunFacts) -> Result<(), Failure> {
        config.resolve.clone_from(&self.resolve);
        if let Some(limit) = self.connect_timeout {
            config.limits.opening = limit;
        }
        if let Some(bytes) = self.max_message {
            // A line is a part of an event, so both limits are set.
            let limits = &mut config.limits;
            (limits.message, limits.sse_block, limits.sse_line) = (bytes, bytes, bytes);
        }
        if self.trace {
            config.observer = Some(Box::new(Lines::new(Stderr)));
        }
        if let Some(file) = &self.tape {
            let created = File::create(file);
            let created =
                created.map_err(|e| Failure::usage(format!("--tape: {}: {e}", file.display())))?;
            let tape = Tape::new(created).payloads(self.tape_payloads);
            config.tape = Some(tape);
        } else if self.tape_payloads {
            return Err(Failure::usage("--tape-payloads needs --tape FILE"));
        }
        config.tls = tls::destination_tls(&self.tls, facts.echo_tls)?;
        tls::warn(&self.tls);
        let mut proxies = Proxies::new(&self.proxies, variable)?;
        if facts.script_proxy || proxies.have_tls() {
            config.proxy_tls = tls::proxy_tls(&self.tls)?;
        }
        if proxies.are_none() && !self.proxies.headers.is_empty() {
            write_stderr("moonwire: --proxy-header: no proxy is set, so the field is not sent");
        }
        if let Some(echo) = facts.echo {
            proxies.except(echo);
        }
        if self.tls.insecure {
            // The certificate of these names is not verified, so this machine, not a proxy, has to
            // resolve them.
            proxies.except_for("localhost, 127.0.0.0/8, ::1");
        }
        let mut rules = proxies.trusted(self.policy(facts.echo));
        match proxies.resolves() {
            _ if !self.deny_private => {}
            Some(proxy) => write_stderr(&format!(
                "moonwire: --deny-private: {proxy} resolves names itself, so only names that are \
                 private by themselves are denied; with socks5:// the client resolves names and \
                 checks the addresses"
            )),
            // A script that may choose a proxy must not get around this rule: it could name the
            // trusted socks5:// proxy as socks5h://.
            None => rules = rules.and(proxy::resolves_here),
        }
        config.policy = rules;
        config.proxy = proxies.rules;
        Ok(())
    }

    /// The policy that the options describe; it always allows the server of `--echo`.
    fn policy(&self, echo: Option<SocketAddr>) -> Policy {
        let mut rules = Policy::open();
        if !self.allow.is_empty() {
            let list = Policy::list(self.allow.iter().cloned());
            rules = rules.and(move |to| list.check(to));
        }
        if self.deny_private {
            let public = Policy::public();
            rules = rules.and(move |to| public.check(to));
        }
        let rules = Policy::open().and(move |to| match (echo, to.host) {
            (Some(echo), Host::Address(ip)) if (*ip, to.port) == (echo.ip(), echo.port()) => Ok(()),
            _ => rules.check(to),
        });
        // This rule also holds for the server of --echo: --resolve can redirect its name elsewhere.
        if self.tls.insecure { rules.and(tls::stays_here) } else { rules }
    }
}

/// Fails in a build without compression; `option` is the option that needs it.
pub(super) fn needs_compression(option: &str) -> Result<(), Failure> {
    match cfg!(feature = "deflate") {
        true => Ok(()),
        false => {
            let text = "this build has no compression (feature deflate)";
            Err(Failure::usage(format!("{option}: {text}")))
        }
    }
}

/// The value of a variable that is set and not empty. A value that is not UTF-8 counts, too: if it
/// were ignored, connections would bypass the proxy that the variable names.
fn variable(name: &str) -> Option<String> {
    Some(tls::variable(name)?.to_string_lossy().into_owned())
}
