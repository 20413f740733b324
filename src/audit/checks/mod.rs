//! The checks, in the order in which they are made.

mod bad_frames;
mod bad_requests;
#[cfg(feature = "deflate")]
mod deflate;
#[cfg(not(feature = "deflate"))]
#[path = "no_deflate.rs"]
mod deflate;
mod frames;
mod opening;

use super::check::Check;

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Check> {
    [
        opening::CHECKS,
        frames::CHECKS,
        deflate::CHECKS,
        frames::SERVER,
        bad_requests::CHECKS,
        bad_frames::CHECKS,
        deflate::HOSTILE,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::finding::Kind;
    use super::*;

    #[test]
    fn every_check_has_a_name_of_its_own_and_a_section() {
        let mut names = BTreeSet::new();
        for check in all() {
            let about = &check.about;
            assert!(names.insert(about.name), "{} is there twice", about.name);
            assert!(about.name.len() <= 27, "{} is too long for its column", about.name);
            assert!(about.section.starts_with("RFC "), "{}", about.name);
            assert!(about.section.contains(" §"), "{}", about.name);
            assert!(!about.proves.is_empty() && !about.proves.ends_with('.'), "{}", about.name);
        }
        // Hostile input comes last, so that its effects are not taken for those of other checks.
        let kinds: Vec<_> = all().map(|check| check.about.kind).collect();
        let first = kinds.iter().position(|kind| *kind == Kind::Hostile).unwrap();
        assert!(kinds[first..].iter().all(|kind| *kind == Kind::Hostile));
    }
}
