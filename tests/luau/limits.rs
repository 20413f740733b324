//! Limits of scripts: where they may connect, time, memory, connections.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use moonwire::luau::{self, Runtime};
use moonwire::{Allowed, Policy};

use super::command::Script;
use super::support::{Mode, Rt, Said, echo, refused};

const SHORT: Duration = Duration::from_millis(50);

/// A runtime whose threads may run for a short time without a pause.
fn hurried(mode: Mode) -> Rt {
    Rt::with(mode, |options| options.time_limit(Some(SHORT)))
}

/// The report about a script that was stopped in line `line`.
fn late(line: u32) -> String {
    format!("error: script:{line}: the script ran for more than 50ms without a pause")
}

both! {
    fn a_thread_that_makes_no_pause_is_stopped_and_the_others_go_on(mode) {
        let server = echo();
        let said = hurried(mode).says(
            r#"
            -- A spawned thread uses the time of its spawner, so these are deferred.
            task.defer(function() while true do end end)
            task.defer(function() local n = 0 repeat n += 1 until n < 0 end)
            local ws = WebSocket.connect((...))
            ws.OnMessage:Connect(function(message)
                print(message)
                if message == "loop" then while true do end end
                ws:Close()
            end)
            ws:Send("loop")
            ws:Send("go on")
            "#,
            server.url(),
        );
        assert_eq!(said, [&*late(3), &late(4), "loop", &late(8), "go on"]);
    }

    fn pcall_does_not_save_a_thread_that_makes_no_pause(mode) {
        let said = hurried(mode).says(
            r#"
            task.delay(0.01, print, "later")
            while true do pcall(function() while true do end end) end
            "#,
            (),
        );
        assert_eq!(said, [&*late(3), "later"]);
    }

    fn many_short_resumptions_are_no_long_one(mode) {
        // All resumptions together take longer than the limit. Each takes a small part of it.
        let limit = Duration::from_secs(1);
        let mut rt = Rt::with(mode, |options| options.time_limit(Some(limit)));
        rt.passes(
            r#"
            local start, n = os.clock(), 0
            local function work()
                n += 1
                for _ = 1, 20000 do end
            end
            local function again()
                work()
                if os.clock() - start > 1.2 then return done() end
                task.defer(again)
            end
            repeat
                work()
                task.wait()
            until n > 5
            again()
            "#,
            (),
        );
    }

    fn a_script_connects_where_the_policy_allows(mode) {
        let server = echo();
        let url = server.url().to_owned();
        let list = |entry: &str| Policy::list([entry.parse::<Allowed>().unwrap()]);
        for (policy, reason) in [
            (Policy::open(), None),
            (Policy::loopback(), None),
            (list("127.0.0.1"), None),
            (Policy::public(), Some("127.0.0.1 (loopback) is not on the public internet")),
            (list("other.example"), Some("is not in the list")),
            (Policy::open().and(|_| Err("closed on Sundays".into())), Some("closed on Sundays")),
        ] {
            let mut rt = Rt::with(mode, |mut options| {
                options.config().policy = policy.clone();
                options
            });
            let said = rt.says(
                r#"
                local url = ...
                local ws, problem = websocket.connect(url)
                print(ws and "open" or problem)
                if ws then ws:Close() end
                local client = game:GetService("HttpService"):CreateWebStreamClient(
                    Enum.WebStreamClientType.RawStream, { Url = url:gsub("^ws", "http") .. "status/200" })
                client.Opened:Connect(function(status) print(status) end)
                client.Error:Connect(print)
                client.Closed:Wait()
                "#,
                url.as_str(),
            );
            match reason {
                None => assert_eq!(said, ["open", "200"]),
                Some(reason) => {
                    let text = "URL: the policy does not allow it: ";
                    assert!(said[0].contains(text) && said[0].ends_with(reason), "{said:?}");
                    let text = "-1 HttpError: ConnectFail (the policy does not allow it: ";
                    assert!(said[1].starts_with(text) && said[1].contains(reason), "{said:?}");
                }
            }
        }
    }

    fn more_connections_than_the_limit_are_refused(mode) {
        let server = echo();
        let mut rt = Rt::with(mode, |mut options| {
            options.config().limits.connections = 2;
            options
        });
        rt.passes(
            r#"
            local a, b = WebSocket.connect((...)), WebSocket.connect((...))
            local ok, problem = pcall(WebSocket.connect, (...))
            assert(not ok and problem:find("2 connections are open, the limit"), problem)
            a:Close() b:Close()
            done()
            "#,
            server.url(),
        );
    }
}

/// The policy checks the address of each hop of a redirect (FAULTS 62).
#[test]
fn a_redirect_does_not_get_around_the_policy() {
    let server = echo();
    let (port, other) = (server.port(), refused());
    let inner = other.replacen("ws", "http", 1);
    let mut rt = Rt::with(Mode::Inline, |mut options| {
        let config = options.config();
        config.resolve = vec![format!("outer.example:{port}:127.0.0.1").parse().unwrap()];
        config.policy = Policy::list([
            format!("*.example:{port}").parse().unwrap(),
            "outer.example".parse().unwrap(),
        ]);
        options
    });
    let said = rt.says(
        r#"
        local HttpService = game:GetService("HttpService")
        local port, to = ...
        local client = HttpService:CreateWebStreamClient(Enum.WebStreamClientType.RawStream, {
            Url = `http://outer.example:{port}/redirect/1?to={HttpService:UrlEncode(to)}`,
        })
        client.Opened:Connect(function() print("opened") end)
        client.Error:Connect(print)
        client.Closed:Wait()
        "#,
        (port, inner),
    );
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("302 HttpError: ConnectFail (the policy does not allow it: ")
            || said[0].starts_with("-1 HttpError: ConnectFail (the policy does not allow it: "),
        "{said:?}"
    );
}

#[test]
fn memory_beyond_the_limit_ends_the_script() {
    let said = Said::default();
    let options = luau::Options::new(said.output()).memory_limit(Some(32 * 1024 * 1024));
    let mut runtime = Runtime::new(options).unwrap();
    let script = "local t = {} for i = 1, 1e9 do t[i] = string.rep('x', 1000) .. i end";
    runtime.spawn("hungry", script, ()).unwrap();
    let ended = runtime.run();
    assert!(ended.is_ok() || ended.unwrap_err().to_string().contains("memory"));
    assert_eq!(said.take(), ["error: not enough memory"]);
    assert!(runtime.has_raised());
}

#[test]
fn texts_of_secrets_count_as_memory() {
    const MIB: usize = 1024 * 1024;
    let said = Said::default();
    let options = luau::Options::new(said.output())
        .secrets(|name| {
            (name == "key")
                .then(|| "x".repeat(MIB))
                .or((name == "big").then(|| "x".repeat(80 * MIB)))
        })
        .memory_limit(Some(64 * MIB));
    let mut runtime = Runtime::new(options).unwrap();
    // A secret is a small object for Luau's collector. Texts of secrets grew to 2 GB under this
    // limit.
    let script = r#"
        local service = game:GetService("HttpService")
        local secret, mib = service:GetSecret("key"), string.rep("x", 1024 * 1024)
        for i = 1, 300 do secret:AddSuffix(mib) end
        print("made", gcinfo() < 64 * 1024)
        -- Secrets that the script holds reach the limit, as strings would. The error is a string.
        local held = {}
        local ok, problem = pcall(function()
            for i = 1, 64 do held[i] = secret:AddPrefix(i .. mib) end
        end)
        print(ok, (string.gsub(problem, "^script:%d+: ", "")), #held > 10, #held < 32)
        print(pcall(service.GetSecret, service, "big"))"#;
    runtime.spawn("script", script, ()).unwrap();
    runtime.run().unwrap();
    assert_eq!(
        said.take(),
        ["made true", "false not enough memory true true", "false not enough memory",]
    );
    assert!(!runtime.has_raised());
}

#[test]
fn a_stack_that_overflows_is_an_error_of_a_page() {
    // Without a bound, its traceback has 20,000 lines.
    let said = Arc::new(Mutex::new(String::new()));
    let its = Arc::clone(&said);
    let output = move |line: luau::Line<'_>| its.lock().unwrap().push_str(&line.to_string());
    let mut runtime = Runtime::new(luau::Options::new(output)).unwrap();
    runtime.spawn("deep", "local function f() return 1 + f() end\nf()", ()).unwrap();
    runtime.run().unwrap();
    let text = said.lock().unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert!(lines[0].starts_with("error: ") && lines[0].contains("stack overflow"), "{text}");
    assert_eq!(lines.len(), 1 + 20 + 1 + 20, "{text}");
    assert!(lines[1].starts_with("deep:1") && lines[21].starts_with("… "), "{text}");
    assert_eq!(lines[41], "deep:2");
}

#[test]
fn the_command_bounds_a_script_as_it_is_told() {
    let connect = "print(select('#', WebSocket.connect((...)))) ";
    let other = "print(select(2, websocket.connect('ws://127.0.0.1:1/')))";
    for (args, script, part, status) in [
        (
            &["--echo", "--deny-private"][..],
            format!("{connect}{other}"),
            "1\nws://127.0.0.1:1/: URL: the policy does not allow it: 127.0.0.1 (loopback)",
            0,
        ),
        (
            &["--echo", "--allow", "a.example"],
            format!("{connect}{other}"),
            "1\nws://127.0.0.1:1/: URL: the policy does not allow it: 127.0.0.1:1 is not in the list",
            0,
        ),
        (
            &["--allow", "127.0.0.1:1"],
            other.to_owned(),
            "connect: 127.0.0.1:1: Connection refused",
            0,
        ),
        (&["--allow=127.0.0.0/8", "--deny-private"], other.to_owned(), "(loopback)", 0),
        (
            &["--time-limit", "0.05"],
            "while true do end".to_owned(),
            ":1: the script ran for more than 50ms without a pause",
            1,
        ),
        (
            &["--memory", "16"],
            "local t = {} for i = 1, 1e9 do t[i] = {i} end".to_owned(),
            "error: not enough memory",
            1,
        ),
        (
            &["--echo", "--connections=1"],
            format!("{connect}print(select(2, websocket.connect((...))))"),
            "1 connections are open, the limit",
            0,
        ),
    ] {
        let ended = Script::new(&format!("bounded-{}", args.join("").replace('/', "-")), &script)
            .run(args, &[]);
        let said = format!("{}\n{}", ended.out.join("\n"), ended.err);
        assert!(said.contains(part) && ended.status == Some(status), "{args:?}: {ended:?}");
    }
}
