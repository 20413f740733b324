//! Closing: codes and reasons (RFC 6455 §5.5.1, §7).

use std::fmt;
use std::sync::Arc;

use super::Violation;
use super::frame::CONTROL_MAX;

/// The contents of a close frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloseFrame {
    /// The code, if the frame has one (an empty close frame is legal).
    pub code: Option<u16>,
    /// The reason; at most 123 bytes of UTF-8.
    pub reason: String,
}

/// The longest reason in bytes: a control frame's payload less the code (§5.5.1).
pub const REASON_MAX: usize = CONTROL_MAX - 2;

/// Whether a close frame may have this code (§7.4): 1000–1003, 1007–1014 and 3000–4999. 1004–1006
/// and 1015 must not be sent; the others are not assigned.
pub fn is_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

impl CloseFrame {
    /// A frame with a code and a reason.
    pub fn new(code: u16, reason: impl Into<String>) -> CloseFrame {
        CloseFrame { code: Some(code), reason: reason.into() }
    }

    /// Whether the frame may be sent: its code is legal, and its reason is not too long and has a
    /// code.
    pub(crate) fn check(&self) -> Result<(), Misuse> {
        match self.code {
            Some(code) if !is_close_code(code) => Err(Misuse::CloseCode(code)),
            None if !self.reason.is_empty() => Err(Misuse::CloseReason),
            _ if self.reason.len() > REASON_MAX => Err(Misuse::CloseReason),
            _ => Ok(()),
        }
    }

    /// The code, or 1005 if there is none, as other APIs report it (§7.4.1).
    pub fn code_or_1005(&self) -> u16 {
        self.code.unwrap_or(1005)
    }

    /// Parses the payload of a close frame.
    pub(crate) fn decode(payload: &[u8]) -> Result<CloseFrame, Violation> {
        let [a, b, reason @ ..] = payload else {
            return if payload.is_empty() {
                Ok(CloseFrame::default())
            } else {
                Err(Violation::CloseLength)
            };
        };
        let code = u16::from_be_bytes([*a, *b]);
        if !is_close_code(code) {
            return Err(Violation::CloseCode(code));
        }
        let reason = std::str::from_utf8(reason).map_err(|_| Violation::CloseReason)?;
        Ok(CloseFrame::new(code, reason))
    }

    /// The payload; empty if there is no code.
    pub(crate) fn payload(&self) -> Vec<u8> {
        match self.code {
            Some(code) => [&code.to_be_bytes()[..], self.reason.as_bytes()].concat(),
            None => vec![],
        }
    }
}

impl fmt::Display for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            None => f.write_str("no code"),
            Some(code) if self.reason.is_empty() => write!(f, "{code}"),
            Some(code) => write!(f, "{code} \"{}\"", self.reason.escape_debug()),
        }
    }
}

/// Why a call was refused; nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// The code must not be sent (§7.4).
    CloseCode(u16),
    /// The reason has more than 123 bytes, or there is no code (§5.5.1).
    CloseReason,
    /// The payload of a ping is over 125 bytes (§5.5).
    LongPing,
    /// The connection is not open: not yet, or the closing handshake has begun, or the connection
    /// has ended and its reason is no longer kept.
    NotOpen,
    /// The connection has ended; the text of its final event.
    Ended(Arc<str>),
    /// More than `Limits::send_queue` bytes are waiting already; try again after the peer has read
    /// some.
    Full,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misuse::CloseCode(code) => write!(
                f,
                "{code} is not a close code that may be sent (1000-1003, 1007-1014, 3000-4999)"
            ),
            Misuse::CloseReason => f.write_str("a close reason needs a code and at most 123 bytes"),
            Misuse::LongPing => f.write_str("the payload of a ping has at most 125 bytes"),
            Misuse::NotOpen => f.write_str("the connection is not open"),
            Misuse::Ended(how) => write!(f, "the connection is not open: {how}"),
            Misuse::Full => {
                f.write_str("the send queue is full: the peer does not read; try again later")
            }
        }
    }
}

impl std::error::Error for Misuse {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_sees_1005_where_there_is_no_code() {
        assert_eq!(CloseFrame::default().code_or_1005(), 1005);
        assert_eq!(CloseFrame::new(4000, "").code_or_1005(), 4000);
    }

    #[test]
    fn a_code_is_shown_alone_where_there_is_no_reason() {
        assert_eq!(CloseFrame::default().to_string(), "no code");
        assert_eq!(CloseFrame::new(1000, "").to_string(), "1000");
        assert_eq!(CloseFrame::new(1000, "a\"b").to_string(), "1000 \"a\\\"b\"");
    }

    #[test]
    fn what_was_not_allowed_is_named_with_what_is() {
        for (misuse, text) in [
            (Misuse::CloseCode(1005), "1005 is not a close code"),
            (Misuse::CloseReason, "at most 123 bytes"),
            (Misuse::LongPing, "at most 125 bytes"),
            (Misuse::NotOpen, "is not open"),
            (Misuse::Ended("closed: 4004".into()), "is not open: closed: 4004"),
            (Misuse::Full, "send queue is full"),
        ] {
            assert!(misuse.to_string().contains(text), "{misuse}");
        }
    }

    /// FAULTS 32: the peer chooses the reason, and traces and errors show it.
    #[test]
    fn a_reason_that_is_shown_moves_no_cursor_and_turns_no_text_around() {
        for reason in [
            "\x1b[2J",
            "a\r\nb",
            "\0",
            "\x7f",
            "\u{85}",
            "\u{9b}31m",
            "\u{ad}",
            "\u{61c}",
            "\u{200b}",
            "\u{200f}",
            "\u{202e}gpj",
            "\u{2028}",
            "\u{2066}",
            "\u{feff}",
            "\u{e0041}",
        ] {
            let text = CloseFrame::new(1000, reason).to_string();
            let harms = |c: char| c.is_control() || (!c.is_ascii() && reason.contains(c));
            assert!(!text.contains(harms), "{reason:?}: {text}");
        }
        assert_eq!(CloseFrame::new(1000, "käse \"x\"").to_string(), "1000 \"käse \\\"x\\\"\"");
    }
}
