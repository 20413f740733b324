//! The tortured scenarios: small, and without other faults, so that each of their system calls can
//! fail and each of their bytes can be the last.

use moonwire::ProxyScheme;

use crate::book::{Msg, ms};
use crate::http::Hop;
use crate::net::{Cut, Dial};
use crate::proxied::{refused, three_addresses, through};
use crate::scenarios::{AT_ONCE, plan, quiet, talk, url};
use crate::streams::fetch;
use crate::world::{Cuts, Deed, HTTP, World};
use crate::ws::{Act, OnClose};

/// A world without faults.
pub fn well(seed: u64) -> World {
    let mut world = World::new(seed);
    world.noise = Default::default();
    world.path.sip = 0;
    world.limits.turn = 1 << 20;
    world.calm = false;
    world
}

pub type Torture = (&'static str, fn() -> World);

/// The tortured scenarios.
pub const TORTURED: [Torture; 15] = [
    ("two connections with racing addresses", || {
        let mut world = well(1);
        world.host(0, &[Dial::Refuses(ms(2)), Dial::Accepts(ms(3)), Dial::Accepts(ms(20))]);
        for i in 0..2 {
            let k = talk(&mut world, ms(i), false, 0, 5000);
            plan(&mut world, k).echo = true;
            world.deed(ms(900), k, Deed::Close(1000));
        }
        world
    }),
    ("a narrow window and large messages", || {
        let mut world = well(2);
        (world.path.window, world.limits.in_place) = (1000, 1);
        world.host(0, &[AT_ONCE]);
        let k = world.ask(ms(0), |_, k| quiet(k, false, 0));
        for i in 0..4 {
            world.deed(ms(100 + i), k, Deed::Send(Msg::sized(true, "client", i, 3000)));
            let act = Act::Send(Msg::sized(false, "server", i, 3000), 1 + i);
            plan(&mut world, k).acts.push((ms(10), act));
        }
        world.limits.cork = 2000;
        world.deed(ms(102), k, Deed::Flush);
        world.deed(ms(700), k, Deed::Close(1000));
        world
    }),
    ("a close that is held back", || {
        let mut world = well(3);
        world.host(0, &[AT_ONCE]);
        let k = world.ask(ms(0), |_, k| quiet(k, false, 0));
        world.asks[k].hold = true;
        world.asks[k].reflex.last_words = 2;
        plan(&mut world, k).acts = vec![(ms(5), Act::Close(Some(1000)))];
        world.deed(ms(400), k, Deed::AnswerClose);
        world
    }),
    ("a rule that is broken, and a release", || {
        let mut world = well(4);
        world.host(0, &[AT_ONCE]);
        for i in 0..2 {
            let k = world.ask(ms(i), |_, k| quiet(k, false, 0));
            let act = if i == 0 { Act::Break } else { Act::Pong };
            plan(&mut world, k).acts = vec![(ms(5), act)];
            plan(&mut world, k).on_close = OnClose::Ignores;
            world.deed(ms(50), k, Deed::Release);
        }
        world
    }),
    ("a rule that is broken while the server reads slowly", || {
        let mut world = well(9);
        world.path.window = 1000;
        world.host(0, &[AT_ONCE]);
        let k = world.ask(ms(0), |_, k| quiet(k, false, 0));
        world.deed(ms(100), k, Deed::Send(Msg::sized(true, "client", 0, 4000)));
        plan(&mut world, k).pace.rate = 50;
        plan(&mut world, k).acts = vec![(ms(120), Act::Break)];
        world
    }),
    ("a stream that is redirected", || {
        let mut world = well(5);
        world.host(0, &[AT_ONCE]);
        world.host(1, &[Dial::Unreachable, Dial::Accepts(ms(5))]);
        let k = fetch(&mut world, ms(0), false, 0);
        let location = url("http", 1, HTTP, &format!("{k}/1"));
        let hop = Hop { status: 307, location, after: ms(0), lingers: true };
        world.asks[k].post = Some(vec![b'b'; 5000]);
        if let Some(plan) = &mut world.asks[k].http {
            plan.hops.push(hop);
        }
        world
    }),
    ("TLS", || {
        let mut world = well(6);
        (world.path.segment, world.path.window) = (1460, 1 << 20);
        world.host(0, &[AT_ONCE]);
        let k = world.ask(ms(0), |_, k| quiet(k, true, 0));
        for i in 0..3 {
            world.deed(ms(100 + i), k, Deed::Send(Msg::sized(true, "client", i, 2000)));
            let act = Act::Send(Msg::sized(false, "server", i, 3000), 2);
            plan(&mut world, k).acts.push((ms(5), act));
        }
        world.deed(ms(102), k, Deed::Flush);
        world.deed(ms(300), k, Deed::Close(1000));
        world.deed(ms(3000), k, Deed::Release);
        world
    }),
    ("a slow line, and a close behind many bytes", || {
        let mut world = well(10);
        (world.path.latency, world.path.window) = (ms(20), 4000);
        (world.path.bandwidth, world.path.segment) = ([20_000, 20_000], 700);
        (world.limits.pong, world.limits.close) = (ms(300), ms(300));
        world.host(0, &[AT_ONCE]);
        let k = world.ask(ms(0), |_, k| quiet(k, false, 0));
        world.asks[k].ping = Some(ms(100));
        for i in 0..3 {
            world.deed(ms(200), k, Deed::Send(Msg::sized(true, "client", i, 5000)));
        }
        plan(&mut world, k).acts = vec![(ms(300), Act::Ping(vec![1]))];
        world.deed(ms(350), k, Deed::Close(1000));
        world
    }),
    ("an event stream over TLS", || {
        let mut world = well(7);
        (world.path.segment, world.path.window) = (1460, 1 << 20);
        world.host(0, &[AT_ONCE]);
        fetch(&mut world, ms(0), true, 0);
        world
    }),
    ("CONNECT", || through(well(13), ProxyScheme::Http, false)),
    ("SOCKS with user and password", || through(well(14), ProxyScheme::Socks5h, false)),
    ("SOCKS with three addresses", || three_addresses(well(15))),
    ("TLS to a proxy", || through(well(16), ProxyScheme::Https, false)),
    ("TLS to a proxy and behind it", || through(well(17), ProxyScheme::Https, true)),
    ("a tunnel that is refused, and a request that a proxy forwards", || refused(well(18))),
];

/// The connection that is cut at every byte: short, with messages, a ping and closes.
pub fn short(secure: bool, up: bool, at: u64, cut: Cut) -> World {
    let mut world = well(8);
    (world.path.segment, world.path.window) = (1460, 65_536);
    world.cuts = Some(Cuts { percent: 0, within: 0, fixed: Some((up, at, cut)) });
    world.host(0, &[AT_ONCE]);
    let k = world.ask(ms(0), |_, k| quiet(k, secure, 0));
    world.asks[k].reflex.hello = 3;
    plan(&mut world, k).echo = true;
    let acts = &mut plan(&mut world, k).acts;
    acts.push((ms(5), Act::Send(Msg::sized(true, "server", 0, 150), 3)));
    acts.push((ms(5), Act::Ping(vec![1])));
    acts.push((ms(5), Act::Close(Some(1000))));
    world.deed(ms(8000), k, Deed::Release);
    world
}

/// The program sends one message of this many bytes to a server that takes all of it at once.
pub fn large(secure: bool, len: usize) -> World {
    let mut world = well(11);
    (world.path.window, world.path.segment) = (1 << 22, 65_536);
    world.limits.cork = 1 << 22;
    world.host(0, &[AT_ONCE]);
    let k = world.ask(ms(0), |_, k| quiet(k, secure, 0));
    world.deed(ms(500), k, Deed::Send(Msg::sized(false, "client", 0, len)));
    world.deed(ms(900), k, Deed::Close(1000));
    world.deed(ms(3000), k, Deed::Release);
    world.calm = true;
    world
}
