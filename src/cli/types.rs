//! `moonwire types`.

use super::options::{Command, Group, Hint, Opt, Takes, Word, Words, shown};
use super::tell::Failure;
use crate::luau::{HostFile, TYPES};

pub(super) static COMMAND: Command = Command {
    name: "types",
    summary: "print the types of all a script sees",
    usage: &["types [--host NAME] > FILE"],
    about: "Prints the types of everything that a script sees, as a definition file for luau-lsp: \
            `--definitions=moonwire.d.luau`, or the setting `luau-lsp.types.definitionFiles`.",
    groups: &[&HOST],
    notes: "",
    operand: Hint::Nothing,
};

static HOST: Group = Group {
    title: "Host",
    options: &[Opt {
        names: &["--host"],
        takes: Takes::Value("studio|executor", Hint::OneOf(&["studio", "executor"])),
        text: "with what this world adds (moonwire run --host)",
    }],
};

/// The text that the command prints; `None` if the arguments ask for help.
pub(super) fn types(mut words: Words) -> Result<Option<String>, Failure> {
    let mut types = TYPES.to_owned();
    loop {
        match words.next()? {
            Word::End => return Ok(Some(types)),
            Word::Option(given) if given.name == "--host" => {
                let name = given.text()?;
                let its = HostFile::named(&name).and_then(|host| host.types());
                types = its.ok_or_else(|| Failure::usage("types: --host is studio or executor"))?;
            }
            Word::Option(_) => return Ok(None),
            Word::Plain(word) => {
                return Err(Failure::usage(format!("types takes no argument {}", shown(&word))));
            }
        }
    }
}
