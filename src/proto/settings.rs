//! The settings of a session.

use std::sync::Arc;
use std::time::Duration;

use crate::limits::Limits;

/// The settings of a session.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its bounds.
    pub limits: Arc<Limits>,
    /// Sends a keep-alive ping when nothing was received for this long; then something has to
    /// arrive within [`Limits::pong`]. At least [`Limits::ping_floor`]; `None`: never.
    pub ping_interval: Option<Duration>,
    /// Leaves our close frame to [`Session::answer_close`](super::Session::answer_close) (or to the
    /// deadline [`Limits::close`]) when the peer closes or breaks a rule, so that the program can
    /// still reply to earlier messages. For programs that handle events after the session reports
    /// them.
    pub hold_close: bool,
    /// Keeps a [`Note`](super::Note) of each frame for [`Session::notes`](super::Session::notes).
    pub trace: bool,
}

impl Default for Settings {
    /// Default limits, no pings, the answer at once, no notes.
    fn default() -> Settings {
        Settings { limits: Arc::default(), ping_interval: None, hold_close: false, trace: false }
    }
}
