//! The memory of connections that send now and then.

use super::*;

/// An idle connection keeps no send buffer, however it sent; bytes that wait keep theirs.
#[test]
fn an_empty_send_buffer_goes_to_the_next_connection_that_sends() {
    let mut bench = Bench::new(Limits::default());
    let (one, tcp_of_one) = bench.open(ws());
    let (two, _) = bench.open(ws());
    let none = bench.reactor.spare_buffers();
    bench.reactor.send_text(one, "one").unwrap();
    bench.reactor.flush();
    assert_eq!(bench.reactor.spare_buffers(), none + 1, "between two turns");
    bench.world.lock().tcps[tcp_of_one].room = 5;
    bench.reactor.send_text(one, "one").unwrap();
    bench.turns();
    assert_eq!(bench.reactor.spare_buffers(), none, "it has bytes that wait");
    bench.reactor.send_text(two, "two").unwrap();
    bench.turns();
    assert_eq!(bench.reactor.spare_buffers(), none + 1, "in a turn");
    assert_eq!(bench.reactor.act_now(two, |session, cx| session.ping(cx, b"at once")), Ok(true));
    assert_eq!(bench.reactor.spare_buffers(), none + 1, "at once");
    bench.world.lock().tcps[tcp_of_one].room = usize::MAX;
    bench.turns();
    assert_eq!(bench.reactor.spare_buffers(), none + 2);
}

/// A connection that only receives keeps no buffer that it was lent for an answer.
#[test]
fn a_message_without_an_answer_keeps_no_buffer() {
    let mut bench = Bench::new(Limits::default());
    let (one, tcp) = bench.open(ws());
    bench.reactor.send_text(one, "one").unwrap();
    bench.turns();
    let before = bench.reactor.spare_buffers();
    assert!(before > 0);
    bench.gives(tcp, &binary(10));
    assert_eq!(bench.turns(), ["binary 10"]);
    assert_eq!(bench.reactor.spare_buffers(), before);
}
