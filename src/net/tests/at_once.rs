//! Calls that send and write at once, without a turn.

use super::*;
use crate::proto::Misuse;

impl Bench {
    fn sends_now(&mut self, id: ConnId, text: &str) -> Result<bool, Misuse> {
        self.reactor.act_now(id, |session, cx| session.send_text(cx, text))
    }
}

/// The call writes once, in order, and leaves only necessary work to a turn.
#[test]
fn what_is_sent_at_once_is_written_once_and_the_rest_when_there_is_room() {
    let mut bench = Bench::new(Limits::default());
    let (id, tcp) = bench.open(ws());
    assert_eq!(bench.sends_now(id, "all of it"), Ok(true));
    assert!(!bench.reactor.has_work());
    let all = bench.wrote(tcp);
    assert_eq!(all.len(), 2 + 4 + 9);
    bench.world.lock().tcps[tcp].room = 5;
    assert_eq!(bench.sends_now(id, "a part of it"), Ok(false));
    assert_eq!(bench.sends_now(id, "nothing of it"), Ok(false));
    assert_eq!(bench.wrote(tcp).len(), 5);
    assert!(!bench.reactor.has_work(), "it waits for the socket");
    assert!(bench.world.lock().tcps[tcp].watched.unwrap().1.write);
    assert_eq!(bench.turns(), NOTHING);
    bench.world.lock().tcps[tcp].room = usize::MAX;
    assert_eq!(bench.turns(), NOTHING);
    assert_eq!(bench.wrote(tcp).len(), 2 * (2 + 4) + 12 + 13 - 5);
    assert!(!bench.world.lock().tcps[tcp].watched.unwrap().1.write);
}

/// The next turn reports the error of such a write, once, and nothing is written after it.
#[test]
fn an_error_of_what_is_sent_at_once_is_reported_once_by_the_next_turn() {
    let mut bench = Bench::new(Limits::default());
    let (id, tcp) = bench.open(ws());
    bench.world.lock().tcps[tcp].broken = true;
    bench.world.lock().tcps[tcp].writes = 0;
    assert_eq!(bench.sends_now(id, "x"), Ok(false));
    assert!(bench.reactor.has_work(), "a turn has to tell it");
    bench.world.lock().tcps[tcp].broken = false;
    assert_eq!(bench.sends_now(id, "y"), Ok(false));
    bench.reactor.flush();
    assert_eq!(bench.world.lock().tcps[tcp].writes, 1);
    // Events before the error are reported.
    bench.gives(tcp, &binary(3));
    let events = bench.turns();
    assert!(
        events.len() == 2 && events[0] == "binary 3" && events[1].starts_with("lost"),
        "{events:?}"
    );
    assert_eq!(bench.world.lock().tcps[tcp].writes, 1);
    // Later sends return how the connection ended (FAULTS 82).
    let how = "connection: lost: connection reset; 14 bytes that were accepted did not leave";
    assert_eq!(bench.sends_now(id, "z"), Err(Misuse::Ended(how.into())));
    assert!(bench.is_dropped(tcp));
}
