//! What comes in: pieces of compressed messages become pieces of messages (RFC 7692 §7.2.2).

use std::cell::Cell;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::options::TAIL;
use crate::proto::ws::Violation;

/// Inflates messages, one behind the other.
pub(super) struct Inflater {
    /// Made with the first piece of a message. INVARIANT: between messages it is there only if the next
    /// may refer to those before.
    state: Option<Inflate>,
    takeover: bool,
}

thread_local! {
    /// A state that is reset. Connections without takeover need one for as long as a message comes, which
    /// mostly is for one call: so all of a thread share this.
    static SPARE: Cell<Option<Inflate>> = const { Cell::new(None) };
}

/// For a piece six times its size and this much is made room for: the library has a fast way that it leaves
/// 260 bytes before the end of its room. JSON mostly becomes four to five times as much, so all of it is
/// inflated in that way, and in one call.
const SPARE_ROOM: usize = 400;

/// At most this at once: what is made room for is filled with zeros first.
const ROOM_MAX: usize = 128 * 1024;

impl Inflater {
    pub(super) fn new(takeover: bool) -> Inflater {
        Inflater { state: None, takeover }
    }

    /// Whether there is a state.
    #[cfg(test)]
    pub(super) fn has_state(&self) -> bool {
        self.state.is_some()
    }

    /// Appends what `piece` holds to `data`, of which at most `max` bytes and one more come to be.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        data: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), Violation> {
        if piece.is_empty() {
            return Ok(());
        }
        let mut end = data.len();
        let result = self.rounds(piece, data, &mut end, max);
        data.truncate(end);
        if end > max { Err(Violation::MessageTooBig) } else { result }
    }

    /// Inflates all of `piece` to `data[*end..]`; what stands behind `end` then is room that was made.
    fn rounds(
        &mut self,
        mut piece: &[u8],
        data: &mut Vec<u8>,
        end: &mut usize,
        max: usize,
    ) -> Result<(), Violation> {
        let mut room = piece.len().saturating_mul(6).saturating_add(SPARE_ROOM).min(ROOM_MAX);
        loop {
            // One byte more than may be shows that there are too many.
            let left = max.saturating_sub(*end).saturating_add(1);
            make_room(data, *end + room.min(left), max);
            let (used, full) = self.round(piece, &mut data[*end..][..room.min(left)], end)?;
            piece = piece.get(used..).unwrap_or_default();
            // With the room filled, more may come without further input.
            if piece.is_empty() && !full || *end > max {
                return Ok(());
            }
            if full {
                room = (room * 2).min(ROOM_MAX);
            }
        }
    }

    /// Inflates once, to `room`: how many bytes of the input it took, and whether it filled the room.
    fn round(
        &mut self,
        piece: &[u8],
        room: &mut [u8],
        end: &mut usize,
    ) -> Result<(usize, bool), Violation> {
        let state = self.state.get_or_insert_with(fresh);
        let (total_in, total_out) = (state.total_in(), state.total_out());
        let result = state.decompress(piece, room, InflateFlush::SyncFlush);
        let used = (state.total_in() - total_in) as usize;
        let made = (state.total_out() - total_out) as usize;
        *end += made;
        match result {
            // A final block ends the stream of the library, not ours (§7.2.3.4). As in other
            // implementations, whoever writes one starts with an empty window behind it.
            Ok(Status::StreamEnd) => {
                state.reset(false);
                Ok((used, false))
            }
            Ok(_) if used > 0 || made > 0 || piece.is_empty() => Ok((used, made == room.len())),
            // It has input and room and does nothing: it never will.
            Ok(_) | Err(_) => Err(Violation::Deflate),
        }
    }

    /// The message ends here. What was cut off of its end (§7.2.1, 3) has to be exactly what is missing
    /// of an empty block, so that another block may start behind it.
    pub(super) fn finish(&mut self) -> Result<(), Violation> {
        let mut state = self.state.take().unwrap_or_else(fresh);
        // One byte more shows where the block ends, at which the library stops here.
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
            // A thread that ends has none any more.
            let _ = SPARE.try_with(|spare| spare.set(Some(state)));
        }
        Ok(())
    }
}

fn fresh() -> Inflate {
    let spare = SPARE.try_with(Cell::take).ok().flatten();
    // With 15 what was written with any window can be read.
    spare.unwrap_or_else(|| Inflate::new(false, 15))
}

/// Makes `data` at least `need` bytes long. Bytes that are there stay: a piece of many blocks that end
/// early would fill the same room with zeros for each of them. Memory doubles, but not beyond what may
/// come.
fn make_room(data: &mut Vec<u8>, need: usize, max: usize) {
    if data.len() >= need {
        return;
    }
    if data.capacity() < need {
        let twice = data.capacity().saturating_mul(2).min(max.saturating_add(1));
        data.reserve_exact(need.max(twice) - data.len());
    }
    #[cfg(test)]
    super::tests::CLEARED.set(super::tests::CLEARED.get() + need - data.len());
    data.resize(need, 0);
}
