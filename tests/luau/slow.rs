//! §1, rule 6: a slow server is not a dead one. What was sent before `Close` arrives, and lost
//! bytes are counted in the error.

use std::io::Read as _;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use moonwire::luau::Options;
use moonwire::mlua::Lua;

use super::raw::{LONG, Peer, Raw, close, frame, serve};
use super::streams;
use super::support::*;

/// More than the kernel takes for a connection whose other end does not read.
pub(crate) const MUCH: usize = 8 << 20;

/// A text of this many bytes, no part of which equals another.
fn much() -> String {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + (state >> 28) as u8)
    };
    (0..MUCH).map(next).collect()
}

/// Bytes of the frame around a message of that size: first byte, length, mask key.
pub(crate) const HEADER: usize = 14;

#[track_caller]
pub(crate) fn is_much(payload: &[u8]) {
    assert_eq!(payload.len(), MUCH);
    assert!(payload == much().as_bytes(), "something else came");
}

/// A test's server waits here until a script, or the test, lets it go on.
pub(crate) struct Gate(Receiver<()>);

pub(crate) fn gate() -> (Sender<()>, Gate) {
    let (sender, receiver) = channel();
    (sender, Gate(receiver))
}

impl Gate {
    #[track_caller]
    pub(crate) fn wait(&self) {
        self.0.recv_timeout(LONG).expect("the gate opens");
    }
}

/// Gives scripts a function that opens a gate.
pub(crate) fn give(lua: &Lua, name: &str, gate: Sender<()>) {
    let open = lua.create_function(move |_, ()| {
        // The server may have ended.
        let _ = gate.send(());
        Ok(())
    });
    lua.globals().set(name, open.unwrap()).unwrap();
}

/// A runtime with the text `much`, and `go`, which opens the gate.
pub(crate) fn runtime(mode: Mode, go: Sender<()>, change: impl FnOnce(Options) -> Options) -> Rt {
    let rt = streams::with(mode, change);
    rt.runtime.lua().globals().set("much", much()).unwrap();
    give(rt.runtime.lua(), "go", go);
    rt
}

/// A server that reads nothing, and ends when a script opens its gate.
fn goes_away(mode: Mode) -> (Raw<()>, Rt) {
    let (go, gate) = gate();
    let server = serve(move |listener| {
        let peer = Peer::open(listener);
        gate.wait();
        drop(peer);
    });
    (server, runtime(mode, go, |options| options))
}

/// The bytes until the end of the stream, or until it breaks.
pub(crate) fn count(peer: &mut Peer) -> u64 {
    let (mut buf, mut bytes) = (vec![0; 1 << 20], 0);
    loop {
        match peer.stream.read(&mut buf) {
            Ok(0) => return bytes,
            Ok(n) => bytes += n as u64,
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return bytes,
            Err(e) => panic!("{e}"),
        }
    }
}

/// The number in a text, between two others.
#[track_caller]
pub(crate) fn number(text: &str, before: &str, after: &str) -> u64 {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("{before:?} is not in {text:?}")).1;
    let number = rest.split_once(after).unwrap_or_else(|| panic!("{after:?} is not in {text:?}")).0;
    number.parse().unwrap_or_else(|e| panic!("{number:?}: {e} in {text:?}"))
}

/// The number of lost bytes in an error.
pub(crate) const LOST: &str = " bytes that were accepted did not leave";

both! {
    // FAULTS 66. The server begins to read when OnClose has fired.
    fn all_that_was_sent_before_close_arrives_however_late(mode) {
        let (go, gate) = gate();
        let server = serve(move |listener| {
            let mut peer = Peer::open(listener);
            gate.wait();
            let message = peer.next().unwrap();
            let rest = peer.rest();
            (message, rest)
        });
        let mut rt = runtime(mode, go, |mut options| {
            // It counts from the last byte that has left, not from the call of `Close`.
            options.config().limits.close = Duration::from_millis(200);
            options
        });
        let script = r#"local ws = WebSocket.connect(...)
            ws:Send(much)
            check(ws.BufferedAmount > 0)
            ws:Close(4000, "first")
            -- Neither sends a frame nor cuts off what waits.
            ws:Close(4001, "second")
            ws:Send("too late")
            local n, begin = 0, os.clock()
            ws.OnClose:Connect(function() n += 1 end)
            local begin = time()
            ws.OnClose:Wait()
            local took = time() - begin
            check(took > 0.9 and took < 5, took)
            eq(ws.CloseCode, 1006)
            eq(ws.State, "Closed")
            check(ws.BufferedAmount > 0)
            eq(ws.CloseReason, ws.BufferedAmount .. " bytes that were sent have not left yet")
            go()
            until_true(function() return ws.BufferedAmount == 0 end)
            -- The newest listener, this thread, goes first; the other one had its turn when this returns.
            task.wait()
            eq(n, 1)
            done()"#;
        rt.passes(script, server.url());
        let (message, rest) = server.end();
        is_much(&message.payload);
        assert_eq!(rest, ["close 4000 first"]);
        assert_eq!(rt.runtime.lost(), 0);
    }

    // A server that reads a little at a time, for longer than each of our limits.
    fn a_line_that_moves_is_not_cut(mode) {
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            let mut bytes = vec![0; HEADER + MUCH];
            for part in bytes.chunks_mut(MUCH / 50) {
                peer.stream.read_exact(part).unwrap();
                std::thread::sleep(Duration::from_millis(25));
            }
            peer.rest()
        });
        let mut rt = runtime(mode, gate().0, |mut options| {
            let limits = &mut options.config().limits;
            limits.close = Duration::from_millis(700);
            limits.stall = Duration::from_millis(400);
            options
        });
        rt.passes(
            r#"local ws = WebSocket.connect(...)
            ws:Send(much)
            ws:Close()
            ws.OnClose:Wait()
            -- It does not wait for all of that.
            check(ws.CloseCode == 1000 or ws.CloseCode == 1006)
            until_true(function() return ws.BufferedAmount == 0 end)
            done()"#,
            server.url(),
        );
        assert_eq!(server.end(), ["close 1000"]);
        assert_eq!(rt.runtime.lost(), 0);
    }

    // The same for the other API: bytes that were sent before it was open, and afterwards.
    fn a_client_that_is_closed_has_sent_all(mode) {
        let (go, gate) = gate();
        let server = serve(move |listener| {
            let mut peer = Peer::open(listener);
            gate.wait();
            peer.rest()
        });
        let mut rt = runtime(mode, go, |mut options| {
            options.config().limits.close = Duration::from_millis(200);
            options
        });
        let script = r#"local c = create("WebSocket", ...)
            local closed = 0
            c.Closed:Connect(function() closed += 1 end)
            c.Error:Connect(error)
            c:Send("0")
            c.Opened:Wait()
            local pad = string.rep("x", 30000)
            for i = 1, 400 do
                c:Send(i .. pad)
            end
            c:Close()
            c:Close()
            c:Send("too late")
            c.Closed:Wait()
            task.wait(0.4)
            eq(closed, 1)
            go()
            done()"#;
        rt.passes(script, server.url());
        let reported = server.end();
        assert_eq!(reported.len(), 402);
        assert_eq!((&*reported[0], &*reported[401]), ("0", "close 1000"));
        for (i, message) in reported[1..401].iter().enumerate() {
            assert_eq!(message.trim_end_matches('x'), (i + 1).to_string());
            assert!(message.len() > 30_000);
        }
        assert_eq!(rt.runtime.lost(), 0);
    }

    // A script that has received OnClose has gone on.
    fn bytes_lost_after_close_are_a_warning_that_names_the_url(mode) {
        let (server, mut rt) = goes_away(mode);
        let script = r#"local ws = WebSocket.connect(...)
            ws:Send(much)
            ws:Close()
            ws.OnClose:Wait()
            go()
            until_true(function() return ws.BufferedAmount == 0 end)
            task.wait()
            print("end")"#;
        let url = server.url();
        let said = rt.says(script, url.as_str());
        server.end();
        assert_eq!((said.len(), &*said[1]), (2, "end"), "{said:?}");
        assert!(said[0].starts_with(&format!("warning: {url}: connection: lost: ")), "{said:?}");
        let lost = number(&said[0], "; ", LOST);
        assert!(said[0].ends_with(LOST), "{said:?}");
        assert!(lost > 0 && lost < MUCH as u64, "{lost}");
        assert_eq!(rt.runtime.lost(), lost);
        // It is reported once.
        rt.runtime.finish();
        assert_eq!((rt.runtime.lost(), rt.said.take().len()), (lost, 0));
    }

    fn bytes_lost_while_open_are_in_the_reason_or_in_a_warning(mode) {
        for listens in [true, false] {
            let (server, mut rt) = goes_away(mode);
            let script = r#"local url, listens = ...
                local ws = WebSocket.connect(url)
                -- Whoever listens to messages only does not hear of it.
                ws.OnMessage:Connect(error)
                ws:Send(much)
                go()
                if listens then ws.OnClose:Wait() end
                until_true(function() return ws.State == "Closed" end)
                eq(ws.CloseCode, 1006)
                print(ws.CloseReason)"#;
            let url = server.url();
            let said = rt.says(script, (url.as_str(), listens));
            server.end();
            let lost = number(said.last().unwrap(), "; ", LOST);
            assert!(lost > 0 && lost < MUCH as u64, "{lost}");
            let reason = said.last().unwrap();
            assert!(reason.starts_with("lost: ") && reason.ends_with(LOST), "{said:?}");
            match listens {
                true => assert_eq!((said.len(), rt.runtime.lost()), (1, 0), "{said:?}"),
                false => {
                    assert_eq!(said[..said.len() - 1], [format!("warning: {url}: connection: {reason}")]);
                    assert_eq!(rt.runtime.lost(), lost);
                }
            }
        }
    }

    // A script with a listener gets it before its second has passed.
    fn bytes_lost_soon_after_close_are_in_the_reason_or_in_a_warning(mode) {
        for listens in [true, false] {
            let (server, mut rt) = goes_away(mode);
            let script = r#"local url, listens = ...
                local ws = WebSocket.connect(url)
                ws:Send(much)
                ws:Close()
                go()
                if listens then ws.OnClose:Wait() end
                until_true(function() return ws.State == "Closed" end)
                print(ws.CloseReason)"#;
            let said = rt.says(script, (server.url(), listens));
            server.end();
            let lost = number(said.last().unwrap(), "; ", LOST);
            assert_eq!(said.len(), if listens { 1 } else { 2 }, "{said:?}");
            assert_eq!(rt.runtime.lost(), if listens { 0 } else { lost });
        }
    }

    // For the script the closing handshake is complete, with 1000; then the connection is lost.
    fn a_server_that_closes_and_goes_with_bytes_under_way_is_reported(mode) {
        let (go, gate) = gate();
        let server = serve(move |listener| {
            let mut peer = Peer::open(listener);
            gate.wait();
            peer.send(&close(1000, ""));
            gate.wait();
        });
        let mut rt = runtime(mode, go, |options| options);
        let script = r#"local ws = WebSocket.connect(...)
            ws:Send(much)
            go()
            ws.OnClose:Wait()
            print(ws.CloseCode)
            go()
            until_true(function() return ws.BufferedAmount == 0 end)
            task.wait()"#;
        let url = server.url();
        let said = rt.says(script, url.as_str());
        server.end();
        assert_eq!((said.len(), &*said[0]), (2, "1000"), "{said:?}");
        assert!(said[1].starts_with(&format!("warning: {url}: connection: lost: ")), "{said:?}");
        assert_eq!(rt.runtime.lost(), number(&said[1], "; ", LOST));
    }

    fn bytes_that_a_client_loses_are_in_its_error_or_in_a_warning(mode) {
        for (listens, closes) in [(true, false), (false, false), (true, true)] {
            let (server, mut rt) = goes_away(mode);
            let script = r#"local url, listens, closes = ...
                local c = create("WebSocket", url)
                if listens then c.Error:Connect(print) end
                c.Opened:Wait()
                c:Send(much)
                if closes then c:Close() end
                go()
                c.Closed:Wait()"#;
            let url = server.url();
            let said = rt.says(script, (url.as_str(), listens, closes));
            server.end();
            assert_eq!(said.len(), 1, "{said:?}");
            let lost = match (listens, closes) {
                (_, true) => number(&said[0], "warning: ", " bytes that were sent did not leave"),
                (true, _) => {
                    assert!(said[0].starts_with("400 Failed ws recv - lost: "), "{said:?}");
                    number(&said[0], "; ", LOST)
                }
                (false, _) => {
                    assert!(said[0].starts_with(&format!("warning: {url}: connection: lost: ")), "{said:?}");
                    number(&said[0], "; ", LOST)
                }
            };
            assert!(lost > 0 && lost < MUCH as u64, "{said:?}");
            assert_eq!(rt.runtime.lost(), if listens && !closes { 0 } else { lost });
        }
    }

    // Messages that a client accepted before it was open. A client that is closed then was not
    // meant to send them.
    fn what_a_client_could_not_send_is_reported(mode) {
        let listens = "c.Error:Connect(function(_, problem) print(problem) end)";
        for (then, lost) in [("", 6), (listens, 0), ("c:Close()", 0)] {
            let mut rt = runtime(mode, gate().0, |options| options);
            let script =
                format!("local c = create('WebSocket', ...) c:Send('one') c:Send('two') {then}");
            let url = refused();
            let said = rt.says(&script, url.as_str());
            assert_eq!(rt.runtime.lost(), lost, "{said:?}");
            if then.is_empty() {
                let head = format!("warning: {url}: HttpError: ConnectFail (");
                assert!(said[0].starts_with(&head), "{said:?}");
                assert!(said[0].ends_with("; 6 bytes that were accepted did not leave"), "{said:?}");
            } else if then == listens {
                assert!(said[0].starts_with("HttpError: ConnectFail ("), "{said:?}");
            }
            assert_eq!(said.len(), usize::from(then != "c:Close()"), "{said:?}");
        }
    }

    // §7.1.7: the close frame of a failure follows the queued bytes, so these arrive.
    fn what_was_sent_before_a_failure_arrives_or_is_reported(mode) {
        let (go, gate) = gate();
        let server = serve(move |listener| {
            let mut peer = Peer::open(listener);
            gate.wait();
            peer.send(&frame(0x83, b"reserved"));
            gate.wait();
            count(&mut peer)
        });
        let mut rt = runtime(mode, go, |options| options);
        let script = r#"local ws = WebSocket.connect(...)
            ws:Send(much)
            go()
            ws.OnClose:Wait()
            print(ws.CloseReason)
            go()"#;
        let said = rt.says(script, server.url());
        let reported: u64 = said.iter().filter(|line| line.contains(LOST)).map(|line| number(line, "; ", LOST)).sum();
        let came = server.end();
        assert!(came + reported >= (HEADER + MUCH) as u64, "{said:?}");
    }
}
