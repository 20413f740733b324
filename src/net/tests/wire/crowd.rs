//! Unfinished messages count in the sum of a reactor, `Limits::high_water_total`.

use super::*;

const MIB: usize = 1 << 20;

/// The size of a message; there is room for one and a quarter.
const SIZE: usize = 8 * MIB;
const WHOLE: &str = "binary 8388608";

/// How many bytes come at a time.
pub(super) const PIECE: usize = 64 * 1024;

/// Connections whose servers each send a message in pieces.
struct Crowd {
    wire: Wire,
    ids: Vec<ConnId>,
    /// The bytes that each server still has to send.
    left: Vec<Vec<u8>>,
}

impl Crowd {
    fn new(connections: usize, limits: Limits) -> Crowd {
        let mut wire = Wire::new(Limits { turn: PIECE, high_water_total: 10 * MIB, ..limits });
        let ids = (0..connections).map(|_| wire.open(ws()).0).collect();
        (0..connections).for_each(|k| wire.tcp(k, |tcp| tcp.most = PIECE));
        Crowd { wire, ids, left: vec![binary(SIZE); connections] }
    }

    /// Server `k` sends this many more bytes.
    fn sends(&mut self, k: usize, bytes: usize) {
        let rest = bytes.min(self.left[k].len());
        let piece: Vec<u8> = self.left[k].drain(..rest).collect();
        self.wire.gives(k, &piece);
    }

    /// How many bytes have come and were not read.
    fn unread(&self, k: usize) -> usize {
        self.wire.tcp(k, |tcp| tcp.input.len())
    }

    /// Makes turns until none makes progress; returns their events.
    fn turns(&mut self) -> Vec<String> {
        let all = |crowd: &Crowd| (0..crowd.ids.len()).map(|k| crowd.unread(k)).sum::<usize>();
        let mut events = Vec::new();
        loop {
            let before = all(self);
            self.wire.turn_with(&mut |_, _| {});
            self.wire.turn_with(&mut |_, _| {});
            let new = std::mem::take(&mut self.wire.events);
            if new.is_empty() && all(self) == before {
                return events;
            }
            events.extend(new);
        }
    }

    fn pass(&mut self, span: Duration) -> Vec<String> {
        self.wire.poller.world.lock().now += span;
        self.turns()
    }
}

#[test]
fn messages_that_come_in_step_fit_in_the_sum_and_one_more_and_all_arrive() {
    let mut crowd = Crowd::new(5, Limits::default());
    let (mut most, mut events) = (0, Vec::new());
    while crowd.left.iter().any(|left| !left.is_empty()) {
        (0..5).for_each(|k| crowd.sends(k, PIECE));
        events.extend(crowd.turns());
        let sent: usize = crowd.left.iter().map(|left| SIZE + 10 - left.len()).sum();
        let unread: usize = (0..5).map(|k| crowd.unread(k)).sum();
        most = most.max(sent - unread - events.len() * (SIZE + 10));
    }
    assert_eq!(events, [WHOLE; 5]);
    assert!(most < 10 * MIB + SIZE, "{most} bytes of messages that were not whole");
    assert!(most > SIZE, "several at a time: {most}");
}

/// Two messages of 8 MiB: of the second, 7 MiB have come, and it stalls; so the first is not read
/// beyond 6 MiB.
fn stuck(stall: Duration) -> Crowd {
    let mut crowd = Crowd::new(3, Limits { stall, ..Limits::default() });
    crowd.sends(0, 4 * MIB);
    assert_eq!(crowd.turns(), NOTHING);
    crowd.sends(1, 7 * MIB);
    assert_eq!(crowd.turns(), NOTHING);
    assert_eq!(crowd.unread(0) + crowd.unread(1), 0);
    crowd.sends(0, SIZE + 10);
    assert_eq!(crowd.turns(), NOTHING);
    assert!(crowd.unread(0) > 2 * MIB, "{}", crowd.unread(0));
    crowd
}

#[test]
fn a_message_that_is_never_finished_holds_up_the_others_for_the_limit_and_no_longer() {
    let mut crowd = stuck(10 * SECOND);
    assert_eq!(crowd.pass(10 * SECOND - NS), NOTHING);
    assert_eq!(crowd.pass(NS), [WHOLE]);

    // The first waits that long once; then nothing is left to balance.
    let mut crowd = stuck(10 * SECOND);
    crowd.wire.tcp(0, |tcp| tcp.input.truncate(MIB));
    assert_eq!(crowd.pass(10 * SECOND), NOTHING);
    assert_eq!((crowd.unread(0), crowd.wire.reactor.deadline()), (0, None));
    crowd.wire.gives(0, &[7; MIB / 2]);
    assert_eq!((crowd.turns().len(), crowd.unread(0)), (0, 0));

    // A peer that sends a whole message at once is not delayed.
    let mut crowd = stuck(10 * SECOND);
    crowd.wire.gives(2, &binary(1000).repeat(20));
    assert_eq!(crowd.turns().len(), 20);
}

#[test]
fn whoever_waits_goes_on_when_the_other_has_finished_or_is_gone() {
    let mut crowd = stuck(1000 * SECOND);
    crowd.sends(1, MIB + 10);
    assert_eq!(crowd.turns(), [WHOLE; 2]);

    let mut crowd = stuck(1000 * SECOND);
    crowd.wire.ends(1, End::Reset);
    let events = crowd.turns();
    assert!(events.len() == 2 && events.contains(&WHOLE.into()), "{events:?}");

    // If the program releases it, it ends without an answer to its close frame.
    let mut crowd = stuck(1000 * SECOND);
    crowd.wire.reactor.release(crowd.ids[1], &CloseFrame::new(1001, ""));
    assert_eq!(crowd.turns(), NOTHING);
    assert_eq!(crowd.pass(Limits::default().close), [WHOLE]);
}

#[test]
fn a_server_that_is_not_read_meanwhile_is_not_silent() {
    let mut crowd = Crowd::new(0, Limits { pong: SECOND, ..Limits::default() });
    let options = ws().ping_interval(Some(SECOND));
    crowd.ids = vec![crowd.wire.open(options).0, crowd.wire.open(ws()).0];
    crowd.left = vec![binary(SIZE); 2];
    (0..2).for_each(|k| crowd.wire.tcp(k, |tcp| tcp.most = PIECE));
    crowd.sends(0, 4 * MIB);
    crowd.turns();
    crowd.sends(1, 7 * MIB);
    crowd.turns();
    crowd.sends(0, 2 * MIB);
    assert_eq!(crowd.turns(), NOTHING);
    assert!(crowd.unread(0) > 0);
    crowd.wire.wrote(0);
    assert_eq!(crowd.pass(Limits::default().stall - NS), NOTHING);
    assert_eq!(crowd.wire.wrote(0), b"", "no ping");
    // When it is read again, its silence counts.
    assert_eq!(crowd.pass(NS), NOTHING);
    assert_eq!(crowd.unread(0), 0);
    assert_eq!(crowd.pass(SECOND), NOTHING);
    assert_eq!(crowd.wire.wrote(0), masked(0x89, b""));
}
