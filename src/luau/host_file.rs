//! Host files: Luau files that run before the scripts and add to their environment.

use std::borrow::Cow;
use std::fmt;

use super::definitions::{self, TYPES};
use super::watch::CHUNK;

/// The host files of this crate, by name.
const SHIPPED: [(&str, &str); 3] = [
    ("studio", include_str!("hosts/studio.luau")),
    ("executor", include_str!("hosts/executor.luau")),
    ("world", include_str!("hosts/world.luau")),
];

/// A Luau file that runs before the scripts. With the table `host`, which only host files have, it
/// adds services, globals, enums, signals and objects to the environment of scripts. `docs/LUAU.md`
/// lists the functions.
///
/// ```
/// use moonwire::luau::{HostFile, Line, Options, Runtime};
///
/// let text = r#"
///     local score, fire = host.signal()
///     host.service("Scores", host.object("Scores", { Changed = score, Best = 5 }))
///     host.global("report", function(points) fire(points) end)
/// "#;
/// let options = Options::new(|line: Line<'_>| assert_eq!(line.text, "7 beats 5"))
///     .host(HostFile::new("scores.luau", text));
/// let mut runtime = Runtime::new(options)?;
/// let script = r#"
///     local scores = game:GetService("Scores")
///     scores.Changed:Once(function(points) print(points, "beats", scores.Best) end)
///     report(7)
/// "#;
/// runtime.spawn("script", script, ())?;
/// runtime.run()?;
/// # Ok::<(), moonwire::luau::Error>(())
/// ```
#[derive(Clone)]
pub struct HostFile {
    pub(super) name: String,
    pub(super) text: Cow<'static, [u8]>,
}

impl HostFile {
    /// A file of the program; `name` is its name in errors.
    pub fn new(name: &str, text: impl Into<Vec<u8>>) -> HostFile {
        HostFile { name: format!("@{name}"), text: Cow::Owned(text.into()) }
    }

    /// The environment of a plugin in Roblox Studio, in edit mode: `plugin`, `script`,
    /// `Instance.new`, RunService, LogService, StudioService, ChangeHistoryService, Selection. Its
    /// text is `src/luau/hosts/studio.luau`.
    pub fn studio() -> HostFile {
        HostFile::shipped("studio")
    }

    /// The environment of a script in an executor: `Players.LocalPlayer`, `game.PlaceId`,
    /// `game:HttpGet`, `request`, `identifyexecutor`, `Instance.new`, RunService, LogService and
    /// some more. Its text is `src/luau/hosts/executor.luau`.
    pub fn executor() -> HostFile {
        HostFile::shipped("executor")
    }

    /// A host file of this crate, by name: `studio` or `executor`.
    pub fn named(name: &str) -> Option<HostFile> {
        (name != WORLD && shipped(name).is_some()).then(|| HostFile::shipped(name))
    }

    /// The types that scripts have with this host, for luau-lsp; [`TYPES`](super::TYPES) has the
    /// types without a host. `None` for a file of the program.
    pub fn types(&self) -> Option<String> {
        let name =
            SHIPPED.iter().map(|(name, _)| *name).find(|name| self.name == chunk_name(name))?;
        let (own, player) = match name {
            "studio" => (include_str!("hosts/studio.d.luau"), "nil"),
            "executor" => (include_str!("hosts/executor.d.luau"), "Player"),
            _ => return None,
        };
        let world = include_str!("hosts/world.d.luau").replace("LOCAL_PLAYER", player);
        Some(definitions::with(TYPES, &[&world, own]))
    }

    fn shipped(name: &str) -> HostFile {
        let text = shipped(name).unwrap_or_default();
        HostFile { name: chunk_name(name), text: Cow::Borrowed(text.as_bytes()) }
    }
}

impl fmt::Debug for HostFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostFile").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The base of the other host files; it is not a host by itself.
const WORLD: &str = "world";

pub(super) fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(its, _)| *its == name).map(|(_, text)| *text)
}

/// The chunk name of a host file. Tracebacks leave out the frames of these files, like those of the
/// prelude.
pub(super) fn chunk_name(name: &str) -> String {
    format!("{CHUNK} host {name}")
}

/// The player and the place for host files, from the options.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) player: String,
    pub(super) player_id: i64,
    pub(super) place: u64,
}

impl Default for Identity {
    /// The values of a test in Studio.
    fn default() -> Identity {
        Identity { player: "Player1".to_owned(), player_id: -1, place: 0 }
    }
}
