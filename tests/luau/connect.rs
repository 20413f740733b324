//! §1: `WebSocket.connect` and `websocket.connect`.

use std::time::Duration;

use moonwire::mlua;
use moonwire::peer::{self, Server};

use super::raw::{Peer, serve};
use super::support::*;

/// Checks the errors of both `connect` functions for this URL: they name the URL and the stage, and
/// their reason contains `part`.
fn fails(mode: Mode, url: &str, stage: &str, part: &str) {
    let text = r#"local url, stage, part = ...
        -- The error hides the user information and the query, which may hold secrets.
        local shown = string.gsub(string.gsub(url, "//.*@", "//***@"), "([?#]).*", "%1***")
        local head = `{shown}: {stage}: `
        local ok, problem = pcall(WebSocket.connect, url)
        eq(ok, false)
        eq(type(problem), "string")
        eq(string.sub(problem, 1, #head), head)
        check(string.find(problem, part, #head, true), problem)
        eq(string.find(problem, "[\r\n]"), nil, "one line")
        local result = table.pack(websocket.connect(url))
        -- The third result is the server's answer, if there was one.
        eq(result.n, if string.find(problem, "the server answered", 1, true) then 3 else 2)
        eq(result[1], nil)
        eq(result[2], problem)
        done()"#;
    passes(mode, text, (url, stage, part));
}

both! {
    fn every_way_to_call_it(mode) {
        let server = echo();
        passes(mode, include_str!("connect.luau"), (server.url(), refused()));
    }

    fn each_stage_of_a_failure_is_named(mode) {
        fails(mode, &refused(), "connect", "Connection refused");
        let answer = |answer: &'static str| {
            serve(move |listener| {
                for _ in 0..2 {
                    let mut peer = Peer::asked(listener);
                    peer.send(answer.as_bytes());
                }
            })
        };
        let server = answer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        fails(mode, &server.url(), "handshake", "404");
        server.end();
        let server = answer("HTTP/1.1 302 Found\r\nLocation: /other\r\n\r\n");
        fails(mode, &server.url(), "handshake", "302");
        server.end();
        let server = answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        fails(mode, &server.url(), "handshake", "200");
        server.end();
        let server = answer("HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n");
        fails(mode, &server.url(), "handshake", "Sec-WebSocket-Accept");
        server.end();
        let server = answer("SSH-2.0-OpenSSH_9\r\n");
        fails(mode, &server.url(), "handshake", "");
        server.end();
        let server = serve(|listener| {
            for _ in 0..2 {
                Peer::asked(listener);
            }
        });
        fails(mode, &server.url(), "handshake", "");
        server.end();
    }

    fn tls_failures_are_named(mode) {
        let any = ([127, 0, 0, 1], 0).into();
        let server = Server::bind_tls(any, peer::CHAIN_PEM, peer::KEY_PEM).unwrap();
        let server = server.spawn().unwrap();
        fails(mode, server.url(), "TLS", "certificate");
        let plain = serve(|listener| {
            for _ in 0..2 {
                let mut peer = Peer::accept(listener);
                peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n");
                peer.next_is_eof();
            }
        });
        fails(mode, &plain.url().replace("ws:", "wss:"), "TLS", "");
        plain.end();
    }

    fn a_name_that_does_not_exist(mode) {
        fails(mode, "ws://nowhere.invalid/", "DNS", "cannot resolve the host");
    }

    fn the_time_limit_covers_everything(mode) {
        // The server reads the request and sends nothing.
        let server = serve(|listener| {
            let mut first = Peer::asked(listener);
            assert_eq!(first.received(), "EOF");
        });
        let text = r#"local url = ...
            local ok, problem = pcall(WebSocket.connect, url, { Timeout = 0.3 })
            eq(ok, false)
            eq(problem, `{url}: handshake: not open within the time limit of 300ms`)
            done()"#;
        passes(mode, text, server.url());
        server.end();
        assert_eq!(moonwire::Limits::default().opening, Duration::from_secs(30));
        // Without the option, the runtime's limit applies.
        let server = serve(|listener| {
            let mut peer = Peer::accept(listener);
            let mut last = Vec::new();
            std::io::Read::read_to_end(&mut peer.stream, &mut last).unwrap();
        });
        let mut rt = Rt::with(mode, |mut options| {
            options.config().limits.opening = Duration::from_millis(400);
            options
        });
        let output = rt.says("print(websocket.connect((...)))", server.url());
        let reason = "handshake: not open within the time limit of 400ms";
        let want = format!("nil {}: {reason}", server.url());
        assert_eq!(output, [want]);
        server.end();
    }

    // A hanging connection does not delay others, though it holds the gate of its own server.
    fn a_connection_that_hangs_holds_up_nobody_else(mode) {
        let hangs = serve(|listener| Peer::asked(listener).received());
        let server = echo();
        let text = r#"local hangs, url = ...
            local thread = task.spawn(function()
                WebSocket.connect(hangs)
            end)
            local ws = WebSocket.connect(url)
            ws:Send("x")
            eq(ws.OnMessage:Wait(), "x")
            eq(coroutine.status(thread), "suspended")
            task.cancel(thread)
            done()"#;
        passes(mode, text, (hangs.url(), server.url()));
        assert_eq!(hangs.end(), "EOF");
    }

    // When no thread waits for a connection any more, the runtime drops it (rule 8). The server
    // sees the end of the stream at once, not after 30 s.
    fn cancel_and_close_drop_an_opening_connection(mode) {
        for end in ["task.cancel(thread)", "coroutine.close(thread)"] {
            let (asked, ended) = (Flag::default(), Flag::default());
            let its = (asked.clone(), ended.clone());
            let server = serve(move |listener| {
                let mut peer = Peer::asked(listener);
                its.0.set();
                let reported = peer.received();
                its.1.set();
                reported
            });
            let text = format!(r#"local url = ...
                local function start()
                    return task.spawn(function()
                        WebSocket.connect(url)
                        error("it went on")
                    end)
                end
                local thread = start()
                until_true(asked)
                {end}
                eq(coroutine.status(thread), "dead")
                until_true(ended)
                -- The same before the reactor has begun to connect.
                thread = start()
                {end}
                done()"#);
            let mut rt = Rt::new(mode);
            rt.flag("asked", &asked);
            rt.flag("ended", &ended);
            rt.passes(&text, server.url());
            assert_eq!(server.end(), "EOF");
        }
    }

    // The next one in the queue of the same server gets its turn (one handshake at a time).
    fn a_dropped_connection_leaves_its_place_to_the_next(mode) {
        let asked = Flag::default();
        let its = asked.clone();
        let server = serve(move |listener| {
            let mut first = Peer::asked(listener);
            its.set();
            assert_eq!(first.received(), "EOF");
            Peer::open(listener).rest()
        });
        let text = r#"local url = ...
            local first = task.spawn(WebSocket.connect, url)
            local second
            task.spawn(function()
                second = WebSocket.connect(url)
                second:Close(4000)
                second.OnClose:Wait()
                done()
            end)
            until_true(asked)
            eq(second, nil)
            -- The runtime makes a step without network events.
            task.wait(0.02)
            task.cancel(first)"#;
        let mut rt = Rt::new(mode);
        rt.flag("asked", &asked);
        rt.passes(text, server.url());
        assert_eq!(server.end(), ["close 4000"]);
    }

    fn too_many_connections(mode) {
        let server = echo();
        let mut rt = Rt::with(mode, |mut options| {
            options.config().limits.connections = 2;
            options
        });
        let text = r#"local url = ...
            local a, b = WebSocket.connect(url), WebSocket.connect(url)
            local limit = url .. ": URL: 2 connections are open, the limit; close one first"
            eq(args(pcall(WebSocket.connect, url)), args(false, limit))
            eq(args(websocket.connect(url)), args(nil, limit))
            a:Close()
            a.OnClose:Wait()
            task.wait(0.05)
            local c = WebSocket.connect(url)
            check(c)
            done()"#;
        rt.passes(text, server.url());
    }

    fn names_in_urls_and_the_loopback_of_ipv6(mode) {
        let six = Server::bind("[::1]:0".parse().unwrap()).unwrap().spawn().unwrap();
        let four = echo();
        let port = four.port();
        let text = r#"for _, url in { ... } do
                local ws = WebSocket.connect(url)
                eq(ws.URL, url)
                ws:Send(url)
                eq(ws.OnMessage:Wait(), url)
                ws:Close()
            end
            done()"#;
        let urls = [
            format!("ws://[::1]:{}/", six.port()),
            format!("ws://127.0.0.1:{port}"),
            format!("ws://localhost:{port}/path?query=1"),
            format!("ws://LOCALHOST:{port}/x#").trim_end_matches('#').to_owned(),
        ];
        passes(mode, text, mlua::Variadic::from_iter(urls));
    }
}

both! {
    // RFC 3986 §3.1, FAULTS 76. `URL` keeps the given text.
    fn a_scheme_has_no_case(mode) {
        let server = echo();
        let script = r#"for _, scheme in { "ws", "WS", "Ws", "wS" } do
                local url = string.gsub(..., "^ws", scheme)
                for _, connect in { WebSocket.connect, websocket.connect } do
                    local ws = connect(url)
                    eq(ws.URL, url)
                    ws:Send("hello")
                    eq(ws.OnMessage:Wait(), "hello")
                    ws:Close()
                end
                local H = game:GetService("HttpService")
                local client = H:CreateWebStreamClient(Enum.WebStreamClientType.WebSocket, { Url = url })
                client.Opened:Wait()
                client:Close()
            end
            -- The stage `connect` shows that the URL was accepted.
            for _, scheme in { "wss", "WSS", "wSs", "WS" } do
                local url = string.gsub(select(2, ...), "^ws", scheme)
                local ws, problem = websocket.connect(url)
                eq(ws, nil)
                check(string.find(problem, ": connect: ", 1, true), problem)
                raises(": connect: ", WebSocket.connect, url)
            end
            done()"#;
        passes(mode, script, (server.url(), refused()));
    }
}

#[test]
fn a_url_with_another_scheme() {
    let text = r#"local urls = {
            "", "x", "http://a/", "https://a/", "wsx://a/", "ws:/a", "ws//a", "WSX://a/",
            "HTTP://a/", " ws://a/", "\nws://a/", "tcp://ws://a/", "file:///ws://", "w", "wss:/", "ws:",
        }
        for _, connect in { WebSocket.connect, websocket.connect } do
            for _, url in urls do
                eq(args(pcall(connect, url)), args(false, "invalid websocket url"), url)
                local ok, problem = pcall(function()
                    connect(url)
                end)
                eq(problem, "script:9: invalid websocket url")
                -- The error is raised without a yield.
                local thread = coroutine.create(connect)
                eq(args(coroutine.resume(thread, url)), args(false, "invalid websocket url"))
            end
        end
        done()"#;
    passes(Mode::Inline, text, ());
}

#[test]
fn a_url_that_is_malformed_behind_its_scheme() {
    for (url, part) in [
        ("ws://", "the URL names no host"),
        ("wss://", "the URL names no host"),
        ("ws:///path", "the URL names no host"),
        ("ws://a b/", "percent-encode"),
        ("ws://a:0/", "port \"0\" is not a number from 1 to 65535"),
        ("ws://a:65536/", "port"),
        ("ws://a:x/", "port"),
        ("wss://user:secret@a/", "user name or password"),
        ("ws://a/#part", "fragment"),
        ("ws://a/?key=hidden#part", "fragment"),
        ("ws://127.1/", "neither a DNS name nor an address"),
        ("ws://[::1/", ""),
    ] {
        fails(Mode::Inline, url, "URL", part);
    }
    // The error explains the remedy: DNS knows only the ASCII form of a name.
    let text = r#"local ok, problem = pcall(WebSocket.connect, "ws://b\u{fc}cher.example/")
        eq(ok, false)
        check(string.find(problem, "begins with xn--", 1, true), problem)
        done()"#;
    passes(Mode::Inline, text, ());
    // The script's own text is escaped, so that an error is always one line.
    let text = r#"local ok, problem = pcall(WebSocket.connect, "ws://a\nb\27[2J\xFF/")
        eq(ok, false)
        eq(string.find(problem, "[%c\x80-\xFF]"), nil)
        check(string.find(problem, "ws://a\\nb\\x1b[2J", 1, true), problem)
        done()"#;
    passes(Mode::Inline, text, ());
}

#[test]
fn arguments_of_other_types() {
    let text = r#"for _, connect in { WebSocket.connect, websocket.connect } do
            for _, value in { 5, true, {}, print, coroutine.running(), buffer.create(1) } do
                local want = "invalid argument #1 to 'connect' (string expected, got "
                want ..= typeof(value) .. ")"
                eq(args(pcall(connect, value)), args(false, want))
            end
            raises("(string expected, got nil)", connect)
            raises("(string expected, got nil)", connect, nil, {})
            raises("(string expected, got table)", connect, WebSocket, "ws://a/")
            local _, problem = pcall(function()
                connect({})
            end)
            eq(problem, "script:11: invalid argument #1 to 'connect' (string expected, got table)")
        end
        done()"#;
    passes(Mode::Inline, text, ());
}

// An error that no script catches is reported once, with its position.
#[test]
fn an_uncaught_failure_is_reported() {
    let url = refused();
    let mut rt = Rt::new(Mode::Inline);
    let output =
        rt.says("local url = ...\nWebSocket.connect(url)\nprint('not here')", url.as_str());
    assert_eq!(output.len(), 1, "{output:?}");
    let head = format!("error: script:2: {url}: connect: ");
    assert!(output[0].starts_with(&head) && !output[0].contains('\n'), "{output:?}");
    assert!(rt.runtime.has_raised());
    let output = says(Mode::Inline, "WebSocket.connect('gopher://x')", ());
    assert_eq!(output, ["error: script:1: invalid websocket url"]);
}

// The embedder calls `connect` outside of a thread, so Luau cannot suspend the call.
#[test]
fn a_call_without_a_thread_says_what_is_wrong() {
    let server = echo();
    let rt = Rt::new(Mode::Inline);
    let chunk = format!("WebSocket.connect({:?})", server.url());
    let error = rt.runtime.lua().load(chunk).set_name("=chunk").exec().unwrap_err().to_string();
    assert!(error.contains("connect has to wait, and this thread cannot yield here"), "{error}");
}
