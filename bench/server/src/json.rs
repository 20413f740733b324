//! Texts such as a program sends: JSON of an exact size, no two alike, the same in every run.

use std::fmt::Write as _;

const USERS: [&str; 8] =
    ["ada", "grace", "linus", "barbara", "edsger", "margaret", "dennis", "radia"];
const ACTIONS: [&str; 6] = ["move", "attack", "gather", "trade", "rest", "craft"];
const WORDS: [&str; 16] = [
    "the", "north", "gate", "is", "open", "bring", "more", "wood", "and", "stone", "before",
    "night", "falls", "meet", "at", "bridge",
];
const END: &str = "\"}";

/// The generator SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len() as u64) as usize]
    }
}

/// Makes message `number` of `size` bytes (at least 64): records, then words up to the size.
pub fn text(number: usize, size: usize) -> String {
    let mut random = Random(number as u64);
    let mut out = format!("{{\"seq\":{number},\"items\":[");
    let close = "],\"note\":\"";
    loop {
        let item = item(&mut random);
        if out.len() + 1 + item.len() + close.len() + END.len() > size {
            break;
        }
        if !out.ends_with('[') {
            out.push(',');
        }
        out.push_str(&item);
    }
    out.push_str(close);
    while out.len() + END.len() < size {
        out.push_str(random.of(&WORDS));
        out.push(' ');
    }
    out.truncate(size - END.len());
    out + END
}

fn item(random: &mut Random) -> String {
    let mut out = String::with_capacity(160);
    let (user, action) = (random.of(&USERS), random.of(&ACTIONS));
    let (id, x, y) = (random.below(1_000_000), random.below(200_000), random.below(200_000));
    let (minute, second, ms) = (random.below(60), random.below(60), random.below(1000));
    let _ = write!(
        out,
        "{{\"id\":{id},\"user\":\"{user}\",\"action\":\"{action}\",\"x\":{}.{:02},\"y\":{}.{:02},\
         \"at\":\"2026-11-30T12:{minute:02}:{second:02}.{ms:03}Z\",\"ok\":{}}}",
        x / 100,
        x % 100,
        y / 100,
        y % 100,
        random.below(4) > 0,
    );
    out
}
