//! Why a request is refused, and the response that states the reason.

use super::http;

/// The list in the bodies of 404 and 426: the routes of `Route::of`, and the WebSocket. It stands
/// here and not in `route.rs`, which imports this file.
const ROUTES: &str = "\
What is here:
  /                     a WebSocket that echoes, and so is every other path
  /drop/N               the same, cut without a close frame after N messages
  /sse                  an event stream: n=10 events (0: endless), one every ms=100
                        (0: as fast as they are read), from=1, retry=MS, comment=1, chunked=1
  /stream               the request's body, a word at a time: ms=20
  /chunked              n=3 chunks with extensions, and a trailer section
  /status/NNN           that status, 200 to 599
  /redirect/N           N redirects: status=302, to=URL for the last one
  /echo                 the request itself
";

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request is not valid HTTP/1.1, the handshake lacks a field, or a number is invalid.
    Bad,
    /// There is no route with this path.
    NotFound,
    /// The method is not one of these.
    Method(&'static str),
    /// HTTP on the path of the WebSocket, or another version of the protocol than 13.
    Upgrade,
    /// The length of the body is not known before its end.
    NoLength,
    /// The body is too long.
    TooLarge,
}

impl Refusal {
    /// Appends the response; without its body for HEAD.
    pub(super) fn write(self, out: &mut Vec<u8>, bodyless: bool) {
        let (status, field, text) = match self {
            Refusal::Bad => (400, String::new(), "This request is not supported here."),
            Refusal::NotFound => (404, String::new(), "Nothing has this path."),
            Refusal::Method(methods) => {
                (405, format!("Allow: {methods}\r\n"), "This method is not for this path.")
            }
            Refusal::Upgrade => {
                (426, String::new(), "This is a WebSocket echo server, version 13.")
            }
            Refusal::NoLength => (411, String::new(), "A body needs a Content-Length here."),
            Refusal::TooLarge => (413, String::new(), "A body has at most 1 MiB here."),
        };
        let routes = match self {
            Refusal::NotFound | Refusal::Upgrade => ROUTES,
            _ => "",
        };
        let text = format!("{text}\n{routes}");
        http::answer(out, status, &field, text.as_bytes(), bodyless);
    }
}
