//! Servers that read slowly, or not at all: a slow server is not given up, and accepted bytes
//! arrive. The limits are short, and no test asserts a duration.

use std::net::Shutdown;
use std::sync::mpsc::channel;
use std::thread::sleep;
use std::time::{Duration, Instant};

use moonwire::{
    Client, Closed, Config, Conn, ConnId, ErrorKind, Event, Events, Limits, Message, Reactor,
    Stage, StreamOptions,
};

use crate::common::*;
use crate::web::*;

const MS: Duration = Duration::from_millis(1);
const MIB: usize = 1 << 20;

/// More bytes than the kernels on both sides hold.
const MUCH: usize = 12 * MIB;

/// A server whose kernel holds little unread data.
fn slow<R: Send + 'static>(
    secure: bool,
    script: impl FnOnce(Peer) -> R + Send + 'static,
) -> Scripted<R> {
    serve_either(secure, move |peer| {
        rustix::net::sockopt::set_socket_recv_buffer_size(&peer.tcp, 64 * 1024).unwrap();
        script(peer)
    })
}

/// Reads `n` bytes, slowly in the first second.
fn sips(peer: &mut Peer, n: usize) -> Vec<u8> {
    let (until, mut bytes) = (Instant::now() + 1000 * MS, Vec::new());
    while bytes.len() < n {
        bytes.extend(peer.read((n - bytes.len()).min(32 * 1024)));
        if Instant::now() < until {
            sleep(5 * MS);
        }
    }
    bytes
}

/// The length of a binary message on the wire.
fn on_wire(len: usize) -> usize {
    2 + 8 + 4 + len
}

/// A server that slowly reads this number of messages of a MiB, and then the close frame, which it
/// answers. Returns the code of that frame.
fn reads_all(secure: bool, messages: usize) -> Scripted<u16> {
    slow(secure, move |mut p| {
        p.accept(b"");
        sips(&mut p, messages * on_wire(MIB));
        let (first, payload) = p.frame();
        assert_eq!(first, 0x88, "only the close frame follows what was sent");
        let _ = p.try_write(&frame(0x88, &payload[..2]));
        let _ = p.tcp.shutdown(Shutdown::Write);
        u16::from_be_bytes([payload[0], payload[1]])
    })
}

fn spawned(limits: Limits, url: &str) -> (Client, Events, ConnId) {
    let (client, mut events) = Client::spawn(Config { limits, ..trusting() }).unwrap();
    let id = client.open(options(url)).unwrap();
    let mut opened = false;
    while !opened {
        let count = events.wait(Some(soon()), |_, e| opened = matches!(e, Event::Opened(_)));
        assert!(count.unwrap() > 0);
    }
    (client, events, id)
}

fn closed(events: &mut Events) -> Closed {
    let (until, mut end) = (soon(), None);
    while end.is_none() {
        assert!(Instant::now() < until, "hangs");
        let each = |_, event: Event<'_>| {
            if let Event::Closed(closed) = event {
                end = Some(closed);
            }
        };
        events.wait(Some(until), each).unwrap();
    }
    end.unwrap()
}

/// FAULTS 68.
#[test]
fn a_server_that_reads_slowly_and_says_nothing_is_alive() {
    for secure in [false, true] {
        let server = slow(secure, |mut p| {
            p.accept(b"");
            sips(&mut p, on_wire(MUCH)).len()
        });
        let limits = Limits { pong: 300 * MS, ..Limits::default() };
        let options = options(&server.url()).ping_interval(Some(100 * MS)).limits(limits);
        let mut ws = options.connect_with(trusting()).unwrap();
        ws.send_binary(&vec![7; MUCH]).unwrap();
        assert_eq!(ws.buffered(), 0);
        assert_eq!(server.join(), on_wire(MUCH));
    }
}

/// FAULTS 66.
#[test]
fn a_close_right_behind_much_comes_behind_all_of_it() {
    let limits = || Limits { close: 700 * MS, linger: 700 * MS, ..Limits::default() };
    let piece = vec![7; MIB];
    for secure in [false, true] {
        let server = reads_all(secure, 12);
        let mut reactor = Reactor::new(Config { limits: limits(), ..trusting() }).unwrap();
        reactor.open(options(&server.url())).unwrap();
        let reported = run(&mut reactor, |conn, event| {
            if let Event::Opened(_) = event {
                (0..12).for_each(|_| conn.send_binary(&piece).unwrap());
                conn.close(4001, "").unwrap();
            }
        });
        assert!(
            matches!(reported.last(), Some(OwnedEvent::Closed(Closed::Clean(_)))),
            "{reported:?}"
        );
        assert_eq!((server.join(), reactor.lost()), (4001, 0), "the reactor");
    }
}

/// FAULTS 66.
#[test]
fn a_close_right_behind_much_comes_behind_all_of_it_with_the_other_faces_too() {
    let limits = || Limits { close: 700 * MS, linger: 700 * MS, ..Limits::default() };
    let piece = vec![7; MIB];
    let server = reads_all(false, 12);
    let (client, mut events, id) = spawned(limits(), &server.url());
    (0..12).for_each(|_| client.send_binary(id, &piece).unwrap());
    client.close(id, 4002, "").unwrap();
    let end = closed(&mut events);
    assert!(matches!(end, Closed::Clean(_)), "{end:?}");
    assert_eq!(server.join(), 4002, "the client");

    let server = reads_all(false, 12);
    let mut ws = options(&server.url()).limits(limits()).connect().unwrap();
    (0..12).for_each(|_| ws.send_binary(&piece).unwrap());
    assert_eq!(ws.close(4003, "").unwrap().code, Some(4003));
    assert_eq!(server.join(), 4003, "the blocking face");
}

#[test]
fn a_server_that_closes_and_is_gone_has_lost_what_it_did_not_read() {
    for secure in [false, true] {
        let server = slow(secure, |mut p| {
            p.accept(b"");
            p.read(1000);
            p.write(&close(1000, ""));
        });
        let mut reactor = Reactor::new(trusting()).unwrap();
        reactor.open(options(&server.url())).unwrap();
        let reported = run(&mut reactor, |conn, event| {
            if let Event::Opened(_) = event {
                conn.send_binary(&vec![7; MUCH]).unwrap();
            }
        });
        server.join();
        let Some(OwnedEvent::Closed(Closed::Lost(error))) = reported.last() else {
            panic!("{reported:?}")
        };
        let lost = error.unsent();
        // Over TLS perhaps only a part of the first record has left.
        let most = on_wire(MUCH) - if secure { 0 } else { 1000 };
        assert!((1..=most).contains(&lost), "{error}");
        let words = format!("; {lost} bytes that were accepted did not leave");
        assert!(error.to_string().ends_with(&words), "{error}");
        assert_eq!((reactor.unsent(), reactor.lost()), (0, 0), "it was reported");
    }
}

#[test]
fn a_server_that_closes_and_reads_on_gets_it_all() {
    for secure in [false, true] {
        let server = slow(secure, move |mut p| {
            p.accept(b"");
            p.read(1000);
            p.write(&close(1000, ""));
            if !secure {
                p.tcp.shutdown(Shutdown::Write).unwrap();
            }
            sips(&mut p, on_wire(MUCH) - 1000);
            p.frame()
        });
        let limits = Limits { close: 700 * MS, linger: 700 * MS, ..Limits::default() };
        let mut reactor = Reactor::new(Config { limits, ..trusting() }).unwrap();
        reactor.open(options(&server.url())).unwrap();
        let reported = run(&mut reactor, |conn, event| {
            if let Event::Opened(_) = event {
                conn.send_binary(&vec![7; MUCH]).unwrap();
            }
        });
        assert!(
            matches!(reported.last(), Some(OwnedEvent::Closed(Closed::Clean(_)))),
            "{reported:?}"
        );
        assert_eq!(server.join(), (0x88, 1000u16.to_be_bytes().to_vec()));
    }
}

#[test]
fn an_upload_that_is_slower_than_the_limit_of_the_response_is_answered() {
    for secure in [false, true] {
        let server = slow(secure, |mut p| {
            let n = length(p.request());
            let body = sips(&mut p, n);
            p.write(FINE.as_bytes());
            p.rest();
            body
        });
        let limits = Limits { response: 700 * MS, ..Limits::default() };
        let data = pattern(MUCH);
        let options = StreamOptions::new("POST", &http(&server.url())).unwrap();
        let reported = events(options.body(&data).unwrap().limits(limits), trusting());
        assert_eq!((body(&reported), is_complete(&reported)), (b"fine".to_vec(), true));
        assert!(server.join() == data);
    }
}

#[test]
fn a_server_that_talks_and_never_reads_is_stalled() {
    for secure in [false, true] {
        let server = slow(secure, |mut p| {
            p.accept(b"");
            while p.try_write(&[0x8A, 0]).is_ok() {
                sleep(20 * MS);
            }
        });
        let limits = Limits { pong: 100 * MS, stall: 400 * MS, ..Limits::default() };
        let options = options(&server.url()).ping_interval(Some(100 * MS)).limits(limits);
        let mut ws = options.connect_with(trusting()).unwrap();
        let error = ws.send_binary(&vec![7; MUCH]).unwrap_err();
        let stalled = matches!(error.kind(), ErrorKind::Stalled(limit) if *limit == 400 * MS);
        assert!(stalled && error.unsent() > 0, "{error}");
        assert_eq!(ws.read().unwrap(), None);
        assert!(ws.send_text("late").is_err());
        drop(ws);
        server.join();
    }
}

#[test]
fn a_send_that_takes_too_long_has_queued_its_message_which_leaves_later() {
    for secure in [false, true] {
        let (go, wait) = channel();
        let server = slow(secure, move |mut p| {
            p.accept(b"");
            wait.recv_timeout(LONG).unwrap();
            let got = [p.frame(), p.frame()];
            p.write(&frame(0x81, b"got it"));
            let code = p.close_code();
            p.write(&close(code, ""));
            (got, code)
        });
        let mut ws = options(&server.url()).connect_with(trusting()).unwrap();
        assert_eq!(ws.write_timeout(), None);
        ws.set_write_timeout(Some(100 * MS));
        let message = pattern(MUCH);
        let error = ws.send_binary(&message).unwrap_err();
        let is_late =
            |kind: &ErrorKind| matches!(kind, ErrorKind::WriteTimeout(d) if *d == 100 * MS);
        assert!(is_late(error.kind()), "{error}");
        let unsent = error.unsent();
        assert!((1..on_wire(MUCH)).contains(&unsent), "{error}");
        assert_eq!(ws.buffered(), unsent);
        assert!(error.to_string().ends_with(&format!("the rest is queued ({unsent} bytes)")));
        // Another message is queued behind it.
        let error = ws.send_text("and this").unwrap_err();
        assert!(is_late(error.kind()) && error.unsent() > 0, "{error}");
        go.send(()).unwrap();
        // The rest is sent while another call waits.
        assert_eq!(ws.read().unwrap(), Some(Message::Text("got it".into())));
        assert_eq!(ws.buffered(), 0);
        assert_eq!(ws.close(1000, "").unwrap().code, Some(1000));
        let ([first, second], code) = server.join();
        assert!(first == (0x82, message) && second == (0x81, b"and this".to_vec()) && code == 1000);
    }
}

#[test]
fn an_interval_of_zero_is_no_flood_of_pings() {
    let server = serve(|mut p| {
        p.accept(b"");
        let (until, mut count) = (Instant::now() + 500 * MS, 0);
        while Instant::now() < until {
            assert_eq!(p.frame(), (0x89, vec![]));
            p.write(&frame(0x8A, b""));
            count += 1;
        }
        p.write(&close(1000, ""));
        p.close_code();
        count
    });
    let reported = events(options(&server.url()).ping_interval(Some(Duration::ZERO)), trusting());
    assert!(matches!(reported.last(), Some(OwnedEvent::Closed(Closed::Clean(_)))), "{reported:?}");
    // The client pings at most every 100 ms. Without this minimum there would be thousands of
    // pings.
    let count = server.join();
    assert!((1..=20).contains(&count), "{count} pings");
}

/// FAULTS 67.
#[test]
fn the_end_of_a_client_loses_nothing_as_long_as_the_line_moves() {
    // Neither `linger` nor `close` limits the time while bytes leave.
    let limits = || Limits { close: 700 * MS, linger: 700 * MS, ..Limits::default() };
    let piece = vec![7; MIB];
    for (secure, finish) in [(false, true), (true, false)] {
        let server = reads_all(secure, 12);
        let (client, events, id) = spawned(limits(), &server.url());
        (0..12).for_each(|_| client.send_binary(id, &piece).unwrap());
        match finish {
            true => assert_eq!(events.finish(None), 0),
            false => drop(events),
        }
        assert_eq!(server.join(), 1001, "{secure} {finish}");
    }
    // A limit that is not reached has no effect.
    let server = reads_all(false, 3);
    let (client, events, id) = spawned(limits(), &server.url());
    (0..3).for_each(|_| client.send_binary(id, &piece).unwrap());
    assert_eq!(events.finish(Some(LONG)), 0);
    assert_eq!(server.join(), 1001);
}

#[test]
fn the_end_of_a_client_within_a_time_tells_what_is_lost() {
    let (go, wait) = channel();
    let server = slow(false, move |mut p| {
        p.accept(b"");
        wait.recv_timeout(LONG).unwrap();
        // The bytes that the kernel had taken.
        p.rest()
    });
    let (client, events, id) = spawned(Limits::default(), &server.url());
    let piece = vec![7; MIB];
    (0..12).for_each(|_| client.send_binary(id, &piece).unwrap());
    let lost = events.finish(Some(200 * MS));
    go.send(()).unwrap();
    assert!(lost > 0);
    assert_eq!(server.join() + lost as usize, 12 * on_wire(MIB));

    // If the server reads nothing, `stall` ends the client, too.
    let (go, wait) = channel();
    let server = slow(false, move |mut p| {
        p.accept(b"");
        wait.recv_timeout(LONG).unwrap();
        p.rest()
    });
    let limits = Limits { stall: 300 * MS, ..Limits::default() };
    let (client, events, id) = spawned(limits, &server.url());
    (0..12).for_each(|_| client.send_binary(id, &piece).unwrap());
    let lost = events.finish(None);
    go.send(()).unwrap();
    assert!(lost > 0);
    assert_eq!(server.join() + lost as usize, 12 * on_wire(MIB));
}

#[test]
fn a_client_that_pauses_a_connection_hears_nothing_of_it_until_it_resumes() {
    let server = serve(|mut p| {
        p.accept(b"");
        assert_eq!(p.frame(), (0x81, b"go".to_vec()));
        (0..10u8).for_each(|n| p.write(&frame(0x82, &[n])));
        p.frame()
    });
    let (client, mut events, id) = spawned(Limits::default(), &server.url());
    client.pause(id);
    client.send_text(id, "go").unwrap();
    let nothing = |_, event: Event<'_>| panic!("{event:?}");
    assert_eq!(events.wait(Some(Instant::now() + 100 * MS), nothing).unwrap(), 0);
    client.resume(id);
    let (until, mut got) = (soon(), Vec::new());
    while got.len() < 10 {
        assert!(Instant::now() < until, "{got:?}");
        let each = |_, event: Event<'_>| match event {
            Event::Binary(data) => got.extend(data.iter().copied()),
            other => panic!("{other:?}"),
        };
        events.wait(Some(until), each).unwrap();
    }
    assert_eq!(got, Vec::from_iter(0..10));
    client.close(id, 1000, "").unwrap();
    assert_eq!(server.join().0, 0x88);
}

#[test]
fn a_reset_ends_a_pause() {
    let server = serve(|mut p| {
        p.accept(b"");
        assert_eq!(p.frame(), (0x81, b"go".to_vec()));
        p.reset();
    });
    let mut reactor = Reactor::new(trusting()).unwrap();
    reactor.open(options(&server.url())).unwrap();
    let reported = run(&mut reactor, |conn, event| {
        if let Event::Opened(_) = event {
            conn.send_text("go").unwrap();
            conn.pause();
        }
    });
    let Some(OwnedEvent::Closed(Closed::Lost(error))) = reported.last() else {
        panic!("{reported:?}")
    };
    assert!(matches!(error.kind(), ErrorKind::Io(_)), "{error}");
    server.join();
}

/// Opens `count` connections and waits until each is open or has failed.
fn opened(reactor: &mut Reactor, url: &str, count: usize, limit: Duration) -> Vec<OwnedEvent> {
    let ids: Vec<_> =
        (0..count).map(|_| reactor.open(options(url).timeout(limit)).unwrap()).collect();
    let (until, mut reported) = (soon(), Vec::new());
    while reported.len() < count {
        assert!(Instant::now() < until, "{} of {count}", reported.len());
        let mut sink =
            |conn: &mut Conn<'_>, event: Event<'_>| reported.push((conn.id(), keep(event)));
        reactor.turn(Some(until), &mut sink).unwrap();
    }
    // The connections open in the order of the requests.
    assert_eq!(reported.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
    reported.into_iter().map(|(_, reported)| reported).collect()
}

/// FAULTS 69.
#[test]
fn a_queue_before_a_server_takes_longer_than_each_may_and_nobody_fails() {
    const COUNT: usize = 60;
    for per_peer in [1, 3] {
        let server = listen(move |listener| {
            let open = |_| {
                let mut peer = Peer::plain(listener.accept().unwrap().0);
                sleep(20 * MS);
                peer.accept(b"");
                peer
            };
            (0..COUNT).map(open).collect::<Vec<_>>()
        });
        let limits = Limits { opening_per_peer: per_peer, ..Limits::default() };
        let mut reactor = Reactor::new(Config { limits, ..Config::default() }).unwrap();
        // All handshakes take 1.2 s, twice the limit of each.
        let reported = opened(&mut reactor, &server.url(), COUNT, 600 * MS);
        assert!(reported.iter().all(|t| matches!(t, OwnedEvent::Opened)), "{reported:?}");
        assert_eq!(server.join().len(), COUNT);
    }
}

/// FAULTS 69.
#[test]
fn a_handshake_that_hangs_fails_alone() {
    let server = listen(|listener| {
        let hung = listener.accept().unwrap().0;
        let open = |_| {
            let mut peer = Peer::plain(listener.accept().unwrap().0);
            peer.accept(b"");
            peer
        };
        ((0..3).map(open).collect::<Vec<_>>(), hung)
    });
    let mut reactor = Reactor::new(Config::default()).unwrap();
    let reported = opened(&mut reactor, &server.url(), 4, 400 * MS);
    let OwnedEvent::Closed(Closed::Failed(error)) = &reported[0] else { panic!("{reported:?}") };
    assert_eq!(error.stage(), Stage::Handshake, "{error}");
    assert!(matches!(error.kind(), ErrorKind::Timeout(limit) if *limit == 400 * MS), "{error}");
    assert!(reported[1..].iter().all(|t| matches!(t, OwnedEvent::Opened)), "{reported:?}");
    assert_eq!(server.join().0.len(), 3);
}
