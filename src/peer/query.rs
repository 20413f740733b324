//! The query of a target, and the numbers and URLs in it.

use std::time::Duration;

use super::refusal::Refusal;
use crate::proto::percent_decoded;

/// The longest pause between two pieces, a day: far from where a clock overflows.
const PAUSE_MAX: u64 = 24 * 60 * 60 * 1000;

/// The part of a target behind the question mark: `name=value`, joined by `&`.
pub(super) struct Query<'a>(pub(super) &'a [u8]);

impl<'a> Query<'a> {
    /// The first value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&'a [u8]> {
        let mut pairs = self.0.split(|&b| b == b'&');
        pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        self.get(name).map(|text| number(text).ok_or(Refusal::Bad)).transpose()
    }

    /// The pause between two pieces in milliseconds.
    pub(super) fn pause(&self, default: u64) -> Result<Duration, Refusal> {
        match self.number("ms")?.unwrap_or(default) {
            ms @ 0..=PAUSE_MAX => Ok(Duration::from_millis(ms)),
            _ => Err(Refusal::Bad),
        }
    }

    /// The query again, for the next target. The bytes of a target are ASCII.
    pub(super) fn again(&self) -> String {
        match self.0 {
            b"" => String::new(),
            query => format!("?{}", String::from_utf8_lossy(query)),
        }
    }
}

/// A number of digits only; one that is too large for 64 bits becomes the largest number.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |n: u64, digit: &u8| n.saturating_mul(10).saturating_add((digit - b'0').into());
    Some(text.iter().fold(0, add))
}

/// Removes percent-encoding (RFC 3986 §2.1). The result may stand in a field: `None` if it is empty
/// or has a character that is not visible ASCII.
pub(super) fn decode(text: &[u8]) -> Option<String> {
    let plain = percent_decoded(std::str::from_utf8(text).ok()?)?;
    let is_visible = !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_graphic());
    is_visible.then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_and_nothing_else() {
        assert_eq!([number(b"0"), number(b"007")], [Some(0), Some(7)]);
        assert_eq!(number(b"18446744073709551616"), Some(u64::MAX));
        for text in ["", "+1", "-1", " 1", "1 ", "0x1", "1e3", "\u{661}"] {
            assert_eq!(number(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn the_query_gives_the_first_value_of_exactly_that_name() {
        let query = Query(b"nn=1&n=2&n=3&empty=&bare");
        assert_eq!(query.get("n"), Some(&b"2"[..]));
        assert_eq!(query.get("empty"), Some(&b""[..]));
        assert_eq!([query.get("bare"), query.get("mpty"), query.get("x")], [None; 3]);
    }

    #[test]
    fn only_visible_ascii_reaches_the_location_field() {
        assert_eq!(decode(b"http%3A%2f%2Fa/b+c"), Some("http://a/b+c".into()));
        for text in ["", "%", "%4", "%zz", "%+1", "a%0D%0AX: y", "a%20b", "%C3%A4", "a%00"] {
            assert_eq!(decode(text.as_bytes()), None, "{text:?}");
        }
    }
}
