//! Connections that go on behind an answer: who goes on with one, and what ends it.

use moonwire::{Conn, Event, Reactor};

use crate::common::*;
use crate::web::*;

/// The connection that one answer has left carries the next request.
#[test]
fn requests_go_over_one_connection() {
    for secure in [false, true] {
        let server = serve_either(secure, |mut p| {
            for _ in 0..3 {
                p.head.clear();
                let head = p.request();
                assert!(head.contains("\r\nConnection: keep-alive\r\n"), "{head}");
                p.write(FINE.as_bytes());
            }
            p.rest()
        });
        let mut reactor = Reactor::new(trusting()).unwrap();
        let url = http(&server.url());
        for _ in 0..3 {
            reactor.open(get(&url).keep_alive(true)).unwrap();
            let mut told = Vec::new();
            while !reactor.is_empty() {
                let mut sink = |_: &mut Conn<'_>, event: Event<'_>| told.push(keep(event));
                reactor.turn(None, &mut sink).unwrap();
            }
            assert_eq!((body(&told), is_complete(&told)), (b"fine".to_vec(), true), "{told:?}");
        }
        drop(reactor);
        assert_eq!(server.join(), 0);
    }
}
