//! Asks a proxy for a tunnel, and receives its answer.

use std::ops::ControlFlow;

use super::state::{Driver, State};
use crate::error::{ProxyError, Stage};
use crate::net::reactor::conn::Sink;
use crate::net::reactor::core::Core;
use crate::net::sys::Sys;
use crate::proto::Note;
use crate::trace::Trace;

impl<S: Sys> Driver<S> {
    /// The socket to a proxy is readable or writable.
    pub(super) fn tunnel_ready(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let State::Tunnel(tunnelling) = &mut self.state else { return };
        match tunnelling.step(core) {
            ControlFlow::Continue(()) => self.touch(core),
            ControlFlow::Break(Ok(())) => self.tunnel_opened(core, sink),
            ControlFlow::Break(Err(why)) => self.tunnel_failed(core, sink, why),
        }
    }

    /// Reports the request to the proxy to the observer.
    pub(super) fn show_request(&mut self, core: &mut Core<S>) {
        let State::Tunnel(tunnelling) = &mut self.state else { return };
        let Some(observer) = &mut core.observer else { return };
        match tunnelling.tunnel.shown() {
            Some(head) => {
                let note = Note::request(head);
                observer.observe(core.now, self.id.to_bits(), Trace::Note(&note));
            }
            None => {
                let text = format!("asking the proxy {}", tunnelling.tunnel.proxy());
                observer.observe(core.now, self.id.to_bits(), Trace::State(&text));
            }
        }
    }

    /// The time limit for the tunnel, or for the body of a refusal, has passed.
    pub(super) fn tunnel_timed_out(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let State::Tunnel(tunnelling) = &mut self.state else { return };
        match tunnelling.tunnel.deadline() {
            // The part of the body that has come is reported.
            Some(_) => {
                let why = tunnelling.tunnel.end();
                self.tunnel_failed(core, sink, why);
            }
            None => {
                if let Some((stage, kind)) = tunnelling.opening.timed_out(core) {
                    self.fail(core, sink, stage, kind);
                }
            }
        }
    }

    /// The proxy opens no tunnel. After a SOCKS error, the next address of the server is tried.
    fn tunnel_failed(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, why: ProxyError) {
        if matches!(why, ProxyError::Socks(_)) && self.try_next_target(core) {
            return self.dial(core, sink);
        }
        let State::Tunnel(tunnelling) = &self.state else { return };
        let kind = tunnelling.error(why);
        self.fail(core, sink, Stage::Proxy, kind);
    }
}
