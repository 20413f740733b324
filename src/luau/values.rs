//! The natives of values without a connection: enums, secrets, `game` and its services, JSON.

use std::sync::Arc;

use mlua::{Lua, LuaString, Table, Value};

use super::host::{Host, define, lock};
use super::{base64, json, secret};

/// Userdata without data; the prelude keeps the data of each.
struct Enums;
struct Enum;
struct EnumItem;
struct Instance;

/// Adds these natives to the table.
pub(super) fn natives(lua: &Lua, host: &Arc<Host>, table: &Table) -> mlua::Result<()> {
    table.set("define_secret", define::<secret::Secret>(lua, "Secret")?)?;
    table.set("define_enums", define::<Enums>(lua, "Enums")?)?;
    table.set("define_enum", define::<Enum>(lua, "Enum")?)?;
    table.set("define_enum_item", define::<EnumItem>(lua, "EnumItem")?)?;
    table.set("define_instance", define::<Instance>(lua, "Instance")?)?;
    table.set("enums", lua.create_function(|lua, ()| lua.create_any_userdata(Enums))?)?;
    table.set("enum", lua.create_function(|lua, ()| lua.create_any_userdata(Enum))?)?;
    table.set("enum_item", lua.create_function(|lua, ()| lua.create_any_userdata(EnumItem))?)?;
    table.set("instance", lua.create_function(|lua, ()| lua.create_any_userdata(Instance))?)?;
    let its = Arc::clone(host);
    secret::natives(lua, table, move |name| {
        let _embedder = its.watch.leave();
        lock(&its.secrets).as_ref()?.get(name)
    })?;
    let its = Arc::clone(host);
    let guid = move |_: &Lua, ()| Ok(guid(its.link.with(|r| r.random())));
    table.set("guid", lua.create_function(guid)?)?;
    texts(lua, host, table)
}

/// JSON: the result, or nil and the error.
fn texts(lua: &Lua, host: &Arc<Host>, table: &Table) -> mlua::Result<()> {
    // Scripts make such a text to send it, so it has the bound of a message.
    let (depth, most) = (host.limits.json_depth, host.limits.message);
    let its = Arc::clone(host);
    let encode = move |lua: &Lua, value: Value| {
        let look = |bytes: usize| its.look(lua, bytes);
        let text = json::encode(lua, &value, depth, most, &look);
        let text = text.and_then(|text| lua.create_string(text).map_err(|e| e.to_string()));
        Ok(text.map_or_else(|problem| (None, Some(problem)), |text| (Some(text), None)))
    };
    table.set("json_encode", lua.create_function(encode)?)?;
    let its = Arc::clone(host);
    let decode = move |lua: &Lua, text: LuaString| {
        let look = |bytes: usize| its.look(lua, bytes);
        let value = json::decode(lua, &text.as_bytes(), depth, &look);
        Ok(value.map_or_else(|problem| (Value::Nil, Some(problem)), |value| (value, None)))
    };
    table.set("json_decode", lua.create_function(decode)?)?;
    let its = Arc::clone(host);
    let encode = move |lua: &Lua, data: Value| {
        let look = |bytes: usize| its.look(lua, bytes);
        Ok(coded(lua, &data, |bytes| base64::encode(bytes, most, &look)))
    };
    table.set("base64_encode", lua.create_function(encode)?)?;
    let its = Arc::clone(host);
    let decode = move |lua: &Lua, text: Value| {
        let look = |bytes: usize| its.look(lua, bytes);
        Ok(coded(lua, &text, |bytes| base64::decode(bytes, &look)))
    };
    table.set("base64_decode", lua.create_function(decode)?)
}

/// Applies `code` to a string or a buffer, and returns the same type, or nil and the error.
fn coded(
    lua: &Lua,
    data: &Value,
    code: impl FnOnce(&[u8]) -> Result<Vec<u8>, String>,
) -> (Value, Option<String>) {
    let made = match data {
        Value::String(text) => code(&text.as_bytes()).map(|bytes| lua.create_string(bytes)),
        Value::Buffer(buffer) => {
            let made = code(&buffer.to_vec()).map(|bytes| lua.create_buffer(bytes));
            let made = made.and_then(|made| made.map_err(|e| e.to_string()));
            return made.map_or_else(|e| (Value::Nil, Some(e)), |b| (Value::Buffer(b), None));
        }
        // The prelude passes only these types.
        _ => return (Value::Nil, None),
    };
    let made = made.and_then(|made| made.map_err(|e| e.to_string()));
    made.map_or_else(|e| (Value::Nil, Some(e)), |text| (Value::String(text), None))
}

/// Makes a version 4 UUID of variant 1 (RFC 9562 §5.4) from random bytes.
fn guid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    // The text has only ASCII digits, so every index is between two characters.
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_and_variant_are_fixed_and_the_rest_is_random() {
        assert_eq!(guid([0; 16]), "00000000-0000-4000-8000-000000000000");
        assert_eq!(guid([0xFF; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let bytes = std::array::from_fn(|i| i as u8 * 0x11);
        assert_eq!(guid(bytes), "00112233-4455-4677-8899-aabbccddeeff");
    }
}
