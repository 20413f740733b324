//! The bodies of the fuzz targets (`fuzz/README.md`): each feeds bytes to a part of
//! [`crate::proto`] and asserts laws. They are part of the crate, so that `cargo test` can run them
//! on every machine: on all of `fuzz/corpus`, and on changed copies of it that are the same in each
//! run.
//!
//! ```text
//! input                                      choices, cuts, numbers
//! driver                                     keeps and checks the law of a session
//! wire                                       RFC 6455 a second time, for comparison
//! texts heads frames sessions bodies events
//! secrets compressed coded                   the targets
//! proxies                                    those above sockets: with the feature `net` alone
//! ```

mod bodies;
#[cfg(feature = "deflate")]
mod coded;
#[cfg(feature = "deflate")]
mod compressed;
mod driver;
mod events;
mod frames;
mod heads;
mod input;
#[cfg(feature = "net")]
mod proxies;
mod secrets;
mod sessions;
mod texts;
mod uploads;
mod wire;

pub use bodies::{chunked, redirect, stream};
#[cfg(feature = "deflate")]
pub use coded::coded;
#[cfg(feature = "deflate")]
pub use compressed::{deflate, inflate, negotiate};
pub use events::sse;
pub use frames::{frame, message};
pub use heads::{handshake, head, read_head};
#[cfg(feature = "net")]
pub use proxies::{proxy, proxy_rules, tunnelled};
pub use secrets::secrets;
pub use sessions::{operations, session};
pub use texts::{join, url, utf8};
pub use uploads::upload;

/// The body of a target: it panics if a law is broken.
pub type Body = fn(&[u8]);

/// The name of each target and its body.
pub const TARGETS: &[(&str, Body)] = &[
    ("url", url),
    ("join", join),
    ("utf8", utf8),
    ("head", head),
    ("handshake", handshake),
    ("frame", frame),
    ("message", message),
    ("session", session),
    ("operations", operations),
    ("chunked", chunked),
    ("sse", sse),
    ("stream", stream),
    ("redirect", redirect),
    ("upload", upload),
    ("secrets", secrets),
    #[cfg(feature = "deflate")]
    ("negotiate", negotiate),
    #[cfg(feature = "deflate")]
    ("inflate", inflate),
    #[cfg(feature = "deflate")]
    ("deflate", deflate),
    #[cfg(feature = "deflate")]
    ("coded", coded),
    #[cfg(feature = "net")]
    ("proxy", proxy),
    #[cfg(feature = "net")]
    ("proxy_rules", proxy_rules),
    #[cfg(feature = "net")]
    ("tunnelled", tunnelled),
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::input::Rng;
    use super::{Body, TARGETS};

    /// Targets of the workspace `fuzz/`, which compare with other crates and are replayed there.
    const DIFFERENTIAL: [&str; 2] = ["diff_frame", "diff_head"];

    /// Targets that need the feature `deflate`.
    const COMPRESSED: [&str; 4] = ["negotiate", "inflate", "deflate", "coded"];
    /// Targets that need the feature `net`.
    const ABOVE_SOCKETS: [&str; 3] = ["proxy", "proxy_rules", "tunnelled"];

    /// The seeds and the found inputs. The crate's package has none.
    fn corpus() -> Option<PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        if root.join("Cargo.toml.orig").exists() {
            println!("!!! NOT CHECKED in a package: the corpus, which it does not hold");
            return None;
        }
        Some(root.join("fuzz/corpus"))
    }

    /// The files of a target with their names, in order.
    fn cases(corpus: &Path, target: &str) -> Vec<(String, Vec<u8>)> {
        let folder = fs::read_dir(corpus.join(target)).unwrap_or_else(|e| panic!("{target}: {e}"));
        let files = folder.map(|entry| entry.unwrap().path());
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut all: Vec<_> = files.map(|path| (name(&path), fs::read(&path).unwrap())).collect();
        all.sort();
        all
    }

    /// Prints the name of the input if a law is broken.
    struct Shown<'a>(&'a str, &'a str, &'a [u8]);

    impl Drop for Shown<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let Shown(target, name, bytes) = self;
                println!("target {target}, {name}: \"{}\"", bytes.escape_ascii());
            }
        }
    }

    fn run(target: &str, body: Body, name: &str, bytes: &[u8]) {
        let _shown = Shown(target, name, bytes);
        body(bytes);
    }

    #[test]
    fn every_seed_and_every_found_case_keeps_the_laws() {
        let Some(corpus) = corpus() else { return };
        for (target, body) in TARGETS {
            let cases = cases(&corpus, target);
            assert!(!cases.is_empty(), "{target} has no seeds");
            for (name, bytes) in &cases {
                // The file names of a fuzzer have no meaning.
                assert!(name.len() < 36, "{target}/{name}: a case is named by its cause");
                run(target, *body, name, bytes);
            }
        }
        for entry in fs::read_dir(&corpus).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let known = TARGETS.iter().any(|(target, _)| *target == name)
                || !cfg!(feature = "deflate") && COMPRESSED.contains(&name.as_str());
            let elsewhere = [&DIFFERENTIAL[..], &ABOVE_SOCKETS].concat().contains(&name.as_str());
            assert!(known || elsewhere, "no target is called {name}");
        }
    }

    /// Bytes with a meaning for one of the parsers.
    const WORDS: [&[u8]; 40] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"\0",
        b" ",
        b"\t",
        b":",
        b": ",
        b",",
        b";",
        b"\"",
        b"/",
        b"..",
        b"//",
        b"?",
        b"#",
        b"@",
        b"[",
        b"]",
        b"0",
        b"f",
        b"\xFF",
        b"\x80",
        b"\x7F",
        b"\x7E",
        b"\x81",
        b"\x88\x02\x03\xE8",
        b"\x89\0",
        b"\x8A\0",
        b"\xEF\xBB\xBF",
        b"\xF0\x9F\x98\x80",
        b"\xED\xA0",
        b"data:",
        b"id:",
        b"HTTP/1.1 200 OK\r\n",
        b"Content-Length: 1\r\n",
        b"0\r\n\r\n",
        b"http://",
        b"FFFFFFFFFFFFFFFF",
    ];

    /// A changed copy of one seed, or of two.
    fn mutant(rng: &mut Rng, seeds: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = seeds[rng.below(seeds.len())].1.clone();
        bytes.truncate(2000);
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(bytes.len() + 1);
            match rng.below(8) {
                0 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
                1 if at < bytes.len() => bytes[at] = rng.below(256) as u8,
                2 => bytes.truncate(at),
                3 => drop(bytes.drain(at..(at + rng.below(9)).min(bytes.len()))),
                4 => {
                    let other = &seeds[rng.below(seeds.len())].1;
                    let from = rng.below(other.len() + 1);
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..other.len().min(from + 2000)]);
                }
                5 => {
                    let end = (at + 1 + rng.below(20)).min(bytes.len());
                    let again = bytes[at..end].repeat(1 + rng.below(12));
                    drop(bytes.splice(at..at, again));
                }
                _ => drop(bytes.splice(at..at, WORDS[rng.below(WORDS.len())].iter().copied())),
            }
        }
        bytes
    }

    /// How many changed seeds each target gets: all targets together take a few seconds without
    /// optimisation.
    const ROUNDS: u64 = 1500;

    #[test]
    fn changed_seeds_keep_the_laws() {
        let Some(corpus) = corpus() else { return };
        for (target, body) in TARGETS {
            let seeds = cases(&corpus, target);
            for round in 0..ROUNDS {
                let bytes = mutant(&mut Rng::new(round), &seeds);
                run(target, *body, &format!("round {round}"), &bytes);
            }
        }
    }
}
