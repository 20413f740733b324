//! Sources of modules for `require`.

use std::io;

use mlua::MaybeSend;

/// A tree of files in which `require` looks for modules ([`Options::modules`](super::Options::modules)).
///
/// A closure `|path: &str| -> io::Result<Option<Vec<u8>>>` implements it: it may read from memory
/// or from an archive, or have no modules.
///
/// ```
/// use std::collections::HashMap;
///
/// use moonwire::luau::{Line, Options, Runtime};
///
/// let files = HashMap::from([
///     ("lib/greet.luau", "return function(name) return 'hello ' .. name end"),
///     (".luaurc", r#"{ "aliases": { "lib": "./lib" } }"#),
/// ]);
/// let options = Options::new(|line: Line<'_>| assert_eq!(line.to_string(), "hello world"))
///     .modules(move |path: &str| Ok(files.get(path).map(|text| text.as_bytes().to_vec())));
/// let mut runtime = Runtime::new(options)?;
/// // The name of a script is its place in the tree.
/// runtime.spawn("main.luau", "print(require('@lib/greet')('world'))", ())?;
/// runtime.run()?;
/// assert!(!runtime.has_raised());
/// # Ok::<(), moonwire::luau::Error>(())
/// ```
pub trait Modules: MaybeSend {
    /// Returns the bytes of the file `path`, or `None` if there is no such file. For a module,
    /// `require` asks for `name.luau`, `name.lua`, `name/init.luau` and `name/init.lua`. If a path
    /// starts with an alias, it asks for `.luaurc` in the folders from the script's upwards.
    ///
    /// Parts of a path are separated by `/`; none of them is empty, `.` or `..`. A path starts with
    /// [`Modules::base`] if that is absolute.
    ///
    /// # Errors
    ///
    /// Why the file exists but cannot be read. The error is raised in the script.
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>>;

    /// The folder of scripts whose names are not absolute paths. The default, `""`, is the root of
    /// the tree.
    ///
    /// # Errors
    ///
    /// Why there is no such folder. The error is raised in the script.
    fn base(&self) -> io::Result<String> {
        Ok(String::new())
    }
}

impl<F: Fn(&str) -> io::Result<Option<Vec<u8>>> + MaybeSend> Modules for F {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self(path)
    }
}

/// The files of the system, relative to the working directory. This is the default of
/// [`Options::modules`](super::Options::modules).
#[derive(Clone, Copy, Debug, Default)]
pub struct Files;

impl Modules for Files {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        // A pipe or a device of that name is not a module; a read from it might never end.
        match std::fs::metadata(path) {
            Ok(about) if about.is_file() => std::fs::read(path).map(Some),
            Ok(_) => Ok(None),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn base(&self) -> io::Result<String> {
        Ok(std::path::absolute(".")?.to_string_lossy().into_owned())
    }
}

/// A file is also absent if a folder of its path is a file, or if its name is not valid.
fn is_absent(e: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, NotFound};
    matches!(e.kind(), NotFound | NotADirectory | InvalidInput | InvalidFilename)
}
