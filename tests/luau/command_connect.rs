//! `moonwire connect` as a child process with pipes. tests/terminal runs it at a terminal.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::command::{Ended, Live, command, failed, printed};
use super::raw::{LONG, Peer, close, frame, serve, text};
use super::support::*;

fn connect(options: &[&str], url: &str) -> Command {
    command(&[&["connect"], options, &[url]].concat())
}

/// Runs the command with an empty standard input.
#[track_caller]
fn run(options: &[&str], url: &str) -> Ended {
    Live::start(&mut connect(options, url)).end()
}

/// Starts the command. Its standard input stays open.
fn held(options: &[&str], url: &str) -> Live {
    Live::start(connect(options, url).stdin(Stdio::piped()))
}

#[track_caller]
fn piped(options: &[&str], url: &str, input: &[u8]) -> Ended {
    let mut live = held(options, url);
    live.stdin().write_all(input).unwrap();
    live.end()
}

/// Answers pings until a close frame arrives. Returns all frames that are not pings.
fn answering(mut peer: Peer) -> Vec<String> {
    let mut reported = Vec::new();
    while let Some(frame_of) = peer.next() {
        match frame_of.opcode {
            9 => peer.send(&frame(0x8A, &frame_of.payload)),
            8 => {
                reported.push(frame_of.shown());
                let _ = peer.stream.write_all(&frame(0x88, &frame_of.payload));
                break;
            }
            _ => reported.push(frame_of.shown()),
        }
    }
    reported
}

#[test]
fn lines_go_and_their_answers_come() {
    let server = echo();
    printed(&piped(&[], server.url(), b"a\nb\r\n\nlast"), &["a", "b", "", "last"]);
    printed(&piped(&["-0"], server.url(), b"a\nb\0c"), &["a", "b\0c\0"]);
    printed(&piped(&["--raw"], server.url(), b"a\nb\n"), &["a", "b"]);
    printed(&piped(&["--hex"], server.url(), b"00 ff\n\n"), &["00ff", ""]);
    printed(&piped(&["--base64"], server.url(), b"AP8=\n"), &["AP8="]);
    printed(&piped(&["--binary"], server.url(), b"a\nb\n"), &["a", "b"]);
    printed(&run(&["-x", "a\nb", "-x", "c", "--wait", "2"], server.url()), &["a", "b", "c"]);
    // With `-x`, the command does not read standard input.
    printed(&piped(&["-x", "x"], server.url(), b"not sent\n"), &["x"]);
    printed(&run(&[], server.url()), &[]);
    let large = "0123456789".repeat(500_000);
    printed(&piped(&["--linger", "0"], server.url(), large.as_bytes()), &[&large]);
    if cfg!(feature = "deflate") {
        let ended = piped(&["--compress"], server.url(), large.as_bytes());
        assert_eq!((ended.status, ended.out), (Some(0), vec![large]));
    }
}

#[test]
fn everything_is_sent_before_it_closes() {
    let server = serve(|listener| answering(Peer::open(listener)));
    printed(&piped(&["--linger", "0"], &server.url(), b"a\nb\n"), &[]);
    assert_eq!(server.end(), ["a", "b", "close 1000"]);
    // The pong shows that the server received everything. The time of `--linger` starts with it,
    // so an answer that arrives before the pong is printed.
    let server = serve(|listener| {
        let mut peer = Peer::open(listener);
        assert_eq!(peer.received(), "a");
        assert_eq!(peer.received(), "ping moonwire: end of input");
        peer.send(&[text("late"), frame(0x8A, b"moonwire: end of input")].concat());
        peer.rest()
    });
    printed(&piped(&["--linger", "0"], &server.url(), b"a\n"), &["late"]);
    assert_eq!(server.end(), ["close 1000"]);
}

#[test]
fn the_status_is_the_outcome() {
    for (bytes, status, want) in [
        (close(1000, "bye"), 0, ""),
        (frame(0x88, b""), 0, ""),
        (close(1001, ""), 1, "moonwire: closed: 1001\n"),
        (close(4000, "why\x1b[m"), 1, "moonwire: closed: 4000 why\\u{1b}[m\n"),
        (b"\xff".to_vec(), 1, ""),
        (vec![], 1, "lost"),
    ] {
        let server = serve(move |listener| {
            let mut peer = Peer::open(listener);
            peer.send(&[text("one"), bytes.clone()].concat());
            // A server that sends the first close frame also ends the stream (RFC 6455 §7.1.1).
            if !bytes.is_empty() {
                peer.frames();
            }
        });
        let ended = held(&[], &server.url()).end();
        assert_eq!((ended.status, &*ended.out), (Some(status), &["one".to_owned()][..]), "{want}");
        match want {
            "lost" => assert!(ended.err.contains(": connection: lost: "), "{ended:?}"),
            "" if status == 1 => assert!(ended.err.contains("§"), "{ended:?}"),
            _ => assert_eq!(ended.err, want),
        }
    }
    failed(&run(&[], &refused()), 3, ": connect: ");
    let server = serve(|listener| {
        let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope";
        Peer::asked(listener).send(answer);
    });
    failed(&run(&[], &server.url()), 3, "the server answered 404 Not Found");
    let server = serve(|listener| Peer::open(listener).rest());
    failed(&held(&["--timeout", "0.5"], &server.url()).end(), 124, "");
    assert_eq!(server.end(), ["close 1001"]);
    for (url, want) in [("http://127.0.0.1/", "http"), ("nonsense", "nonsense"), ("ws://", "ws://")]
    {
        failed(&run(&[], url), 2, want);
    }
}

#[cfg(unix)]
#[test]
fn signals_close_the_connection() {
    for (name, status) in [("INT", 130), ("TERM", 143)] {
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            peer.send(&text("open"));
            peer.rest()
        });
        let live = held(&[], &server.url());
        assert_eq!(live.line(), "open");
        live.signal(name);
        let ended = live.end();
        assert_eq!((ended.status, &*ended.err), (Some(status), ""));
        assert_eq!(server.end(), ["close 1001"]);
    }
}

#[test]
fn input_that_cannot_be_sent_is_an_error() {
    let server = echo();
    for (options, input, want) in [
        (&[][..], &b"one\nab\xff\n"[..], "moonwire: message 2: byte 3 is not UTF-8"),
        (&["--hex"], b"00\n0x\n", "moonwire: message 2: byte 2 is not a hex digit"),
        (&["--base64"], b"AA==\n=\n", "moonwire: message 2: not base64"),
        (&["--max-message", "10"], b"one\n01234567890\n", "moonwire: message 2: "),
    ] {
        let ended = piped(options, server.url(), input);
        failed(&ended, 1, want);
        assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    }
    failed(&run(&["--hex", "-x", "0"], &refused()), 2, "--execute: an odd number of hex digits");
    for options in [&["--wait", "0"][..], &["--wait", "x"], &["--linger", "-1"], &["-n", "0"]] {
        failed(&run(options, server.url()), 2, options[1]);
    }
    failed(&run(&["one"], server.url()), 2, "one too many");
    failed(&Live::start(&mut command(&["connect"])).end(), 2, "the URL is missing");
}

#[test]
fn it_ends_when_enough_has_come() {
    // `--wait 3` and `-n 3` end the command after three messages.
    let server = serve(|listener| {
        let mut peer = Peer::open(listener);
        assert_eq!(peer.received(), "go");
        peer.send(&[text("1"), text("2"), frame(0x82, b"3")].concat());
        answering(peer)
    });
    printed(&run(&["-x", "go", "--wait", "3", "--linger", "0"], &server.url()), &["1", "2", "3"]);
    assert_eq!(server.end(), ["close 1000"]);
    let server = serve(|listener| {
        let mut peer = Peer::open(listener);
        peer.send(&[text("1"), text("2"), text("3"), text("4")].concat());
        peer.rest()
    });
    printed(&held(&["-n", "3"], &server.url()).end(), &["1", "2", "3"]);
    assert_eq!(server.end(), ["close 1000"]);
    // `--wait 0.3s` ends the command after that time, even if messages arrive.
    let server = serve(|listener| {
        let mut peer = Peer::open(listener);
        assert_eq!(peer.received(), "ping moonwire: end of input");
        peer.send(&frame(0x8A, b"moonwire: end of input"));
        let mut its = peer.stream.try_clone().unwrap();
        let writer = std::thread::spawn(move || {
            while its.write_all(&text("more")).is_ok() {
                std::thread::sleep(LONG / 1000);
            }
        });
        let reported = peer.rest();
        peer.stream.shutdown(std::net::Shutdown::Both).unwrap();
        writer.join().unwrap();
        reported
    });
    let ended = run(&["--wait", "0.3s"], &server.url());
    assert_eq!((ended.status, &*ended.out[0]), (Some(0), "more"));
    assert_eq!(server.end(), ["close 1000"]);
}

#[cfg(feature = "json")]
#[test]
fn events_are_lines_of_json() {
    let server = serve(|listener| {
        let mut peer = Peer::open_with(listener, "Sec-WebSocket-Protocol: a\r\n", b"");
        peer.send(
            &[text("é\n\"\u{1b}\u{2028}"), frame(0x82, b"\x00\xff"), close(4001, "w\\")].concat(),
        );
        peer.frames();
    });
    let ended = held(&["--json", "-s", "a", "-s", "b"], &server.url()).end();
    assert_eq!((ended.status, &*ended.err), (Some(1), ""));
    let reported: Vec<serde_json::Value> =
        ended.out.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = reported.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["open", "text", "binary", "close"]);
    assert!(reported.iter().all(|event| event["time"].as_f64().unwrap() > 1e9));
    assert_eq!(reported[0]["protocol"], "a");
    assert_eq!(reported[1]["data"], "é\n\"\u{1b}\u{2028}");
    assert_eq!((&reported[1]["size"], &reported[2]["size"]), (&8.into(), &2.into()));
    assert_eq!(reported[2]["data"], "AP8=");
    assert_eq!((&reported[3]["code"], &reported[3]["reason"]), (&4001.into(), &"w\\".into()));
    let ended = run(&["--json"], &refused());
    let reported: serde_json::Value = serde_json::from_str(&ended.out[0]).unwrap();
    assert_eq!((ended.status, &reported["kind"]), (Some(3), &"error".into()));
}

#[test]
fn it_connects_again() {
    // Messages that were sent are not sent again; later ones are sent.
    let server = serve(|listener| {
        let mut peer = Peer::open(listener);
        assert_eq!(peer.received(), "first");
        drop(peer);
        let mut peer = Peer::open(listener);
        peer.send(&text("again"));
        answering(peer)
    });
    let mut live = held(&["--reconnect", "--linger", "0"], &server.url());
    let mut input = live.stdin();
    input.write_all(b"first\n").unwrap();
    assert_eq!(live.line(), "again");
    input.write_all(b"second\n").unwrap();
    drop(input);
    let ended = live.end();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(server.end(), ["second", "close 1000"]);
    // The ping that marks the end of the input is sent again on the next connection.
    let server = serve(|listener| {
        let mut peer = Peer::open(listener);
        assert_eq!(peer.received(), "x");
        assert_eq!(peer.received(), "ping moonwire: end of input");
        drop(peer);
        let mut peer = Peer::open(listener);
        assert_eq!(peer.received(), "ping moonwire: end of input");
        peer.send(&frame(0x8A, b"moonwire: end of input"));
        peer.rest()
    });
    let ended = run(&["--reconnect", "-x", "x"], &server.url());
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(server.end(), ["close 1000"]);
    // After an error that is not temporary, the command does not connect again.
    let server = serve(|listener| {
        let answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
        Peer::asked(listener).send(answer);
    });
    failed(&run(&["--reconnect"], &server.url()), 3, "401");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let server = serve(|listener| {
        let mut peer = Peer::open(listener);
        while peer.stream.write_all(&text("more")).is_ok() {}
    });
    let mut child = connect(&[], &server.url()).stdin(Stdio::piped()).spawn().unwrap();
    // The pipe is closed from the start.
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), &b""[..]));
    server.end();
}

#[cfg(unix)]
#[test]
fn without_standard_input_there_is_none() {
    let server = echo();
    let mut shell = Command::new("sh");
    let moonwire = env!("CARGO_BIN_EXE_moonwire");
    shell.args(["-c", "exec \"$0\" connect \"$1\" <&-", moonwire, server.url()]);
    shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    printed(&Live::start(&mut shell).end(), &[]);
}

#[test]
fn what_is_secret_is_not_shown() {
    for options in [&["-H", "Authorization: Bearer secret1"][..], &["--auth", "me:secret1"]] {
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            peer.send(&close(1000, ""));
            peer.frames();
            peer.head
        });
        let url = format!("{}?token=secret2", server.url());
        let options = [options, &["--trace", "-H", "X-Fine: visible", "-o", "https://a"]].concat();
        let ended = held(&options, &url).end();
        assert_eq!(ended.status, Some(0));
        for part in ["Authorization: ***", "X-Fine: visible", "Origin: https://a", "/?***"] {
            assert!(ended.err.contains(part), "{part}: {}", ended.err);
        }
        for part in ["secret", "bWU6c2VjcmV0MQ"] {
            assert!(!ended.err.contains(part), "{}", ended.err);
        }
        let head = server.end();
        assert!(["secret1", "bWU6c2VjcmV0MQ"].iter().any(|s| head.contains(s)), "{head}");
    }
    // Errors about such options do not show the secrets.
    for options in [&["--auth", "secret1"][..], &["-H", "secret1"], &["-H", "Cookie: secret1\n"]] {
        let ended = run(options, &refused());
        failed(&ended, 2, options[0].trim_start_matches("-H"));
        assert!(!ended.err.contains("secret1"), "{ended:?}");
    }
}

/// Pipes `text` into a program, if it is installed. Returns what it wrote to standard error.
fn checked(program: &str, args: &[&str], text: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let mut stdin = child.stdin.take().unwrap();
    let text = text.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let ended = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let complaints = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success(), "{program}: {complaints}");
    Some(complaints)
}

#[test]
fn shells_and_man_read_what_is_for_them() {
    let output = |args: &[&str]| {
        let ended = Live::start(&mut command(args)).end();
        assert_eq!((ended.status, &*ended.err), (Some(0), ""), "{args:?}");
        ended.out.join("\n") + "\n"
    };
    for (shell, option) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let text = output(&["completions", shell]);
        assert!(text.contains("connect") && text.contains("max-messages"), "{text}");
        if let Some(complaint) = checked(shell, &[option], &text) {
            assert_eq!(complaint, "", "{shell}");
        }
    }
    for name in ["", "run", "connect", "stream", "echo"] {
        let text = match name {
            "" => output(&["man"]),
            name => output(&["man", name]),
        };
        if let Some(complaint) = checked("groff", &["-man", "-Tutf8", "-ww", "-z"], &text) {
            assert_eq!(complaint, "", "{name}");
        }
    }
}
