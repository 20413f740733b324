//! Bytes to and from the server, with time limits.

use std::io;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::finding::Stop;
use super::options::Options;
use crate::error::ErrorKind;
use crate::limits::Limits;
use crate::net::wire::link::{Link, ReadOutcome, Secure};
#[cfg(feature = "tls")]
use crate::net::wire::tls::Tls;
use crate::net::{Dial, Interest, Os, Poller as _, SocketOptions, Sys as _};
use crate::policy::{Destination, Policy};
use crate::proto::{Endpoint, Host, Url};

/// The server's addresses: resolved once, so that every check meets the same server.
pub(super) struct Target {
    pub(super) url: Url,
    endpoints: Vec<Endpoint>,
    loopback_only: bool,
    policy: Policy,
    /// No wait lasts longer than this.
    until: Option<Instant>,
    #[cfg(feature = "tls")]
    tls: Option<Arc<rustls::ClientConfig>>,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoWire {
    /// The connection is not allowed.
    Refused(String),
    Failed(String),
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConnectionEnd {
    /// The server ended it.
    Eof,
    /// The server ended it over TLS without `close_notify`.
    Cut,
    /// It was reset, or TLS failed.
    Reset(String),
}

/// The time limit of resolving the name, and of connecting.
const CONNECT: Duration = Duration::from_secs(10);

/// The receive buffer.
const BUFFER: usize = 64 * 1024;

/// The only token.
const TOKEN: u64 = 0;

impl Target {
    pub(super) fn find(options: &Options) -> Result<Target, Stop> {
        let url = options.url.clone();
        let failed = |e: io::Error| Stop::Connect(format!("{}: {e}", url.host()));
        let to = Destination::of(&url);
        options.policy.check(&to).map_err(Stop::Usage)?;
        let elsewhere = options.resolve.iter().find(|o| o.is_for(url.host(), url.port()));
        let endpoints = match (elsewhere, url.host()) {
            (Some(o), _) => vec![Endpoint::Address(o.to)],
            (None, Host::Address(ip)) => vec![Endpoint::Address((*ip, url.port()).into())],
            (None, Host::Unix(path)) => vec![Endpoint::Unix(path.as_str().into())],
            (None, Host::Name(_)) => resolve(&url, options.until).map_err(failed)?,
        };
        Ok(Target {
            endpoints,
            loopback_only: options.hostile,
            policy: options.policy.clone(),
            until: options.until,
            #[cfg(feature = "tls")]
            tls: tls(options)?,
            url,
        })
    }

    /// Connects, with TLS if the URL asks for it.
    pub(super) fn connect(&self) -> Result<Wire, NoWire> {
        let mut why = NoWire::Failed(format!("{} has no address", self.url.host()));
        for to in &self.endpoints {
            match self.connect_to(to) {
                Ok(wire) => return Ok(wire),
                Err(refused @ NoWire::Refused(_)) => return Err(refused),
                Err(failed) => why = failed,
            }
        }
        Err(why)
    }

    fn connect_to(&self, to: &Endpoint) -> Result<Wire, NoWire> {
        if let Endpoint::Address(address) = to {
            let mut destination = Destination::of(&self.url);
            destination.address = Some(address.ip());
            self.policy.check(&destination).map_err(NoWire::Refused)?;
            self.allowed(to)?;
        }
        let failed = |e: io::Error| NoWire::Failed(format!("{to}: {e}"));
        let mut os = Os::with_poll(&Limits::default()).map_err(failed)?;
        let options = SocketOptions::new();
        let dial = Dial { to, options: &options, keep_alive: None };
        let socket = os.connect_to(&dial).map_err(failed)?;
        let write = Interest { read: false, write: true };
        os.watch(&socket, TOKEN, write, true).map_err(failed)?;
        let deadline = self.before(CONNECT);
        while !os.is_connected(&socket) {
            os.connected(&socket).map_err(failed)?;
            if os.now() >= deadline {
                return Err(failed(io::ErrorKind::TimedOut.into()));
            }
            os.poller().wait(os.now(), Some(deadline), &mut Vec::new()).map_err(failed)?;
        }
        // The address at the other end of the socket counts, whatever was resolved.
        self.allowed(&os.peer_addr(&socket).unwrap_or_else(|| to.clone()))?;
        let tls = self.tls().map_err(|e| NoWire::Failed(shown(&e)))?;
        let link = Link::new(socket, tls);
        let buf = vec![0; BUFFER];
        let mut wire = Wire {
            os,
            link,
            input: Vec::new(),
            buf,
            cipher: vec![0; BUFFER],
            gone: None,
            until: self.until,
        };
        wire.greet(deadline)?;
        Ok(wire)
    }

    /// Whether hostile input may be sent to this address.
    fn allowed(&self, to: &Endpoint) -> Result<(), NoWire> {
        match to {
            Endpoint::Address(address)
                if self.loopback_only && !address.ip().to_canonical().is_loopback() =>
            {
                Err(NoWire::Refused(format!(
                    "--hostile sends what no client may send, so it goes to loopback addresses alone, \
                     and {} is at {address}; run it on the server's own machine",
                    self.url.host()
                )))
            }
            _ => Ok(()),
        }
    }

    #[cfg(feature = "tls")]
    fn tls(&self) -> Result<Option<Box<Secure>>, ErrorKind> {
        match &self.tls {
            Some(config) => Ok(Some(Secure::new(Tls::client(config, self.url.host())?))),
            None => Ok(None),
        }
    }

    #[cfg(not(feature = "tls"))]
    fn tls(&self) -> Result<Option<Box<Secure>>, ErrorKind> {
        Ok(None)
    }

    fn before(&self, patience: Duration) -> Instant {
        before(self.until, patience)
    }
}

/// `patience` from now, but not beyond `until`.
fn before(until: Option<Instant>, patience: Duration) -> Instant {
    let at = Instant::now() + patience;
    until.map_or(at, |until| until.min(at))
}

#[cfg(feature = "tls")]
fn tls(options: &Options) -> Result<Option<Arc<rustls::ClientConfig>>, Stop> {
    match &options.tls {
        _ if !options.url.scheme().is_secure() => Ok(None),
        Some(config) => Ok(Some(Arc::clone(config))),
        None => {
            let usual = crate::net::TlsOptions::new().build();
            usual.map(Some).map_err(|e| Stop::Usage(e.to_string()))
        }
    }
}

fn resolve(url: &Url, until: Option<Instant>) -> io::Result<Vec<Endpoint>> {
    let mut os = Os::with_poll(&Limits::default())?;
    let deadline = before(until, CONNECT);
    os.resolve(0, &url.resolver_name().unwrap_or_default(), url.port())?;
    loop {
        if let Some((_, addresses)) = os.resolved() {
            return Ok(addresses?.into_iter().map(Endpoint::Address).collect());
        }
        if os.now() >= deadline {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "its name was not resolved in time",
            ));
        }
        os.poller().wait(os.now(), Some(deadline), &mut Vec::new())?;
    }
}

fn shown(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::Tls(text, _) => format!("TLS: {text}"),
        ErrorKind::Certificate(text, _) => format!("TLS: {text}"),
        ErrorKind::Io(e) => e.to_string(),
        other => format!("{other:?}"),
    }
}

/// A connection.
pub(super) struct Wire {
    os: Os,
    link: Link<Os>,
    /// Received bytes that were not taken.
    input: Vec<u8>,
    buf: Vec<u8>,
    /// The receive buffer before decryption.
    cipher: Vec<u8>,
    gone: Option<ConnectionEnd>,
    until: Option<Instant>,
}

impl Wire {
    /// Completes the TLS handshake, if there is one.
    fn greet(&mut self, deadline: Instant) -> Result<(), NoWire> {
        while self.link.is_handshaking() {
            let why = match &self.gone {
                Some(ConnectionEnd::Reset(why)) => why,
                Some(_) => "TLS: the server ended the connection within the handshake",
                None if Instant::now() >= deadline => "TLS: no handshake within the time",
                None => {
                    self.turn(&[], deadline);
                    continue;
                }
            };
            return Err(NoWire::Failed(why.to_owned()));
        }
        Ok(())
    }

    /// Received bytes that were not taken.
    pub(super) fn input(&self) -> &[u8] {
        &self.input
    }

    pub(super) fn took(&mut self, used: usize) {
        self.input.drain(..used);
    }

    /// How the connection has ended, if it has; earlier bytes are in [`Wire::input`].
    pub(super) fn connection_end(&self) -> Option<&ConnectionEnd> {
        self.gone.as_ref()
    }

    /// `patience` from now, but not beyond the end of the audit.
    pub(super) fn before(&self, patience: Duration) -> Instant {
        before(self.until, patience)
    }

    /// Random bytes.
    pub(super) fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        // If the random source fails, zeros serve as well: the mask key of an audit is no secret.
        let _ = self.os.random(&mut bytes);
        bytes
    }

    /// Writes all of `bytes`, and reads meanwhile: a server that echoes need not read more than it
    /// can send back. Returns whether everything was written.
    pub(super) fn write(&mut self, mut bytes: &[u8], deadline: Instant) -> bool {
        loop {
            let (done, is_stuck) = self.turn(bytes, deadline);
            bytes = &bytes[done..];
            if bytes.is_empty() && !is_stuck {
                return true;
            }
            if self.gone.is_some() || Instant::now() >= deadline {
                return false;
            }
        }
    }

    /// Waits for more bytes; returns whether some came. None come at the end or after `deadline`.
    pub(super) fn more(&mut self, deadline: Instant) -> bool {
        let before = self.input.len();
        while self.gone.is_none() && self.input.len() == before && Instant::now() < deadline {
            self.wait_and_read(deadline);
        }
        self.input.len() > before
    }

    /// Writes as many bytes as possible, and waits if some are left; returns how many were written,
    /// and whether the kernel refused some.
    fn turn(&mut self, bytes: &[u8], deadline: Instant) -> (usize, bool) {
        let written = self.link.write(&mut self.os, bytes);
        if written.broken.is_some() {
            // Bytes that the server sent before are still to be read.
            while self.gone.is_none() {
                self.read();
            }
            return (written.done, true);
        }
        let handshaking = self.link.is_handshaking();
        let is_stuck = written.blocked || written.done < bytes.len() || handshaking;
        if is_stuck {
            self.wait(Interest { read: true, write: written.blocked }, deadline);
            self.read();
        }
        (written.done, is_stuck)
    }

    fn wait_and_read(&mut self, deadline: Instant) {
        // rustls may have records of its own to send.
        let blocked = self.link.write(&mut self.os, &[]).blocked;
        self.wait(Interest { read: true, write: blocked }, deadline);
        self.read();
    }

    fn wait(&mut self, interest: Interest, deadline: Instant) {
        let Wire { os, link, gone, .. } = self;
        let watched = os.watch(&link.socket, TOKEN, interest, false);
        let waited = watched.and_then(|()| {
            let now = os.now();
            os.poller().wait(now, Some(deadline), &mut Vec::new())
        });
        if let Err(e) = waited {
            gone.get_or_insert(ConnectionEnd::Reset(e.to_string()));
        }
    }

    /// Reads all bytes that are there.
    fn read(&mut self) {
        let Wire { os, link, buf, cipher, input, gone, .. } = self;
        let mut end = 0;
        let read = link.read(os, cipher, buf, &mut end, BUFFER);
        input.extend_from_slice(&buf[..end]);
        buf.resize(buf.len().max(BUFFER), 0);
        let how = match read {
            Ok(ReadOutcome::Some { .. } | ReadOutcome::None) => return,
            Ok(ReadOutcome::Eof) => ConnectionEnd::Eof,
            Ok(ReadOutcome::Cut) => ConnectionEnd::Cut,
            Err(kind) => ConnectionEnd::Reset(shown(&kind)),
        };
        gone.get_or_insert(how);
    }
}
