//! Moves the body of a request from its reader to the session, which limits how much at a time.

use std::time::{Duration, Instant};

use super::live::Live;
use super::state::Driver;
use crate::error::{ErrorKind, Stage};
use crate::net::ask::BodyRead;
use crate::net::event::Closed;
use crate::net::reactor::conn::Sink;
use crate::net::reactor::core::Core;
use crate::net::sys::Sys;
use crate::net::time::after;

impl<S: Sys> Live<S> {
    /// Whether the reader can be read as soon as the kernel takes bytes.
    pub(super) fn reads_on(&self) -> bool {
        let upload = self.upload();
        upload.is_some_and(|upload| upload.again.is_none()) && self.session.body_room() > 0
    }
}

impl<S: Sys> Driver<S> {
    /// Whether the body of a request is in progress, which only turns continue.
    pub(in crate::net) fn is_uploading(&self) -> bool {
        self.live_ref().is_some_and(|live| live.upload().is_some())
    }

    /// When a reader that returned `WouldBlock` is read again.
    pub(super) fn reads_again(&self) -> Option<Instant> {
        self.live_ref()?.upload()?.again
    }

    /// If the time of such a reader has come, lets the next [`Driver::settle`] read it.
    pub(super) fn look_whether_to_read(&mut self, now: Instant) {
        let extra = self.live().and_then(|live| live.extra.as_mut());
        if let Some(upload) = extra.and_then(|extra| extra.upload.as_mut()) {
            upload.again = upload.again.filter(|again| *again > now);
        }
    }

    /// Reads as much of the body as the session has room for.
    pub(super) fn upload(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        while let Some(live) = self.live()
            && let Some(extra) = &mut live.extra
            && let Some(upload) = &mut extra.upload
        {
            if !live.session.is_uploading() {
                // The body is complete, or the session needs no more of it.
                extra.upload = None;
                return;
            }
            let most = live.session.body_room();
            if most == 0 || upload.again.is_some() {
                return;
            }
            let event = match upload.read(most) {
                Ok(BodyRead::Some(n)) => live.session.send_body(core.now, &upload.buf[..n]),
                Ok(BodyRead::End) => live.session.end_body(core.now),
                Ok(BodyRead::Later) => {
                    let limits = extra.limits.as_deref().unwrap_or(&core.limits);
                    let wait = limits.body_retry.max(Duration::from_millis(1));
                    upload.again = Some(after(core.now, wait));
                    return;
                }
                Err(kind) => return self.upload_failed(core, sink, kind),
            };
            if let Some(event) = event {
                self.event(core, sink, event);
            }
        }
    }

    /// The reader failed before the body was complete.
    fn upload_failed(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, kind: ErrorKind) {
        let known = self.error_data(core);
        let begun = known.stage == Stage::Body;
        let error = known.upload(kind);
        self.observe(core);
        self.release_socket(core);
        let closed = if begun { Closed::Lost(error) } else { Closed::Failed(error) };
        self.emit_closed(core, sink, closed);
    }
}
