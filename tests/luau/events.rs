//! `EventReceived` of a `WebStreamClient`: the events of a stream, beside its raw blocks.

use super::raw::text;
use super::streams::*;
use super::support::*;

/// The output of `script` for an event stream: `c` is the client, `say(event)` prints all fields of
/// an event.
#[track_caller]
fn events(mode: Mode, plain: bool, stream: &'static [u8], script: &str) -> Vec<String> {
    let server = super::common::serve(move |mut peer| {
        peer.request();
        peer.write(EVENTS.as_bytes());
        peer.write(stream);
        finish(&mut peer);
    });
    let text = format!(
        r#"local c = create("SSE", (...))
        local function say(e, more)
            print(e.Event, shown(e.Data), shown(e.Id), e.Retry, more)
        end
        {script}"#
    );
    let mut rt = with(mode, |options| options.plain(plain));
    let said = rt.says(&text, url_for("SSE", &server));
    server.join();
    said
}

#[track_caller]
fn ways(stream: &'static [u8], script: &str, want: &[&str]) {
    for mode in [Mode::Inline, Mode::Threaded] {
        for plain in [false, true] {
            assert_eq!(events(mode, plain, stream, script), want, "{mode:?} plain: {plain}");
        }
    }
}

const SAY: &str = "c.EventReceived:Connect(say)";

#[test]
fn an_event_is_read_as_the_standard_says() {
    for (stream, want) in [
        (&b"data: x\n\n"[..], &["message x  nil nil"][..]),
        (b"event: e\ndata: 1\ndata: 2\nid: 7\nretry: 1500\n\n", &["e 1\\n2 7 1500 nil"]),
        (b"event:\ndata\n\n", &["message   nil nil"]),
        // A block without data is no event, but its ID counts.
        (
            b": comment\n\nid: 3\n\nevent: e\n\nretry: 5\n\nx: y\n\ndata: d\n\n",
            &["message d 3 nil nil"],
        ),
        // An ID applies to later events. An empty ID resets it; an ID with NUL is ignored.
        (
            b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\nid: 2\ndata: d\n\nid: 3\0\ndata: e\n\n",
            &[
                "message a 1 nil nil",
                "message b 1 nil nil",
                "message c  nil nil",
                "message d 2 nil nil",
                "message e 2 nil nil",
            ],
        ),
        (
            b"data:  two\r\ndata:one\r\rdata: cr\r\n\r\n",
            &["message  two\\none  nil nil", "message cr  nil nil"],
        ),
        // `retry` may have only digits.
        (
            b"retry: +5\ndata: a\n\nretry: 007\ndata: b\n\n",
            &["message a  nil nil", "message b  7 nil"],
        ),
        // A byte order mark counts only at the very start.
        (
            b"\xEF\xBB\xBFdata: a\n\n\xEF\xBB\xBFdata: b\n\ndata: c\n\n",
            &["message a  nil nil", "message c  nil nil"],
        ),
        (b"\xEF\xBB\xBF\xEF\xBB\xBFdata: a\n\ndata: b\n\n", &["message b  nil nil"]),
        // Bytes that are not UTF-8 become U+FFFD.
        (b"data: \xFF\n\n", &["message \\xef\\xbf\\xbd  nil nil"]),
        // An unfinished block at the end is no event, and its ID does not count.
        (b"data: a\n\nid: 9\ndata: b\n", &["message a  nil nil"]),
    ] {
        ways(stream, SAY, want);
    }
}

#[test]
fn a_block_comes_first_and_its_event_before_the_next_block() {
    let stream = b"data: 1\n\n: c\n\ndata: 2\n\n";
    let script = r#"for i = 1, 2 do
            c.MessageReceived:Connect(function(m)
                print(i, shown(m))
                task.defer(print, i, "deferred")
            end)
            c.EventReceived:Connect(function(e) say(e, i) end)
        end
        c.Closed:Connect(function() print("closed") end)"#;
    ways(
        stream,
        script,
        &[
            "2 data: 1\\n\\n",
            "1 data: 1\\n\\n",
            "2 deferred",
            "1 deferred",
            "message 1  nil 2",
            "message 1  nil 1",
            "2 : c\\n\\n",
            "1 : c\\n\\n",
            "2 deferred",
            "1 deferred",
            "2 data: 2\\n\\n",
            "1 data: 2\\n\\n",
            "2 deferred",
            "1 deferred",
            "message 2  nil 2",
            "message 2  nil 1",
            "closed",
        ],
    );
}

// From the first listener on, IDs count even while no thread waits.
#[test]
fn a_loop_of_waits_has_every_event_of_its_turn_and_the_last_id() {
    let stream = b"id: 1\ndata: a\n\nid: 2\n\ndata: b\n\nid: 4\n\ndata: c\n\n";
    let script = r#"task.spawn(function()
            while true do
                say(c.EventReceived:Wait())
            end
        end)"#;
    ways(stream, script, &["message a 1 nil nil", "message b 2 nil nil", "message c 4 nil nil"]);
}

#[test]
fn who_listens_late_has_what_comes_from_then_on() {
    let stream = b"id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n\n";
    // A handler of the second block connects the listener. The listener does not receive the event
    // of that block.
    let script = r#"local n = 0
        c.MessageReceived:Connect(function()
            n += 1
            if n == 2 then c.EventReceived:Connect(say) end
        end)"#;
    ways(stream, script, &["message c 2 nil nil"]);
}

#[test]
fn close_in_a_handler_of_the_block_is_before_its_event() {
    let stream = b"data: a\n\ndata: b\n\n";
    let script = r#"c.EventReceived:Connect(say)
        c.MessageReceived:Connect(function(m) print(shown(m)) c:Close() end)
        c.Closed:Connect(function() print("closed") end)"#;
    ways(stream, script, &["data: a\\n\\n", "closed"]);
    let script = r#"c.EventReceived:Connect(function(e) say(e) c:Close() end)
        c.Closed:Connect(function() print("closed") end)"#;
    ways(stream, script, &["message a  nil nil", "closed"]);
}

#[test]
fn an_event_cannot_be_written_and_a_raise_stops_nobody() {
    let stream = b"data: a\n\ndata: b\n\n";
    let script = r#"c.EventReceived:Connect(say)
        c.EventReceived:Connect(function(e)
            print((pcall(function() e.Data = "x" end)), (pcall(rawset, e, "Id", "x")), getmetatable(e))
            error("boom", 0)
        end)"#;
    ways(
        stream,
        script,
        &[
            "false false nil",
            "error: boom",
            "message a  nil nil",
            "false false nil",
            "error: boom",
            "message b  nil nil",
        ],
    );
}

#[test]
fn other_types_of_client_have_the_signal_and_it_never_fires() {
    for mode in [Mode::Inline, Mode::Threaded] {
        let server = super::raw::serve(|listener| {
            let mut peer = super::raw::Peer::open(listener);
            peer.send(&[text("data: x\n\n"), super::raw::close(1000, "")].concat());
            peer.frames()
        });
        let script = r#"local c = create("WebSocket", (...))
            c.EventReceived:Connect(error)
            c.MessageReceived:Connect(function(m) print(shown(m)) end)
            c.Closed:Wait()"#;
        assert_eq!(runtime(mode).says(script, server.url()), ["data: x\\n\\n"]);
        server.end();
        let server = super::common::serve(move |mut peer| {
            peer.request();
            peer.write(response("200 OK", "", "data: x\n\n").as_bytes());
            finish(&mut peer);
        });
        let script = script.replace("WebSocket", "RawStream");
        assert_eq!(runtime(mode).says(&script, url_for("Raw", &server)), ["data: x\\n\\n"]);
        server.join();
    }
}
