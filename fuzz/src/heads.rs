//! Response heads, read by httparse.

use httparse::{EMPTY_HEADER, ParserConfig, Response, Status};
use moonwire::fuzzing::read_head;
use moonwire::proto::{Head, HeadError};

/// A difference that there may be, and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// RFC 9112 §2.2 lets a recipient ignore empty lines before a start line and take a lone LF for
    /// a line end. httparse does both, we neither.
    Lines,
    /// §4: the status has three digits from 100 to 599 (RFC 9110 §15); httparse takes 000 to 999.
    Status,
    /// §5.2: a folded line before the first field, which is none. httparse skips the space, or has
    /// no field and says so.
    FoldFirst,
    /// RFC 9112 §5.2: what a folded value is. We trim each part and join them by one space; httparse
    /// gives them as they stand.
    FoldedValue,
    /// A head that is not whole: each of us says "malformed" at another byte. Ended there, it is
    /// malformed for both.
    Early,
    /// Our bounds; httparse has one on the number of fields only, which here is large.
    Bounds,
}

/// The same bytes to both: what we take, httparse takes and understands the same; what we refuse
/// it refuses too, but for the differences that are known.
pub fn diff_head(data: &[u8]) {
    let (used, ours) = read_head(data);
    let mut fields = [EMPTY_HEADER; 130];
    let mut response = Response::new(&mut fields);
    let theirs = parse(&mut response, data);
    let shown = || format!("{ours:?}\n{theirs:?}\n\"{}\"", data.escape_ascii());
    match (&ours, &theirs) {
        (None, Ok(Status::Partial)) | (Some(Err(_)), Err(_)) => {}
        (Some(Ok(head)), Ok(Status::Complete(n))) => {
            assert_eq!(*n, used, "{}", shown());
            same(head, &response);
        }
        _ => match known(data, ours.as_ref(), theirs) {
            Some(_) => {}
            None => panic!("unknown difference: {}", shown()),
        },
    }
}

/// Folded lines are off by default, since servers use it too.
fn parse<'b>(response: &mut Response<'_, 'b>, data: &'b [u8]) -> httparse::Result<usize> {
    let mut config = ParserConfig::default();
    config.allow_obsolete_multiline_headers_in_responses(true);
    config.parse_response(response, data)
}

/// The end of a head.
const END: &[u8] = b"\r\n\r\n";

fn is_refused(data: &[u8]) -> bool {
    let mut fields = [EMPTY_HEADER; 130];
    parse(&mut Response::new(&mut fields), data).is_err()
}

/// Both took it.
fn same(head: &Head, response: &Response<'_, '_>) {
    assert_eq!(Some(head.minor), response.version);
    assert_eq!(Some(head.status), response.code);
    let ours: Vec<_> = head.fields.iter().collect();
    assert_eq!(ours.len(), response.headers.len());
    for ((name, value), other) in ours.into_iter().zip(response.headers.iter()) {
        assert_eq!(name, other.name);
        if value != other.value {
            assert_eq!(value_differs(value, other.value), Some(Known::FoldedValue), "{name}");
        }
    }
}

fn value_differs(ours: &[u8], theirs: &[u8]) -> Option<Known> {
    let folded = theirs.windows(2).any(|w| w == b"\r\n");
    (folded && normal(ours) == normal(theirs)).then_some(Known::FoldedValue)
}

/// Without line ends, and runs of blanks as one space.
fn normal(value: &[u8]) -> Vec<u8> {
    let blank = |b: &u8| b" \t\r\n".contains(b);
    let words = value.split(blank).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(&b' ')
}

fn known(
    data: &[u8],
    ours: Option<&Result<Head, HeadError>>,
    theirs: httparse::Result<usize>,
) -> Option<Known> {
    let accepted = matches!(theirs, Ok(Status::Complete(_)));
    let more = matches!(theirs, Ok(Status::Partial));
    match ours {
        Some(Err(HeadError::NotHttp(_))) if data.starts_with(b"\n") || data.starts_with(b"\r") => {
            Some(Known::Lines)
        }
        Some(Err(HeadError::LineEnd)) if accepted || more => Some(Known::Lines),
        Some(Err(HeadError::StatusLine(_))) if accepted || more => {
            let status = data.get(9).is_some_and(|b| matches!(b, b'0' | b'6'..=b'9'));
            status.then_some(Known::Status)
        }
        Some(Err(HeadError::Field(_))) if accepted || more => {
            let line =
                data.windows(2).position(|w| w == b"\r\n").map_or(data, |at| &data[at + 2..]);
            matches!(line, [b' ' | b'\t', ..]).then_some(Known::FoldFirst)
        }
        Some(Err(HeadError::LongLine | HeadError::LongHead | HeadError::ManyFields)) => {
            Some(Known::Bounds)
        }
        Some(Err(_)) if more => is_refused(&[data, END].concat()).then_some(Known::Early),
        None if theirs.is_err() => {
            let ended = read_head(&[data, END].concat()).1;
            ended.is_some_and(|head| head.is_err()).then_some(Known::Early)
        }
        _ => None,
    }
}
