//! The cost of connections: descriptors, memory, and how many are possible. The tests measure the
//! whole process. So they run in a separate process, one at a time.
#![cfg(all(feature = "tls", feature = "cli", target_os = "linux"))]

mod common;

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::*;
use moonwire::peer::{self, Running, Server};
use moonwire::{Client, Config, Conn, Event, Limits, Reactor};

/// Waits until no other test of this file runs.
fn exclusive() -> MutexGuard<'static, ()> {
    static EXCLUSIVE: Mutex<()> = Mutex::new(());
    EXCLUSIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn echo() -> Running {
    Server::bind(loopback()).unwrap().spawn().unwrap()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The memory of this process in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn two_thousand_connections_one_after_another_leak_no_descriptor() {
    let _exclusive = exclusive();
    let server = echo();
    let secure = Server::bind_tls(loopback(), peer::CHAIN_PEM, peer::KEY_PEM).unwrap();
    let secure = secure.spawn().unwrap();
    let tls = moonwire::tls_config(peer::CA_PEM).unwrap();
    let mut reactor = Reactor::new(Config { tls: Some(tls), ..Config::default() }).unwrap();
    let (mut before, mut texts, mut ends) = (0, 0, 0);
    for i in 0..2000 {
        if i == 20 {
            before = descriptors();
        }
        // Of five connections, one uses TLS, and the program releases another one.
        let url = if i % 5 == 0 { secure.url() } else { server.url() };
        let id = reactor.open(options(url)).unwrap();
        while !reactor.is_empty() {
            let mut give_up = false;
            let mut sink = |conn: &mut Conn<'_>, event: Event<'_>| match event {
                Event::Opened(_) if i % 5 == 2 => give_up = true,
                Event::Opened(_) => conn.send_text("x").unwrap(),
                Event::Text(_) => {
                    texts += 1;
                    conn.close(1000, "").unwrap();
                }
                Event::Closed(_) => ends += 1,
                _ => {}
            };
            reactor.turn(Some(soon()), &mut sink).unwrap();
            if give_up {
                reactor.release(id, &moonwire::proto::CloseFrame::new(1001, ""));
            }
        }
    }
    assert_eq!((texts, ends), (1600, 1600));
    let until = soon();
    // The server closes its side of the last connections a moment later.
    while descriptors() > before + 2 {
        assert!(Instant::now() < until, "{} descriptors, {before} before", descriptors());
        std::thread::yield_now();
    }
}

/// The descriptors are the socket, and one that reports when the keep-alive ping is due and when
/// the resolver has answered. With `moonwire_poll` two descriptors do that.
#[test]
fn a_blocking_connection_has_two_descriptors() {
    let _exclusive = exclusive();
    let own = if cfg!(moonwire_poll) { 3 } else { 2 };
    let check = |answer: &'static [u8], open: &dyn Fn(&str) -> Box<dyn std::any::Any>| {
        let server = serve(move |mut p| {
            match answer {
                b"" => p.accept(&frame(0x81, b"x")),
                answer => {
                    p.request();
                    p.write(answer);
                }
            }
            p.rest();
        });
        let before = descriptors();
        let opened = open(&server.url());
        // The server's side is in this process, and has two descriptors.
        assert_eq!(descriptors(), before + own + 2, "{answer:?}");
        drop(opened);
        server.join();
    };
    check(b"", &|url| {
        let mut ws = options(url).connect().unwrap();
        // The connection now waits, with a ping that is due much later.
        ws.read().unwrap().unwrap();
        Box::new(ws)
    });
    check(b"HTTP/1.1 200 OK\r\n\r\n", &|url| {
        let options = moonwire::StreamOptions::get(&url.replace("ws:", "http:")).unwrap();
        Box::new(options.open().unwrap())
    });
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n";
    check(head, &|url| {
        let options = moonwire::StreamOptions::get(&url.replace("ws:", "http:")).unwrap();
        let mut source = moonwire::EventSource::new(options);
        source.next_event().unwrap().unwrap();
        Box::new(source)
    });
}

#[test]
fn a_thousand_connections_on_one_reactor_each_echo() {
    let _exclusive = exclusive();
    const CONNECTIONS: usize = 1000;
    const ROUNDS: usize = 5;
    // Both sides of each connection are in this process.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised);
    let server = echo();
    let mut reactor = Reactor::new(Config::default()).unwrap();
    let ids: HashSet<_> =
        (0..CONNECTIONS).map(|_| reactor.open(options(server.url())).unwrap()).collect();
    assert_eq!(ids.len(), CONNECTIONS);
    let (mut opened, mut echoes, mut ends) = (0, 0, 0);
    // No connection sends before all are open, so that all are open at the same time.
    let until = soon();
    while opened < CONNECTIONS {
        assert!(Instant::now() < until, "{opened} are open");
        let mut sink = |_: &mut Conn<'_>, event: Event<'_>| {
            assert!(matches!(event, Event::Opened(_)), "{event:?}");
            opened += 1;
        };
        reactor.turn(Some(until), &mut sink).unwrap();
    }
    ids.iter().for_each(|&id| reactor.send_text(id, &format!("{} 1", id.to_bits())).unwrap());
    while !reactor.is_empty() {
        assert!(Instant::now() < until, "{echoes} echoes, {ends} ends");
        let mut sink = |conn: &mut Conn<'_>, event: Event<'_>| match event {
            Event::Text(text) => {
                let (id, round) = text.as_str().split_once(' ').unwrap();
                assert_eq!(id.parse(), Ok(conn.id().to_bits()), "each gets its own");
                let round: usize = round.parse().unwrap();
                echoes += 1;
                match round {
                    ROUNDS => conn.close(1000, "").unwrap(),
                    _ => conn.send_text(&format!("{id} {}", round + 1)).unwrap(),
                }
            }
            Event::Closed(_) => ends += 1,
            _ => {}
        };
        reactor.turn(Some(until), &mut sink).unwrap();
    }
    assert_eq!((echoes, ends), (CONNECTIONS * ROUNDS, CONNECTIONS));
}

/// A server that sends `piece` `count` times, as fast as the client reads.
fn flood(piece: Vec<u8>, count: usize) -> Scripted<()> {
    serve(move |mut p| {
        p.accept(b"");
        for _ in 0..count {
            p.write(&piece);
        }
        p.write(&close(1000, ""));
        p.close_code();
    })
}

#[test]
fn a_flood_at_a_slow_client_stays_in_the_kernel() {
    let _exclusive = exclusive();
    const FLOOD: usize = 64 << 20;
    let batch = frame(0x82, &[7; 1000]).repeat(64);
    for (name, piece, message) in
        [("small", batch, 1000), ("large", frame(0x82, &[7; 1 << 20]), 1 << 20)]
    {
        let count = FLOOD / piece.len();
        let server = flood(piece, count);
        let (_client, mut events) = {
            let (client, events) = Client::spawn(Config::default()).unwrap();
            client.open(options(&server.url())).unwrap();
            (client, events)
        };
        let before = resident();
        let (mut bytes, mut most, mut over) = (0, 0, false);
        let until = soon();
        while !over {
            assert!(Instant::now() < until, "{name}: {bytes} bytes came");
            // The client reads slowly at first, while the server sends as fast as it can.
            if bytes < FLOOD / 4 {
                std::thread::sleep(Duration::from_millis(2));
            }
            events
                .wait(Some(until), |_, event| match event {
                    Event::Binary(data) => {
                        assert_eq!(data.len(), message);
                        bytes += data.len();
                    }
                    Event::Closed(_) => over = true,
                    _ => {}
                })
                .unwrap();
            most = most.max(resident());
        }
        assert!(bytes >= FLOOD * 9 / 10, "{name}: {bytes}");
        let grown = most.saturating_sub(before);
        println!("{name}: {grown} KiB");
        assert!(grown < 24 * 1024, "{name}: grew by {grown} KiB");
        server.join();
    }
}

#[test]
fn a_declared_length_costs_nothing_until_it_arrives() {
    // FAULTS 2: 64 servers that each declare a message of 60 MiB and send little of it.
    let _exclusive = exclusive();
    const CONNECTIONS: usize = 64;
    let server = listen(|listener| {
        let start = frame(0x82, &[7; 1 << 20])[..1000].to_vec();
        let promise = [&start[..2], &(60u64 << 20).to_be_bytes(), &start[10..]].concat();
        let mut peers: Vec<Peer> = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut peer = Peer::plain(listener.accept().unwrap().0);
            peer.accept(&promise);
            peers.push(peer);
        }
        // A reset causes the event that the client waits for, after all declarations.
        peers.pop().unwrap().reset();
        peers
    });
    let mut reactor = Reactor::new(Config::default()).unwrap();
    for _ in 0..CONNECTIONS {
        reactor.open(options(&server.url())).unwrap();
    }
    let before = resident();
    let (until, mut over) = (soon(), false);
    while !over {
        assert!(Instant::now() < until, "hangs");
        let mut sink =
            |_: &mut Conn<'_>, event: Event<'_>| over |= matches!(event, Event::Closed(_));
        reactor.turn(Some(until), &mut sink).unwrap();
    }
    let grown = resident().saturating_sub(before);
    println!("declared lengths: {grown} KiB");
    assert!(grown < 8 * 1024, "grew by {grown} KiB");
    server.join();
}

#[test]
fn a_flood_of_pings_at_a_full_socket_costs_no_memory() {
    // FAULTS 20, 21: the server sends pings and reads none of the pongs.
    let _exclusive = exclusive();
    let pings = frame(0x89, &[7; 125]).repeat(500);
    let (enough, wait) = std::sync::mpsc::channel::<()>();
    let server = serve(move |mut p| {
        p.accept(b"");
        for _ in 0..500 {
            p.write(&pings);
        }
        p.write(&frame(0x81, b"last"));
        let _ = wait.recv();
    });
    let limits = Limits { linger: Duration::from_millis(1), ..Limits::default() };
    let mut ws =
        options(&server.url()).connect_with(Config { limits, ..Config::default() }).unwrap();
    let before = resident();
    assert_eq!(ws.read().unwrap(), Some(moonwire::Message::Text("last".into())));
    let grown = resident().saturating_sub(before);
    println!("pings: {grown} KiB");
    assert!(grown < 8 * 1024, "grew by {grown} KiB");
    drop(enough);
    server.join();
}

/// Starts a script and kills it, a thousand times: none of its memory stays.
#[cfg(feature = "luau")]
#[test]
fn a_hot_reload_leaves_nothing() {
    use moonwire::luau::{Line, Options, Runtime};

    let _exclusive = exclusive();
    let server = echo();
    let text = r#"
        local ws = WebSocket.connect((...))
        ws.OnMessage:Connect(function(m)
            task.delay(3600, print)
            task.wait(3600)
        end)
        task.spawn(function() while true do ws.OnMessage:Wait() end end)
        task.spawn(task.wait, 3600)
        task.delay(3600, print)
        coroutine.wrap(function() coroutine.yield(ws) end)()
        big = table.create(1000, ws)
        ws:Send("hello")
        ws.OnMessage:Wait()
        task.defer(function() ready() end)
    "#;
    let mut runtime = Runtime::new(Options::new(|line: Line<'_>| panic!("{line}"))).unwrap();
    let ready = std::rc::Rc::new(std::cell::Cell::new(false));
    let its = ready.clone();
    let set = runtime.lua().create_function(move |_, ()| {
        its.set(true);
        Ok(())
    });
    runtime.lua().globals().set("ready", set.unwrap()).unwrap();
    // The timer of this script is due before those of the killed ones.
    runtime.spawn("neighbour", "task.wait(1800)", ()).unwrap();
    let (before, mut memory) = (descriptors(), Vec::new());
    for i in 0..1000 {
        let script = runtime.spawn("script", text, server.url()).unwrap();
        let until = soon();
        while !ready.replace(false) {
            assert!(Instant::now() < until, "{i}: it hangs");
            runtime.step(Duration::from_millis(2)).unwrap();
        }
        script.kill().unwrap();
        if i % 250 == 249 {
            // Waits until the closing handshakes of the killed scripts have ended.
            let until = soon();
            while descriptors() > before + 2 {
                assert!(Instant::now() < until, "{} descriptors, {before} before", descriptors());
                runtime.step(Duration::from_millis(2)).unwrap();
            }
            runtime.lua().gc_collect().unwrap();
            runtime.lua().gc_collect().unwrap();
            memory.push(runtime.lua().used_memory());
        }
    }
    // Each script that stayed would take 8 KB. The bound allows that a table of the VM doubles.
    assert!(memory[3] < memory[0] + 256 * 1024, "{memory:?}");
}
