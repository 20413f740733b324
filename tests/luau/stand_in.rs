//! The network while a script computes and the stand-in drives the reactor.
//!
//! A script computes until its server has received what it waits for, so nothing here depends on
//! durations.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use moonwire::luau::{Options, Progress};
use moonwire::mlua::Lua;
use moonwire::trace::{Observer, Trace};

use super::common::{self, LONG, close, frame, listen, serve_either};
use super::streams::with;
use super::support::*;

/// `compute()` computes until the flag `seen` is set, and raises long before the test is ended.
const COMPUTE: &str = r#"
    function compute()
        local late = os.clock() + 15
        while not seen() do
            if os.clock() > late then error("the server sees nothing", 2) end
        end
    end
"#;

/// A runtime in which scripts can compute until `flag` is set.
pub(crate) fn runtime(flag: &Flag, change: impl FnOnce(Options) -> Options) -> Rt {
    let rt = with(Mode::Inline, change);
    rt.flag("seen", flag);
    rt.runtime.lua().load(COMPUTE).set_name("=compute").exec().unwrap();
    rt
}

pub(crate) fn limits(
    change: impl FnOnce(&mut moonwire::Limits),
) -> impl FnOnce(Options) -> Options {
    move |mut options| {
        change(&mut options.config().limits);
        options
    }
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    frame(0x81, text.as_bytes())
}

/// The payload of the next frame.
pub(crate) fn received(peer: &mut common::Peer) -> String {
    String::from_utf8(peer.frame().1).unwrap()
}

/// Pings, and waits for the answer: then the client has read everything that was sent before.
pub(crate) fn ping(peer: &mut common::Peer) {
    peer.write(&frame(0x89, b"there?"));
    assert_eq!(peer.frame(), (0x8A, b"there?".to_vec()));
}

/// Answers the close frame that comes, and reads to the end of the stream.
fn end(peer: &mut common::Peer) {
    peer.close_frame();
    let _ = peer.try_write(&close(1000, ""));
    leave(peer);
}

/// Ends the stream, and reads to the client's end of it.
pub(crate) fn leave(peer: &mut common::Peer) {
    let _ = peer.tcp.shutdown(std::net::Shutdown::Write);
    peer.rest();
}

#[test]
fn a_send_leaves_and_a_ping_is_answered() {
    for secure in [false, true] {
        let flag = Flag::default();
        let its = flag.clone();
        let server = serve_either(secure, move |mut peer| {
            peer.accept(b"");
            assert_eq!(received(&mut peer), "computing");
            ping(&mut peer);
            its.set();
            assert_eq!(received(&mut peer), "over");
            end(&mut peer);
        });
        let mut rt = runtime(&flag, |options| options);
        rt.passes(
            r#"local ws = WebSocket.connect((...))
            ws:Send("computing")
            compute()
            ws:Send("over")
            ws:Close()
            ws.OnClose:Wait()
            done()"#,
            server.url(),
        );
        assert!(rt.runtime.stood_in()[0] > 0);
        server.join();
    }
}

// The order on the wire shows it, however long the script takes.
#[test]
fn without_it_the_ping_waits() {
    let (computes, start) = channel();
    let server = common::serve(move |mut peer| {
        peer.accept(b"");
        start.recv_timeout(LONG).unwrap();
        peer.write(&frame(0x89, b"there?"));
        assert_eq!([received(&mut peer), received(&mut peer)], ["over", "there?"]);
        end(&mut peer);
    });
    let mut rt = Rt::with(Mode::Inline, |options| options.stand_in(false));
    let tell = move |_: &Lua, ()| {
        computes.send(()).unwrap();
        Ok(())
    };
    let lua = rt.runtime.lua();
    lua.globals().set("computes", lua.create_function(tell).unwrap()).unwrap();
    rt.passes(
        r#"local ws = WebSocket.connect((...))
        computes()
        local start = os.clock()
        repeat until os.clock() > start + 0.3
        ws:Send("over")
        task.wait()
        ws:Close()
        ws.OnClose:Wait()
        done()"#,
        server.url(),
    );
    assert_eq!(rt.runtime.stood_in(), [0, 0]);
    server.join();
}

#[test]
fn a_connection_is_dialled_and_its_name_resolved() {
    let flag = Flag::default();
    let its = flag.clone();
    let server = listen(move |listener| {
        let mut peer = common::Peer::plain(listener.accept().unwrap().0);
        peer.accept(&text("welcome"));
        ping(&mut peer);
        its.set();
        end(&mut peer);
    });
    // From the first line on, before `run`.
    let mut rt = runtime(&flag, |options| options.stand_in(true));
    rt.passes(
        r#"local url = ...
        local message
        task.spawn(function()
            local ws = WebSocket.connect(url)
            message = ws.OnMessage:Wait()
            ws:Close()
            done()
        end)
        compute()
        assert(message == nil)"#,
        format!("ws://localhost:{}/", server.address.port()),
    );
    server.join();
}

#[test]
fn the_time_limit_of_an_opening_is_kept() {
    let flag = Flag::default();
    let its = flag.clone();
    let server = common::serve(move |mut peer| {
        peer.request();
        // No answer.
        peer.rest();
        its.set();
    });
    let mut rt = runtime(&flag, limits(|l| l.opening = Duration::from_millis(100)));
    rt.passes(
        r#"local url = ...
        task.wait()
        task.spawn(function()
            local ws, problem = websocket.connect(url)
            assert(not ws and problem:find("100ms"), problem)
            done()
        end)
        compute()"#,
        server.url(),
    );
    server.join();
}

// Keep-alive pings go out and their answers are read: the limit for them passes many times.
#[test]
fn keep_alive_goes_on_and_ends_what_is_silent() {
    for answers in [true, false] {
        let flag = Flag::default();
        let its = flag.clone();
        let server = common::serve(move |mut peer| {
            peer.accept(b"");
            for _ in 0..if answers { 8 } else { 1 } {
                let (first, payload) = peer.frame();
                assert_eq!(first, 0x89);
                if answers {
                    peer.write(&frame(0x8A, &payload));
                }
            }
            if answers {
                its.set();
                end(&mut peer);
            } else {
                peer.rest();
                its.set();
            }
        });
        let (interval, limit) = if answers { (250, 1000) } else { (20, 50) };
        let change = limits(move |l| l.pong = Duration::from_millis(limit));
        let interval = Some(Duration::from_millis(interval));
        let mut rt = runtime(&flag, |options| change(options).ping_interval(interval));
        rt.passes(
            r#"local url, answers = ...
            local ws = WebSocket.connect(url)
            local ended = false
            ws.OnClose:Connect(function() ended = true end)
            compute()
            assert(not ended)
            if answers then ws:Close() end
            ws.OnClose:Wait()
            assert(ws.CloseCode == if answers then 1000 else 1006, ws.CloseCode)
            done()"#,
            (server.url(), answers),
        );
        server.join();
    }
}

#[test]
fn a_close_of_the_script_is_completed() {
    for secure in [false, true] {
        let flag = Flag::default();
        let its = flag.clone();
        let server = serve_either(secure, move |mut peer| {
            peer.accept(b"");
            end(&mut peer);
            its.set();
        });
        runtime(&flag, |options| options).passes(
            r#"local ws = WebSocket.connect((...))
            local ended = false
            ws.OnClose:Connect(function() ended = true end)
            ws:Close(4000, "bye")
            compute()
            assert(not ended)
            ws.OnClose:Wait()
            assert(ws.CloseCode == 1000)
            done()"#,
            server.url(),
        );
        server.join();
    }
}

// The answer to a server's close frame waits for the script's handlers, up to the limit for
// closing.
#[test]
fn a_close_of_the_server_is_answered_at_its_limit() {
    let flag = Flag::default();
    let its = flag.clone();
    let server = common::serve(move |mut peer| {
        peer.accept(b"");
        assert_eq!(received(&mut peer), "computing");
        peer.write(&[text("last"), close(4001, "enough")].concat());
        peer.rest();
        its.set();
    });
    let mut rt = runtime(&flag, limits(|l| l.close = Duration::from_millis(100)));
    rt.passes(
        r#"local ws = WebSocket.connect((...))
        local last
        ws.OnMessage:Connect(function(m) last = m end)
        ws:Send("computing")
        compute()
        ws.OnClose:Wait()
        assert(last == "last")
        done()"#,
        server.url(),
    );
    server.join();
}

// An interval far above the time for which the system may suspend a thread.
#[test]
fn a_busy_program_that_comes_back_is_left_alone() {
    let server = echo();
    let mut rt = Rt::with(Mode::Inline, limits(|l| l.stand_in = Duration::from_millis(500)));
    rt.passes(
        r#"local ws = WebSocket.connect((...))
        local start = os.clock()
        repeat
            ws:Send("x")
            ws.OnMessage:Wait()
        until os.clock() > start + 2
        ws:Close()
        done()"#,
        server.url(),
    );
    let [taken, looks] = rt.runtime.stood_in();
    assert!(taken == 0 && (1..=5).contains(&looks), "{taken} of {looks}");
}

#[test]
fn a_stopper_closes_what_a_computing_script_has_open() {
    let flag = Flag::default();
    let its = flag.clone();
    let (computes, stop) = channel();
    let server = common::serve(move |mut peer| {
        peer.accept(b"");
        assert_eq!(received(&mut peer), "computing");
        ping(&mut peer);
        computes.send(()).unwrap();
        assert_eq!(peer.close_code(), 1001);
        its.set();
        let _ = peer.try_write(&close(1001, ""));
        leave(&mut peer);
    });
    let mut rt = runtime(&flag, |options| options);
    let stopper = rt.runtime.stopper();
    let other = std::thread::spawn(move || {
        stop.recv_timeout(LONG).unwrap();
        stopper.stop(1001, LONG);
    });
    let script =
        "local ws = WebSocket.connect((...)) ws:Send('computing') compute() done() task.wait(60)";
    rt.spawn(script, server.url());
    assert_eq!(rt.runtime.run().unwrap(), Progress::Stopped);
    assert_eq!(rt.said.take(), ["done"]);
    other.join().unwrap();
    server.join();
}

// Between two steps, too, if an option asks for it.
#[test]
fn a_program_that_does_not_step_may_ask_for_it() {
    let (seen, read) = channel();
    let (goes, away) = channel();
    let server = common::serve(move |mut peer| {
        peer.accept(b"");
        away.recv_timeout(LONG).unwrap();
        ping(&mut peer);
        peer.write(&text("meanwhile"));
        ping(&mut peer);
        seen.send(()).unwrap();
        end(&mut peer);
    });
    let mut rt = runtime(&Flag::default(), |options| options.stand_in(true));
    let script = r#"local ws = WebSocket.connect((...))
        print("open")
        print(ws.OnMessage:Wait())
        ws:Close()
        ws.OnClose:Wait()"#;
    rt.spawn(script, server.url());
    let until = Instant::now() + LONG;
    let mut step = || {
        assert!(Instant::now() < until);
        rt.runtime.step(Duration::from_millis(2)).unwrap().is_alive()
    };
    while rt.said.all().is_empty() {
        step();
    }
    goes.send(()).unwrap();
    read.recv_timeout(LONG).unwrap();
    assert_eq!(rt.said.take(), ["open"]);
    while step() {}
    assert_eq!(rt.said.take(), ["meanwhile"]);
    server.join();
}

/// Panics on the stand-in's thread, with a report.
struct Fragile(Flag);

impl Observer for Fragile {
    fn observe(&mut self, _: Instant, _: u64, _: Trace<'_>) {
        if std::thread::current().name() == Some("moonwire-stand") {
            self.0.set();
            panic!("an observer of a test panics");
        }
    }
}

// The run ends with an error, and does not wait for ever.
#[test]
fn an_observer_that_panics_ends_the_run() {
    let flag = Flag::default();
    let its = flag.clone();
    let server = common::serve(|mut peer| {
        peer.accept(b"");
        peer.rest();
    });
    let mut rt = runtime(&flag, |mut options| {
        options.config().observer = Some(Box::new(Fragile(its)));
        options
    });
    let script = r#"local ws = WebSocket.connect((...))
        ws:Send("computing")
        compute()
        ws.OnMessage:Wait()"#;
    rt.spawn(script, server.url());
    let failed = rt.runtime.run().unwrap_err().to_string();
    assert!(failed.contains("has panicked"), "{failed}");
    drop(rt);
    server.join();
}
