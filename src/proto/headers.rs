//! Header fields of a request: no name or value can inject another field.

use std::fmt;

use super::secret::{Guarded, SECRET, is_secret_field};
use super::token::{escape, is_token, is_value_byte};
use super::url::Url;

/// Fields that frame the message, control the connection, or belong to the client (RFC 6455 §4.1,
/// RFC 9110 §7.6.1, RFC 9112). The client sets `Accept-Encoding` to the codings that it decodes.
const OWNED: [&str; 13] = [
    "host",
    "upgrade",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "expect",
    "keep-alive",
    "accept-encoding",
    "proxy-authorization",
    "proxy-authenticate",
    "proxy-connection",
];

/// The field with our credentials for a proxy (RFC 9110 §11.7.2).
#[cfg(feature = "net")]
pub(crate) const PROXY_AUTHORIZATION: &str = "proxy-authorization";

/// Fields with a single value, not a list: a request has each at most once (RFC 9110 §5.3;
/// `Origin`: RFC 6454 §7; `Last-Event-ID`: WHATWG HTML §9.2.4). Servers differ in which of two they
/// use.
const SINGLE: [&str; 16] = [
    "authorization",
    "content-location",
    "content-range",
    "content-type",
    "date",
    "from",
    "if-modified-since",
    "if-range",
    "if-unmodified-since",
    "last-event-id",
    "last-modified",
    "max-forwards",
    "origin",
    "range",
    "referer",
    "user-agent",
];

/// The only field of a WebSocket handshake whose value the program chooses.
pub(crate) const PROTOCOL: &str = "sec-websocket-protocol";

/// Why a request is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// The name is no token (RFC 9110 §5.1).
    HeaderName(String),
    /// The value holds a control character (CR and LF would start another field, §5.5).
    HeaderValue(String),
    /// The client sets this field itself.
    HeaderOwned(String),
    /// The request has a field of that name already: in another case, which RFC 9110 §5.1 ignores,
    /// or in the same case, and such a field may not be repeated (§5.3).
    HeaderTwice {
        /// The name of the refused field.
        name: String,
        /// The name as the first field spells it.
        first: String,
    },
    /// A subprotocol is not a token (RFC 6455 §4.1), or is offered twice.
    Protocol(String),
    /// The method is no token (RFC 9110 §9.1), or it is `CONNECT`, which opens a tunnel.
    Method(String),
    /// A body with a method that has none: `GET`, `HEAD`, `TRACE`.
    Body(String),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::HeaderName(name) => write!(f, "\"{name}\" is not a header name"),
            RequestError::HeaderValue(name) => write!(
                f,
                "the value of header \"{name}\" contains a control character; line breaks cannot be sent"
            ),
            RequestError::HeaderOwned(name) => {
                write!(f, "header \"{name}\" is set by the client itself")
            }
            RequestError::HeaderTwice { name, first } if name == first => {
                write!(f, "header \"{name}\" is there already, and can be sent once only")
            }
            RequestError::HeaderTwice { name, first } => write!(
                f,
                "header \"{name}\" is set already, as \"{first}\": names are compared without case; \
                 leave one out"
            ),
            RequestError::Protocol(name) => {
                write!(f, "subprotocol \"{name}\" is not a token, or is listed twice")
            }
            RequestError::Method(name) => write!(f, "\"{name}\" is not a method that can be sent"),
            RequestError::Body(method) => write!(f, "a {method} request has no body"),
        }
    }
}

impl std::error::Error for RequestError {}

/// A field to be sent.
#[derive(Clone, PartialEq, Eq)]
struct Field {
    name: String,
    /// A secret field is sent to the first server only.
    value: Guarded,
}

/// The fields that the program adds to a request, in their order.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers(Vec<Field>);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|field| &field.name)).finish()
    }
}

impl Headers {
    /// Adds a field and its value as UTF-8 bytes. Refuses it if its name is no token, belongs to
    /// the client or is there already (a list field may be repeated in the same case), or if its
    /// value holds a control character.
    pub(crate) fn add(
        &mut self,
        name: &str,
        value: &str,
        secret: bool,
    ) -> Result<(), RequestError> {
        let shown = || escape(name.as_bytes(), 60);
        if !is_token(name.as_bytes()) {
            return Err(RequestError::HeaderName(shown()));
        }
        let lower = name.to_ascii_lowercase();
        let handshake = lower.starts_with("sec-websocket-") && lower != PROTOCOL;
        if OWNED.contains(&lower.as_str()) || handshake {
            return Err(RequestError::HeaderOwned(shown()));
        }
        if !value.bytes().all(is_value_byte) {
            return Err(RequestError::HeaderValue(shown()));
        }
        // A repeated field has to have the same case as the first.
        if let Some(field) = self.0.iter().find(|field| field.name.eq_ignore_ascii_case(name))
            && (field.name != name || SINGLE.contains(&lower.as_str()))
        {
            let first = escape(field.name.as_bytes(), 60);
            return Err(RequestError::HeaderTwice { name: shown(), first });
        }
        self.0.push(Field { name: name.to_owned(), value: Guarded::new(value, secret) });
        Ok(())
    }

    /// Adds a field of a request to a proxy; `Proxy-Authorization` is allowed, and is a secret.
    #[cfg(feature = "net")]
    pub(crate) fn add_for_proxy(&mut self, name: &str, value: &str) -> Result<(), RequestError> {
        if !name.eq_ignore_ascii_case(PROXY_AUTHORIZATION) {
            return self.add(name, value, is_secret_field(name));
        }
        let shown = || escape(name.as_bytes(), 60);
        if !value.bytes().all(is_value_byte) {
            return Err(RequestError::HeaderValue(shown()));
        }
        if self.has(name) {
            return Err(RequestError::HeaderTwice { name: shown(), first: shown() });
        }
        self.0.push(Field { name: name.to_owned(), value: Guarded::new(value, true) });
        Ok(())
    }

    /// Writes the fields only, without the request line and the empty line.
    pub(crate) fn write_fields(&self, out: &mut Vec<u8>, shown: bool) {
        for Field { name, value } in &self.0 {
            for part in [name, ": ", value.text(shown), "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
    }

    /// The fields for whose names `is_there` returns false.
    #[cfg(feature = "net")]
    pub(crate) fn without(&self, is_there: impl Fn(&str) -> bool) -> Headers {
        Headers(self.0.iter().filter(|field| !is_there(&field.name)).cloned().collect())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// Removes every field with one of these names.
    pub(crate) fn remove(&mut self, names: &[&str]) {
        let named = |field: &Field| names.iter().any(|n| field.name.eq_ignore_ascii_case(n));
        self.0.retain(|field| !named(field));
    }

    /// Removes every field that is secret, by its value or by its name.
    pub(crate) fn remove_secret(&mut self) {
        self.0.retain(|field| !field.value.is_secret() && !is_secret_field(&field.name));
    }

    /// Names and values of the fields that are secret, by their value or by their name.
    #[cfg(feature = "net")]
    pub(crate) fn secrets(&self) -> Vec<(String, Guarded)> {
        let secret = |f: &&Field| f.value.is_secret() || is_secret_field(&f.name);
        let all = self.0.iter().filter(secret);
        all.map(|f| (f.name.to_ascii_lowercase(), Guarded::new(f.value.sent(), true))).collect()
    }

    /// Whether there is a field that is secret, by its value or by its name.
    #[cfg(feature = "net")]
    pub(crate) fn have_secrets(&self) -> bool {
        self.0.iter().any(|field| field.value.is_secret() || is_secret_field(&field.name))
    }

    /// Whether `bytes`, sent by the peer, contain the value of a secret field.
    pub(crate) fn are_repeated_in(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|field| {
            let by_name = || Guarded::new(field.value.sent(), true).is_repeated_in(bytes);
            field.value.is_repeated_in(bytes) || is_secret_field(&field.name) && by_name()
        })
    }

    /// Writes `User-Agent` unless the program has added one, all fields, and the empty line that
    /// ends a head. If the head is to be `shown`, secrets are masked.
    pub(crate) fn write(&self, out: &mut Vec<u8>, shown: bool) {
        if !self.has("user-agent") {
            let agent = concat!("User-Agent: moonwire/", env!("CARGO_PKG_VERSION"), "\r\n");
            out.extend_from_slice(agent.as_bytes());
        }
        self.write_fields(out, shown);
        out.extend_from_slice(b"\r\n");
    }
}

/// First capacity for a head: most heads fit, and so need one allocation.
const FIRST: usize = 512;

/// Writes the request line, with its target in `absolute` form or not, and `Host`. If the head is
/// to be `shown`, a secret URL is masked.
pub(crate) fn write_start(out: &mut Vec<u8>, method: &str, url: &Url, absolute: bool, shown: bool) {
    out.reserve(FIRST);
    let host = url.host_field();
    let is_hidden = shown && url.is_secret();
    let (target, host) = if is_hidden { (SECRET, SECRET) } else { (url.target(), host.as_str()) };
    let origin = match absolute && !is_hidden {
        true => [url.scheme().as_str(), "://", host],
        false => [""; 3],
    };
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    origin.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    for part in [target, " HTTP/1.1\r\nHost: ", host, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS 75: two fields whose names differ only in case are one field to a server, with either
    /// value.
    #[test]
    fn a_name_in_another_case_is_there_already() {
        for (first, name, fine) in [
            // Lists (RFC 9110 §5.3) may be repeated, in one spelling.
            ("Accept", "Accept", true),
            ("Cookie", "Cookie", true),
            ("x-own", "x-own", true),
            ("Accept", "accept", false),
            ("X-Own", "x-own", false),
            ("cookie", "COOKIE", false),
            // Fields with one value, not a list.
            ("Authorization", "authorization", false),
            ("content-type", "Content-Type", false),
            ("Authorization", "Authorization", false),
            ("Content-Type", "Content-Type", false),
            ("User-Agent", "User-Agent", false),
            ("Origin", "Origin", false),
            ("Referer", "Referer", false),
            ("Last-Event-ID", "Last-Event-ID", false),
            // Different names.
            ("X-Own", "X-Own2", true),
            ("X-Own2", "X-Own", true),
        ] {
            for secret in [false, true] {
                let mut headers = Headers::default();
                headers.add("Other", "0", false).unwrap();
                headers.add(first, "1", secret).unwrap();
                let added = headers.add(name, "2", !secret);
                let refused = RequestError::HeaderTwice { name: name.into(), first: first.into() };
                assert_eq!(added, if fine { Ok(()) } else { Err(refused) }, "{first}, {name}");
                let mut out = Vec::new();
                headers.write(&mut out, false);
                let text = String::from_utf8(out).unwrap();
                assert!(text.contains(&format!("{first}: 1\r\n")), "{text}");
                assert_eq!(text.contains(": 2\r\n"), fine, "{text}");
            }
        }
    }

    #[test]
    fn an_error_names_both_spellings() {
        let mut headers = Headers::default();
        headers.add("Authorization", "Bearer s3cret", true).unwrap();
        for (name, text) in [
            (
                "AUTHORIZATION",
                "header \"AUTHORIZATION\" is set already, as \"Authorization\": names are compared without case; \
                 leave one out",
            ),
            (
                "Authorization",
                "header \"Authorization\" is there already, and can be sent once only",
            ),
        ] {
            assert_eq!(headers.add(name, "Bearer t0ken", true).unwrap_err().to_string(), text);
        }
    }

    /// A proxy that handles the request itself gets each field once.
    #[cfg(feature = "net")]
    #[test]
    fn fields_that_are_there_already_are_left_out() {
        let mut headers = Headers::default();
        for name in ["A", "B", "C"] {
            headers.add(name, "1", false).unwrap();
        }
        for (there, want) in [
            (&["B"][..], "A: 1\r\nC: 1\r\n"),
            (&["A", "B", "C"], ""),
            (&[], "A: 1\r\nB: 1\r\nC: 1\r\n"),
        ] {
            let mut out = Vec::new();
            headers.without(|name| there.contains(&name)).write_fields(&mut out, false);
            assert_eq!(String::from_utf8(out).unwrap(), want, "{there:?}");
        }
    }

    #[cfg(feature = "net")]
    #[test]
    fn a_field_is_secret_by_its_value_or_by_its_name() {
        for (name, secret, want) in [
            ("X-Own", false, false),
            ("X-Own", true, true),
            ("Authorization", false, true),
            ("Authorization", true, true),
        ] {
            let mut headers = Headers::default();
            headers.add("Other", "0", false).unwrap();
            assert!(!headers.have_secrets());
            headers.add(name, "value", secret).unwrap();
            assert_eq!(headers.have_secrets(), want, "{name}, {secret}");
            assert_eq!(headers.secrets().len(), usize::from(want), "{name}, {secret}");
        }
    }
}
