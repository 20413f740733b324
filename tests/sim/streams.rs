//! Scenarios of streams: bodies of all framings, event streams, redirects, and TLS.

use std::time::Duration;

use moonwire::proto::http::Delivery;

use crate::book::{Msg, ms};
use crate::http::{Framing, Hop, HttpPlan};
use crate::net::Dial;
use crate::reader::Pace;
use crate::rng::Rng;
use crate::scenarios::{AT_ONCE, any_dial, end, quiet, strange_name, talk, url};
use crate::sink::event_data;
use crate::tls::TlsPlan;
use crate::world::{Ask, Cuts, Deed, HTTP, HTTPS, World};

/// A stream and its response.
pub fn fetch(world: &mut World, at: Duration, secure: bool, h: usize) -> usize {
    let k = world.ask(at, |rng, k| {
        let (scheme, port) = if secure { ("https", HTTPS) } else { ("http", HTTP) };
        let delivery = rng.pick(&[Delivery::Raw, Delivery::Events, Delivery::Blocks]);
        let body = body(rng, delivery);
        let framing = rng.pick(&[Framing::Length, Framing::Chunked, Framing::UntilClose]);
        let pieces = pieces(rng, body);
        let stops = (!pieces.is_empty() && rng.chance(15)).then(|| rng.below(pieces.len()));
        Ask {
            stream: Some(delivery),
            post: rng.chance(20).then(|| vec![b'b'; rng.pick(&[0, 10, 5000, 100_000])]),
            idle: Some(ms(1000)),
            ws: None,
            http: Some(HttpPlan {
                hops: Vec::new(),
                after: ms(rng.pick(&[0, 0, 50, 1500])),
                early: false,
                interim: rng.pick(&[0, 0, 1]),
                framing,
                event_stream: delivery != Delivery::Raw || rng.chance(20),
                pieces,
                stops,
                finishes: framing == Framing::UntilClose || rng.chance(70),
                more: rng.chance(20),
                pace: Pace::default(),
            }),
            ..quiet_stream(url(scheme, h, port, &format!("{k}/0")))
        }
    });
    world.deed(at + ms(15_000), k, Deed::Release);
    k
}

fn quiet_stream(url: String) -> Ask {
    Ask { url, ..quiet(0, false, 0) }
}

fn body(rng: &mut Rng, delivery: Delivery) -> Vec<u8> {
    if delivery == Delivery::Raw {
        let len = rng.pick(&[0, 1, 500, 20_000, 200_000]);
        return Msg::sized(false, "body", 0, rng.range(0, len)).data;
    }
    let mut text = String::new();
    for i in 0..rng.below(30) {
        let data = event_data(i);
        text.push_str(&format!("event: e{i}\nid: {i}\n: comment\ndata: {data}\n\n"));
    }
    text.into_bytes()
}

fn pieces(rng: &mut Rng, body: Vec<u8>) -> Vec<(Duration, Vec<u8>)> {
    let (mut rest, mut all) = (&body[..], Vec::new());
    let most = rng.pick(&[3, 100, 100_000]).max(body.len() / 200);
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rng.range(1, most).min(rest.len()));
        all.push((ms(rng.pick(&[0, 0, 0, 0, 2, 30])), piece.to_vec()));
        rest = behind;
    }
    all
}

pub fn redirect(world: &mut World, k: usize, hosts: usize, secure: bool) {
    let (scheme, port) = if secure { ("https", HTTPS) } else { ("http", HTTP) };
    let count = world.rng.pick(&[0, 1, 1, 3, 10, 11]);
    for i in 1..=count {
        let location = url(scheme, world.rng.below(hosts), port, &format!("{k}/{i}"));
        let hop = Hop {
            status: world.rng.pick(&[301, 302, 303, 307, 308]),
            location,
            after: ms(world.rng.pick(&[0, 0, 5])),
            lingers: world.rng.chance(30),
        };
        if let Some(plan) = &mut world.asks[k].http {
            plan.hops.push(hop);
        }
    }
}

/// Bodies of all framings, whole, cut and broken.
pub fn stream(seed: u64) -> World {
    let mut world = World::new(seed);
    world.host(0, &[AT_ONCE]);
    let k = fetch(&mut world, ms(0), false, 0);
    world.asks[k].timeout = world.rng.pick(&[None, None, Some(ms(700))]);
    if world.rng.chance(50) {
        let within = world.rng.pick(&[300, 5000, 100_000]);
        world.cuts = Some(Cuts { percent: 60, within, fixed: None });
    }
    if world.rng.chance(20) {
        let when = ms(world.rng.below(100));
        world.deed(when, k, Deed::Release);
    }
    if world.rng.chance(20) {
        let (at, span) = (ms(world.rng.below(200)), ms(world.rng.below(2500)));
        world.stalls.push((at, span));
        let k = fetch(&mut world, at + ms(1), false, 0);
        world.deed(at + ms(3000), k, Deed::Release);
    }
    world
}

/// Streams that are redirected from host to host. The program releases some meanwhile; some are
/// cut.
pub fn redirects(seed: u64) -> World {
    let mut world = World::new(seed);
    world.host(0, &[AT_ONCE]);
    world.host(1, &[Dial::Refuses(ms(1)), Dial::Accepts(ms(5))]);
    let race = any_dial(&mut world.rng);
    world.host(2, &[race, Dial::Accepts(ms(10)), Dial::Accepts(ms(10))]);
    strange_name(&mut world, 2);
    // A connection queries several names, and a second answer for one would count as the answer for
    // another. No resolver does that.
    world.names[2].1.again = None;
    for _ in 0..world.rng.range(1, 3) {
        let at = ms(world.rng.below(20));
        let k = fetch(&mut world, at, false, 0);
        redirect(&mut world, k, 3, false);
        if world.rng.chance(30) {
            let when = at + ms(world.rng.below(300));
            world.deed(when, k, Deed::Release);
        }
    }
    if world.rng.chance(30) {
        world.cuts = Some(Cuts { percent: 20, within: 400, fixed: None });
    }
    world
}

/// Random faults of TLS.
fn any_tls(rng: &mut Rng) -> TlsPlan {
    let mut plan = TlsPlan { old: rng.chance(20), rude: rng.chance(30), ..TlsPlan::default() };
    match rng.below(10) {
        0 => plan.wrong_name = true,
        1 => plan.alert = true,
        2 | 3 => plan.garble = Some(rng.below(4000) as u64),
        _ => {}
    }
    plan
}

/// WebSockets over TLS: alerts, cuts within records, no close_notify.
pub fn tls(seed: u64) -> World {
    let mut world = World::new(seed);
    world.tls = any_tls(&mut world.rng);
    world.host(0, &[AT_ONCE]);
    for i in 0..world.rng.range(1, 2) {
        let max = world.rng.pick(&[300, 50_000]);
        let k = talk(&mut world, ms(i * 30), true, 0, max);
        end(&mut world, ms(i * 30), k, 500);
    }
    if world.rng.chance(60) {
        let within = world.rng.pick(&[400, 3000, 50_000]);
        world.cuts = Some(Cuts { percent: 50, within, fixed: None });
    }
    world.calm = false;
    world
}

/// Bodies over TLS, with redirects.
pub fn tls_stream(seed: u64) -> World {
    let mut world = World::new(seed);
    world.tls = any_tls(&mut world.rng);
    world.host(0, &[AT_ONCE]);
    world.host(1, &[Dial::Accepts(ms(5))]);
    let k = fetch(&mut world, ms(0), true, 0);
    if world.rng.chance(40) {
        redirect(&mut world, k, 2, true);
    }
    if world.rng.chance(40) {
        let within = world.rng.pick(&[400, 3000, 50_000]);
        world.cuts = Some(Cuts { percent: 50, within, fixed: None });
    }
    if world.rng.chance(20) {
        let when = ms(world.rng.below(100));
        world.deed(when, k, Deed::Release);
    }
    world
}
