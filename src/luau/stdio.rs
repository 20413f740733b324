//! The natives of the global `io`.

use std::sync::Arc;

use mlua::{Lua, Table, Value};

use super::host::Host;
use super::input::{Taken, Want};

/// Converts the prelude's kind of a read: a number of bytes, `-1` for a line, `-2` for all.
fn want(n: f64) -> Want {
    match n {
        -1.0 => Want::Line,
        -2.0 => Want::All,
        // The prelude has checked that the number is whole and above 0.
        n => Want::Bytes(n as usize),
    }
}

/// `input(want)`: a string; nil at the end; false: not there yet; nil and an error. `input_ask()`
/// wakes the first waiting thread in the next round. `write(to_errors, data)`: the error, if any.
pub(super) fn natives(lua: &Lua, host: &Arc<Host>, table: &Table) -> mlua::Result<()> {
    table.set("io", host.io.is_some())?;
    table.set("input_piece", host.limits.input_piece)?;
    let its = Arc::clone(host);
    let input = move |lua: &Lua, wanted: f64| {
        let Some(io) = &its.io else { return Ok((Value::Nil, None)) };
        let mut input = io.input();
        if let Err(problem) = its.look(lua, input.held()) {
            return Ok((Value::Nil, Some(problem)));
        }
        Ok(match input.take(want(wanted)) {
            Taken::Piece(bytes) => (Value::String(lua.create_string(bytes)?), None),
            Taken::End => (Value::Nil, None),
            Taken::Wait => (Value::Boolean(false), None),
            Taken::Problem(problem) => (Value::Nil, Some(problem)),
        })
    };
    table.set("input", lua.create_function(input)?)?;
    let its = Arc::clone(host);
    let ask = move |_: &Lua, ()| {
        if let Some(io) = &its.io {
            io.input().call();
        }
        Ok(())
    };
    table.set("input_ask", lua.create_function(ask)?)?;
    let its = Arc::clone(host);
    let write = move |_: &Lua, (to_errors, data): (bool, Value)| {
        let Some(io) = &its.io else { return Ok(None) };
        let _embedder = its.watch.leave();
        let done = match &data {
            Value::String(text) => io.write(to_errors, &text.as_bytes()),
            Value::Buffer(buffer) => io.write(to_errors, &buffer.to_vec()),
            // The prelude passes only these types.
            _ => Ok(()),
        };
        Ok(done.err())
    };
    table.set("write", lua.create_function(write)?)
}
