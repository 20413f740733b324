//! Tapes: the bytes that a connection read and wrote, as a text that can be run again
//! (docs/TAPES.md).
//!
//! A tape is a test script, and a test script is a tape: it has the bytes of the peer and the calls
//! of the program, with their times; and the results, each event and each written byte. [`run`]
//! gives the former to a [`Session`](crate::proto::Session), in the same or in other cuts, and
//! compares the latter. Nothing here has a socket or a clock.
//!
//! ```
//! use moonwire::tape::run_all;
//!
//! let tape = "\
//! ## RFC 6455 §5.5.1: an empty close is echoed empty
//! open
//! peer 8800
//! event closing code=none
//! wrote 8880 00000000
//! peer EOF
//! event closed clean code=none";
//! assert_eq!(run_all(tape, 3)?.events, 2);
//! let wrong = run_all(&tape.replace("8880", "8882"), 0).unwrap_err();
//! assert_eq!((wrong.line, wrong.section), (5, Some("RFC 6455 §5.2")));
//! # Ok::<(), moonwire::tape::Difference>(())
//! ```
//!
#![cfg_attr(
    feature = "net",
    doc = "A [`Tape`] records: [`Config::tape`](crate::Config::tape) takes one."
)]
//!
//! ```text
//! text              bytes and times, read and written
//! sim               a session and the driver around it
//! fill              fillers for payloads and secrets
//! script            how a connection starts
//! run               runs a tape
//! scene             a tape from the peer's side
//! record, taped     record one: only with sockets
//! ```

#[cfg(feature = "net")]
mod fill;
#[cfg(feature = "net")]
mod record;
mod run;
mod scene;
// Only a connection with a socket is recorded, so without `net` the writing half is not used.
#[cfg_attr(not(feature = "net"), allow(dead_code))]
mod script;
mod sim;
#[cfg(feature = "net")]
mod taped;
mod text;

#[cfg(feature = "net")]
pub use record::Tape;
#[cfg(feature = "net")]
pub(crate) use record::{OpenedWith, Recorder};
pub use run::{Difference, Mode, Outcome, run, run_all};
pub use scene::{Frame, Frames, Scene, Step, answer, scenes};
pub use sim::{GARBAGE, Keys, Sim, TapeEvent, tape_event};
#[cfg(feature = "net")]
pub(crate) use taped::Taped;
