//! Keeps a connection after its request: the conditions for that, and which requests may use it.

use std::time::Instant;

use super::live::{Live, Reading};
use super::opening::{Hop, Opening, Route};
use crate::error::ErrorKind;
use crate::net::ask::Ask;
use crate::net::reactor::core::Core;
use crate::net::reactor::kept::{Idle, KeptInfo, ReuseKey, SameProxy};
use crate::net::sys::{Interest, Sys};
use crate::net::time::after;
use crate::net::wire::proxy::Target;
use crate::proto::http::HttpError;
use crate::proto::{Closed, Endpoint, Failure};

impl<S: Sys> Opening<S> {
    /// The properties that another request must share to use this connection. `None` for a stream
    /// of the program ([`StreamOptions::over`](crate::StreamOptions::over)), since only the program
    /// knows where that leads.
    pub(super) fn key(&self, core: &Core<S>) -> Option<Box<ReuseKey>> {
        let Ask::Stream(options) = &self.ask else { return None };
        let over_stream = matches!(self.route, Route::ProgramStream(_));
        if over_stream || !options.request.keep_alive || !core.kept.is_on() {
            return None;
        }
        let url = options.url();
        Some(Box::new(ReuseKey {
            scheme: url.scheme(),
            host: url.host().clone(),
            port: url.port(),
            proxy: self.proxy().cloned().map(SameProxy),
            socket: self.ask.way().socket.clone(),
            probes: self.ask.probes(&core.limits),
            secrets: options.request.headers.secrets(),
        }))
    }

    /// The data that is kept with the connection to `peer`.
    pub(super) fn kept_info(&mut self, peer: &Endpoint) -> Option<Box<KeptInfo>> {
        let key = self.key.take()?;
        let target = match &self.route {
            Route::Proxy(via) => match via.targets.front() {
                Some(Target::Address(address)) => Some(address.ip()),
                _ => None,
            },
            Route::Direct | Route::ProgramStream(_) => None,
        };
        Some(Box::new(KeptInfo { key, peer: peer.clone(), target, served: 0 }))
    }

    /// The index of a kept connection that the request may use. None for a body that can be read
    /// only once, since the server may be closing a kept connection.
    pub(super) fn find_kept(&self, core: &mut Core<S>) -> Option<usize> {
        if !self.reuses || self.ask.source().is_some() {
            return None;
        }
        let key = self.key.as_deref()?;
        let mut at = core.kept.len();
        loop {
            at = core.kept.find(at, key, core.now)?;
            // Bytes that came before the request was sent are no response to it.
            if self.may_go_over(core, at) && core.kept.is_quiet(&mut core.sys, &mut core.cipher, at)
            {
                return Some(at);
            }
        }
    }

    /// Whether the policy allows the kept connection, as it has to allow a new one.
    fn may_go_over(&self, core: &Core<S>, at: usize) -> bool {
        let Some(kept_info) = core.kept.get(at) else { return false };
        let may = |hop, address| self.allowed(core, hop, address).is_ok();
        let peer = kept_info.address();
        match &self.route {
            Route::Proxy(_) => {
                let target = kept_info.target.is_none_or(|ip| may(Hop::Url, Some(ip)));
                target && may(Hop::Proxy, None) && peer.is_none_or(|ip| may(Hop::Proxy, Some(ip)))
            }
            Route::Direct | Route::ProgramStream(_) => {
                peer.is_none_or(|ip| may(Hop::Url, Some(ip)))
            }
        }
    }
}

impl<S: Sys> Live<S> {
    /// How many requests this connection carried before the current one.
    pub(super) fn served(&self) -> u32 {
        self.kept_info().map_or(0, |kept_info| kept_info.served)
    }

    /// Whether bytes that come now cannot be a response: the connection was kept, and no byte of
    /// the request was sent.
    pub(super) fn is_unasked(&self) -> bool {
        self.served() > 0 && self.session.exchange().is_some_and(|e| e.is_unasked())
    }

    /// Until when the connection may be kept for another request, if its request has ended so that
    /// it may be.
    pub(super) fn kept_until(&self, core: &Core<S>) -> Option<Instant> {
        self.kept_info()?;
        let persistence = self.session.exchange()?.persistence()?;
        let Reading::Ready { tail, .. } = &self.reading else { return None };
        let clean = tail.is_none() && self.link.is_clean();
        (clean && !self.is_broken()).then(|| after(core.now, core.kept.idle(persistence.most)))
    }

    /// Adds the connection to the kept ones.
    pub(super) fn keep(self, core: &mut Core<S>, until: Instant) {
        let Live { mut link, token, extra, .. } = self;
        let kept_info = extra.and_then(|extra| extra.kept_info);
        link.shrink();
        let interest = Interest { read: true, write: false };
        let watched = token.interest() == interest
            || core.sys.watch(&link.socket, token.number(), interest, false).is_ok();
        match kept_info {
            Some(mut kept_info) if watched => {
                kept_info.served = kept_info.served.saturating_add(1);
                let idle = Idle { kept_info, link, number: token.number(), until };
                core.kept.add(&mut core.sys, idle);
            }
            _ => core.sys.forget(&link.socket),
        }
    }

    /// Whether the request is to be sent again over a new connection: the server has closed a kept
    /// connection without a response, as it may at any time, and the request may be sent twice (RFC
    /// 9112 §9.3.1).
    pub(super) fn goes_again(&self, closed: &Closed, kind: Option<&ErrorKind>) -> bool {
        let ended = matches!(closed, Closed::Failed(Failure::Http(HttpError::Eof)))
            && matches!(kind, None | Some(ErrorKind::Io(_) | ErrorKind::Eof));
        let exchange = self.session.exchange();
        ended && self.served() > 0 && exchange.is_some_and(|exchange| exchange.may_go_again())
    }

    /// As [`Live::goes_again`], for a response with status 408 (Request Timeout): servers send one
    /// before they close a connection that was idle for too long, perhaps before the request was
    /// sent.
    pub(super) fn has_met_timeout(&self, status: u16) -> bool {
        let exchange = self.session.exchange();
        status == 408 && self.served() > 0 && exchange.is_some_and(|e| e.may_go_again())
    }
}
