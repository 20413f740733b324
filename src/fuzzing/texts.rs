//! URLs and UTF-8.

use std::str;

use super::input::{Cut, Input};
use crate::proto::utf8::Utf8;
use crate::proto::{Host, Scheme, Url, UrlError};

/// [`Url::parse`] and [`Url::parse_http`]: an accepted URL means the same when it is parsed again,
/// and no part of it can leave its place in a request head.
pub fn url(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (ws, http) = (Url::parse(text), Url::parse_http(text));
    assert!(ws.is_err() || http.is_err(), "both ws and http: {text:?}");
    for result in [&ws, &http] {
        match result {
            Ok(url) => {
                assert_eq!(url.as_str(), text);
                accepted(url);
            }
            Err(e) => {
                let shown = e.to_string();
                assert!(!shown.chars().any(char::is_control), "{shown:?}");
            }
        }
    }
    // The two schemes differ only in their name and the fragment.
    if let Ok(url) = &ws {
        let text = format!("http{}", &text[2..]);
        let http = Url::parse_http(&text).expect("as http");
        assert_eq!((http.host(), http.port()), (url.host(), url.port()), "{text:?}");
        assert_eq!(
            (http.target(), http.host_field()),
            (url.target(), url.host_field()),
            "{text:?}"
        );
    }
}

/// The laws of a URL that was accepted.
pub(super) fn accepted(url: &Url) {
    let text = url.as_str();
    assert!(text.bytes().all(|b| b.is_ascii_graphic()), "{text:?}");
    let target = url.target();
    assert!(target.starts_with('/'), "{target:?}");
    let outside = |b: u8| !b.is_ascii_graphic() || b"\"<>\\^`{|}#".contains(&b);
    assert!(!target.bytes().any(outside), "{target:?}");
    assert_ne!(url.port(), 0);
    match url.host() {
        Host::Name(name) => {
            assert!((1..=253).contains(&name.len()) && !name.ends_with('.'), "{name:?}");
            let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
            assert!(name.bytes().all(fine), "{name:?}");
            assert!(name.split('.').all(|l| (1..=63).contains(&l.len())), "{name:?}");
            // A host that `inet_aton` reads must have been parsed as an address.
            let last = name.rsplit('.').next().unwrap_or_default();
            let digits = last.strip_prefix("0x").unwrap_or(last);
            assert!(last == digits || !digits.bytes().all(|b| b.is_ascii_hexdigit()), "{name:?}");
            assert!(!last.bytes().all(|b| b.is_ascii_digit()), "{name:?}");
        }
        Host::Address(_) => {}
        Host::Unix(path) => assert!(path.starts_with('/') && !path.contains('\0'), "{path:?}"),
    }
    let scheme = url.scheme().as_str();
    let again = match url.host() {
        Host::Unix(path) => format!("{scheme}+unix:{}:{target}", percent_encoded(path)),
        _ => format!("{scheme}://{}{target}", url.host_field()),
    };
    let websocket = matches!(url.scheme(), Scheme::Ws | Scheme::Wss);
    let parsed = if websocket { Url::parse(&again) } else { Url::parse_http(&again) };
    let parsed = parsed.unwrap_or_else(|e| panic!("{again:?} out of {text:?}: {e}"));
    assert_eq!((parsed.host(), parsed.port()), (url.host(), url.port()), "{text:?}");
    assert_eq!((parsed.target(), parsed.scheme()), (target, url.scheme()), "{text:?}");
    assert!(url.is_same_origin(url));
}

fn percent_encoded(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'/';
    let one = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    path.bytes().map(one).collect()
}

/// [`Url::join`]: a base, LF, a reference. The result is a URL that parses to itself, of http or
/// https, without user information, fragment or control characters; a relative reference stays on
/// the base's host and leads where RFC 3986 §5.2 demands.
pub fn join(data: &[u8]) {
    let mut input = Input(data);
    let (Ok(base), Ok(reference)) = (str::from_utf8(input.line()), str::from_utf8(input.0)) else {
        return;
    };
    let Ok(base) = Url::parse_http(base) else { return };
    let joined = match base.join(reference) {
        Ok(url) => url,
        Err(e) => return refused(&base, reference, &e),
    };
    let shown = || format!("{:?} out of {base:?} and {reference:?}", joined.as_str());
    accepted(&joined);
    assert_eq!(Url::parse_http(joined.as_str()).as_ref(), Ok(&joined), "{}", shown());
    assert!(matches!(joined.scheme(), Scheme::Http | Scheme::Https));
    assert!(!joined.as_str().contains('#'), "{}", shown());
    assert_eq!(joined.is_socket(), base.is_socket(), "{}", shown());
    if joined.is_socket() {
        assert_eq!(joined.host(), base.host(), "{}", shown());
        assert_eq!(joined.join(joined.as_str()), Err(UrlError::Crossing), "{}", shown());
    } else {
        let (_, rest) = joined.as_str().split_once("://").expect("a scheme");
        assert!(!rest.split(['/', '?']).next().unwrap_or_default().contains('@'), "{}", shown());
        assert_eq!(joined.join(joined.as_str()).as_ref(), Ok(&joined), "{}", shown());
    }
    let same = joined.join("").expect("nothing is a reference");
    assert_eq!((same.target(), same.host()), (joined.target(), joined.host()), "{}", shown());
    if !is_relative(reference) {
        return;
    }
    assert!(base.is_same_origin(&joined), "{}", shown());
    assert_eq!(joined.host_field(), base.host_field());
    let want = resolved(base.target(), reference.split('#').next().unwrap_or_default());
    let want = Url::parse_http(&format!("http://a{want}")).expect("a path");
    assert_eq!(joined.target(), want.target(), "{}", shown());
}

/// A reference within the base's host is refused for its characters only.
fn refused(base: &Url, reference: &str, error: &UrlError) {
    if is_relative(reference) {
        let fine = reference.split('#').next().unwrap_or_default();
        let fine = fine.bytes().all(|b| b.is_ascii_graphic());
        assert!(!fine && matches!(error, UrlError::Character(_)), "{base:?} {reference:?} {error}");
    }
}

/// Whether the reference has neither a scheme nor an authority (RFC 3986 §4.2).
fn is_relative(reference: &str) -> bool {
    let first = reference.split(['/', '?', '#']).next().unwrap_or_default();
    // A colon in the first segment without a scheme before it is not in the grammar; here it is
    // part of a path.
    let scheme = first.split_once(':').is_some_and(|(name, _)| {
        let fine = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(fine)
    });
    !scheme && !reference.starts_with("//")
}

/// RFC 3986 §5.2.2 to §5.2.4 as they are written, for a reference without scheme and authority.
fn resolved(base: &str, reference: &str) -> String {
    let query = |text: &str| text.split_once('?').map(|(p, q)| (p.to_owned(), format!("?{q}")));
    let split = |text: &str| query(text).unwrap_or((text.to_owned(), String::new()));
    let ((base_path, base_query), (path, query)) = (split(base), split(reference));
    if path.is_empty() {
        let query = if reference.contains('?') { query } else { base_query };
        return base_path + &query;
    }
    if path.starts_with('/') {
        return remove_dot_segments(&path) + &query;
    }
    let folder = &base_path[..=base_path.rfind('/').expect("a target starts with a slash")];
    remove_dot_segments(&format!("{folder}{path}")) + &query
}

/// RFC 3986 §5.2.4, A to E. The path is absolute, so that step A and the end of D cannot apply.
fn remove_dot_segments(path: &str) -> String {
    let (mut input, mut output) = (path.to_owned(), String::new());
    while !input.is_empty() {
        if let Some(rest) = input.strip_prefix("/./") {
            input = format!("/{rest}");
        } else if input == "/." {
            input = "/".to_owned();
        } else if input.starts_with("/../") || input == "/.." {
            input = format!("/{}", input.get(4..).unwrap_or_default());
            output.truncate(output.rfind('/').unwrap_or(0));
        } else {
            let end = input[1..].find('/').map_or(input.len(), |n| n + 1);
            output.extend(input.drain(..end));
        }
    }
    output
}

/// The incremental check of UTF-8, compared with `std`: for any cut the result is the same, and an
/// error comes at the first byte that no text can have there.
pub fn utf8(data: &[u8]) {
    let whole = str::from_utf8(data);
    let broken_at = whole.err().filter(|e| e.error_len().is_some()).map(|e| {
        let from = e.valid_up_to();
        let broken =
            |&end: &usize| str::from_utf8(&data[from..end]).is_err_and(|e| e.error_len().is_some());
        (from + 1..data.len()).find(broken).unwrap_or(data.len())
    });
    for cut in Cut::ALL {
        let (mut utf8, mut at, mut failed) = (Utf8::default(), 0, false);
        for piece in cut.pieces(data) {
            failed = utf8.feed(piece).is_err();
            at += piece.len();
            assert_eq!(failed, broken_at.is_some_and(|n| n <= at), "{cut:?}, {at} of {data:x?}");
            if failed {
                break;
            }
        }
        if !failed {
            assert_eq!(utf8.finish().is_ok(), whole.is_ok(), "{cut:?}, end of {data:x?}");
        }
    }
}
