//! Where a redirect leads, and which fields the client may send there (RFC 9110 §15.4).

use super::{HttpError, Request};
use crate::proto::head::Head;
use crate::proto::secret::{SECRET, shown_url};
#[cfg(feature = "net")]
use crate::proto::token::escape;
use crate::proto::token::trim;
use crate::proto::url::{Url, UrlError};

/// A redirect to be followed, with the request for the next connection: of a stream or of a
/// handshake ([`proto::Request`](crate::proto::Request)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect<R = Request> {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The request for the target of the redirect.
    pub request: R,
}

/// Fields that describe a body; they are removed when the body is.
const OF_A_BODY: [&str; 4] =
    ["content-type", "content-encoding", "content-language", "content-location"];

impl Redirect {
    /// The redirect in a response, `None` for any other response. An error after `max` redirects.
    pub(crate) fn of(
        request: &Request,
        head: &Head,
        max: u32,
    ) -> Result<Option<Redirect>, HttpError> {
        let status = head.status;
        let is_repeated = |bytes: &[u8]| request.is_repeated_in(bytes);
        let Some(to) = target(head, &request.url, (request.hops, max), is_repeated)? else {
            return Ok(None);
        };
        let mut next = request.clone();
        next.hops += 1;
        if !request.url.is_same_origin(&to) {
            // A later redirect starts from this request, so it cannot restore the secrets either.
            next.headers.remove_secret();
        }
        next.url = to;
        next.change_method(status);
        if next.is_body_to_come() {
            return Err(HttpError::BodyAgain);
        }
        Ok(Some(Redirect { status, request: next }))
    }
}

#[cfg(feature = "net")]
impl<R> Redirect<R> {
    /// The redirect to `url`, which is the URL of its request, as text for a trace.
    pub(crate) fn shown(&self, url: &Url) -> String {
        format!("{} to {}", self.status, escape(url.to_string().as_bytes(), 500))
    }
}

/// The target of a response to a request for `url`, if it is a redirect that may be followed.
/// Before it, `hops` redirects were followed, of at most `max`. `is_repeated` returns whether bytes
/// repeat a secret of the request.
pub(crate) fn target(
    head: &Head,
    url: &Url,
    (hops, max): (u32, u32),
    is_repeated: impl Fn(&[u8]) -> bool,
) -> Result<Option<Url>, HttpError> {
    if !matches!(head.status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let mut all = head.fields.all("Location").map(trim);
    let Some(location) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        return Err(HttpError::Locations);
    }
    if hops >= max {
        return Err(HttpError::ManyRedirects(max));
    }
    let text = encoded(location);
    // The server may have copied a secret of the request into `Location`.
    let hidden = url.is_secret() || is_repeated(shown_url(&text).as_bytes());
    let to = match url.join(&text) {
        Ok(to) if hidden => to.into_secret(),
        Ok(to) => to,
        Err(_) if hidden => return Err(HttpError::Location(UrlError::Host(SECRET.to_owned()))),
        Err(e) => return Err(HttpError::Location(e)),
    };
    match url.scheme().is_secure() && !to.scheme().is_secure() {
        true => Err(HttpError::Downgrade),
        false => Ok(Some(to)),
    }
}

/// `location` as browsers read one that is not percent-encoded (WHATWG URL §4.4): tabs are removed,
/// and spaces and all bytes outside ASCII are encoded. An invalid host stays invalid.
fn encoded(location: &[u8]) -> String {
    let mut text = String::with_capacity(location.len());
    for &b in location.iter().filter(|&&b| b != b'\t') {
        match b.is_ascii_graphic() {
            true => text.push(b.into()),
            false => text.push_str(&format!("%{b:02X}")),
        }
    }
    text
}

impl Request {
    /// As in browsers, 301 and 302 turn POST into GET. 303 turns all methods but HEAD into GET. 307
    /// and 308 change nothing.
    fn change_method(&mut self, status: u16) {
        let to_get = match status {
            301 | 302 => self.method == "POST",
            303 => self.method != "HEAD" && self.method != "GET",
            _ => false,
        };
        if to_get {
            self.method = "GET".to_owned();
            self.body = None;
            self.headers.remove(&OF_A_BODY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::proto::head::HeadParser;
    use crate::proto::http::Delivery;

    fn request(method: &str, url: &str) -> Request {
        let mut r = Request::new(method, Url::parse_http(url).unwrap()).unwrap();
        r.header("Authorization", "Bearer abc").unwrap().header("cookie", "id=abc").unwrap();
        r.header("X", "y").unwrap().secret_header("X-Key", "abc").unwrap();
        r.header("Content-Type", "text/plain").unwrap();
        if method != "GET" && method != "HEAD" {
            r.body(&b"body"[..]).unwrap();
        }
        r
    }

    fn follow(from: &Request, status: u16, location: &str) -> Result<Option<Redirect>, HttpError> {
        let text = format!("HTTP/1.1 {status} Go\r\nLocation: {location}\r\n\r\n");
        let head = HeadParser::default().feed(text.as_bytes(), &Limits::default());
        Redirect::of(from, &head.unwrap().1.unwrap(), 10)
    }

    fn hop(from: &Request, status: u16, location: &str) -> Request {
        follow(from, status, location).unwrap().unwrap().request
    }

    fn text(request: &Request) -> String {
        let mut out = Vec::new();
        request.write_head(&mut out, Delivery::Raw, false);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_becomes_of_the_method_and_the_body() {
        for (method, status, after, body) in [
            ("GET", 301, "GET", false),
            ("POST", 301, "GET", false),
            ("PUT", 301, "PUT", true),
            ("HEAD", 302, "HEAD", false),
            ("POST", 302, "GET", false),
            ("DELETE", 302, "DELETE", true),
            ("POST", 303, "GET", false),
            ("PUT", 303, "GET", false),
            ("HEAD", 303, "HEAD", false),
            ("POST", 307, "POST", true),
            ("PUT", 308, "PUT", true),
            ("post", 301, "post", true),
        ] {
            let next = hop(&request(method, "http://a/"), status, "/b");
            assert_eq!((next.method(), next.body.is_some()), (after, body), "{method} {status}");
            let typed = text(&next).contains("Content-Type");
            assert_eq!(typed, after == method, "what describes the body goes with it");
        }
    }

    /// `Content-Encoding` stays with a compressed body, and is removed together with it.
    #[cfg(feature = "deflate")]
    #[test]
    fn a_compressed_body_goes_with_its_coding() {
        for (status, goes) in [(301, false), (302, false), (303, false), (307, true), (308, true)] {
            let mut from = request("POST", "http://a/");
            from.body_gzip("body, body, body").unwrap().decode(true);
            let next = text(&hop(&from, status, "http://other/"));
            assert_eq!(next.contains("Content-Encoding: gzip\r\n"), goes, "{status}");
            assert_eq!(next.contains("Content-Length: "), goes, "{status}");
            assert!(next.contains("Accept-Encoding: gzip, deflate\r\n"), "{status}");
        }
    }

    #[test]
    fn a_body_that_comes_in_pieces_goes_nowhere_else() {
        for length in [None, Some(4)] {
            for (method, status, fine) in [
                ("POST", 301, true),
                ("POST", 302, true),
                ("PUT", 303, true),
                ("POST", 307, false),
                ("POST", 308, false),
                ("PUT", 301, false),
                ("DELETE", 302, false),
            ] {
                let mut from = request(method, "http://a/");
                from.body_to_come(length).unwrap();
                match follow(&from, status, "/b") {
                    Ok(Some(to)) if fine => assert_eq!(to.request.body, None),
                    Err(e) if !fine => assert_eq!(e, HttpError::BodyAgain),
                    other => panic!("{method} {status}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn credentials_go_to_the_same_origin_only_and_never_come_back() {
        // FAULTS 44.
        let start = request("GET", "https://a/x");
        let all = text(&start);
        for same in ["/y", "https://a/", "//a:443/z", "?q"] {
            assert_eq!(text(&hop(&start, 302, same)).matches("abc").count(), 3, "{same}");
        }
        for other in
            ["https://b/", "https://a:444/", "https://A/", "https://a./", "//a.evil.example/"]
        {
            let next = hop(&start, 307, other);
            assert!(!text(&next).contains("abc"), "{other}");
            assert!(text(&next).contains("X: y\r\n"));
            // The redirects are a → b → b2 → a.
            let back = hop(&hop(&next, 307, "https://b2/"), 307, "https://a/x");
            assert!(!text(&back).contains("abc"), "{other}: {}", text(&back));
        }
        assert_eq!(all.matches("abc").count(), 3);
        // From http to https, the origin changes too.
        assert!(!text(&hop(&request("GET", "http://a/"), 301, "https://a/")).contains("abc"));
    }

    #[test]
    fn where_a_redirect_may_lead() {
        // FAULTS 45.
        let secure = request("GET", "https://a/x/y");
        assert_eq!(follow(&secure, 302, "http://a/"), Err(HttpError::Downgrade));
        for bad in [
            "ws://a/",
            "ftp://a/",
            "https://u:p@a/",
            "https://a b/",
            "//",
            "javascript:1",
            "https://b\u{fc}cher/",
        ] {
            let got = follow(&secure, 302, bad);
            let why = secure.url.join(&encoded(bad.as_bytes())).unwrap_err();
            assert_eq!(got, Err(HttpError::Location(why)), "{bad}");
        }
        for (status, location, to) in [
            (301, "z", Some("https://a/x/z")),
            (302, "../z?q#f", Some("https://a/z?q")),
            (308, "https://b/", Some("https://b/")),
            // FAULTS 74.
            (
                302,
                "/caf\u{e9}/two words?q=\u{fc}",
                Some("https://a/caf%C3%A9/two%20words?q=%C3%BC"),
            ),
            (302, "/a\tb", Some("https://a/ab")),
            (302, "/100%/%20", Some("https://a/100%/%20")),
            (300, "https://b/", None),
            (304, "https://b/", None),
            (200, "https://b/", None),
        ] {
            let next = follow(&secure, status, location).unwrap();
            assert_eq!(next.as_ref().map(|r| r.request.url.as_str()), to, "{status} {location}");
        }
        let head = |text: &str| {
            HeadParser::default().feed(text.as_bytes(), &Limits::default()).unwrap().1.unwrap()
        };
        let none = head("HTTP/1.1 302 Found\r\n\r\n");
        assert_eq!(Redirect::of(&secure, &none, 10), Ok(None), "without a target it is an answer");
        let two = head("HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\n\r\n");
        assert_eq!(Redirect::of(&secure, &two, 10), Err(HttpError::Locations));
        let raw = head("HTTP/1.1 302 Found\r\nLocation: /a\r\n /b\r\n\r\n");
        let to = Redirect::of(&secure, &raw, 10).unwrap().unwrap().request.url;
        assert_eq!(to.as_str(), "https://a/a%20/b", "folded: a space (RFC 9112 §5.2)");
        let raw = b"HTTP/1.1 302 Found\r\nLocation: /\xE9\r\n\r\n";
        let raw = HeadParser::default().feed(raw, &Limits::default()).unwrap().1.unwrap();
        let to = Redirect::of(&secure, &raw, 10).unwrap().unwrap().request.url;
        assert_eq!(to.as_str(), "https://a/%E9", "in no encoding that is known");
    }

    #[test]
    fn hops_are_counted_at_n_and_n_plus_1() {
        let mut at = request("GET", "http://a/");
        for _ in 0..10 {
            at = hop(&at, 302, "/");
        }
        assert_eq!(follow(&at, 302, "/"), Err(HttpError::ManyRedirects(10)));
    }

    #[cfg(feature = "net")]
    #[test]
    fn a_trace_shows_the_status_and_the_place_without_its_query() {
        for (status, location, want) in [
            (302, "/y?key=abc", "302 to http://a/y?***"),
            (308, "https://b.example/", "308 to https://b.example/"),
        ] {
            let to = follow(&request("GET", "http://a/"), status, location).unwrap().unwrap();
            assert_eq!(to.shown(to.request.url()), want);
        }
        let from = request("GET", "http://a/");
        let long = follow(&from, 301, &format!("/{}", "x".repeat(10_000))).unwrap().unwrap();
        assert!(long.shown(long.request.url()).len() < 600);
    }
}
