//! One round: writes, waits, reads, reports, checks the timers, writes.

use std::time::Instant;

use super::conn::{RecordingSink, Sink};
use super::core::Core;
use super::driver::{Driver, token_parts};
use super::{Reactor, Slot, next_generation};
use crate::net::event::ConnId;
use crate::net::sys::Sys;
use crate::net::time::earlier;

impl<S: Sys> Reactor<S> {
    /// Writes what is queued, without waiting and without reporting events.
    pub fn flush(&mut self) {
        if self.core.observer.is_some() {
            // Only the observer needs the current time here.
            self.core.now = self.core.sys.now();
        }
        self.core.corked = None;
        let mut next = 0;
        while let Some(&id) = self.core.dirty.get(next) {
            if self.flush_one(id) {
                self.core.dirty.swap_remove(next);
            } else {
                next += 1;
            }
        }
    }

    /// Writes what is queued for one connection; returns whether no work is left for it.
    fn flush_one(&mut self, id: ConnId) -> bool {
        let Some((core, driver)) = self.get(id) else { return true };
        if driver.is_uploading() {
            return false;
        }
        core.begin(id);
        let is_good = driver.write_early(core);
        driver.observe(core);
        core.running = None;
        // The next turn ends the connection, and reports that if needed.
        if !is_good || driver.next_state_is_due() {
            return false;
        }
        driver.touched = false;
        driver.return_memory(core);
        if !driver.is_armed() {
            self.arm(id);
        }
        true
    }

    /// The first half of a turn, up to the wait: returns the deadline for [`Poller::wait`], or
    /// `None` if there is work already.
    pub(in crate::net) fn before_wait(
        &mut self,
        until: Option<Instant>,
        sink: &mut dyn Sink,
    ) -> Option<Option<Instant>> {
        self.core.now = self.core.sys.now();
        self.core.handed = 0;
        let (mut sink, open) = (RecordingSink { sink, reported: false }, self.core.open);
        self.recover(&mut sink);
        self.settle(&mut sink);
        // A connection may end without an event. If it was the last, the program has no reason to
        // wait.
        if sink.reported || self.core.open < open || self.has_work() {
            return None;
        }
        Some(earlier(until, self.next_timer()))
    }

    /// The second half of a turn: handles what is ready.
    pub(in crate::net) fn after_wait(&mut self, sink: &mut dyn Sink) {
        self.core.now = self.core.sys.now();
        self.core.handed = 0;
        self.recover(sink);
        // Connections that are added meanwhile are started in the next turn.
        for _ in 0..self.core.fresh.len() {
            let Some(id) = self.core.fresh.pop_front() else { break };
            self.work(id, |core, driver| {
                driver.start(core, sink);
                driver.touch(core);
            });
        }
        while let Some((id, answer)) = self.core.sys.resolved() {
            self.work(ConnId::from_bits(id), |core, driver| {
                driver.addresses(core, sink, answer);
                driver.touch(core);
            });
        }
        for _ in 0..self.core.backlog.len() {
            let Some(id) = self.core.backlog.pop_front() else { break };
            self.work(id, |core, driver| driver.parse_on(core, sink));
        }
        while self.ready_at < self.ready.len() && self.core.has_room() {
            let ready = self.ready[self.ready_at];
            self.ready_at += 1;
            let (id, attempt) = token_parts(ready.token);
            if !self.work(id, |core, driver| driver.ready(core, sink, attempt, ready)) {
                let Core { kept, sys, cipher, .. } = &mut self.core;
                kept.ready(sys, cipher, ready.token);
            }
        }
        if self.ready_at == self.ready.len() {
            self.ready.clear();
            self.ready_at = 0;
        }
        self.expire(sink);
        self.settle(sink);
    }

    /// Does work for a connection that may call the program's code: its sink, its policy, its
    /// observer. Returns whether there is such a connection.
    fn work(&mut self, id: ConnId, work: impl FnOnce(&mut Core<S>, &mut Driver<S>)) -> bool {
        let Some((core, driver)) = self.get(id) else { return false };
        core.begin(id);
        work(core, driver);
        core.running = None;
        // A connection that is to be settled may have bytes to send.
        if !driver.touched {
            driver.return_memory(core);
        }
        true
    }

    /// Ends the connections whose code has panicked: nobody knows which of their bytes were read
    /// and written, and which events were reported.
    fn recover(&mut self, sink: &mut dyn Sink) {
        let at = self.core.running.take();
        self.core.panicked.extend(at);
        // The code may panic again at this event; the next turn then continues here.
        while let Some(&id) = self.core.panicked.last() {
            if let Some((core, driver)) = self.get(id) {
                driver.panicked(core, sink);
                driver.touched = false;
                driver.touch(core);
            }
            self.core.panicked.pop();
        }
        if !self.late.is_empty() {
            self.arm_late();
        }
    }

    /// Sets deadlines again that passed in a turn without room.
    fn arm_late(&mut self) {
        for id in std::mem::take(&mut self.late) {
            self.arm(id);
        }
    }

    /// Lets in connections whose turn at a gate has come.
    fn admit(&mut self, sink: &mut dyn Sink) {
        while self.core.gates.is_freed()
            && let Some((to, ticket, who)) = self.core.gates.next()
        {
            let there = self.work(who, |core, driver| {
                driver.unpark(core, sink, to.clone(), ticket);
                driver.touch(core);
            });
            if !there {
                self.core.gates.leave(&to);
            }
        }
    }

    fn settle(&mut self, sink: &mut dyn Sink) {
        self.core.corked = None;
        loop {
            self.admit(sink);
            if self.core.held.has_waiting() {
                for id in self.core.held.take_waiting(&self.core.limits) {
                    if let Some((core, driver)) = self.get(id) {
                        driver.touch(core);
                    }
                }
            }
            let Some(id) = self.core.dirty.pop() else { return };
            let mut armed = true;
            self.work(id, |core, driver| {
                driver.touched = false;
                driver.settle(core, sink);
                armed = driver.is_armed();
            });
            if !armed {
                self.arm(id);
            }
        }
    }

    /// Sets a connection's deadline in the table, or removes the connection if it is gone.
    pub(super) fn arm(&mut self, id: ConnId) {
        let Some((_, driver)) = self.get(id) else { return };
        let (gone, armed, wanted) = (driver.is_gone(), driver.armed, driver.deadline());
        driver.armed = wanted;
        if let Some(at) = armed {
            self.timers.remove(&(at, id));
        }
        if gone {
            self.remove(id);
        } else if let Some(at) = wanted {
            self.timers.insert((at, id));
        }
    }

    fn remove(&mut self, id: ConnId) {
        let Some(slot) = self.slots.get_mut(id.index()) else { return };
        let Slot::Used(driver) = slot else { return };
        driver.forget_held(&mut self.core);
        *slot = Slot::Free { generation: next_generation(id), past: driver.past.take() };
        self.free.push(id.index());
        self.core.open -= 1;
        // True however each connection has ended, even by a panic of the program's code.
        debug_assert!(self.core.open > 0 || self.core.gates.is_empty(), "a gate is left");
        debug_assert!(
            self.core.open > 0 || self.core.held.bytes() == 0,
            "bytes are left in the sum"
        );
    }

    fn expire(&mut self, sink: &mut dyn Sink) {
        self.core.kept.expire(&mut self.core.sys, self.core.now);
        // If a turn has no room, connections that would have to be read first are put off: the next
        // turn checks them without waiting. One of them is handled in any case.
        let mut one = true;
        while let Some(&(at, id)) = self.timers.first() {
            if at > self.core.now {
                break;
            }
            // Lets in connections whose turn has come, perhaps since the last deadline: they no
            // longer wait at a gate. The table does not change here, whatever the program's code
            // does.
            self.admit(sink);
            self.timers.pop_first();
            let Some((core, driver)) = self.get(id) else { continue };
            driver.armed = None;
            if driver.is_due(core.now) {
                let reads = driver.live().is_some();
                if reads && !core.has_room() && !std::mem::take(&mut one) {
                    self.late.push(id);
                    continue;
                }
                core.begin(id);
                // The poll of this turn may have missed bytes that came in time.
                driver.catch_up(core, sink);
                if driver.is_due(core.now) {
                    driver.on_deadline(core, sink);
                }
                core.running = None;
            }
            self.arm(id);
        }
        self.arm_late();
    }
}
