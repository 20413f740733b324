//! HTTP calls: `RequestAsync`, `GetAsync`, `PostAsync`.

use std::time::Duration;

use moonwire::luau::{Options, Progress};

use super::common::{Peer, Scripted, field, listen, serve_either};
use super::streams::{finish, refused_http, response, runtime, url_for, with};
use super::support::*;

/// Prints the result of a request, with its body if that is short.
const ASK: &str = r#"
    local url, method, body = ...
    local http = game:GetService("HttpService")
    local ok, answer = pcall(http.RequestAsync, http, { Url = url, Method = method, Body = body })
    if ok then
        local text = answer.Body
        text = if #text > 40 then `{#text} bytes` else string.format("%q", text)
        print(answer.Success, answer.StatusCode, `[{answer.StatusMessage}]`, text)
    else
        print(answer)
    end
"#;

/// How a server sends its response.
#[derive(Clone, Copy, Debug)]
enum Pace {
    Whole,
    ByteByByte,
}

/// The output of a script that sends one request to a server.
fn asks(mode: Mode, method: &str, answer: &[u8], pace: Pace) -> Vec<String> {
    let bytes = answer.to_vec();
    let server = serve_either(false, move |mut peer| {
        peer.request();
        match pace {
            Pace::Whole => drop(peer.try_write(&bytes)),
            Pace::ByteByByte => {
                for byte in bytes {
                    // A client that needs no more may have closed.
                    if peer.try_write(&[byte]).is_err() {
                        break;
                    }
                }
            }
        }
        finish(&mut peer);
    });
    let said = runtime(mode).says(ASK, (url_for("http", &server), method));
    server.join();
    said
}

const NET: &str = "HttpError: NetFail";

/// Responses of servers, and the results of `RequestAsync` (RFC 9110, RFC 9112).
#[test]
fn each_kind_of_answer() {
    let ok = |body: &str| response("200 OK", "", body);
    let cases: Vec<(&str, &str, Vec<u8>, String)> = [
        ("a length", "GET", ok("hello"), r#"true 200 [OK] "hello""#),
        ("no body", "GET", ok(""), r#"true 200 [OK] """#),
        ("created", "PUT", response("201 Created", "", "x"), r#"true 201 [Created] "x""#),
        ("the last success", "GET", response("299 Odd", "", ""), r#"true 299 [Odd] """#),
        (
            "no content, whatever it says of a length (RFC 9112 §6.3)",
            "GET",
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n".into(),
            r#"true 204 [No Content] """#,
        ),
        (
            "not modified, with the length that it would have",
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n".into(),
            r#"false 304 [Not Modified] """#,
        ),
        ("not found", "GET", response("404 Not Found", "", "no"), r#"false 404 [Not Found] "no""#),
        ("unauthorized", "GET", response("401 Who", "", ""), r#"false 401 [Who] """#),
        ("too many", "GET", response("429 Slow", "Retry-After: 1\r\n", ""), r#"false 429 [Slow] """#),
        ("server error", "GET", response("500 Oops", "", "x"), r#"false 500 [Oops] "x""#),
        ("no reason", "GET", "HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\nx".into(), r#"true 200 [] "x""#),
        ("no reason and no space", "GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n".into(), r#"true 200 [] """#),
        (
            "a status that is none of ours",
            "GET",
            response("600 Beyond", "", "x"),
            r#"false 600 [Beyond] "x""#,
        ),
        (
            "HEAD has no body",
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n".into(),
            r#"true 200 [OK] """#,
        ),
        (
            "chunks",
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n".into(),
            r#"true 200 [OK] "hello""#,
        ),
        (
            "chunks with extensions and trailers",
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n".into(),
            r#"true 200 [OK] "hello""#,
        ),
        ("up to the end", "GET", "HTTP/1.1 200 OK\r\n\r\nhello".into(), r#"true 200 [OK] "hello""#),
        ("HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\n\r\nold".into(), r#"true 200 [OK] "old""#),
        (
            "interim answers come first",
            "POST",
            format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{}", ok("x")),
            r#"true 200 [OK] "x""#,
        ),
        ("interim answers for ever", "GET", "HTTP/1.1 102 Processing\r\n\r\n".repeat(40), NET),
        ("nothing", "GET", String::new(), NET),
        ("a head that is cut", "GET", "HTTP/1.1 200 OK\r\nContent-Le".into(), NET),
        (
            "a body that is cut",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello".into(),
            NET,
        ),
        (
            "chunks that are cut",
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".into(),
            NET,
        ),
        (
            "a chunk of no size",
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nhello\r\n0\r\n\r\n".into(),
            NET,
        ),
        ("no HTTP", "GET", "SSH-2.0-OpenSSH_9.2\r\n".into(), NET),
        ("another version", "GET", "HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n".into(), NET),
        (
            "two lengths",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy".into(),
            NET,
        ),
        ("a length below 0", "GET", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n".into(), NET),
        (
            "a length and chunks (RFC 9112 §6.3)",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
            NET,
        ),
        (
            "another transfer coding",
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx".into(),
            "HttpError: Unknown",
        ),
        ("a folded field (RFC 9112 §5.2)", "GET", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n".into(), r#"true 200 [OK] """#),
        (
            "a protocol that nobody asked for",
            "GET",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".into(),
            NET,
        ),
        (
            "a coding that is not known",
            "GET",
            response("200 OK", "Content-Encoding: br\r\n", "x"),
            "HttpError: Unknown",
        ),
        ("a coding that is none", "GET", response("200 OK", "Content-Encoding: identity\r\n", "x"), r#"true 200 [OK] "x""#),
        (
            "bytes behind the body",
            "GET",
            ok("hello") + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
            r#"true 200 [OK] "hello""#,
        ),
        ("a large body", "GET", ok(&"x".repeat(1 << 20)), "true 200 [OK] 1048576 bytes"),
        ("a redirect to nowhere", "GET", response("302 Found", "", ""), r#"false 302 [Found] """#),
        (
            "a redirect that is no URL",
            "GET",
            response("302 Found", "Location: http://[\r\n", ""),
            "HttpError: InvalidRedirect",
        ),
        (
            "a redirect to another scheme",
            "GET",
            response("302 Found", "Location: ftp://127.0.0.1/\r\n", ""),
            "HttpError: InvalidRedirect",
        ),
    ]
    .map(|(name, method, answer, want)| (name, method, answer.into_bytes(), want.to_owned()))
    .into();
    assert!(cases.len() >= 40);
    let mut wrong = Vec::new();
    for (name, method, answer, want) in &cases {
        let short = answer.len() < 1000;
        for (mode, pace) in [
            (Mode::Inline, Pace::Whole),
            (Mode::Inline, Pace::ByteByByte),
            (Mode::Threaded, Pace::Whole),
        ] {
            if short || matches!(pace, Pace::Whole) {
                let said = asks(mode, method, answer, pace);
                if said != [want.as_str()] {
                    wrong.push(format!("{name} ({mode:?}, {pace:?}): {said:?}, not {want}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Any bytes, and names of headers compared without case; the values of a repeated name are joined.
#[test]
fn bytes_and_headers_are_as_they_came() {
    let server = serve_either(false, |mut peer| {
        peer.request();
        peer.write(b"HTTP/1.1 200 OK\r\nX-Thing: a\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nContent-Length: 4\r\n\r\n\xFF\0\r\n");
        peer.rest();
    });
    let script = r#"
        local h = game:GetService("HttpService")
        local answer = h:RequestAsync({ Url = (...) })
        local headers = answer.Headers
        print(headers["x-thing"], headers["X-THING"], headers["Set-Cookie"], headers.Nothing)
        print(string.byte(answer.Body, 1, -1))
    "#;
    let said = runtime(Mode::Inline).says(script, url_for("http", &server));
    assert_eq!(said, ["a a a=1, b=2 nil", "255 0 13 10"]);
    server.join();
}

/// The head and the body of a request.
fn heard(mut peer: Peer, answer: &str) -> (String, Vec<u8>) {
    let head = peer.request().to_owned();
    let length = field(&head, "Content-Length").map_or(0, |n| n.parse().unwrap());
    let body = peer.read(length);
    peer.write(answer.as_bytes());
    finish(&mut peer);
    (head, body)
}

/// A server for this number of requests; returns what it has received.
fn hears(requests: usize) -> Scripted<Vec<(String, Vec<u8>)>> {
    listen(move |listener| {
        let answer = response("200 OK", "Connection: close\r\n", "fine");
        let next = |_| heard(Peer::plain(listener.accept().unwrap().0), &answer);
        (0..requests).map(next).collect()
    })
}

fn http(server: &Scripted<impl Send + 'static>) -> String {
    url_for("http", server)
}

#[test]
fn what_get_async_and_post_async_send() {
    let server = hears(7);
    let script = r#"
        local url = ...
        local h = game:GetService("HttpService")
        print(h:GetAsync(url))
        print(h:GetAsync(url, true, { ["X-Key"] = h:GetSecret("key"), Accept = "text/plain" }))
        h:GetAsync(url, true, { ["cache-control"] = "max-age=0" })
        print(h:PostAsync(url, "{}"))
        h:PostAsync(url, "a=b", Enum.HttpContentType.ApplicationUrlEncoded, false, { A = "b" })
        h:RequestAsync({ Url = url, Method = "PATCH", Body = "\0\255", Headers = { ["Content-Type"] = "x/y" } })
        h:RequestAsync({ Url = url, Method = "DELETE" })
    "#;
    let mut rt = with(Mode::Inline, |options| {
        options.secrets(|name| (name == "key").then(|| "hidden".to_owned()))
    });
    assert_eq!(rt.says(script, http(&server)), ["fine", "fine", "fine"]);
    let all = server.join();
    let has = |i: usize, name: &str| field(&all[i].0, name).map(str::to_owned);
    assert!(all[0].0.starts_with("GET / HTTP/1.1\r\n"), "{}", all[0].0);
    assert_eq!(has(0, "Cache-Control"), None);
    assert_eq!(has(1, "Cache-Control").as_deref(), Some("no-cache"));
    assert_eq!(
        (has(1, "X-Key").as_deref(), has(1, "Accept").as_deref()),
        (Some("hidden"), Some("text/plain"))
    );
    assert_eq!(has(2, "cache-control").as_deref(), Some("max-age=0"));
    assert!(all[3].0.starts_with("POST / "));
    assert_eq!(
        (has(3, "Content-Type").as_deref(), &*all[3].1),
        (Some("application/json"), &b"{}"[..])
    );
    assert_eq!(has(4, "Content-Type").as_deref(), Some("application/x-www-form-urlencoded"));
    assert_eq!((has(4, "A").as_deref(), &*all[4].1), (Some("b"), &b"a=b"[..]));
    assert_eq!((has(5, "Content-Type").as_deref(), &*all[5].1), (Some("x/y"), &b"\0\xFF"[..]));
    assert!(all[6].0.starts_with("DELETE / ") && all[6].1.is_empty());
}

/// A success is returned, anything else raises a text as Roblox writes it, since scripts compare
/// it.
#[test]
fn what_get_async_and_post_async_raise() {
    let server = listen(|listener| {
        for status in ["404 Not Found", "500 ", "204 No Content", "403 Forbidden"] {
            heard(Peer::plain(listener.accept().unwrap().0), &response(status, "", ""));
        }
    });
    let script = r#"
        local url, nowhere = ...
        local h = game:GetService("HttpService")
        print(pcall(h.GetAsync, h, url))
        print(pcall(h.GetAsync, h, url))
        print(pcall(h.GetAsync, h, url))
        print(pcall(h.PostAsync, h, url, "x"))
        print(pcall(h.GetAsync, h, nowhere))
        print(pcall(h.GetAsync, h, "http://["))
    "#;
    let said = runtime(Mode::Inline).says(script, (http(&server), refused_http()));
    let want = [
        "false HTTP 404 (Not Found)",
        "false HTTP 500",
        "true ",
        "false HTTP 403 (Forbidden)",
        "false HttpError: ConnectFail",
        "false HttpError: InvalidUrl",
    ];
    assert_eq!(said, want);
    server.join();
}

/// If no script catches the error, the report has its cause and the script's position.
#[test]
fn an_error_that_nobody_catches_says_what_is_behind_its_name() {
    let mut rt = runtime(Mode::Inline);
    rt.runtime.spawn("main", "\ngame.HttpService:GetAsync((...))", refused_http()).unwrap();
    rt.run();
    assert_eq!(rt.said.take(), ["error: HttpError: ConnectFail"]);
    let script = super::command::Script::new("uncaught", "game.HttpService:GetAsync((...))");
    let errors = script.run(&[], &[&refused_http()]).err;
    assert!(errors.contains("error: HttpError: ConnectFail\n  http://127.0.0.1:"), "{errors}");
    assert!(errors.contains("refused"), "{errors}");
}

/// A server that never answers, and whether it got a request.
fn silent() -> (Scripted<()>, Flag) {
    let asked = Flag::default();
    let its = asked.clone();
    let server = serve_either(false, move |mut peer| {
        peer.request();
        its.set();
        peer.rest();
    });
    (server, asked)
}

both! {
    /// Only the calling thread waits, and each response goes to its caller.
    fn calls_run_side_by_side(mode) {
        let server = listen(|listener| {
            let mut peers: Vec<Peer> =
                (0..3).map(|_| Peer::plain(listener.accept().unwrap().0)).collect();
            // The last request is answered first.
            for peer in peers.iter_mut().rev() {
                let path = peer.request().split(' ').nth(1).unwrap().to_owned();
                peer.write(response("200 OK", "Connection: close\r\n", &path).as_bytes());
                finish(peer);
            }
        });
        let script = r#"
            local url = ...
            local h = game:GetService("HttpService")
            local got = {}
            for i = 1, 3 do
                task.spawn(function()
                    got[i] = h:GetAsync(url .. i)
                    if got[1] and got[2] and got[3] then print(table.concat(got, " ")) end
                end)
            end
            print("all are sent")
        "#;
        let said = runtime(mode).says(script, http(&server));
        assert_eq!(said, ["all are sent", "/1 /2 /3"]);
        server.join();
    }

    /// Cancelling a thread ends its request, and a program without other threads ends.
    fn a_cancelled_thread_ends_its_request(mode) {
        let (server, asked) = silent();
        let script = r#"
            local url = ...
            local waiting = task.spawn(function()
                game.HttpService:GetAsync(url)
                print("answered")
            end)
            until_true(asked)
            task.cancel(waiting)
            print("cancelled")
        "#;
        let mut rt = runtime(mode);
        rt.flag("asked", &asked);
        assert_eq!(rt.says(script, http(&server)), ["cancelled"]);
        drop(rt);
        server.join();
    }

    /// `Timeout` covers the whole response.
    fn a_timeout_covers_the_whole_answer(mode) {
        let server = serve_either(false, |mut peer| {
            peer.request();
            peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell");
            peer.rest();
        });
        let script = r#"
            local h = game.HttpService
            print(pcall(h.RequestAsync, h, { Url = (...), Timeout = 1 }))
        "#;
        assert_eq!(runtime(mode).says(script, http(&server)), ["false HttpError: TimedOut"]);
        server.join();
    }

    /// Over TLS, and with a certificate that is not trusted.
    fn over_tls(mode) {
        let server = serve_either(true, |mut peer| {
            peer.request();
            peer.write(response("200 OK", "", "safe").as_bytes());
            peer.rest();
        });
        let said = runtime(mode).says(ASK, http(&server));
        assert_eq!(said, [r#"true 200 [OK] "safe""#]);
        server.join();
    }
}

#[test]
fn a_server_that_nobody_vouches_for_is_an_error() {
    let server = serve_either(true, |mut peer| drop(peer.try_write(b"")));
    let mut rt = Rt::new(Mode::Inline);
    assert_eq!(rt.says(ASK, http(&server)), ["HttpError: SslVerificationFail"]);
    server.join();
}

/// `Limits::body` bounds the decoded body; the connection ends there.
#[test]
fn the_size_of_a_body_is_a_limit() {
    let runtime = |limit: usize| {
        with(Mode::Inline, |mut options: Options| {
            options.config().limits.body = limit;
            options
        })
    };
    let answer = response("200 OK", "", "12345");
    for (limit, want) in [(5, r#"true 200 [OK] "12345""#), (4, "HttpError: OutOfMemory")] {
        let answer = answer.clone();
        let server = serve_either(false, move |mut peer| {
            peer.request();
            peer.write(answer.as_bytes());
            peer.rest();
        });
        assert_eq!(runtime(limit).says(ASK, http(&server)), [want]);
        server.join();
    }
}

/// A server for any number of requests on each connection; returns how many each connection has
/// carried. `fields` are in its responses.
fn counts(requests: usize, fields: &'static str) -> Scripted<(Vec<usize>, Vec<String>)> {
    listen(move |listener| {
        let (mut carried, mut heads, mut left) = (Vec::new(), Vec::new(), requests);
        while left > 0 {
            let mut peer = Peer::plain(listener.accept().unwrap().0);
            carried.push(0);
            while left > 0 && (carried[carried.len() - 1] == 0 || peer.begins()) {
                heads.push(peer.request().to_owned());
                peer.write(response("200 OK", fields, "fine").as_bytes());
                *carried.last_mut().unwrap() += 1;
                left -= 1;
                if fields.contains("close") {
                    break;
                }
            }
        }
        (carried, heads)
    })
}

const THREE: &str = r#"
    local h, key = game.HttpService, { Authorization = "me" }
    for i = 1, 3 do
        h:GetAsync((...), false, if i == 3 then key else nil)
    end
"#;

both! {
    /// One connection carries them all, except requests with other credentials (RFC 9112 §9.3).
    fn calls_go_over_kept_connections(mode) {
        let server = counts(3, "");
        assert_eq!(runtime(mode).says(THREE, http(&server)), [""; 0]);
        let (carried, heads) = server.join();
        assert_eq!(carried, [2, 1]);
        assert!(heads.iter().all(|head| field(head, "Connection") == Some("keep-alive")), "{heads:?}");
    }
}

#[test]
fn a_connection_is_not_used_again_where_one_side_does_not_want_it() {
    for (fields, keep) in [("Connection: close\r\n", true), ("", false)] {
        let server = counts(3, if keep { fields } else { "Connection: close\r\n" });
        let mut rt = with(Mode::Inline, |options| options.keep_alive(keep));
        assert_eq!(rt.says(THREE, http(&server)), [""; 0]);
        let (carried, heads) = server.join();
        assert_eq!(carried, [1, 1, 1]);
        let says = if keep { "keep-alive" } else { "close" };
        assert!(heads.iter().all(|head| field(head, "Connection") == Some(says)), "{heads:?}");
    }
}

/// Compression on the wire, in both directions.
#[test]
#[cfg(feature = "deflate")]
fn bodies_are_coded_and_decoded() {
    let server = listen(|listener| {
        for _ in 0..2 {
            let mut peer = Peer::plain(listener.accept().unwrap().0);
            let head = peer.request().to_owned();
            assert_eq!(field(&head, "Accept-Encoding"), Some("gzip, deflate"));
            assert_eq!(field(&head, "Content-Encoding"), Some("gzip"));
            let body = peer.read(field(&head, "Content-Length").unwrap().parse().unwrap());
            assert!(body.starts_with(b"\x1F\x8B") && body.len() < 500, "{} bytes", body.len());
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            peer.write(answer.as_bytes());
            peer.write(&body);
            finish(&mut peer);
        }
    });
    let script = r#"
        local h, text = game.HttpService, string.rep("moon ", 2000)
        local gzip = Enum.HttpCompression.Gzip
        print(h:RequestAsync({ Url = (...), Method = "POST", Body = text, Compress = gzip }).Body == text)
        print(h:PostAsync((...), text, nil, true) == text)
    "#;
    assert_eq!(runtime(Mode::Inline).says(script, http(&server)), ["true", "true"]);
    server.join();
}

/// The rate is limited if an option says so, as in Roblox.
#[test]
fn the_number_of_requests_in_a_minute_can_be_limited() {
    let server = hears(2);
    let script = r#"
        local h = game.HttpService
        for _ = 1, 3 do
            print(pcall(h.GetAsync, h, (...)))
        end
    "#;
    let mut rt = with(Mode::Inline, |options| options.requests_per_minute(Some(2)));
    let said = rt.says(script, http(&server));
    assert_eq!(said, ["true fine", "true fine", "false Number of requests exceeded limit"]);
    server.join();
}

/// Redirects: what a browser does with each status (RFC 9110 §15.4).
#[test]
fn redirects_are_followed_as_browsers_do() {
    for (status, method, then) in [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
    ] {
        let server = listen(move |listener| {
            let to =
                response(&format!("{status} Go"), "Location: /there\r\nConnection: close\r\n", "");
            heard(Peer::plain(listener.accept().unwrap().0), &to);
            let fine = response("200 OK", "Connection: close\r\n", "");
            heard(Peer::plain(listener.accept().unwrap().0), &fine)
        });
        let body = (!["GET", "HEAD"].contains(&method)).then_some("body");
        let said = runtime(Mode::Inline).says(ASK, (http(&server), method, body));
        assert_eq!(said, [r#"true 200 [OK] """#], "{status}");
        let (head, sent) = server.join();
        assert!(head.starts_with(&format!("{then} /there ")), "{status}: {head}");
        assert_eq!(sent.is_empty(), then != method || body.is_none(), "{status}");
    }
}

/// A mistake of the script raises at its line; nothing is sent.
#[test]
fn mistakes_are_raised_where_they_are_made() {
    let cases = [
        ("RequestAsync(5)", "invalid argument #1 to 'RequestAsync' (table expected, got number)"),
        ("RequestAsync({})", "option Url: string or Secret expected, got nil"),
        (
            "RequestAsync({ url = 'http://a' })",
            "RequestAsync: there is no option url (did you mean Url?)",
        ),
        (
            "RequestAsync({ Url = 'ws://a' })",
            "option Url: a request has to start with http:// or https://",
        ),
        ("RequestAsync({ Url = 'http://a', Body = 'x' })", "a GET request has no body"),
        (
            "RequestAsync({ Url = 'http://a', Body = {} })",
            "option Body: string or nil expected, got table",
        ),
        (
            "RequestAsync({ Url = 'http://a', Timeout = 0 })",
            "option Timeout has to be more than 0 seconds",
        ),
        (
            "RequestAsync({ Url = 'http://a', Compress = true })",
            "option Compress: Enum.HttpCompression expected, got boolean",
        ),
        (
            "RequestAsync({ Url = 'http://a', Headers = { Host = 'x' } })",
            "Header \"Host\" is not allowed!",
        ),
        (
            "RequestAsync({ Url = 'http://a', Headers = { A = 5 } })",
            "option Headers: string or Secret expected, got number",
        ),
        (
            "RequestAsync({ Url = 'http://a', Proxy = 'socks5://b' })",
            "option Proxy is not available to scripts",
        ),
        (
            "RequestAsync({ Url = 'http://a', Cert = 'x' })",
            "option Cert is not available to scripts",
        ),
        ("GetAsync()", "invalid argument #1 to 'GetAsync' (string or Secret expected, got nil)"),
        (
            "GetAsync('http://a', 5)",
            "invalid argument #2 to 'GetAsync' (boolean expected, got number)",
        ),
        (
            "GetAsync('http://a', false, 5)",
            "invalid argument #3 to 'GetAsync' (table expected, got number)",
        ),
        (
            "GetAsync('http://a', false, { 'x' })",
            "option Headers: the name of a header is a string, not a number",
        ),
        ("GetAsync('ftp://a')", "option Url: a request has to start with http:// or https://"),
        ("PostAsync('http://a')", "invalid argument #2 to 'PostAsync' (string expected, got nil)"),
        (
            "PostAsync('http://a', 'x', 5)",
            "invalid argument #3 to 'PostAsync' (Enum.HttpContentType expected, got number)",
        ),
        (
            "PostAsync('http://a', 'x', nil, 1)",
            "invalid argument #4 to 'PostAsync' (boolean expected, got number)",
        ),
        (
            "PostAsync('http://a', 'x', nil, nil, { ['content-type'] = 'x' })",
            "Header \"Content-Type\" is not allowed!",
        ),
    ];
    for (call, want) in cases {
        let script = format!(
            "local http = game.HttpService\nlocal ok, text = pcall(function()\n    http:{call}\nend)\nprint(text)"
        );
        let said = Rt::new(Mode::Inline).says(&script, ());
        let prefix = format!("script:3: {want}");
        assert!(said.len() == 1 && said[0].starts_with(&prefix), "{call}: {said:?}");
    }
}

/// If a thread cannot yield, the call raises.
#[test]
fn a_call_needs_a_thread_that_can_wait() {
    let script = r#"
        local h = game.HttpService
        local t = setmetatable({}, { __len = function() return h:GetAsync("http://127.0.0.1:1/") end })
        print(pcall(function() return #t end))
    "#;
    let said = Rt::new(Mode::Inline).says(script, ());
    assert!(
        said[0].contains("GetAsync has to wait, and this thread cannot yield here"),
        "{said:?}"
    );
}

/// Killing a script ends its requests; a script that waits for a response is alive.
#[test]
fn a_script_that_waits_is_alive_until_it_is_killed() {
    let (server, asked) = silent();
    let mut rt = runtime(Mode::Inline);
    let text = "game.HttpService:GetAsync((...)) print('answered')";
    let script = rt.runtime.spawn("s", text, http(&server)).unwrap();
    while !asked.is_set() {
        assert!(rt.runtime.step(Duration::from_millis(2)).unwrap().is_alive());
    }
    assert!(script.is_alive());
    script.kill().unwrap();
    assert!(!script.is_alive());
    assert_eq!(rt.runtime.run().unwrap(), Progress::Done);
    assert_eq!(rt.said.take(), [""; 0]);
    server.join();
}
