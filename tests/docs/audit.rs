//! Checks the page for auditors: each file that it covers has a row, and the numbers of lines are
//! about right.

use std::collections::BTreeSet;

use super::{cells, package, path, prose, read, sources};

const PAGE: &str = "docs/AUDIT.md";
/// The folders in which each file has a row.
const FOLDERS: [&str; 3] = ["src/proto", "src/net/wire", "src/net/reactor"];

fn is_test(file: &str) -> bool {
    file.contains("/tests/") || file.ends_with("/tests.rs")
}

/// The number of lines of a file above its unit tests.
fn lines(file: &str) -> usize {
    let text = read(file).unwrap();
    text.split("#[cfg(test)]\nmod ").next().unwrap().lines().count()
}

/// The number of these lines of a file, or of all files below a folder.
fn lines_of(place: &str) -> Result<usize, String> {
    match place.strip_suffix('/') {
        Some(folder) if path(folder).is_dir() => {
            Ok(sources(folder).iter().filter(|file| !is_test(file)).map(|file| lines(file)).sum())
        }
        None if path(place).is_file() => Ok(lines(place)),
        _ => Err(format!("{place}: no such file or folder")),
    }
}

/// The paths in backticks in a cell.
fn places(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).filter(|part| part.starts_with("src/")).collect()
}

/// A number as the page writes it: rounded to about two digits.
fn rounded(n: usize) -> String {
    let step = [(2000, 50), (200, 10), (0, 5)].iter().find(|(from, _)| n >= *from).unwrap().1;
    let n = (n + step / 2) / step * step;
    match n / 1000 {
        0 => n.to_string(),
        thousands => format!("{thousands},{:03}", n % 1000),
    }
}

/// Whether a number of the page is about `n`: it may differ by a tenth, or by ten.
fn is_about(written: &str, n: usize) -> bool {
    let written: usize = written.replace(',', "").parse().unwrap();
    written.abs_diff(n) <= (n / 10).max(10)
}

#[test]
fn what_the_page_for_auditors_counts_is_so() {
    let mut text = read(PAGE).unwrap();
    let (mut wrong, mut rows, mut anew) = (Vec::new(), BTreeSet::new(), Vec::new());
    for line in prose(&text) {
        let Some(cells) = cells(line) else { continue };
        let all = places(cells[0]);
        if all.is_empty() {
            continue;
        }
        match all.iter().map(|place| lines_of(place)).sum::<Result<usize, String>>() {
            Err(e) => wrong.push(e),
            Ok(n) => {
                if !is_about(cells[1], n) {
                    wrong.push(format!("{}: {n} lines, not {}", cells[0], cells[1]));
                    let [old, new] = [cells[1], &rounded(n)].map(|cell| format!("| {cell} |"));
                    anew.push((line.to_owned(), line.replacen(&old, &new, 1)));
                }
            }
        }
        // The table with the order of reading has more columns.
        if cells.len() == 3 && all.len() == 1 && !rows.insert(all[0].to_owned()) {
            wrong.push(format!("{}: two rows", all[0]));
        }
    }
    if std::env::var_os("MOONWIRE_BLESS").is_some() {
        for (old, new) in anew {
            text = text.replacen(&old, &new, 1);
        }
        std::fs::write(path(PAGE), text).unwrap();
        return;
    }
    let files = FOLDERS.iter().flat_map(|folder| sources(folder)).filter(|file| !is_test(file));
    let files: BTreeSet<String> = files.collect();
    wrong.extend(files.difference(&rows).map(|file| format!("{file}: has no row")));
    assert!(wrong.is_empty(), "MOONWIRE_BLESS=1 writes the lines\n{}", wrong.join("\n"));
    assert!(files.len() > 80, "{}", files.len());
}

/// The code that a WebSocket without compression runs in the core stays short enough to be read in
/// half a day.
#[test]
fn the_core_of_a_websocket_has_fewer_than_5500_lines() {
    let core = |folder: &str| {
        let files = sources(folder).into_iter().filter(|file| !is_test(file));
        files.filter(|file| !file[folder.len() + 1..].contains('/')).collect::<Vec<_>>()
    };
    let files = [core("src/proto"), core("src/proto/ws")].concat();
    assert!(files.len() > 20, "{files:?}");
    let n: usize = files.iter().map(|file| lines(file)).sum();
    assert!(n < 5_500, "{n} lines, with comments, in {files:?}");
}

/// Checks the lines of the page about folders that a package may not have.
#[test]
fn what_the_page_for_auditors_says_of_fuzzing_and_models_is_so() {
    if package::is_package() {
        println!("!!! NOT CHECKED in a package: numbers of {PAGE} about fuzz and tests/loom");
        return;
    }
    let text = read(PAGE).unwrap();
    let number = |what: &str| {
        let (before, _) = text.split_once(what).unwrap_or_else(|| panic!("{PAGE}: no \"{what}\""));
        before.rsplit(|c: char| !(c.is_ascii_digit() || c == ',')).next().unwrap().to_owned()
    };
    let targets = std::fs::read_dir(path("fuzz/fuzz_targets")).unwrap().count();
    assert_eq!(number(" fuzz targets"), targets.to_string());
    let folders = std::fs::read_dir(path("fuzz/corpus")).unwrap().map(|e| e.unwrap().path());
    let seeds = folders.map(|folder| std::fs::read_dir(folder).unwrap().count()).sum();
    assert!(is_about(&number(" seeds and found cases"), seeds), "{seeds} seeds");
    let models: usize = sources("tests/loom/src")
        .iter()
        .map(|file| read(file).unwrap().matches("#[test]").count())
        .sum();
    assert_eq!(number(" models"), models.to_string());
    let scripts = std::fs::read_dir(path("tests/scripts")).unwrap().count();
    assert!(is_about(&number(" protocol scripts"), scripts), "{scripts} scripts");
}

#[test]
fn numbers_are_written_and_read_alike() {
    for (n, written) in
        [(3, "5"), (26, "25"), (199, "200"), (204, "200"), (1953, "1,950"), (4917, "4,900")]
    {
        assert_eq!(rounded(n), written, "{n}");
        assert!(is_about(written, n), "{n}");
    }
    assert!(!is_about("100", 120) && !is_about("1,000", 1_200) && is_about("1,000", 1_099));
    assert_eq!(places("`src/a.rs`, `src/b/` and `c`"), ["src/a.rs", "src/b/"]);
}
