//! The error type of the runner.

/// Why the runner, or one run of a client, gives up. Nobody tells one reason from another.
pub type Failure = Box<dyn std::error::Error>;
