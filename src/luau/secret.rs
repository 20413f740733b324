//! Secrets: text that a script can send and cannot read.

use std::fmt;

use mlua::{AnyUserData, Lua, LuaString, MaybeSend, Table, Value};

/// Stands in a script for its text. There is no way from the one to the other but [`reveal`].
pub(super) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The text of a `Secret`, for a request; `None` for any other userdata. It must get into nothing
/// that is shown: no error, no trace, no warning.
pub(super) fn reveal(value: &AnyUserData) -> Option<String> {
    value.borrow::<Secret>().ok().map(|secret| secret.0.clone())
}

/// Where secrets come from: a function. (A trait object has one trait that is no auto trait.)
pub(super) trait Lookup: MaybeSend {
    fn get(&self, name: &str) -> Option<String>;
}

impl<F: Fn(&str) -> Option<String> + MaybeSend> Lookup for F {
    fn get(&self, name: &str) -> Option<String> {
        self(name)
    }
}

pub(super) type Source = Box<dyn Lookup>;

/// Adds the natives: `secret(name)`, and `secret_join(secret, text, in_front)`, which gives a new
/// one, or what is wrong with the text, or nothing for a value that is no `Secret`.
pub(super) fn natives(
    lua: &Lua,
    table: &Table,
    get: impl Fn(&str) -> Option<String> + MaybeSend + 'static,
) -> mlua::Result<()> {
    let secret = move |lua: &Lua, name: LuaString| {
        let text = name.to_str().ok().and_then(|name| get(&name));
        text.map(|text| lua.create_any_userdata(Secret(text))).transpose()
    };
    table.set("secret", lua.create_function(secret)?)?;
    let join = |lua: &Lua, (secret, text, in_front): (Value, LuaString, bool)| {
        let Some(secret) = secret.as_userdata().and_then(|data| data.borrow::<Secret>().ok())
        else {
            return Ok((None, None));
        };
        let Ok(text) = text.to_str() else {
            return Ok((None, Some("text that is not UTF-8")));
        };
        let (secret, text) = (&secret.0[..], &text[..]);
        let joined = if in_front { [text, secret].concat() } else { [secret, text].concat() };
        Ok((Some(lua.create_any_userdata(Secret(joined))?), None))
    };
    table.set("secret_join", lua.create_function(join)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_text_is_for_requests_alone() {
        let lua = Lua::new();
        let data = lua.create_any_userdata(Secret("hunter2".into())).unwrap();
        assert_eq!(reveal(&data).as_deref(), Some("hunter2"));
        assert_eq!(format!("{:?}", Secret("hunter2".into())), "Secret");
        assert!(!format!("{data:?} {:?}", Value::UserData(data.clone())).contains("hunter2"));
        let other = lua.create_any_userdata(String::from("hunter2")).unwrap();
        assert_eq!(reveal(&other), None);
    }
}
