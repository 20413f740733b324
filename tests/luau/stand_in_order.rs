//! Messages that arrive while a script computes wait for it: in order, complete, and bounded.

use std::io::Write as _;
use std::time::Duration;

use super::common::{self, close, frame, is_timeout, listen, serve_either};
use super::stand_in::{leave, limits, ping, received, runtime, text};
use super::support::*;

// Messages from before, during and after the computation: all arrive, in order, on every
// connection.
#[test]
fn messages_keep_their_order_and_none_is_lost() {
    const MANY: usize = 30;
    let flag = Flag::default();
    let its = flag.clone();
    let server = listen(move |listener| {
        let accept = |_| {
            let mut peer = common::Peer::plain(listener.accept().unwrap().0);
            peer.accept(b"");
            assert_eq!(received(&mut peer), "ready");
            peer
        };
        let mut peers: Vec<common::Peer> = (0..MANY).map(accept).collect();
        let mut write = |from: usize, to: usize, wait: bool| {
            for n in from..to {
                for peer in &mut peers {
                    peer.write(&text(&n.to_string()));
                }
            }
            for peer in peers.iter_mut().filter(|_| wait) {
                ping(peer);
            }
        };
        write(0, 20, false);
        write(20, 60, true);
        its.set();
        write(60, 100, false);
        for peer in &mut peers {
            peer.write(&close(1000, ""));
            leave(peer);
        }
    });
    let mut rt = runtime(&flag, limits(|l| l.opening_per_peer = 1000));
    rt.passes(
        r#"local url, many = ...
        local open = 0
        local wait = 0
        for i = 1, many do
            task.spawn(function()
                local ws = WebSocket.connect(url)
                local next = 0
                ws.OnMessage:Connect(function(m)
                    if m ~= tostring(next) then error(`{i}: {m} instead of {next}`) end
                    next += 1
                    -- More than one piece of work that takes long.
                    if i % 10 == 1 and (next == 10 or next == 50) then compute() end
                end)
                ws:Send("ready")
                ws.OnClose:Wait()
                if next ~= 100 then error(`{i}: {next} messages`) end
                open += 1
                if open == many then done() end
            end)
        end"#,
        (server.url(), MANY),
    );
    assert!(rt.runtime.stood_in()[0] > 0);
    server.join();
}

// The reactor changes threads many times, with messages that are read on both.
#[test]
fn taking_turns_changes_no_order() {
    let server = echo();
    let mut rt = Rt::with(Mode::Inline, limits(|l| l.stand_in = Duration::from_millis(1)));
    rt.passes(
        r#"local url = ...
        local left = 8
        for i = 1, 8 do
            task.spawn(function()
                local ws = WebSocket.connect(url)
                local next = 1
                ws.OnMessage:Connect(function(m)
                    if m ~= tostring(next) then error(`{i}: {m} instead of {next}`) end
                    if next % 25 == i then
                        local start = os.clock()
                        repeat until os.clock() > start + 0.004
                    end
                    if next == 500 then ws:Close() end
                    if next % 10 == 0 then
                        for n = next + 11, next + 20 do ws:Send(tostring(n)) end
                    end
                    next += 1
                end)
                for n = 1, 20 do ws:Send(tostring(n)) end
                ws.OnClose:Wait()
                if next <= 500 then error(`{i}: {next} messages`) end
                left -= 1
                if left == 0 then done() end
            end)
        end"#,
        server.url(),
    );
    assert!(rt.runtime.stood_in()[0] > 0);
}

// A server that never stops, and a script that does not return: the server has to wait.
#[test]
fn what_waits_for_the_script_is_bounded() {
    const PIECE: usize = 50_000;
    const MOST: usize = 64 * 1024 * 1024 / PIECE;
    let flag = Flag::default();
    let its = flag.clone();
    let server = common::serve(move |mut peer| {
        peer.accept(b"");
        assert_eq!(received(&mut peer), "ready");
        peer.tcp.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let piece = frame(0x82, &[7; PIECE]);
        let (mut count, mut at) = (0, 0);
        // Until the client takes nothing any more.
        loop {
            match peer.tcp.write(&piece[at..]) {
                Ok(n) => at += n,
                Err(e) if is_timeout(&e) => break,
                Err(e) => panic!("{e}"),
            }
            if at == piece.len() {
                (count, at) = (count + 1, 0);
                assert!(count < MOST, "{count} messages are taken");
            }
        }
        its.set();
        peer.tcp.set_write_timeout(None).unwrap();
        peer.write(&piece[at..]);
        peer.write(&[text(&(count + 1).to_string()), close(1000, "")].concat());
        leave(&mut peer);
    });
    let change = limits(|l| (l.high_water, l.low_water) = (300_000, 100_000));
    let mut rt = runtime(&flag, change);
    rt.passes(
        r#"local ws = WebSocket.connect((...))
        local count = 0
        ws.OnMessage:Connect(function(m)
            if #m == 50000 then
                count += 1
                if count == 10 then compute() end
            else
                assert(tonumber(m) == count, m)
                done()
            end
        end)
        ws:Send("ready")
        ws.OnClose:Wait()"#,
        server.url(),
    );
    server.join();
}

// More than all buffers between the two hold.
#[test]
fn a_body_is_read_and_comes_whole() {
    for (kind, secure) in [("RawStream", false), ("RawStream", true), ("SSE", false), ("SSE", true)]
    {
        let flag = Flag::default();
        let its = flag.clone();
        let server = serve_either(secure, move |mut peer| {
            peer.request();
            peer.write(super::streams::EVENTS.as_bytes());
            let block = format!("data: {}\n\n", "x".repeat(65_536 - 8));
            for n in 0..260 {
                peer.write(block.as_bytes());
                if n == 255 {
                    its.set();
                }
            }
            peer.tcp.shutdown(std::net::Shutdown::Write).unwrap();
            peer.rest();
        });
        let mut rt = runtime(&flag, limits(|l| l.high_water = 1 << 30));
        rt.passes(
            r#"local kind, url = ...
            local client = game:GetService("HttpService"):CreateWebStreamClient(
                Enum.WebStreamClientType[kind], { Url = url })
            local bytes = 0
            client.Opened:Connect(function() compute() end)
            client.MessageReceived:Connect(function(m) bytes += #m end)
            client.Closed:Wait()
            assert(bytes == 260 * 65536, bytes)
            done()"#,
            (kind, super::streams::url_for("stream", &server)),
        );
        server.join();
    }
}
