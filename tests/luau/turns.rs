//! Opening handshakes with one address take turns (RFC 6455 §4.1). Waiting for the turn is not
//! connecting (FAULTS 69).

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::command::{Script, printed};
use super::raw::{Peer, Raw, serve};
use super::support::*;

/// The received requests in their order, and the largest number that waited at the same time.
type Seen = (Vec<String>, usize);

/// The path of a request.
fn path(peer: &Peer) -> String {
    peer.head.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned()
}

/// A server of `count` clients. It answers each handshake when `wait` returns.
fn answers(count: usize, wait: impl Fn() + Send + Sync + 'static) -> Raw<Seen> {
    serve(move |listener| {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut paths = Vec::new();
        std::thread::scope(|scope| {
            for _ in 0..count {
                let mut peer = Peer::asked(listener);
                paths.push(path(&peer));
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let (now, wait) = (&now, &wait);
                scope.spawn(move || {
                    wait();
                    now.fetch_sub(1, Ordering::SeqCst);
                    let answer = peer.answer("");
                    peer.send(answer.as_bytes());
                    peer.rest();
                });
            }
        });
        (paths, most.into_inner())
    })
}

/// Opens `count` connections at once; prints how many have opened, and the errors of the others.
const OPENS: &str = r#"local url, count, timeout = ...
local open, failed = 0, {}
for i = 1, count do
    task.spawn(function()
        local ws, problem = websocket.connect(url .. i, if timeout then { Timeout = tonumber(timeout) } else nil)
        if ws then open += 1 else table.insert(failed, problem) end
        if open + #failed == tonumber(count) then print(open, table.concat(failed, "; ")) end
    end)
end"#;

fn numbers(count: usize) -> Vec<String> {
    (1..=count).map(|n| n.to_string()).collect()
}

both! {
    // All handshakes together take longer than the time limit of one.
    fn each_has_its_time_from_its_turn(mode) {
        let server = answers(30, || std::thread::sleep(Duration::from_millis(30)));
        let said = says(mode, OPENS, (server.url(), 30, 0.5));
        assert_eq!(said, ["30 "]);
        assert_eq!(server.end(), (numbers(30), 1), "one at a time, first come, first served");
    }

    fn an_embedder_says_how_many_at_a_time(mode) {
        let barrier = Barrier::new(8);
        let server = answers(24, move || {
            // The server answers no client before eight have sent a request. A ninth one would have
            // the time to send its own.
            barrier.wait();
            std::thread::sleep(Duration::from_millis(30));
        });
        let mut rt = Rt::with(mode, |options| options.opening(8));
        assert_eq!(rt.says(OPENS, (server.url(), 24, 10)), ["24 "]);
        assert_eq!(server.end().1, 8);
    }

    fn a_handshake_that_hangs_fails_alone(mode) {
        let server = serve(|listener| {
            let mut hangs = Peer::asked(listener);
            assert_eq!((path(&hangs), hangs.received()), ("hang".to_owned(), "EOF".to_owned()));
            Peer::open(listener).rest()
        });
        let script = r#"local url = ...
            task.spawn(function()
                print(websocket.connect(url .. "hang", { Timeout = 0.4 }))
            end)
            -- Less than it has to wait.
            local ws, problem = websocket.connect(url .. "fine", { Timeout = 0.3 })
            print(problem or ws.State)"#;
        let said = says(mode, script, server.url());
        let url = server.url();
        let hung = format!("nil {url}hang: handshake: not open within the time limit of 400ms");
        assert_eq!(said, [&*hung, "Open"]);
        assert_eq!(server.end(), ["close 1001"]);
    }

    fn a_wait_that_is_too_long_says_for_whom(mode) {
        let server = serve(|listener| {
            let mut hangs = Peer::asked(listener);
            hangs.received()
        });
        let mut rt = Rt::with(mode, |mut options| {
            options.config().limits.opening_wait = Duration::from_millis(300);
            options
        });
        let script = r#"local url = ...
            local hangs = task.spawn(websocket.connect, url, { Timeout = 60 })
            task.wait(0.05)
            local left = 3
            local function one()
                left -= 1
                if left == 0 then task.cancel(hangs) end
            end
            for i = 1, 2 do
                task.delay((i - 1) * 0.1, function()
                    print(websocket.connect(url, { Timeout = 0.01 }))
                    one()
                end)
            end
            local c = game:GetService("HttpService"):CreateWebStreamClient(
                Enum.WebStreamClientType.WebSocket, { Url = url })
            c.Error:Connect(print)
            c.Closed:Wait()
            one()"#;
        let url = server.url();
        let said = rt.says(script, url.as_str());
        assert_eq!(server.end(), "EOF");
        let address = url.trim_start_matches("ws://").trim_end_matches('/');
        let reason = format!("waited 300ms for 1 other handshake with {address}; ");
        assert!(said[0].starts_with(&format!("400 HttpError: ConnectFail ({reason}")), "{said:?}");
        for said in &said[1..] {
            assert!(said.starts_with(&format!("nil {url}: connect: {reason}")), "{said}");
            assert!(said.ends_with("--opening allow more at a time"), "{said}");
        }
        assert_eq!(said.len(), 3);
    }
}

/// FAULTS 69.
#[test]
fn the_command_opens_as_many_at_a_time_as_it_is_told() {
    let script = Script::new("opens", OPENS);
    for (options, each) in [(&["--opening", "8"][..], 8), (&["--opening=8", "--poll-thread"], 8)] {
        let barrier = Barrier::new(each);
        let server = answers(16, move || {
            barrier.wait();
            std::thread::sleep(Duration::from_millis(30));
        });
        printed(&script.run(options, &[&server.url(), "16", "10"]), &["16 "]);
        assert_eq!(server.end().1, 8);
    }
    // The default is one at a time. The command's time limit starts with the turn, too.
    let server = answers(20, || std::thread::sleep(Duration::from_millis(40)));
    printed(&script.run(&["--connect-timeout", "0.5"], &[&server.url(), "20"]), &["20 "]);
    assert_eq!(server.end(), (numbers(20), 1));
}
