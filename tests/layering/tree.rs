//! The modules of the crate, with their items, their `use` lines and the paths in their code.

use std::collections::{BTreeMap, BTreeSet};

use super::lexer::{Token, closed, stands, tokens};

/// Files below `src`, with their text.
pub(crate) type Files = BTreeMap<String, String>;

/// The meaning of a name in a module.
#[derive(Debug)]
pub(super) enum Meaning {
    /// An item that the module defines.
    Item,
    Module(usize),
    /// The `use` with this number.
    Import(usize),
}

#[derive(Debug)]
pub(super) struct Use {
    pub(super) path: Vec<String>,
    pub(super) is_glob: bool,
    /// Whether it exports names: `pub use`, `pub(crate) use`.
    pub(super) is_public: bool,
    pub(super) line: usize,
}

/// A path in code.
#[derive(Debug)]
pub(super) struct Mention {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
}

#[derive(Debug, Default)]
pub(super) struct Module {
    pub(super) file: String,
    pub(super) parent: Option<usize>,
    pub(super) names: Vec<(String, Meaning)>,
    pub(super) uses: Vec<Use>,
    pub(super) mentions: Vec<Mention>,
}

#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) modules: Vec<Module>,
    pub(super) complaints: Vec<String>,
}

const DEFINE: &[&str] = &["fn", "struct", "enum", "trait", "type", "const", "static", "union"];

impl Tree {
    /// Reads the modules of the library and of the command, each from its root.
    pub(super) fn read(files: &Files) -> Tree {
        let mut tree = Tree::default();
        for root in ["lib.rs", "main.rs"].into_iter().filter(|root| files.contains_key(*root)) {
            tree.file(files, root.to_owned(), None);
        }
        let read: BTreeSet<_> = tree.modules.iter().map(|module| module.file.clone()).collect();
        let lost = files.keys().filter(|file| !read.contains(*file));
        tree.complaints.extend(lost.map(|file| format!("src/{file}: no module declares it")));
        tree
    }

    fn add(&mut self, file: &str, parent: Option<usize>) -> usize {
        self.modules.push(Module { file: file.to_owned(), parent, ..Module::default() });
        self.modules.len() - 1
    }

    fn file(&mut self, files: &Files, file: String, parent: Option<usize>) -> usize {
        let me = self.add(&file, parent);
        let tokens = tokens(&files[&file]);
        let count = |marks: [&str; 3]| tokens.iter().filter(|t| marks.contains(&t.text)).count();
        if count(["{", "(", "["]) != count(["}", ")", "]"]) {
            // The lexer has misread a literal, which may hide half a file.
            self.complaints.push(format!("src/{file}: brackets do not match"));
        }
        self.module(files, me, &tokens);
        me
    }

    fn module(&mut self, files: &Files, me: usize, tokens: &[Token<'_>]) {
        let (mut at, mut depth, mut twin) = (0, 0, None);
        while at < tokens.len() {
            let text = tokens[at].text;
            match text {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            let is_use = text == "use" && !stands(tokens, at + 1, &["<"]);
            at = match text {
                "#" if stands(tokens, at + 1, &["["]) || stands(tokens, at + 1, &["!", "["]) => {
                    if stands(tokens, at + 1, &["[", "path", "="]) {
                        twin = Some(tokens[at + 4].text.trim_matches('"').to_owned());
                    }
                    closed(tokens, at + if tokens[at + 1].text == "!" { 2 } else { 1 })
                }
                "pub" if stands(tokens, at + 1, &["("]) => closed(tokens, at + 1),
                "use" if is_use => self.imports(me, tokens, at + 1),
                "mod" if depth == 0 => self.child(files, me, tokens, at + 1, twin.take()),
                _ if depth == 0 && DEFINE.contains(&text) => self.define(me, tokens, at + 1),
                _ if tokens[at].is_name() => self.mention(me, tokens, at),
                _ => at + 1,
            };
        }
    }

    /// Reads `mod name;` or `mod name { … }`, from the name on.
    fn child(
        &mut self,
        files: &Files,
        me: usize,
        tokens: &[Token<'_>],
        at: usize,
        twin: Option<String>,
    ) -> usize {
        let (name, line) = (tokens[at].text, tokens[at].line);
        let own = self.modules[me].file.clone();
        if stands(tokens, at + 1, &["{"]) {
            let end = closed(tokens, at + 1);
            let child = self.add(&own, Some(me));
            self.modules[me].names.push((name.to_owned(), Meaning::Module(child)));
            self.module(files, child, &tokens[at + 2..end - 1]);
            return end;
        }
        match places(&own, name, twin).into_iter().find(|place| files.contains_key(place)) {
            Some(file) => {
                let child = self.file(files, file, Some(me));
                self.modules[me].names.push((name.to_owned(), Meaning::Module(child)));
            }
            None => self.complaints.push(format!("src/{own}:{line}: mod {name} has no file")),
        }
        at + 2
    }

    fn define(&mut self, me: usize, tokens: &[Token<'_>], at: usize) -> usize {
        match tokens.get(at) {
            // `const fn`, `const _` and the type `fn(…)` define no name here.
            Some(name) if name.is_name() && !DEFINE.contains(&name.text) && name.text != "_" => {
                self.modules[me].names.push((name.text.to_owned(), Meaning::Item));
                at + 1
            }
            _ => at,
        }
    }

    /// Reads the tree behind `use`, to its end.
    fn imports(&mut self, me: usize, tokens: &[Token<'_>], at: usize) -> usize {
        let before = at.checked_sub(2).map_or("", |i| tokens[i].text);
        let is_public = ["pub", ")"].contains(&before);
        let end = at + tokens[at..].iter().position(|t| t.text == ";").unwrap_or(0);
        self.branch(me, &tokens[at..end], &[], is_public);
        end + 1
    }

    /// Reads one branch of such a tree, below `stem`.
    fn branch(&mut self, me: usize, tokens: &[Token<'_>], stem: &[String], is_public: bool) {
        let mut path = stem.to_vec();
        let mut name = None;
        let mut is_glob = false;
        for (i, token) in tokens.iter().enumerate() {
            match token.text {
                "::" => {}
                "{" => {
                    let inside = &tokens[i + 1..closed(tokens, i) - 1];
                    return parts(inside).for_each(|part| self.branch(me, part, &path, is_public));
                }
                "*" => is_glob = true,
                "self" if !path.is_empty() => {}
                "as" => {
                    name = tokens.get(i + 1).map(|token| token.text.to_owned());
                    break;
                }
                text => path.push(text.to_owned()),
            }
        }
        let (Some(token), Some(last)) = (tokens.first(), path.last().cloned()) else { return };
        let module = &mut self.modules[me];
        if !is_glob {
            let import = Meaning::Import(module.uses.len());
            module.names.push((name.unwrap_or(last), import));
        }
        module.uses.push(Use { path, is_glob, is_public, line: token.line });
    }

    /// Reads the path that begins at `at`. Fields and methods do not count, nor the rest of a path
    /// behind a type.
    fn mention(&mut self, me: usize, tokens: &[Token<'_>], at: usize) -> usize {
        let mut path = vec![tokens[at].text.to_owned()];
        let mut end = at + 1;
        while stands(tokens, end, &["::"]) && tokens.get(end + 1).is_some_and(Token::is_name) {
            path.push(tokens[end + 1].text.to_owned());
            end += 2;
        }
        let before = at.checked_sub(1).map_or("", |i| tokens[i].text);
        let is_range = at > 1 && before == "." && tokens[at - 2].text == ".";
        let is_label = path.len() == 1 && stands(tokens, end, &[":"]);
        if (is_range || ![".", "::", "fn"].contains(&before)) && !is_label {
            self.modules[me].mentions.push(Mention { path, line: tokens[at].line });
        }
        end
    }

    /// Whether `module` is below `above`.
    pub(super) fn is_below(&self, module: usize, above: usize) -> bool {
        let mut parents = std::iter::successors(Some(module), |&m| self.modules[m].parent);
        parents.any(|parent| parent == above)
    }
}

/// The possible files of a module, for a `mod` in the file `own`.
fn places(own: &str, name: &str, twin: Option<String>) -> Vec<String> {
    let (folder, file) = own.rsplit_once('/').map_or(("", own), |(f, n)| (f, n));
    let within = |folder: &str, file: &str| match folder {
        "" => file.to_owned(),
        _ => format!("{folder}/{file}"),
    };
    if let Some(twin) = twin {
        return vec![within(folder, &twin)];
    }
    let folder = match file {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        _ => own.trim_end_matches(".rs").to_owned(),
    };
    vec![within(&folder, &format!("{name}.rs")), within(&folder, &format!("{name}/mod.rs"))]
}

/// The parts between commas, outside of braces.
fn parts<'a, 't>(tokens: &'t [Token<'a>]) -> impl Iterator<Item = &'t [Token<'a>]> {
    let mut depth = 0;
    tokens.split(move |token| {
        match token.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        depth == 0 && token.text == ","
    })
}
