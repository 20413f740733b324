//! The command line of the runner.

use std::path::PathBuf;

use crate::cases::Case;
use crate::failure::Failure;
use crate::process::Pin;
use crate::{cases, machine};

pub struct Options {
    pub short: bool,
    /// The rounds of each case; `None`: each case has its own number.
    pub rounds: Option<usize>,
    pub pin: Pin,
    pub out: PathBuf,
    pub only: Vec<String>,
}

impl Options {
    pub fn parse() -> Result<Options, Failure> {
        let mut words = std::env::args().skip(1);
        let mut options = Options {
            short: false,
            rounds: None,
            pin: Pin::Same,
            out: machine::bench_dir().join("results"),
            only: Vec::new(),
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--short" => options.short = true,
                "--rounds" => options.rounds = Some(value()?.parse::<usize>()?.max(1)),
                "--pin" => options.pin = value()?.parse()?,
                "--out" => options.out = value()?.into(),
                "--list" => {
                    cases::all()
                        .iter()
                        .for_each(|case| println!("{:22} {}", case.name, case.title));
                    std::process::exit(0);
                }
                _ if word.starts_with('-') => return Err(format!("no option {word}").into()),
                _ => options.only.push(word),
            }
        }
        if options.short {
            options.rounds.get_or_insert(1);
        }
        Ok(options)
    }

    pub fn rounds(&self, case: &Case) -> usize {
        self.rounds.unwrap_or(case.rounds)
    }
}
