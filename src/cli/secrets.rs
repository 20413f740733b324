//! The secrets of a run: files that `--secret` names, and environment variables.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::stdio::Failure;

/// The prefix of the variables' names.
const VARIABLE: &str = "MOONWIRE_SECRET_";

/// One `--secret`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Secret {
    pub(super) name: String,
    pub(super) file: PathBuf,
}

impl Secret {
    /// Parses `NAME=@FILE`. The error does not repeat the value: that may be the secret itself.
    pub(super) fn parse(text: &str) -> Result<Secret, Failure> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => (name, value),
            _ => return Err(Failure::usage("--secret: NAME=@FILE is expected")),
        };
        match value.strip_prefix('@') {
            Some(file) if !file.is_empty() => {
                Ok(Secret { name: name.to_owned(), file: file.into() })
            }
            Some(_) => Err(Failure::usage(format!("--secret {name}=@: a file is expected"))),
            None => Err(Failure::usage(format!(
                "--secret {name}: the value has to be in a file, {name}=@FILE (or in the variable \
                 {VARIABLE}{name}): other users of this machine can see the arguments of a process"
            ))),
        }
    }
}

/// The source of secrets for a runtime: the files, which are read now, then the variables.
pub(super) fn source(
    given: &[Secret],
) -> Result<impl Fn(&str) -> Option<String> + Send + 'static, Failure> {
    let mut files = HashMap::new();
    for secret in given {
        files.insert(secret.name.clone(), read(&secret.file)?);
    }
    Ok(move |name: &str| files.get(name).cloned().or_else(|| variable(name)))
}

/// Reads a file, without the line end that editors add at its end.
fn read(file: &Path) -> Result<String, Failure> {
    let bad = |e: &str| Failure::usage(format!("--secret: {}: {e}", file.display()));
    let bytes = std::fs::read(file).map_err(|e| bad(&e.to_string()))?;
    let mut text = String::from_utf8(bytes).map_err(|_| bad("the text is not UTF-8"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() { Err(bad("the file is empty")) } else { Ok(text) }
}

/// An empty variable counts as not set.
fn variable(name: &str) -> Option<String> {
    std::env::var(format!("{VARIABLE}{name}")).ok().filter(|text| !text.is_empty())
}
