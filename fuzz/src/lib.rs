//! The differential targets: the same bytes to this crate and to another one.
//!
//! Where both differ and may, the difference has a name in [`frames::Known`] or [`heads::Known`]
//! with its reason; any other difference is a finding. All others' bodies are in `src/fuzzing` of
//! the crate.
//!
//! `RUSTFLAGS='--cfg fuzzing' cargo test` replays their corpus without nightly.

#[cfg(not(fuzzing))]
compile_error!("the bodies exist with --cfg fuzzing only: use cargo fuzz, or set RUSTFLAGS");

#[cfg(fuzzing)]
mod frames;
#[cfg(fuzzing)]
mod heads;

#[cfg(fuzzing)]
pub use frames::diff_frame;
#[cfg(fuzzing)]
pub use heads::diff_head;

#[cfg(all(test, fuzzing))]
mod tests {
    use std::fs;
    use std::path::Path;

    fn replay(target: &str, body: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        let mut count = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            body(&fs::read(path).unwrap());
            count += 1;
        }
        assert!(count > 0, "{target} has no seeds");
    }

    #[test]
    fn frames_as_tungstenite_reads_them() {
        replay("diff_frame", super::diff_frame);
    }

    #[test]
    fn heads_as_httparse_reads_them() {
        replay("diff_head", super::diff_head);
    }
}
