//! §2: options, slots, and secrets.

use std::sync::{Arc, Mutex};

use moonwire::luau::Options;
use moonwire::trace::Lines;

use super::common::{self, Peer};
use super::raw::{self, serve, text};
use super::streams::*;
use super::support::*;

/// Texts that must not be shown: a header's value, and the secret URL.
const HIDDEN: &str = "hunter2";
const HOST: &str = "hidden.test";

/// The lines of the trace.
#[derive(Clone, Default)]
struct Traced(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Traced {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Traced {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A runtime whose secrets are `key` and `url`, which leads to a local port.
fn with_secrets(mode: Mode, scheme: &str, port: u16, traced: &Traced) -> Rt {
    let url = format!("{scheme}://{HOST}:{port}/{HIDDEN}?token={HIDDEN}");
    with(mode, |mut options: Options| {
        options.config().resolve = vec![format!("{HOST}:{port}:127.0.0.1").parse().unwrap()];
        options.config().observer = Some(Box::new(Lines::new(traced.clone())));
        options.secrets(move |name| match name {
            "key" => Some(HIDDEN.to_owned()),
            "url" => Some(url.clone()),
            "broken" => Some(format!("http://{HOST}:99999/{HIDDEN}")),
            "injected" => Some(format!("{HIDDEN}\r\nX: y")),
            _ => None,
        })
    })
}

#[track_caller]
fn shows_nothing(said: &[String], traced: &Traced) {
    for text in [said.join("\n"), traced.text()] {
        assert!(!text.contains(HIDDEN), "{text}");
        assert!(!text.contains(HOST), "{text}");
    }
}

/// A server whose clients use a secret URL. `act` handles each connection.
#[track_caller]
fn told_in_secret(
    mode: Mode,
    kind: &str,
    certificate: Option<&str>,
    act: impl FnOnce(Peer) + Send + 'static,
) -> Vec<String> {
    let traced = Traced::default();
    let server = match certificate {
        Some(name) => common::serve_tls(name, act),
        None => common::serve(act),
    };
    let url = url_for(kind, &server);
    let scheme = url.split(':').next().unwrap().to_owned();
    let mut rt = with_secrets(mode, &scheme, server.address.port(), &traced);
    let script = r#"local H = game:GetService("HttpService")
        local key = H:GetSecret("key")
        local headers = { Authorization = key:AddPrefix("Bearer "), ["X-Own"] = key }
        watch(..., H:GetSecret("url"), { Headers = headers })"#;
    let said = rt.says(script, kind);
    drop(rt);
    server.join();
    shows_nothing(&said, &traced);
    assert_ne!(traced.text(), "");
    said
}

const CREATE: &str = include_str!("stream_creation.luau");

both! {
    // FAULTS 75: among it.
    fn what_creation_refuses(mode) {
        runtime(mode).passes(CREATE, ());
    }

    fn the_number_of_clients_is_a_limit(mode) {
        for n in [1, 2, 6, 40] {
            let mut rt = with(mode, |mut options| {
                options.config().limits.stream_clients = n;
                options
            });
            rt.passes("slots(...) slots(...) done()", n);
        }
        let mut rt = with(mode, |mut options| {
            options.config().limits.connections = 2;
            options
        });
        // The reactor's own limit is not a mistake of the script.
        let script = r#"local all = {}
            for i = 1, 3 do all[i] = create("RawStream", "http://127.0.0.1:9/") end
            record(all[3])
            all[3].Closed:Wait()
            for i = 1, 2 do all[i]:Close() end
            task.wait()
            slots()"#;
        let why = "2 connections are open, the limit; close one first";
        let error = format!("Error Error -1 HttpError: Unknown ({why})");
        assert_eq!(rt.says(script, ()), [&*error, "Closed Error"]);
    }

    // However a client ends, its slot is free again before any handler runs.
    fn slots_come_back(mode) {
        let server = serve(|listener| {
            for i in 0..20 {
                let mut peer = raw::Peer::asked(listener);
                let good = response("200 OK", "", "x");
                peer.send(if i % 2 == 0 { good.as_bytes() } else { b"?" });
            }
        });
        // It never answers.
        let hangs = std::net::TcpListener::bind(common::loopback()).unwrap();
        let script = r#"local url, hangs = ...
            local kinds = { "RawStream", "SSE" }
            for round = 1, 20 do
                local c = create(kinds[round % 3 % 2 + 1], url)
                local others = {}
                for i = 1, 5 do others[i] = create("SSE", hangs) end
                local function free()
                    slots(1)
                end
                c.Error:Connect(free)
                c.Closed:Connect(free)
                c.Changed:Connect(function() if c.ConnectionState.Value >= 2 then free() end end)
                c.Closed:Wait()
                task.wait()
                for _, other in others do other:Close() end
                slots()
            end
            done()"#;
        let hangs = format!("http://{}/", hangs.local_addr().unwrap());
        runtime(mode).passes(script, (server.url().replacen("ws", "http", 1), hangs));
        server.end();
    }

    // A client that no script can reach any more.
    fn the_slot_of_a_client_that_is_collected_comes_back(mode) {
        let server = common::listen(|listener| {
            // They are open, or being opened.
            let mut all = Vec::new();
            for _ in 0..6 {
                let mut peer = Peer::plain(listener.accept().unwrap().0);
                if peer.begins() {
                    peer.request();
                    let _ = peer.try_write(b"HTTP/1.1 200 OK\r\n\r\nx");
                }
                all.push(peer);
            }
            all.iter_mut().map(Peer::rest).sum::<usize>()
        });
        let script = r#"local url = ...
            local function fill()
                for i = 1, 6 do
                    local c = create("RawStream", url)
                    if i == 2 then
                        c.Opened:Connect(function() print(c) end):Disconnect()
                    elseif i == 3 then
                        local t = task.spawn(function() c.MessageReceived:Wait() end)
                        task.cancel(t)
                    elseif i == 4 then
                        local changed = c:GetPropertyChangedSignal("ConnectionState")
                        local s = { c.Closed, c.Changed, changed }
                    end
                end
            end
            fill()
            raises(FULL, create, "RawStream", url)
            task.wait(0.05)
            for _ = 1, 10 do
                collect()
                task.wait()
            end
            slots()
            done()"#;
        runtime(mode).passes(script, url_for("RawStream", &server));
        server.join();
    }

    fn what_the_options_put_into_the_request(mode) {
        let server = common::listen(|listener| {
            let mut all = Vec::new();
            for _ in 0..5 {
                let mut peer = Peer::plain(listener.accept().unwrap().0);
                let head = peer.request().to_owned();
                let length = common::field(&head, "Content-Length").and_then(|n| n.parse().ok());
                all.push((head, peer.read(length.unwrap_or(0))));
                peer.write(response("200 OK", "", "").as_bytes());
                finish(&mut peer);
            }
            all
        });
        let script = r#"local url = ...
            local function ask(kind, options) create(kind, url, options).Closed:Wait() end
            ask("RawStream")
            local headers = { ["Content-Type"] = "x/y", B = "2", a = "1" }
            ask("RawStream", { Method = "POST", Body = "a\0\xFF\r\n", Headers = headers })
            ask("RawStream", { Method = "get", Timeout = math.huge })
            local gzip = Enum.HttpCompression.Gzip
            ask("RawStream", { Method = "PUT", Body = "", Compress = gzip, Headers = {} })
            headers = { Accept = "mine", ["User-Agent"] = "me" }
            ask("SSE", { Timeout = 1e300, Headers = headers, Typo = 1, [5] = 1, header = 1, ["\n"] = 1 })
            done()"#;
        let mut rt = runtime(mode);
        let mut said = rt.says(script, url_for("RawStream", &server));
        said.sort();
        assert_eq!(said, [
            "done",
            "warning: CreateWebStreamClient: there is no option 5; it is ignored",
            "warning: CreateWebStreamClient: there is no option Typo; it is ignored",
            "warning: CreateWebStreamClient: there is no option \\n; it is ignored",
            "warning: CreateWebStreamClient: there is no option header (did you mean Headers?); \
             it is ignored",
        ]);
        let all = server.join();
        let head = |i: usize| all[i].0.as_str();
        assert!(head(0).starts_with("GET / HTTP/1.1\r\nHost: 127.0.0.1:"), "{}", head(0));
        assert!(!head(0).contains("Content-"), "{}", head(0));
        assert!(head(1).starts_with("POST / HTTP/1.1\r\n"), "{}", head(1));
        assert_eq!(all[1].1, b"a\0\xFF\r\n");
        let own = "B: 2\r\nContent-Type: x/y\r\na: 1\r\n\r\n";
        assert!(head(1).ends_with(own), "{}", head(1));
        assert!(head(2).starts_with("get / HTTP/1.1\r\n"), "{}", head(2));
        assert!(head(3).contains("Content-Length: 0\r\n"), "{}", head(3));
        assert!(!head(3).contains("gzip"), "{}", head(3));
        assert!(head(4).contains("Accept: mine\r\n") && head(4).contains("User-Agent: me\r\n"));
        assert_eq!(head(4).matches("ccept: ").count(), 1, "{}", head(4));
    }

    fn a_head_request_has_a_head_alone(mode) {
        let server = common::serve(|mut peer| {
            assert!(peer.request().starts_with("HEAD / HTTP/1.1\r\n"));
            peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
            finish(&mut peer);
        });
        let url = url_for("RawStream", &server);
        let said = watch(mode, "RawStream", &url, r#"{ Method = "HEAD" }"#);
        assert_eq!(said, ["Opened Open 200 Content-Length: 5\\r\\n", "Closed Closed"]);
        server.join();
    }

    fn a_subprotocol_is_negotiated(mode) {
        let server = serve(|listener| {
            let peer = raw::Peer::open_with(listener, "Sec-WebSocket-Protocol: b\r\n", &text("x"));
            let offered = peer.field("Sec-WebSocket-Protocol").map(str::to_owned);
            (offered, peer.field("X").map(str::to_owned), { peer }.rest())
        });
        let script = r#"local offered = { ["sec-websocket-protocol"] = " a,b ,c", X = "y" }
            local c = create("WebSocket", ..., { Headers = offered })
            local _, headers = c.Opened:Wait()
            check(string.find(headers, "\r\nSec-WebSocket-Protocol: b\r\n", 1, true), headers)
            c:Close()
            done()"#;
        runtime(mode).passes(script, server.url());
        let (offered, other, reported) = server.end();
        assert_eq!(offered.as_deref(), Some("a, b, c"));
        assert_eq!((other.as_deref(), &reported[..]), (Some("y"), &["close 1000".to_owned()][..]));
        // One that was not offered.
        let server = serve(|listener| {
            raw::Peer::open_with(listener, "Sec-WebSocket-Protocol: b\r\n", b"").next_is_eof();
        });
        let offers = r#"{ Headers = { ["Sec-WebSocket-Protocol"] = "a" } }"#;
        let said = watch(mode, "WebSocket", &server.url(), offers);
        assert!(said[0].starts_with("Error Error 400 HttpError: ConnectFail ("), "{said:?}");
        server.end();
    }

    // The values arrive at the server, and nothing shows them.
    fn secrets_arrive(mode) {
        for kind in ["WebSocket", "SSE", "RawStream"] {
            let said = told_in_secret(mode, kind, None, move |mut peer| {
                let head = peer.request().to_owned();
                let target = format!("GET /{HIDDEN}?token={HIDDEN} HTTP/1.1\r\nHost: {HOST}:");
                assert!(head.starts_with(&target), "{head}");
                assert_eq!(common::field(&head, "Authorization"), Some("Bearer hunter2"));
                assert_eq!(common::field(&head, "X-Own"), Some(HIDDEN));
                match kind {
                    "WebSocket" => peer.accept(&[text("x"), raw::close(1000, "")].concat()),
                    _ => peer.write(format!("{EVENTS}x").as_bytes()),
                }
                finish(&mut peer);
            });
            assert_eq!(said[1..], ["MessageReceived Open x", "Closed Closed"], "{said:?}");
        }
    }

    // Neither the errors nor the trace contain it, whatever fails.
    fn failures_of_a_secret_url_say_nothing_of_it(mode) {
        for kind in ["WebSocket", "SSE", "RawStream"] {
            for (name, certificate, answer) in [
                ("SslVerificationFail", Some("unknown-root"), ""),
                ("NetFail", None, ""),
                ("NetFail", None, "nonsense\r\n"),
                ("", None, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
                ("NetFail", None, "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
                ("InvalidRedirect", None, "HTTP/1.1 302 Found\r\nLocation: ftp://a/\r\n\r\n"),
            ] {
                let said = told_in_secret(mode, kind, certificate, move |mut peer| {
                    if peer.begins() {
                        peer.request();
                        peer.write(answer.as_bytes());
                        finish(&mut peer);
                    }
                });
                if kind == "WebSocket" {
                    assert!(said[0].ends_with(" HttpError: ConnectFail"), "{said:?}");
                } else if kind == "RawStream" && name.is_empty() {
                    assert_eq!(said, ["Opened Open 404 Content-Length: 0\\r\\n", "Closed Closed"]);
                } else if name.is_empty() {
                    let want = "Error Error 404 Invalid Content-Type header for SSE client";
                    assert_eq!(said[0], want);
                } else {
                    assert!(said[0].ends_with(&format!(" HttpError: {name}")), "{said:?}");
                }
            }
        }
        let said = told_in_secret(mode, "WebSocket", None, |mut peer| {
            peer.accept(&raw::frame(0x83, b""));
            finish(&mut peer);
        });
        assert_eq!(said[1..], ["Error Error 400 Failed ws recv - NetFail", "Closed Error"]);
    }

    // A mistake of the script raises an error without the value.
    fn mistakes_with_a_secret_say_nothing_of_it(mode) {
        let traced = Traced::default();
        let mut rt = with_secrets(mode, "http", 9, &traced);
        let script = r#"local H = game:GetService("HttpService")
            local key, injected = H:GetSecret("key"), H:GetSecret("injected")
            local function try(kind, url, headers)
                local options = { Url = url, Headers = headers }
                kind = Enum.WebStreamClientType[kind]
                print(pcall(H.CreateWebStreamClient, H, kind, options))
            end
            try("SSE", key)
            try("WebSocket", H:GetSecret("url"))
            try("SSE", "http://127.0.0.1:9/", { A = injected })
            try("WebSocket", "ws://127.0.0.1:9/", { A = injected })
            try("WebSocket", "ws://127.0.0.1:9/", { Host = key })
            local name = "Sec-WebSocket-Protocol"
            try("WebSocket", "ws://127.0.0.1:9/", { [name] = key:AddPrefix("a ") })
            try("WebSocket", "ws://127.0.0.1:9/", { [name] = injected })
            try("SSE", "http://127.0.0.1:9/", { [key] = "x" })
            watch("RawStream", H:GetSecret("broken"))"#;
        let said = rt.says(script, ());
        shows_nothing(&said, &traced);
        let raised = said.iter().filter(|line| line.starts_with("false ")).count();
        assert_eq!(raised, 8, "{said:#?}");
        assert_eq!(said[8..], ["Error Error -1 HttpError: InvalidUrl", "Closed Error"]);
    }
}
