//! Scenarios of connections that go through proxies, and of some that do not.

use std::time::Duration;

use moonwire::ProxyScheme;

use crate::book::ms;
use crate::net::{Cut, Dial};
use crate::proxy::{Manner, Proxies, Through};
use crate::rng::Rng;
use crate::scenarios::{AT_ONCE, any_dial, end, plan, quiet, strange_name, talk};
use crate::streams::{fetch, redirect};
use crate::world::{Cuts, Deed, World, address};
use crate::ws::{Act, Answer};

/// The number of the host on which the proxies are.
const H: usize = 2;

const SCHEMES: [ProxyScheme; 4] =
    [ProxyScheme::Http, ProxyScheme::Https, ProxyScheme::Socks5, ProxyScheme::Socks5h];

/// A random proxy on host `h`. TLS makes a run slower, so it is chosen less often.
fn any_through(rng: &mut Rng, h: usize) -> Through {
    let plain = [ProxyScheme::Http, ProxyScheme::Socks5, ProxyScheme::Socks5h];
    let scheme = if rng.chance(10) { ProxyScheme::Https } else { rng.pick(&plain) };
    Through { scheme, h, known: rng.chance(60) }
}

/// Mostly sets a proxy for a connection: that of the configuration, or another one.
fn goes_through(world: &mut World, k: usize) {
    let own = any_through(&mut world.rng, H);
    world.asks[k].through = world.rng.pick(&[None, Some(own), Some(own), world.rule]);
}

fn any_rule(world: &mut World) {
    let rule = any_through(&mut world.rng, H);
    world.rule = world.rng.pick(&[None, Some(rule)]);
}

/// Correct proxies, for all kinds of connections: everything arrives.
pub fn proxied(seed: u64) -> World {
    let mut world = World::new(seed);
    (world.limits.close, world.limits.linger) = (ms(20_000), ms(20_000));
    for h in 0..=H {
        world.host(h, &[AT_ONCE]);
    }
    any_rule(&mut world);
    world.proxies.after = vec![0, 0, 30];
    world.proxies.drips = vec![0, 0, 3];
    for i in 0..world.rng.range(1, 4) {
        let secure = world.rng.chance(8);
        let max = world.rng.pick(&[300, 20_000]);
        let h = world.rng.below(2);
        let k = talk(&mut world, ms(i * 20), secure, h, max);
        goes_through(&mut world, k);
        world.asks[k].ping = world.rng.pick(&[None, Some(ms(300))]);
        end(&mut world, ms(i * 20), k, 3000);
    }
    world
}

/// Faulty proxies: they act wrongly at any of their answers. The resolver answers late or strangely
/// for their names and those of the targets; lines have faults; a policy denies some addresses; the
/// program releases connections.
pub fn proxies(seed: u64) -> World {
    let mut world = World::new(seed);
    world.limits.addresses = world.rng.pick(&[16, 16, 2]);
    world.limits.interim = world.rng.pick(&[1, 16]);
    world.limits.refusal_time = ms(world.rng.pick(&[50, 1000, 20_000]));
    for h in 0..=H {
        let count = world.rng.range(1, 3);
        let dials: Vec<Dial> = (0..count).map(|_| near(&mut world.rng)).collect();
        world.host(h, &dials);
        if world.rng.chance(60) {
            strange_name(&mut world, h);
        }
        // A connection queries two names, and a second answer for the first one would count as the
        // answer for the other. No resolver does that.
        world.names[h].1.again = None;
        if world.rng.chance(15) {
            let i = world.rng.below(count);
            world.denied.push(address(h, i));
        }
        if h != H && world.rng.chance(50) {
            let i = world.rng.below(count);
            world.proxies.deaf.push(address(h, i));
        }
    }
    any_rule(&mut world);
    world.proxies.odd = world.rng.pick(&[20, 60, 100]);
    world.proxies.asks = world.rng.pick(&[0, 50, 100]);
    world.proxies.after = vec![0, 0, 40, 700];
    world.proxies.drips = vec![0, 0, 2, 150];
    for i in 0..world.rng.range(1, 3) {
        let at = ms(i * world.rng.pick(&[0, 7, 300]));
        let k = one(&mut world, at);
        goes_through(&mut world, k);
        world.asks[k].timeout = world.rng.pick(&[None, None, Some(ms(1)), Some(ms(400))]);
        if world.rng.chance(20) {
            let when = at + ms(world.rng.below(500));
            world.deed(when, k, Deed::Release);
        }
    }
    if world.rng.chance(40) {
        let within = world.rng.pick(&[60, 400, 3000]);
        world.cuts = Some(Cuts { percent: 40, within, fixed: None });
    }
    if world.rng.chance(15) {
        world.stalls.push((ms(world.rng.below(200)), ms(2000)));
    }
    world.calm = false;
    world
}

/// A random result of a connection attempt; mostly the server accepts.
fn near(rng: &mut Rng) -> Dial {
    if rng.chance(75) { Dial::Accepts(ms(rng.pick(&[0, 0, 5, 260]))) } else { any_dial(rng) }
}

/// A WebSocket or a stream, with TLS or without.
fn one(world: &mut World, at: Duration) -> usize {
    let (secure, h) = (world.rng.chance(8), world.rng.below(2));
    match world.rng.below(3) {
        0 => fetch(world, at, secure, h),
        _ => {
            let k = talk(world, at, secure, h, 1000);
            end(world, at, k, 500);
            k
        }
    }
}

/// Many connections to one name, through one proxy or directly. Each server has one opening
/// handshake at a time, however long the proxy needs. A SOCKS proxy gets several addresses, of
/// which some may not answer.
pub fn proxy_queue(seed: u64) -> World {
    let mut world = World::new(seed);
    world.limits.opening_per_peer = world.rng.pick(&[1, 1, 1, 2]);
    world.limits.opening = ms(world.rng.pick(&[800, 1500]));
    let equal = world.limits.opening;
    world.limits.opening_wait = world.rng.pick(&[equal, equal, ms(700), ms(3000), ms(40_000)]);
    let count = world.rng.pick(&[1, 1, 3]);
    world.host(0, &vec![AT_ONCE; count]);
    world.host(1, &[AT_ONCE]);
    let dial = Dial::Accepts(ms(world.rng.pick(&[0, 0, 30])));
    world.host(H, &[dial]);
    // No address, all but one, or all.
    let deaf = world.rng.pick(&[0, 0, count - 1, count]);
    world.proxies.deaf = (0..deaf).map(|i| address(0, i)).collect();
    world.proxies.after = vec![0, 50, 50, 300];
    world.proxies.odd = world.rng.pick(&[0, 0, 20]);
    world.proxies.manners =
        vec![Manner::Silent, Manner::Refuses(5), Manner::HangsUp, Manner::Unknown];
    let scheme = world.rng.pick(&SCHEMES[..]);
    let through = Through { scheme, h: H, known: world.rng.chance(30) };
    for _ in 0..world.rng.range(3, 9) {
        let at = ms(world.rng.pick(&[0, 0, 50, 400]));
        let h = world.rng.pick(&[0, 0, 0, 1]);
        let k = world.ask(at, |_, k| quiet(k, false, h));
        world.asks[k].through =
            world.rng.pick(&[Some(through), Some(through), Some(through), None]);
        let answer = world.rng.pick(&[Answer::Accepts, Answer::Accepts, Answer::Silent]);
        let after = ms(world.rng.pick(&[0, 50, 300]));
        let plan = plan(&mut world, k);
        (plan.answer, plan.after) = (answer, after);
        plan.acts = vec![(ms(20), Act::Close(Some(1000)))];
        if world.rng.chance(25) {
            let when = at + ms(world.rng.below(4000));
            world.deed(when, k, Deed::Release);
        }
        world.deed(ms(60_000), k, Deed::Release);
    }
    world.calm = false;
    world
}

/// Streams through proxies that forward the request or open a tunnel, from host to host and from
/// plain to TLS.
pub fn proxy_streams(seed: u64) -> World {
    let mut world = World::new(seed);
    for h in 0..=H {
        world.host(h, &[AT_ONCE]);
    }
    any_rule(&mut world);
    world.proxies.odd = world.rng.pick(&[0, 0, 10]);
    world.proxies.after = vec![0, 0, 40];
    for _ in 0..world.rng.range(1, 3) {
        let at = ms(world.rng.below(20));
        let secure = world.rng.chance(8);
        let k = fetch(&mut world, at, secure, 0);
        goes_through(&mut world, k);
        if world.rng.chance(60) {
            let to_secure = secure || world.rng.chance(10);
            redirect(&mut world, k, 2, to_secure);
        }
        if world.rng.chance(20) {
            let when = at + ms(world.rng.below(300));
            world.deed(when, k, Deed::Release);
        }
    }
    if world.rng.chance(30) {
        world.cuts = Some(Cuts { percent: 30, within: 600, fixed: None });
    }
    world
}

/// A tortured scenario: a WebSocket through a proxy, small and without other faults.
pub fn through(mut world: World, scheme: ProxyScheme, secure: bool) -> World {
    for h in 0..=H {
        world.host(h, &[AT_ONCE]);
    }
    world.proxies = Proxies { asks: 100, ..Proxies::default() };
    let k = world.ask(ms(0), |_, k| quiet(k, secure, 0));
    world.asks[k].through = Some(Through { scheme, h: H, known: true });
    plan(&mut world, k).acts = vec![(ms(5), Act::Close(Some(1000)))];
    world.deed(ms(8000), k, Deed::Release);
    world
}

/// The same without TLS, cut at a byte.
pub fn cut(world: World, scheme: ProxyScheme, up: bool, at: u64, cut: Cut) -> World {
    let mut world = through(world, scheme, false);
    world.cuts = Some(Cuts { percent: 0, within: 0, fixed: Some((up, at, cut)) });
    world
}

/// A SOCKS proxy that connects to the last of three addresses, for two connections that need turns
/// at the same server.
pub fn three_addresses(mut world: World) -> World {
    world.host(0, &[AT_ONCE; 3]);
    world.host(1, &[AT_ONCE]);
    world.host(H, &[Dial::Refuses(ms(2)), AT_ONCE]);
    world.proxies.deaf = vec![address(0, 0), address(0, 1)];
    world.proxies.after = vec![10];
    for _ in 0..2 {
        let k = world.ask(ms(0), |_, k| quiet(k, false, 0));
        world.asks[k].through = Some(Through { scheme: ProxyScheme::Socks5, h: H, known: false });
        plan(&mut world, k).acts = vec![(ms(5), Act::Close(Some(1000)))];
        world.deed(ms(8000), k, Deed::Release);
    }
    world
}

/// The proxy refuses one tunnel, with the reason in a body, and forwards the request of a stream.
pub fn refused(mut world: World) -> World {
    for h in 0..=H {
        world.host(h, &[AT_ONCE]);
    }
    world.proxies = Proxies { odd: 100, manners: vec![Manner::Unknown], ..Proxies::default() };
    let k = world.ask(ms(0), |_, k| quiet(k, false, 0));
    let f = fetch(&mut world, ms(0), false, 0);
    for k in [k, f] {
        world.asks[k].through = Some(Through { scheme: ProxyScheme::Http, h: H, known: true });
    }
    world
}
