//! Incoming messages: inflates them piece by piece (RFC 7692 §7.2.2).

use std::cell::Cell;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::options::TAIL;
use super::room::{self, Room};
use crate::proto::ws::Violation;

/// Inflates the messages of one connection.
pub(super) struct Inflater {
    /// `Some` from the first piece of a message on. INVARIANT: between messages it is `Some` only
    /// if the next message may refer to earlier ones.
    state: Option<Inflate>,
    takeover: bool,
}

thread_local! {
    /// A state that was reset. A connection without takeover needs a state only while it receives a
    /// message, mostly during one call, so all connections of a thread share this one.
    static SPARE: Cell<Option<Inflate>> = const { Cell::new(None) };
}

impl Inflater {
    pub(super) fn new(takeover: bool) -> Inflater {
        Inflater { state: None, takeover }
    }

    /// Whether there is a state.
    #[cfg(test)]
    pub(super) fn has_state(&self) -> bool {
        self.state.is_some()
    }

    /// Appends `piece`, inflated, to `data`, which then has at most `max` bytes, or one more on
    /// error.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        data: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), Violation> {
        if piece.is_empty() {
            return Ok(());
        }
        let mut room = Room::take();
        let result = self.rounds(piece, data, &mut room, max);
        room.keep();
        if data.len() > max { Err(Violation::MessageTooBig) } else { result }
    }

    /// Inflates all of `piece` into `room`, and empties `room` into `data` each time.
    fn rounds(
        &mut self,
        mut piece: &[u8],
        data: &mut Vec<u8>,
        room: &mut Room,
        max: usize,
    ) -> Result<(), Violation> {
        // The library leaves its fast path 260 bytes before the end of its room. JSON mostly
        // becomes four to five times as long: with this room, all of it is inflated on that path in
        // one call.
        let mut len = piece.len().saturating_mul(8).saturating_add(400).min(room::KEPT);
        loop {
            // One byte beyond the limit shows that the message is too long.
            let left = max.saturating_sub(data.len()).saturating_add(1);
            let room = room.first(len.min(left));
            let (used, made, result) = self.round(piece, room);
            append(data, &room[..made], max);
            result?;
            piece = piece.get(used..).unwrap_or_default();
            // If the room is full, the library may have more output without further input.
            let is_full = made == room.len();
            if piece.is_empty() && !is_full || data.len() > max {
                return Ok(());
            }
            if is_full {
                len = room::KEPT;
            }
        }
    }

    /// Inflates once, into `room`; returns how many bytes were read, how many were written, and
    /// whether the data is valid so far.
    fn round(&mut self, piece: &[u8], room: &mut [u8]) -> (usize, usize, Result<(), Violation>) {
        let state = self.state.get_or_insert_with(fresh);
        let (total_in, total_out) = (state.total_in(), state.total_out());
        let result = state.decompress(piece, room, InflateFlush::SyncFlush);
        let used = (state.total_in() - total_in) as usize;
        let made = (state.total_out() - total_out) as usize;
        let result = match result {
            // A block with BFINAL ends the library's stream, not the message (§7.2.3.4). As in
            // other implementations, a peer that sends one continues with an empty window.
            Ok(Status::StreamEnd) => {
                state.reset(false);
                Ok(())
            }
            Ok(_) if used > 0 || made > 0 || piece.is_empty() => Ok(()),
            // The library has input and room but makes no progress, and so never will.
            Ok(_) | Err(_) => Err(Violation::Deflate),
        };
        (used, made, result)
    }

    /// The message ends here. The four bytes that the sender cut off its end (§7.2.1, 3) have to
    /// complete exactly one empty block, so that another block may follow.
    pub(super) fn finish(&mut self) -> Result<(), Violation> {
        let mut state = self.state.take().unwrap_or_else(fresh);
        // One byte more than the tail: the library stops before it, at the end of the block.
        let tail = [TAIL[0], TAIL[1], TAIL[2], TAIL[3], 0];
        let (total_in, total_out) = (state.total_in(), state.total_out());
        let result = state.decompress(&tail, &mut [0], InflateFlush::Block);
        let used = state.total_in() - total_in;
        if result.is_err() || used != 4 || state.total_out() != total_out {
            return Err(Violation::Deflate);
        }
        if self.takeover {
            self.state = Some(state);
        } else {
            state.reset(false);
            // While a thread ends, its variable may be gone.
            let _ = SPARE.try_with(|spare| spare.set(Some(state)));
        }
        Ok(())
    }
}

fn fresh() -> Inflate {
    let spare = SPARE.try_with(Cell::take).ok().flatten();
    // A state with a window of 15 reads data written with any window.
    spare.unwrap_or_else(|| Inflate::new(false, 15))
}

/// Appends `made` to `data`, whose memory doubles up to the limit.
fn append(data: &mut Vec<u8>, made: &[u8], max: usize) {
    let need = data.len() + made.len();
    if data.capacity() < need {
        let twice = data.capacity().saturating_mul(2).min(max.saturating_add(1));
        data.reserve_exact(need.max(twice) - data.len());
    }
    data.extend_from_slice(made);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_without_input_is_progress() {
        // A fixed block, a thousand times `a` by copies of the first; then an empty stored block.
        let piece = *b"\x4a\x4c\x1c\x05\xa3\x60\x14\x0c\x77\0\0\0\0\xff\xff";
        let mut inflater = Inflater::new(true);
        let (mut at, mut only_output, mut data) = (0, 0, Vec::new());
        while at < piece.len() {
            let mut room = [0];
            let (used, made, result) = inflater.round(&piece[at..], &mut room);
            assert_eq!(result, Ok(()), "at {at}");
            only_output += usize::from(used == 0 && made == 1);
            data.extend_from_slice(&room[..made]);
            at += used;
        }
        assert!(only_output > 100, "{only_output}");
        assert!(data.len() > only_output && data.iter().all(|&b| b == b'a'));
    }

    #[test]
    fn memory_doubles_when_it_is_full_and_ends_one_byte_beyond_the_limit() {
        for (max, pieces, want) in [
            (100, &[4, 2, 2, 1][..], &[4, 8, 8, 16][..]),
            (100, &[40, 30, 30, 1], &[40, 80, 101, 101]),
            (9, &[8, 0, 1, 1], &[8, 8, 10, 10]),
            (20, &[4, 13], &[4, 17]),
        ] {
            let mut data = Vec::new();
            let push = |&len: &usize| {
                append(&mut data, &vec![7; len], max);
                data.capacity()
            };
            let got: Vec<usize> = pieces.iter().map(push).collect();
            assert_eq!(got, want, "{pieces:?}, at most {max}");
        }
    }
}
