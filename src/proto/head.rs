//! Parses response heads (RFC 9112 §4–§5) line by line; each byte is examined once.

use std::fmt;

use super::secret::shown_value;
use super::token::{escape, is_token, is_value_byte, trim};
use crate::limits::Limits;

/// The fields of a response, in their order, repeats kept. `Debug` masks the values of fields that
/// identify somebody, such as `Set-Cookie`, and the queries of URLs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// `Name: value\r\n` each; INVARIANT: a name is a token, a value holds neither CR nor LF.
    raw: Vec<u8>,
}

impl Fields {
    /// All fields as `Name: value\r\n`, with the case and order in which the peer sent them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.raw.split(|&b| b == b'\n').filter_map(|line| line.strip_suffix(b"\r"))
    }

    /// Name and value of each field.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines().filter_map(|line| {
            let colon = line.iter().position(|&b| b == b':')?;
            Some((std::str::from_utf8(&line[..colon]).ok()?, trim(&line[colon + 1..])))
        })
    }

    /// The value of the first field with this name; case is ignored.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of the first field with this name as text; `None` also if it is not UTF-8, which
    /// RFC 9110 §5.5 allows.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// The values of all fields with this name; case is ignored.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let name = name.as_bytes();
        self.lines().filter_map(move |line| {
            let (start, rest) = line.split_at_checked(name.len())?;
            // The first colon ends the name, and `name` contains none.
            let value = rest.strip_prefix(b":")?;
            (start.eq_ignore_ascii_case(name) && !name.contains(&b':')).then(|| trim(value))
        })
    }

    /// Type and subtype of the body in lower case, without parameters (RFC 9110 §8.3): `None`
    /// without a `Content-Type`, and empty if there are several.
    pub(crate) fn media_type(&self) -> Option<Vec<u8>> {
        let mut all = self.all("Content-Type");
        let value = all.next()?;
        let only = if all.next().is_none() { value } else { b"" };
        let end = only.iter().position(|&b| b == b';').unwrap_or(only.len());
        Some(trim(&only[..end]).to_ascii_lowercase())
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        for part in [name, b": ", value, b"\r\n"] {
            self.raw.extend_from_slice(part);
        }
    }

    /// Appends `more`, a continuation line, to the last value after one space (RFC 9112 §5.2).
    fn fold(&mut self, more: &[u8]) {
        self.raw.truncate(self.raw.len().saturating_sub(2));
        for part in [b" ", more, b"\r\n"] {
            self.raw.extend_from_slice(part);
        }
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value)| (name, shown_value(name, value, DEBUG));
        f.debug_map().entries(self.iter().map(shown)).finish()
    }
}

/// `Debug` shows at most this many bytes of a value.
const DEBUG: usize = 400;

/// First capacity for the fields of a head: most heads fit, and so need one allocation.
const FIRST: usize = 256;

/// A response head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// 0 or 1: the `x` of `HTTP/1.x`.
    pub minor: u8,
    /// 100 to 999. RFC 9110 §15 defines no class for 600 and above: treat such a status as 500.
    pub status: u16,
    /// The reason phrase, escaped.
    pub reason: String,
    /// The fields.
    pub fields: Fields,
}

/// Why the received bytes are not a response head.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// The bytes do not begin with `HTTP/1.0` or `HTTP/1.1` (RFC 9112 §2.3); the first of them.
    NotHttp(String),
    /// Behind the version stands no space and status from 100 on, or the status ends otherwise than
    /// at a space or the line end (§4).
    StatusLine(String),
    /// A LF without CR before it, or a CR without LF behind it (§2.2).
    LineEnd,
    /// A control character (RFC 9110 §5.5).
    Control(u8),
    /// A field line without a colon, with a name that is no token, or with space around it (§5.1).
    Field(String),
    /// A line longer than `Limits::line`.
    LongLine,
    /// A head longer than `Limits::head`.
    LongHead,
    /// More fields than `Limits::fields`.
    ManyFields,
}

impl HeadError {
    /// The peer's bytes in this error, if it contains some: the caller masks them if they repeat a
    /// secret.
    pub(crate) fn text(&mut self) -> Option<&mut String> {
        match self {
            HeadError::NotHttp(text) | HeadError::StatusLine(text) | HeadError::Field(text) => {
                Some(text)
            }
            _ => None,
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeadError::NotHttp(start) => {
                write!(f, "the answer is not HTTP/1.1: it starts with \"{start}\"")
            }
            HeadError::StatusLine(line) => write!(f, "malformed status line \"{line}\""),
            HeadError::LineEnd => f.write_str("a line of the response head does not end in CR LF"),
            HeadError::Control(b) => {
                write!(f, "control character 0x{b:02x} in the response head")
            }
            HeadError::Field(line) => write!(f, "malformed header line \"{line}\""),
            HeadError::LongLine => f.write_str("a line of the response head is too long"),
            HeadError::LongHead => f.write_str("the response head is too long"),
            HeadError::ManyFields => f.write_str("the response head has too many fields"),
        }
    }
}

impl std::error::Error for HeadError {}

/// Parses one head.
#[derive(Default)]
pub(crate) struct HeadParser {
    /// `Some` once the status line was parsed.
    head: Option<Head>,
    fields: usize,
    /// How many bytes were taken.
    total: usize,
    /// How many bytes of the next line were already searched.
    seen: usize,
}

/// The fields may repeat a secret of the request: `Debug` shows no field.
impl fmt::Debug for HeadParser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeadParser({} bytes, status {:?})", self.total, self.status())
    }
}

/// An error shows at most this many of the peer's bytes.
const SHOWN: usize = 60;

impl HeadParser {
    /// A parser for the trailer section of a chunked body (RFC 9112 §7.1.2), which has only fields.
    pub(crate) fn of_trailers() -> HeadParser {
        let head = Head { minor: 1, status: 200, reason: String::new(), fields: Fields::default() };
        HeadParser { head: Some(head), ..HeadParser::default() }
    }

    /// The status, once the status line was received.
    pub(crate) fn status(&self) -> Option<u16> {
        self.head.as_ref().map(|head| head.status)
    }

    /// Takes complete lines from `input`; returns how many bytes they have and, after the empty
    /// line, the head. The caller passes the rest again, with the next bytes behind it.
    pub(crate) fn feed(
        &mut self,
        input: &[u8],
        limits: &Limits,
    ) -> Result<(usize, Option<Head>), HeadError> {
        let mut used = 0;
        while let Some(len) = self.line(&input[used..], limits)? {
            let line = &input[used..used + len];
            used += len + 2;
            self.total += len + 2;
            self.seen = 0;
            match &mut self.head {
                None => self.head = Some(status_line(line)?),
                Some(_) if line.is_empty() => {
                    return Ok((used, std::mem::take(self).head));
                }
                Some(head) => {
                    self.fields += 1;
                    if self.fields > limits.fields {
                        return Err(HeadError::ManyFields);
                    }
                    field(&mut head.fields, line)?;
                }
            }
        }
        Ok((used, None))
    }

    /// The length of the line at the start of `input` without its CR LF, if its CR LF has arrived.
    fn line(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, HeadError> {
        if self.head.is_none() {
            // A limit smaller than this prefix is checked first, however the bytes are cut.
            let most = limits.line.min(limits.head);
            status_prefix(&input[..input.len().min(most)])?;
        }
        let fresh = input.get(self.seen..).unwrap_or_default();
        let plain = fresh.iter().position(|&b| !is_value_byte(b)).unwrap_or(fresh.len());
        self.seen += plain;
        let most = limits.line.min(limits.head.saturating_sub(self.total));
        if self.seen > most {
            let long = if most == limits.line { HeadError::LongLine } else { HeadError::LongHead };
            return Err(long);
        }
        match &fresh[plain..] {
            [] | [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] => Ok(Some(self.seen)),
            [b'\r' | b'\n', ..] => Err(HeadError::LineEnd),
            [b, ..] => Err(HeadError::Control(*b)),
        }
    }
}

/// Refuses bytes that cannot become `HTTP/1.0` or `HTTP/1.1`, at the first wrong byte.
fn status_prefix(input: &[u8]) -> Result<(), HeadError> {
    let want = b"HTTP/1.";
    let n = input.len().min(want.len());
    let minor = input.get(want.len());
    if input[..n] != want[..n] || minor.is_some_and(|m| !matches!(m, b'0' | b'1')) {
        return Err(HeadError::NotHttp(escape(input, SHOWN)));
    }
    Ok(())
}

/// status-line = HTTP-version SP status-code SP [ reason-phrase ] (RFC 9112 §4). The second space
/// may be missing: §4 lets a client accept that.
fn status_line(line: &[u8]) -> Result<Head, HeadError> {
    let bad = || HeadError::StatusLine(escape(line, SHOWN));
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor, b' ', a, b, c, rest @ ..] = line else {
        return Err(bad());
    };
    let digits = [*a, *b, *c];
    if !digits.iter().all(u8::is_ascii_digit) || *a == b'0' {
        return Err(bad());
    }
    let status = digits.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0'));
    let reason = match rest {
        [] => &[][..],
        [b' ', reason @ ..] => reason,
        _ => return Err(bad()),
    };
    let (reason, fields) = (escape(reason, SHOWN), Fields { raw: Vec::with_capacity(FIRST) });
    Ok(Head { minor: minor - b'0', status, reason, fields })
}

/// field-line = field-name ":" OWS field-value OWS, or a continuation of the field before it.
fn field(fields: &mut Fields, line: &[u8]) -> Result<(), HeadError> {
    let bad = || HeadError::Field(escape(line, SHOWN));
    if let [b' ' | b'\t', ..] = line {
        if fields.raw.is_empty() {
            return Err(bad());
        }
        fields.fold(trim(line));
        return Ok(());
    }
    let colon = line.iter().position(|&b| b == b':').ok_or_else(bad)?;
    let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
    if !is_token(name) {
        return Err(bad());
    }
    fields.push(name, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<Option<(usize, Head)>, HeadError>;

    /// Feeds `bytes` as a driver would: `step` at a time, and again the bytes that were not taken.
    fn feed(bytes: &[u8], step: usize, limits: &Limits) -> Outcome {
        let (mut parser, mut at, mut end) = (HeadParser::default(), 0, 0);
        while end < bytes.len() {
            end = (end + step).min(bytes.len());
            let (used, head) = parser.feed(&bytes[at..end], limits).map_err(|e| match e {
                // The error shows the bytes up to the end of the input, so their number depends on
                // `step`.
                HeadError::NotHttp(_) => HeadError::NotHttp(String::new()),
                e => e,
            })?;
            at += used;
            if let Some(head) = head {
                return Ok(Some((at, head)));
            }
        }
        Ok(None)
    }

    /// Whole, byte by byte and with trailing bytes, the result is the same.
    fn check(bytes: &[u8]) -> Outcome {
        let limits = Limits::default();
        let whole = feed(bytes, bytes.len().max(1), &limits);
        assert_eq!(feed(bytes, 1, &limits), whole, "byte by byte");
        if let Ok(Some((len, _))) = &whole {
            let longer = [bytes, b"trailing"].concat();
            assert_eq!(feed(&longer, longer.len(), &limits), whole);
            for cut in 0..*len {
                assert_eq!(feed(&bytes[..cut], cut.max(1), &limits), Ok(None), "prefix {cut}");
            }
        }
        whole
    }

    fn head(bytes: &[u8]) -> Head {
        let (len, head) = check(bytes).expect("good").expect("whole");
        assert_eq!(len, bytes.len());
        head
    }

    #[test]
    fn fields_keep_case_order_and_repeats() {
        let head = head(b"HTTP/1.1 101 Go\r\nA:1\r\nb:  two\t\r\nA: \r\nX: \xE9\r\n\r\n");
        assert_eq!((head.minor, head.status, head.reason.as_str()), (1, 101, "Go"));
        assert_eq!(head.fields.as_bytes(), b"A: 1\r\nb: two\r\nA: \r\nX: \xE9\r\n");
        assert_eq!(head.fields.all("a").collect::<Vec<_>>(), [&b"1"[..], b""]);
        assert_eq!(head.fields.all("B").next(), Some(&b"two"[..]));
        assert_eq!(head.fields.all("").next(), None);
        assert_eq!(head.fields.get("A"), Some(&b"1"[..]), "the first");
        assert_eq!((head.fields.get_str("b"), head.fields.get_str("")), (Some("two"), None));
    }

    /// Takes a line byte by byte, and checks each limit at each byte.
    fn naive_line(input: &[u8], total: usize, limits: &Limits) -> Result<Option<usize>, HeadError> {
        for (i, &b) in input.iter().enumerate() {
            match (b, input.get(i + 1)) {
                (b'\r', None) => return Ok(None),
                (b'\r', Some(b'\n')) => return Ok(Some(i)),
                (b'\r' | b'\n', _) => return Err(HeadError::LineEnd),
                _ if !is_value_byte(b) => return Err(HeadError::Control(b)),
                _ if i >= limits.line => return Err(HeadError::LongLine),
                _ if total + i >= limits.head => return Err(HeadError::LongHead),
                _ => {}
            }
        }
        Ok(None)
    }

    #[test]
    fn a_line_ends_where_a_look_at_each_byte_says() {
        let inputs: [&[u8]; 9] =
            [b"", b"\r", b"\r\n", b"abcdef", b"abc\r", b"abc\r\nd", b"ab\rc", b"a\nb", b"ab\0c"];
        for (input, n) in inputs.iter().flat_map(|input| (0..6 * 9 * 9).map(move |n| (*input, n))) {
            let (line, head, total) = (n / 81, n / 9 % 9, n % 9);
            let limits = Limits { line, head, ..Limits::default() };
            for step in [1, 2, 9] {
                let mut parser = HeadParser { total, ..HeadParser::of_trailers() };
                let mut got = Ok(None);
                for end in (step..input.len() + step).step_by(step) {
                    let there = &input[..end.min(input.len())];
                    got = parser.line(there, &limits);
                    assert_eq!(got, naive_line(there, total, &limits), "{input:?} {limits:?}");
                    if got != Ok(None) {
                        break;
                    }
                }
                assert_eq!(got, naive_line(input, total, &limits), "{input:?}");
            }
        }
    }

    #[test]
    fn status_lines() {
        for (line, want) in [
            ("HTTP/1.1 200 OK", Some((1, 200, "OK"))),
            ("HTTP/1.0 404 Not Found", Some((0, 404, "Not Found"))),
            ("HTTP/1.1 200 ", Some((1, 200, ""))),
            ("HTTP/1.1 200", Some((1, 200, ""))),
            ("HTTP/1.1 200OK", None),
            ("HTTP/1.1  200 OK", None),
            ("HTTP/1.1 20 OK", None),
            ("HTTP/1.1 099 Low", None),
            // Any three digits from 100 on are accepted as a status.
            ("HTTP/1.1 600 High", Some((1, 600, "High"))),
            ("HTTP/1.1 999 Request denied", Some((1, 999, "Request denied"))),
            ("HTTP/1.1 1000 High", None),
            ("HTTP/1.1 2x0 OK", None),
            ("HTTP/1.1 +20 OK", None),
            ("http/1.1 200 OK", None),
            ("HTTP/2.0 200 OK", None),
            ("HTTP/1.2 200 OK", None),
            ("ICY 200 OK", None),
            ("RTSP/1.0 200 OK", None),
            ("", None),
        ] {
            let got = check(format!("{line}\r\n\r\n").as_bytes());
            match (got, want) {
                (Ok(Some((_, h))), Some(w)) => {
                    assert_eq!((h.minor, h.status, h.reason.as_str()), w, "{line}");
                }
                (Err(_), None) => {}
                (got, _) => panic!("{line}: {got:?}"),
            }
        }
    }

    #[test]
    fn malformed_fields_are_refused() {
        // FAULTS 38.
        for (bytes, want) in [
            (&b"A : 1\r\n"[..], HeadError::Field("A : 1".into())),
            (b": 1\r\n", HeadError::Field(": 1".into())),
            (b"no colon\r\n", HeadError::Field("no colon".into())),
            (b" folded first\r\n", HeadError::Field(" folded first".into())),
            (b"A: 1\n", HeadError::LineEnd),
            (b"A: 1\rB: 2\r\n", HeadError::LineEnd),
            (b"A: \0\r\n", HeadError::Control(0)),
            (b"A: \x1b[2J\r\n", HeadError::Control(0x1b)),
            (b"\r\rX", HeadError::LineEnd),
        ] {
            let bytes = [b"HTTP/1.1 101 Go\r\n", bytes, b"\r\n"].concat();
            assert_eq!(check(&bytes), Err(want));
        }
    }

    #[test]
    fn a_folded_value_is_joined_by_one_space() {
        let head = head(b"HTTP/1.1 101 Go\r\nA: 1 \r\n  2\r\n\t3\r\nB: x\r\n\r\n");
        assert_eq!(head.fields.as_bytes(), b"A: 1 2 3\r\nB: x\r\n");
    }

    #[test]
    fn what_is_not_http_is_refused_at_its_first_byte() {
        for (bytes, at) in [(&b"SSH-2.0-x"[..], 1), (b"HTTX", 4), (b"HTTP/2", 6)] {
            let limits = Limits::default();
            assert_eq!(feed(&bytes[..at - 1], 1, &limits), Ok(None));
            assert!(matches!(feed(&bytes[..at], 1, &limits), Err(HeadError::NotHttp(_))));
        }
    }

    #[test]
    fn limits_hold_at_n_and_break_at_n_plus_1() {
        let start = "HTTP/1.1 101 Go\r\n";
        let make = |n: usize| format!("{start}A: {}\r\n\r\n", "x".repeat(n)).into_bytes();
        let limits = Limits { line: 100, ..Default::default() };
        assert!(feed(&make(97), 1, &limits).is_ok_and(|h| h.is_some()));
        assert_eq!(feed(&make(98), 1, &limits), Err(HeadError::LongLine));

        let limits = Limits { head: 100, ..Default::default() };
        let fit = 100 - start.len() - 3;
        assert!(feed(&make(fit), 1, &limits).is_ok_and(|h| h.is_some()));
        assert_eq!(feed(&make(fit + 1), 1, &limits), Err(HeadError::LongHead));

        let limits = Limits { fields: 3, ..Default::default() };
        let make = |n: usize| format!("{start}{}\r\n", "A: 1\r\n".repeat(n)).into_bytes();
        assert!(feed(&make(3), 1, &limits).is_ok_and(|h| h.is_some()));
        assert_eq!(feed(&make(4), 1, &limits), Err(HeadError::ManyFields));
    }

    /// FAULTS 1: no byte is searched twice. Quadratic work would take hours.
    #[test]
    fn a_mebibyte_in_one_byte_reads_costs_a_step_for_each_byte() {
        let all = usize::MAX;
        let limits = Limits { line: all, head: all, fields: all, ..Default::default() };
        for fields in [
            format!("A: {}\r\n", "x".repeat(1 << 20)),
            "A: b\r\n".repeat(1 << 18),
            format!("A: b\r\n{}", " c\r\n".repeat(1 << 18)),
        ] {
            let bytes = format!("HTTP/1.1 101 Go\r\n{fields}\r\n").into_bytes();
            assert!(feed(&bytes, 1, &limits).is_ok_and(|head| head.is_some()));
        }
    }

    /// FAULTS 27 and 28: fields are a list, not a map, and no name is treated specially.
    #[test]
    fn names_that_are_special_elsewhere_are_names() {
        let names = ["__proto__", "constructor", "toString", "hasOwnProperty", "__index"];
        let lines: String = names.iter().map(|name| format!("{name}: {name}\r\n")).collect();
        let head = head(format!("HTTP/1.1 101 Go\r\n{lines}\r\n").as_bytes());
        for name in names {
            assert_eq!(head.fields.all(name).collect::<Vec<_>>(), [name.as_bytes()]);
        }
        assert_eq!(head.fields.all("valueOf").next(), None);
    }

    #[test]
    fn an_endless_head_in_one_byte_reads_ends_at_the_limit() {
        let endless = [&b"HTTP/1.1 101 Go\r\n"[..], &b"A: b\r\n".repeat(200_000)].concat();
        let limits = Limits { fields: usize::MAX, ..Default::default() };
        assert_eq!(feed(&endless, 1, &limits), Err(HeadError::LongHead));
    }

    #[test]
    fn each_error_says_what_is_wrong_with_the_head() {
        for (error, text) in [
            (
                HeadError::NotHttp("SSH-2.0".into()),
                "the answer is not HTTP/1.1: it starts with \"SSH-2.0\"",
            ),
            (HeadError::StatusLine("HTTP/1.1 2".into()), "malformed status line \"HTTP/1.1 2\""),
            (HeadError::LineEnd, "a line of the response head does not end in CR LF"),
            (HeadError::Control(7), "control character 0x07 in the response head"),
            (HeadError::Field("a b: c".into()), "malformed header line \"a b: c\""),
            (HeadError::LongLine, "a line of the response head is too long"),
            (HeadError::LongHead, "the response head is too long"),
            (HeadError::ManyFields, "the response head has too many fields"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
