//! Passes the events of a turn to the Luau side: messages in groups, one call for each group.

use mlua::{Function, Lua, Table, Value};

use super::collector::Collector;
use super::host::{Host, lock, numbers};
use super::streams;
use crate::net::{Closed, ConnId, Event, Items, MessageGroup, Payloads};
use crate::proto::http::Response;

/// The most messages of a group, and the most bytes. The strings of a group this small are still in
/// the cache when scripts handle them. Between two messages of a group, the scheduler does only the
/// work that precedes the next message.
const GROUP: usize = 64;
const GROUP_BYTES: usize = 64 * 1024;

/// The functions of the Luau side that take events.
pub(super) struct Feed {
    messages: Function,
    event: Function,
    /// Takes the counters of a WebSocket that has ended.
    ended: Function,
    /// Does the work that precedes the deadlines, up to a time; returns whether it stopped early.
    soon: Function,
    /// The most messages of a group.
    group: usize,
    /// The collector, which owes work for new strings.
    pub(super) collector: Collector,
}

impl Feed {
    /// `plain`: each message is a group of its own.
    pub(super) fn new(connections: &Table, plain: bool) -> mlua::Result<Feed> {
        Ok(Feed {
            messages: connections.get("messages")?,
            event: connections.get("event")?,
            ended: connections.get("ended")?,
            soon: connections.get("soon")?,
            group: if plain { 1 } else { GROUP },
            collector: Collector::default(),
        })
    }

    /// Passes all events on. The scheduler handles a group before the next group is created, so
    /// that the strings live only shortly. After `limit`, a time of the Luau side's clock, groups
    /// are only queued there.
    pub(super) fn events(
        &mut self,
        lua: &Lua,
        host: &Host,
        limit: Option<f64>,
        mut items: Items<'_>,
    ) -> mlua::Result<()> {
        let (mut lengths, mut late) = (Vec::new(), false);
        loop {
            let group = items.next_group(self.group, GROUP_BYTES, &mut lengths);
            let next = if group.is_none() { items.next() } else { None };
            if group.is_none() && next.is_none() {
                return Ok(());
            }
            late = late || self.soon.call(limit)?;
            if let Some(group) = group {
                self.pass_group(lua, host, &group, &lengths)?;
                self.collector.made(lua, &lengths)?;
            }
            if let Some((id, event)) = next {
                let ends = matches!(event, Event::Closed(_));
                if let Some(stats) = ends.then(|| items.stats(id)).flatten() {
                    self.ended.call::<()>((id.to_bits(), numbers(&stats)))?;
                }
                self.event(lua, host, id, event)?;
            }
        }
    }

    fn pass_group(
        &self,
        lua: &Lua,
        host: &Host,
        group: &MessageGroup<'_>,
        lengths: &[usize],
    ) -> mlua::Result<()> {
        let bits = group.id.to_bits();
        let binary = group.binary.then_some(true);
        match group.payloads {
            Payloads::Bytes(bytes) if group.binary && wants_buffers(host, group.id) => {
                for payload in cut(bytes, lengths) {
                    let buffer = lua.create_buffer(payload)?;
                    self.messages.call::<()>((bits, buffer, 1, true))?;
                }
                Ok(())
            }
            Payloads::Bytes(bytes) => {
                let list = byte_strings(lua, bytes, lengths)?;
                self.messages.call((bits, list, lengths.len(), binary))
            }
            Payloads::Text(text) if lengths.len() == 1 => self.messages.call((bits, text, 1)),
            Payloads::Text(text) => {
                let list = lua.create_sequence_from(cut_text(text, lengths))?;
                self.messages.call((bits, list, lengths.len()))
            }
        }
    }

    /// Passes on a single message, of `len` bytes.
    fn message(
        &mut self,
        lua: &Lua,
        bits: u64,
        value: Value,
        len: usize,
        binary: Option<bool>,
    ) -> mlua::Result<()> {
        self.messages.call::<()>((bits, value, 1, binary))?;
        self.collector.made(lua, &[len])
    }

    fn event(&mut self, lua: &Lua, host: &Host, id: ConnId, event: Event<'_>) -> mlua::Result<()> {
        let report = &self.event;
        let bits = id.to_bits();
        match event {
            // This event never comes: the request asks for another delivery.
            Event::ServerSent(_) => Ok(()),
            Event::Text(text) => {
                let value = Value::String(lua.create_string(text.as_bytes())?);
                self.message(lua, bits, value, text.as_bytes().len(), None)
            }
            Event::Chunk(data) => {
                let value = Value::String(lua.create_string(&data)?);
                self.message(lua, bits, value, data.len(), None)
            }
            Event::Response(response) => {
                let headers = lua.create_string(response.headers.as_bytes())?;
                report.call((bits, "response", response.status, headers, response.reason))
            }
            Event::Binary(data) => {
                let value = match wants_buffers(host, id) {
                    true => Value::Buffer(lua.create_buffer(&data)?),
                    false => Value::String(lua.create_string(&data)?),
                };
                self.message(lua, bits, value, data.len(), Some(true))
            }
            Event::Opened(opened) => {
                let headers = lua.create_string(opened.headers.as_bytes())?;
                report.call((bits, "opened", headers, opened.protocol.as_deref(), opened.reason))
            }
            Event::Pong(data) => report.call((bits, "pong", lua.create_string(data)?)),
            Event::Closing(frame) => {
                report.call((bits, "closing", frame.code_or_1005(), frame.reason))
            }
            Event::Closed(mut closed) => {
                if let Closed::Failed(e) | Closed::Lost(e) = &mut closed {
                    e.name_option("MaxMessageSize");
                    e.forget_phases();
                }
                lock(&host.buffers).remove(&id);
                let code = closed.code();
                match &closed {
                    Closed::Clean(frame) => report.call((bits, "closed", code, &*frame.reason)),
                    Closed::Complete => report.call((bits, "closed", code, "")),
                    Closed::Failed(e) | Closed::Lost(e) => {
                        let (why, all) = (e.what(), e.to_string());
                        // The script that called `connect` gets the whole text; a handler of
                        // `Closed` already knows the connection.
                        let open = e.stage() == crate::Stage::Open;
                        let text = if open { &why } else { &all };
                        let (name, status) = (streams::name(e), e.status());
                        // For a warning, if no handler gets the error.
                        let lost = (e.unsent() > 0).then_some((e.unsent(), &*all));
                        let (bytes, of) = lost.unzip();
                        let answer = e.response().map(|r| answer(lua, r)).transpose()?;
                        report.call((
                            bits,
                            "closed",
                            code,
                            &**text,
                            name,
                            status,
                            &*why,
                            (bytes, of, answer),
                        ))
                    }
                }
            }
        }
    }
}

/// A refused response, as `Answer` of `types.d.luau`.
fn answer(lua: &Lua, response: &Response) -> mlua::Result<Table> {
    let (headers, body) = (response.headers.as_bytes(), &response.body);
    let answer = lua.create_table()?;
    answer.raw_set("status", response.status)?;
    answer.raw_set("reason", &*response.reason)?;
    answer.raw_set("headers", lua.create_string(headers)?)?;
    answer.raw_set("body", lua.create_string(body)?)?;
    Ok(answer)
}

fn wants_buffers(host: &Host, id: ConnId) -> bool {
    lock(&host.buffers).contains(&id)
}

/// Splits concatenated payloads by their lengths.
fn cut<'a>(mut bytes: &'a [u8], lengths: &[usize]) -> impl Iterator<Item = &'a [u8]> {
    lengths.iter().map(move |len| {
        let (payload, rest) = bytes.split_at_checked(*len).unwrap_or_default();
        bytes = rest;
        payload
    })
}

/// As `cut`, for text. Each part ends between two characters: each payload is a text.
fn cut_text<'a>(mut text: &'a str, lengths: &[usize]) -> impl Iterator<Item = &'a str> {
    lengths.iter().map(move |len| {
        let (payload, rest) = text.split_at_checked(*len).unwrap_or_default();
        text = rest;
        payload
    })
}

/// Strings of any bytes: a list, or the string itself if there is only one. If all bytes together
/// are UTF-8, they are converted as text, which costs less. If a character crosses the border of
/// two payloads, all are converted as bytes.
fn byte_strings(lua: &Lua, bytes: &[u8], lengths: &[usize]) -> mlua::Result<Value> {
    if lengths.len() == 1 {
        return Ok(Value::String(lua.create_string(bytes)?));
    }
    let mut end = 0;
    let text = std::str::from_utf8(bytes).ok().filter(|text| {
        lengths.iter().all(|len| {
            end += len;
            text.is_char_boundary(end)
        })
    });
    let list = match text {
        Some(text) => lua.create_sequence_from(cut_text(text, lengths))?,
        None => {
            let strings = cut(bytes, lengths).map(|payload| lua.create_string(payload));
            lua.create_sequence_from(strings.collect::<mlua::Result<Vec<_>>>()?)?
        }
    };
    Ok(Value::Table(list))
}
