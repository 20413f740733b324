//! The options of requests, for `connect`, `stream` and `audit`: header fields, credentials.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::options::{Given, Group, Hint, Opt, Takes};
use super::proxy;
use super::stdio::Failure;
use crate::error::Error;

pub(super) static REQUEST: Group = Group {
    title: "Header fields",
    options: &[
        Opt {
            names: &["--header", "-H"],
            takes: Takes::Value("'NAME: VALUE'", Hint::Nothing),
            text: "send this header field; may be repeated. @FILE: fields from FILE, one per line",
        },
        Opt {
            names: &["--auth"],
            takes: Takes::Value("USER:PASS", Hint::Nothing),
            text: "send Basic authorization; @FILE: USER:PASS is the first line of FILE (other \
                   users of this machine can see the arguments of a process)",
        },
    ],
};

/// The values of these options.
#[derive(Default)]
pub(super) struct RequestArgs {
    /// Names and values.
    headers: Vec<(String, String)>,
    auth: Option<String>,
}

impl RequestArgs {
    /// Takes an option of this group; returns any other option.
    pub(super) fn take(&mut self, given: Given) -> Result<Option<Given>, Failure> {
        match given.name {
            "--header" => {
                let text = given.text()?;
                match text.strip_prefix('@') {
                    None => self.headers.push(field("--header", &text)?),
                    Some(file) => {
                        for line in read("--header", file)?.lines().filter(|line| !line.is_empty())
                        {
                            self.headers.push(field("--header", line)?);
                        }
                    }
                }
            }
            "--auth" => {
                let text = given.text()?;
                let pair = match text.strip_prefix('@') {
                    None => text,
                    Some(file) => {
                        read("--auth", file)?.lines().next().unwrap_or_default().to_owned()
                    }
                };
                if !pair.contains(':') {
                    // The error does not repeat the value, which may be a password.
                    return Err(Failure::usage("--auth: USER:PASS or @FILE is expected"));
                }
                self.auth = Some(format!("Basic {}", STANDARD.encode(pair)));
            }
            _ => return Ok(Some(given)),
        }
        Ok(None)
    }

    /// Adds a field that has its own option.
    pub(super) fn add(&mut self, name: &str, value: String) {
        self.headers.push((name.to_owned(), value));
    }

    /// Adds the fields to a request; each call of `public` or `secret` adds one field.
    pub(super) fn put<T>(
        &self,
        mut request: T,
        public: impl Fn(T, &str, &str) -> Result<T, Error>,
        secret: impl Fn(T, &str, &str) -> Result<T, Error>,
    ) -> Result<T, Failure> {
        let bad = |e: Error| Failure::usage(e.reason());
        for (name, value) in &self.headers {
            request = public(request, name, value).map_err(bad)?;
        }
        match &self.auth {
            Some(value) => secret(request, "Authorization", value).map_err(bad),
            None => Ok(request),
        }
    }
}

/// Parses `Name: value`, with blanks around the name or without.
fn field(option: &str, text: &str) -> Result<(String, String), Failure> {
    let (name, value) = proxy::header(option, text)?;
    Ok((name.trim().to_owned(), value.trim_matches([' ', '\t', '\r']).to_owned()))
}

fn read(option: &str, file: &str) -> Result<String, Failure> {
    let name = Path::new(file).display();
    std::fs::read_to_string(file).map_err(|e| Failure::usage(format!("{option}: {name}: {e}")))
}
