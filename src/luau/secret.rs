//! Secrets: text that a script can send and cannot read.

use mlua::{AnyUserData, Lua, LuaString, MaybeSend, Table, Value};

/// The userdata of a secret. Only [`reveal`] gets its text. The text is a string of the VM, so that
/// the memory limit and the collector count it; it is the user value of the userdata, which only
/// Rust can read.
#[derive(Debug)]
pub(super) struct Secret;

fn make(lua: &Lua, text: &str) -> mlua::Result<AnyUserData> {
    let secret = lua.create_any_userdata(Secret)?;
    secret.set_user_value(lua.create_string(text)?)?;
    Ok(secret)
}

/// The text of a `Secret`, for a request; `None` for any other userdata. The caller must not put it
/// into anything that is shown: no error, no trace, no warning.
pub(super) fn reveal(value: &AnyUserData) -> Option<String> {
    if !value.is::<Secret>() {
        return None;
    }
    let text: LuaString = value.user_value().ok()?;
    text.to_str().ok().map(|text| text.to_owned())
}

/// Luau's error for a string that does not fit into memory.
const NO_MEMORY: &str = "not enough memory";

/// The source of secrets, a function. (This trait is needed since a trait object can name only one
/// trait that is not an auto trait.)
pub(super) trait Lookup: MaybeSend {
    fn get(&self, name: &str) -> Option<String>;
}

impl<F: Fn(&str) -> Option<String> + MaybeSend> Lookup for F {
    fn get(&self, name: &str) -> Option<String> {
        self(name)
    }
}

pub(super) type SecretLookup = Box<dyn Lookup>;

/// Adds the natives. `secret(name)` returns the secret or nothing, or nothing and the error that
/// there is no memory. `secret_join(secret, text, in_front)` returns a new secret; or nothing and
/// the error of the text; or nothing, nothing and the error that there is no memory; or nothing at
/// all if `secret` is not a `Secret`.
pub(super) fn natives(
    lua: &Lua,
    table: &Table,
    get: impl Fn(&str) -> Option<String> + MaybeSend + 'static,
) -> mlua::Result<()> {
    let secret = move |lua: &Lua, name: LuaString| {
        let text = name.to_str().ok().and_then(|name| get(&name));
        Ok(match text.map(|text| make(lua, &text)).transpose() {
            Ok(secret) => (secret, None),
            Err(_) => (None, Some(NO_MEMORY)),
        })
    };
    table.set("secret", lua.create_function(secret)?)?;
    let join = |lua: &Lua, (secret, text, in_front): (Value, LuaString, bool)| {
        let Some(secret) = secret.as_userdata().and_then(reveal) else {
            return Ok((None, None, None));
        };
        let Ok(text) = text.to_str() else {
            return Ok((None, Some("text that is not UTF-8"), None));
        };
        let (secret, text) = (&secret[..], &text[..]);
        let joined = if in_front { [text, secret].concat() } else { [secret, text].concat() };
        Ok(match make(lua, &joined) {
            Ok(joined) => (Some(joined), None, None),
            Err(_) => (None, None, Some(NO_MEMORY)),
        })
    };
    table.set("secret_join", lua.create_function(join)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_text_is_for_requests_alone() {
        let lua = Lua::new();
        let data = make(&lua, "hunter2").unwrap();
        assert_eq!(reveal(&data).as_deref(), Some("hunter2"));
        assert!(!format!("{data:?} {:?}", Value::UserData(data.clone())).contains("hunter2"));
        let other = lua.create_any_userdata(String::from("hunter2")).unwrap();
        assert_eq!(reveal(&other), None);
    }
}
