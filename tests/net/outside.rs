//! The program's own loop waits for the sockets that `Reactor::interests` lists.

use std::sync::Arc;
use std::time::Instant;

use moonwire::{Config, Conn, Event, Limits, Os, Poller as _, Reactor};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::common::*;

/// Waits for exactly the sockets of `interests`, until the reactor's deadline or `most`.
fn wait(reactor: &Reactor, most: Instant) {
    let interests = reactor.interests();
    let mut fds: Vec<PollFd<'_>> = interests
        .iter()
        .map(|(fd, interest)| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, interest.read);
            flags.set(PollFlags::OUT, interest.write);
            PollFd::new(fd, flags)
        })
        .collect();
    let until = reactor.deadline().map_or(most, |at| at.min(most));
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos() as _ };
    poll(&mut fds, Some(&left)).unwrap();
}

fn on_poll() -> Reactor {
    Reactor::with_sys(Os::with_poll(&Limits::default()).unwrap(), Config::default()).unwrap()
}

/// The resolver answers from another thread.
#[test]
fn a_name_is_resolved_for_a_loop_that_waits_for_what_is_listed() {
    for host in ["127.0.0.1", "localhost"] {
        let server = serve(|mut p| {
            p.accept(&close(1000, ""));
            p.close_frame();
        });
        let mut reactor = on_poll();
        let url = format!("ws://{host}:{}/", server.address.port());
        reactor.open(options(&url)).unwrap();
        let (until, mut opened) = (soon(), false);
        loop {
            assert!(Instant::now() < until, "{host}: hangs");
            let mut sink = |_: &mut Conn<'_>, e: Event<'_>| opened |= matches!(e, Event::Opened(_));
            reactor.turn(Some(Instant::now()), &mut sink).unwrap();
            if reactor.is_empty() {
                break;
            }
            wait(&reactor, until);
        }
        assert!(opened, "{host}");
        server.join();
    }
}

#[test]
fn a_wake_up_of_another_thread_ends_the_wait_of_such_a_loop() {
    let reactor = on_poll();
    let poller = Arc::clone(&reactor.poller());
    let other = std::thread::spawn(move || poller.wake());
    let until = soon();
    wait(&reactor, until);
    assert!(Instant::now() < until, "it was not woken");
    other.join().unwrap();
}

/// The peer of a paused connection has ended its side. However the system reports that, it does not
/// wake the loop again and again.
#[test]
fn such_a_loop_waits_while_nothing_is_wanted_of_a_peer_that_has_ended_its_half() {
    let server = serve(|mut p| {
        p.accept(b"");
        p.tcp.shutdown(std::net::Shutdown::Write).unwrap();
        p.rest();
    });
    let mut reactor = on_poll();
    let id = reactor.open(options(&server.url())).unwrap();
    let mut paused = false;
    let mut sink = |conn: &mut Conn<'_>, event: Event<'_>| {
        if matches!(event, Event::Opened(_)) {
            conn.pause();
            paused = true;
        }
    };
    let (begin, mut turns) = (Instant::now(), 0);
    while begin.elapsed() < std::time::Duration::from_millis(500) {
        let until = begin + std::time::Duration::from_millis(500);
        reactor.turn(Some(Instant::now()), &mut sink).unwrap();
        wait(&reactor, until);
        turns += 1;
    }
    assert!(paused);
    assert!(turns < 100, "{turns} turns");
    drop(reactor);
    let _ = id;
    server.join();
}
