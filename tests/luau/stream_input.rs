//! §2: servers that send invalid or endless data. One `Error`, one `Closed`, no more.

use super::common;
use super::raw::{frame, text};
use super::streams::*;
use super::support::*;

/// The head of an event stream, or of any stream, in chunks.
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                       Transfer-Encoding: chunked\r\n\r\n";

/// The events of a client whose server sends `start` and then `piece` for as long as it is read.
#[track_caller]
fn flooded(mode: Mode, kind: &str, start: &str, piece: &str) -> Vec<String> {
    let bytes = [start, &piece.repeat(4096 / piece.len())].concat().into_bytes();
    let more = piece.repeat((65_536 / piece.len()).max(1)).into_bytes();
    plays(mode, kind, false, move |mut peer| {
        let mut sent = bytes.len();
        let mut open = peer.try_write(&bytes).is_ok();
        while open {
            assert!(sent < 64 * 1024 * 1024, "it reads without end");
            sent += more.len();
            open = peer.try_write(&more).is_ok();
        }
    })
}

/// Checks an `Error`: its number, its name, and the start of the reason in brackets.
#[track_caller]
fn check(line: &str, number: &str, name: &str, reason: &str) {
    let start = format!("Error Error {number} HttpError: {name} ({reason}");
    assert!(line.starts_with(&start) && line.ends_with(')'), "{line}, not {start}");
}

/// Checks that a client fired one `Error`, one `Closed`, and nothing else.
#[track_caller]
fn error(said: &[String], number: &str, name: &str, reason: &str) {
    let [error, closed] = said else { panic!("{said:?}") };
    check(error, number, name, reason);
    assert_eq!(closed, "Closed Error");
}

/// The same after an `Opened` and messages, of which the last is given.
#[track_caller]
fn later_error(said: &[String], last: &str, reason: &str) {
    let shown: Vec<&str> = said.iter().map(|line| &line[..line.len().min(200)]).collect();
    let [opened, messages @ .., error, closed] = said else { panic!("{shown:?}") };
    assert!(opened.starts_with("Opened Open 200 "), "{shown:?}");
    check(error, "200", "NetFail", reason);
    assert_eq!(closed, "Closed Error");
    assert!(messages.iter().all(|m| m.starts_with("MessageReceived Open ")), "{shown:?}");
    let reported = messages.last().map_or("", |m| m.trim_start_matches("MessageReceived Open "));
    assert_eq!(reported, last, "{shown:?}");
}

both! {
    fn heads_without_end(mode) {
        for (kind, early, late, name) in [
            ("WebSocket", "400", "400", "ConnectFail"),
            ("SSE", "-1", "200", "NetFail"),
            ("RawStream", "-1", "200", "NetFail"),
        ] {
            let floods = |start: &str, piece: &str, number: &str, reason: &str| {
                let said = flooded(mode, kind, start, piece);
                error(&said, number, name, reason);
            };
            let ok = "HTTP/1.1 200 OK\r\n";
            let long_line = "a line of the response head is too long";
            floods("", "a", early, "the answer is not HTTP/1.1: it starts with \"aaaaaaa");
            floods("HTTP/1.1 200 ", "a", early, long_line);
            floods(&format!("{ok}A: "), "a", late, long_line);
            floods(ok, "A", late, long_line);
            floods(ok, "A: b\r\n", late, "the response head has too many fields");
            let field = format!("A: {}\r\n", "b".repeat(8000));
            floods(ok, &field, late, "the response head is too long");
            // The status of the last one.
            let interim = "HTTP/1.1 103 Hint\r\nA: b\r\n\r\n";
            let number = if kind == "WebSocket" { "400" } else { "-1" };
            floods("", interim, number, "too many interim (1xx) responses");
        }
    }

    fn lines_of_an_event_stream_without_end(mode) {
        let most = "the limit here is 1,048,576 bytes (MaxMessageSize)";
        let line = &format!("line of the event stream too long: {most}");
        let event = &format!("event of the event stream too big: {most}");
        for (start, piece, last, reason) in [
            ("", "a", "", line),
            ("data: ", "a", "", line),
            (": ", "a", "", line),
            ("data: 1\n\n:", " comment ", "data: 1\\n\\n", line),
            ("", "data: x\n", "", event),
            (": 1\n\n", ":\n", ": 1\\n\\n", event),
            ("\u{FEFF}", "\u{FEFF}", "", line),
        ] {
            let said = flooded(mode, "SSE", &format!("{EVENTS}{start}"), piece);
            later_error(&said, last, reason);
        }
    }

    fn chunks_without_end(mode) {
        for kind in ["SSE", "RawStream"] {
            let floods = |start: &str, piece: &str, last: &str, reason: &str| {
                let said = flooded(mode, kind, &format!("{CHUNKED}{start}"), piece);
                later_error(&said, last, reason);
            };
            let (chunk, reported) = ("8\r\ndata: 1\n\r\n1\r\n\n\r\n", ["data: 1\\n\\n", "\\n"]);
            let reported = reported[usize::from(kind == "RawStream")];
            floods("1;", "x", "", "the line before a chunk is too long");
            floods(&format!("{chunk}1;"), "x", reported, "the line before a chunk is too long");
            floods("", "0", "", "the line before a chunk is too long");
            floods(&format!("{chunk}0\r\n"), "A: b\r\n", reported,
                "trailer section: the response head has too many fields");
            floods("0\r\nA: ", "b", "", "trailer section: a line of the response head is too long");
            let extended = format!("1;{}\r\n\n\r\n", "x".repeat(3000));
            let last = if kind == "RawStream" { "\\n" } else { "" };
            floods("", &extended, last, "chunk extensions outweigh the data of the body");
        }
    }

    fn bodies_that_are_not_well_formed(mode) {
        for kind in ["SSE", "RawStream"] {
            for (body, reason) in [
                ("FFFFFFFFFFFFFFFFF\r\n", ""),
                ("8000000000000000\r\n", ""),
                ("-1\r\n", "malformed chunk line \"-\""),
                ("+1\r\nx", "malformed chunk line \"+\""),
                ("0x1\r\nx", "malformed chunk line \"0x\""),
                (" 1\r\nx", "malformed chunk line \" \""),
                ("\r\n", "malformed chunk line \"\""),
                ("0\r\n bad\r\n\r\n", "trailer section: malformed header line \" bad\""),
            ] {
                let said = answers(mode, kind, format!("{CHUNKED}{body}"));
                later_error(&said, "", reason);
            }
            let said = answers(mode, kind, format!("{CHUNKED}3\r\n:\n\nxx"));
            later_error(&said, ":\\n\\n", "the data of a chunk does not end in CR LF");
        }
    }

    // Earlier messages are delivered; a missing part is an error, once.
    fn bodies_that_stop_early(mode) {
        let ended = "truncated: the stream ended before the body did";
        let fields = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
        for (answer, last, reason) in [
            (format!("{fields}Content-Length: 9\r\n\r\n:\n\n"), ":\\n\\n",
                "truncated: the stream ended 6 bytes before the body did"),
            (format!("{fields}Content-Length: 9\r\n\r\n"), "",
                "truncated: the stream ended 9 bytes before the body did"),
            (format!("{CHUNKED}3\r\n:\n\n\r\n"), ":\\n\\n", ended),
            (format!("{CHUNKED}3\r\n:\n\n\r\n0\r\n"), ":\\n\\n", ended),
            (format!("{CHUNKED}3"), "", ended),
            (CHUNKED.to_owned(), "", ended),
        ] {
            // Over TLS an attacker may have cut off the missing part.
            let both = |kind| [(kind, false), (kind, true)];
            for (kind, secure) in ["SSE", "RawStream"].into_iter().flat_map(both) {
                let answer = answer.clone();
                let said = plays(mode, kind, secure, move |mut peer| {
                    peer.write(answer.as_bytes());
                    finish(&mut peer);
                });
                later_error(&said, last, if secure { "truncated" } else { reason });
            }
        }
    }

    // The end of the stream ends the body, unless an attacker may have cut it.
    fn a_body_that_ends_with_its_stream(mode) {
        for kind in ["SSE", "RawStream"] {
            let said = answers(mode, kind, format!("{EVENTS}:\n\n"));
            assert_eq!(said, [OPENED, "MessageReceived Open :\\n\\n", "Closed Closed"]);
            let said = plays(mode, kind, true, |mut peer| {
                peer.write(format!("{EVENTS}:\n\n").as_bytes());
                finish(&mut peer);
            });
            later_error(&said, ":\\n\\n", "truncated: the stream ended before the body did");
            // A reset is always an error. The client must have read before it comes.
            let server = common::serve(|mut peer| {
                peer.request();
                peer.write(format!("{EVENTS}:\n\n").as_bytes());
                std::thread::sleep(std::time::Duration::from_millis(50));
                peer.reset();
            });
            let said = watch(mode, kind, &url_for(kind, &server), "nil");
            server.join();
            assert!(said[2].starts_with("Error Error 200 HttpError: NetFail (lost: "), "{said:?}");
            assert_eq!(said[3], "Closed Error");
        }
    }

    fn heads_that_cannot_be_used(mode) {
        for kind in ["SSE", "RawStream"] {
            for (answer, number, name, reason) in [
                ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                    "200",
                    "NetFail", "the response has both Transfer-Encoding and Content-Length"),
                ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "200",
                    "NetFail", "Content-Length \"1, 2\" is not a length"),
                ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "200",
                    "NetFail", "Content-Length \"-1\" is not a length"),
                ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "200",
                    "Unknown", "Transfer-Encoding \"gzip, chunked\" cannot be read; \
                     only \"chunked\" of HTTP/1.1 can"),
                ("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx", "200",
                    "Unknown", "the body is coded as \"br\", though \
                     \"Accept-Encoding: identity\" was sent"),
                ("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "101",
                    "NetFail", "the server answered 101 Switching Protocols, which was not \
                     asked for"),
                ("HTTP/2 200 OK\r\n\r\n", "-1",
                    "NetFail", "the answer is not HTTP/1.1: it starts with \"HTTP/2 "),
                ("ICY 200 OK\r\n\r\n", "-1",
                    "NetFail", "the answer is not HTTP/1.1: it starts with \"ICY 200"),
                ("HTTP/1.1 099 What\r\n\r\n", "-1",
                    "NetFail", "malformed status line \"HTTP/1.1 099 What\""),
                ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "200",
                    "NetFail", "malformed header line \"A : b\""),
                ("HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n", "200",
                    "NetFail", "control character 0x00 in the response head"),
                ("HTTP/1.1 200 OK\nA: b\n\n", "-1",
                    "NetFail", "a line of the response head does not end in CR LF"),
                ("HTTP/1.1 200 OK\r\n\x1b[31m\r\n\r\n", "200",
                    "NetFail", "control character 0x1b in"),
            ] {
                error(&answers(mode, kind, answer), number, name, reason);
            }
        }
    }

    // A raw body has no bound; an empty read that looks like a chunk is no message.
    fn a_large_body_is_no_error(mode) {
        let body = "x".repeat(3 * 1024 * 1024);
        let server = common::serve(move |mut peer| {
            peer.request();
            peer.write(response("200 OK", "", &body).as_bytes());
            finish(&mut peer);
        });
        let script = r#"local c, n = create("RawStream", ...), 0
            c.MessageReceived:Connect(function(m)
                check(#m > 0)
                n += #m
            end)
            c.Closed:Wait()
            eq(n, 3 * 1024 * 1024)
            eq(c.ConnectionState.Name, "Closed")
            done()"#;
        runtime(mode).passes(script, url_for("RawStream", &server));
        server.join();
    }

    // The same rules for a WebSocket once it is open; `messages` has the others.
    fn frames_without_end(mode) {
        let server = common::serve(|mut peer| {
            peer.accept(&text("x"));
            let piece = frame(0x00, &[b'a'; 60_000]);
            peer.write(&frame(0x01, b""));
            for _ in 0..40 {
                let _ = peer.try_write(&piece);
            }
            finish(&mut peer);
        });
        let mut rt = with(mode, |mut options| {
            options.config().limits.message = 1024 * 1024;
            options
        });
        let said = rt.says("watch('WebSocket', ...)", server.url());
        assert_eq!(said.len(), 4, "{said:?}");
        let error = "Error Error 400 Failed ws recv - message too big: the limit here is 1,048,576 bytes \
             (MaxMessageSize)";
        assert_eq!(said[2], error);
        server.join();
    }
}
