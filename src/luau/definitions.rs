//! Definition files for luau-lsp, made from parts (also a module of `tests/types`).

/// All types that a script can use, as a definition file for luau-lsp; `moonwire types` prints it.
pub const TYPES: &str = include_str!("moonwire.d.luau");

/// `types` with the additions of each text of `more`.
pub(super) fn with(types: &str, more: &[&str]) -> String {
    more.iter().fold(types.to_owned(), |types, more| add(types, more))
}

/// Adds definitions. A paragraph `-- into NAME` is added to the type NAME, and `-- into NAME
/// extends OTHER` also makes that type extend OTHER; the text after the last such paragraph is
/// inserted before `game`.
fn add(mut types: String, more: &str) -> String {
    let mut rest = more;
    while let Some((_, into)) = rest.split_once("-- into ") {
        let (paragraph, behind) = into.split_once("\n\n").unwrap_or((into, ""));
        let (head, lines) = paragraph.split_once('\n').unwrap_or((paragraph, ""));
        insert(&mut types, head, lines);
        rest = behind;
    }
    let game = types.find("\n-- game -").unwrap_or(types.len());
    types.insert_str(game, &format!("\n{}\n", rest.trim()));
    types
}

fn insert(types: &mut String, head: &str, lines: &str) {
    let name = head.split(' ').next().unwrap_or(head);
    let start = format!("\ndeclare extern type {name} ");
    if head != name {
        *types = types.replacen(&start, &format!("\ndeclare extern type {head} "), 1);
    }
    let Some(start) = types.find(&start) else { return };
    let Some(end) = types[start..].find("\nend\n").map(|n| start + n) else { return };
    types.insert_str(end, &format!("\n{lines}"));
    // A member that an addition makes writable must not stay read-only.
    for line in lines.lines().filter_map(|line| line.strip_prefix('\t')) {
        let read = format!("\tread {line}\n");
        if let Some(at) = types[start..end].find(&read) {
            types.replace_range(start + at..start + at + read.len(), "");
        }
    }
}
