//! RFC 6455: opening handshake, frames, messages, close; RFC 7692: compressed messages.

pub(crate) mod close;
pub(crate) mod connection;
#[cfg(feature = "deflate")]
pub(crate) mod deflate;
#[cfg(not(feature = "deflate"))]
#[path = "no_deflate.rs"]
pub(crate) mod deflate;
pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod mask;
pub(crate) mod message;
pub(crate) mod stats;

use std::fmt;

/// A rule that the peer broke: one variant for each, with its section of RFC 6455 unless another
/// RFC is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// §5.2: reserved bits are set, and no extension gives them a meaning.
    ReservedBits(u8),
    /// §5.2: an opcode that is not assigned.
    ReservedOpcode(u8),
    /// §5.5: a control frame without FIN.
    FragmentedControl,
    /// §5.5: a control frame with more than 125 bytes.
    LongControl,
    /// §5.1: a masked frame from a server.
    MaskedByServer,
    /// §5.1: an unmasked frame from a client (only for a server).
    UnmaskedByClient,
    /// §5.2: a length that is not in its shortest form.
    LengthNotMinimal,
    /// §5.2: a 64-bit length with the top bit set.
    LengthTopBit,
    /// §5.4: a continuation frame without a message to continue.
    ContinuationFirst,
    /// §5.4: a new message inside a fragmented one.
    MessageInMessage,
    /// §5.5.1: a close frame with one byte of payload.
    CloseLength,
    /// §7.4: a close code that must not be sent.
    CloseCode(u16),
    /// §5.5.1: a close reason that is not UTF-8.
    CloseReason,
    /// §8.1: a text message that is not UTF-8.
    NotUtf8,
    /// §7.4.1: a message with more bytes than `Limits::message`.
    MessageTooBig,
    /// §7.4.1: a message with more frames than `Limits::fragments`.
    TooManyFragments,
    /// RFC 7692 §7.2.2: a compressed message whose data is invalid, truncated or too long.
    Deflate,
}

impl Violation {
    /// The code of the close frame that reports the violation (§7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            Violation::CloseReason | Violation::NotUtf8 | Violation::Deflate => 1007,
            Violation::MessageTooBig | Violation::TooManyFragments => 1009,
            _ => 1002,
        }
    }

    /// The section of RFC 6455 with the rule; for [`Violation::Deflate`], of RFC 7692.
    pub fn section(self) -> &'static str {
        use Violation::*;
        match self {
            ReservedBits(_) | ReservedOpcode(_) | LengthNotMinimal | LengthTopBit => "5.2",
            FragmentedControl | LongControl => "5.5",
            MaskedByServer | UnmaskedByClient => "5.1",
            ContinuationFirst | MessageInMessage => "5.4",
            CloseLength | CloseReason => "5.5.1",
            CloseCode(_) => "7.4",
            NotUtf8 => "8.1",
            MessageTooBig | TooManyFragments => "7.4.1",
            Deflate => "7.2.2",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Violation::*;
        match self {
            ReservedBits(bits) => write!(f, "reserved bits {bits:03b} without an extension"),
            ReservedOpcode(opcode) => write!(f, "reserved opcode {opcode}"),
            FragmentedControl => f.write_str("fragmented control frame"),
            LongControl => f.write_str("control frame over 125 bytes"),
            MaskedByServer => f.write_str("masked frame from a server"),
            UnmaskedByClient => f.write_str("unmasked frame from a client"),
            LengthNotMinimal => f.write_str("length not in its shortest form"),
            LengthTopBit => f.write_str("length over 63 bits"),
            ContinuationFirst => f.write_str("continuation frame without a message"),
            MessageInMessage => f.write_str("new message inside a fragmented one"),
            CloseLength => f.write_str("close frame of one byte"),
            CloseCode(code) => write!(f, "close code {code} is not allowed"),
            CloseReason => f.write_str("close reason is not UTF-8"),
            NotUtf8 => f.write_str("text message is not UTF-8"),
            MessageTooBig => f.write_str("message over the limit"),
            TooManyFragments => f.write_str("message of too many fragments"),
            Deflate => f.write_str("compressed message is broken"),
        }
    }
}

impl std::error::Error for Violation {}
