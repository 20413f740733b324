//! `moonwire types`.

use super::options::{Arg, ArgList, Command, Group, Hint, Opt, Takes, shown};
use super::stdio::Failure;
use crate::luau::{HostFile, TYPES};

pub(super) static COMMAND: Command = Command {
    name: "types",
    summary: "print the types of everything that scripts can use",
    usage: &["types [--host NAME] > FILE"],
    about: "Prints the types of everything that scripts can use, as a definition file for luau-lsp: \
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
        text: "include what this host adds (moonwire run --host)",
    }],
};

/// The text that the command prints; `None` if the arguments ask for help.
pub(super) fn types(mut list: ArgList) -> Result<Option<String>, Failure> {
    let mut types = TYPES.to_owned();
    loop {
        match list.next()? {
            Arg::End => return Ok(Some(types)),
            Arg::Option(given) if given.name == "--host" => {
                let name = given.text()?;
                let its = HostFile::named(&name).and_then(|host| host.types());
                types = its.ok_or_else(|| Failure::usage("types: --host is studio or executor"))?;
            }
            Arg::Option(_) => return Ok(None),
            Arg::Plain(arg) => {
                return Err(Failure::usage(format!("types takes no argument {}", shown(&arg))));
            }
        }
    }
}
