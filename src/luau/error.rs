//! Errors that are not raised in scripts.

use std::fmt;

/// An error of the Luau side that no script has raised: the VM could not be set up, or the
/// system cannot wait any more.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The VM refused an operation: it is out of memory, or a global cannot be set.
    Lua(mlua::Error),
    /// The text of a script is not valid Luau; the message names script and line.
    Syntax(String),
    /// [`Options::without`](super::Options::without) names a global that is not in
    /// [`GLOBALS`](super::GLOBALS).
    NoGlobal(String),
    /// Options contradict each other or existing values; the message names them.
    Options(String),
    /// A host file ([`HostFile`](super::HostFile)) is not valid Luau, or has raised; the message
    /// names the file.
    Host(String),
    /// A script has called `exit`, so no other script starts.
    Exited,
    /// The VM already has the script APIs.
    Installed,
    /// The reactor failed.
    Io(std::io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Lua(mlua::Error::MemoryError(_)) => {
                f.write_str("the scripts need more memory than the limit allows")
            }
            Error::Lua(e) => write!(f, "Luau: {e}"),
            Error::Syntax(e) | Error::Options(e) | Error::Host(e) => f.write_str(e),
            Error::NoGlobal(name) => {
                write!(f, "without {name:?}: there is no global of this name to leave out")
            }
            Error::Exited => f.write_str("a script has ended the run by exit, so no other starts"),
            Error::Installed => f.write_str(
                "install: this VM has the script APIs already; a second Runtime needs a second VM",
            ),
            Error::Io(e) => write!(f, "poll loop: {e}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<mlua::Error> for Error {
    fn from(e: mlua::Error) -> Error {
        Error::Lua(e)
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Error {
        Error::Io(e)
    }
}
