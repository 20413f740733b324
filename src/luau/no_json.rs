//! Replaces `json.rs` in a build without the feature `json`.

use mlua::{Lua, Value};

pub(super) fn encode<L>(_: &Lua, _: &Value, _: usize, _: usize, _: L) -> Result<Vec<u8>, String> {
    Err("JSONEncode is not in this build (feature json)".to_owned())
}

pub(super) fn decode<L>(_: &Lua, _: &[u8], _: usize, _: L) -> Result<Value, String> {
    Err("JSONDecode is not in this build (feature json)".to_owned())
}
