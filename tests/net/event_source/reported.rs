//! What an event source reports besides events (comments, openings, breaks); restarts; and attempts
//! after a transient refusal.

use super::*;

/// The next item, as a short text.
#[track_caller]
fn reported(source: &mut EventSource) -> String {
    match source.next_timeout(LONG).unwrap() {
        Incoming::Event(event) => format!("{}|{}", event.id, event.data),
        Incoming::Comment(text) => format!(":{text}"),
        Incoming::Opened => "opened".into(),
        Incoming::Reconnecting { after } => format!("again in {after:?}"),
        Incoming::Closed => "closed".into(),
        other => panic!("{other:?}: {:?}", source.last_error()),
    }
}

fn all_reported(source: &mut EventSource) -> Vec<String> {
    let mut all = Vec::new();
    while all.last().is_none_or(|last| last != "closed") {
        all.push(reported(source));
    }
    all
}

/// Reads until the client has closed, and then sends to `closed`.
fn until_closed(peer: &mut Peer, closed: &mpsc::Sender<()>) -> End {
    peer.rest();
    closed.send(()).unwrap();
    End::Close
}

#[test]
fn comments_openings_and_breaks_come_in_order() {
    let server = answers(&[
        &stream("\u{FEFF}: hi\ndata: a\n:mid\nid: 1\ndata: b\n\n:\n:cut"),
        &stream(":\r\n: data: x\r\ndata: c\r\r:  two\n"),
        STOP,
    ]);
    let want = [
        "opened",
        ":hi",
        ":mid",
        "1|a\nb",
        ":",
        "again in 1ms",
        "opened",
        ":",
        ":data: x",
        "1|c",
        ": two",
        "again in 1ms",
        "closed",
    ];
    assert_eq!(all_reported(&mut eager(at(&server))), want);
    heads(server);
}

/// The streams and results of LaunchDarkly's sse-contract-tests for the capability `comments`.
#[test]
fn contract_tests_of_comments_in_pieces() {
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let server = play(false, 1, move |_, peer| {
        let pieces = ["", ":Hello\n", ": Wo", "rld\n:", "\ndata: Hello\n\n", ":after\n"];
        for (number, piece) in pieces.iter().enumerate() {
            wait.lock().unwrap().recv().unwrap();
            peer.write(if number == 0 { stream("") } else { (*piece).into() }.as_bytes());
        }
        End::Close
    });
    let mut source = EventSource::new(at(&server));
    for wanted in
        [&["opened"][..], &[":Hello"], &[], &[":World"], &[":", "|Hello"], &[":after", "closed"]]
    {
        go.send(()).unwrap();
        for want in wanted {
            assert_eq!(reported(&mut source), *want);
        }
    }
    heads(server);
}

#[test]
fn who_asks_for_events_gets_events_only() {
    for take in [
        |source: &mut EventSource| source.next_event(),
        |source: &mut EventSource| source.next().transpose(),
    ] {
        let server = answers(&[
            &stream(":1\ndata: a\n\n:2\n"),
            &stream(":3\n"),
            &stream(":4\n\ndata: b\n\n"),
            STOP,
        ]);
        let mut source = eager(at(&server));
        let datas = std::iter::from_fn(|| take(&mut source).unwrap()).map(|event| event.data);
        assert_eq!(datas.collect::<Vec<_>>(), ["a", "b"]);
        heads(server);
    }
}

#[test]
fn without_reconnect_no_break_is_reported() {
    let server = answers(&[&stream("data: a\n\n")]);
    assert_eq!(all_reported(&mut EventSource::new(at(&server))), ["opened", "|a", "closed"]);
    heads(server);
}

/// Each failed attempt is reported with its error, however late the next call comes.
#[test]
fn every_failed_attempt_is_reported_with_its_wait_and_reason() {
    let refused = StreamOptions::get("http://127.0.0.1:1/").unwrap();
    let mut source = eager(refused);
    assert!(source.last_error().is_none());
    for attempt in 0..5 {
        let reported = within_attempt(&mut source);
        // The wait doubles with each attempt, and half of it is random. It is at least 1 ms.
        let most = SHORT * (1 << attempt);
        assert!(reported >= SHORT.max(most / 2) && reported <= most, "{attempt}: {reported:?}");
        let kind = source.last_error().unwrap().kind();
        assert!(matches!(kind, ErrorKind::Connect(_)), "{kind}");
        assert!(!source.is_open());
        std::thread::sleep(reported * 2);
        // Without a call nothing happens, so the error is still there.
        assert!(source.last_error().is_some());
    }
}

#[track_caller]
fn within_attempt(source: &mut EventSource) -> Duration {
    match source.next_timeout(LONG).unwrap() {
        Incoming::Reconnecting { after } => after,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_break_says_why_until_a_stream_is_open() {
    let cut = stream("data: b\n\n").replace("\r\n\r\n", "\r\nContent-Length: 99\r\n\r\n");
    let server = answers(&[&stream("data: a\n\n"), &cut, "", &stream("data: c\n\n"), STOP]);
    let mut source = eager(at(&server));
    let mut seen = Vec::new();
    while seen.last().is_none_or(|(last, _)| last != "closed") {
        let reported = reported(&mut source);
        seen.push((if reported.starts_with("again") { "again".into() } else { reported }, {
            source.last_error().map(|error| error.stage())
        }));
    }
    let seen: Vec<_> = seen.iter().map(|(reported, why)| (&reported[..], *why)).collect();
    let want = [
        ("opened", None),
        ("|a", None),
        // The body ended correctly, so there is no error.
        ("again", None),
        ("opened", None),
        ("|b", None),
        ("again", Some(Stage::Body)),
        ("again", Some(Stage::Response)),
        ("opened", None),
        ("|c", None),
        ("again", None),
        ("closed", None),
    ];
    assert_eq!(seen, want);
    heads(server);
}

#[test]
fn to_begin_again_ends_the_connection_at_once_and_goes_on_behind_the_last_id() {
    for secure in [false, true] {
        let (closed, has_closed) = mpsc::channel();
        let server = play(secure, 2, move |number, peer| {
            if number == 0 {
                // The second event arrives with the first one. The restart drops it.
                peer.write(stream("id: 1\ndata: a\n\nid: 2\ndata: b\n\ndata: half").as_bytes());
                return until_closed(peer, &closed);
            }
            peer.write(stream("data: c\n\n").as_bytes());
            peer.rest();
            End::Close
        });
        let url = format!("http{}://{}/", if secure { "s" } else { "" }, server.address);
        let options = StreamOptions::get(&url).unwrap().timeout(LONG);
        // One connection is allowed, so the earlier one has to be closed first.
        let limits = Limits { connections: 1, ..Limits::default() };
        let mut source = EventSource::new(options).config(Config { limits, ..trusting() });
        assert_eq!([reported(&mut source), reported(&mut source)], ["opened", "1|a"]);
        source.restart();
        assert!(!source.is_open());
        has_closed.recv().unwrap();
        assert_eq!([reported(&mut source), reported(&mut source)], ["opened", "1|c"]);
        drop(source);
        assert_eq!(last_ids(&heads(server)), [None, Some("1")]);
    }
}

/// A restart works after an error, after a 204, without `reconnect`, and in a wait of an hour.
#[test]
fn a_source_that_has_ended_or_waits_begins_again() {
    let limits = Limits { sse_line: 15, connections: 1, ..Limits::default() };
    let refused = "HTTP/1.1 500 No\r\nContent-Length: 99\r\n\r\n";
    for (first, ends, error) in [
        (refused, true, true),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", true, true),
        (&stream("data: 0123456789 and more"), true, true),
        ("SSH-2.0-OpenSSH_9.9\r\n", true, true),
        (STOP, true, false),
        (&stream(""), false, false),
    ] {
        let server = answers(&[first, &stream("data: a\n\n")]);
        let mut source = EventSource::new(at(&server)).resume("7").retry(HOUR).reconnect(!ends);
        source = source.config(Config { limits: limits.clone(), ..Config::default() });
        // Before the first call, a restart has no effect.
        source.restart();
        let (mut failed, mut last) = (false, String::new());
        while !last.starts_with("again") && last != "closed" {
            match source.next_timeout(LONG) {
                Ok(Incoming::Closed) => last = "closed".into(),
                Ok(Incoming::Reconnecting { .. }) => last = "again".into(),
                Ok(_) => {}
                Err(_) => failed = true,
            }
        }
        assert_eq!((failed, last == "closed"), (error, ends), "{first:?}");
        source.restart();
        assert!(source.last_error().is_none());
        assert_eq!([reported(&mut source), reported(&mut source)], ["opened", "7|a"], "{first:?}");
        assert_eq!(last_ids(&heads(server)), [Some("7"); 2], "{first:?}");
    }
}

#[test]
fn to_begin_again_forgets_the_attempts_that_failed() {
    let refused = StreamOptions::get("http://127.0.0.1:1/").unwrap();
    let mut source = eager(refused);
    let waits = [(); 6].map(|()| within_attempt(&mut source));
    assert!(waits[5] >= SHORT * 16, "{waits:?}");
    source.restart();
    assert!(source.last_error().is_none());
    assert_eq!(within_attempt(&mut source), SHORT);
    // A restart also works after an error of the opening, not of a response.
    let limits = Limits { connections: 0, ..Limits::default() };
    let options = StreamOptions::get("http://127.0.0.1:1/").unwrap();
    let mut source = eager(options).config(Config { limits, ..Config::default() });
    for _ in 0..3 {
        assert!(matches!(fails(&mut source).kind(), ErrorKind::TooManyConnections(0)));
        source.restart();
    }
}

/// WHATWG HTML §9.2.3: any status but 200 ends a source for good. FAULTS 81: a proxy answers with
/// 502 while its backend restarts, so a program may choose to go on.
#[test]
fn a_refusal_that_may_pass_is_a_failed_attempt_if_that_is_chosen() {
    let answer = |status: u16| {
        // The body looks like an event and is not read.
        let typed = "Content-Type: text/event-stream\r\nContent-Length: 99";
        format!("HTTP/1.1 {status} No\r\n{typed}\r\n\r\nid: 9\ndata: x\n\n")
    };
    for (status, passes) in [
        (408, true),
        (425, true),
        (429, true),
        (502, true),
        (503, true),
        (504, true),
        (201, false),
        (206, false),
        (400, false),
        (401, false),
        (403, false),
        (404, false),
        (410, false),
        (428, false),
        (500, false),
        (501, false),
        (505, false),
    ] {
        for (reconnect, chosen) in [(true, true), (true, false), (false, true)] {
            let goes_on = passes && reconnect && chosen;
            let all = [&stream("id: 7\n\n"), &answer(status), &answer(status), STOP];
            let server = answers(match (reconnect, goes_on) {
                (true, true) => &all,
                (true, false) => &all[..2],
                (false, _) => &all[1..2],
            });
            let mut source = EventSource::new(at(&server)).retry(SHORT).retry_floor(SHORT);
            source = source.reconnect(reconnect).reconnect_when_refused(chosen);
            if reconnect {
                assert_eq!(
                    [reported(&mut source), reported(&mut source)],
                    ["opened", "again in 1ms"]
                );
            }
            if goes_on {
                for attempt in 0..2 {
                    let wait = within_attempt(&mut source);
                    assert!(wait >= SHORT && wait <= SHORT * (attempt + 1), "{attempt}: {wait:?}");
                    assert_eq!(source.last_error().unwrap().status(), Some(status));
                }
                assert_eq!(reported(&mut source), "closed");
            } else {
                assert_eq!(fails(&mut source).status(), Some(status));
            }
            let heads = heads(server);
            let ids = last_ids(&heads);
            assert!(ids.iter().skip(1).all(|id| *id == Some("7")), "{status}: {ids:?}");
        }
    }
}

#[test]
fn a_refusal_leaves_no_connection_open_while_it_waits() {
    let (closed, has_closed) = mpsc::channel();
    let server = play(false, 1, move |_, peer| {
        peer.write(b"HTTP/1.1 503 Wait\r\nContent-Length: 99\r\n\r\nhalf");
        until_closed(peer, &closed)
    });
    let mut source = EventSource::new(at(&server)).reconnect(true).reconnect_when_refused(true);
    assert!(matches!(source.next_timeout(LONG).unwrap(), Incoming::Reconnecting { .. }));
    has_closed.recv().unwrap();
    heads(server);
}

/// RFC 9110 §10.2.3. `sse_retry_ceiling` bounds the wait.
#[test]
fn what_a_refusal_says_of_the_wait_makes_it_longer() {
    let limits = Limits { sse_retry_ceiling: HOUR, ..Limits::default() };
    let seconds = Duration::from_secs;
    for (field, wait) in [
        ("Retry-After: 2", seconds(2)),
        ("retry-after:  007 ", seconds(7)),
        ("Retry-After: 3600", HOUR),
        ("Retry-After: 3601", HOUR),
        ("Retry-After: 99999999999999999999999", HOUR),
        (
            "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:49:39 GMT",
            seconds(2),
        ),
        ("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT", SHORT),
        ("Retry-After: 0", SHORT),
        ("Retry-After: ", SHORT),
        ("Retry-After: -2", SHORT),
        ("Retry-After: +2", SHORT),
        ("Retry-After: 2.5", SHORT),
        ("Retry-After: 2 s", SHORT),
        ("X: 2", SHORT),
    ] {
        let server = answers(&[&format!("HTTP/1.1 503 Wait\r\n{field}\r\n\r\n")]);
        let mut source = eager(at(&server).limits(limits.clone())).reconnect_when_refused(true);
        assert_eq!(within_attempt(&mut source), wait, "{field}");
        heads(server);
    }
}
