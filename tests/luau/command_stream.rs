//! `moonwire stream`, as a child process.

use std::io::{Read as _, Write as _};
use std::process::Stdio;

use super::command::{Ended, Live, Script, command, failed, printed};
use super::raw::{Peer, Raw, serve};
use super::support::refused;

#[track_caller]
fn run(options: &[&str], url: &str) -> Ended {
    Live::start(&mut command(&[&["stream"], options, &[url]].concat())).end()
}

/// Answers one request with these bytes; returns its head and body.
fn answers(answer: &'static [u8]) -> Raw<(String, String)> {
    serve(move |listener| {
        let mut peer = Peer::asked(listener);
        let size = peer.field("Content-Length").map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; size];
        peer.stream.read_exact(&mut body).unwrap();
        if peer.field("Transfer-Encoding").is_some() {
            while !body.ends_with(b"0\r\n\r\n") {
                let mut byte = [0];
                peer.stream.read_exact(&mut byte).unwrap();
                body.push(byte[0]);
            }
        }
        peer.send(answer);
        (peer.head.clone(), String::from_utf8(body).unwrap())
    })
}

fn url<T>(server: &Raw<T>) -> String {
    server.url().replacen("ws", "http", 1)
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nX-Field: a\r\nContent-Length: 6\r\n\r\none\n2\n";
const EVENTS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n\
    : comment\ndata: a\ndata: b\n\nid: 7\nevent: x\ndata: \xc3\xa9\"\n\nid\ndata: end\n\n";

#[test]
fn the_body_is_written_as_it_comes() {
    let server = answers(OK);
    printed(&run(&[], &url(&server)), &["one", "2"]);
    assert!(server.end().0.starts_with("GET / HTTP/1.1\r\n"));
    let server = answers(OK);
    let head = ["HTTP/1.1 200 OK", "X-Field: a", "Content-Length: 6", "", "one", "2"];
    printed(&run(&["-i", "-X", "PUT"], &url(&server)), &head);
    assert!(server.end().0.starts_with("PUT / HTTP/1.1\r\n"));
}

#[test]
fn a_body_is_sent_of_text_file_or_input() {
    let file = Script::new("stream-body", "of a file");
    let name = format!("@{}", file.path());
    for (data, length, want) in [
        ("text", true, "text"),
        (&*name, true, "of a file"),
        ("-", false, "8\r\nof input\r\n0\r\n\r\n"),
        ("@-", false, "8\r\nof input\r\n0\r\n\r\n"),
    ] {
        let server = answers(OK);
        let words = ["stream", "-H", "X-A: b", "-d", data, &url(&server)];
        let mut live = Live::start(command(&words).stdin(Stdio::piped()));
        live.stdin().write_all(b"of input").unwrap();
        printed(&live.end(), &["one", "2"]);
        let (head, body) = server.end();
        assert!(head.starts_with("POST / ") && head.contains("\r\nX-A: b\r\n"), "{head}");
        assert_eq!((head.contains("Content-Length: "), &*body), (length, want));
    }
    failed(&run(&["-d", "@/nowhere/x"], &refused().replacen("ws", "http", 1)), 2, "/nowhere/x");
}

#[test]
fn the_status_is_the_outcome() {
    const NO: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nnope\n";
    let server = answers(NO);
    printed(&run(&[], &url(&server)), &["nope"]);
    for options in [&["--fail"][..], &["-f", "--events"]] {
        let server = answers(NO);
        let ended = run(options, &url(&server));
        let want = "moonwire: the response is 404 Not Found\nnope\n";
        assert_eq!((ended.status, &*ended.out, &*ended.err), (Some(22), &[][..], want));
    }
    let server = answers(OK);
    printed(&run(&["--fail"], &url(&server)), &["one", "2"]);
    let server = answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut\n");
    let ended = run(&[], &url(&server));
    failed(&ended, 1, ": body: ");
    assert_eq!(ended.out, ["cut"]);
    let server = answers(OK);
    failed(&run(&["--events"], &url(&server)), 1, "Content-Type");
    failed(&run(&[], &refused().replacen("ws", "http", 1)), 3, ": connect: ");
    let server = serve(|listener| Peer::asked(listener).next_is_eof());
    failed(&run(&["--timeout", "0.5"], &url(&server)), 124, "");
    for options in [&["--json"][..], &["--reconnect"], &["-n", "1"]] {
        failed(&run(options, "http://localhost/"), 2, "needs --events");
    }
    failed(&run(&[], "ws://localhost/"), 2, "ws");
}

#[test]
fn events_are_fields_or_json() {
    let server = answers(EVENTS);
    let want = ["data: a", "data: b", "", "id: 7", "event: x", "data: é\"", "", "data: end", ""];
    printed(&run(&["--events"], &url(&server)), &want);
    assert!(server.end().0.contains("Accept: text/event-stream\r\n"));
    let server = answers(EVENTS);
    printed(&run(&["-e", "-n", "1"], &url(&server)), &want[..3]);
}

#[cfg(feature = "json")]
#[test]
fn events_are_lines_of_json() {
    let server = answers(EVENTS);
    let ended = run(&["--events", "--json"], &url(&server));
    let reported: Vec<serde_json::Value> =
        ended.out.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((ended.status, reported.len()), (Some(0), 3));
    assert_eq!((&reported[0]["data"], &reported[0]["event"]), (&"a\nb".into(), &"message".into()));
    assert_eq!((&reported[1]["data"], &reported[1]["event"]), (&"é\"".into(), &"x".into()));
    assert_eq!((&reported[1]["id"], &reported[2]["id"]), (&"7".into(), &"".into()));
}

#[test]
fn it_asks_again_behind_the_last_event() {
    let server = serve(|listener| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        let mut peer = Peer::asked(listener);
        peer.send(format!("{head}retry: 1\nid: 5\ndata: a\n\n").as_bytes());
        drop(peer);
        let mut peer = Peer::asked(listener);
        peer.send(format!("{head}data: b\n\n").as_bytes());
        peer.next_is_eof();
        peer.field("Last-Event-ID").map(str::to_owned)
    });
    let ended = run(&["--events", "--reconnect", "-n", "2"], &url(&server));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(ended.out, ["id: 5", "data: a", "", "id: 5", "data: b", ""]);
    assert!(ended.err.contains("sending the request again in "), "{ended:?}");
    assert_eq!(server.end().as_deref(), Some("5"));
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    for options in [&[][..], &["--events"]] {
        let server = serve(|listener| {
            let mut peer = Peer::asked(listener);
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
            while peer.stream.write_all(b"data: more\n\n").is_ok() {}
        });
        let mut child =
            command(&[&["stream"], options, &[&url(&server)]].concat()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), &b""[..]));
        server.end();
    }
}

#[test]
fn what_is_secret_is_not_shown() {
    let server = answers(OK);
    let address = format!("{}?key=secret2", url(&server));
    let ended = run(&["--trace", "--auth", "me:secret1", "-H", "Cookie: secret3"], &address);
    assert_eq!(ended.status, Some(0));
    for part in ["secret", "bWU6c2VjcmV0MQ"] {
        assert!(!ended.err.contains(part), "{}", ended.err);
    }
    assert!(ended.err.contains("Authorization: ***"), "{}", ended.err);
    assert!(server.end().0.contains("Authorization: Basic bWU6c2VjcmV0MQ==\r\n"));
}
