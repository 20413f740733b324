//! What an observer is told.

use super::ws::frame::Opcode;

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the peer.
    In,
    /// To the peer.
    Out,
}

/// What an observer is told of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The head of a request, or the fields of the response that opened the connection.
    Head {
        /// Which way.
        direction: Direction,
        /// The bytes as they travelled, secrets included.
        bytes: Vec<u8>,
    },
    /// A frame.
    Frame {
        /// Which way.
        direction: Direction,
        /// Whether it ends its message.
        fin: bool,
        /// What it is.
        opcode: Opcode,
        /// Bytes of its payload.
        len: usize,
        /// The first of them, unmasked.
        start: Vec<u8>,
    },
    /// A piece of a response's body, as it is handed over.
    Body {
        /// Its bytes.
        len: usize,
        /// The first of them.
        start: Vec<u8>,
    },
}

impl Note {
    /// How many bytes of a payload a note shows at most.
    pub const START: usize = 64;

    pub(crate) fn head(direction: Direction, bytes: &[u8]) -> Note {
        Note::Head { direction, bytes: bytes.to_vec() }
    }
}
