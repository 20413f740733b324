//! Replaces `compress.rs` in a build without compression.

use mlua::Value;

use crate::net::Options;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CompressOption(());

impl CompressOption {
    pub(super) fn set(
        &mut self,
        value: &Value,
        expected: fn(&str, &str, &Value) -> String,
    ) -> Result<(), String> {
        match value {
            Value::Boolean(false) => Ok(()),
            Value::Boolean(true) | Value::Table(_) => {
                Err("option Compress: permessage-deflate is not in this build".into())
            }
            other => Err(expected("Compress", "boolean or table", other)),
        }
    }

    pub(super) fn apply(self, options: Options) -> Options {
        options
    }
}
