//! Decides which parts of a request may be shown. Errors, traces, `Debug` and redirects call this
//! module and decide nothing themselves.

use std::borrow::Cow;
use std::fmt;

use super::token::escape;

/// Shown in place of a secret.
pub(crate) const SECRET: &str = "***";

/// A text that is sent unchanged, and shown as `***` if it is secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Guarded {
    text: String,
    secret: bool,
}

impl Guarded {
    pub(crate) fn new(text: &str, secret: bool) -> Guarded {
        Guarded { text: text.to_owned(), secret }
    }

    /// The text to be sent. The caller must not put it into anything that is shown.
    pub(crate) fn sent(&self) -> &str {
        &self.text
    }

    pub(crate) fn is_secret(&self) -> bool {
        self.secret
    }

    /// The text as it is sent, or as it may be `shown`.
    pub(crate) fn text(&self, shown: bool) -> &str {
        if shown && self.secret { SECRET } else { &self.text }
    }

    /// Whether `bytes`, sent by the peer, contain the secret: all of it, or the credentials behind
    /// the scheme in `Bearer …`. A secret of a few bytes never counts: it would be found by chance.
    pub(crate) fn is_repeated_in(&self, bytes: &[u8]) -> bool {
        let last = self.text.rsplit(' ').next().unwrap_or_default();
        self.secret && last.len() >= NOT_BY_CHANCE && contains(bytes, last.as_bytes())
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(true))
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text(true), f)
    }
}

/// Masks a peer's bytes in an error if they repeat a secret of the request.
pub(crate) fn hide(text: Option<&mut String>, is_repeated: impl Fn(&[u8]) -> bool) {
    if let Some(text) = text
        && is_repeated(text.as_bytes())
    {
        *text = SECRET.to_owned();
    }
}

/// Equal bytes are no coincidence if there are at least this many.
pub(crate) const NOT_BY_CHANCE: usize = 4;

/// Whether `bytes` contain `part`.
pub(crate) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && bytes.windows(part.len()).any(|window| window == part)
}

/// Endings of the names of fields that identify somebody: `X-Api-Key`, `X-Auth-Token`,
/// `Client-Secret`; and, without a dash in front, `Proxy-Authorization`, `Set-Cookie`.
const ENDINGS: [&str; 6] = ["-key", "-token", "-secret", "authorization", "cookie", "cookie2"];

/// Whole names of such fields.
const NAMES: [&str; 5] = ["key", "token", "secret", "apikey", "x-apikey"];

/// Whether a field of this name is secret: no trace shows its value, and it is not sent to another
/// origin after a redirect. `Sec-WebSocket-Key` is: with it, an attacker could forge the answer.
pub(crate) fn is_secret_field(name: &str) -> bool {
    let ends_in = |ending: &&str| {
        let from = name.len().checked_sub(ending.len());
        from.and_then(|from| name.get(from..)).is_some_and(|end| end.eq_ignore_ascii_case(ending))
    };
    ENDINGS.iter().any(ends_in) || NAMES.iter().any(|n| name.eq_ignore_ascii_case(n))
}

/// Fields whose value is or contains a URL.
const NAMES_A_URL: [&str; 5] = ["location", "content-location", "link", "refresh", "referer"];

/// Whether the value of a field of this name is or contains a URL.
pub(crate) fn names_a_url(name: &str) -> bool {
    NAMES_A_URL.iter().any(|n| name.eq_ignore_ascii_case(n))
}

/// A URL, or a text with one, as it may be shown: without user name and password, and without query
/// and fragment, which may contain a token.
pub(crate) fn shown_url(text: &str) -> Cow<'_, str> {
    let start = text.find("://").map_or(0, |i| i + 3);
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |i| start + i);
    let tail = text[end..].find(['?', '#']).map(|i| end + i);
    let user = text[start..end].rfind('@').map(|at| start + at);
    if tail.is_none() && user.is_none() {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    match user {
        Some(at) => shown.extend([&text[..start], SECRET, &text[at..tail.unwrap_or(text.len())]]),
        None => shown.push_str(&text[..tail.unwrap_or(text.len())]),
    }
    if let Some(tail) = tail {
        shown.extend([&text[tail..tail + 1], SECRET]);
    }
    Cow::Owned(shown)
}

/// The value of a field, escaped, as it may be shown: at most `max` bytes.
pub(crate) fn shown_value(name: &str, value: &[u8], max: usize) -> String {
    match value {
        _ if is_secret_field(name) => SECRET.to_owned(),
        value if names_a_url(name) => shown_url(&escape(value, max)).into_owned(),
        value => escape(value, max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_say_who_somebody_is() {
        for name in [
            "Authorization",
            "proxy-authorization",
            "X-Authorization",
            "Cookie",
            "Set-Cookie",
            "Cookie2",
            "Sec-WebSocket-Key",
            "X-API-Key",
            "api-key",
            "Ocp-Apim-Subscription-Key",
            "X-Auth-Token",
            "x-amz-security-token",
            "X-Client-Secret",
            "Token",
            "ApiKey",
        ] {
            assert!(is_secret_field(name), "{name}");
        }
        for name in ["", "-", "Accept", "Keyed", "X-Tokens", "Monkey", "WWW-Authenticate", "é-ke"]
        {
            assert!(!is_secret_field(name), "{name}");
        }
    }

    #[test]
    fn a_url_is_shown_without_its_user_query_and_fragment() {
        for (text, shown) in [
            ("ws://user:hidden@host/p@th", "ws://***@host/p@th"),
            ("ws://a:b@c@host", "ws://***@host"),
            ("ws://host/?q=a@b", "ws://host/?***"),
            ("http://host#hidden", "http://host#***"),
            ("http://u@host/a#b?c", "http://***@host/a#***"),
            ("0; url=/?hidden", "0; url=/?***"),
            ("<https://a/b?hidden>; rel=next", "<https://a/b?***"),
            ("hidden@nowhere", "***@nowhere"),
            ("ws://host/path", "ws://host/path"),
            ("?", "?***"),
            ("", ""),
        ] {
            assert_eq!(shown_url(text), shown);
        }
    }

    #[test]
    fn a_secret_text_is_sent_and_not_shown() {
        let (open, secret) =
            (Guarded::new("Bearer abcd", false), Guarded::new("Bearer abcd", true));
        assert_eq!(
            format!("{open} {open:?} {}", open.sent()),
            "Bearer abcd \"Bearer abcd\" Bearer abcd"
        );
        assert_eq!(format!("{secret} {secret:?} {}", secret.sent()), "*** \"***\" Bearer abcd");
        assert!(secret.is_repeated_in(b"no abcd here") && !open.is_repeated_in(b"no abcd here"));
        assert!(!secret.is_repeated_in(b"no abc d"));
        assert!(!Guarded::new("a", true).is_repeated_in(b"banana"));
    }

    #[test]
    fn values_by_their_names() {
        assert_eq!(shown_value("X-Key", b"hidden", 99), "***");
        assert_eq!(shown_value("Location", b"/a?hidden", 99), "/a?***");
        assert_eq!(shown_value("X", b"a?b\x1b", 99), "a?b\\x1b");
    }
}
