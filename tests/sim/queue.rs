//! The scenario of the queue for one address.

use crate::book::ms;
use crate::net::Dial;
use crate::scenarios::{AT_ONCE, plan, quiet};
use crate::world::{Deed, WS, World};
use crate::ws::{Act, Answer};

/// Many connections to one address with slow handshakes; some hang, some are refused, some are
/// released while they wait.
pub fn queue(seed: u64) -> World {
    let mut world = World::new(seed);
    world.limits.opening_per_peer = world.rng.pick(&[1, 1, 1, 2]);
    world.limits.opening = ms(world.rng.pick(&[800, 1500]));
    // If both limits are equal, a handshake and the wait for it may exceed them at the same moment.
    let equal = world.limits.opening;
    world.limits.opening_wait = world.rng.pick(&[equal, equal, ms(700), ms(3000), ms(40_000)]);
    world.host(0, &[AT_ONCE]);
    let dials = [
        AT_ONCE,
        Dial::Accepts(ms(100)),
        Dial::Accepts(ms(400)),
        Dial::Refuses(ms(50)),
        Dial::Never,
        Dial::Unreachable,
    ];
    let mut all = vec![AT_ONCE; 4];
    all.extend((0..world.rng.below(6)).map(|_| world.rng.pick(&dials)));
    for (to, dials) in &mut world.places {
        if to.port() == WS {
            dials.clone_from(&all);
        }
    }
    for _ in 0..world.rng.range(4, 16) {
        let at = ms(world.rng.pick(&[0, 0, 50, 400]));
        let k = world.ask(at, |_, k| quiet(k, false, 0));
        let answers = [Answer::Accepts, Answer::Accepts, Answer::Accepts, Answer::Silent];
        let (answer, after) = (world.rng.pick(&answers), world.rng.pick(&[0, 50, 300, 600]));
        let plan = plan(&mut world, k);
        (plan.answer, plan.after) = (answer, ms(after));
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
