//! §6: faults seen in other Luau runtimes. Other files test these: frames glued to the 101
//! response and a reply after the server's close (`messages`), a server that accepts and never
//! answers, `ws://[::1]:port/`, the answers 404, 302 and 200 (`connect`), a raising handler
//! (`signals`), a collected reference (`lifetime`), `OnClose` twice (`messages`).

use std::time::Duration;

use moonwire::peer::Server;

use super::common::{pem, trusting};
use super::raw::{Peer, close, frame, serve, text};
use super::support::*;

/// Prints the events of a connection, then how it ended.
const LISTENS: &str = r#"local ws = WebSocket.connect(...)
    ws.OnMessage:Connect(function(m, binary)
        print(if binary then "binary" else "text", m)
    end)
    ws.OnPong:Connect(function(data)
        print("pong", data)
    end)
    ws.OnClose:Connect(function()
        print("closed", ws.CloseCode, ws.CloseReason)
    end)"#;

/// Runs a script that only listens, with a server that sends `bytes`. Returns the output, and the
/// frames that the server received.
#[track_caller]
fn outcome(mode: Mode, bytes: &[&[u8]]) -> (Vec<String>, Vec<String>) {
    let bytes = bytes.concat();
    let server = serve(move |listener| {
        let mut peer = Peer::open(listener);
        peer.send(&bytes);
        peer.frames()
    });
    let said = says(mode, LISTENS, server.url());
    (said, server.end())
}

fn compare<const N: usize, const M: usize>(
    got: (Vec<String>, Vec<String>),
    said: [&str; N],
    reported: [&str; M],
) {
    assert_eq!(got.0, said);
    assert_eq!(got.1, reported);
}

const LENGTHS: &str = r#"local ws = WebSocket.connect(...)
    local sizes = { 0, 1, 125, 126, 127, 65535, 65536, 70000, 1000000 }
    for _, size in sizes do
        local text = string.rep("x", size)
        ws:Send(text)
        eq(ws.OnMessage:Wait() == text, true, size)
        local bytes = string.rep("\xFE", size)
        ws:Send(bytes, true)
        local back, binary = ws.OnMessage:Wait()
        eq(back == bytes, true, size)
        eq(binary, true)
    end
    -- The script sends all of them at once.
    local n = 0
    ws.OnMessage:Connect(function(m)
        n += 1
        eq(#m, sizes[n])
        if n == #sizes then ws:Close() end
    end)
    for _, size in sizes do
        ws:Send(string.rep("y", size))
    end
    ws.OnClose:Wait()
    eq(n, #sizes)
    done()"#;

const AT_ONCE: &str = r#"local url = ...
    local ended = 0
    for k = 1, 4 do
        task.spawn(function()
            local ws = WebSocket.connect(url)
            local big, n, got = string.rep(tostring(k), 20000), 300, 0
            ws.OnMessage:Connect(function(m)
                got += 1
                eq(#m, if got % 10 == 0 then 20000 else 1)
                eq(string.sub(m, 1, 1), tostring(k))
                if got == n then ws:Close() end
            end)
            task.spawn(function()
                for i = 1, n do
                    ws:Send(if i % 10 == 0 then big else tostring(k))
                    if i % 50 == 0 then task.wait() end
                end
            end)
            ws.OnClose:Wait()
            eq(got, n)
            ended += 1
        end)
    end
    until_true(function() return ended == 4 end)
    done()"#;

both! {
    fn a_ping_before_any_data(mode) {
        let got = outcome(mode, &[&frame(0x89, b"are you there?"), &text("x"), &close(1000, "")]);
        compare(got, ["text x", "closed 1000 "], ["pong are you there?", "close 1000"]);
    }

    fn a_pong_has_the_pings_payload(mode) {
        let all: Vec<u8> = (0..125).map(|n| n * 2).collect();
        let server = serve(move |listener| {
            let mut peer = Peer::open(listener);
            for payload in [&b""[..], b"\0", b"\xFF\xFE", &all] {
                peer.send(&frame(0x89, payload));
                let pong = peer.next().unwrap();
                assert_eq!((pong.fin, pong.opcode, &pong.payload[..]), (true, 10, payload));
            }
            peer.send(&[frame(0x89, b"1"), frame(0x89, b"2"), close(1000, "")].concat());
            peer.frames()
        });
        assert_eq!(says(mode, LISTENS, server.url()), ["closed 1000 "]);
        assert_eq!(server.end(), ["pong 1", "pong 2", "close 1000"]);
    }

    fn pings_are_answered_without_the_script(mode) {
        // The script has no listener, only a reference and a thread that polls `State`.
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            peer.send(&frame(0x89, b"x"));
            assert_eq!(peer.received(), "pong x");
            peer.send(&close(1000, ""));
            peer.frames()
        });
        let script = r#"local ws = WebSocket.connect(...)
            until_true(function() return ws.State == "Closed" end)
            done()"#;
        passes(mode, script, server.url());
        server.end();
    }

    fn an_unsolicited_pong(mode) {
        let (full, empty) = (frame(0x8A, b"?"), frame(0x8A, b""));
        let got = outcome(mode, &[&full, &text("x"), &empty, &close(1000, "")]);
        compare(got, ["pong ?", "text x", "pong ", "closed 1000 "], ["close 1000"]);
    }

    fn a_ping_inside_a_fragmented_message(mode) {
        let got = outcome(mode, &[
            &frame(0x01, b"Hel"), &frame(0x89, b"now"), &frame(0x00, b""), &frame(0x8A, b"p"),
            &frame(0x80, b"lo"), &close(1000, ""),
        ]);
        compare(got, ["pong p", "text Hello", "closed 1000 "], ["pong now", "close 1000"]);
    }

    fn a_fragment_cut_inside_a_character(mode) {
        let euro = "€ und ü".as_bytes();
        let got = outcome(mode, &[
            &frame(0x01, &euro[..1]), &frame(0x00, &euro[1..2]), &frame(0x80, &euro[2..]),
            &frame(0x02, b"\xE2"), &frame(0x80, b"\x82\xAC"),
            &close(1000, ""),
        ]);
        compare(got, ["text € und ü", "binary €", "closed 1000 "], ["close 1000"]);
    }

    fn messages_of_every_kind_of_length(mode) {
        let server = echo();
        passes(mode, LENGTHS, server.url());
    }

    fn messages_over_tls(mode) {
        let any = ([127, 0, 0, 1], 0).into();
        let server = Server::bind_tls(any, &pem("good.pem"), &pem("good.key")).unwrap();
        let server = server.spawn().unwrap();
        for script in [LENGTHS, AT_ONCE] {
            let mut rt = Rt::with(mode, |mut options| {
                options.config().tls = trusting().tls;
                options
            });
            rt.passes(script, server.url());
        }
    }

    fn a_close_without_a_code(mode) {
        compare(outcome(mode, &[&frame(0x88, b"")]), ["closed 1005 "], ["close"]);
    }

    fn a_close_with_4001_and_a_reason(mode) {
        let got = outcome(mode, &[&close(4001, "bye, ü")]);
        compare(got, ["closed 4001 bye, ü"], ["close 4001"]);
    }

    fn a_stream_that_just_ends(mode) {
        let server = serve(|listener| {
            Peer::open(listener).send(&text("x"));
        });
        assert_eq!(says(mode, LISTENS, server.url()), [
            "text x", "closed 1006 lost: the stream ended without a close frame",
        ]);
        // The stream ends in the middle of a frame.
        let server = serve(|listener| {
            Peer::open(listener).send(&frame(0x81, b"12345")[..4]);
        });
        let said = says(mode, LISTENS, server.url());
        assert_eq!(said, ["closed 1006 lost: the stream ended without a close frame"]);
    }

    fn a_tcp_reset(mode) {
        let server = serve(|listener| {
            let peer = Peer::open(listener);
            rustix::net::sockopt::set_socket_linger(&peer.stream, Some(Duration::ZERO)).unwrap();
        });
        let script = format!("{LISTENS}\nws:Send('never read')");
        let said = says(mode, &script, server.url());
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("closed 1006 lost: "), "{said:?}");
    }

    fn a_rule_that_the_server_breaks(mode) {
        for (bytes, code, rule) in [
            (vec![0x81, 0x80, 0, 0, 0, 0], "close 1002", "§5.1"),
            (frame(0x81, b"\xC3("), "close 1007", "§8.1"),
            (frame(0x83, b""), "close 1002", "§5.2"),
            (frame(0x09, b""), "close 1002", "§5.5"),
            (frame(0x80, b""), "close 1002", "§5.4"),
            (close(1005, ""), "close 1002", "§7.4"),
        ] {
            let (said, reported) = outcome(mode, &[&text("before"), &bytes, &text("after")]);
            assert_eq!((said.len(), &*said[0]), (2, "text before"), "{said:?}");
            let head = format!("closed 1006 the server broke RFC 6455 {rule}");
            assert!(said[1].starts_with(&head), "{said:?}");
            assert!(reported.len() == 1 && reported[0].starts_with(code), "{reported:?}");
        }
    }

    // A reply to messages from before the violation is still sent, before our close frame.
    fn a_reply_before_the_verdict(mode) {
        let server = serve(|listener| {
            let bytes = [text("1"), text("2"), frame(0x83, b"")].concat();
            Peer::open_with(listener, "", &bytes).frames()
        });
        let script = r#"local ws = WebSocket.connect(...)
            ws.OnMessage:Connect(function(m)
                ws:Send("reply " .. m)
            end)
            ws.OnClose:Connect(function()
                print(ws.CloseCode)
                ws:Send("too late")
            end)"#;
        assert_eq!(says(mode, script, server.url()), ["1006"]);
        let reported = server.end();
        assert_eq!(reported[..2], ["reply 1", "reply 2"]);
        assert!(reported.len() == 3 && reported[2].starts_with("close 1002"), "{reported:?}");
    }

    fn send_then_close(mode) {
        let server = serve(|listener| Peer::open(listener).rest());
        let script = r#"local ws = WebSocket.connect(...)
            ws:Send("last")
            ws:Close()
            ws:Send("too late")"#;
        assert!(says(mode, script, server.url()).is_empty());
        assert_eq!(server.end(), ["last", "close 1000"]);
    }

    fn close_twice(mode) {
        let server = serve(|listener| Peer::open(listener).rest());
        let script = r#"local ws = WebSocket.connect(...)
            ws.OnClose:Connect(function() print("closed") ws:Close() end)
            ws:Close(4000, "first")
            ws:Close(4001, "second")
            ws.Close(ws)
            ws.OnClose:Wait()
            ws:Close()"#;
        assert_eq!(says(mode, script, server.url()), ["closed"]);
        assert_eq!(server.end(), ["close 4000 first"]);
    }

    fn sending_and_receiving_at_once(mode) {
        let server = echo();
        passes(mode, AT_ONCE, server.url());
    }

    // Each side sends more than all buffers hold. Neither may block the other.
    fn more_than_all_buffers_hold_in_both_directions(mode) {
        let server = echo();
        let script = r#"local ws = WebSocket.connect(...)
            local chunk, n, got = string.rep("x", 200000), 100, 0
            ws.OnMessage:Connect(function(m)
                got += #m
                if got == n * #chunk then ws:Close() end
            end)
            for _ = 1, n do
                -- `Send` raises while the queue is full, until the script reads answers.
                while not pcall(ws.Send, ws, chunk) do task.wait() end
            end
            ws.OnClose:Wait()
            eq(got, n * #chunk)
            done()"#;
        passes(mode, script, server.url());
    }

    fn messages_while_the_script_sleeps_in_a_handler(mode) {
        let server = serve(|listener| {
            let mut peer = Peer::open_with(listener, "", &[text("1"), text("2")].concat());
            assert_eq!(peer.received(), "1 done");
            peer.send(&[text("3"), close(1000, "")].concat());
            peer.frames()
        });
        let script = r#"local ws = WebSocket.connect(...)
            ws.OnMessage:Connect(function(m)
                print("begin", m)
                if m == "1" then
                    task.wait(0.05)
                    ws:Send("1 done")
                end
                print("end", m)
            end)"#;
        assert_eq!(says(mode, script, server.url()), [
            "begin 1", "begin 2", "end 2", "end 1", "begin 3", "end 3",
        ]);
        assert_eq!(server.end(), ["close 1000"]);
    }
}
