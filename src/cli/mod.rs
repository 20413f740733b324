//! The command: reads its arguments, sets up a runtime, and knows about signals, files, the
//! environment and the standard streams, which the library does not.

mod args;
mod echo;
mod help;
mod network;
mod options;
mod pages;
mod proxy;
mod run;
mod secrets;
mod signals;
mod tell;
mod tls;

use std::process::ExitCode;

use args::Command;
use options::{Hint, Word, Words};
use tell::{Failure, complain, is_unheard, say};

/// All commands, in the order of `--help`.
static COMMANDS: &[&options::Command] =
    &[&run::COMMAND, &echo::COMMAND, &TYPES, &pages::COMPLETIONS, &pages::MAN];

static TYPES: options::Command = options::Command {
    name: "types",
    summary: "print the types of all a script sees",
    usage: &["types > moonwire.d.luau"],
    about: "Prints the types of everything that a script sees, as a definition file for luau-lsp: \
            `--definitions=moonwire.d.luau`, or the setting `luau-lsp.types.definitionFiles`.",
    groups: &[],
    notes: "",
    operand: Hint::Nothing,
};

fn types(mut words: Words) -> Result<Option<String>, Failure> {
    match words.next()? {
        Word::End => Ok(Some(crate::luau::TYPES.to_owned())),
        Word::Option(_) => Ok(None),
        Word::Plain(word) => {
            Err(Failure::usage(format!("types takes no argument {}", options::shown(&word))))
        }
    }
}

/// Runs the command with the arguments of the process.
pub fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let done = args::parse(args).and_then(|command| match command {
        Command::Text(text) => say(&text).map(|()| 0),
        Command::Run(args) => run::run(args),
        Command::Echo(args) => echo::echo(args),
    });
    match done {
        // What was lost on standard error was lost, whatever else went well.
        Ok(0) if is_unheard() => ExitCode::FAILURE,
        Ok(status) => ExitCode::from(status),
        Err(Failure { status, text }) => {
            complain(&format!("moonwire: {text}"));
            ExitCode::from(status)
        }
    }
}
