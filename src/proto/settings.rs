//! The settings of a session.

use std::sync::Arc;
use std::time::Duration;

use crate::limits::Limits;

/// The settings of a session.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The limits of the session.
    pub limits: Arc<Limits>,
    /// Sends a keep-alive ping when nothing was received for this long; after the ping was sent,
    /// something has to arrive within [`Limits::pong`]. At least [`Limits::ping_floor`]; `None`:
    /// never.
    pub ping_interval: Option<Duration>,
    /// When the peer closes or breaks a rule, our close frame waits for
    /// [`Session::answer_close`](super::Session::answer_close), at most for [`Limits::close`], so
    /// that the program can still reply to earlier messages. For programs that handle events some
    /// time after the session has reported them.
    pub hold_close: bool,
    /// Keeps a [`Note`](super::Note) of each step for [`Session::notes`](super::Session::notes).
    pub trace: bool,
}

impl Default for Settings {
    /// Default limits, no pings, close frames answered at once, no notes.
    fn default() -> Settings {
        Settings { limits: Arc::default(), ping_interval: None, hold_close: false, trace: false }
    }
}
