//! Checks the documents: every test, function and file that they name exists, no row is missing or
//! occurs twice, and no link is broken. docs/README.md describes how documents write names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

#[path = "docs/audit.rs"]
mod audit;
#[path = "docs/package.rs"]
mod package;

/// Names whose files are not merged yet: file and test, or file and "" for a script or a document.
/// A name is checked as soon as its file exists.
const PENDING: &[(&str, &str)] = &[];

const ROWS: usize = 70;
const NOT: &str = "does not apply: ";

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> Result<String, String> {
    std::fs::read_to_string(path(file)).map_err(|e| format!("{file}: {e}"))
}

/// The names of all documents that are checked.
fn documents() -> Vec<String> {
    let mut all: Vec<String> = std::fs::read_dir(path("docs"))
        .unwrap()
        .map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()))
        .collect();
    let others = ["README.md", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md"];
    let notes = ["autobahn/NOTES.md", "autobahn/README.md", "certs/README.md", "loom/README.md"];
    all.extend(others.map(str::to_owned));
    all.extend(notes.map(|file| format!("tests/{file}")));
    all.retain(|file| file.ends_with(".md") && !package::lacks(file));
    all
}

/// A file that a document names, with names in it: `file` · `name` · `name`.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    file: String,
    names: Vec<String>,
}

impl Link {
    fn is_pending(&self) -> bool {
        let here = path(&self.file).exists();
        let mut names = self.names.iter().map(String::as_str).collect::<Vec<_>>();
        if names.is_empty() {
            names.push("");
        }
        !here && names.iter().all(|name| PENDING.contains(&(&*self.file, name)))
    }

    fn is_script(&self) -> bool {
        self.file.starts_with("tests/scripts/") && self.file.ends_with(".txt")
    }
}

/// The paths of this repository in backticks, each with the names behind it.
fn links(text: &str) -> Vec<Link> {
    let mut all: Vec<Link> = Vec::new();
    let mut last = false;
    for (i, part) in text.split('`').enumerate() {
        if i % 2 == 0 {
            last = last && part == " · ";
            continue;
        }
        let folder =
            ["src/", "tests/", "examples/", "fuzz/", "docs/"].iter().any(|f| part.starts_with(f));
        let is_file = folder && !part.contains(['*', ' ']) && part.contains('.');
        match all.last_mut() {
            Some(link) if last => link.names.push(part.to_owned()),
            _ if is_file => all.push(Link { file: part.to_owned(), names: vec![] }),
            _ => continue,
        }
        last = true;
    }
    all
}

/// The lines of a document outside blocks of code.
fn prose(text: &str) -> Vec<&str> {
    let mut code = false;
    let outside = |line: &&str| {
        code ^= line.starts_with("```");
        !code
    };
    text.lines().filter(outside).collect()
}

/// The cells of a row of a table.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inside = line.strip_prefix("| ")?.trim_end().strip_suffix('|')?;
    Some(inside.split(" | ").map(str::trim).map(|cell| cell.trim_end_matches('|').trim()).collect())
}

/// Where in `text` the function `name` begins.
fn function(text: &str, name: &str) -> Option<usize> {
    let start = format!("fn {name}");
    let mut found = text.match_indices(&start).map(|(at, _)| at);
    found.find(|&at| text[at + start.len()..].starts_with(['(', '<']))
}

/// A function with the comments and attributes above it.
fn region(text: &str, at: usize) -> &str {
    let mut start = text[..at].rfind('\n').map_or(0, |i| i + 1);
    let indent = &text[start..at];
    let depth = indent.len() - indent.trim_start().len();
    while start > 0 {
        let above = text[..start - 1].rfind('\n').map_or(0, |i| i + 1);
        let line = text[above..start - 1].trim_start();
        if !line.starts_with("//") && !line.starts_with("#[") {
            break;
        }
        start = above;
    }
    let close = format!("\n{}}}", &indent[..depth]);
    let end = text[at..].find(&close).map_or(text.len(), |i| at + i);
    &text[start..end]
}

/// The part of `file` that is the test `name`: a function, or a row of a table.
fn test(file: &str, name: &str) -> Result<String, String> {
    let text = read(file)?;
    let missing = || format!("{file}: no test `{name}`");
    if file.ends_with(".rs")
        && let Some(at) = function(&text, name)
    {
        let region = region(&text, at);
        let of_both =
            text[..at].contains("both! {") && region.contains(&format!("fn {name}(mode)"));
        return match region.contains("#[test]") || of_both {
            true => Ok(region.to_owned()),
            false => Err(missing()),
        };
    }
    let row = |line: &&str| match file.ends_with(".rs") {
        true => line.contains(&format!("(\"{name}\",")),
        false => line.starts_with(&format!("{name} ")),
    };
    text.lines().find(row).map(str::to_owned).ok_or_else(missing)
}

fn is_defined(file: &str, name: &str) -> Result<(), String> {
    let text = read(file)?;
    let kinds = ["const", "static", "struct", "enum", "trait", "type"];
    let named = |kind: &str| {
        let whole = format!("{kind} {name}");
        text.match_indices(&whole).any(|(at, _)| {
            let behind = text[at + whole.len()..].chars().next();
            !behind.is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
    };
    match function(&text, name).is_some() || kinds.iter().any(|kind| named(kind)) {
        true => Ok(()),
        false => Err(format!("{file}: nothing is called `{name}`")),
    }
}

/// The errors of a link: its target does not exist, or is not a test although the link `proves` a
/// rule.
fn check(link: &Link, proves: bool) -> Vec<String> {
    if link.is_pending() || package::lacks(&link.file) {
        return vec![];
    }
    if link.names.is_empty() {
        return match (path(&link.file).exists(), !proves || link.is_script()) {
            (true, true) => vec![],
            (false, _) => vec![format!("{}: no such file", link.file)],
            (true, false) => vec![format!("{}: names no test", link.file)],
        };
    }
    let one = |name: &String| match proves {
        true => test(&link.file, name).map(drop),
        false => is_defined(&link.file, name),
    };
    link.names.iter().filter_map(|name| one(name).err()).collect()
}

/// The rows of FAULTS that a text names: "FAULTS 4, 6 and 7", "faults of others, row 4", "[4, 6]".
fn rows_named(text: &str) -> BTreeSet<usize> {
    let keys = ["FAULTS", "aults of others"];
    let mut named = BTreeSet::new();
    for (at, key) in keys.iter().flat_map(|key| text.match_indices(key)) {
        let list = text[at + key.len()..].split([':', '.', ')', '\n', ';']).next().unwrap_or("");
        let words = list.split([' ', ',']).filter(|word| !word.is_empty());
        let words =
            words.take_while(|w| w.parse::<usize>().is_ok() || ["row", "rows", "and"].contains(w));
        named.extend(words.filter_map(|word| word.parse::<usize>().ok()));
    }
    for list in text.split('[').skip(1).filter_map(|rest| rest.split(']').next()) {
        let list = list.trim_start_matches("FAULTS ");
        let numbers: Result<Vec<usize>, _> = list.split(", ").map(str::parse).collect();
        named.extend(numbers.unwrap_or_default());
    }
    named
}

/// The errors in a row of FAULTS.
fn wrong_with_fault(number: usize, cell: &str) -> Vec<String> {
    let links = links(cell);
    if links.is_empty() && !(cell.starts_with(NOT) && cell.len() > NOT.len()) {
        return vec!["neither a test nor a reason".to_owned()];
    }
    let mut wrong: Vec<String> = links.iter().flat_map(|link| check(link, true)).collect();
    for link in links.iter().filter(|link| !link.is_pending() && !cell.starts_with(NOT)) {
        let mut texts: Vec<(&str, Result<String, String>)> = Vec::new();
        if link.names.is_empty() {
            let text = read(&link.file).map(|text| {
                text.lines().filter(|l| l.starts_with('#')).collect::<Vec<_>>().join("\n")
            });
            texts.push(("", text));
        }
        texts.extend(link.names.iter().map(|name| (name.as_str(), test(&link.file, name))));
        for (name, text) in texts {
            if text.is_ok_and(|text| !rows_named(&text).contains(&number)) {
                wrong.push(format!("{} {name}: does not name the row", link.file));
            }
        }
    }
    wrong
}

#[test]
fn every_fault_has_a_row_and_every_row_a_test_or_a_reason() {
    let text = read("docs/FAULTS.md").unwrap();
    let (mut wrong, mut numbers, mut without) = (Vec::new(), Vec::new(), 0);
    for cells in prose(&text).into_iter().filter_map(cells) {
        let Ok(number) = cells[0].parse::<usize>() else { continue };
        assert_eq!(cells.len(), 4, "row {number}: {cells:?}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "row {number}: {cells:?}");
        numbers.push(number);
        without += usize::from(cells[3].starts_with(NOT));
        let of_row = wrong_with_fault(number, cells[3]);
        wrong.extend(of_row.into_iter().map(|w| format!("row {number}: {w}")));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    // The rows after these are added one by one, and their numbers may have gaps.
    let (all, more) = numbers.split_at(ROWS.min(numbers.len()));
    assert_eq!(all, (1..=ROWS).collect::<Vec<_>>());
    assert!(more.is_sorted_by(|a, b| a < b), "{more:?}");
    println!("{} rows with a test, {without} that do not apply", numbers.len() - without);
}

/// Checks a table of rules; returns the number of its rules.
fn rules(file: &str, prefixes: &[&str]) -> usize {
    let text = read(file).unwrap();
    let (mut wrong, mut last) = (Vec::new(), BTreeMap::new());
    let mut rules = 0;
    for cells in prose(&text).into_iter().filter_map(cells) {
        let id = cells[0];
        if !prefixes.iter().any(|prefix| id.starts_with(prefix)) {
            continue;
        }
        rules += 1;
        let mut add = |what: String| wrong.push(format!("{id}: {what}"));
        let (section, number) = id.rsplit_once('-').unwrap();
        let before = last.entry(section.to_owned()).or_insert(0);
        if number.parse::<usize>() != Ok(*before + 1) {
            add(format!("the number behind {before} is {number}"));
        }
        *before += 1;
        let [_, rule, held, proved] = cells[..] else {
            add(format!("{} cells", cells.len()));
            continue;
        };
        let (held, proved, applies) = (links(held), links(proved), !held.starts_with(NOT));
        if rule.is_empty() || (applies && (held.is_empty() || proved.is_empty())) {
            add("is not complete".to_owned());
        }
        held.iter().flat_map(|link| check(link, false)).for_each(&mut add);
        proved.iter().flat_map(|link| check(link, true)).for_each(&mut add);
    }
    // The choices beside the rules: every test that they name must exist.
    let choices = text.split("## Choices").nth(1).unwrap();
    for cells in choices.lines().filter_map(cells) {
        if cells.len() != 4 || cells[..3].iter().any(|cell| cell.is_empty()) {
            wrong.push(format!("a choice is not complete: {cells:?}"));
        }
        for link in links(&cells.join(" | ")) {
            wrong.extend(check(&link, link.is_script() || !link.names.is_empty()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    rules
}

#[test]
fn every_rule_of_the_rfcs_is_held_and_proved_by_something_that_exists() {
    let websocket = rules("docs/RFC6455.md", &["6455-"]);
    let http = rules("docs/RFC9112.md", &["9112-", "9110-"]);
    let deflate = rules("docs/RFC7692.md", &["7692-"]);
    println!("{websocket} rules of RFC 6455, {deflate} of RFC 7692, {http} of RFC 9112 and 9110");
    assert!(websocket >= 90 && deflate >= 25 && http >= 50, "{websocket}, {deflate}, {http}");
}

/// The page on scripts. A test cell may have a mark while the tests for the row are not merged. The
/// mark is an error as soon as the file beside it exists.
const SCRIPTS: &str = "docs/LUAU.md";
const UNMERGED: (&str, &str) = ("<!-- hosts -->", "tests/luau/worlds.rs");

/// The errors in the tables of the page on scripts, and the number of their rows.
fn wrong_with_scripts(text: &str) -> (Vec<String>, usize) {
    let (mut wrong, mut rows, mut columns) = (Vec::new(), 0, None);
    for line in prose(text) {
        let Some(inside) = line.strip_prefix('|').and_then(|l| l.trim_end().strip_suffix('|'))
        else {
            columns = None;
            continue;
        };
        // The first cell of a table's head may be empty, which `cells` does not accept.
        let cells: Vec<&str> = inside.split('|').map(str::trim).collect();
        if cells[0].starts_with("---") {
            continue;
        }
        let Some(columns) = columns else {
            if cells.last() != Some(&"test") {
                wrong.push(format!("{line}: the last column is not `test`"));
            }
            columns = Some(cells.len());
            continue;
        };
        rows += 1;
        let (of, tests) = (cells[0], cells[cells.len() - 1]);
        if cells.len() != columns || of.is_empty() {
            wrong.push(format!("{of}: {} cells, not {columns}", cells.len()));
        } else if tests == UNMERGED.0 {
            if path(UNMERGED.1).exists() {
                wrong.push(format!("{of}: {} is here and no test of it is named", UNMERGED.1));
            }
        } else if links(tests).is_empty() {
            wrong.push(format!("{of}: names no test"));
        }
        for link in links(tests) {
            wrong.extend(check(&link, true).into_iter().map(|w| format!("{of}: {w}")));
        }
    }
    (wrong, rows)
}

#[test]
fn every_row_about_scripts_has_a_test() {
    let (wrong, rows) = wrong_with_scripts(&read(SCRIPTS).unwrap());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    println!("{rows} rows");
    assert!(rows >= 150, "{rows} rows");
}

/// The name at the start of a text.
fn name_at(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// The names that scripts can use: declared globals and members; the services, classes, globals and
/// members of host files; the functions of `host`.
fn found_by_scripts() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for line in read("src/luau/moonwire.d.luau").unwrap().lines() {
        // A script cannot write the names of the types of enums and of their items.
        let named = ["declare function ", "declare ", "\tfunction ", "\tread ", "\t"];
        if let Some(rest) = named.iter().find_map(|start| line.strip_prefix(start))
            && rest.starts_with(char::is_alphabetic)
            && !rest.starts_with("extern ")
        {
            all.insert(name_at(rest).to_owned());
        }
    }
    let functions = read("src/luau/prelude/hosts.luau").unwrap();
    for line in functions.lines() {
        let rest = line.strip_prefix("function host.").or_else(|| line.strip_prefix("host."));
        all.extend(rest.map(|rest| format!("host.{}", name_at(rest))));
    }
    for host in ["studio", "executor", "world"] {
        let text = read(&format!("src/luau/hosts/{host}.luau")).unwrap();
        let adds = ["host.service(", "host.global(", "host.enum(", "\nclass("];
        for (at, start) in adds.iter().flat_map(|start| text.match_indices(start)) {
            let rest = text[at + start.len()..].trim_start();
            all.extend(rest.strip_prefix('"').map(|rest| name_at(rest).to_owned()));
        }
        // Members that host files add.
        for line in text.lines().map(str::trim_start) {
            let line = line.strip_prefix("function methods.").unwrap_or(line);
            let name = name_at(line);
            let is_field = [" = ", "("].iter().any(|start| line[name.len()..].starts_with(start));
            if name.starts_with(char::is_uppercase) && is_field && name != name.to_uppercase() {
                all.insert(name.to_owned());
            }
        }
    }
    all
}

#[test]
fn everything_that_scripts_find_is_on_their_page() {
    let text = read(SCRIPTS).unwrap();
    let lines = prose(&text);
    let code = lines.iter().flat_map(|line| line.split('`').skip(1).step_by(2));
    let word = |c: char| !(c.is_alphanumeric() || c == '_' || c == '.');
    let mut named = BTreeSet::new();
    for whole in code.flat_map(|code| code.split(word)) {
        named.extend(whole.split('.').map(str::to_owned));
        named.insert(whole.trim_end_matches('.').to_owned());
    }
    let all = found_by_scripts();
    assert!(all.len() >= 120, "{all:?}");
    for name in
        ["WebSocket", "BufferedAmount", "RequestAsync", "host.extend", "Selection", "plugin"]
    {
        assert!(all.contains(name), "{name}");
    }
    let missing: Vec<_> = all.difference(&named).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The fields of `Limits`, in their order.
fn fields_of_limits() -> Vec<String> {
    let text = read("src/limits.rs").unwrap();
    let fields = text.lines().filter_map(|l| l.strip_prefix("    pub ")?.split_once(": "));
    fields.map(|(name, _)| name.to_owned()).collect()
}

/// The default of a limit as the table writes it: 65,536 or 30s.
fn default_of(field: &str) -> String {
    let all = format!("{:?}", moonwire::Limits::default());
    let start = all.find(&format!(" {field}: ")).unwrap() + field.len() + 3;
    let value = all[start..].split([',', ' ']).next().unwrap();
    if value == usize::MAX.to_string() {
        return "no limit".to_owned();
    }
    if value.ends_with('s') {
        return value.to_owned();
    }
    let digits: Vec<char> = value.chars().collect();
    let mut groups: Vec<String> = digits.rchunks(3).map(|group| group.iter().collect()).collect();
    groups.reverse();
    groups.join(",")
}

#[test]
fn every_limit_has_a_row_its_default_and_a_test_that_names_it() {
    let text = read("docs/LIMITS.md").unwrap();
    let (mut wrong, mut rows) = (Vec::new(), Vec::new());
    for cells in prose(&text).into_iter().filter_map(cells).filter(|c| c[0].starts_with('`')) {
        let field = cells[0].trim_matches('`').to_owned();
        let mut add = |what: String| wrong.push(format!("{field}: {what}"));
        let [_, default, at, _, tests] = cells[..] else {
            add(format!("{} cells", cells.len()));
            continue;
        };
        let (want, links) = (default_of(&field), links(tests));
        if default != want {
            add(format!("the default is {want}"));
        }
        if at.is_empty() || links.is_empty() {
            add("is not complete".to_owned());
        }
        for link in &links {
            check(link, true).into_iter().for_each(&mut add);
            let named = match link.names.is_empty() {
                true => read(&link.file).is_ok_and(|text| text.contains(&format!(" {field}="))),
                false => link.names.iter().all(|name| {
                    let names = |text: String| {
                        let word = |c: char| !(c.is_alphanumeric() || c == '_');
                        text.split(word).any(|w| w == field)
                    };
                    test(&link.file, name).is_ok_and(names)
                }),
            };
            let default = link.file.contains("-default");
            if !named && !default {
                add(format!("{}: does not name it", link.file));
            }
        }
        rows.push(field);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(rows, fields_of_limits());
}

#[test]
fn what_other_documents_name_exists() {
    let mut wrong = Vec::new();
    for file in
        documents().iter().filter(|file| !file.contains("/RFC") && !file.ends_with("FAULTS.md"))
    {
        let text = read(file).unwrap();
        for link in prose(&text).into_iter().flat_map(links) {
            // The glossary names definitions; the other documents name tests.
            let proves = !link.names.is_empty() && !file.ends_with("GLOSSARY.md");
            wrong.extend(check(&link, proves).into_iter().map(|w| format!("{file}: {w}")));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The anchor of a heading.
fn anchor(heading: &str) -> String {
    let keep = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let kept: String = heading.trim().to_lowercase().chars().filter(|&c| keep(c)).collect();
    kept.replace(' ', "-")
}

fn has_anchor(text: &str, wanted: &str) -> bool {
    let headings = prose(text).into_iter().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).any(|a| a == wanted)
}

/// The targets of links, `[text](target)`, outside code.
fn targets(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for line in prose(text) {
        let outside: Vec<&str> = line.split('`').step_by(2).collect();
        for rest in outside.join("`").split("](").skip(1) {
            all.extend(rest.split(')').next().map(str::to_owned));
        }
    }
    all
}

/// A path with its `..` resolved.
fn plain(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn no_link_leads_nowhere() {
    let mut seen = BTreeSet::new();
    for file in documents() {
        let text = read(&file).unwrap();
        for target in targets(&text) {
            if target.starts_with("https://") || target.starts_with("http://") {
                continue;
            }
            let (to, wanted) = target.split_once('#').unwrap_or((&target, ""));
            let folder = Path::new(&file).parent().unwrap().to_str().unwrap();
            let to = match (to, folder) {
                ("", _) => file.clone(),
                (to, "") => to.to_owned(),
                (to, folder) => format!("{folder}/{to}"),
            };
            if PENDING.contains(&(&to, "")) && !path(&to).exists() {
                continue;
            }
            // The file must be in the package, unless cargo cannot include it.
            let to = plain(&to);
            assert!(
                package::holds(&to) || package::is_of_workspace(&to),
                "{file}: {target}: is in no package"
            );
            if package::lacks(&to) {
                continue;
            }
            assert!(path(&to).exists(), "{file}: {target}");
            if !wanted.is_empty() {
                assert!(has_anchor(&read(&to).unwrap(), wanted), "{file}: {target}");
            }
            seen.insert(path(&to).canonicalize().unwrap());
        }
    }
    // Some document must link to each document in docs.
    for file in documents().iter().filter(|f| f.starts_with("docs/") && !f.ends_with("/README.md"))
    {
        assert!(seen.contains(&path(file).canonicalize().unwrap()), "{file} is linked by nothing");
    }
}

#[test]
fn the_checker_sees_what_it_has_to_see() {
    let link = |file: &str, names: &[&str]| Link {
        file: file.to_owned(),
        names: names.iter().map(|&name| name.to_owned()).collect(),
    };
    for (text, want) in [
        (
            "`tests/a.rs` · `b` · `c`; `tests/d.txt`",
            vec![link("tests/a.rs", &["b", "c"]), link("tests/d.txt", &[])],
        ),
        ("`x` · `y`, and `src/a.rs` or `b`", vec![link("src/a.rs", &[])]),
        ("`tests/scripts/*.txt` and `tests/alloc`", vec![]),
    ] {
        assert_eq!(links(text), want);
    }
    for (file, names, proves, fine) in [
        ("tests/docs.rs", &["the_checker_sees_what_it_has_to_see"][..], true, true),
        ("tests/docs.rs", &["the_checker_sees"], true, false),
        ("tests/docs.rs", &["rows_named"], true, false),
        ("tests/docs.rs", &["rows_named"], false, true),
        ("tests/docs.rs", &["Link"], false, true),
        ("tests/docs.rs", &["Lin"], false, false),
        ("tests/docs.rs", &["ROWS"], false, true),
        ("tests/docs.rs", &[], true, false),
        ("tests/docs.rs", &[], false, true),
        ("tests/nothing.rs", &["x"], true, false),
        ("tests/luau/signals.rs", &["everything_about_signals"], true, true),
        ("tests/alloc/src/main.rs", &["endless empty fragments [16]"], true, true),
        ("tests/alloc/src/main.rs", &["endless empty fragments"], true, false),
        ("tests/scripts/fragments.txt", &[], true, true),
        ("tests/scripts/nothing.txt", &[], true, false),
    ] {
        if !package::lacks(file) {
            assert_eq!(check(&link(file, names), proves).is_empty(), fine, "{file} {names:?}");
        }
    }
    for (text, want) in [
        ("// FAULTS 4, 6 and 17: why", &[4, 6, 17][..]),
        ("# RFC 6455 §5.2; faults of others, rows 5 and 6", &[5, 6]),
        ("/// FAULTS 22, RFC 6455 §10.3.", &[22]),
        ("(\"endless [2, 5]\", x[7])", &[2, 5, 7]),
        ("H-1 [FAULTS 27, 28] title", &[27, 28]),
        ("nothing 5", &[]),
    ] {
        assert_eq!(rows_named(text), want.iter().copied().collect(), "{text}");
    }
    assert!(wrong_with_fault(1, "does not apply: there is none").is_empty());
    for bad in [
        "",
        "does not apply: ",
        "nobody knows",
        "`tests/scripts/fragments.txt`",
        "`tests/x.rs` · `y`",
    ] {
        assert!(!wrong_with_fault(1, bad).is_empty(), "{bad}");
    }
    for (table, wrong) in [
        ("| a | test |\n|---|---|\n| b | `tests/docs.rs` · `no_link_leads_nowhere` |", 0),
        ("| a | test |\n|---|---|\n| b | `tests/docs.rs` · `no_link_leads` |", 1),
        ("| a | test |\n|---|---|\n| b | seen |", 1),
        ("| a | test |\n|---|---|\n| b | `tests/docs.rs` |", 1),
        ("| a | test |\n|---|---|\n| b | c | `tests/docs.rs` · `no_link_leads_nowhere` |", 1),
        ("| a | b |\n|---|---|", 1),
        ("| | test |\n|---|---|\n| b | |\n\n| a | |\n|---|---|", 2),
    ] {
        assert_eq!(wrong_with_scripts(table).0.len(), wrong, "{table}");
    }
    assert_eq!(plain("docs/../tests/loom/README.md"), "tests/loom/README.md");
    assert_eq!(anchor(" What is not there yet "), "what-is-not-there-yet");
    assert_eq!(targets("a [b](c#d) `[x](y)`\n```\n[e](f)\n```\n[g](h)"), ["c#d", "h"]);
    assert_eq!(cells("| a | b | |"), Some(vec!["a", "b", ""]));
}

/// The documentation of a limit says whether it belongs to a connection or to the reactor. The code
/// reads the one from the connection's limits (`Options::limits`), the other from the reactor's.
#[test]
fn whose_a_limit_is_is_what_its_documentation_says() {
    let source = read("src/limits.rs").unwrap();
    let (mut shared, mut doc) = (BTreeSet::new(), String::new());
    for line in source.lines().map(str::trim) {
        match line.strip_prefix("/// ") {
            Some(text) if doc.is_empty() => doc = text.to_owned(),
            Some(_) => {}
            None if line == "///" => {}
            None => {
                if let Some(field) = line.strip_prefix("pub ").and_then(|l| l.split_once(':'))
                    && ["Reactor: ", "Luau: "].iter().any(|whose| doc.starts_with(whose))
                {
                    shared.insert(field.0.to_owned());
                }
                doc.clear();
            }
        }
    }
    assert!(shared.contains("turn") && shared.contains("hold") && !shared.contains("linger"));
    let all: BTreeSet<String> = fields_of_limits().into_iter().collect();
    let (mut of_all, mut of_one) = (BTreeSet::new(), BTreeSet::new());
    for file in sources("src/net/reactor").into_iter().chain(sources("src/proto")) {
        let text = read(&file).unwrap();
        for (at, _) in text.match_indices("limits.") {
            let rest = &text[at + "limits.".len()..];
            let field: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !all.contains(&field) {
                continue;
            }
            match text[..at].ends_with("core.") {
                true => of_all.insert((field, file.clone())),
                false if file.contains("proto/") => of_one.insert((field, file.clone())),
                false => false,
            };
        }
    }
    assert!(of_all.len() > 5 && of_one.len() > 20, "{of_all:?} {of_one:?}");
    let wrong: Vec<_> = of_all
        .iter()
        .filter(|(field, _)| !shared.contains(field))
        .chain(of_one.iter().filter(|(field, _)| shared.contains(field)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// The paths of the Rust files below a folder.
fn sources(folder: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(root.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(path),
                false => all.extend(path.ends_with(".rs").then_some(path)),
            }
        }
    }
    all.sort();
    all
}

/// The texts in backticks outside blocks of code, and the lines of blocks that call the command.
fn code_of(text: &str) -> Vec<&str> {
    let spans = prose(text).into_iter().flat_map(|line| line.split('`').skip(1).step_by(2));
    let lines = text.lines().map(|line| line.trim_start_matches("$ "));
    let calls = lines.filter(|line| line.starts_with("moonwire ") || line.contains("| moonwire "));
    let others = ["wscat ", "websocat ", "openssl ", "curl "];
    spans.chain(calls).filter(|code| !others.iter().any(|other| code.contains(other))).collect()
}

#[test]
fn every_limit_that_a_page_names_exists() {
    let (fields, mut wrong, mut count) = (fields_of_limits(), Vec::new(), 0);
    for file in documents() {
        let text = read(&file).unwrap();
        for (at, start) in text.match_indices("`Limits::") {
            let rest = &text[at + start.len()..];
            let names: Vec<&str> =
                match rest.strip_prefix('{').and_then(|list| list.split_once('}')) {
                    Some((list, _)) => list.split(", ").collect(),
                    None => vec![name_at(rest)],
                };
            for name in names {
                count += 1;
                if name != "default" && !fields.iter().any(|field| field == name) {
                    wrong.push(format!("{file}: Limits::{name}"));
                }
            }
        }
    }
    assert!(wrong.is_empty() && count >= 50, "{count}: {wrong:?}");
}

/// The options of the command, with their dashes.
fn options_of_the_command() -> BTreeSet<String> {
    let mut all: BTreeSet<String> = ["--help", "--version"].map(str::to_owned).into();
    for file in sources("src/cli") {
        let text = read(&file).unwrap();
        for (at, start) in text.match_indices("names: &[") {
            let list = text[at + start.len()..].split(']').next().unwrap();
            all.extend(list.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
    all
}

/// Options of other programs and of this repository's scripts that pages name.
const OTHERS: &[&str] = &[
    "--all-features",
    "--all-targets",
    "--cfg",
    "--check",
    "--definitions",
    "--example",
    "--features",
    "--full",
    "--list",
    "--locked",
    "--long",
    "--manifest-path",
    "--moonwire",
    "--no-default-features",
    "--open",
    "--pinnedpubkey",
    "--release",
    "--short",
    "--test",
];

#[test]
fn every_option_that_a_page_names_exists() {
    let options = options_of_the_command();
    assert!(options.contains("--echo") && options.contains("--linger") && options.len() > 60);
    let (mut wrong, mut count) = (Vec::new(), 0);
    let pages = ["COMMAND", "EMBEDDING", "FEATURES", "LUAU", "POLICY", "README", "RUST", "SYSTEMS"];
    let pages = pages.map(|page| format!("docs/{page}.md"));
    for file in pages.iter().map(String::as_str).chain(["README.md", "SECURITY.md"]) {
        let text = read(file).unwrap();
        for code in code_of(&text) {
            let line = code.split(" #").next().unwrap();
            for word in line.split(|c: char| c.is_whitespace() || "=[](),|".contains(c)) {
                if word.starts_with("--") && word.len() > 2 && !word.starts_with("--!") {
                    count += 1;
                    if !options.contains(word) && !OTHERS.contains(&word) {
                        wrong.push(format!("{file}: {word}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty() && count >= 150, "{count}: {wrong:?}");
}

/// Only the options of `run` have to be on the page; `--help` has those of the other subcommands.
#[test]
fn every_option_of_run_is_on_the_page_about_the_command() {
    let text = read("docs/COMMAND.md").unwrap();
    let mut missing = Vec::new();
    for file in ["src/cli/run.rs", "src/cli/network.rs", "src/cli/proxy.rs"] {
        let source = read(file).unwrap();
        for (at, start) in source.match_indices("names: &[\"") {
            let name = source[at + start.len()..].split('"').next().unwrap();
            if !text.contains(&format!("`{name}")) && !text.contains(&format!(" {name} ")) {
                missing.push(format!("{file}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

/// Whether the type `of` has a function, field or variant `name`; `None` if this crate has no such
/// type.
fn has_member(texts: &[String], of: &str, name: &str) -> Option<bool> {
    let kinds = ["struct", "enum", "trait"];
    let defines = |text: &&String| {
        kinds.iter().any(|kind| {
            text.match_indices(&format!("pub {kind} {of}"))
                .any(|(at, start)| name_at(&text[at + start.len()..]).is_empty())
        }) || text.lines().any(|line| {
            line.starts_with("impl")
                && line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == of)
        })
    };
    let its: Vec<&String> = texts.iter().filter(defines).collect();
    let (field, variant) = (format!("    pub {name}: "), format!("    {name}"));
    let has = |text: &&String| {
        function(text, name).is_some()
            || text.contains(&field)
            || text.lines().any(|line| {
                line.strip_prefix(&*variant)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with([',', '(', ' ']))
            })
    };
    (!its.is_empty()).then(|| its.iter().any(has))
}

#[test]
fn every_member_that_a_page_names_exists() {
    let texts: Vec<String> = sources("src").iter().map(|file| read(file).unwrap()).collect();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for file in ["RUST", "EMBEDDING", "POLICY", "COMMAND", "FEATURES", "TESTING", "LIMITS"] {
        let file = format!("docs/{file}.md");
        let text = read(&file).unwrap();
        for code in prose(&text).into_iter().flat_map(|line| line.split('`').skip(1).step_by(2)) {
            let Some((before, behind)) = code.rsplit_once("::") else { continue };
            let (of, name) = (before.rsplit("::").next().unwrap(), name_at(behind));
            if of.starts_with(char::is_uppercase) && !name.is_empty() {
                match has_member(&texts, of, name) {
                    Some(true) => count += 1,
                    // These are types of another crate.
                    None if ["Lua", "Compiler"].contains(&of) => {}
                    _ => wrong.push(format!("{file}: {of}::{name}")),
                }
            }
        }
    }
    assert!(wrong.is_empty() && count >= 100, "{count}: {wrong:?}");
    assert_eq!(has_member(&texts, "WebSocket", "split"), Some(true));
    assert_eq!(has_member(&texts, "WebSocket", "splits"), Some(false));
    assert_eq!(has_member(&texts, "Web", "split"), None);
}

/// The names behind each `ErrorKind::` in `text`.
fn kinds_in(text: &str) -> BTreeSet<String> {
    let behind = text.split("ErrorKind::").skip(1);
    behind
        .map(|rest| rest[..rest.find(|c: char| !c.is_alphanumeric()).unwrap()].to_owned())
        .collect()
}

#[test]
fn the_kinds_that_are_always_transient_are_those_of_the_code() {
    let code = read("src/error.rs").unwrap();
    let arms = code.split_once("impl ErrorKind {").unwrap().1;
    let always = arms.split_once("| ErrorKind::Handshake(").unwrap().0;
    let page = read("docs/RUST.md").unwrap();
    let rows: Vec<Vec<&str>> = page.lines().filter_map(cells).collect();
    let row = rows.iter().find(|row| row[1] == "yes" && row[0].contains("`Resolve`")).unwrap();
    let named: BTreeSet<String> = row[0].split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert_eq!(named, kinds_in(always));
}

#[test]
fn the_readme_is_short() {
    let lines = read("README.md").unwrap().lines().count();
    assert!(lines <= 200, "{lines} lines: details belong to a page in docs");
}

#[test]
fn forty_questions_have_an_answer() {
    let text = read("docs/README.md").unwrap();
    let section = text.split("\n## Forty questions\n").nth(1).unwrap();
    let mut asked = BTreeMap::new();
    for cells in prose(section).into_iter().filter_map(cells).skip(1) {
        let [who, question, answer] = cells[..] else { panic!("{cells:?}") };
        assert!(!question.is_empty(), "{cells:?}");
        // `no_link_leads_nowhere` checks that the target exists.
        let leads = targets(answer);
        assert!(leads.len() == 1 && leads[0].contains('#'), "{question}: {answer}");
        *asked.entry(who).or_insert(0) += 1;
    }
    let who = ["Rust author", "auditor", "embedder", "script author"];
    assert_eq!(asked, who.map(|who| (who, 10)).into());
}

#[test]
fn the_page_on_features_has_those_of_the_manifest_and_their_crates() {
    let (manifest, page) = (read("Cargo.toml").unwrap(), read("docs/FEATURES.md").unwrap());
    let section = manifest.split("\n[features]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let lines = section.lines().filter(|line| !line.starts_with('#'));
    let features: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(" = ")).collect();
    let mut rows = BTreeMap::new();
    for cells in prose(&page).into_iter().filter_map(cells).filter(|c| c[0].starts_with('`')) {
        rows.insert(cells[0].trim_matches('`').to_owned(), cells[2].to_owned());
    }
    let (default, others): (Vec<_>, Vec<_>) =
        features.iter().partition(|(name, _)| *name == "default");
    let named: BTreeSet<String> = others.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(rows.keys().cloned().collect::<BTreeSet<_>>(), named);
    assert_eq!(default.len(), 1);
    // The list is on several lines if cargo has rewritten the manifest.
    let list = section.split("default = [").nth(1).unwrap().split(']').next().unwrap();
    let list: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    let line = format!(
        "Default: {}.",
        list.iter().map(|f| format!("`{f}`")).collect::<Vec<_>>().join(", ")
    );
    assert!(page.contains(&line), "{line}");

    let footprint = read("tests/footprint.txt").unwrap();
    let crates = |set: &str| -> usize {
        let line = footprint.lines().find_map(|line| line.strip_prefix(&format!("[{set}] ")));
        line.unwrap().parse().unwrap()
    };
    for (place, text) in [
        ("none", format!("| {} crates |", crates("Linux: core"))),
        ("`net`", format!("{} crates in all", crates("Linux: net"))),
        ("`json`", format!("{} crates:", crates("Linux: json") - crates("Linux: net"))),
        ("`tls`", format!("{} crates in all", crates("Linux: tls"))),
        (
            "`system-roots`",
            format!("{} crates more", crates("Linux: system-roots") - crates("Linux: tls")),
        ),
        ("`luau`", format!("{} crates in all", crates("Linux: tls,luau"))),
        ("`deflate`", format!("| {} crate,", crates("Linux: deflate") - crates("Linux: core"))),
    ] {
        let row = page.lines().find(|line| line.starts_with(&format!("| {place} |"))).unwrap();
        assert!(row.contains(&text), "{place}: {text}");
    }
    for set in ["Linux", "Windows"] {
        let all = crates(&format!("{set}: default"));
        let counts = page.lines().find(|line| line.starts_with("The counts are of")).unwrap();
        assert!(
            counts.contains(&format!("{set}, where the default features have {all} crates"))
                || counts.contains(&format!("{set} has {all}.")),
            "{set}: {all}"
        );
    }
}

/// The documentation of each type with which a program begins has an example.
#[test]
fn what_one_begins_with_has_an_example() {
    let mut missing = Vec::new();
    for (file, items) in [
        ("src/error.rs", &["struct Error"][..]),
        ("src/limits.rs", &["struct Limits"]),
        ("src/policy.rs", &["struct Policy", "struct Allowed"]),
        ("src/trace.rs", &["struct Lines"]),
        ("src/luau/host_file.rs", &["struct HostFile"]),
        ("src/luau/io.rs", &["struct Io"]),
        ("src/luau/mod.rs", &["fn install"]),
        ("src/luau/options.rs", &["struct Options", "struct ScriptOptions"]),
        ("src/luau/pump.rs", &["struct Runtime"]),
        ("src/luau/script.rs", &["struct Script"]),
        ("src/luau/stopper.rs", &["struct Stopper"]),
        ("src/net/ask/config.rs", &["struct Config"]),
        ("src/net/ask/options.rs", &["struct Options"]),
        ("src/net/ask/proxy.rs", &["struct Proxy", "struct ProxyRules"]),
        ("src/net/ask/stream.rs", &["struct StreamOptions"]),
        ("src/net/event.rs", &["enum Closed"]),
        ("src/net/faces/client.rs", &["struct Client", "struct Events"]),
        ("src/net/faces/event_source.rs", &["struct EventSource"]),
        ("src/net/faces/halves.rs", &["struct Sender", "struct Receiver"]),
        ("src/net/faces/interrupter.rs", &["struct Interrupter"]),
        ("src/net/faces/message.rs", &["enum Message", "enum Received"]),
        ("src/net/faces/stream.rs", &["struct Stream", "fn get"]),
        ("src/net/faces/websocket.rs", &["struct WebSocket", "fn connect"]),
        ("src/net/reactor/conn.rs", &["trait Sink"]),
        ("src/net/reactor/mod.rs", &["struct Reactor"]),
        ("src/net/wire/tls.rs", &["fn tls_config"]),
        ("src/net/wire/tls/options.rs", &["struct TlsOptions"]),
        ("src/net/wire/tls/pin.rs", &["struct Pin"]),
        ("src/proto/http/request.rs", &["struct Request"]),
        ("src/proto/session.rs", &["struct Session"]),
        ("src/proto/ws/handshake.rs", &["struct Request"]),
        ("src/tape/record.rs", &["struct Tape"]),
    ] {
        let text = read(file).unwrap();
        for item in items {
            let start = format!("\npub {item}");
            let at = text.match_indices(&start).map(|(at, _)| at + 1).find(|&at| {
                !text[at + start.len() - 1..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
            });
            let at = at.unwrap_or_else(|| panic!("{file}: no {item}"));
            let above = text[..at].lines().rev();
            let above = above.take_while(|line| line.starts_with("///") || line.starts_with("#["));
            if !above.into_iter().any(|line| line.starts_with("/// ```")) {
                missing.push(format!("{file}: {item}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}
