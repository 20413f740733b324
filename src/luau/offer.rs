//! What the embedder adds to the environment of scripts: services, globals, enums.

use mlua::{Lua, Table, Value};

use super::error::Error;
use super::options::Offer;

/// The additions, as values of the VM.
pub(super) struct Additions {
    /// Name → service.
    pub(super) services: Table,
    pub(super) globals: Vec<(String, Value)>,
    /// In the form that `enums.luau` takes: the items in a list, and the `name`.
    pub(super) enums: Table,
}

/// The members of `game` that are not services, and our service.
const TAKEN: [&str; 7] =
    ["ClassName", "FindService", "GetService", "HttpService", "IsA", "IsLoaded", "Name"];
/// Our enums, and the other members of `Enum`.
const TAKEN_ENUMS: [&str; 5] = [
    "GetEnums",
    "HttpCompression",
    "HttpContentType",
    "WebStreamClientState",
    "WebStreamClientType",
];
/// The members that each enum has.
const TAKEN_ITEMS: [&str; 3] = ["FromName", "FromValue", "GetEnumItems"];

impl Additions {
    /// Checks the names, then creates all values.
    pub(super) fn new(lua: &Lua, offer: Offer) -> Result<Additions, Error> {
        unique("Options::service", offer.services.iter().map(|(name, _)| &**name), &TAKEN)?;
        unique("Options::global", offer.globals.iter().map(|(name, _)| &**name), &[])?;
        unique("Options::enumeration", offer.enums.iter().map(|(name, _)| &**name), &TAKEN_ENUMS)?;
        let enums = lua.create_table()?;
        for (name, items) in offer.enums {
            let what = format!("Options::enumeration: {name}");
            unique(&what, items.iter().map(|item| &**item), &TAKEN_ITEMS)?;
            let list = lua.create_sequence_from(items)?;
            list.raw_set("name", name)?;
            enums.raw_push(list)?;
        }
        let services = lua.create_table()?;
        for (name, make) in offer.services {
            match make(lua)? {
                Value::Nil => {
                    return Err(Error::Options(format!("Options::service: {name} is nil")));
                }
                value => services.raw_set(name, value)?,
            }
        }
        let globals = offer.globals.into_iter().map(|(name, make)| Ok((name, make(lua)?)));
        Ok(Additions { services, globals: globals.collect::<mlua::Result<_>>()?, enums })
    }
}

/// Refuses a name that is listed twice or already exists.
fn unique<'a>(
    what: &str,
    names: impl Iterator<Item = &'a str>,
    taken: &[&str],
) -> Result<(), Error> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if taken.contains(&name) || !seen.insert(name) {
            let name = name.escape_debug();
            return Err(Error::Options(format!("{what}: there is a \"{name}\" already")));
        }
    }
    Ok(())
}
