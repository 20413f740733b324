//! Bodies that are read while they are sent, on a clock that the test moves.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A reader that returns `WouldBlock` this many times, and then one piece; and how often it was
/// read.
struct Late(usize, Arc<AtomicUsize>);

impl Read for Late {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.1.fetch_add(1, Ordering::SeqCst) {
            n if n < self.0 => Err(io::ErrorKind::WouldBlock.into()),
            n if n == self.0 => {
                buf[..5].copy_from_slice(b"hello");
                Ok(5)
            }
            _ => Ok(0),
        }
    }
}

fn late(calls: usize) -> (StreamOptions, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let options = StreamOptions::new("POST", HTTP_URL).unwrap();
    (options.body_from(Late(calls, Arc::clone(&asked)), Some(5)).unwrap(), asked)
}

/// `Limits::body_retry`; it is at least 1 ms.
#[test]
fn a_reader_that_has_nothing_is_asked_again_after_so_long() {
    for (body_retry, wait) in [(300 * MS, 300 * MS), (Duration::ZERO, MS)] {
        let mut bench = Bench::new(Limits { body_retry, ..Limits::default() });
        let (options, asked) = late(3);
        bench.start(options);
        for times in 1..=3 {
            assert_eq!(asked.load(Ordering::SeqCst), times);
            assert!(!bench.reactor.has_work(), "it would not wait");
            let (_, interest) = bench.world.lock().tcps[0].watched.unwrap();
            assert!(!interest.write, "the server has room, so every wait would end at once");
            bench.pass(wait - NS);
            assert_eq!(asked.load(Ordering::SeqCst), times, "not yet");
            bench.pass(NS);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 5, "with the end");
        assert!(bench.wrote(0).ends_with(b"\r\n\r\nhello"));
    }
}

/// A reader that is asked again ends no pause of its connection.
#[test]
fn a_pause_holds_while_a_reader_is_asked_again() {
    let mut bench = Bench::new(Limits { body_retry: 300 * MS, ..Limits::default() });
    let (options, asked) = late(3);
    let id = bench.start(options);
    bench.reactor.pause(id);
    assert_eq!(bench.turns(), NOTHING);
    bench.gives(0, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    bench.reads(0);
    for times in 2..=3 {
        assert_eq!(bench.pass(300 * MS), NOTHING);
        assert_eq!(asked.load(Ordering::SeqCst), times);
    }
    assert!(bench.reads(0).is_empty());
    bench.reactor.resume(id);
    assert_eq!(bench.turns(), ["response 200", "chunk 2", "complete"]);
}

/// While the request waits for the reader and not for the server, none of the server's limits
/// passes.
#[test]
fn a_slow_reader_is_nobody_elses_fault() {
    let limits = || Limits { body_retry: 60_000 * MS, ..Limits::default() };
    let mut bench = Bench::new(limits());
    let (options, _) = late(100);
    bench.start(options);
    for _ in 0..100 {
        assert_eq!(bench.pass(60_000 * MS), NOTHING);
    }
    assert!(bench.wrote(0).ends_with(b"\r\n\r\nhello"));
    assert_eq!(bench.pass(60_000 * MS - NS), NOTHING);
    assert_eq!(bench.pass(NS), ["failed Response: 60s are over"]);
    // But a limit that the program sets covers everything.
    let mut bench = Bench::new(limits());
    let (options, _) = late(100);
    bench.start(options.timeout(90_000 * MS));
    assert_eq!(bench.pass(90_000 * MS - NS), NOTHING);
    assert_eq!(bench.pass(NS), ["failed Response: 90s are over"]);
}

/// A server that takes nothing is detected, even if the kernel has taken all bytes so far.
#[test]
fn a_server_that_takes_nothing_of_a_body_is_stalled() {
    let limits = Limits { body_queue: 1000, ..Limits::default() };
    let mut bench = Bench::new(limits);
    let options = StreamOptions::new("POST", HTTP_URL).unwrap();
    bench.start(options.body_from(io::repeat(7), Some(1 << 40)).unwrap());
    for room in [0, 1, 500, 10_000] {
        bench.world.lock().tcps[0].room = room;
        bench.turns();
        assert!(bench.wrote(0).len() >= room);
        assert_eq!(bench.pass(60_000 * MS - NS), NOTHING, "{room}");
    }
    let events = bench.pass(NS);
    assert!(
        events.len() == 1 && events[0].contains("the peer has taken no byte for 60s"),
        "{events:?}"
    );
}
