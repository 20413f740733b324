//! Writes output: messages to standard output, everything else to standard error.

use std::io::{self, IsTerminal as _, Write};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::editor::Screen;
use super::{ConnectArgs, Form};
use crate::cli::show::{has_colours, json, printable, since_1970};
use crate::cli::stdio::write_stderr;

/// An event of the connection, to be written.
pub(super) enum Report<'a> {
    /// The connection is open: its subprotocol, and whether messages may be compressed.
    Open(Option<&'a str>, bool),
    Text(&'a str),
    Binary(&'a [u8]),
    /// The close code (1005: none) and the reason.
    Close(u16, &'a str),
    /// The connection could not be opened, or is lost.
    Error(&'a str),
    /// The next attempt begins after this time.
    Again(Duration),
}

pub(super) struct Output {
    out: io::BufWriter<io::Stdout>,
    /// The terminal at which the user types.
    screen: Option<Arc<Screen>>,
    /// Whether standard output is a terminal.
    shown: bool,
    /// Whether opening and closing are reported: standard error is a terminal, and neither
    /// `--quiet` nor `--json` is set.
    notices: bool,
    colours: bool,
    form: Form,
    /// The byte that follows each message, except on a terminal.
    end: Option<u8>,
    json: bool,
}

impl Output {
    pub(super) fn new(args: &ConnectArgs, screen: Option<Arc<Screen>>) -> Output {
        let shown = io::stdout().is_terminal();
        Output {
            out: io::BufWriter::with_capacity(64 * 1024, io::stdout()),
            screen,
            shown,
            notices: !args.quiet && !args.json && io::stderr().is_terminal(),
            colours: shown && has_colours(),
            form: args.form,
            end: args.end,
            json: args.json,
        }
    }

    /// Writes an event. The error is one of writing to standard output.
    pub(super) fn report(&mut self, report: &Report<'_>) -> io::Result<()> {
        if self.json {
            let line = object(report, since_1970());
            return self.write(line.as_bytes(), Some(b'\n'));
        }
        match report {
            Report::Text(text) if self.shown => self.show(&printable(text)),
            Report::Text(text) => self.write(text.as_bytes(), self.end),
            Report::Binary(data) => {
                let text = match self.form {
                    Form::Raw if !self.shown => return self.write(data, self.end),
                    Form::Raw | Form::Hex => hex(data),
                    Form::Base64 => STANDARD.encode(data),
                };
                match self.shown {
                    true => self.show(&format!("({} bytes) {text}", data.len())),
                    false => self.write(text.as_bytes(), self.end),
                }
            }
            Report::Open(protocol, compressed) => {
                let mut text = "connected".to_owned();
                if let Some(protocol) = protocol {
                    text += &format!(", subprotocol {}", printable(protocol));
                }
                if *compressed {
                    text += ", compressed";
                }
                self.notice(&text)
            }
            Report::Close(code, reason) => {
                let text = match (*code, *reason) {
                    (1005, _) => "closed without a code".to_owned(),
                    (code, "") => format!("closed: {code}"),
                    (code, reason) => format!("closed: {code} {}", printable(reason)),
                };
                if !self.notices && !matches!(*code, 1000 | 1005) {
                    // The text explains why the exit status is not 0.
                    self.flush()?;
                    write_stderr(&format!("moonwire: {text}"));
                }
                self.notice(&text)
            }
            Report::Error(text) => {
                self.flush()?;
                write_stderr(&format!("moonwire: {text}"));
                Ok(())
            }
            Report::Again(after) => {
                self.notice(&format!("connecting again in {:.1} s", after.as_secs_f64()))
            }
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn write(&mut self, bytes: &[u8], end: Option<u8>) -> io::Result<()> {
        if let Some(screen) = &self.screen {
            // With `--json`, standard output may be a terminal, too.
            return screen.above(&printable(&String::from_utf8_lossy(bytes)));
        }
        self.out.write_all(bytes)?;
        self.out.write_all(end.as_slice())
    }

    /// Writes a message to a terminal.
    fn show(&mut self, text: &str) -> io::Result<()> {
        let line = match self.colours {
            true => format!("\x1b[34m<\x1b[0m {text}"),
            false => format!("< {text}"),
        };
        match &self.screen {
            Some(screen) => screen.above(&line),
            None => writeln!(self.out, "{line}"),
        }
    }

    fn notice(&mut self, text: &str) -> io::Result<()> {
        if !self.notices {
            return Ok(());
        }
        self.flush()?;
        match self.colours {
            true => write_stderr(&format!("\x1b[2m{text}\x1b[0m")),
            false => write_stderr(text),
        }
        Ok(())
    }
}

fn hex(data: &[u8]) -> String {
    data.iter().map(|b| format!("{b:02x}")).collect()
}

/// One event as JSON (RFC 8259).
fn object(report: &Report<'_>, time: f64) -> String {
    let (kind, size, more) = match report {
        Report::Open(protocol, compressed) => {
            let protocol = protocol.map_or("null".to_owned(), json);
            ("open", None, format!(",\"protocol\":{protocol},\"compressed\":{compressed}"))
        }
        Report::Text(text) => ("text", Some(text.len()), format!(",\"data\":{}", json(text))),
        Report::Binary(data) => {
            ("binary", Some(data.len()), format!(",\"data\":\"{}\"", STANDARD.encode(data)))
        }
        Report::Close(code, reason) => {
            let code = if *code == 1005 { "null".to_owned() } else { code.to_string() };
            ("close", None, format!(",\"code\":{code},\"reason\":{}", json(reason)))
        }
        Report::Error(text) => ("error", None, format!(",\"error\":{}", json(text))),
        Report::Again(after) => {
            ("reconnect", None, format!(",\"after\":{:.3}", after.as_secs_f64()))
        }
    };
    let size = size.map_or(String::new(), |n| format!(",\"size\":{n}"));
    format!("{{\"time\":{time:.3},\"kind\":\"{kind}\"{size}{more}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_objects_of_json() {
        for (report, want) in [
            (Report::Open(None, false), r#""open","protocol":null,"compressed":false"#),
            (Report::Open(Some("a\"b"), true), r#""open","protocol":"a\"b","compressed":true"#),
            (Report::Text("é\n\u{1b}"), r#""text","size":4,"data":"é\n\u001b""#),
            (Report::Binary(b"\0\xff"), r#""binary","size":2,"data":"AP8=""#),
            (Report::Close(1005, ""), r#""close","code":null,"reason":"""#),
            (Report::Close(4000, "why\\"), r#""close","code":4000,"reason":"why\\""#),
            (Report::Error("no"), r#""error","error":"no""#),
            (Report::Again(Duration::from_millis(1500)), r#""reconnect","after":1.500"#),
        ] {
            assert_eq!(object(&report, 12.5), format!("{{\"time\":12.500,\"kind\":{want}}}"));
        }
    }
}
