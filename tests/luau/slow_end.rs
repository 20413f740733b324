//! §1, rule 6 at the end of a program: sent bytes leave as long as the line moves, and lost bytes
//! are counted in a warning, with status 1. The end does not wait for a server that only leaves TCP
//! open.

use std::io::Read as _;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use moonwire::luau::Progress;

use super::command::{Live, Script, failed, run};
use super::raw::{Peer, Raw, close, frame, serve, text};
use super::slow::*;
use super::support::*;

/// How the command drives the network.
const WAYS: [&[&str]; 3] = [&[], &["--poll-thread"], &["--no-stand-in"]];

/// Sends [`MUCH`] bytes and prints a line.
const SENDS: &str = "local ws = WebSocket.connect((...))
ws:Send(string.rep('x', 8 * 1024 * 1024))
print('sent')
";

const UNSENT: &str = " bytes that were sent did not leave";

/// Starts a script that is [`SENDS`] and continues with `then`; it has sent.
fn sending(name: &str, options: &[&str], then: &str, url: &str) -> Live {
    let script = Script::new(&format!("{name}{}", options.concat()), &format!("{SENDS}{then}"));
    let live = script.start(options, &[url]);
    assert_eq!(live.line(), "sent");
    live
}

/// A server that passes the connection to `act` when the gate is open.
fn after_gate<T: Send + 'static>(
    act: impl FnOnce(Peer) -> T + Send + 'static,
) -> (Sender<()>, Raw<T>) {
    let (go, gate) = gate();
    let server = serve(move |listener| {
        let peer = Peer::open(listener);
        gate.wait();
        act(peer)
    });
    (go, server)
}

/// FAULTS 67. The server begins to read long after the script has ended: later than the limit for
/// its answer to the close frame.
#[test]
fn what_a_script_has_sent_leaves_after_its_end() {
    let runs = WAYS.map(|options| {
        let (go, server) = after_gate(|mut peer| {
            let message = peer.next().unwrap().payload;
            (message.len(), peer.rest())
        });
        // An error changes only the status.
        let then = if options.is_empty() { "error('oh')" } else { "" };
        (sending("leaves", options, then, &server.url()), go, server)
    });
    std::thread::sleep(Duration::from_millis(2200));
    for (i, (live, go, server)) in runs.into_iter().enumerate() {
        go.send(()).unwrap();
        assert_eq!(server.end(), (MUCH, vec!["close 1001".to_owned()]));
        let ended = live.end();
        if i == 0 {
            assert_eq!(ended.status, Some(1));
            assert!(ended.err.starts_with("error: ") && !ended.err.contains("bytes"), "{ended:?}");
        } else {
            assert_eq!((ended.status, &*ended.err), (Some(0), ""));
        }
    }
}

#[test]
fn the_exit_timeout_bounds_that_and_each_byte_is_counted() {
    for way in WAYS {
        let (go, server) = after_gate(|mut peer| count(&mut peer));
        let options = [&["--exit-timeout", "0.2"], way].concat();
        let ended = sending("exit", &options, "", &server.url()).end();
        go.send(()).unwrap();
        failed(&ended, 1, " within 200ms, the exit timeout\n");
        let lost = number(&ended.err, "warning: ", UNSENT);
        assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
        assert_eq!(server.end() + lost, (HEADER + MUCH) as u64, "{way:?}: {ended:?}");
    }
    // A long time limit changes nothing.
    let server = serve(|listener| Peer::open(listener).rest());
    let ended = sending("enough", &["--exit-timeout=60"], "", &server.url()).end();
    assert_eq!((ended.status, &*ended.err), (Some(0), ""));
    assert_eq!(server.end()[1], "close 1001");
}

/// The bytes for a server that cuts the connection, whatever the script did then.
fn is_cut(name: &str, then: &str) {
    for way in WAYS {
        let (go, server) = after_gate(drop);
        let live = sending(name, way, then, &server.url());
        go.send(()).unwrap();
        let ended = live.end();
        server.end();
        failed(&ended, 1, UNSENT);
        let lost = number(&ended.err, "warning: ", UNSENT);
        assert!(lost > 0 && lost < MUCH as u64, "{ended:?}");
        assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    }
}

#[test]
fn a_server_that_cuts_the_connection_at_the_end_is_reported() {
    is_cut("cut", "");
}

// The connection ends while the last thread computes. After that, no thread is left to handle the
// event.
#[test]
fn a_server_that_cuts_the_connection_while_the_last_thread_computes_is_reported() {
    is_cut("computes", "local start = os.clock() repeat until os.clock() - start > 0.3");
}

// The script waits for another event.
#[test]
fn a_server_that_cuts_the_connection_before_the_end_is_reported() {
    for way in WAYS {
        let (go, server) = after_gate(drop);
        let then = "repeat task.wait() until ws.State == 'Closed'";
        let live = sending("before", way, then, &server.url());
        go.send(()).unwrap();
        let ended = live.end();
        let url = server.url();
        server.end();
        failed(&ended, 1, &format!("warning: {url}: connection: lost: "));
        assert!(ended.err.ends_with(&format!("{LOST}\n")), "{ended:?}");
    }
}

// Ctrl-C has its own time limit, and reports the lost bytes. (On Windows it cannot be sent without
// a terminal.)
#[cfg(unix)]
#[test]
fn what_a_signal_costs_is_said() {
    for way in WAYS {
        let (go, server) = after_gate(|mut peer| count(&mut peer));
        let live = sending("signal", way, "ws.OnClose:Wait()", &server.url());
        live.signal("INT");
        let ended = live.end();
        go.send(()).unwrap();
        failed(&ended, 130, UNSENT);
        let lost = number(&ended.err, "warning: ", UNSENT);
        assert_eq!(server.end() + lost, (HEADER + MUCH) as u64, "{way:?}: {ended:?}");
    }
}

both! {
    fn a_server_that_takes_nothing_is_reported_after_the_limit_of_a_stall(mode) {
        let (go, server) = after_gate(|mut peer| count(&mut peer));
        let mut rt = runtime(mode, gate().0, |mut options| {
            options.config().limits.stall = Duration::from_millis(300);
            options
        });
        let said = rt.says("WebSocket.connect(...):Send(much)", server.url());
        go.send(()).unwrap();
        let lost = number(&said[0], "warning: ", UNSENT);
        assert_eq!(said, [format!("warning: {lost}{UNSENT}")]);
        assert_eq!(rt.runtime.lost(), lost);
        assert_eq!(server.end() + lost, (HEADER + MUCH) as u64);
    }

    // One of two connections takes bytes. Then the same runtime is ended once more.
    fn an_embedder_hears_the_number(mode) {
        let (go, server) = after_gate(|mut peer| count(&mut peer));
        let reads = serve(|listener| Peer::open(listener).rest());
        let mut rt = runtime(mode, gate().0, |options| {
            options.exit_timeout(Some(Duration::from_millis(250)))
        });
        let script = "for _, url in { ... } do WebSocket.connect(url):Send(much) end";
        let said = rt.says(script, (server.url(), reads.url()));
        go.send(()).unwrap();
        let lost = number(&said[0], "warning: ", UNSENT);
        assert_eq!(said, [format!("warning: {lost}{UNSENT} within 250ms, the exit timeout")]);
        assert_eq!(rt.runtime.lost(), lost);
        assert_eq!(server.end() + lost, (HEADER + MUCH) as u64);
        assert_eq!(reads.end()[1], "close 1001");
        rt.runtime.finish();
        assert_eq!((rt.runtime.lost(), rt.said.take().len()), (lost, 0), "reported twice");

        let server = serve(|listener| Peer::open(listener).rest());
        assert!(rt.says("WebSocket.connect(...):Send('x')", server.url()).is_empty());
        assert_eq!(server.end(), ["x", "close 1001"]);
        let (go, server) = after_gate(|mut peer| count(&mut peer));
        let said = rt.says("WebSocket.connect(...):Send(much)", server.url());
        go.send(()).unwrap();
        let more = number(&said[0], "warning: ", UNSENT);
        assert_eq!(rt.runtime.lost(), lost + more, "{said:?}");
        assert_eq!(server.end() + more, (HEADER + MUCH) as u64);
    }

    // It includes bytes of connections that a script had closed, and of clients.
    fn what_was_closed_before_the_end_counts(mode) {
        for sends in [
            "local ws = WebSocket.connect(...) ws:Send(much) ws:Close(4000) ws:Close()",
            "local c = create('WebSocket', ...) c.Opened:Wait() c:Send(much) c:Close()",
            "local c = create('WebSocket', ...) c:Send(much) c.Opened:Wait()",
            "local ws = WebSocket.connect(...) ws:Send(much) error('oh')",
        ] {
            let (go, server) = after_gate(|mut peer| count(&mut peer));
            let mut rt = runtime(mode, gate().0, |options| {
                options.exit_timeout(Some(Duration::from_millis(150)))
            });
            let mut said = rt.says(sends, server.url());
            go.send(()).unwrap();
            let lost = number(&said.pop().unwrap(), "warning: ", UNSENT);
            assert_eq!(rt.runtime.lost(), lost);
            assert_eq!(server.end() + lost, (HEADER + MUCH) as u64, "{sends}");
            assert_eq!(said.len(), usize::from(sends.contains("error")), "{said:?}");
        }
    }

    fn the_time_that_is_named_is_that_which_was_given(mode) {
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            (peer.received(), peer.received())
        });
        let mut rt = runtime(mode, gate().0, |options| {
            options.exit_timeout(Some(Duration::from_millis(150)))
        });
        let said = rt.says("WebSocket.connect(...)", server.url());
        let text = "warning: 1 connection was not closed within 150ms, the exit timeout";
        assert_eq!(said, [text]);
        assert_eq!(server.end(), ("close 1001".to_owned(), "EOF".to_owned()));
        assert_eq!(rt.runtime.lost(), 0);
    }

    // FAULTS 79. Both close frames have passed, and the server leaves the end of TCP to the client.
    fn a_server_that_leaves_tcp_open_is_not_waited_for(mode) {
        for (script, by_server) in [
            ("local ws = WebSocket.connect(...) ws.OnMessage:Connect(print) ws.OnClose:Wait()", true),
            ("WebSocket.connect(...).OnMessage:Connect(print)", true),
            ("local ws = WebSocket.connect(...)
              print(ws.OnMessage:Wait()) ws:Close() ws.OnClose:Wait()", false),
            ("local ws = WebSocket.connect(...) print(ws.OnMessage:Wait()) ws:Close()", false),
            ("local ws = WebSocket.connect(...) print(ws.OnMessage:Wait())", false),
        ] {
            // A busy machine may delay it, so only one of the attempts must be quick.
            let soon = (0..5).any(|_| {
                let server = serve(move |listener| {
                    let mut peer = Peer::open(listener);
                    peer.send(&text("hello"));
                    if by_server {
                        peer.send(&close(1000, ""));
                    }
                    let reported = peer.received();
                    if !by_server {
                        peer.send(&close(1000, ""));
                    }
                    // The server waits until the client ends TCP.
                    assert_eq!(peer.stream.read(&mut [0]).unwrap_or(0), 0);
                    reported
                });
                let mut rt = Rt::with(mode, |mut options| {
                    options.config().limits.linger = Duration::from_secs(10);
                    options
                });
                let begin = Instant::now();
                assert_eq!(rt.says(script, server.url()), ["hello"]);
                assert!(server.end().starts_with("close 100"));
                begin.elapsed() < Duration::from_millis(1500)
            });
            assert!(soon, "{script}");
        }
    }
}

both! {
    // Our close frame has left, and an answer would show nothing.
    fn a_server_that_broke_a_rule_is_not_waited_for(mode) {
        let soon = (0..5).any(|_| {
            let (go, gate) = gate();
            let server = serve(move |listener| {
                let mut peer = Peer::open(listener);
                peer.send(&frame(0x83, b""));
                let reported = peer.received();
                gate.wait();
                reported
            });
            let mut rt = Rt::with(mode, |mut options| {
                options.config().limits.linger = Duration::from_secs(10);
                options
            });
            let begin = Instant::now();
            assert!(rt.says("WebSocket.connect(...).OnClose:Wait()", server.url()).is_empty());
            go.send(()).unwrap();
            assert!(server.end().starts_with("close 1002"));
            begin.elapsed() < Duration::from_millis(1500)
        });
        assert!(soon);
    }
}

#[test]
fn the_command_says_nothing_of_a_server_that_leaves_tcp_open() {
    let script = Script::new(
        "keeps-tcp",
        "local ws = WebSocket.connect((...))
        ws.OnMessage:Connect(print)
        ws.OnClose:Wait()
        print('closed', ws.CloseCode)",
    );
    for way in WAYS {
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            peer.send(&[text("hello"), close(1000, "")].concat());
            let reported = peer.received();
            assert_eq!(peer.stream.read(&mut [0]).unwrap_or(0), 0);
            reported
        });
        let ended = script.run(way, &[&server.url()]);
        assert_eq!(ended.out, ["hello", "closed 1000"]);
        assert_eq!((ended.status, &*ended.err), (Some(0), ""));
        assert_eq!(server.end(), "close 1000");
    }
}

#[test]
fn the_options_of_slow_lines_are_named_and_checked() {
    let ended = run(&["--help"]);
    let help = ended.out.join("\n");
    assert!(help.contains("\n  --exit-timeout S ") && help.contains("\n  --opening N "), "{help}");
    for value in ["0", "-1", "soon", "nan", ""] {
        let what = format!("--exit-timeout: \"{value}\" is not a number of seconds above 0");
        failed(&run(&["--exit-timeout", value, "x"]), 2, &what);
        failed(&run(&[&format!("--exit-timeout={value}"), "x"]), 2, &what);
    }
    for value in ["0", "-1", "1.5", "many", ""] {
        let what = format!("--opening: \"{value}\" is not a whole number above 0");
        failed(&run(&["--opening", value, "x"]), 2, &what);
    }
    failed(&run(&["--exit-timeout"]), 2, "--exit-timeout needs a value");
    failed(&run(&["--opening"]), 2, "--opening needs a value");
}

// An embedder that steps has to finish the rest itself.
#[test]
fn a_program_that_steps_ends_as_one_that_runs() {
    let (go, server) = after_gate(|mut peer| count(&mut peer));
    let mut rt = runtime(Mode::Inline, gate().0, |options| {
        options.exit_timeout(Some(Duration::from_millis(100)))
    });
    rt.spawn("WebSocket.connect(...):Send(much)", server.url());
    while rt.runtime.step(Duration::from_millis(1)).unwrap() != Progress::Done {}
    assert_eq!((rt.runtime.lost(), rt.said.all().len()), (0, 0), "nothing is lost yet");
    rt.runtime.finish();
    go.send(()).unwrap();
    let lost = rt.runtime.lost();
    assert!(rt.said.take()[0].starts_with(&format!("warning: {lost}{UNSENT}")));
    assert_eq!(server.end() + lost, (HEADER + MUCH) as u64);
}
