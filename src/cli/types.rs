//! `moonwire types`.

use super::options::{Command, Hint, Word, Words, shown};
use super::tell::Failure;

pub(super) static COMMAND: Command = Command {
    name: "types",
    summary: "print the types of all a script sees",
    usage: &["types > moonwire.d.luau"],
    about: "Prints the types of everything that a script sees, as a definition file for luau-lsp: \
            `--definitions=moonwire.d.luau`, or the setting `luau-lsp.types.definitionFiles`.",
    groups: &[],
    notes: "",
    operand: Hint::Nothing,
};

/// What it prints; `None` if help is asked for.
pub(super) fn types(mut words: Words) -> Result<Option<String>, Failure> {
    match words.next()? {
        Word::End => Ok(Some(crate::luau::TYPES.to_owned())),
        Word::Option(_) => Ok(None),
        Word::Plain(word) => {
            Err(Failure::usage(format!("types takes no argument {}", shown(&word))))
        }
    }
}
