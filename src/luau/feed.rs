//! Hands the events of a turn to the Luau side: messages in groups, each in one call.

use std::borrow::Cow;
use std::cell::RefCell;

use mlua::{Function, IntoLua, Lua, Table, Value};

use super::host::{Host, lock};
use super::streams;
use crate::net::{Closed, ConnId, Event};
use crate::proto::Text;

/// So many messages at a time, which is as many as are handled in a row.
const GROUP: usize = 64;

/// So many bytes at a time: those of a group lie in the cache when they are handled.
const GROUP_BYTES: usize = 64 * 1024;

/// Messages up to this size travel in one string for the whole group, each behind a byte that tells
/// its length: what Luau then cuts out costs less than a value handed over. The number is what fits
/// into that byte; beyond it, hashing the string of the group would cost more than that saves.
const PACKED: usize = u8::MAX as usize;

/// From here on, a look at whether bytes are UTF-8 costs more than what is handed over in another
/// way when they are not known to be.
const LARGE: usize = 4096;

/// The functions of the Luau side that take events.
pub(super) struct Feed {
    messages: Function,
    event: Function,
    /// Works off what has come, up to a limit; whether that was reached.
    soon: Function,
    scratch: RefCell<Vec<u8>>,
}

/// A message that may travel with others.
enum Piece<'a> {
    Text(Text<'a>),
    /// A binary message, or a piece of a body: any bytes.
    Bytes(Cow<'a, [u8]>),
}

impl Piece<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Text(text) => text.as_bytes(),
            Piece::Bytes(bytes) => bytes,
        }
    }

    /// As text, where that is known or found out cheaply.
    fn text(&self) -> Option<&str> {
        match self {
            _ if self.bytes().len() > LARGE => None,
            Piece::Text(text) => Some(text.as_str()),
            Piece::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
        }
    }
}

/// Messages of one connection in a row, all of them said to be binary or none.
#[derive(Default)]
struct Group<'a> {
    of: Option<(ConnId, bool)>,
    pieces: Vec<Piece<'a>>,
    bytes: usize,
    longest: usize,
}

impl<'a> Group<'a> {
    fn takes(&self, of: (ConnId, bool)) -> bool {
        self.of == Some(of) && self.pieces.len() < GROUP && self.bytes < GROUP_BYTES
    }

    fn push(&mut self, of: (ConnId, bool), piece: Piece<'a>) {
        let len = piece.bytes().len();
        self.of = Some(of);
        self.bytes += len;
        self.longest = self.longest.max(len);
        self.pieces.push(piece);
    }

    fn clear(&mut self) {
        self.pieces.clear();
        (self.of, self.bytes, self.longest) = (None, 0, 0);
    }
}

impl Feed {
    pub(super) fn new(connections: &Table) -> mlua::Result<Feed> {
        Ok(Feed {
            messages: connections.get("messages")?,
            event: connections.get("event")?,
            soon: connections.get("soon")?,
            scratch: RefCell::default(),
        })
    }

    /// Hands all events over. A group is worked off before the next one is made, so that its strings
    /// are short-lived; after `limit`, a time of the Luau side's clock, groups are only put there.
    pub(super) fn events<'a>(
        &self,
        lua: &Lua,
        host: &Host,
        limit: Option<f64>,
        events: impl Iterator<Item = (ConnId, Event<'a>)>,
    ) -> mlua::Result<()> {
        let mut group = Group::default();
        let mut late = false;
        for (id, event) in events {
            let piece = match event {
                Event::Text(text) => Ok((Piece::Text(text), false)),
                Event::Chunk(bytes) => Ok((Piece::Bytes(bytes), false)),
                Event::Binary(bytes) if !lock(&host.buffers).contains(&id) => {
                    Ok((Piece::Bytes(bytes), true))
                }
                event => Err(event),
            };
            let fits = piece.as_ref().is_ok_and(|(_, binary)| group.takes((id, *binary)));
            if !fits && !group.pieces.is_empty() {
                self.hand_over(lua, &mut group)?;
                late = late || self.soon.call(limit)?;
            }
            match piece {
                Ok((piece, binary)) => group.push((id, binary), piece),
                Err(event) => self.event(lua, host, id, event)?,
            }
        }
        self.hand_over(lua, &mut group)
    }

    fn hand_over(&self, lua: &Lua, group: &mut Group<'_>) -> mlua::Result<()> {
        let Some((id, binary)) = group.of else { return Ok(()) };
        let count = group.pieces.len();
        let is_packed = count > 1 && group.longest <= PACKED;
        let what = match &group.pieces[..] {
            [piece] => lua.create_string(piece.bytes())?.into_lua(lua)?,
            pieces if is_packed => self.packed(lua, pieces)?,
            pieces => list(lua, pieces)?,
        };
        group.clear();
        self.messages.call((id.to_bits(), what, count, is_packed, binary.then_some(true)))
    }

    fn packed(&self, lua: &Lua, pieces: &[Piece<'_>]) -> mlua::Result<Value> {
        let mut scratch = self.scratch.borrow_mut();
        scratch.clear();
        for piece in pieces {
            let bytes = piece.bytes();
            // No longer than `PACKED`.
            scratch.push(bytes.len() as u8);
            scratch.extend_from_slice(bytes);
        }
        lua.create_string(&*scratch)?.into_lua(lua)
    }

    fn event(&self, lua: &Lua, host: &Host, id: ConnId, event: Event<'_>) -> mlua::Result<()> {
        let Feed { messages, event: tell, .. } = self;
        let bits = id.to_bits();
        match event {
            // Messages; and parsed events, which are not asked for.
            Event::Text(_) | Event::Chunk(_) | Event::ServerSent(_) => Ok(()),
            Event::Response(response) => {
                let headers = lua.create_string(response.headers.as_bytes())?;
                tell.call((bits, "response", response.status, headers))
            }
            Event::Binary(data) => {
                let value = Value::Buffer(lua.create_buffer(&data)?);
                messages.call((bits, value, 1, false, true))
            }
            Event::Opened(opened) => {
                let headers = lua.create_string(opened.headers.as_bytes())?;
                tell.call((bits, "opened", headers, opened.protocol.as_deref()))
            }
            Event::Pong(data) => tell.call((bits, "pong", lua.create_string(data)?)),
            Event::Closing(frame) => {
                tell.call((bits, "closing", frame.code_or_1005(), frame.reason))
            }
            Event::Closed(closed) => {
                lock(&host.buffers).remove(&id);
                let code = closed.code();
                match &closed {
                    Closed::Clean(frame) => tell.call((bits, "closed", code, &*frame.reason)),
                    Closed::Complete => tell.call((bits, "closed", code, "")),
                    Closed::Failed(e) | Closed::Lost(e) => {
                        let why = e.kind().to_string();
                        // A script that opens hears all of it; one that loses a connection knows
                        // which.
                        let open = e.stage() == crate::Stage::Open;
                        let text = if open { why.clone() } else { e.to_string() };
                        tell.call((bits, "closed", code, text, streams::name(e), e.status(), why))
                    }
                }
            }
        }
    }
}

/// A table of strings.
fn list(lua: &Lua, pieces: &[Piece<'_>]) -> mlua::Result<Value> {
    let texts: Option<Vec<&str>> = pieces.iter().map(Piece::text).collect();
    let table = match texts {
        Some(texts) => lua.create_sequence_from(texts)?,
        None => {
            let strings = pieces.iter().map(|piece| lua.create_string(piece.bytes()));
            lua.create_sequence_from(strings.collect::<mlua::Result<Vec<_>>>()?)?
        }
    };
    Ok(Value::Table(table))
}
