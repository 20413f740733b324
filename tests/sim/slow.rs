//! Scenarios of slow lines and slow servers. Most time limits are a round trip and a little more,
//! much shorter than a transfer: a limit that starts at the wrong moment ends a connection.

use std::time::Duration;

use moonwire::proto::http::Delivery;

use crate::book::{Msg, ms};
use crate::http::{Framing, HttpPlan};
use crate::net::Path;
use crate::reader::{FOR_EVER, Pace};
use crate::rng::Rng;
use crate::scenarios::{AT_ONCE, plan, quiet, send, url};
use crate::sink::LARGEST;
use crate::world::{Ask, Deed, Drive, HTTP, HTTPS, World};
use crate::ws::{Act, OnClose};

/// The time that a limit allows beyond a round trip.
const LITTLE: usize = 500;

fn slow_path(rng: &mut Rng) -> Path {
    let paces = [10_000, 30_000, 100_000, 1_000_000, 10_000_000];
    let bandwidth = [rng.pick(&paces), rng.pick(&paces)];
    let latency = ms(rng.pick(&[0, 0, 5, 100, 500, 2000]));
    let window = rng.pick(&[4000, 16_000, 65_536, 262_144]);
    Path {
        latency,
        jitter: latency / rng.pick(&[1000, 10, 4]),
        bandwidth,
        // The line carries a full window in at most three seconds.
        window: window.min(bandwidth[0] * 3),
        segment: rng.pick(&[700, 1460]),
        ..Path::default()
    }
}

/// A world with such a line, and limits for it.
fn slow(seed: u64) -> World {
    let mut world = World::new(seed);
    world.path = slow_path(&mut world.rng);
    if let Drive::Frames(_) = world.drive {
        world.drive = Drive::Frames(ms(world.rng.range(20, 40)));
    }
    let limit = round_trip(&world) + ms(LITTLE);
    set_limits(&mut world, limit);
    world.host(0, &[AT_ONCE]);
    world
}

fn set_limits(world: &mut World, limit: Duration) {
    let limits = &mut world.limits;
    (limits.pong, limits.close, limits.linger, limits.response) = (limit, limit, limit, limit);
    limits.opening = ms(3000) + limit * 4;
    limits.stall = limit;
}

fn round_trip(world: &World) -> Duration {
    (world.path.latency + world.path.jitter) * 2
}

/// When a connection that is requested at time 0 is open.
fn opened(world: &World, secure: bool) -> Duration {
    ms(400) + round_trip(world) * if secure { 4 } else { 2 }
}

/// How many bytes a second a server with this pace gets from the line.
fn speed(world: &World, pace: &Pace) -> usize {
    let Path { latency, jitter, window, bandwidth, .. } = &world.path;
    let frame = match world.drive {
        Drive::Frames(span) => span,
        _ => Duration::ZERO,
    };
    let round = latency.as_millis() + jitter.as_millis() + frame.as_millis() + 1;
    let of_window = window * 1000 / round as usize;
    let of_server = if pace.rate == 0 { usize::MAX } else { pace.rate * 1000 };
    bandwidth[0].min(of_window).min(of_server).max(100)
}

/// A number of bytes that takes some seconds, and about how long it takes.
fn much(world: &mut World, pace: &Pace) -> (usize, Duration) {
    let speed = speed(world, pace);
    // The bytes that the system holds are sent within three seconds, too.
    world.path.window = world.path.window.min(speed * 3);
    let more = speed * world.rng.range(1500, 8000) / 1000;
    let total = (world.path.window + more).min(2_000_000);
    (total, ms(total * 1000 / speed))
}

/// A random pace of a server: that of its line, or a slower one.
fn any_pace(rng: &mut Rng) -> Pace {
    Pace { rate: rng.pick(&[0, 0, 10, 100]), naps: Vec::new() }
}

/// A WebSocket whose program sends much as soon as it is open; returns the number of the
/// connection, when the sending starts, and about how long it takes.
fn upload(world: &mut World, secure: bool, pace: Pace) -> (usize, Duration, Duration) {
    let k = world.ask(ms(0), |_, k| quiet(k, secure, 0));
    let (at, (total, span)) = (opened(world, secure), much(world, &pace));
    plan(world, k).pace = pace;
    let count = world.rng.pick(&[1, 3, 20]);
    for i in 0..count {
        let msg = Msg::sized(world.rng.chance(20), "client", i, total / count);
        send(world, at, k, i, msg);
    }
    world.asks[k].ping = world.rng.pick(&[None, Some(ms(100)), Some(ms(700))]);
    (k, at, span)
}

fn pings_of_server(world: &mut World, k: usize, span: Duration) {
    for i in 0..world.rng.below(6) {
        let after = ms(world.rng.below(span.as_millis() as usize / 4));
        plan(world, k).acts.push((after, Act::Ping(vec![k as u8, i as u8])));
    }
}

/// A server reads slowly for some seconds in the middle of steady traffic. It answers keep-alive
/// pings late, but it goes on reading.
pub fn doze(seed: u64) -> World {
    let mut world = slow(seed);
    world.path.bandwidth = [10_000_000; 2];
    world.path.window = world.rng.pick(&[16_000, 65_536]);
    world.path.latency = ms(world.rng.pick(&[0, 5]));
    world.path.jitter = ms(0);
    let limit = round_trip(&world) + ms(LITTLE);
    set_limits(&mut world, limit);
    let rate = 100;
    let (awake, asleep) = (ms(10), ms(world.rng.pick(&[60, 90])));
    let mut naps = vec![(awake, asleep); 40];
    naps[0].0 = ms(world.rng.range(500, 2500));
    let k = world.ask(ms(0), |_, k| quiet(k, false, 0));
    plan(&mut world, k).pace = Pace { rate, naps };
    world.asks[k].ping = Some(ms(100));
    let at = opened(&world, false);
    // The program sends about as much as the server reads between naps, for longer than the server
    // needs to read the bytes that have arrived during the naps.
    let full = Msg::sized(false, "client", 0, 100_000);
    world.deed(at, k, Deed::Send(full));
    let steps = world.rng.range(80, 120);
    for i in 0..steps {
        let msg = Msg::sized(false, "client", i, world.rng.range(7000, 9000));
        world.deed(at + ms(80 * i), k, Deed::Send(msg));
    }
    world.deed(at + ms(80 * steps + 30_000), k, Deed::Close(1000));
    world
}

/// The program sends much at once, over a slow line or to a slow server.
pub fn slow_upload(seed: u64) -> World {
    let mut world = slow(seed);
    let secure = world.rng.chance(15);
    let pace = any_pace(&mut world.rng);
    let (k, at, span) = upload(&mut world, secure, pace);
    pings_of_server(&mut world, k, span);
    if world.rng.chance(40) {
        let (when, busy) = (at + span / 3, ms(world.rng.below(2000)));
        world.stalls.push((when, busy));
        let msg = Msg::sized(false, "later", 0, 3000);
        world.deed(when + ms(1), k, Deed::Send(msg));
    }
    world.deed(at + span * 3, k, Deed::Close(1000));
    world
}

/// The program has sent much and ends the connection at once, by a close or a release; or the
/// server ends it.
pub fn slow_close(seed: u64) -> World {
    let mut world = slow(seed);
    let secure = world.rng.chance(15);
    let pace = any_pace(&mut world.rng);
    let (k, at, span) = upload(&mut world, secure, pace);
    let later = at + ms(world.rng.below(span.as_millis() as usize));
    let on_close = [OnClose::Answers(ms(0)), OnClose::Answers(ms(30)), OnClose::Waits];
    plan(&mut world, k).on_close = world.rng.pick(&on_close);
    match world.rng.below(6) {
        0 => world.deed(at, k, Deed::Close(1000)),
        1 => world.deed(later, k, Deed::Close(1000)),
        2 => world.deed(later, k, Deed::Release),
        3 => {
            world.asks[k].hold = world.rng.chance(50);
            let after = later.saturating_sub(round_trip(&world));
            plan(&mut world, k).acts.push((after, Act::Close(Some(1001))));
            world.deed(later + ms(50), k, Deed::AnswerClose);
        }
        _ => {
            // The server ends the connection while sent bytes are on their way.
            let end = if world.rng.chance(50) { Act::Finish } else { Act::Reset };
            let acts = &mut plan(&mut world, k).acts;
            acts.push((span / 2, Act::Close(Some(1001))));
            acts.push((ms(0), end));
        }
    }
    world.deed(at + span * 4 + ms(10_000), k, Deed::Release);
    world
}

/// The body of a request takes longer than the limit for the response.
pub fn slow_post(seed: u64) -> World {
    let mut world = slow(seed);
    let pace = any_pace(&mut world.rng);
    let (total, span) = much(&mut world, &pace);
    let secure = world.rng.chance(15);
    let (scheme, port) = if secure { ("https", HTTPS) } else { ("http", HTTP) };
    let k = world.ask(ms(0), |rng, k| {
        let body = Msg::sized(false, "body", k, rng.pick(&[0, 300, 20_000])).data;
        let framing = rng.pick(&[Framing::Length, Framing::Chunked, Framing::UntilClose]);
        Ask {
            url: url(scheme, 0, port, &format!("{k}/0")),
            stream: Some(Delivery::Raw),
            post: Some(vec![b'b'; total]),
            ws: None,
            http: Some(HttpPlan {
                hops: Vec::new(),
                after: ms(rng.pick(&[0, 50])),
                early: rng.chance(30),
                interim: rng.pick(&[0, 0, 1]),
                framing,
                event_stream: false,
                pieces: vec![(ms(10), body)],
                stops: None,
                finishes: framing == Framing::UntilClose,
                more: false,
                pace,
            }),
            ..quiet(k, secure, 0)
        }
    });
    world.asks[k].idle = world.rng.pick(&[None, Some(round_trip(&world) + ms(LITTLE))]);
    if world.rng.chance(20) {
        // A limit that the program has set includes the upload.
        world.asks[k].timeout = Some(opened(&world, secure) + span / 2);
    }
    world.deed(span * 4 + opened(&world, secure) + ms(10_000), k, Deed::Release);
    world
}

/// The server repeatedly reads nothing for a time shorter than any limit. Sometimes it never reads
/// again, and the connection ends.
pub fn zero_window(seed: u64) -> World {
    let mut world = slow(seed);
    // All naps may be within the time that the last bytes need.
    let limit = round_trip(&world) + ms(4000);
    set_limits(&mut world, limit);
    world.limits.stall = round_trip(&world) + ms(2000);
    let naps = world.rng.range(1, 3);
    let nap = |rng: &mut Rng| (ms(rng.range(200, 2000)), ms(rng.range(400, 1300)));
    let mut naps: Vec<_> = (0..naps).map(|_| nap(&mut world.rng)).collect();
    if world.rng.chance(25) {
        naps.push((ms(300), FOR_EVER));
    }
    let pace = Pace { naps, ..any_pace(&mut world.rng) };
    let (k, at, span) = upload(&mut world, false, pace);
    pings_of_server(&mut world, k, span);
    let when = at + ms(world.rng.below(2 * span.as_millis() as usize));
    let deed = if world.rng.chance(80) { Deed::Close(1000) } else { Deed::Release };
    world.deed(when, k, deed);
    world.deed(at + span * 4 + ms(20_000), k, Deed::Release);
    world
}

/// The program pauses, holds the bytes of events, and is busy elsewhere, for longer than a peer may
/// be silent.
pub fn slow_program(seed: u64) -> World {
    let mut world = World::new(seed);
    let mut largest = LARGEST;
    if Rng::new(seed ^ 0x51).chance(50) {
        world = slow(seed);
        let speed = speed(&world, &Pace::default()).min(world.path.bandwidth[1]);
        largest = (speed / 20).clamp(100, LARGEST);
    } else {
        world.host(0, &[AT_ONCE]);
    }
    world.limits.high_water = world.rng.pick(&[3000, 50_000]);
    world.limits.low_water = world.limits.high_water / 4;
    world.limits.high_water_total = world.rng.pick(&[5000, 1 << 20]);
    for i in 0..world.rng.range(1, 3) {
        let k = world.ask(ms(i), |_, k| quiet(k, false, 0));
        world.asks[k].ping = world.rng.pick(&[None, Some(ms(200)), Some(ms(1000))]);
        world.asks[k].reflex.pauses = world.rng.pick(&[None, Some(1), Some(3)]);
        world.asks[k].reflex.holds = world.rng.chance(60);
        for i in 0..world.rng.below(25) {
            let msg = Msg::new(&mut world.rng, "server", i, largest);
            let after = ms(world.rng.pick(&[0, 0, 0, 30, 400]));
            plan(&mut world, k).acts.push((after, Act::Send(msg, 1)));
        }
        plan(&mut world, k).acts.push((ms(5), Act::Close(Some(1000))));
        for i in 0..world.rng.pick(&[0, 0, 3]) {
            let (at, size) =
                (opened(&world, false) + ms(i * 700), much(&mut world, &Pace::default()).0);
            world.deed(at, k, Deed::Send(Msg::sized(false, "client", i, size.min(100_000))));
        }
        pauses(&mut world, k);
    }
    if world.rng.chance(40) {
        let (at, span) = (ms(world.rng.below(5000)), ms(world.rng.below(3000)));
        world.stalls.push((at, span));
    }
    world
}

fn pauses(world: &mut World, k: usize) {
    let mut at = opened(world, false);
    for _ in 0..50 {
        at += ms(world.rng.pick(&[50, 300, 300, 2500]));
        for deed in [Deed::Resume, Deed::Consume, Deed::Pause] {
            let chance = if matches!(deed, Deed::Pause) { 10 } else { 80 };
            if world.rng.chance(chance) {
                world.deed(at, k, deed);
            }
        }
    }
    at += ms(100);
    world.deed(at, k, Deed::Resume);
    world.deed(at, k, Deed::Consume);
    world.deed(at + ms(5000), k, Deed::Release);
}
