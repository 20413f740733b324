//! Laws about time limits and about accepted bytes. They compare what the client reports with what
//! the simulated network has carried.
//!
//! **No limit ends a connection that makes progress.** In these laws, `L` is the limit less one
//! round trip of an idle line, and less a few milliseconds for the clock. If the error is
//!
//! * `Silence`: within the last `L`, the system did not take the end of the keep-alive ping, no
//!   byte up to that end arrived at the server or was read by its program, and no byte arrived at
//!   the client.
//! * `NoCloseAnswer`: the same holds for the end of the close frame. Bytes that arrive at the
//!   client do not count: the client need not wait for a server that goes on sending.
//! * `Timeout` at the response, if the program has set no limit and no server redirects: the same
//!   holds for the last byte of the request that the system took.
//! * `Idle`: within `L` no byte arrived at the client, except for lines between chunks, and the
//!   system took no byte that it had refused before.
//! * `Stalled`: every write within all of `L` was refused, by the system or by a fault that looks
//!   like it, and the system would refuse another one.
//!
//! While the program has paused a connection, the time for `Silence` and `Idle` does not run. A
//! byte moves when the link has carried it, and when the program behind it reads it. Such moves
//! count only if the system has refused bytes before, and if no fault has refused bytes for which
//! the system had room: otherwise the client cannot distinguish bytes that the system holds from
//! delivered ones.
//!
//! **Waiting for a turn is not opening.** The opening limit starts when a connection gets its turn:
//! a connection that waits does not fail by it. The wait has another limit. (The network checks at
//! each connect that the turns come in the order of the requests.)
//!
//! **Behind a proxy** the same laws hold; the exchange with the proxy is a part of the opening. The
//! user name and password of a proxy are sent to that proxy only, and no error or trace has them.
//! If the proxy resolves a name, the client does not. The client asks the policy about every
//! address that it connects to or sends to a proxy.
//!
//! **Accepted bytes are delivered or reported.** At a clean end the system has taken every byte of
//! the program's messages and pings; over TLS, where frames cannot be seen, at least as many bytes.
//! At any other end [`Error::unsent`] reports how many bytes the system has not taken. It counts
//! from the first byte that was not sent to the end of the program's last frame. Pongs and
//! keep-alive pings may lie between these, and the last bytes may be sent in the turn of the end:
//! the number may be higher by all of these. Over TLS it is a bound that may be 64 KiB too high.

use std::time::Duration;

use moonwire::{ConnId, Error, ErrorKind, ProxyScheme, Stage};

use crate::book::{Entry, ms};
use crate::net::{Line, Net, TURN, lock};
use crate::reader::FOR_EVER;
use crate::sink::Receiver;
use crate::world::Ask;
use crate::ws::Act;

impl Receiver<'_> {
    /// Checks an error for a time limit: nothing has moved for that time.
    pub fn check_still(&self, k: usize, now: Duration, error: &Error) {
        let (ask, net) = (&self.asks[k], lock(self.net));
        let Some((limit, since)) = self.last_progress(k, &net, error) else { return };
        let line = self.line(k, &net);
        let round_trip = line.map_or(Duration::ZERO, |line| line.round_trip);
        let since = match error.kind() {
            ErrorKind::Silence(_) | ErrorKind::Idle(_) => since.max(self.states[k].resumed_at),
            _ => since,
        };
        let still = now.saturating_sub(since) + self.unforeseen(k);
        let url = &ask.url;
        assert!(
            still + round_trip + TURN >= limit,
            "ask {k} to {url}: {error}, though something moved {still:?} ago"
        );
    }

    /// How wrong the client's estimate can be of when the last bytes reach a server. If the server
    /// reads some of them after a nap and then never reads again, the client does not wait for it
    /// again.
    fn unforeseen(&self, k: usize) -> Duration {
        let naps = self.asks[k].ws.as_ref().map_or(&[][..], |plan| &plan.pace.naps);
        let finite = naps.iter().filter(|(_, span)| *span < FOR_EVER);
        if naps.len() > finite.clone().count() { finite.map(|nap| nap.1).sum() } else { ms(0) }
    }

    /// Checks that the opening limit starts with the connection's turn, and that the wait for the
    /// turn has lasted as long as its limit.
    pub fn check_turn(&self, k: usize, now: Duration, error: &Error) {
        if let ErrorKind::Waited { limit, others, .. } = error.kind() {
            assert_eq!(error.stage(), Stage::Connect);
            assert!(*others > 0 && *others < self.asks.len(), "ask {k}: {error}");
            let took = now - self.states[k].asked_at;
            assert!(took + TURN >= *limit, "ask {k}: {error}, after {took:?}");
        }
        let opening = [Stage::Connect, Stage::Proxy, Stage::Tls, Stage::Handshake];
        let opening = opening.contains(&error.stage());
        let (ErrorKind::Timeout(limit), true) = (error.kind(), opening) else { return };
        let net = lock(self.net);
        let conn = self.states[k].id.map_or(0, ConnId::to_bits);
        let Some(waiting) = net.waiting(conn).filter(|_| self.asks[k].timeout.is_none()) else {
            return;
        };
        let Some(turn) = waiting.turn else { panic!("ask {k}: {error}, and it had no turn") };
        let waited = turn > waiting.since + TURN;
        let had = now.saturating_sub(turn);
        assert!(!waited || had + TURN >= *limit, "ask {k}: {error}, {had:?} after its turn came");
    }

    pub fn line<'n>(&self, k: usize, net: &'n Net) -> Option<&'n Line> {
        net.line(self.states[k].id?.to_bits())
    }

    /// The limit of an error, and when the bytes that the limit is about last moved.
    fn last_progress(&self, k: usize, net: &Net, error: &Error) -> Option<(Duration, Duration)> {
        let (ask, line) = (&self.asks[k], self.line(k, net)?);
        // TLS: the service has decrypted the last records long before its program reads them.
        let end = if is_plain(ask) { u64::MAX } else { line.owned(false).saturating_sub(AHEAD) };
        let all_taken = Some((end, line.taken(net.now, is_plain(ask))));
        let (limit, end, came) = match error.kind() {
            ErrorKind::Silence(limit) => {
                let end = if is_plain(ask) { line.frames.ping } else { None };
                (*limit, end, line.came(net.now, unseen(ask)))
            }
            ErrorKind::NoCloseAnswer(limit) => {
                let end = if is_plain(ask) { line.frames.close } else { all_taken };
                (*limit, end, Duration::ZERO)
            }
            ErrorKind::Timeout(limit)
                if error.stage() == Stage::Response
                    && ask.timeout.is_none()
                    && ask.http.as_ref().is_none_or(|plan| plan.hops.is_empty()) =>
            {
                (*limit, all_taken, Duration::ZERO)
            }
            ErrorKind::Idle(limit) => {
                let came = line.came(net.now, CHUNK_LINE + unseen(ask));
                return Some((*limit, came.max(line.room_made(net.now, is_plain(ask)))));
            }
            ErrorKind::Stalled(limit) => {
                return Some((*limit, self.check_stalled(k, net, line, error)));
            }
            _ => return None,
        };
        assert!(
            end.is_some() || !is_plain(ask),
            "ask {k}: {error}, and the system never took its frame"
        );
        let (end, taken) = end.unwrap_or_default();
        let moved = if line.arrivals_count(taken) { line.moved(end) } else { Duration::ZERO };
        Some((limit, taken.max(moved).max(came)))
    }

    /// Since when every write was refused. Checks that the system would refuse a write now, too.
    fn check_stalled(&self, k: usize, net: &Net, line: &Line, error: &Error) -> Duration {
        let fault_refused = line.fault_refused.is_some_and(|at| at + TURN >= net.now);
        let conn = self.states[k].id.map_or(0, ConnId::to_bits);
        assert!(fault_refused || !net.would_take(conn), "ask {k} is stalled, and there is room");
        // The client writes the last bytes before it reports the end. The caller allows a round
        // trip, which is no part of this limit: it is taken off here.
        let wrote_last = error.unsent() == 0 || !is_plain(&self.asks[k]);
        line.refused(net.now, wrote_last).unwrap_or(net.now) + line.round_trip
    }

    /// Checks what an error reports about accepted bytes.
    pub fn check_unsent(&self, k: usize, entry: &Entry, error: &Error) {
        let (plain, net) = (is_plain(&self.asks[k]), lock(self.net));
        let Some(plan) = &entry.ws else { return };
        let line = self.line(k, &net);
        let taken = line.map_or(0, |line| line.owned(plain));
        let (up, unsent) = (&entry.up, error.unsent() as u64);
        let least = up.accepted.saturating_sub(taken);
        let pong = |act: &(Duration, Act)| match &act.1 {
            Act::Ping(data) => wire_len(data.len()),
            _ => 0,
        };
        let others = plan.acts.iter().map(pong).sum::<u64>() + KEEP_ALIVE * wire_len(0);
        // The client writes the last bytes before it reports the end, unless the socket is broken.
        let drained = match error.kind() {
            ErrorKind::Io(_) => 0,
            // It was reported in the turn after the one of the panic.
            ErrorKind::Panicked => taken - self.states[k].owned_then,
            _ => taken - line.map_or(0, |line| line.owned_before[usize::from(plain)]),
        };
        let most = match plain {
            true if least + drained == 0 => 0,
            true => least + drained + others,
            false => {
                let there = up.sent[..up.got].iter().map(|msg| wire_len(msg.data.len()));
                up.accepted - there.sum::<u64>() + others + 65_536
            }
        };
        // The first byte of a ping does not show whether it is the program's.
        assert!(
            (least.saturating_sub(1)..=most).contains(&unsent),
            "ask {k}: {error} reports {unsent} unsent bytes, not {least} to {most}"
        );
    }

    /// Checks at a clean end that the system has taken all accepted bytes.
    pub fn check_all_taken(&self, k: usize, entry: &Entry) {
        let net = lock(self.net);
        let Some(line) = self.line(k, &net) else { return };
        let (accepted, taken) = (entry.up.accepted, line.owned(is_plain(&self.asks[k])));
        assert!(
            taken >= accepted,
            "ask {k}: a clean end, and {} of {accepted} bytes were never taken",
            accepted - taken
        );
    }
}

/// The size of the line between two chunks with the end of the chunk before. A server may send it
/// byte by byte.
const CHUNK_LINE: u64 = 16;

/// No byte of a TLS record can be used before the whole record has arrived.
fn unseen(ask: &Ask) -> u64 {
    if is_plain(ask) { 0 } else { 16_500 }
}

/// The bytes that a TLS server has decrypted and its program has not read.
const AHEAD: u64 = 2 * 16_500;

/// How many keep-alive pings may wait to be sent: one, and some that were answered early.
const KEEP_ALIVE: u64 = 8;

pub fn is_plain(ask: &Ask) -> bool {
    let over_tls = ask.through.is_some_and(|through| through.scheme == ProxyScheme::Https);
    !over_tls && (ask.url.starts_with("ws:") || ask.url.starts_with("http:"))
}

/// The size of a frame of the client, which is masked (RFC 6455 §5.2).
pub fn wire_len(payload: usize) -> u64 {
    let header = match payload {
        0..=125 => 2,
        126..=65_535 => 4,
        _ => 10,
    };
    (header + 4 + payload) as u64
}
