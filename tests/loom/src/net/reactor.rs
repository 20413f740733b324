//! A reactor that reports numbers: one in each turn, so that something is left for the next.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::ask::Config;
use super::event::{ConnId, Event};
use super::faces::sync::Instant;
use super::sys::{Os, OsPoller, Poller as _, Ready, Sys};
use super::time::earlier;

/// The receiver of events.
pub(crate) trait Sink {
    fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>);
}

/// The connection while an event is reported.
pub(crate) struct Conn<'a> {
    pub(crate) held: &'a mut usize,
}

/// The part of the crate's that the files which share it need.
pub(crate) struct Reactor<S: Sys = Os> {
    poller: Arc<S::Poller>,
    now: Instant,
    empty: bool,
    /// Numbers to be reported: those that another thread has requested, and arrivals.
    work: VecDeque<u32>,
    /// When each number is reported.
    timer: Option<(Instant, u32)>,
    held: usize,
    high: usize,
    reported: bool,
}

/// Calls of the models.
impl<S: Sys> Reactor<S> {
    /// Leaves work for the next turn.
    pub(crate) fn ask(&mut self, number: u32) {
        self.work.push_back(number);
    }

    /// Whether anything was reported since the last call.
    pub(crate) fn take_reported(&mut self) -> bool {
        std::mem::take(&mut self.reported)
    }

    pub(crate) fn set_timer(&mut self, at: Instant, number: u32) {
        self.timer = Some((at, number));
    }

    /// Whether a connection is open. This does not depend on the work that is left.
    pub(crate) fn set_open(&mut self, open: bool) {
        self.empty = !open;
    }
}

/// Calls of the files that are checked.
impl Reactor {
    pub(crate) fn new(config: Config) -> io::Result<Reactor> {
        let high = config.high;
        let poller = Arc::new(OsPoller::new(config));
        let (now, work) = (Instant::now(), VecDeque::new());
        Ok(Reactor { poller, now, empty: false, work, timer: None, held: 0, high, reported: false })
    }
}

impl<S: Sys> Reactor<S> {
    pub(crate) fn poller(&self) -> Arc<S::Poller> {
        Arc::clone(&self.poller)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.empty
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.has_work() { Some(Instant::PAST) } else { self.timer.map(|(at, _)| at) }
    }

    pub(crate) fn flush(&mut self) {}

    pub(crate) fn before_wait(
        &mut self,
        until: Option<Instant>,
        _sink: &mut dyn Sink,
    ) -> Option<Option<Instant>> {
        self.poller.enter();
        self.now = Instant::now();
        (!self.has_work()).then(|| earlier(until, self.deadline()))
    }

    pub(crate) fn add_ready(&mut self, ready: &mut Vec<Ready>) {
        self.poller.leave();
        self.work.extend(ready.drain(..).map(|ready| ready.number));
    }

    pub(crate) fn after_wait(&mut self, sink: &mut dyn Sink) {
        self.now = Instant::now();
        if let Some((_, number)) = self.timer.take_if(|(at, _)| *at <= self.now) {
            self.work.push_back(number);
        }
        if self.has_work()
            && let Some(number) = self.work.pop_front()
        {
            sink.event(&mut Conn { held: &mut self.held }, Event::new(number));
            self.reported = true;
            self.poller.ring();
        }
    }

    pub(crate) fn consumed(&mut self, _id: ConnId, bytes: usize) {
        let left = self.held.checked_sub(bytes);
        self.held = left.expect("more is consumed than was reported");
    }

    /// Events of its one connection that it has not reported.
    pub(crate) fn listened(&self) -> usize {
        self.work.len() + usize::from(self.timer.is_some())
    }

    pub(crate) fn may_be_unread(&self) -> bool {
        self.held > self.high
    }

    fn has_work(&self) -> bool {
        !self.work.is_empty() && !self.may_be_unread()
    }
}
