//! `Stats` of a WebSocket and of a client of that type.

use super::raw::{Peer, Raw, close, frame, serve, text};
use super::streams::*;
use super::support::*;

/// A server that receives two messages, sends two and a ping, answers the first ping with its payload,
/// and answers the close frame.
fn talks() -> Raw<()> {
    serve(|listener| {
        let mut peer = Peer::open(listener);
        assert_eq!(peer.received(), "hello");
        assert_eq!(peer.next().unwrap().payload.len(), 200);
        // An unsolicited pong does not answer a ping.
        peer.send(&[frame(0x8A, b"else"), text("abc"), frame(0x02, &[1; 100])].concat());
        peer.send(&[frame(0x89, b"you?"), frame(0x80, &[2; 200])].concat());
        assert_eq!(peer.received(), "pong you?");
        let ping = peer.next().unwrap();
        assert_eq!(ping.opcode, 9);
        std::thread::sleep(std::time::Duration::from_millis(20));
        peer.send(&frame(0x8A, &ping.payload));
        peer.rest();
    })
}

/// Prints all fields of such a table.
const SHOW: &str = r#"local function show(s)
        return `{s.BytesSent} {s.BytesReceived} {s.MessagesSent} {s.MessagesReceived} {s.RoundTrip ~= nil} {s.CompressionRatio}`
    end"#;

both! {
    fn every_number_counts_what_it_says(mode) {
        let script = format!(r#"local ws = WebSocket.connect(...)
            {SHOW}
            eq(show(ws.Stats), "0 0 0 0 false nil")
            ws:Send("hello")
            ws:Send(buffer.create(200))
            eq(ws.OnMessage:Wait(), "abc")
            eq(#ws.OnMessage:Wait(), 300)
            -- Heads: 6 of a short frame, 8 of a long one; a pong of 4 bytes may have left already.
            local s = ws.Stats
            check(s.BytesSent == 11 + 208 or s.BytesSent == 11 + 208 + 10, s.BytesSent)
            eq(s.BytesReceived, 6 + 5 + 102 + 6 + 204)
            eq(s.MessagesSent, 2)
            eq(s.MessagesReceived, 2)
            eq(s.RoundTrip, nil)
            ws:Ping("p")
            ws.OnPong:Wait()
            local took = ws.Stats.RoundTrip
            -- The server has waited so long.
            check(took >= 0.02, took)
            -- Another table each time, that stays as it is.
            check(ws.Stats ~= ws.Stats)
            eq(table.isfrozen(s), true)
            eq(getmetatable(s), nil)
            raises("", function() s.BytesSent = 0 end)
            ws:Close(1000)
            ws.OnClose:Wait()
            eq(show(ws.Stats), "{} {} 2 2 true nil")
            eq(ws.Stats.RoundTrip, took)
            done()"#, 11 + 208 + 10 + 7 + 8, 323 + 3 + 2);
        let server = talks();
        Rt::new(mode).passes(&script, server.url());
        server.end();
    }

    fn they_stay_though_others_take_the_place(mode) {
        let server = serve(|listener| {
            for _ in 0..4 {
                let mut peer = Peer::open(listener);
                peer.send(&[text("x"), close(1000, "")].concat());
                peer.frames();
            }
        });
        let script = r#"local url = ...
            local all = {}
            for i = 1, 4 do
                all[i] = WebSocket.connect(url)
                -- The end has come, and is reported once the thread yields.
                local begin = os.clock()
                repeat until os.clock() - begin > 0.03
                if i > 2 then all[i].OnClose:Wait() end
            end
            for i = 1, 4 do
                if all[i].State ~= "Closed" then all[i].OnClose:Wait() end
                local s = all[i].Stats
                eq(`{s.BytesReceived} {s.MessagesSent} {s.MessagesReceived}`, "7 0 1", i)
            end
            done()"#;
        Rt::new(mode).passes(script, server.url());
        server.end();
    }

    fn a_lost_connection_has_its_last_numbers(mode) {
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            peer.send(&[text("abc"), frame(0x83, b"")].concat());
            peer.frames();
        });
        let script = format!(r#"local ws = WebSocket.connect(...)
            {SHOW}
            ws:Send("a")
            ws.OnClose:Wait()
            local s = ws.Stats
            eq(`{{s.MessagesSent}} {{s.MessagesReceived}}`, "1 1")
            check(s.BytesReceived >= 5, show(s))
            -- What was sent leaves behind the handlers.
            until_true(function() return ws.Stats.BytesSent >= 7 end)
            done()"#);
        Rt::new(mode).passes(&script, server.url());
        server.end();
    }

    fn a_client_of_type_websocket_has_them(mode) {
        let script = format!(r#"local c = create("WebSocket", ...)
            {SHOW}
            eq(show(c.Stats), "0 0 0 0 false nil")
            c:Send("hello")
            c.MessageReceived:Wait()
            eq(c.Stats.MessagesSent, 1)
            eq(c.Stats.MessagesReceived, 1)
            c:Close()
            c.Closed:Wait()
            eq(c.Stats.MessagesReceived, 1)
            for _, kind in {{ "SSE", "RawStream" }} do
                local other = create(kind, "http://127.0.0.1:9/")
                eq(other.Stats, nil)
                other:Close()
            end
            local never = create("WebSocket", "ws://127.0.0.1:1/")
            never.Closed:Wait()
            eq(show(never.Stats), "0 0 0 0 false nil")
            done()"#);
        let server = echo();
        runtime(mode).passes(&script, server.url());
    }
}

#[test]
#[cfg(feature = "deflate")]
fn the_ratio_is_that_of_compressed_messages() {
    let server = echo();
    let script = r#"local ws = WebSocket.connect((...), { Compress = true })
        check(string.find(ws.Headers, "permessage%-deflate"), ws.Headers)
        ws:Send("short")
        ws.OnMessage:Wait()
        local long = string.rep("the same again, ", 1000)
        ws:Send(long)
        eq(ws.OnMessage:Wait(), long)
        local s = ws.Stats
        check(s.CompressionRatio > 0 and s.CompressionRatio < 0.1, s.CompressionRatio)
        check(s.BytesSent < 1000, s.BytesSent)
        eq(s.MessagesSent, 2)
        ws:Close()
        ws.OnClose:Wait()
        eq(ws.Stats.CompressionRatio, s.CompressionRatio)
        done()"#;
    passes(Mode::Inline, script, server.url().to_owned() + "?compress");
}
