//! Finds the arrows. An arrow runs from a file that uses a name to the file that defines the name,
//! through any list of `pub use`.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Files, Meaning, Mention, Tree, Use};

/// The first names of paths into other crates.
const OUTSIDE: &[&str] = &[
    "alloc",
    "base64",
    "core",
    "ctrlc",
    "getrandom",
    "mlua",
    "rustix",
    "rustls",
    "rustls_native_certs",
    "serde_core",
    "serde_json",
    "sha1_smol",
    "signal_hook",
    "socket2",
    "std",
    "webpki",
    "webpki_roots",
    "zlib_rs",
];

/// The name of the library in paths of the command.
const LIBRARY: &str = "moonwire";

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Module(usize),
    /// Names that a module defines.
    Item(usize, String),
    Outside,
}

/// The arrows, each as the using file and the defining file, with the names that are used.
pub(super) type Arrows = BTreeMap<(String, String), BTreeSet<String>>;

/// The `use` lines that are being followed, each as module, number and the searched name. A glob
/// may lead back to itself: the trail ends such a search.
type Trail = Vec<(usize, usize, String)>;

/// All arrows, and the names that could not be resolved.
pub(super) fn arrows(files: &Files) -> (Arrows, Vec<String>) {
    let tree = Tree::read(files);
    let mut seer = Seer { tree: &tree, arrows: Arrows::new(), complaints: tree.complaints.clone() };
    for (me, module) in tree.modules.iter().enumerate() {
        module.uses.iter().for_each(|import| seer.import(me, import));
        module.mentions.iter().for_each(|mention| seer.mention(me, mention));
    }
    (seer.arrows, seer.complaints)
}

struct Seer<'a> {
    tree: &'a Tree,
    arrows: Arrows,
    complaints: Vec<String>,
}

impl Seer<'_> {
    fn import(&mut self, me: usize, import: &Use) {
        let places = self.resolve(me, &import.path, &mut Vec::new());
        if places.is_empty() {
            self.complain(me, import.line, &import.path);
        }
        for place in places {
            // An export of names of the module's own children is a list, not a use; names in the
            // module's code count separately. A glob counts, since the names behind it are unknown.
            let is_list = import.is_public && !import.is_glob;
            if !matches!(place, Place::Item(of, _) if is_list && self.tree.is_below(of, me)) {
                self.arrow(me, place);
            }
        }
    }

    fn mention(&mut self, me: usize, mention: &Mention) {
        let first = &mention.path[0];
        let is_plain = ["crate", "super", "self", LIBRARY].contains(&first.as_str());
        if mention.path.len() == 1 && is_plain {
            return;
        }
        let known = !self.look_up(me, first, &mut Vec::new()).is_empty();
        if !known && !is_plain {
            // A variable, a name of the prelude, or a path into another crate.
            return;
        }
        let places = self.resolve(me, &mention.path, &mut Vec::new());
        if places.is_empty() {
            self.complain(me, mention.line, &mention.path);
        }
        places.into_iter().for_each(|place| self.arrow(me, place));
    }

    fn complain(&mut self, me: usize, line: usize, path: &[String]) {
        let file = &self.tree.modules[me].file;
        self.complaints.push(format!("src/{file}:{line}: {} is not found", path.join("::")));
    }

    fn arrow(&mut self, me: usize, place: Place) {
        let Place::Item(of, name) = place else { return };
        let (from, to) = (&self.tree.modules[me].file, &self.tree.modules[of].file);
        if from != to {
            self.arrows.entry((from.clone(), to.clone())).or_default().insert(name);
        }
    }

    /// The targets of a path in `me`. There may be several: a name may be a module and a function,
    /// and a module may exist twice.
    fn resolve(&self, me: usize, path: &[String], trail: &mut Trail) -> Vec<Place> {
        let mut places = self.first(me, path, trail);
        for name in &path[1..] {
            let next = |place| match place {
                Place::Module(of) if name == "super" => self.above(of),
                Place::Module(of) => self.look_up(of, name, trail),
                // A function has no items below it. Below a type, the name is a variant or an item
                // of the type.
                Place::Item(_, ref of) if of.starts_with(char::is_lowercase) => vec![],
                place => vec![place],
            };
            places = places.into_iter().flat_map(next).collect();
        }
        places.sort();
        places.dedup();
        places
    }

    fn first(&self, me: usize, path: &[String], trail: &mut Trail) -> Vec<Place> {
        let root = |name: &str| self.tree.modules.iter().position(|m| m.file == name);
        match path[0].as_str() {
            "self" => vec![Place::Module(me)],
            "super" => self.above(me),
            "crate" => vec![Place::Module(self.root(me))],
            name => match self.look_up(me, name, trail) {
                found if !found.is_empty() => found,
                _ if name == LIBRARY => root("lib.rs").map(Place::Module).into_iter().collect(),
                _ if OUTSIDE.contains(&name) => vec![Place::Outside],
                _ => vec![],
            },
        }
    }

    fn above(&self, me: usize) -> Vec<Place> {
        self.tree.modules[me].parent.map(Place::Module).into_iter().collect()
    }

    fn root(&self, me: usize) -> usize {
        self.tree.modules[me].parent.map_or(me, |parent| self.root(parent))
    }

    /// The meaning of `name` in a module. Globs count if nothing else in the module has the name.
    fn look_up(&self, me: usize, name: &str, trail: &mut Trail) -> Vec<Place> {
        let module = &self.tree.modules[me];
        let mut places = Vec::new();
        for (_, meaning) in module.names.iter().filter(|(own, _)| own == name) {
            places.extend(match meaning {
                Meaning::Item => vec![Place::Item(me, name.to_owned())],
                Meaning::Module(of) => vec![Place::Module(*of)],
                Meaning::Import(number) => self.follow(me, *number, name, trail),
            });
        }
        let globs = module.uses.iter().enumerate().filter(|(_, import)| import.is_glob);
        if places.is_empty() {
            places.extend(globs.flat_map(|(number, _)| self.follow(me, number, name, trail)));
        }
        places
    }

    /// What the `use` with this number gives `name` as its meaning.
    fn follow(&self, me: usize, number: usize, name: &str, trail: &mut Trail) -> Vec<Place> {
        let step = (me, number, name.to_owned());
        if trail.contains(&step) {
            return vec![];
        }
        trail.push(step);
        let import = &self.tree.modules[me].uses[number];
        let mut places = self.resolve(me, &import.path, trail);
        if import.is_glob {
            let below = |place| match place {
                Place::Module(of) => self.look_up(of, name, trail),
                // A glob of an enum: the arrow to the enum exists already.
                _ => vec![],
            };
            places = places.into_iter().flat_map(below).collect();
        }
        trail.pop();
        places
    }
}
