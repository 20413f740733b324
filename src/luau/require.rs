//! The natives that `require` uses: they find the calling script and the file of a path, and
//! compile its text. The prelude runs modules and waits for them (`prelude/require.luau`).
//!
//! Paths are those of Luau's require by string: `./` and `../` from the calling file, `@self` from
//! the module's own folder, and aliases of the nearest `.luaurc` upwards that has the alias.

use std::io;
use std::sync::{Arc, TryLockError};

use mlua::{Lua, LuaString, Table, Value};

use super::globals;
use super::host::{self, Host};
use super::luaurc;
use super::modules::Modules;
use super::watch::CHUNK;
use crate::proto::escape;

/// The registry table in which mlua keeps values that an embedder registered as modules.
const REGISTERED: &str = "_REGISTEREDMODULES";

/// Adds the natives:
///
/// * `requirer()`: the chunk name of the calling script (`=` for all that are not files), if it can
///   be determined, and the position that its errors begin with;
/// * `registered(path)`: the value that the embedder has registered under that name;
/// * `find(chunk_name, path)`: the key of a module, its name and its text; or nil and the error;
/// * `load_module(text, name)`: the function of the module; or nil and the syntax error.
pub(super) fn natives(lua: &Lua, host: &Arc<Host>, env: &Table, table: &Table) -> mlua::Result<()> {
    let requirer = |lua: &Lua, ()| Ok(requirer(lua));
    table.set("requirer", lua.create_function(requirer)?)?;
    let registered = |lua: &Lua, path: LuaString| {
        let all: Option<Table> = lua.named_registry_value(REGISTERED)?;
        // mlua keeps these names in lower case.
        let name = path.to_string_lossy().to_ascii_lowercase();
        all.map_or(Ok(Value::Nil), |all| all.raw_get(name))
    };
    table.set("registered", lua.create_function(registered)?)?;
    let its = Arc::clone(host);
    let find = move |lua: &Lua, (chunk, path): (LuaString, LuaString)| {
        let modules = match its.modules.try_lock() {
            Ok(modules) => modules,
            Err(TryLockError::Poisoned(e)) => e.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let problem = "the embedder's modules cannot be read while they are being read";
                return Ok((None, Some(problem.to_owned()), None));
            }
        };
        let found = find(&**modules, &chunk.to_string_lossy(), &path.to_string_lossy());
        // The text may be larger than the memory that is left.
        let found = found.and_then(|module| {
            let text = lua.create_string(&module.text).map_err(|e| e.to_string())?;
            Ok((module.key, module.name, text))
        });
        Ok(match found {
            Ok((key, name, text)) => (Some(key), Some(name), Some(text)),
            Err(problem) => (None, Some(problem), None),
        })
    };
    table.set("find", lua.create_function(find)?)?;
    let its = env.clone();
    let jit = host.jit;
    let load = move |lua: &Lua, (text, name): (LuaString, LuaString)| {
        let (name, env) = (name.to_string_lossy(), globals::shared(lua, &its));
        Ok(match host::load(lua, jit, &text.as_bytes(), &format!("@{name}"), Some(env)) {
            Ok(function) => (Some(function), None),
            Err(problem) => (None, Some(named(&name, problem))),
        })
    };
    table.set("load_module", lua.create_function(load)?)
}

/// Adds the chunk name to a syntax error without one: Luau's error about bytecode has no name.
pub(super) fn named(name: &str, problem: String) -> String {
    let has_name = problem.starts_with(name) || problem.starts_with("...");
    if has_name { problem } else { format!("{name}: {problem}") }
}

/// The chunk name of the nearest script function below `require`, and its position.
fn requirer(lua: &Lua) -> (Option<String>, String) {
    // The first levels are this native, the prelude's `require`, and the global that loads it.
    for level in 3.. {
        let frame = lua.inspect_stack(level, |debug| {
            let source = debug.source();
            let name = source.source.filter(|_| source.what != "C")?;
            let place = match (source.short_src, debug.current_line()) {
                (Some(short), Some(line)) => format!("{short}:{line}: "),
                _ => String::new(),
            };
            Some((name.into_owned(), place))
        });
        match frame {
            None => break,
            // The function is not Luau code; for example, it is `pcall`.
            Some(None) => {}
            Some(Some((name, _))) if name.starts_with(CHUNK) => break,
            // All chunks that are not files start from the base. Their names are not used, since
            // the prelude keeps an entry for each name, and a script can make up any number.
            Some(Some((name, place))) => {
                let name = if name.starts_with('@') { name } else { "=".to_owned() };
                return (Some(name), place);
            }
        }
    }
    (None, String::new())
}

/// A module that was found.
struct Found {
    /// The module's file, which is also its key.
    key: String,
    /// The name in errors, and of the chunk: without the extension; for an `init.luau`, the name of
    /// its folder.
    name: String,
    text: Vec<u8>,
}

/// The files that a module may be: one with its name, or one in the folder with its name.
fn candidates(place: &[String]) -> Vec<Place> {
    let mut files = Vec::new();
    // A file `init` is required by the name of its folder.
    if let Some((last, folder)) = place.split_last().filter(|(last, _)| *last != "init") {
        files.extend(["luau", "lua"].map(|ending| {
            let mut file = folder.to_vec();
            file.push(format!("{last}.{ending}"));
            file
        }));
    }
    files.extend(["init.luau", "init.lua"].map(|name| {
        let mut file = place.to_vec();
        file.push(name.to_owned());
        file
    }));
    files
}

fn find(modules: &dyn Modules, chunk: &str, path: &str) -> Result<Found, String> {
    let asked = escape(path.as_bytes(), 200);
    let base = modules.base().map_err(|e| format!("there is no working directory: {e}"))?;
    let tree = Tree::new(modules, &base);
    let place = tree.resolve(chunk, path).map_err(|e| format!("module \"{asked}\": {e}"))?;
    let (mut found, mut tried) = (None, Vec::new());
    for file in candidates(&place) {
        let (key, shown) = (tree.path(&file), tree.shown(&file));
        let text = modules.read(&key).map_err(|e| format!("{shown} cannot be read: {e}"))?;
        if let Some(text) = text {
            if let Some((_, other)) = found {
                return Err(format!("module \"{asked}\" could be {other} or {shown}"));
            }
            found = Some((Found { key, name: tree.shown(&place), text }, shown));
        } else {
            tried.push(shown);
        }
    }
    let module = found.map(|(module, _)| module);
    module.ok_or_else(|| format!("there is no module \"{asked}\" ({})", tried.join(", ")))
}

/// A place in the tree: the names of the folders from the root on, and of the file.
type Place = Vec<String>;

struct Tree<'a> {
    modules: &'a dyn Modules,
    /// The folder of scripts whose names are not absolute paths.
    base: Place,
    /// Whether paths start with a `/`.
    rooted: bool,
    /// Whether paths are Windows paths, as the base is one.
    drives: bool,
}

impl Tree<'_> {
    fn new<'a>(modules: &'a dyn Modules, base: &str) -> Tree<'a> {
        let base = slashed(base);
        let (root, rest) = split_root(&base);
        let names = rest.split('/').filter(|name| !matches!(*name, "" | "."));
        let (drives, rooted) = (root.is_some(), root.is_none() && rest.starts_with('/'));
        let base = root.into_iter().chain(names).map(str::to_owned).collect();
        Tree { modules, base, rooted, drives }
    }

    fn root<'a>(&self, path: &'a str) -> (Option<&'a str>, &'a str) {
        if self.drives { split_root(path) } else { (None, path) }
    }

    /// How many names at the start of a place `..` cannot remove.
    fn roots(&self, place: &[String]) -> usize {
        usize::from(place.first().is_some_and(|first| self.root(first).0.is_some()))
    }

    fn path(&self, place: &[String]) -> String {
        let path = place.join("/");
        if self.rooted { format!("/{path}") } else { path }
    }

    /// The place as errors show it: relative to the base, if it is below the base.
    fn shown(&self, place: &[String]) -> String {
        match place.strip_prefix(&*self.base) {
            Some([]) => ".".to_owned(),
            Some(below) => format!("./{}", below.join("/")),
            None => self.path(place),
        }
    }

    /// The place of a path that is relative to `place`, or absolute.
    fn from(&self, place: &[String], path: &str) -> Result<Place, String> {
        let (root, rest) = self.root(path);
        let from = match root {
            Some(root) => vec![root.to_owned()],
            // The path is on the drive of the base.
            None if rest.starts_with('/') => self.base[..self.roots(&self.base)].to_vec(),
            None => place.to_vec(),
        };
        self.walk(from, rest)
    }

    fn walk(&self, mut from: Place, path: &str) -> Result<Place, String> {
        for name in path.split('/') {
            match name {
                "" | "." => {}
                ".." if from.len() <= self.roots(&from) => {
                    return Err("the path leads out of the folders there are".to_owned());
                }
                ".." => drop(from.pop()),
                name => from.push(name.to_owned()),
            }
        }
        Ok(from)
    }

    /// The place of a chunk's file, whether or not the file exists.
    fn chunk(&self, chunk: &str) -> Result<Place, String> {
        // A text that is not a file counts as one in the base.
        let name = chunk.strip_prefix('@').unwrap_or("text");
        let name = if self.drives { slashed(name) } else { name.to_owned() };
        self.from(&self.base, &name)
    }

    fn resolve(&self, chunk: &str, path: &str) -> Result<Place, String> {
        let path = slashed(path);
        let chunk = self.chunk(chunk)?;
        let folder = chunk.split_last().map_or(&[][..], |(_, folder)| folder);
        if let Some(aliased) = path.strip_prefix('@') {
            let (alias, rest) = aliased.split_once('/').unwrap_or((aliased, ""));
            let alias = alias.to_ascii_lowercase();
            let place = match &*alias {
                "self" => own(&chunk),
                _ => self.alias(folder, &alias, &mut Vec::new())?,
            };
            return self.walk(place, rest);
        }
        match path.split('/').next() {
            Some("." | "..") => self.walk(folder.to_vec(), &path),
            _ => Err("a path starts with ./, ../ or @".to_owned()),
        }
    }

    /// The place of an alias as seen from a folder. `under_way`: the aliases that led to this one.
    fn alias(
        &self,
        folder: &[String],
        alias: &str,
        under_way: &mut Vec<String>,
    ) -> Result<Place, String> {
        for depth in (self.roots(folder)..=folder.len()).rev() {
            let folder = &folder[..depth];
            let Some(path) = self.aliases(folder)?.remove(alias) else {
                continue;
            };
            let path = slashed(&path);
            let Some(next) = path.strip_prefix('@') else {
                return self.from(folder, &path);
            };
            under_way.push(alias.to_owned());
            let (next, rest) = next.split_once('/').unwrap_or((next, ""));
            let next = next.to_ascii_lowercase();
            if under_way.contains(&next) {
                return Err(format!("alias \"@{alias}\" refers to itself"));
            }
            let place = self.alias(folder, &next, under_way)?;
            return self.walk(place, rest);
        }
        let alias = escape(alias.as_bytes(), 200);
        let folder = self.shown(folder);
        Err(format!("there is no alias \"@{alias}\" in a .luaurc from {folder} upwards"))
    }

    fn aliases(&self, folder: &[String]) -> Result<luaurc::Aliases, String> {
        let mut file = folder.to_vec();
        file.push(".luaurc".to_owned());
        let name = self.shown(&file);
        let text = self.modules.read(&self.path(&file));
        match text.map_err(|e: io::Error| format!("{name} cannot be read: {e}"))? {
            Some(text) => luaurc::aliases(&text).map_err(|e| format!("{name}: {e}")),
            None => Ok(luaurc::Aliases::new()),
        }
    }
}

/// The folder that belongs to a module: its file name without the extension; for an `init.luau`,
/// the folder of that file.
fn own(chunk: &[String]) -> Place {
    let mut place = chunk.to_vec();
    if let Some(name) = place.pop() {
        let stem = name.strip_suffix(".luau").or(name.strip_suffix(".lua"));
        if stem != Some("init") {
            place.push(stem.unwrap_or(&name).to_owned());
        }
    }
    place
}

fn slashed(path: &str) -> String {
    path.replace('\\', "/")
}

/// Splits a Windows path into its drive, or server and share, if it has one, and the rest.
fn split_root(path: &str) -> (Option<&str>, &str) {
    let end = match (path.strip_prefix("//"), path.as_bytes()) {
        (Some(rest), _) => rest.match_indices('/').nth(1).map_or(path.len(), |(end, _)| end + 2),
        (None, [letter, b':', ..]) if letter.is_ascii_alphabetic() => 2,
        _ => 0,
    };
    let (root, rest) = path.split_at(end);
    ((end > 0).then_some(root), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files by name; the text of each file is its name, or the text after `=`.
    struct Files(&'static [&'static str], &'static str);

    impl Modules for Files {
        fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
            let names = split_root(path).1;
            let names = names.strip_prefix('/').unwrap_or(names).split('/');
            assert!(names.clone().all(|name| !matches!(name, "" | "." | "..")), "{path}");
            if path.contains("broken") {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            let text = |file: &&str| match file.split_once('=') {
                Some((name, text)) => (name == path).then(|| text.into()),
                None => (*file == path).then(|| path.into()),
            };
            Ok(self.0.iter().find_map(text))
        }

        fn base(&self) -> io::Result<String> {
            Ok(self.1.to_owned())
        }
    }

    fn found(files: &Files, chunk: &str, path: &str) -> Result<String, String> {
        let found = find(files, chunk, path)?;
        assert_eq!(String::from_utf8(found.text).unwrap(), found.key);
        Ok(format!("{} {}", found.name, found.key))
    }

    const TREE: &[&str] = &[
        "a.luau",
        "b.lua",
        "c.d.luau",
        "sub/a.luau",
        "sub/init.luau",
        "sub/in/x.luau",
        "sub/in/init.lua",
        "two.luau",
        "two.lua",
        "three.lua",
        "three/init.luau",
        "init.luau",
        "x/init/init.luau",
        "x/init.lua",
        ".luaurc={\"aliases\":{\"Top\":\"./\",\"sub\":\"./sub\",\"abs\":\"/sub/in\",\"bare\":\"sub\"}}",
        "sub/.luaurc={\"aliases\":{\"in\":\"@sub/in\",\"up\":\"../\",\"sub\":\"./in\",\"r\":\"@s\",\"s\":\"@R/x\",\"no\":\"@none\",\"out\":\"../..\"}}",
        "bad/.luaurc={\n1}",
    ];

    /// A drive or a share, which no `..` leaves, and both kinds of slashes.
    #[test]
    fn a_path_of_windows_means_a_file() {
        let files: &[&str] = &[
            "C:/w/a.luau",
            "C:/b.luau",
            "D:/b.luau",
            "//host/share/a.luau",
            ".luaurc={\"aliases\":{\"d\":\"C:/\",\"top\":\"C:/\"}}",
            "C:/w/.luaurc={\"aliases\":{\"d\":\"D:\\\\\",\"net\":\"//host/share\",\"top\":\"/\"}}",
        ];
        for (base, chunk, path, want) in [
            ("C:\\w", "@main.luau", "./a", Some("C:/w/a.luau")),
            ("C:\\w", "@C:\\w\\main.luau", "..\\b", Some("C:/b.luau")),
            ("C:\\w", "@sub\\main.luau", "../a", Some("C:/w/a.luau")),
            ("C:\\w", "@D:/main.luau", "./b", Some("D:/b.luau")),
            ("C:\\w", "@\\main.luau", "./b", Some("C:/b.luau")),
            ("C:\\w", "@\\\\host\\share\\main.luau", "./a", Some("//host/share/a.luau")),
            ("\\\\host\\share", "@main.luau", "./a", Some("//host/share/a.luau")),
            ("C:\\w", "@main.luau", "@d/b", Some("D:/b.luau")),
            ("C:\\w", "@main.luau", "@net/a", Some("//host/share/a.luau")),
            ("C:\\w", "@main.luau", "@top/b", Some("C:/b.luau")),
            ("C:\\w", "@main.luau", "../../b", None),
            ("\\\\host\\share", "@main.luau", "../share/a", None),
            // Each drive has its own working directory.
            ("C:\\w", "@D:/main.luau", "@d/b", None),
            ("\\\\host\\share", "@main.luau", "@top/b", None),
        ] {
            let found = find(&Files(files, base), chunk, path);
            let key = found.as_ref().map(|found| &*found.key);
            assert_eq!(key.ok(), want, "{base} {chunk} {path}: {:?}", key.err());
        }
    }

    #[test]
    fn a_path_means_a_file_as_luau_has_it() {
        let tree = Files(TREE, "");
        for (chunk, path, want) in [
            ("@main.luau", "./a", "./a a.luau"),
            ("@main", "./b", "./b b.lua"),
            ("@main.luau", "./c.d", "./c.d c.d.luau"),
            ("@main.luau", "././/a", "./a a.luau"),
            ("@main.luau", ".\\sub\\a", "./sub/a sub/a.luau"),
            ("@main.luau", "./sub/../a", "./a a.luau"),
            ("@main.luau", "./sub", "./sub sub/init.luau"),
            ("@main.luau", "./sub/", "./sub sub/init.luau"),
            ("@main.luau", "./sub/in", "./sub/in sub/in/init.lua"),
            ("@./main.luau", "./sub/in/x", "./sub/in/x sub/in/x.luau"),
            ("@/main.luau", "./a", "./a a.luau"),
            ("@sub/a", "./a", "./sub/a sub/a.luau"),
            ("@sub/a", "../a", "./a a.luau"),
            ("@sub/a", "..", ". init.luau"),
            ("@sub/a", ".", "./sub sub/init.luau"),
            // A folder with an `init` is a module: its neighbours are the folder's.
            ("@./sub", "./a", "./a a.luau"),
            ("@./sub", "@self/a", "./sub/a sub/a.luau"),
            ("@sub/init.luau", "@self/a", "./sub/a sub/a.luau"),
            ("@sub.luau", "@SELF/in/x", "./sub/in/x sub/in/x.luau"),
            ("@main.luau", "./x/init", "./x/init x/init/init.luau"),
            // Names that are not files start from the base.
            ("=text", "./a", "./a a.luau"),
            ("local x = 1", "./a", "./a a.luau"),
            ("=/sub/text", "./a", "./a a.luau"),
            ("@stdin", "./a", "./a a.luau"),
            ("@no/such/file", "../../a", "./a a.luau"),
            // Aliases are case-insensitive, and the nearest file that has an alias counts.
            ("@main.luau", "@top/a", "./a a.luau"),
            ("@main.luau", "@TOP", ". init.luau"),
            ("@main.luau", "@sub", "./sub sub/init.luau"),
            ("@main.luau", "@abs/x", "./sub/in/x sub/in/x.luau"),
            ("@main.luau", "@bare/a", "./sub/a sub/a.luau"),
            ("@sub/in/x", "@top/a", "./a a.luau"),
            ("@sub/in/x", "@sub/x", "./sub/in/x sub/in/x.luau"),
            ("@sub/a", "@up/b", "./b b.lua"),
        ] {
            assert_eq!(found(&tree, chunk, path).as_deref(), Ok(want), "{chunk} {path}");
        }
    }

    #[test]
    fn what_is_not_found_says_what_was_looked_for() {
        let tree = Files(TREE, "");
        for (chunk, path, want) in [
            (
                "@main.luau",
                "./missing",
                "there is no module \"./missing\" (./missing.luau, ./missing.lua, \
                 ./missing/init.luau, ./missing/init.lua)",
            ),
            ("@main.luau", "./\n", "there is no module \"./\\n\" (./"),
            ("@main.luau", "./two", "module \"./two\" could be ./two.luau or ./two.lua"),
            ("@main.luau", "./three", "could be ./three.lua or ./three/init.luau"),
            ("@main.luau", "a", "module \"a\": a path starts with ./, ../ or @"),
            ("@main.luau", "", "module \"\": a path starts with"),
            ("@main.luau", "/a", "a path starts with"),
            ("@main.luau", ".../a", "a path starts with"),
            ("@main.luau", "../a", "module \"../a\": the path leads out of the folders"),
            ("@sub/a", "@out", "the path leads out of the folders"),
            ("@main.luau", "@none/x", "there is no alias \"@none\" in a .luaurc from . upwards"),
            ("@main.luau", "@", "there is no alias \"@\" in a .luaurc"),
            (
                "@sub/in/x",
                "@none",
                "there is no alias \"@none\" in a .luaurc from ./sub/in upwards",
            ),
            ("@sub/x", "@no/x", "there is no alias \"@none\" in a .luaurc from ./sub upwards"),
            ("@sub/x", "@r", "alias \"@s\" refers to itself"),
            ("@sub/x", "@s", "alias \"@r\" refers to itself"),
            ("@bad/x", "@top", "module \"@top\": ./bad/.luaurc: line 2: a string expected, got 1}"),
            ("@main.luau", "./broken", "./broken.luau cannot be read: permission denied"),
            ("@broken/x", "@x", "./broken/.luaurc cannot be read: permission denied"),
        ] {
            let problem = found(&tree, chunk, path).unwrap_err();
            assert!(problem.contains(want), "{chunk} {path}: {problem}");
        }
        // The path of an alias begins with another alias of the same file.
        let problem = found(&tree, "@sub/x", "@in").unwrap_err();
        assert!(problem.contains("./sub/in/in.luau"), "{problem}");
    }

    #[test]
    fn the_base_is_where_relative_names_are() {
        let tree = Files(
            &["/p/a.luau", "/p/sub/b.luau", "/c.luau", "/p/.luaurc={\"aliases\":{\"c\":\"/c\"}}"],
            "/p",
        );
        for (chunk, path, want) in [
            ("@main.luau", "./a", "./a /p/a.luau"),
            ("=text", "./sub/b", "./sub/b /p/sub/b.luau"),
            ("@/p/sub/main.luau", "./b", "./sub/b /p/sub/b.luau"),
            ("@/p/sub/main.luau", "../../c", "/c /c.luau"),
            ("@../main.luau", "./c", "/c /c.luau"),
            ("@/main.luau", "./c", "/c /c.luau"),
            ("@main.luau", "@c", "/c /c.luau"),
        ] {
            assert_eq!(found(&tree, chunk, path).as_deref(), Ok(want), "{chunk} {path}");
        }
    }
}
