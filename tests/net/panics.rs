//! The program's own code panics: its sink, its policy, its observer. If the program catches that,
//! one connection is lost, and everything else goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use moonwire::trace::{Observer, Trace};
use moonwire::{
    Client, Closed, Config, Conn, ConnId, ErrorKind, Event, Limits, Options, Policy, Reactor, Stage,
};

use crate::common::*;

/// A server that sends three messages and a part of a fourth. After a message from the client it
/// sends the rest, and closes.
fn talks() -> Scripted<()> {
    serve(|mut p| {
        p.accept(b"");
        let whole: Vec<u8> = [b"a", b"b", b"c"].iter().flat_map(|t| frame(0x81, *t)).collect();
        let last = frame(0x81, b"hello");
        p.write(&[&whole[..], &last[..4]].concat());
        // A client whose code has panicked closes without a message.
        if p.tcp.peek(&mut [0]).is_ok_and(|n| n > 0) {
            p.frame();
            p.write(&[&last[4..], &close(1000, "")].concat());
            p.close_frame();
        }
    })
}

/// Turns until no connection is open; catches panics of the program's code and goes on with the
/// next turn. Returns the events, and the number of panics.
fn turns(
    reactor: &mut Reactor,
    mut sink: impl FnMut(&mut Conn<'_>, &Event<'_>),
) -> (Vec<(ConnId, OwnedEvent)>, usize) {
    let (until, mut reported, mut panics) = (soon(), Vec::new(), 0);
    while !reactor.is_empty() {
        assert!(Instant::now() < until, "{reported:?}");
        let turn = AssertUnwindSafe(|| {
            let mut each = |conn: &mut Conn<'_>, event: Event<'_>| {
                sink(conn, &event);
                reported.push((conn.id(), keep(event)));
            };
            reactor.turn(Some(until), &mut each).unwrap();
        });
        panics += usize::from(catch_unwind(turn).is_err());
    }
    (reported, panics)
}

/// Checks the last event of each connection: a panic ended the connection at `lost`, and the others
/// ended cleanly after all messages.
fn check(reported: &[(ConnId, OwnedEvent)], ids: &[ConnId], lost: usize) {
    for (i, id) in ids.iter().enumerate() {
        let mine: Vec<&OwnedEvent> =
            reported.iter().filter(|(of, _)| of == id).map(|(_, t)| t).collect();
        if i == lost {
            let Some(OwnedEvent::Closed(Closed::Lost(error))) = mine.last() else {
                panic!("{mine:?}")
            };
            assert!(matches!(error.kind(), ErrorKind::Panicked), "{error}");
            continue;
        }
        let texts =
            ["a", "b", "c", "hello"].map(|text| format!("{:?}", OwnedEvent::Text(text.into())));
        let got: Vec<String> = mine.iter().map(|reported| format!("{reported:?}")).collect();
        assert!(texts.iter().all(|text| got.contains(text)), "{got:?}");
        assert!(matches!(mine.last(), Some(OwnedEvent::Closed(Closed::Clean(_)))), "{mine:?}");
    }
}

fn answers(conn: &mut Conn<'_>, event: &Event<'_>) {
    if matches!(event, Event::Text(text) if text.as_str() == "c") {
        conn.send_text("go on").unwrap();
    }
}

#[test]
fn a_sink_that_panics_costs_the_connection_whose_event_it_got() {
    let servers = [(); 3].map(|()| talks());
    let mut reactor = Reactor::new(Config::default()).unwrap();
    let ids = servers.each_ref().map(|s| reactor.open(options(&s.url())).unwrap());
    let mut first = true;
    let (reported, panics) = turns(&mut reactor, |conn, event| {
        let mine = conn.id() == ids[1] && matches!(event, Event::Text(_));
        assert!(!(mine && std::mem::take(&mut first)), "the sink's own fault");
        answers(conn, event);
    });
    assert_eq!(panics, 1);
    check(&reported, &ids, 1);
    servers.into_iter().for_each(Scripted::join);
}

/// The connections that were requested later, and still wait for their first turn, are not lost.
#[test]
fn a_policy_that_panics_costs_the_connection_that_it_was_asked_about() {
    let servers = [(); 3].map(|()| talks());
    let bad = listen(drop);
    let port = bad.address.port();
    let policy = Policy::open().and(move |to| {
        assert_ne!(to.port, port, "the policy's own fault");
        Ok(())
    });
    let mut reactor = Reactor::new(Config { policy, ..Config::default() }).unwrap();
    let mut ids = vec![reactor.open(options(&bad.url())).unwrap()];
    ids.extend(servers.iter().map(|s| reactor.open(options(&s.url())).unwrap()));
    let (reported, panics) = turns(&mut reactor, answers);
    assert_eq!(panics, 1);
    check(&reported, &ids, 0);
    bad.join();
    servers.into_iter().for_each(Scripted::join);
}

/// An observer that panics at the call with number `at`.
struct PanicsAtCall {
    at: usize,
    calls: Arc<AtomicUsize>,
}

impl Observer for PanicsAtCall {
    fn observe(&mut self, _: Instant, _: u64, _: Trace<'_>) {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        assert_ne!(call, self.at, "the observer's own fault");
    }
}

#[test]
fn an_observer_that_panics_at_any_word_costs_one_connection_at_most() {
    for at in 0..40 {
        let calls = Arc::default();
        let observer = PanicsAtCall { at, calls: Arc::clone(&calls) };
        let config = Config { observer: Some(Box::new(observer)), ..Config::default() };
        let servers = [(); 2].map(|()| talks());
        let mut reactor = Reactor::new(config).unwrap();
        let ids = servers.each_ref().map(|s| reactor.open(options(&s.url())).unwrap());
        let (reported, panics) = turns(&mut reactor, answers);
        let ends = |reported: &OwnedEvent| matches!(reported, OwnedEvent::Closed(_));
        for id in ids {
            let count = reported.iter().filter(|(of, t)| *of == id && ends(t)).count();
            // The panic may happen for the final event itself.
            assert!(count == 1 || panics == 1, "{at}: {reported:?}");
        }
        let clean = |t: &OwnedEvent| matches!(t, OwnedEvent::Closed(Closed::Clean(_)));
        let clean = reported.iter().filter(|(_, t)| clean(t)).count();
        assert!(clean + panics >= 2, "{at}: {reported:?}");
        let was_reached = calls.load(Ordering::Relaxed) > at;
        assert_eq!(panics, usize::from(was_reached), "{at}");
        // A server whose client never connected still waits, so the test does not join it.
        drop(servers);
    }
}

#[test]
fn whoever_waits_for_a_client_hears_of_a_panic_behind_what_was_reported() {
    let server = talks();
    let bad = listen(drop);
    let port = bad.address.port();
    let policy = Policy::open().and(move |to| {
        assert_ne!(to.port, port, "the policy's own fault");
        Ok(())
    });
    let (client, mut events) = Client::spawn(Config { policy, ..Config::default() }).unwrap();
    client.open(options(&server.url())).unwrap();
    let (mut texts, mut asked) = (0, false);
    let error = loop {
        match events.wait(Some(soon()), |_, e| texts += usize::from(matches!(e, Event::Text(_)))) {
            Ok(count) => assert!(count > 0),
            Err(error) => break error,
        }
        if texts == 3 && !std::mem::replace(&mut asked, true) {
            client.open(options(&bad.url())).unwrap();
        }
    };
    assert!(error.to_string().contains("panicked"), "{error}");
    assert!(events.wait(None, |_, _| ()).is_err(), "every call returns the error");
    is_over(&client, &options(&bad.url()));
    drop(client);
    drop(events);
    bad.join();
    server.join();
}

/// An observer that can be armed. Then it panics in calls outside the poll thread.
struct PanicsOutside(Arc<AtomicUsize>);

impl Observer for PanicsOutside {
    fn observe(&mut self, _: Instant, _: u64, _: Trace<'_>) {
        let is_poll_thread = std::thread::current().name() == Some("moonwire-poll");
        if !is_poll_thread && self.0.load(Ordering::Relaxed) > 0 {
            panic!("the observer's own fault");
        }
    }
}

/// The poll thread waits for the network, and only the call that panics can wake it.
#[test]
fn whoever_waits_for_a_client_hears_of_a_panic_in_somebody_elses_call() {
    let server = serve(|mut p| {
        p.accept(b"");
        p.rest();
    });
    let armed = Arc::default();
    let observer = Some(Box::new(PanicsOutside(Arc::clone(&armed))) as _);
    // The deadline of the opening may end a wait of the poll thread, even after the connection is
    // open. So it is far away.
    let limits = Limits { opening: Duration::from_secs(3600), ..Limits::default() };
    let config = Config { limits, observer, ..Config::default() };
    let (client, mut events) = Client::spawn(config).unwrap();
    let options = Options::new(&server.url()).unwrap();
    let id = client.open(options.ping_interval(None)).unwrap();
    let mut reported = Vec::new();
    while reported.is_empty() {
        events.wait(Some(soon()), |_, event| reported.push(keep(event))).unwrap();
    }
    assert!(matches!(reported[..], [OwnedEvent::Opened]), "{reported:?}");
    // The poll thread most likely waits by now.
    events.wait(Some(Instant::now() + Duration::from_millis(20)), |_, _| ()).unwrap();
    armed.store(1, Ordering::Relaxed);
    assert!(catch_unwind(AssertUnwindSafe(|| client.send_text(id, "x"))).is_err());
    let until = soon();
    events.wait(Some(until), |_, event| reported.push(keep(event))).unwrap();
    assert!(Instant::now() < until, "it was not woken");
    let Some(OwnedEvent::Closed(Closed::Lost(error))) = reported.last() else {
        panic!("{reported:?}")
    };
    assert!(matches!(error.kind(), ErrorKind::Panicked), "{error}");
    drop(events);
    server.join();
}

fn is_over(client: &Client, options: &Options) {
    let error = client.open(options.clone()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ClientEnded), "{error}");
    assert_eq!(error.stage(), Stage::Connect);
}

#[test]
fn a_client_whose_events_are_gone_opens_nothing() {
    let (client, events) = Client::spawn(Config::default()).unwrap();
    drop(events);
    is_over(&client, &options("ws://127.0.0.1:1/"));
    is_over(&client.clone(), &options("ws://127.0.0.1:1/"));
}
