//! A main thread that waits for an event that cannot come any more: reported at the end, with
//! status 1.

use super::command::run;
use super::raw::{Peer, Raw, close, frame, serve, text};
use super::streams::*;
use super::support::*;

/// Sends a message and ends in this way.
fn ends(end: Vec<u8>) -> Raw<Vec<String>> {
    serve(move |listener| Peer::open_with(listener, "", &[text("1"), end].concat()).frames())
}

/// The output of a script with a server that ends in this way, and whether its main thread was left
/// waiting.
fn says(mode: Mode, end: &[u8], script: &str) -> (Vec<String>, bool) {
    let server = ends(end.to_vec());
    let mut rt = runtime(mode);
    let said = rt.says(script, server.url());
    let address = server.url();
    (said.iter().map(|line| line.replace(&address, "URL")).collect(), rt.runtime.was_stranded())
}

const LOOP: &str = "local ws = WebSocket.connect(...) while true do print(ws.OnMessage:Wait()) end";

both! {
    fn a_warning_names_what_it_waits_for_and_how_that_ended(mode) {
        let waits = |name: &str, how: &str| {
            format!("warning: the main thread waits for {name} of URL, which has ended ({how}): it never runs on")
        };
        for (end, how) in [
            (close(1000, ""), "1000"),
            (close(4001, "bye"), "4001, bye"),
            (frame(0x83, b""), ""),
        ] {
            let (said, stranded) = says(mode, &end, LOOP);
            assert_eq!(said[0], "1");
            match how {
                // The server broke a rule.
                "" => assert!(said[1].contains("which has ended (1006, "), "{said:?}"),
                _ => assert_eq!(said[1..], [waits("OnMessage", how)]),
            }
            assert!(stranded);
        }
        // Whatever else goes on, and also if the wait began after the end.
        let text = "local ws = WebSocket.connect(...) task.delay(0.03, print, 'later') ws.OnClose:Wait() ws.OnPong:Wait()";
        let (said, _) = says(mode, &close(1000, ""), text);
        assert_eq!(said, ["later".to_owned(), waits("OnPong", "1000")]);
        let text = "local c = create('WebSocket', ...) c.MessageReceived:Wait() c.EventReceived:Wait()";
        assert_eq!(says(mode, &close(1000, ""), text).0, [waits("EventReceived", "closed")]);
        let text = "local c = create('WebSocket', ...) c.MessageReceived:Wait() c.Opened:Wait()";
        let (said, _) = says(mode, &frame(0x83, b""), text);
        assert!(said[0].contains("waits for Opened of URL, which has ended (Failed ws recv - "), "{said:?}");
    }

    fn others_may_wait_for_ever(mode) {
        for script in [
            // Not the main thread.
            &format!("task.spawn(function(...) {LOOP} end, ...)"),
            // One that was ended, or ends.
            "local ws = WebSocket.connect(...)
             ws.OnClose:Connect(function() task.wait(0.01) task.cancel(main) end)
             main = coroutine.running()
             while true do ws.OnMessage:Wait() end",
            "for m in WebSocket.connect(...):Messages() do end",
            // The script has closed it itself.
            "local ws = WebSocket.connect(...) ws.OnMessage:Once(function() ws:Close() end)
             while true do ws.OnMessage:Wait() end",
            "local ws = WebSocket.connect(...) ws:Close() ws.OnMessage:Wait()",
            "local c = create('WebSocket', ...) c.Opened:Once(function() c:Close() end) c.MessageReceived:Wait()",
            // It waits for something whose end is unknown.
            "coroutine.yield()",
        ] {
            let server = ends(close(1000, ""));
            let mut rt = runtime(mode);
            let said = rt.says(script, server.url());
            assert!(!said.iter().any(|line| line.contains("warning")), "{script}: {said:?}");
            assert!(!rt.runtime.was_stranded(), "{script}");
        }
    }
}

#[test]
fn it_is_status_1_of_a_run() {
    let server = ends(close(1000, "done"));
    let ended = run(&["-e", LOOP, &server.url()]);
    assert_eq!(ended.status, Some(1));
    let want = format!(
        "the main thread waits for OnMessage of {}, which has ended (1000, done): it never runs on",
        server.url()
    );
    assert!(ended.err.contains(&want), "{}", ended.err);
    // The script that ends the run has reported how.
    let server = ends(close(1000, ""));
    let text = format!("task.delay(0.05, exit, 0) {LOOP}");
    let ended = run(&["-e", &text, &server.url()]);
    assert_eq!((ended.status, &*ended.err), (Some(0), ""));
}
