//! The option `Compress` of `connect`.

use mlua::{Table, Value};

use crate::net::Options;
use crate::proto::Compression;

/// The compression to offer; `None`: none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CompressOption(pub(super) Option<Compression>);

/// Makes the error for a wrong value from the option's name, the expected kind and the value.
type Expected = fn(&str, &str, &Value) -> String;

impl CompressOption {
    /// Reads the option's value.
    pub(super) fn set(&mut self, value: &Value, expected: Expected) -> Result<(), String> {
        self.0 = match value {
            Value::Boolean(false) => None,
            Value::Boolean(true) => Some(self.0.unwrap_or_default()),
            Value::Table(table) => Some(read(table, expected)?),
            other => return Err(expected("Compress", "boolean or table", other)),
        };
        Ok(())
    }

    pub(super) fn apply(self, options: Options) -> Options {
        match self.0 {
            Some(wanted) => options.compression(wanted),
            None => options,
        }
    }
}

fn read(table: &Table, expected: Expected) -> Result<Compression, String> {
    let mut wanted = Compression::default();
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|e| e.to_string())?;
        let Value::String(key) = key else {
            return Err("option Compress: its options have names".into());
        };
        let key = key.to_string_lossy();
        let name = format!("Compress.{key}");
        let whole = |least: f64, most: f64| match &value {
            Value::Integer(n) if (least..=most).contains(&(*n as f64)) => Ok(*n as usize),
            Value::Number(n) if (least..=most).contains(n) && n.fract() == 0.0 => Ok(*n as usize),
            Value::Integer(_) | Value::Number(_) => {
                Err(format!("option {name} has to be a whole number from {least} to {most}"))
            }
            other => Err(expected(&name, "number", other)),
        };
        let yes = || match &value {
            Value::Boolean(yes) => Ok(*yes),
            other => Err(expected(&name, "boolean", other)),
        };
        match key.as_str() {
            "Level" => wanted.level = whole(1.0, 9.0)? as u8,
            "Threshold" => wanted.threshold = whole(0.0, 4_294_967_295.0)?,
            "Window" => wanted.client_window = whole(9.0, 15.0)? as u8,
            "ServerWindow" => wanted.server_window = whole(8.0, 15.0)? as u8,
            "Takeover" => wanted.client_takeover = yes()?,
            "ServerTakeover" => wanted.server_takeover = yes()?,
            _ => {
                let key = crate::proto::escape(key.as_bytes(), 40);
                return Err(format!(
                    "option Compress: there is no {key} (Level, Threshold, Window, ServerWindow, \
                     Takeover, ServerTakeover)"
                ));
            }
        }
    }
    Ok(wanted)
}
