//! The error type of the runner.

/// Why the runner, or one run of a client, fails. No code distinguishes the reasons.
pub type Failure = Box<dyn std::error::Error>;
