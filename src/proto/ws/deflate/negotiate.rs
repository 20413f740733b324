//! Negotiation (RFC 7692 §5 and §7.1) with the grammar of RFC 6455 §9.1.

use std::borrow::Cow;
use std::fmt;

use super::options::{Agreed, Compression};
use crate::proto::token::is_token_byte;

/// The name of the extension.
pub(crate) const NAME: &str = "permessage-deflate";

const SERVER_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_WINDOW: &str = "server_max_window_bits";
const CLIENT_WINDOW: &str = "client_max_window_bits";

/// The largest window of deflate, and the default of both sides (RFC 7692 §7.1.2).
pub(super) const WINDOW_MAX: u8 = 15;

/// Why a server's answer to the offer of permessage-deflate is invalid. RFC 7692 §7.1 requires the
/// client to fail the connection for each of these errors.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NegotiationError {
    /// `Sec-WebSocket-Extensions` is not a list of extensions (RFC 6455 §9.1).
    Grammar,
    /// The extension, or the field, occurs twice (RFC 6455 §11.3.2).
    Repeated,
    /// RFC 7692 defines no such parameter.
    Unknown(String),
    /// A parameter occurs twice.
    Duplicate(&'static str),
    /// A parameter has a value that is not allowed: none, not a number from 8 to 15 in its shortest
    /// form, a larger number than the client asked for, or a value for a parameter without values.
    Value {
        /// The parameter.
        parameter: &'static str,
        /// Its value, escaped; `None`: it has none.
        value: Option<String>,
    },
    /// The server left out a parameter that the client asked for, and so has not accepted the offer
    /// (§7.1.1.1, §7.1.2.1).
    Missing(&'static str),
}

impl fmt::Display for NegotiationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use NegotiationError::*;
        match self {
            Grammar => f.write_str("Sec-WebSocket-Extensions is not a list of extensions"),
            Repeated => write!(f, "{NAME} is accepted twice"),
            Unknown(name) => write!(f, "{NAME} has no parameter \"{name}\""),
            Duplicate(name) => write!(f, "parameter {name} of {NAME} occurs twice"),
            Value { parameter, value: Some(value) } => {
                write!(f, "parameter {parameter} of {NAME} must not be \"{value}\"")
            }
            Value { parameter, value: None } => {
                write!(f, "parameter {parameter} of {NAME} has no value")
            }
            Missing(name) => write!(
                f,
                "{NAME} is accepted without {name}, which was asked for; offer it to this server \
                 without {name}"
            ),
        }
    }
}

/// Why the client does not accept an answer.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The server names an extension that the client did not offer.
    Other(String),
    Deflate(NegotiationError),
}

impl From<NegotiationError> for Refused {
    fn from(e: NegotiationError) -> Refused {
        Refused::Deflate(e)
    }
}

/// The value of the client's `Sec-WebSocket-Extensions`.
pub(crate) fn offer(wanted: &Compression) -> String {
    let (client, server) = (wanted.client_window(), wanted.server_window());
    // Sent without a value: it allows the server to require a smaller window (§7.1.2.2).
    let mut text = format!("{NAME}; {CLIENT_WINDOW}");
    if client < WINDOW_MAX {
        text += &format!("={client}");
    }
    if server < WINDOW_MAX {
        text += &format!("; {SERVER_WINDOW}={server}");
    }
    for (takeover, name) in
        [(wanted.server_takeover, SERVER_TAKEOVER), (wanted.client_takeover, CLIENT_TAKEOVER)]
    {
        if !takeover {
            text += &format!("; {name}");
        }
    }
    text
}

/// The parameters to which the server agreed, from the `value` of its only
/// `Sec-WebSocket-Extensions`; `None` if it names no extension. `shown` escapes bytes for an error.
pub(crate) fn judge(
    wanted: &Compression,
    value: &[u8],
    shown: &dyn Fn(&[u8]) -> String,
) -> Result<Option<Agreed>, Refused> {
    let all = parse(value).ok_or(NegotiationError::Grammar)?;
    if let Some(other) = all.iter().find(|e| e.name != NAME.as_bytes()) {
        return Err(Refused::Other(shown(other.name)));
    }
    let extension = match &all[..] {
        [] => return Ok(None),
        [one] => one,
        [..] => return Err(NegotiationError::Repeated.into()),
    };
    let parameters = Parameters::read(extension, shown)?;
    let server = parameters.server_window(wanted.server_window(), shown)?;
    let client = match parameters.client_window {
        Parameters::ABSENT => wanted.client_window(),
        Some(value) => window(CLIENT_WINDOW, value, wanted.client_window(), shown)?,
    };
    if !wanted.server_takeover && !parameters.server_no_takeover {
        return Err(NegotiationError::Missing(SERVER_TAKEOVER).into());
    }
    if wanted.server_window() < WINDOW_MAX && server.is_none() {
        return Err(NegotiationError::Missing(SERVER_WINDOW).into());
    }
    Ok(Some(Agreed {
        client_window: client,
        server_window: server.unwrap_or(WINDOW_MAX),
        client_takeover: wanted.client_takeover && !parameters.client_no_takeover,
        server_takeover: !parameters.server_no_takeover,
    }))
}

/// The server's side: accepts the first acceptable offer of a list (RFC 7692 §5.1); returns the
/// result and the answer. `limits` is what the server wants. `Err`: not a list of extensions.
#[cfg(feature = "cli")]
pub(crate) fn accept(
    value: &[u8],
    limits: &Compression,
) -> Result<Option<(Agreed, String)>, NegotiationError> {
    let all = parse(value).ok_or(NegotiationError::Grammar)?;
    let ours = all.iter().filter(|e| e.name == NAME.as_bytes());
    // The server declines an offer that breaks a rule (§7.1).
    Ok(ours.filter_map(|extension| accept_one(extension, limits)).next())
}

#[cfg(feature = "cli")]
fn accept_one(offer: &Extension<'_>, limits: &Compression) -> Option<(Agreed, String)> {
    let shown = |_: &[u8]| String::new();
    let parameters = Parameters::read(offer, &shown).ok()?;
    let server = parameters.server_window(WINDOW_MAX, &shown).ok()?;
    // The library has no window of 8.
    let server_window = server.unwrap_or(WINDOW_MAX).min(limits.server_window());
    if server_window < Compression::CLIENT_WINDOW_MIN {
        return None;
    }
    let client = match parameters.client_window {
        // The client did not offer it, so the server must not ask for it (§7.1.2.2).
        Parameters::ABSENT => None,
        Some(None) => Some(WINDOW_MAX),
        Some(value) => Some(window(CLIENT_WINDOW, value, WINDOW_MAX, &shown).ok()?),
    };
    let client_window = client.map_or(WINDOW_MAX, |n| n.min(limits.client_window()));
    let agreed = Agreed {
        client_window,
        server_window,
        client_takeover: limits.client_takeover && !parameters.client_no_takeover,
        server_takeover: limits.server_takeover && !parameters.server_no_takeover,
    };
    let mut text = NAME.to_owned();
    for (takeover, name) in
        [(agreed.server_takeover, SERVER_TAKEOVER), (agreed.client_takeover, CLIENT_TAKEOVER)]
    {
        if !takeover {
            text += &format!("; {name}");
        }
    }
    for (window, name) in [(server_window, SERVER_WINDOW), (client_window, CLIENT_WINDOW)] {
        if window < WINDOW_MAX {
            text += &format!("; {name}={window}");
        }
    }
    Some((agreed, text))
}

/// The parameters of one permessage-deflate, each at most once.
#[derive(Default)]
struct Parameters<'a> {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_window: Option<Option<&'a [u8]>>,
    client_window: Option<Option<&'a [u8]>>,
}

impl<'a> Parameters<'a> {
    /// The value of a parameter that is absent.
    const ABSENT: Option<Option<&'static [u8]>> = None;

    fn read(
        extension: &'a Extension<'_>,
        shown: &dyn Fn(&[u8]) -> String,
    ) -> Result<Parameters<'a>, NegotiationError> {
        let mut parameters = Parameters::default();
        for (name, value) in &extension.params {
            let value = value.as_deref();
            let flag = |parameter| match value {
                Some(value) => {
                    Err(NegotiationError::Value { parameter, value: Some(shown(value)) })
                }
                None => Ok(true),
            };
            let (name, is_twice) = match std::str::from_utf8(name).unwrap_or_default() {
                SERVER_TAKEOVER => {
                    let was = std::mem::replace(
                        &mut parameters.server_no_takeover,
                        flag(SERVER_TAKEOVER)?,
                    );
                    (SERVER_TAKEOVER, was)
                }
                CLIENT_TAKEOVER => {
                    let was = std::mem::replace(
                        &mut parameters.client_no_takeover,
                        flag(CLIENT_TAKEOVER)?,
                    );
                    (CLIENT_TAKEOVER, was)
                }
                SERVER_WINDOW => (SERVER_WINDOW, parameters.server_window.replace(value).is_some()),
                CLIENT_WINDOW => (CLIENT_WINDOW, parameters.client_window.replace(value).is_some()),
                _ => return Err(NegotiationError::Unknown(shown(name))),
            };
            if is_twice {
                return Err(NegotiationError::Duplicate(name));
            }
        }
        Ok(parameters)
    }

    fn server_window(
        &self,
        most: u8,
        shown: &dyn Fn(&[u8]) -> String,
    ) -> Result<Option<u8>, NegotiationError> {
        self.server_window.map(|value| window(SERVER_WINDOW, value, most, shown)).transpose()
    }
}

/// Parses the value of a window parameter: 8 to `most`, without leading zeros (§7.1.2).
fn window(
    parameter: &'static str,
    value: Option<&[u8]>,
    most: u8,
    shown: &dyn Fn(&[u8]) -> String,
) -> Result<u8, NegotiationError> {
    let number = match value {
        Some(&[n @ b'8'..=b'9']) => n - b'0',
        Some(&[b'1', n @ b'0'..=b'5']) => 10 + n - b'0',
        _ => u8::MAX,
    };
    if number <= most {
        return Ok(number);
    }
    Err(NegotiationError::Value { parameter, value: value.map(shown) })
}

/// One extension with its parameters (RFC 6455 §9.1).
struct Extension<'a> {
    name: &'a [u8],
    params: Vec<Param<'a>>,
}

/// A name, and its value if there is one.
type Param<'a> = (&'a [u8], Option<Cow<'a, [u8]>>);

/// The elements of `extension-list`, without empty ones (RFC 9110 §5.6.1); `None` if `value` is not
/// such a list. Each byte is examined once.
fn parse(value: &[u8]) -> Option<Vec<Extension<'_>>> {
    let (mut rest, mut all) = (Cursor(value), Vec::new());
    loop {
        if !rest.eats(b',') {
            if rest.is_at_end() {
                return Some(all);
            }
            all.push(rest.extension()?);
            if !rest.is_at_end() && !rest.eats(b',') {
                return None;
            }
        }
    }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn skip_space(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_space();
        self.0.is_empty()
    }

    fn eats(&mut self, wanted: u8) -> bool {
        self.skip_space();
        match self.0 {
            [b, rest @ ..] if *b == wanted => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        self.skip_space();
        let len = self.0.iter().take_while(|&&b| is_token_byte(b)).count();
        let (token, rest) = self.0.split_at(len);
        self.0 = rest;
        (len > 0).then_some(token)
    }

    /// The unescaped content of a quoted string, which has to be a token (RFC 6455 §9.1).
    fn quoted(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            let (b, rest) = match self.0 {
                [b'"', rest @ ..] => {
                    self.0 = rest;
                    return (!text.is_empty()).then_some(text);
                }
                [b'\\', b, rest @ ..] => (*b, rest),
                [b, rest @ ..] => (*b, rest),
                [] => return None,
            };
            if !is_token_byte(b) {
                return None;
            }
            text.push(b);
            self.0 = rest;
        }
    }

    fn extension(&mut self) -> Option<Extension<'a>> {
        let (name, mut params) = (self.token()?, Vec::new());
        while self.eats(b';') {
            let param = self.token()?;
            let value = match self.eats(b'=') {
                false => None,
                true if self.eats(b'"') => Some(Cow::Owned(self.quoted()?)),
                true => Some(Cow::Borrowed(self.token()?)),
            };
            params.push((param, value));
        }
        Some(Extension { name, params })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::token::escape;

    fn shown(bytes: &[u8]) -> String {
        escape(bytes, 60)
    }

    fn judged(wanted: &Compression, value: &str) -> Result<Option<Agreed>, Refused> {
        judge(wanted, value.as_bytes(), &shown)
    }

    /// The windows of client and server, and whether each side keeps its context.
    fn agreed(wanted: &Compression, value: &str) -> (u8, u8, bool, bool) {
        match judged(wanted, value) {
            Ok(Some(a)) => (a.client_window, a.server_window, a.client_takeover, a.server_takeover),
            other => panic!("{value}: {other:?}"),
        }
    }

    fn wanted(client_window: u8, server_window: u8) -> Compression {
        Compression { client_window, server_window, ..Compression::default() }
    }

    #[test]
    fn the_offer_asks_for_what_is_wanted_and_no_more() {
        let alone = Compression { client_takeover: false, server_takeover: false, ..wanted(0, 0) };
        for (wanted, want) in [
            (Compression::default(), "permessage-deflate; client_max_window_bits"),
            (wanted(99, 99), "permessage-deflate; client_max_window_bits"),
            (
                wanted(9, 10),
                "permessage-deflate; client_max_window_bits=9; server_max_window_bits=10",
            ),
            (
                alone,
                "permessage-deflate; client_max_window_bits=9; server_max_window_bits=8; \
                 server_no_context_takeover; client_no_context_takeover",
            ),
        ] {
            assert_eq!(offer(&wanted), want);
        }
    }

    #[test]
    fn an_answer_may_ask_for_less() {
        let all = Compression::default();
        for (value, want) in [
            ("permessage-deflate", (15, 15, true, true)),
            (" ,permessage-deflate\t, ", (15, 15, true, true)),
            ("permessage-deflate;server_no_context_takeover", (15, 15, true, false)),
            ("permessage-deflate ; client_no_context_takeover", (15, 15, false, true)),
            ("permessage-deflate; client_max_window_bits=8", (8, 15, true, true)),
            ("permessage-deflate; client_max_window_bits = 15", (15, 15, true, true)),
            ("permessage-deflate; server_max_window_bits=10", (15, 10, true, true)),
            // RFC 6455 §9.1: the value of a quoted string is the token in it.
            ("permessage-deflate; server_max_window_bits=\"10\"", (15, 10, true, true)),
            ("permessage-deflate; server_max_window_bits=\"1\\0\"", (15, 10, true, true)),
            (
                "permessage-deflate; client_max_window_bits=9; server_no_context_takeover; \
                 server_max_window_bits=8; client_no_context_takeover",
                (9, 8, false, false),
            ),
        ] {
            assert_eq!(agreed(&all, value), want, "{value}");
        }
        for n in 8..=15 {
            let value = format!("permessage-deflate; server_max_window_bits={n}");
            assert_eq!(agreed(&all, &value), (15, n, true, true));
            let value = format!("permessage-deflate; client_max_window_bits={n}");
            assert_eq!(agreed(&all, &value), (n, 15, true, true));
        }
        // The server need not repeat a parameter that was only a hint.
        let hint = Compression { client_takeover: false, ..wanted(11, 15) };
        assert_eq!(agreed(&hint, "permessage-deflate"), (11, 15, false, true));
        assert!(matches!(judged(&all, ""), Ok(None)));
        assert!(matches!(judged(&all, " , ,"), Ok(None)));
    }

    /// FAULTS 14: each invalid value of a window has its own error, and so has everything else that
    /// RFC 7692 §7.1 and RFC 6455 §9.1 do not allow.
    #[test]
    fn an_answer_that_breaks_a_rule_is_refused_by_its_name() {
        use NegotiationError::*;
        let all = Compression::default();
        let bad = ["0", "7", "16", "20", "010", "08", "-1", "1e1", "015", "+9", "99999999999", "x"];
        for (parameter, name) in [(SERVER_WINDOW, "server"), (CLIENT_WINDOW, "client")] {
            for value in bad {
                for text in [value.to_owned(), format!("\"{value}\"")] {
                    let answer = format!("permessage-deflate; {name}_max_window_bits={text}");
                    let want = Value { parameter, value: Some(value.to_owned()) };
                    let got = judged(&all, &answer);
                    assert!(matches!(got, Err(Refused::Deflate(e)) if e == want), "{answer}");
                }
            }
        }
        let value =
            |parameter, value: Option<&str>| Value { parameter, value: value.map(Into::into) };
        for (answer, want) in [
            ("permessage-deflate; server_max_window_bits", value(SERVER_WINDOW, None)),
            ("permessage-deflate; client_max_window_bits", value(CLIENT_WINDOW, None)),
            (
                "permessage-deflate; server_no_context_takeover=true",
                value(SERVER_TAKEOVER, Some("true")),
            ),
            ("permessage-deflate; client_no_context_takeover=1", value(CLIENT_TAKEOVER, Some("1"))),
            ("permessage-deflate; x", Unknown("x".into())),
            (
                "permessage-deflate; Server_max_window_bits=9",
                Unknown("Server_max_window_bits".into()),
            ),
            ("permessage-deflate; __proto__=9", Unknown("__proto__".into())),
            (
                "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
                Duplicate(SERVER_WINDOW),
            ),
            (
                "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
                Duplicate(CLIENT_TAKEOVER),
            ),
            ("permessage-deflate, permessage-deflate", Repeated),
            ("permessage-deflate; server_max_window_bits=", Grammar),
            ("permessage-deflate; server_max_window_bits=\"\"", Grammar),
            ("permessage-deflate; server_max_window_bits=\"9", Grammar),
            ("permessage-deflate; server_max_window_bits=\"9 \"", Grammar),
            ("permessage-deflate; server_max_window_bits=\"9\\", Grammar),
            ("permessage-deflate; server_max_window_bits=9 9", Grammar),
            ("permessage-deflate; server_max_window_bits=\"9\"9", Grammar),
            ("permessage-deflate server_max_window_bits=9", Grammar),
            ("permessage-deflate;", Grammar),
            ("permessage-deflate;;", Grammar),
            ("permessage-deflate; =9", Grammar),
            ("permessage-deflate=9", Grammar),
            ("\"permessage-deflate\"", Grammar),
            (";", Grammar),
            ("=", Grammar),
        ] {
            match judged(&all, answer) {
                Err(Refused::Deflate(got)) => assert_eq!(got, want, "{answer}"),
                got => panic!("{answer}: {got:?}"),
            }
        }
        for answer in
            ["x", "x, permessage-deflate", "permessage-deflate, x; y", "Permessage-Deflate"]
        {
            assert!(matches!(judged(&all, answer), Err(Refused::Other(_))), "{answer}");
        }
    }

    #[test]
    fn what_was_asked_for_is_a_bound() {
        let small = Compression { server_takeover: false, ..wanted(10, 11) };
        let answer = "permessage-deflate; server_no_context_takeover; server_max_window_bits=11";
        assert_eq!(agreed(&small, answer), (10, 11, true, false));
        for (answer, want) in [
            (
                format!("{answer}; client_max_window_bits=11"),
                NegotiationError::Value { parameter: CLIENT_WINDOW, value: Some("11".into()) },
            ),
            (
                answer.replace("=11", "=12"),
                NegotiationError::Value { parameter: SERVER_WINDOW, value: Some("12".into()) },
            ),
            (
                answer.replace("; server_max_window_bits=11", ""),
                NegotiationError::Missing(SERVER_WINDOW),
            ),
            (
                answer.replace("; server_no_context_takeover", ""),
                NegotiationError::Missing(SERVER_TAKEOVER),
            ),
        ] {
            match judged(&small, &answer) {
                Err(Refused::Deflate(got)) => assert_eq!(got, want, "{answer}"),
                got => panic!("{answer}: {got:?}"),
            }
        }
    }

    /// FAULTS 26: quadratic work would never end.
    #[test]
    fn each_byte_of_an_answer_is_looked_at_once() {
        const LONG: usize = 1 << 20;
        for answer in [
            format!("permessage-deflate; a=\"{}", "b".repeat(LONG)),
            format!("permessage-deflate; a=\"{}", "\\".repeat(LONG)),
            format!("permessage-deflate; a=\"{}", "\",\"".repeat(LONG / 3)),
            format!("permessage-deflate{}x", " ".repeat(LONG)),
            format!("permessage-deflate{}", "; a".repeat(LONG / 3)),
            format!("permessage-deflate{}", ",".repeat(LONG) + ";"),
        ] {
            let Err(Refused::Deflate(e)) = judged(&Compression::default(), &answer) else {
                panic!()
            };
            assert!(e.to_string().len() < 200);
        }
    }

    #[cfg(feature = "cli")]
    #[test]
    fn the_server_takes_the_first_offer_that_it_can() {
        let all = Compression::default();
        let small = Compression { client_takeover: false, ..wanted(9, 10) };
        for (offer, limits, want) in [
            ("permessage-deflate", &all, Some("permessage-deflate")),
            ("x, permessage-deflate; client_max_window_bits", &all, Some("permessage-deflate")),
            (
                "permessage-deflate; y, permessage-deflate; server_max_window_bits=16, \
                 permessage-deflate; server_max_window_bits=12; client_no_context_takeover",
                &all,
                Some("permessage-deflate; client_no_context_takeover; server_max_window_bits=12"),
            ),
            // §7.1.2.2: a server may require this only of a client that offered it.
            (
                "permessage-deflate",
                &small,
                Some("permessage-deflate; client_no_context_takeover; server_max_window_bits=10"),
            ),
            (
                "permessage-deflate; client_max_window_bits=12",
                &small,
                Some(
                    "permessage-deflate; client_no_context_takeover; server_max_window_bits=10; \
                     client_max_window_bits=9",
                ),
            ),
            (
                "permessage-deflate; server_max_window_bits=8, permessage-deflate",
                &all,
                Some("permessage-deflate"),
            ),
            ("permessage-deflate; server_max_window_bits=8", &all, None),
            (
                "permessage-deflate; server_max_window_bits=9",
                &all,
                Some("permessage-deflate; server_max_window_bits=9"),
            ),
            // §7.1.1.1: a server has to accept this.
            (
                "permessage-deflate; server_no_context_takeover",
                &all,
                Some("permessage-deflate; server_no_context_takeover"),
            ),
            ("x", &all, None),
            ("", &all, None),
        ] {
            let got = accept(offer.as_bytes(), limits).unwrap().map(|(_, text)| text);
            assert_eq!(got.as_deref(), want, "{offer}");
        }
        assert_eq!(accept(b"permessage-deflate; =", &all), Err(NegotiationError::Grammar));
    }
}
