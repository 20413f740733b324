//! Hands the events of a turn to the Luau side: messages in groups, each in one call.

use std::borrow::Cow;

use mlua::{Function, IntoLua, Lua, Table, Value};

use super::host::{Host, lock};
use super::streams;
use crate::net::{Closed, ConnId, Event, Items};
use crate::proto::Text;

/// So many messages at a time, and so many bytes: those of a group lie in the cache when they are
/// handled, and nothing but what comes before the next message is looked at between two of them.
const GROUP: usize = 64;
const GROUP_BYTES: usize = 64 * 1024;

/// From here on, a look at whether bytes are UTF-8 costs more than what is handed over in another
/// way when they are not known to be.
const LARGE: usize = 4096;

/// The functions of the Luau side that take events.
pub(super) struct Feed {
    messages: Function,
    event: Function,
    /// Works off what has come, up to a limit; whether that was reached.
    soon: Function,
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
}

impl<'a> Group<'a> {
    fn takes(&self, of: (ConnId, bool)) -> bool {
        self.of == Some(of) && self.pieces.len() < GROUP && self.bytes < GROUP_BYTES
    }

    fn push(&mut self, of: (ConnId, bool), piece: Piece<'a>) {
        let len = piece.bytes().len();
        self.of = Some(of);
        self.bytes += len;
        self.pieces.push(piece);
    }

    fn clear(&mut self) {
        self.pieces.clear();
        (self.of, self.bytes) = (None, 0);
    }
}

impl Feed {
    pub(super) fn new(connections: &Table) -> mlua::Result<Feed> {
        Ok(Feed {
            messages: connections.get("messages")?,
            event: connections.get("event")?,
            soon: connections.get("soon")?,
        })
    }

    /// Hands all events over. A group is worked off before the next one is made, so that its strings
    /// are short-lived; after `limit`, a time of the Luau side's clock, groups are only put there.
    pub(super) fn events(
        &self,
        lua: &Lua,
        host: &Host,
        limit: Option<f64>,
        items: Items<'_>,
    ) -> mlua::Result<()> {
        let mut feeding = Feeding { feed: self, lua, limit, group: Group::default(), late: false };
        let strings = |id| !lock(&host.buffers).contains(&id);
        for (id, event) in items {
            match event {
                Event::Text(text) => feeding.piece((id, false), Piece::Text(text))?,
                Event::Chunk(bytes) => feeding.piece((id, false), Piece::Bytes(bytes))?,
                Event::Binary(bytes) if strings(id) => {
                    feeding.piece((id, true), Piece::Bytes(bytes))?;
                }
                event => {
                    feeding.group()?;
                    self.event(lua, host, id, event)?;
                }
            }
        }
        feeding.group()?;
        Ok(())
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
                messages.call((bits, value, 1, true))
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

/// The groups of one turn.
struct Feeding<'f, 'a> {
    feed: &'f Feed,
    lua: &'f Lua,
    limit: Option<f64>,
    group: Group<'a>,
    /// The limit was reached.
    late: bool,
}

impl<'a> Feeding<'_, 'a> {
    /// Adds to the group, or begins the next one.
    fn piece(&mut self, of: (ConnId, bool), piece: Piece<'a>) -> mlua::Result<()> {
        if !self.group.takes(of) {
            self.group()?;
        }
        self.group.push(of, piece);
        Ok(())
    }

    /// Hands the group over, if there is one.
    fn group(&mut self) -> mlua::Result<()> {
        let Some((id, binary)) = self.group.of else { return Ok(()) };
        let count = self.group.pieces.len();
        let what = match &self.group.pieces[..] {
            [piece] => self.lua.create_string(piece.bytes())?.into_lua(self.lua)?,
            pieces => list(self.lua, pieces)?,
        };
        self.group.clear();
        if !self.late {
            self.late = self.feed.soon.call(self.limit)?;
        }
        self.feed.messages.call((id.to_bits(), what, count, binary.then_some(true)))
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
