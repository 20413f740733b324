//! A refusal is an answer (FAULTS 71): a script can read the server's response.

use super::common;
use super::raw::text;
use super::streams::{EVENTS, finish};
use super::support::*;

const BUSY: &str = "HTTP/1.1 429 Slow down\r\nRetry-After: 7\r\nX: a\r\nx: b\r\n\
    Content-Type: application/json\r\nContent-Length: 18\r\n\r\n{\"why\":\"too fast\"}";

/// A server that sends `answer` to each of `n` clients.
fn answering(n: usize, answer: &'static str) -> common::Scripted<()> {
    common::listen(move |listener| {
        for _ in 0..n {
            let mut peer = common::Peer::plain(listener.accept().unwrap().0);
            peer.request();
            peer.write(answer.as_bytes());
            finish(&mut peer);
        }
    })
}

both! {
    // FAULTS 71.
    fn connect_raises_or_returns_what_the_server_said(mode) {
        let server = answering(3, BUSY);
        passes(mode, r#"local url = ...
            local ok, problem = pcall(WebSocket.connect, url)
            eq(ok, false)
            local want = ': handshake: the server answered 429 Slow down instead of 101 Switching '
                .. 'Protocols: {"why":"too fast"}'
            eq(problem, url .. want)
            local result = table.pack(websocket.connect(url))
            eq(result.n, 3)
            eq(result[1], nil)
            eq(result[2], problem)
            local response = result[3]
            eq(response.StatusCode, 429)
            eq(response.StatusMessage, "Slow down")
            eq(response.Body, '{"why":"too fast"}')
            eq(response.Headers["retry-after"], "7")
            eq(response.Headers["Retry-After"], "7", "names have no case")
            eq(response.Headers.x, "a, b")
            eq(response.Headers["no-such"], nil)
            eq(response.Headers[1], nil)
            local names = {}
            for name in response.Headers do
                table.insert(names, name)
            end
            table.sort(names)
            eq(table.concat(names, " "), "content-length content-type retry-after x")
            -- It is the script's, and nobody else sees what it does with it.
            response.Headers.x, response.Body = "mine", nil
            eq(getmetatable(response.Headers), "The metatable is locked")
            local _, _, other = websocket.connect(url)
            eq(other.Headers.x, "a, b")
            done()"#, server.url());
        server.join();
    }

    // Without an answer there are two results.
    fn connect_without_an_answer_has_none(mode) {
        let server = answering(1, "SSH-2.0\r\n");
        passes(mode, r#"local nobody, other = ...
            for _, url in { nobody, other, "ws://" } do
                local result = table.pack(websocket.connect(url))
                eq(result.n, 2)
                eq(result[1], nil)
                eq(type(result[2]), "string")
            end
            done()"#, (refused(), server.url()));
        server.join();
    }

    // FAULTS 71.
    fn a_client_keeps_what_the_server_said(mode) {
        let server = answering(2, BUSY);
        let script = r#"local http, ws = ...
            local function try(kind, url, want)
                local c = create(kind, url)
                eq(c.Response, nil, "not yet")
                local status, message = c.Error:Wait()
                eq(status, 429)
                eq(message, want)
                local response = c.Response
                eq(response, c.Response, "the same each time")
                eq(response.StatusCode, 429)
                eq(response.StatusMessage, "Slow down")
                eq(response.Headers["retry-after"], "7")
                eq(response.Body, '{"why":"too fast"}')
            end
            try("SSE", http, "Invalid Content-Type header for SSE client")
            try("WebSocket", ws, 'HttpError: ConnectFail (the server answered 429 Slow down '
                .. 'instead of 101 Switching Protocols: {"why":"too fast"})')
            done()"#;
        passes(mode, &with_create(script), (http_url(&server.url()), server.url()));
        server.join();
    }

    // A response that is not refused has a head and no body: its body comes as messages.
    fn a_client_that_is_open_has_a_response(mode) {
        let raw = answering(1, BUSY);
        let events = answering(1, EVENTS);
        let ws = common::serve(|mut peer| {
            peer.accept(&text("x"));
            peer.close_code();
            finish(&mut peer);
        });
        let script = r#"local raw, events, ws = ...
            local c = create("RawStream", raw)
            local status, headers = c.Opened:Wait()
            eq(c.Response.StatusCode, 429)
            eq(c.Response.StatusMessage, "Slow down")
            eq(c.Response.Headers.x, "a, b")
            eq(c.Response.Body, "")
            c.Closed:Wait()
            eq(c.Response.StatusCode, 429)
            c = create("SSE", events)
            c.Closed:Wait()
            eq(c.Response.StatusCode, 200)
            eq(c.Response.Headers["Content-Type"], "text/event-stream")
            c = create("WebSocket", ws)
            c.Opened:Wait()
            eq(c.Response.StatusCode, 101)
            eq(c.Response.StatusMessage, "Switching Protocols")
            eq(c.Response.Headers.upgrade, "websocket")
            c:Close()
            eq(pcall(function() c.Response = nil end), false)
            done()"#;
        let urls = (http_url(&raw.url()), http_url(&events.url()), ws.url());
        passes(mode, &with_create(script), urls);
        raw.join();
        events.join();
        ws.join();
    }

    // FAULTS 72: `none` is not a coding.
    fn a_coding_that_means_nothing_is_none(mode) {
        for coding in ["none", "identity", "None", "none, identity"] {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                Content-Encoding: {coding}\r\nContent-Length: 13\r\n\r\ndata: hello\n\n");
            let server = answering(2, answer.leak());
            let script = r#"local url = ...
                for _, kind in { "SSE", "RawStream" } do
                    local c = create(kind, url)
                    eq(c.MessageReceived:Wait(), "data: hello\n\n")
                    c.Closed:Wait()
                    eq(c.ConnectionState, Enum.WebStreamClientState.Closed)
                end
                done()"#;
            passes(mode, &with_create(script), http_url(&server.url()));
            server.join();
        }
    }

    // FAULTS 74: a `Location` that is not percent-encoded is encoded as browsers do.
    fn a_redirect_to_what_is_not_encoded_is_followed(mode) {
        for (location, line) in [
            ("/caf\u{e9}", "GET /caf%C3%A9 HTTP/1.1"),
            ("/two words?a b", "GET /two%20words?a%20b HTTP/1.1"),
        ] {
            let server = common::listen(move |listener| {
                let mut peer = common::Peer::plain(listener.accept().unwrap().0);
                peer.request();
                let found = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
                peer.write(found.as_bytes());
                let mut next = common::Peer::plain(listener.accept().unwrap().0);
                assert!(next.request().starts_with(line));
                next.write(EVENTS.as_bytes());
                next.write(b"data: hello\n\n");
                finish(&mut next);
                finish(&mut peer);
            });
            let script = r#"local c = create("SSE", ...)
                eq(c.MessageReceived:Wait(), "data: hello\n\n")
                c.Closed:Wait()
                done()"#;
            passes(mode, &with_create(script), http_url(&server.url()));
            server.join();
        }
    }
}

/// A script that creates clients.
fn with_create(script: &str) -> String {
    format!(
        r#"local function create(kind, url)
            return game:GetService("HttpService"):CreateWebStreamClient(
                Enum.WebStreamClientType[kind], {{ Url = url }})
        end
        {script}"#
    )
}

fn http_url(url: &str) -> String {
    url.replacen("ws", "http", 1)
}
