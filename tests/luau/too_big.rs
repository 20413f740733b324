//! Messages and events that are too large: the limit can be set everywhere, and an error names the
//! number and the option (FAULTS 73 and 80).

use super::command::{Script, failed, printed};
use super::common::{self, Peer};
use super::raw::{self, frame, serve, text};
use super::streams::*;
use super::support::*;

/// An event of `size` bytes with its closing blank line, in `lines` lines of data.
fn event(size: usize, lines: usize) -> String {
    let rest = size - lines * "data: \n".len() - 1;
    let mut text = String::new();
    for i in 0..lines {
        let len = if i == 0 { rest - rest / lines * (lines - 1) } else { rest / lines };
        text += &format!("data: {}\n", "a".repeat(len));
    }
    text += "\n";
    assert_eq!(text.len(), size);
    text
}

/// A server of one stream, which the client may end early.
fn streams(body: &str) -> common::Scripted<()> {
    let text = format!("{EVENTS}{body}");
    common::serve(move |mut peer: Peer| {
        peer.request();
        let _ = peer.try_write(text.as_bytes());
        finish(&mut peer);
    })
}

/// The length of each message, and the error.
const SIZES: &str = r#"local kind, url, most = ...
    local c = create(kind, url, { MaxMessageSize = most })
    c.MessageReceived:Connect(function(m) print(#m) end)
    c.Error:Connect(print)
    c.Closed:Wait()"#;

both! {
    // FAULTS 73.
    fn an_event_and_its_lines_are_bounded_by_the_option(mode) {
        for lines in [1, 3] {
            let server = streams(&[event(100, lines), event(101, lines), event(50, 1)].concat());
            let most: Option<usize> = Some(100);
            let said = runtime(mode).says(SIZES, ("SSE", url_for("SSE", &server), most));
            let why = "event of the event stream too big: the limit here is 100 bytes (MaxMessageSize)";
            assert_eq!(said, ["100", &format!("200 HttpError: NetFail ({why})")]);
            server.join();
        }
    }

    // FAULTS 73: events as image generation sends them.
    fn an_event_over_the_default_is_reported_where_the_option_allows_it(mode) {
        let why = "line of the event stream too long: the limit here is 1,048,576 bytes \
                   (MaxMessageSize)";
        let why = format!("200 HttpError: NetFail ({why})");
        for (most, last) in [(None, &*why), (Some(2_000_000), "1400000")] {
            let server = streams(&[event(30, 1), event(1_400_000, 1)].concat());
            let said = runtime(mode).says(SIZES, ("SSE", url_for("SSE", &server), most));
            assert_eq!(said, ["30", last]);
            server.join();
        }
    }

    // FAULTS 80.
    fn a_message_is_bounded_by_the_option(mode) {
        for bytes in [text("123456"), [frame(0x01, b"123"), frame(0x80, b"456")].concat()] {
            let server = serve(move |listener| {
                let mut peer = raw::Peer::open(listener);
                peer.send(&[text("12345"), bytes].concat());
                peer.frames()
            });
            let said = runtime(mode).says(SIZES, ("WebSocket", server.url(), 5));
            let why = "message too big: the limit here is 5 bytes (MaxMessageSize)";
            assert_eq!(said, ["5", &format!("400 Failed ws recv - {why}")]);
            let reported = server.end();
            assert!(reported.len() == 1 && reported[0].starts_with("close 1009"), "{reported:?}");
        }
    }

    // FAULTS 80: the host's limit, if the script sets none; the script may set a larger one.
    fn the_option_goes_before_the_limits_of_the_host(mode) {
        for (most, last) in [
            (None, "message too big: the limit here is 1,000 bytes (MaxMessageSize)"),
            (Some(2000), "2000"),
        ] {
            let server = serve(|listener| {
                let mut peer = raw::Peer::open(listener);
                peer.send(&[text(&"a".repeat(2000)), raw::close(1000, "")].concat());
                peer.frames()
            });
            let mut rt = with(mode, |mut options| {
                options.config().limits.message = 1000;
                options
            });
            let said = rt.says(
                "local url, most = ...
                local ws = WebSocket.connect(url, { MaxMessageSize = most })
                ws.OnMessage:Connect(function(m) print(#m) end)
                ws.OnClose:Wait()
                if ws.CloseCode == 1006 then print(ws.CloseReason) end",
                (server.url(), most),
            );
            assert_eq!(said, [last]);
            server.end();
        }
    }

    // No option of a script counts frames.
    fn a_limit_that_scripts_cannot_set_keeps_its_name(mode) {
        let server = serve(|listener| {
            let mut peer = raw::Peer::open(listener);
            peer.send(&[frame(0x01, b""), frame(0x00, b""), frame(0x00, b"")].concat());
            peer.frames()
        });
        let mut rt = with(mode, |mut options| {
            options.config().limits.fragments = 2;
            options
        });
        let said = rt.says(SIZES, ("WebSocket", server.url()));
        let why = "message of too many frames: the limit here is 2 frames (Limits::fragments)";
        assert_eq!(said, [format!("400 Failed ws recv - {why}")]);
        let reported = server.end();
        assert!(reported[0].starts_with("close 1009"), "{reported:?}");
    }

    fn keep_alive_pings_of_a_client_are_sent_as_asked(mode) {
        let server = serve(|listener| {
            let mut peer = raw::Peer::open(listener);
            assert_eq!(peer.received(), "ping ");
            peer.send(&raw::close(1000, ""));
            peer.rest()
        });
        let script = "local c = create('WebSocket', ..., { PingInterval = 0.1 })
            c.Closed:Wait()
            done()";
        let mut rt = with(mode, |options| options.ping_interval(None));
        rt.passes(script, server.url());
        assert_eq!(server.end(), ["close 1000"]);
    }
}

/// FAULTS 73.
#[test]
fn the_command_sets_the_limit_of_all_that_say_nothing() {
    let script = Script::new(
        "too_big",
        r#"local url, most = ...
        most = tonumber(most)
        local H = game:GetService("HttpService")
        local c = H:CreateWebStreamClient(Enum.WebStreamClientType.SSE, { Url = url, MaxMessageSize = most })
        c.MessageReceived:Connect(function(m) print(#m) end)
        c.Error:Connect(print)
        c.Closed:Wait()"#,
    );
    for (options, most, last) in [
        (&["--max-message", "3K"][..], "", "3000"),
        (
            &["--max-message=2K"],
            "",
            "200 HttpError: NetFail (line of the event stream too long: the limit here is 2,048 bytes \
             (MaxMessageSize))",
        ),
        (&["--max-message=2K"], "3000", "3000"),
    ] {
        let server = streams(&event(3000, 1));
        printed(&script.run(options, &[&url_for("SSE", &server), most]), &[last]);
        server.join();
    }
    let script = Script::new(
        "too_big_message",
        "local ws = WebSocket.connect(...)
        ws:Send(string.rep('a', 2048))
        print(#ws.OnMessage:Wait())
        ws:Send(string.rep('a', 2049))
        ws.OnClose:Wait()
        print(ws.CloseReason)",
    );
    let why = "message too big: the limit here is 2,048 bytes (MaxMessageSize)";
    printed(&script.run(&["--echo", "--max-message=2k"], &[]), &["2048", why]);
    failed(&script.run(&["--max-message", "2T"], &[]), 2, "--max-message: \"2T\" is not a number");
}
