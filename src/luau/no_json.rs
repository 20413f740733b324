//! Stands in for `json.rs` in a build without it.

use mlua::{Lua, Value};

/// As in `json.rs`.
pub(super) type Look<'a> = &'a dyn Fn(usize) -> Result<(), String>;

pub(super) fn encode(
    _: &Lua,
    _: &Value,
    _: usize,
    _: usize,
    _: Look<'_>,
) -> Result<Vec<u8>, String> {
    Err("JSONEncode is not in this build (feature json)".to_owned())
}

pub(super) fn decode(_: &Lua, _: &[u8], _: usize, _: Look<'_>) -> Result<Value, String> {
    Err("JSONDecode is not in this build (feature json)".to_owned())
}
