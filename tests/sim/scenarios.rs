//! The scenarios. Each is a function of a seed.

use std::net::SocketAddr;
use std::time::Duration;

use crate::book::{Msg, ms};
use crate::net::{Cut, Dial, Name};
use crate::proxied::{proxied, proxies, proxy_queue, proxy_streams};
use crate::queue::queue;
use crate::rng::Rng;
use crate::sink::Ended::{self, Clean, Complete, Failed, Lost};
use crate::slow::{doze, slow_close, slow_post, slow_program, slow_upload, zero_window};
use crate::streams::{fetch, redirects, stream, tls, tls_stream};
use crate::world::{Ask, Cuts, Deed, Reflex, WS, WSS, World, host};
use crate::ws::{Act, Answer, OnClose, WsPlan};

pub type Scenario = fn(u64) -> World;

/// Name, function, the number of seeds that a run of the tests plays, and ends that must occur in
/// these seeds: without them the scenario would test nothing.
pub const ALL: [(&str, Scenario, u64, &[Ended]); 24] = [
    ("echo", echo, 120, &[Clean]),
    ("closing", closing, 300, &[Clean, Failed, Lost]),
    ("faults", faults, 300, &[Clean, Failed, Lost]),
    ("opening", opening, 200, &[Clean, Failed]),
    ("pings", pings, 150, &[Clean, Lost]),
    ("release", release, 200, &[Clean]),
    ("dial", dial, 250, &[Clean, Failed]),
    ("many", many, 24, &[Clean, Complete, Failed, Lost]),
    ("stream", stream, 150, &[Complete, Failed, Lost]),
    ("redirects", redirects, 80, &[Complete, Failed, Lost]),
    ("tls", tls, 100, &[Clean, Failed, Lost]),
    ("tls_stream", tls_stream, 60, &[Complete, Failed, Lost]),
    ("dropped", dropped, 80, &[Clean]),
    ("slow_upload", slow_upload, 60, &[Clean]),
    ("doze", doze, 20, &[Clean]),
    ("slow_close", slow_close, 120, &[Clean, Lost]),
    ("slow_post", slow_post, 60, &[Complete, Failed]),
    ("zero_window", zero_window, 60, &[Clean, Lost]),
    ("queue", queue, 250, &[Clean, Failed]),
    ("slow_program", slow_program, 80, &[Clean]),
    ("proxied", proxied, 120, &[Clean]),
    ("proxies", proxies, 400, &[Clean, Complete, Failed, Lost]),
    ("proxy_queue", proxy_queue, 200, &[Clean, Failed]),
    ("proxy_streams", proxy_streams, 120, &[Complete, Failed, Lost]),
];

pub const AT_ONCE: Dial = Dial::Accepts(Duration::ZERO);

pub fn url(scheme: &str, h: usize, port: u16, path: &str) -> String {
    format!("{scheme}://{}:{port}/{path}", host(h))
}

/// A WebSocket that opens and is silent.
pub fn quiet(k: usize, secure: bool, h: usize) -> Ask {
    let (scheme, port) = if secure { ("wss", WSS) } else { ("ws", WS) };
    Ask {
        url: url(scheme, h, port, &k.to_string()),
        stream: None,
        post: None,
        hold: false,
        ping: None,
        timeout: None,
        idle: None,
        reflex: Reflex::default(),
        ws: Some(WsPlan::default()),
        http: None,
        through: None,
    }
}

/// A WebSocket with messages in both directions. The program releases it after 8 s.
pub fn talk(world: &mut World, at: Duration, secure: bool, h: usize, max: usize) -> usize {
    let k = world.ask(at, |rng, k| {
        let mut ask = quiet(k, secure, h);
        ask.hold = rng.chance(40);
        ask.reflex.hello = rng.pick(&[0, 0, 3]);
        ask.reflex.reply = rng.pick(&[0, 0, 1, 3]);
        ask.reflex.last_words = if ask.hold { rng.below(3) } else { 0 };
        ask.reflex.closes_back = rng.chance(50);
        let plan = WsPlan {
            echo: rng.chance(50),
            glued: rng.chance(30),
            interim: rng.pick(&[0, 0, 2]),
            after: ms(rng.pick(&[0, 0, 20])),
            on_close: OnClose::Answers(ms(rng.pick(&[0, 0, 30]))),
            acts: server_acts(rng, k, max),
            ..WsPlan::default()
        };
        ask.ws = Some(plan);
        ask
    });
    let count = world.rng.below(12);
    for i in 0..count {
        let when = at + ms(world.rng.below(400));
        let msg = Msg::new(&mut world.rng, "client", i, max);
        send(world, when, k, i, msg);
    }
    world.deed(at + ms(8000), k, Deed::Release);
    k
}

/// Sends the `i`th message, and sometimes does something else directly after it.
pub fn send(world: &mut World, at: Duration, k: usize, i: usize, msg: Msg) {
    world.deed(at, k, Deed::Send(msg));
    match world.rng.below(8) {
        0 => world.deed(at, k, Deed::Flush),
        1 => world.deed(at, k, Deed::Turn),
        2 => world.deed(at, k, Deed::Ping(vec![b'p', i as u8])),
        _ => {}
    }
}

fn server_acts(rng: &mut Rng, k: usize, max: usize) -> Vec<(Duration, Act)> {
    let mut acts = Vec::new();
    for i in 0..rng.below(15) {
        let act = match rng.below(10) {
            0 => Act::Ping(vec![k as u8, i as u8]),
            1 => Act::Pong,
            _ => {
                let pieces = rng.pick(&[1, 1, 1, 2, 7, 300]);
                Act::Send(Msg::new(rng, "server", i, max), pieces)
            }
        };
        acts.push((ms(rng.pick(&[0, 0, 0, 5, 60])), act));
    }
    acts
}

pub fn plan(world: &mut World, k: usize) -> &mut WsPlan {
    world.asks[k].ws.as_mut().expect("a WebSocket")
}

/// Either side closes the connection within this many milliseconds, or both do.
pub fn end(world: &mut World, at: Duration, k: usize, within: usize) {
    let side = world.rng.below(4);
    if side != 0 {
        let when = at + ms(world.rng.below(within));
        world.deed(when, k, Deed::Close(1000));
    }
    if side != 1 {
        let after = ms(world.rng.below(within / 3 + 1));
        let code = world.rng.pick(&[None, Some(1000), Some(1001), Some(4999)]);
        let place = {
            let n = plan(world, k).acts.len();
            world.rng.range(0, n)
        };
        plan(world, k).acts.insert(place, (after, Act::Close(code)));
        if world.asks[k].hold && world.rng.chance(70) {
            let when = at + ms(world.rng.below(2 * within));
            world.deed(when, k, Deed::AnswerClose);
        }
    }
}

/// Sets limits that are long enough for all bytes on their way to arrive.
fn patient(world: &mut World) {
    world.limits.close = ms(20_000);
    world.limits.linger = ms(20_000);
}

/// Many messages in both directions. Nothing breaks, and everything arrives.
pub fn echo(seed: u64) -> World {
    let mut world = World::new(seed);
    patient(&mut world);
    world.host(0, &[AT_ONCE]);
    let k = talk(&mut world, ms(0), false, 0, 200 * 1024);
    for i in 0..world.rng.below(20) {
        let when = ms(world.rng.below(300));
        let msg = Msg::new(&mut world.rng, "more", i, 30_000);
        world.deed(when, k, Deed::Send(msg));
    }
    world.deed(ms(2000), k, Deed::Close(1000));
    world
}

/// Either side closes at any moment, or both do. The other side answers the close frame, ignores
/// it, or holds its answer back.
pub fn closing(seed: u64) -> World {
    let mut world = World::new(seed);
    world.host(0, &[AT_ONCE]);
    let k = talk(&mut world, ms(0), false, 0, 3000);
    end(&mut world, ms(0), k, 300);
    match world.rng.below(8) {
        0 => plan(&mut world, k).on_close = OnClose::Waits,
        1 => plan(&mut world, k).on_close = OnClose::Ignores,
        2 => plan(&mut world, k).on_close = OnClose::HangsUp,
        3 => {
            patient(&mut world);
            let place = world.rng.below(10);
            let acts = &mut plan(&mut world, k).acts;
            let act = if place.is_multiple_of(2) { Act::Break } else { Act::Finish };
            acts.insert(place.min(acts.len()), (ms(place), act));
        }
        4 => plan(&mut world, k).pace.rate = 50,
        _ => patient(&mut world),
    }
    world.calm = world.limits.close > ms(2000);
    world
}

/// Connections are cut at any byte, in any way.
pub fn faults(seed: u64) -> World {
    let mut world = World::new(seed);
    world.host(0, &[AT_ONCE]);
    let max = world.rng.pick(&[300, 100_000]);
    let k = talk(&mut world, ms(0), false, 0, max);
    end(&mut world, ms(0), k, 500);
    let within = world.rng.pick(&[1000, 20_000, 300_000]);
    world.cuts = Some(Cuts { percent: 60, within, fixed: None });
    if world.rng.chance(30) {
        let acts = &mut plan(&mut world, k).acts;
        acts.push((ms(1), Act::Reset));
    }
    world
}

/// All results of an opening handshake.
pub fn opening(seed: u64) -> World {
    let mut world = World::new(seed);
    world.host(0, &[AT_ONCE]);
    let k = talk(&mut world, ms(0), false, 0, 300);
    end(&mut world, ms(0), k, 300);
    let answers = [
        Answer::Accepts,
        Answer::Forbids,
        Answer::Mistakes,
        Answer::Redirects,
        Answer::Silent,
        Answer::HangsUp,
        Answer::Resets,
        Answer::Garbage,
    ];
    let answer = world.rng.pick(&answers);
    let after = ms(world.rng.pick(&[0, 10, 500, 1500, 4000]));
    let interim = world.rng.pick(&[0, 1, 16, 17]);
    let plan = plan(&mut world, k);
    (plan.answer, plan.after, plan.interim) = (answer, after, interim);
    world.asks[k].timeout = world.rng.pick(&[None, Some(ms(1)), Some(ms(1000))]);
    if world.rng.chance(40) {
        world.cuts = Some(Cuts { percent: 70, within: 250, fixed: None });
    }
    if world.rng.chance(20) {
        world.stalls.push((ms(world.rng.below(50)), ms(2000)));
    }
    world.calm = false;
    world
}

/// Keep-alive pings, silence, and a program that is busy elsewhere.
pub fn pings(seed: u64) -> World {
    let mut world = World::new(seed);
    world.host(0, &[AT_ONCE]);
    for i in 0..world.rng.range(1, 3) {
        let k = talk(&mut world, ms(i), false, 0, 3000);
        world.asks[k].ping = Some(ms(world.rng.pick(&[50, 400, 1500])));
        let when = ms(world.rng.range(3000, 6000));
        world.deed(when, k, Deed::Close(1000));
        for i in 0..world.rng.below(10) {
            let data = vec![k as u8, 7, i as u8];
            let after = ms(world.rng.below(900));
            plan(&mut world, k).acts.push((after, Act::Ping(data)));
        }
    }
    for _ in 0..world.rng.below(4) {
        let (at, span) = (world.rng.below(5000), world.rng.pick(&[100, 1200, 3000]));
        world.stalls.push((ms(at), ms(span)));
        // A program that was busy elsewhere often requests new connections directly after that.
        if world.rng.chance(60) {
            let k = world.ask(ms(at + 1), |_, k| quiet(k, false, 0));
            world.deed(ms(at + 4000), k, Deed::Release);
        }
    }
    if world.rng.chance(30) {
        world.cuts =
            Some(Cuts { percent: 50, within: 3000, fixed: Some((false, 300, Cut::Stall)) });
    }
    world.calm = false;
    world
}

/// The program releases connections at any moment.
pub fn release(seed: u64) -> World {
    let mut world = World::new(seed);
    let slow = Dial::Accepts(ms(world.rng.below(40)));
    world.host(0, &[slow, AT_ONCE]);
    for i in 0..world.rng.range(1, 3) {
        let (within, secure) = (world.rng.pick(&[5, 60, 300]), world.rng.chance(10));
        let k = talk(&mut world, ms(i * 7), secure, 0, 10_000);
        plan(&mut world, k).on_close =
            world.rng.pick(&[OnClose::Waits, OnClose::Ignores, OnClose::Answers(ms(5))]);
        if world.rng.chance(50) {
            end(&mut world, ms(0), k, 100);
        }
        let when = ms(i * 7 + world.rng.below(within));
        world.deed(when, k, Deed::Release);
        let when = when + ms(world.rng.below(20));
        world.deed(when, k, Deed::Flush);
    }
    world.calm = false;
    world
}

/// The resolver answers late or fails; addresses race or refuse; several connections need one gate.
pub fn dial(seed: u64) -> World {
    let mut world = World::new(seed);
    world.limits.opening_per_peer = world.rng.pick(&[1, 1, 1, 2]);
    world.limits.addresses = world.rng.pick(&[16, 16, 2]);
    let hosts = world.rng.range(1, 3);
    for h in 0..hosts {
        let count = world.rng.range(1, 4);
        let dials: Vec<Dial> = (0..count).map(|_| any_dial(&mut world.rng)).collect();
        world.host(h, &dials);
        strange_name(&mut world, h);
    }
    for _ in 0..world.rng.range(1, 8) {
        let (h, at) = (world.rng.below(hosts), ms(world.rng.below(400)));
        let k = talk(&mut world, at, false, h, 500);
        plan(&mut world, k).after = ms(world.rng.pick(&[0, 0, 100, 1000]));
        if world.rng.chance(15) {
            plan(&mut world, k).answer = world.rng.pick(&[Answer::Silent, Answer::Resets]);
        }
        world.asks[k].timeout = world.rng.pick(&[None, None, Some(ms(300))]);
        end(&mut world, at, k, 800);
        if world.rng.chance(25) {
            let when = at + ms(world.rng.below(600));
            world.deed(when, k, Deed::Release);
        }
    }
    world.calm = false;
    world
}

pub fn any_dial(rng: &mut Rng) -> Dial {
    match rng.below(8) {
        0 => Dial::Never,
        1 => Dial::Refuses(ms(rng.below(300))),
        2 => Dial::Unreachable,
        3 => Dial::Refuses(ms(0)),
        _ => Dial::Accepts(ms(rng.pick(&[0, 5, 5, 9, 10, 11, 240, 250, 260, 900]))),
    }
}

pub fn strange_name(world: &mut World, h: usize) {
    let strange = world.rng.below(10);
    let after = ms(world.rng.pick(&[0, 100, 2900, 3500]));
    let again = ms(world.rng.below(500));
    let Some((_, Name { after: when, answer, refused, again: twice })) = world.names.get_mut(h)
    else {
        return;
    };
    match strange {
        0 => *when = None,
        1 => *when = Some(after),
        2 => *answer = Err(std::io::ErrorKind::NotFound),
        3 => *answer = Ok(Vec::new()),
        4 => *refused = true,
        5 => *twice = Some(again),
        6 | 7 => {
            // The answer has each address several times.
            if let Ok(all) = answer {
                let copy: Vec<SocketAddr> = all.clone();
                all.extend(copy.iter().rev());
                all.extend(copy);
            }
        }
        _ => {}
    }
}

/// One reactor with many connections of all kinds.
pub fn many(seed: u64) -> World {
    let mut world = World::new(seed);
    world.host(0, &[AT_ONCE]);
    world.host(1, &[Dial::Refuses(ms(3)), Dial::Accepts(ms(20))]);
    for _ in 0..world.rng.range(5, 25) {
        let (at, h) = (ms(world.rng.below(300)), world.rng.below(2));
        if world.rng.chance(25) {
            fetch(&mut world, at, false, h);
            continue;
        }
        let secure = world.rng.chance(4);
        let k = talk(&mut world, at, secure, h, 2000);
        world.asks[k].ping = world.rng.pick(&[None, Some(ms(300))]);
        end(&mut world, at, k, 1500);
    }
    world.cuts = world.rng.chance(50).then_some(Cuts { percent: 10, within: 5000, fixed: None });
    world.calm = false;
    world
}

/// The program drops the reactor with all its connections.
pub fn dropped(seed: u64) -> World {
    let mut rng = Rng::new(seed ^ 0xD0);
    let of: [Scenario; 5] = [many, dial, redirects, closing, release];
    let mut world = rng.pick(&of)(seed);
    world.dropped = Some(Duration::from_micros(rng.below(500_000) as u64));
    world
}
