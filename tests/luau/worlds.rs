//! Scripts as authors write them for a plugin or an executor (`worlds/*.luau`) run unmodified with that
//! host, against servers that answer as the real ones do. The tests compare what the server received and
//! what the script printed.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use moonwire::luau::{HostFile, Progress, Stopper};

use super::common::{LONG, close, field, frame, loopback};
use super::raw::{Peer, text};
use super::support::{Mode, Rt};

/// The lines that servers have logged, in the order of what they received.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn count(&self, start: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|line| line.starts_with(start)).count()
    }
}

/// A request and its connection.
struct Visit {
    peer: Peer,
    /// Method and target: `GET /path`.
    line: String,
    body: Vec<u8>,
    log: Log,
    stopper: Stopper,
    /// The request was upgraded, or its response is complete.
    is_over: bool,
}

impl Visit {
    /// Reads the next request; `None`: the client has ended the connection.
    fn next(stream: TcpStream, log: &Log, stopper: &Stopper) -> Option<Visit> {
        let mut peer = Peer { stream, head: String::new() };
        while !peer.head.ends_with("\r\n\r\n") {
            let mut byte = [0];
            peer.stream.read_exact(&mut byte).ok()?;
            peer.head.push(byte[0] as char);
        }
        let length = peer.field("Content-Length").map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; length];
        peer.stream.read_exact(&mut body).ok()?;
        let line = peer
            .head
            .rsplit_once(" HTTP/1.1\r\n")
            .map_or("", |_| peer.head.split(" HTTP/1.1").next().unwrap());
        let line = line.to_owned();
        let text = String::from_utf8_lossy(&body);
        log.add(if body.is_empty() { line.clone() } else { format!("{line} {text}") });
        let (log, stopper) = (log.clone(), stopper.clone());
        Some(Visit { peer, line, body, log, stopper, is_over: false })
    }

    /// The number of earlier requests with the same line.
    fn before(&self) -> usize {
        self.log.count(&self.line) - 1
    }

    fn body(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn field(&self, name: &str) -> &str {
        field(&self.peer.head, name).unwrap_or("-")
    }

    /// Logs one header field of the request.
    fn note(&self, name: &str) {
        self.log.add(format!("  {name}: {}", self.field(name)));
    }

    fn answer(&mut self, status: &str, kind: &str, body: &str) {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}");
        self.send(format!("{head}\r\n\r\n{body}").as_bytes());
    }

    fn json(&mut self, body: &str) {
        self.answer("200 OK", "application/json", body);
    }

    /// Sends the head of a response whose body ends with the connection.
    fn stream(&mut self, kind: &str) {
        self.is_over = true;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n");
        self.send(head.as_bytes());
    }

    /// Sends bytes. The client may have ended the connection.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.peer.stream.write_all(bytes);
    }

    fn open(&mut self) {
        self.is_over = true;
        let answer = self.peer.answer("");
        self.send(answer.as_bytes());
    }

    fn say(&mut self, message: &str) {
        self.send(&text(message));
    }

    /// Reads and logs the next message; answers a close frame.
    fn hear(&mut self) -> String {
        let reported = self.peer.received();
        self.log.add(format!("> {reported}"));
        if reported.starts_with("close") {
            self.send(&frame(0x88, b""));
        }
        reported
    }

    /// Does the same up to the close frame or the end.
    fn hear_all(&mut self) {
        loop {
            let reported = self.hear();
            if reported.starts_with("close") || reported == "EOF" {
                return;
            }
        }
    }

    fn close(&mut self, code: u16, reason: &str) {
        self.send(&close(code, reason));
        self.hear();
    }

    /// Ends a script that would run for ever.
    fn enough(&self) {
        self.log.add("(enough)");
        self.stopper.stop(1001, Duration::from_millis(100));
    }
}

/// A server on loopback with one thread for each connection.
struct Site {
    address: SocketAddr,
    log: Log,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Vec<JoinHandle<()>>>,
}

impl Site {
    fn new(stopper: Stopper, serve: fn(&mut Visit)) -> Site {
        let listener = TcpListener::bind(loopback()).unwrap();
        let (address, log) = (listener.local_addr().unwrap(), Log::default());
        let (ends, its) = (Arc::new(AtomicBool::new(false)), log.clone());
        let ended = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            let mut all = Vec::new();
            loop {
                let (stream, _) = listener.accept().unwrap();
                if ended.load(Ordering::Acquire) {
                    return all;
                }
                stream.set_read_timeout(Some(LONG)).unwrap();
                stream.set_nodelay(true).unwrap();
                let (log, stopper) = (its.clone(), stopper.clone());
                all.push(std::thread::spawn(move || {
                    while let Some(mut visit) =
                        Visit::next(stream.try_clone().unwrap(), &log, &stopper)
                    {
                        serve(&mut visit);
                        if visit.is_over {
                            let _ = stream.shutdown(std::net::Shutdown::Both);
                            return;
                        }
                    }
                }));
            }
        });
        Site { address, log, ends, thread }
    }

    /// Waits until all connections have ended; returns the log.
    fn end(self) -> Vec<String> {
        self.ends.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address).unwrap());
        for thread in self.thread.join().unwrap() {
            thread.join().unwrap();
        }
        std::mem::take(&mut *self.log.0.lock().unwrap())
    }
}

/// Whether a text matches a pattern, in which `*` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            (0..=text.len()).any(|n| text.is_char_boundary(n) && fits(rest, &text[n..]))
        }),
    }
}

#[track_caller]
fn all_fit(name: &str, what: &str, patterns: &[&str], lines: &[String]) {
    let fit = patterns.len() == lines.len() && patterns.iter().zip(lines).all(|(p, l)| fits(p, l));
    assert!(fit, "{name} {what}:\n{lines:#?}\nexpected:\n{patterns:#?}");
}

/// Runs a script with its host, inline and with a poll thread, and compares the results.
#[track_caller]
fn play(name: &str, serve: fn(&mut Visit), received: &[&str], said: &[&str]) {
    for mode in [Mode::Inline, Mode::Threaded] {
        let path = format!("{}/tests/luau/worlds/{name}.luau", env!("CARGO_MANIFEST_DIR"));
        let script = std::fs::read_to_string(path).unwrap();
        let host = script.lines().next().unwrap().split("--host ").nth(1).unwrap();
        let host = HostFile::named(host).unwrap();
        let secret = |name: &str| (name == "API_KEY").then(|| "k-123".to_owned());
        let mut rt = Rt::with(mode, |options| {
            options.host(host).player("Ada", 77).place(1818).secrets(secret)
        });
        let site = Site::new(rt.runtime.stopper(), serve);
        let urls = (format!("http://{}", site.address), format!("ws://{}", site.address));
        rt.runtime.spawn(name, &script, urls).unwrap();
        let end = rt.runtime.run().unwrap();
        let lines = rt.said.take();
        let is_enough = end == Progress::Stopped && site.log.count("(enough)") == 1;
        assert!(is_enough || end == Progress::Done, "{name} {mode:?} hangs: {lines:#?}");
        // The connections of the runtime end with it.
        drop(rt);
        all_fit(name, "says", said, &lines);
        all_fit(name, "sends", received, &site.end());
    }
}

/// Every script in the folder has a test.
#[test]
fn all_are_played() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/luau/worlds");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let files: BTreeSet<String> = names
        .map(|name| name.to_str().unwrap().strip_suffix(".luau").unwrap().to_owned())
        .collect();
    let text = include_str!("worlds.rs");
    let played =
        text.split("play(\n        \"").skip(1).map(|rest| rest.split('"').next().unwrap());
    assert_eq!(files, played.map(str::to_owned).collect());
    assert!(files.len() >= 22, "{} scripts", files.len());
}

/// A block of an event stream.
fn event(data: &str) -> String {
    format!("data: {data}\n\n")
}

#[test]
fn a_plugin_that_syncs_files() {
    play(
        "sync_plugin",
        |visit| {
            match &*visit.line {
            "GET /api/session" => visit.json(
                r#"{"id":"s1","project":"game","files":[{"name":"A","source":"return 1"},{"name":"B","source":""}]}"#,
            ),
            _ => {
                visit.open();
                visit.hear();
                visit.say(r#"{"name":"C","source":"return 3"}"#);
                visit.say(r#"{"name":"A","removed":true}"#);
                visit.say(r#"{"name":"B","source":"--"}"#);
                visit.close(1001, "bye");
            }
        }
        },
        &[
            "GET /api/session",
            "GET /api/socket/s1",
            r#"> {"kind":"hello","user":"s1"}"#,
            "> close 1001*",
        ],
        &[
            "synced 2 modules of game",
            "A=8 B=0 C=8",
            "B=0 C=8",
            "B=2 C=8",
            "disconnected ReplicatedStorage.Synced",
        ],
    );
}

#[test]
fn a_plugin_that_streams_the_log() {
    play(
        "log_stream",
        |visit| {
            visit.open();
            for _ in 0..4 {
                visit.hear();
            }
            visit.say("stop");
            visit.hear_all();
        },
        &[
            "GET /logs",
            r#"> {"level":"print","n":1,"text":"before"}"#,
            r#"> {"level":"print","n":2,"text":"loop?"}"#,
            r#"> {"level":"warn","n":3,"text":"low fuel 3"}"#,
            r#"> {"level":"error","n":4,"text":"*attempt to index nil with 'Engine'"}"#,
            "> close 1000",
        ],
        &[
            "before",
            "loop?",
            "warning: low fuel 3",
            "error: *attempt to index nil with 'Engine'",
            "reported",
            "nobody hears this",
        ],
    );
}

#[test]
fn a_bridge_for_an_assistant() {
    play(
        "mcp_bridge",
        |visit| {
            if visit.line == "POST /result" {
                let refused = visit.body().contains("\"id\":4");
                let status = if refused { "500 No" } else { "200 OK" };
                return visit.answer(status, "application/json", "{}");
            }
            visit.stream("text/event-stream");
            visit.send(b": hello\n\n");
            for (n, command) in [
                r#"{"id":1,"tool":"get_mode"}"#,
                "{\"id\":2,\"tool\":\"insert\",\ndata: \"arguments\":{\"class\":\"Folder\",\"name\":\"Maps\"}}",
                r#"{"id":3,"tool":"run_code","arguments":{"code":"return #game:GetChildren() > 0, 2"}}"#,
                r#"{"id":4,"tool":"insert","arguments":{"class":"Part","name":"Wall"}}"#,
                r#"{"id":5,"tool":"fly"}"#,
                "nonsense",
            ]
            .iter()
            .enumerate()
            {
                visit.send(event(command).as_bytes());
                // The requests follow each other, so that the order of the results is known.
                while n < 5 && visit.log.count("POST") <= n {
                    std::thread::yield_now();
                }
            }
        },
        &[
            "GET /commands",
            r#"POST /result {"id":1,"result":"edit","success":true}"#,
            r#"POST /result {"id":2,"result":"ServerStorage.Maps","success":true}"#,
            r#"POST /result {"id":3,"result":"true","success":true}"#,
            r#"POST /result {"id":4,"result":"*Unable to create an Instance of type \"Part\"","success":false}"#,
            r#"POST /result {"id":5,"result":"no tool fly","success":false}"#,
        ],
        &[
            "bridge connected 200",
            "warning: Instance.new(\"Part\") is not here: a host file can add it*",
            "warning: bridge: the result was refused: 500",
            "warning: bridge: no JSON: *",
            "bridge closed 1",
        ],
    );
}

#[test]
fn an_assistant_that_answers_word_by_word() {
    play(
        "llm_chat",
        |visit| {
            visit.note("Accept");
            if visit.body().contains("Too much") {
                return visit.answer("429 Too Many Requests", "application/json", "{}");
            }
            visit.stream("text/event-stream");
            for word in ["Red ", "and ", "blue"] {
                let text = format!(r#"{{"choices":[{{"delta":{{"content":"{word}"}}}}]}}"#);
                visit.send(event(&text).as_bytes());
            }
            visit.send(event(r#"{"choices":[{"delta":{}}]}"#).as_bytes());
            visit.send(event("[DONE]").as_bytes());
        },
        &[
            r#"POST /v1/chat/completions {"messages":[{"content":"Name two colours.","role":"user"}],"model":"small-1","stream":true}"#,
            "  Accept: text/event-stream",
            r#"POST /v1/chat/completions {"messages":[*{"content":"Red and blue","role":"assistant"},{"content":"And a third?","role":"user"}]*"#,
            "  Accept: text/event-stream",
            r#"POST /v1/chat/completions *{"content":"Too much","role":"user"}]*"#,
            "  Accept: text/event-stream",
        ],
        &["Red and blue 3", "Red and blue 3", "warning: assistant: 429 *", " 0", "5 Red and blue"],
    );
}

#[test]
fn an_assistant_with_a_secret_key() {
    play(
        "llm_secret",
        |visit| {
            visit.note("x-api-key");
            visit.note("Authorization");
            if visit.before() == 0 {
                return visit.answer("529 Overloaded", "application/json", "{}");
            }
            visit.stream("text/plain");
            for part in ["Roses ", "are ", "red"] {
                visit.send(part.as_bytes());
            }
        },
        &[
            r#"POST /v1/messages {"max_tokens":16,"prompt":"a poem"}"#,
            "  x-api-key: k-123",
            "  Authorization: Bearer k-123",
            r#"POST /v1/messages {"max_tokens":16,"prompt":"a poem"}"#,
            "  x-api-key: k-123",
            "  Authorization: Bearer k-123",
        ],
        &["try 1: status 529", "Roses are red", "Secret true"],
    );
}

#[test]
fn a_chat_bridge() {
    play(
        "chat_bridge",
        |visit| {
            visit.open();
            visit.hear();
            visit.say(r#"{"type":"join","from":"Bob"}"#);
            visit.say(r#"{"type":"chat","from":"Ada","text":"an echo"}"#);
            visit.say(r#"{"type":"chat","from":"Bob","text":"!where"}"#);
            visit.hear();
            visit.say("{");
            visit.say(r#"{"type":"leave","from":"Bob"}"#);
            visit.close(1000, "");
        },
        &[
            "GET /chat?name=Ada",
            r#"> {"from":"Ada","type":"join","userId":77}"#,
            r#"> {"from":"Ada","text":"place 1818","type":"chat"}"#,
            "> close 1000",
        ],
        &[
            "Bob joined, 1 here",
            "[Bob]: !where",
            "warning: bridge: not understood: {",
            "Bob left",
            "bridge closed",
        ],
    );
}

#[test]
fn a_remote_console() {
    play(
        "remote_console",
        |visit| {
            if visit.before() == 1 {
                return visit.answer("503 Busy", "text/plain", "");
            }
            visit.open();
            if visit.before() == 2 {
                visit.say(r#"{"id":6,"source":"return later"}"#);
                visit.hear();
                return visit.enough();
            }
            for (id, source) in [
                (1, "print('hi', 1) return 1 + 1, nil, 'x'"),
                (2, "return +"),
                (3, "error('on purpose', 0)"),
                (4, "later = 5"),
                (5, "return later, getgenv().later, game.PlaceId"),
            ] {
                visit.say(&format!(r#"{{"id":{id},"source":"{source}"}}"#));
                for _ in 0..if id == 1 { 2 } else { 1 } {
                    visit.hear();
                }
            }
            visit.close(1012, "restart");
        },
        &[
            "GET /console",
            r#"> {"id":1,"kind":"print","values":"hi, 1"}"#,
            r#"> {"id":1,"kind":"return","values":"2, nil, x"}"#,
            r#"> {"id":2,"kind":"syntax","values":"console:1: *"}"#,
            r#"> {"id":3,"kind":"error","values":"on purpose"}"#,
            r#"> {"id":4,"kind":"return","values":""}"#,
            r#"> {"id":5,"kind":"return","values":"nil, nil, 1818"}"#,
            "> close 1012*",
            "GET /console",
            "GET /console",
            r#"> {"id":6,"kind":"return","values":"nil"}"#,
            "(enough)",
        ],
        &["console connected", "console lost", "console connected"],
    );
}

#[test]
fn a_price_feed_that_reconnects() {
    play(
        "price_feed",
        |visit| {
            let before = visit.before();
            if before == 1 {
                return visit.answer("502 Bad Gateway", "text/plain", "");
            }
            visit.open();
            for _ in 0..3 {
                visit.hear();
            }
            if before == 0 {
                visit.say(r#"{"type":"ticker","pair":"BTC-USD","price":100}"#);
                visit.say(r#"{"type":"ticker","pair":"BTC-USD","price":101.5}"#);
                // The connection is lost without a close frame.
                return;
            }
            visit.say(r#"{"type":"ticker","pair":"BTC-USD","price":99}"#);
            visit.say(r#"{"type":"ticker","pair":"ETH-USD","price":7}"#);
            visit.say(r#"{"type":"bye"}"#);
            visit.close(1000, "");
        },
        &[
            "GET /feed",
            r#"> {"channel":"ticker","op":"subscribe","pair":"BTC-USD"}"#,
            r#"> {"channel":"ticker","op":"subscribe","pair":"ETH-USD"}"#,
            r#"> {"op":"ping"}"#,
            "GET /feed",
            "GET /feed",
            r#"> {"channel":"ticker","op":"subscribe","pair":"BTC-USD"}"#,
            r#"> {"channel":"ticker","op":"subscribe","pair":"ETH-USD"}"#,
            r#"> {"op":"ping"}"#,
            "> close 1000",
        ],
        &[
            "BTC-USD =100.00",
            "BTC-USD +101.50",
            "warning: attempt 2: *502*",
            "BTC-USD -99.00",
            "ETH-USD =7.00",
            "3 attempts 99 7",
        ],
    );
}

#[test]
fn a_heartbeat() {
    play(
        "heartbeat_client",
        |visit| {
            visit.open();
            visit.hear_all();
        },
        &[
            "GET /beat",
            r#"> {"beat":1,"uptime":0}"#,
            r#"> {"beat":2,"uptime":0}"#,
            r#"> {"beat":3,"uptime":0}"#,
            "> close 1000",
        ],
        &["3 beats, true, connected: false", "true true false"],
    );
}

#[test]
fn a_webhook() {
    play(
        "webhook_poster",
        |visit| {
            visit.note("Cookie");
            visit.note("Content-Type");
            if visit.before() == 0 {
                visit.answer("429 Slow Down", "application/json", r#"{"retry_after":0.01}"#)
            } else {
                visit.send(b"HTTP/1.1 204 No Content\r\nX-Request-Id: r-1\r\n\r\n")
            }
        },
        &[
            r#"POST /webhooks/1/token {"embeds":[{"color":65280,"fields":[{"inline":true,"name":"Player","value":"Ada (@Ada)"},{"inline":true,"name":"Place","value":"1818"},{"inline":true,"name":"Executor","value":"moonwire"}],"timestamp":"20*Z","title":"Script executed"}],"username":"Logger"}"#,
            "  Cookie: session=abc; theme=dark",
            "  Content-Type: application/json",
            "POST /webhooks/1/token *",
            "  Cookie: session=abc; theme=dark",
            "  Content-Type: application/json",
        ],
        &["rate limited for 0.01 s", "sent in 2 tries: 204 r-1"],
    );
}

#[test]
fn an_updater() {
    play(
        "update_checker",
        |visit| {
            match &*visit.line {
            "GET /version.txt" => visit.answer("200 OK", "text/plain", "1.10.0\n"),
            "GET /releases/1.10.0.lua" => visit.answer(
                "200 OK",
                "text/plain",
                "local v = ... return { name = 'v' .. v, start = function() return game.PlaceId end }",
            ),
            _ => visit.answer("404 Not Found", "text/plain", "no"),
        }
        },
        &["GET /version.txt", "GET /releases/1.10.0.lua", "GET /nothing"],
        &["[Updater] 1.4.0 -> 1.10.0", "v1.10.0 1818", "false HTTP 404 (Not Found)"],
    );
}

#[test]
fn a_key_system() {
    play(
        "key_system",
        |visit| {
            if visit.line.starts_with("GET /main") {
                return visit.answer("200 OK", "text/plain", "return 'ran with ' .. script_key");
            }
            visit.note("Authorization");
            if visit.line.contains("WRONG") {
                visit.answer("403 Forbidden", "text/plain", "");
            } else if visit.line.contains("GOOD") {
                visit.json(r#"{"valid":true,"tier":"gold"}"#);
            } else {
                visit.json(r#"{"valid":false,"reason":"it has expired"}"#);
            }
        },
        &[
            "GET /check?key=expired&hwid=machine7&user=77",
            "  Authorization: Client expired",
            "GET /check?key=WRONG&hwid=machine7&user=77",
            "  Authorization: Client WRONG",
            "GET /check?key=GOOD%2D1234&hwid=machine7&user=77",
            "  Authorization: Client GOOD-1234",
            "GET /main?key=GOOD-1234",
        ],
        &[
            "expired false it has expired",
            "WRONG false this key is not good",
            "GOOD-1234 true gold",
            "true ran with GOOD-1234",
        ],
    );
}

#[test]
fn a_leaderboard() {
    play(
        "leaderboard",
        |visit| match &*visit.line {
            "POST /scores" if visit.body().contains("nobody") => {
                visit.answer("400 Bad Request", "text/plain", "")
            }
            "POST /scores" if visit.before() == 0 => {
                visit.note("Content-Type");
                visit.answer("503 Service Unavailable", "text/plain", "")
            }
            "POST /scores" => visit.json(r#"{"rank":2}"#),
            _ => {
                visit.note("Cache-Control");
                visit.note("X-Season");
                visit.json(r#"[{"name":"Ada & Co","score":120},{"name":"Bob","score":300}]"#)
            }
        },
        &[
            "POST /scores name=Ada%20%26%20Co&score=120",
            "  Content-Type: application/x-www-form-urlencoded",
            "POST /scores name=Ada%20%26%20Co&score=120",
            "GET /scores?top=3",
            "  Cache-Control: no-cache",
            "  X-Season: 4",
            "POST /scores name=nobody&score=-1",
            "POST /scores name=nobody&score=-1",
        ],
        &[
            "warning: try 1: HTTP 503 (Service Unavailable)",
            "rank 2",
            "1 Bob 300",
            "2 Ada & Co 120",
            "warning: try 1: HTTP 400 (Bad Request)",
            "warning: try 2: HTTP 400 (Bad Request)",
            "false gave up: HTTP 400 (Bad Request)",
            "false invalid argument #2 to 'PostAsync' (string expected, got table)",
        ],
    );
}

#[test]
fn a_config() {
    play(
        "config_loader",
        |visit| match &*visit.line {
            "GET /config/default.json" => {
                visit.json(r#"{"Delay":"slow","Colors":{"Main":"blue"},"Shiny":true}"#)
            }
            "GET /config/broken.json" => visit.json("{"),
            "GET /config/user-77.json" => visit.json(r#"{"Delay":3,"Features":{"Trade":true}}"#),
            _ => visit.answer("404 Not Found", "text/plain", ""),
        },
        &[
            "GET /config/default.json",
            "GET /config/place-1818.json",
            "GET /config/broken.json",
            "GET /config/user-77.json",
        ],
        &[
            "warning: config: *",
            "warning: config: *",
            "/config/place-1818.json HTTP 404 (Not Found)",
            "/config/broken.json no JSON",
            r#"{"Colors":{"Back":"black","Main":"blue"},"Delay":3,"Features":{"Chat":true,"Trade":true}}"#,
        ],
    );
}

#[test]
fn an_account_among_several() {
    play(
        "account_controller",
        |visit| {
            visit.open();
            if visit.before() == 0 {
                visit.say(r#"{"Name":"ping"}"#);
                visit.hear();
                // The connection is lost.
                return;
            }
            visit.say(r#"{"Name":"identify"}"#);
            visit.hear();
            visit.say(r#"{"Name":"execute","Payload":"print(game.JobId ~= '')"}"#);
            visit.say(r#"{"Name":"execute","Payload":"print("}"#);
            visit.hear();
            visit.say(r#"{"Name":"stop"}"#);
            visit.hear_all();
        },
        &[
            "GET /Nexus?name=Ada&id=77",
            r#"> {"Name":"pong","Payload":true}"#,
            "GET /Nexus?name=Ada&id=77",
            r#"> {"Name":"identity","Payload":{"executor":"moonwire","game":1818,"id":77,"job":36,"place":1818,"user":"Ada","versioned":true}}"#,
            r#"> {"Name":"failed","Payload":"*"}"#,
            "> close 1000",
        ],
        &["true", "stopped 1 true"],
    );
}

#[test]
fn telemetry_in_batches() {
    play(
        "telemetry",
        |visit| {
            if visit.before() == 1 {
                visit.answer("500 Oops", "text/plain", "")
            } else {
                visit.answer("200 OK", "text/plain", "stored")
            }
        },
        &[
            r#"POST /batch {"events":[{"name":"start","value":1},{"name":"click","value":2}],"studio":true}"#,
            r#"POST /batch {"events":[{"name":"fail","value":3}],"studio":true}"#,
            // The body is compressed in a build with feature `deflate`.
            "POST /batch *",
        ],
        &["true 2 stored", "false 1 HTTP 500 (Oops)", "true 4 stored"],
    );
}

#[test]
fn notifications() {
    play(
        "ntfy_listener",
        |visit| {
            if visit.before() == 1 || visit.line.ends_with("since=m3") {
                return visit.answer("503 Later", "text/plain", "");
            }
            visit.stream("application/x-ndjson");
            if visit.line.ends_with("since=all") {
                visit.send(
                    b"{\"event\":\"open\",\"id\":\"o\"}\n{\"event\":\"message\",\"id\":\"m1\",",
                );
                visit.send(b"\"topic\":\"alerts\",\"message\":\"disk\"}\r\n{\"event\":\"keepalive\",\"id\":\"k\"}\n");
                visit.send(b"{\"event\":\"message\",\"id\":\"m2\",\"topic\":\"alerts\",\"title\":\"CPU\",\"message\":\"hot\",\"priority\":5}\n{\"event\":");
            } else {
                visit.send(b"{\"event\":\"message\",\"id\":\"m3\",\"topic\":\"alerts\",\"message\":\"fine\",\"priority\":1}\n");
            }
        },
        &["GET /alerts/json?since=all", "GET /alerts/json?since=m2", "GET /alerts/json?since=m3"],
        &["[alerts] disk (default)", "[CPU] hot (max)", "[alerts] fine (min)", "3 shown, last m3"],
    );
}

#[test]
fn a_broker_of_lines() {
    play(
        "nats_client",
        |visit| {
            visit.open();
            visit.send(&frame(0x82, b"INFO {}\r\nPING\r\n"));
            for _ in 0..3 {
                visit.hear();
            }
            visit.send(&frame(0x82, b"MSG greet.a 1 reply.1 3\r\nB"));
            visit.send(&frame(0x82, b"ob\r\nMSG greet.b 1 2\r\n\r\n\r\n"));
            visit.hear();
            visit.send(&frame(0x82, b"-ERR 'slow'\r\n"));
            visit.hear_all();
        },
        &[
            "GET /nats",
            "> 2 CONNECT {\"name\":\"Ada\",\"verbose\":false}\r\n",
            "> 2 SUB greet.* 1\r\n",
            "> 2 PONG\r\n",
            "> 2 PUB reply.1 6\r\nhi Bob\r\n",
            "> close 1000",
        ],
        &["greeted: Bob", "greeted: \r\n", "warning: broker: -ERR 'slow'", "gone"],
    );
}

#[test]
fn a_broker_of_packets() {
    play(
        "mqtt_client",
        |visit| {
            visit.is_over = true;
            visit.note("Sec-WebSocket-Protocol");
            let answer = visit.peer.answer("Sec-WebSocket-Protocol: mqtt\r\n");
            visit.send(answer.as_bytes());
            visit.hear();
            visit.send(&frame(0x82, b"\x20\x02\0\0"));
            visit.hear();
            visit.send(&frame(0x82, b"\x90\x03\0\x01\0"));
            visit.send(&frame(0x82, b"\x30\x0C\0\x08lamp/seton"));
            visit.hear_all();
        },
        &[
            "GET /mqtt",
            "  Sec-WebSocket-Protocol: mqtt",
            "> 2 \u{10}\u{15}\0\u{4}MQTT\u{4}\u{2}\0\u{3C}\0\u{9}client-77",
            "> 2 \u{FFFD}\u{D}\0\u{1}\0\u{8}lamp/set\0",
            "> 2 0\u{FFFD}\u{1}\0\u{A}lamp/statexxx*xxx",
            "> 2 \u{FFFD}\0",
            "> close 1000",
        ],
        &["subscribed true", "true lamp/set on"],
    );
}

#[test]
fn presence_in_a_tree() {
    play(
        "presence",
        |visit| {
            visit.open();
            visit.say(r#"{"name":"Grace","status":"idle","color":"green"}"#);
            visit.hear();
            visit.say(r#"{"name":"Grace","status":"edits Main"}"#);
            visit.hear();
            visit.say(r#"{"name":"Ada","status":"reads","color":"red"}"#);
            visit.hear();
            visit.say(r#"{"name":"Grace","gone":true}"#);
            visit.say(r#"{"name":"Nobody","gone":true}"#);
            visit.close(1000, "");
        },
        &[
            "GET /presence",
            "> ServerStorage.Presence.Grace idle",
            "> ServerStorage.Presence.Grace edits Main",
            "> ServerStorage.Presence.Ada reads",
            "> close 1000",
        ],
        &[
            "first idle green",
            "changed edits Main",
            "left Grace nil",
            "2 left in ServerStorage.Presence",
        ],
    );
}

#[test]
fn calls_in_both_directions() {
    play(
        "rpc_client",
        |visit| {
            visit.open();
            visit.hear();
            for (id, method, params) in [(7, "sum", "1,2,3"), (8, "fail", ""), (9, "nothing", "")] {
                visit.say(&format!(r#"{{"id":{id},"method":"{method}","params":[{params}]}}"#));
                visit.hear();
            }
            visit.say(r#"{"id":1,"result":"hello"}"#);
            visit.hear();
            visit.say(r#"{"id":2,"error":"division by zero"}"#);
            visit.hear_all();
        },
        &[
            "GET /rpc",
            r#"> {"id":1,"method":"echo","params":["hello"]}"#,
            r#"> {"id":7,"ok":true,"result":6}"#,
            r#"> {"id":8,"ok":false,"result":"on purpose"}"#,
            r#"> {"id":9,"ok":false,"result":"no such method"}"#,
            r#"> {"id":2,"method":"divide","params":[1,0]}"#,
            r#"> {"id":3,"method":"never","params":[]}"#,
            "> close 1000",
        ],
        &["true hello", "false division by zero", "false timed out"],
    );
}

#[test]
fn a_hub_of_scripts() {
    play(
        "script_hub",
        |visit| {
            match &*visit.line {
            "GET /list.json" => visit.json(
                r#"[{"name":"greet","path":"/greet.lua"},{"name":"broken","path":"/broken.lua","places":[1818]},
                    {"name":"elsewhere","path":"/x.lua","places":[5]},{"name":"raises","path":"/raises.lua"}]"#,
            ),
            "GET /greet.lua" => visit.answer(
                "200 OK",
                "text/plain",
                "local who = ... getgenv().greeted = who return 'hello ' .. who",
            ),
            "GET /broken.lua" => visit.answer("200 OK", "text/plain", "return ="),
            "GET /raises.lua" => visit.answer("200 OK", "text/plain", "error('no game')"),
            _ => visit.answer("404 Not Found", "text/plain", ""),
        }
        },
        &["GET /list.json", "GET /greet.lua", "GET /broken.lua", "GET /raises.lua"],
        &[
            "Ada broken,greet,raises",
            "true hello world",
            "false broken:1: *",
            "false there is no script elsewhere for this place",
            "false raises:1: no game",
            "nil true world",
        ],
    );
}

#[test]
fn a_plugin_that_reviews_the_selection() {
    play(
        "selection_plugin",
        |visit| visit.json(r#"{"source":"print(2)","remarks":1}"#),
        &[r#"POST /review {"path":"ServerScriptService.Main","source":"print(1)","user":77}"#],
        &[
            "2 selected",
            "Main 1 remarks",
            "warning: Folder Folder is no script",
            "print(2) 1 Script",
        ],
    );
}

#[test]
fn whichever_function_there_is_for_requests() {
    play(
        "request_fallback",
        |visit| {
            visit.note("Authorization");
            match &*visit.line {
                "POST /notes" => visit.answer("201 Created", "application/json", r#"{"id":5}"#),
                "PATCH /notes/5" => visit.json(r#"{"text":"second"}"#),
                "DELETE /notes/5" => visit.send(b"HTTP/1.1 204 No Content\r\n\r\n"),
                _ => visit.answer("410 Gone", "text/plain", ""),
            }
        },
        &[
            r#"POST /notes {"text":"first"}"#,
            "  Authorization: Bearer t0ken",
            r#"PATCH /notes/5 {"text":"second"}"#,
            "  Authorization: Bearer t0ken",
            "DELETE /notes/5",
            "  Authorization: Bearer t0ken",
            "GET /notes/5",
            "  Authorization: Bearer t0ken",
            "GET /odd",
            "  Authorization: -",
        ],
        &[
            "made 5",
            "changed second",
            "gone nil",
            "then nil 410 Gone",
            "down nil HttpError: ConnectFail",
            "warning: RequestAsync: there is no option Verb; it is ignored",
            "odd 410",
            "proxied false *",
        ],
    );
}
