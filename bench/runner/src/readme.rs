//! The part of the crate's README that comes of a run.

use std::path::Path;

use serde_json::Value;

use crate::failure::Failure;
use crate::report;

const BEGIN: &str = "<!-- written by bench/run.sh -->\n";
const END: &str = "<!-- end -->\n";

/// Writes what stands between the two marks anew.
pub fn write(file: &Path, all: &Value) -> Result<(), Failure> {
    let text = std::fs::read_to_string(file)?;
    let parts = text.split_once(BEGIN).and_then(|(head, rest)| {
        let (_, tail) = rest.split_once(END)?;
        Some((head, tail))
    });
    let (head, tail) = parts.ok_or("the README has no place for the results")?;
    std::fs::write(file, format!("{head}{BEGIN}{}{END}{tail}", section(all)))?;
    Ok(())
}

fn section(all: &Value) -> String {
    let cases = all["cases"].as_array().map_or(&[][..], Vec::as_slice);
    let rounds = cases.iter().filter_map(|case| case["rounds"].as_u64());
    let rounds = match (rounds.clone().min(), rounds.max()) {
        (Some(least), Some(most)) if least < most => format!("{least} to {most}"),
        (_, most) => most.unwrap_or(0).to_string(),
    };
    format!(
        "{}. Ratios are medians of {rounds} rounds, with the smallest and the largest; *at most* is \
         what was to be reached.\n\n{}\n{}",
        report::machine_line(all),
        report::targets(all),
        ["receive", "round-trip", "send", "wss", "memory"]
            .map(|name| format!("![{name}](bench/results/{name}.svg)\n"))
            .concat(),
    )
}
