//! §1: the object, and the options of `connect`.

use std::io::Read as _;

use super::raw::{self, Peer, serve};
use super::support::*;

both! {
    // FAULTS 75: among the options.
    fn everything_about_the_object(mode) {
        let server = echo();
        passes(mode, include_str!("object.luau"), server.url());
    }

    fn what_the_options_put_into_the_request(mode) {
        let server = serve(|listener| {
            let mut peer = Peer::open_with(
                listener,
                "Sec-WebSocket-Protocol: b\r\nX-Raw:  spaced \r\nx-raw: twice\r\n",
                b"",
            );
            assert_eq!(peer.field("Authorization"), Some("Bearer abc"));
            assert_eq!(peer.field("Origin"), Some("https://a.example"));
            assert_eq!(peer.field("Sec-WebSocket-Protocol"), Some("a, b"));
            peer.rest()
        });
        let text = r#"local ws = WebSocket.connect(..., {
                Headers = { Authorization = "Bearer abc", Origin = "https://a.example" },
                Protocols = { "a", "b" },
            })
            eq(ws.Protocol, "b")
            check(string.find(ws.Headers, "X-Raw: spaced\r\n", 1, true), ws.Headers)
            check(string.find(ws.Headers, "\r\nx-raw: twice\r\n", 1, true), ws.Headers)
            ws:Close(3000, "bye")
            ws.OnClose:Wait()
            done()"#;
        passes(mode, text, server.url());
        assert_eq!(server.end(), ["close 3000 bye"]);
        // Without options: no Origin, no offers.
        let server = serve(|listener| {
            let peer = Peer::open(listener);
            let fields = ["Origin", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"];
            assert_eq!(fields.map(|f| peer.field(f)), [None; 3]);
            assert_eq!(
                peer.field("User-Agent"),
                Some(concat!("moonwire/", env!("CARGO_PKG_VERSION")))
            );
        });
        passes(mode, "WebSocket.connect(...) done()", server.url());
        server.end();
    }

    fn a_message_over_the_limit_closes_with_1006_here_and_1009_there(mode) {
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            peer.send(&raw::text("12345"));
            peer.send(&raw::text("123456"));
            peer.rest()
        });
        let text = r#"local ws = WebSocket.connect(..., { MaxMessageSize = 5 })
            ws.OnMessage:Connect(print)
            ws.OnClose:Connect(function()
                print(ws.State, ws.CloseCode, ws.CloseReason)
            end)"#;
        let said = says(mode, text, server.url());
        assert_eq!(said[0], "12345");
        let why = "Closed 1006 message too big: the limit here is 5 bytes (MaxMessageSize)";
        assert_eq!(said[1], why);
        assert_eq!(said.len(), 2);
        let reported = server.end();
        assert!(reported[0].starts_with("close 1009"), "{reported:?}");
    }

    fn keep_alive_pings_are_sent_as_asked(mode) {
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            assert_eq!(peer.received(), "ping ");
            peer.send(&raw::frame(0x8A, b""));
            assert_eq!(peer.received(), "ping ");
            peer.send(&raw::close(1000, ""));
            peer.rest()
        });
        let text = r#"local ws = WebSocket.connect(..., { PingInterval = 0.05 })
            ws.OnClose:Wait()
            done()"#;
        passes(mode, text, server.url());
        assert_eq!(server.end(), ["close 1000"]);
        // A ping without an answer ends the connection.
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            assert_eq!(peer.received(), "ping ");
            peer.received()
        });
        let mut rt = Rt::with(mode, |mut options| {
            options.config().limits.pong = std::time::Duration::from_millis(50);
            options.ping_interval(Some(std::time::Duration::from_millis(50)))
        });
        let text = "local ws = WebSocket.connect(...)
            ws.OnClose:Wait()
            print(ws.CloseCode, ws.CloseReason)";
        let said = rt.says(text, server.url());
        assert_eq!(said, ["1006 the peer did not answer a keep-alive ping for 50ms"]);
        assert_eq!(server.end(), "EOF");
    }

    fn the_amount_that_waits(mode) {
        // The server reads only on request.
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let server = serve(move |listener| {
            let mut peer = Peer::open(listener);
            wait.recv().unwrap();
            // A frame that is not parsed: header, mask and payload.
            let mut frame = vec![0; 14 + 12 * 1024 * 1024];
            peer.stream.read_exact(&mut frame).unwrap();
            peer.rest()
        });
        let mut rt = Rt::new(mode);
        let go = std::sync::Mutex::new(go);
        let release = rt.runtime.lua().create_function(move |_, ()| {
            go.lock().unwrap().send(()).unwrap();
            Ok(())
        });
        rt.runtime.lua().globals().set("release", release.unwrap()).unwrap();
        let text = r#"local ws = WebSocket.connect(...)
            eq(ws.BufferedAmount, 0)
            local size = 12 * 1024 * 1024
            ws:Send(string.rep("x", size))
            check(ws.BufferedAmount > 0 and ws.BufferedAmount <= size + 14, ws.BufferedAmount)
            release()
            until_true(function() return ws.BufferedAmount == 0 end)
            ws:Close()
            ws.OnClose:Wait()
            done()"#;
        rt.passes(text, server.url());
        assert_eq!(server.end(), ["close 1000"]);
    }
}
