//! §2: the object, what it sends, what is reported to it, and `Close`.

use super::common;
use super::raw::{self, Frame, close, frame, serve, text};
use super::streams::*;
use super::support::*;

/// Prints what is reported of one client of a WebSocket server, and closes it at "last".
const TALKS: &str = r#"local url = ...
    local c = record(create("WebSocket", url))
    c.MessageReceived:Connect(function(m) if m == "last" then c:Close() end end)"#;

/// `Close` at a point of a client's life; all that is reported.
const CLOSES: &str = r#"local when, url = ...
    local c = create("RawStream", url)
    local closed, inside = 0, false
    local function close()
        local state = c.ConnectionState
        inside = true
        eq(select('#', c:Close()), 0)
        c:Close()
        inside = false
        eq(c.ConnectionState, if state.Value < 2 then Enum.WebStreamClientState.Closed else state)
        -- The slot is free before anybody is reported.
        slots()
        closed += 1
    end
    record(c, function(line)
        eq(inside, false, line)
        print((string.gsub(line, " Transfer.*", "")))
    end)
    if when == "at once" then
        close()
    elseif when == "later" then
        until_true(asked)
        task.wait()
        close()
    elseif when == "ConnectionState" then
        c:GetPropertyChangedSignal(when):Connect(close)
    else
        c[when]:Connect(close)
    end
    c.Closed:Wait()
    task.wait(0.02)
    check(closed > 0)"#;

both! {
    fn everything_about_the_object(mode) {
        let server = echo();
        runtime(mode).passes(include_str!("web_stream_client.luau"), server.url());
    }

    // The bytes decide between text and binary. The queue keeps the order of the calls.
    fn what_is_sent_before_and_after_it_opens(mode) {
        let server = serve(|listener| {
            let mut peer = raw::Peer::open(listener);
            let mut all: Vec<Frame> = (0..8).map(|_| peer.next().unwrap()).collect();
            peer.send(&text("last"));
            all.extend(peer.next());
            all
        });
        let script = format!(r#"{TALKS}
            for _, m in {{ "a", "€", "\xE2\x82", "", 1.5, buffer.fromstring("text") }} do
                c:Send(m)
            end
            c.Opened:Connect(function() c:Send("opened") end)
            c.Opened:Connect(function() c:Send("\xFF") end)"#);
        let mut rt = runtime(mode);
        let said = rt.says(&script, server.url());
        assert!(said[0].starts_with("Opened Open 101 Upgrade: websocket\\r\\n"), "{said:?}");
        assert_eq!(said[1..], ["MessageReceived Closed last", "Closed Closed"]);
        let frames = server.end();
        let seen: Vec<(u8, &[u8])> = frames.iter().map(|f| (f.opcode, &f.payload[..])).collect();
        assert_eq!(seen, [
            (1, &b"a"[..]), (1, "€".as_bytes()), (2, b"\xE2\x82"), (1, b""), (1, b"1.5"),
            (1, b"text"), (2, b"\xFF"), (1, b"opened"), (8, b"\x03\xE8"),
        ]);
    }

    // A handler gets a message as one argument, for text and binary, with one handler and several.
    fn messages_of_a_websocket_are_bytes(mode) {
        for more in ["", "c.MessageReceived:Connect(function() end)"] {
            let server = serve(|listener| {
                let bytes = [
                    text("text"), frame(0x82, b"\xFF\0\r\n"), frame(0x82, b"ascii"), text(""),
                    frame(0x01, b"frag"), frame(0x89, b"ping"), frame(0x80, b"ment"),
                    frame(0x82, b""), close(1000, ""),
                ];
                raw::Peer::open_with(listener, "", &bytes.concat()).frames()
            });
            let script = format!(r#"local c = create("WebSocket", ...)
                c.MessageReceived:Connect(function(...) print(select('#', ...), shown((...))) end)
                {more}
                c.Closed:Connect(function(...) print(select('#', ...), "closed") end)"#);
            let said = runtime(mode).says(&script, server.url());
            assert_eq!(said, [
                "1 text", "1 \\xff\\x00\\r\\n", "1 ascii", "1 ", "1 fragment", "1 ", "0 closed",
            ]);
            assert_eq!(server.end(), ["pong ping", "close 1000"]);
        }
    }

    // A reply to a message before the server's close frame is still sent.
    fn a_reply_before_the_close_is_answered(mode) {
        let server = serve(|listener| {
            let bytes = [text("1"), text("2"), close(4001, "bye")].concat();
            raw::Peer::open_with(listener, "", &bytes).frames()
        });
        let script = r#"local c = create("WebSocket", ...)
            c.MessageReceived:Connect(function(m) c:Send("reply " .. m) end)
            c.Closed:Connect(function() c:Send("too late") print(c.ConnectionState.Name) end)
            c.Error:Connect(error)"#;
        assert_eq!(runtime(mode).says(script, server.url()), ["Closed"]);
        assert_eq!(server.end(), ["reply 1", "reply 2", "close 4001"]);
    }

    fn a_clean_close_is_no_error_whatever_its_code(mode) {
        for bytes in [close(1000, ""), close(1011, "boom"), close(4001, "x"), frame(0x88, b"")] {
            let server = serve(move |listener| raw::Peer::open_with(listener, "", &bytes).frames());
            let said = watch(mode, "WebSocket", &server.url(), "nil");
            assert_eq!((said.len(), &*said[1]), (2, "Closed Closed"), "{said:?}");
            server.end();
        }
    }

    // `Opened` fires for any status, with the server's header fields.
    fn what_a_raw_stream_opens_with(mode) {
        let fields = "x-b: 1\r\nX-A:  two words \r\nx-b: 2\r\nSet-Cookie: a=b\r\n";
        let shown = "x-b: 1\\r\\nX-A: two words\\r\\nx-b: 2\\r\\nSet-Cookie: a=b\\r\\n";
        for status in ["200 OK", "401 Unauthorized", "404 ", "500 Oh no", "302 Found"] {
            let said = answers(mode, "RawStream", response(status, fields, "body"));
            let open = format!("Opened Open {} {shown}Content-Length: 4\\r\\n", &status[..3]);
            assert_eq!(said, [&*open, "MessageReceived Open body", "Closed Closed"], "{status}");
        }
        for (answer, open) in [
            ("HTTP/1.1 204 No Content\r\nA: b\r\n\r\n", "Opened Open 204 A: b\\r\\n"),
            ("HTTP/1.0 200 OK\r\n\r\n", "Opened Open 200 "),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
                "Opened Open 304 Content-Length: 9\\r\\n"),
            ("HTTP/1.1 100 Continue\r\nB: c\r\n\r\nHTTP/1.1 503 X\r\nA: b\r\n\r\n",
                "Opened Open 503 A: b\\r\\n"),
        ] {
            assert_eq!(answers(mode, "RawStream", answer), [open, "Closed Closed"], "{answer}");
        }
    }

    // Each chunk is one message with its bytes unchanged. Chunks are never merged.
    fn the_messages_of_a_raw_stream(mode) {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunks: [&[u8]; 7] =
            [b"hello", b" ", b"\0", b"\xFF\xFE", b"\xE2\x82", b"\xAC", b"data: x\n\n"];
        let mut bytes = head.as_bytes().to_vec();
        for chunk in chunks {
            bytes.extend_from_slice(format!("{:x};ext=1\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(&[chunk, b"\r\n"].concat());
        }
        bytes.extend_from_slice(b"0\r\nTrailer: x\r\n\r\nbehind it");
        assert_eq!(answers(mode, "RawStream", bytes), [
            "Opened Open 200 Transfer-Encoding: chunked\\r\\n",
            "MessageReceived Open hello", "MessageReceived Open  ", "MessageReceived Open \\x00",
            "MessageReceived Open \\xff\\xfe", "MessageReceived Open \\xe2\\x82",
            "MessageReceived Open \\xac", "MessageReceived Open data: x\\n\\n", "Closed Closed",
        ]);
    }

    // The client reports received bytes before the rest of their chunk, or of the body, arrives.
    fn what_has_come_of_a_raw_stream_is_reported_at_once(mode) {
        for (head, first) in [
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "8\r\nfirs"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n", "firs"),
            ("HTTP/1.1 200 OK\r\n\r\n", "firs"),
        ] {
            let (go, wait) = std::sync::mpsc::channel::<()>();
            let server = common::serve(move |mut peer| {
                peer.request();
                peer.write(format!("{head}{first}").as_bytes());
                wait.recv().unwrap();
                peer.write(b"t,la");
                finish(&mut peer);
            });
            let mut rt = runtime(mode);
            let go = rt.runtime.lua().create_function(move |_, ()| Ok(go.send(()).is_ok()));
            rt.runtime.lua().globals().set("go", go.unwrap()).unwrap();
            let script = r#"local c = create("RawStream", ...)
                eq(c.MessageReceived:Wait(), "firs")
                go()
                eq(c.MessageReceived:Wait(), "t,la")
                c.Closed:Wait()
                done()"#;
            rt.passes(script, url_for("RawStream", &server));
            server.join();
        }
    }

    // Blocks are unchanged except for their line ends and the byte order mark at the start.
    fn the_messages_of_an_event_stream(mode) {
        for (body, blocks) in [
            ("event: x\ndata: y\n\n", &["event: x\\ndata: y\\n\\n"][..]),
            ("data: 1\n\ndata: 2\n\n", &["data: 1\\n\\n", "data: 2\\n\\n"]),
            ("data: 1\r\n\r\ndata: 2\r\rid: 3\n\r\n",
                &["data: 1\\n\\n", "data: 2\\n\\n", "id: 3\\n\\n"]),
            (": comment\n\n:\n\ndata\n\n", &[": comment\\n\\n", ":\\n\\n", "data\\n\\n"]),
            ("\u{FEFF}data: 1\n\n\u{FEFF}x\n\n", &["data: 1\\n\\n", "\\xef\\xbb\\xbfx\\n\\n"]),
            ("\n\n\ndata: 1\n\n\n\n", &["data: 1\\n\\n"]),
            ("data: 1\n\ndata: unfin", &["data: 1\\n\\n", "data: unfin"]),
            ("data: 1\n", &["data: 1\\n"]),
            ("data: a\0b\n\n", &["data: a\\x00b\\n\\n"]),
            ("", &[]),
        ] {
            let said = answers(mode, "SSE", format!("{EVENTS}{body}"));
            let messages = blocks.iter().map(|b| format!("MessageReceived Open {b}"));
            let want: Vec<String> = [OPENED.to_owned()]
                .into_iter().chain(messages).chain(["Closed Closed".to_owned()]).collect();
            assert_eq!(said, want, "{body:?}");
        }
        let said = answers(mode, "SSE", [EVENTS.as_bytes(), b"data: \xFF\xC3(\n\n"].concat());
        assert_eq!(said[1], "MessageReceived Open data: \\xff\\xc3(\\n\\n");
    }

    // A response with the type of an event stream opens with any status. Chunks do not cut blocks.
    fn what_an_event_stream_opens_with(mode) {
        for (kind, status) in [
            ("text/event-stream", "200 OK"),
            ("Text/Event-Stream ; charset=utf-8", "200 OK"),
            ("text/event-stream;x", "500 Oh"),
        ] {
            let said = answers(mode, "SSE", format!(
                "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3\r\nid:\r\n3\r\n1\n\n\r\n0\r\n\r\n"
            ));
            let open = format!("Opened Open {} Content-Type: {kind}\\r\\n", &status[..3]);
            assert_eq!(said[0], format!("{open}Transfer-Encoding: chunked\\r\\n"));
            assert_eq!(said[1..], ["MessageReceived Open id:1\\n\\n", "Closed Closed"]);
        }
    }

    fn nothing_can_be_sent_over_a_stream(mode) {
        let head = format!("{EVENTS}data: 1\n\n");
        for kind in ["SSE", "RawStream"] {
            let answer = head.clone();
            let server = common::serve(move |mut peer| {
                peer.request();
                peer.write(answer.as_bytes());
                peer.rest()
            });
            let script = r#"local kind, url = ...
                local c = create(kind, url)
                for _, m in { "x", "", 5, true, {}, c } do
                    eq(select('#', c:Send(m)), 0)
                end
                c:Send()
                c.MessageReceived:Wait()
                c:Send("x")
                c:Close()
                c.Closed:Wait()
                c:Send("x")
                done()"#;
            runtime(mode).passes(script, (kind, url_for(kind, &server)));
            assert_eq!(server.join(), 0, "bytes behind the request");
        }
    }

    fn close_at_any_time(mode) {
        const OPEN: &str = "Opened Open 200";
        const FIRST: &str = "MessageReceived Open 1";
        const ERROR: &str = "Error Error 200 HttpError: NetFail (malformed chunk line \"z\")";
        for (when, want) in [
            // The script closes in the middle of the head, and before the first byte.
            ("later", &["Closed Closed"][..]),
            ("at once", &["Closed Closed"]),
            ("ConnectionState", &["Closed Closed"]),
            ("Changed", &["Closed Closed"]),
            // Handlers that are called later see the new state; calls in progress continue.
            ("Opened", &["Opened Closed 200", "Closed Closed"]),
            ("MessageReceived", &[OPEN, "MessageReceived Closed 1", "Closed Closed"]),
            ("Error", &[OPEN, FIRST, "MessageReceived Open 2", ERROR, "Closed Error"]),
            ("Closed", &[OPEN, FIRST, "MessageReceived Open 2", ERROR, "Closed Error"]),
        ] {
            let asked = Flag::default();
            let its = asked.clone();
            let server = common::serve(move |mut peer| {
                if !peer.begins() {
                    return;
                }
                peer.request();
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";
                let body = "\r\n1\r\n1\r\n1\r\n2\r\nzz\r\n";
                let answer = [head, if when == "later" { "" } else { body }].concat();
                let _ = peer.try_write(answer.as_bytes());
                its.set();
                peer.rest();
            });
            let mut rt = runtime(mode);
            rt.flag("asked", &asked);
            let said = rt.says(CLOSES, (when, url_for("RawStream", &server)));
            assert_eq!(said, want, "{when}");
            // If the client has made no connection, the server still waits for one; this one ends it.
            drop(rt);
            let _ = std::net::TcpStream::connect(server.address);
            server.join();
        }
    }
}
