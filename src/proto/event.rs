//! The events that a session reports.

use std::borrow::Cow;

use super::closed::Closed;
use super::http;
use super::sse;
use super::ws::close::CloseFrame;
use super::ws::handshake::Opened;
use super::ws::message::{Message, Text};

/// An event of a session. The order is `Opened? (Text | Binary | Pong)* Closing? Closed` for a
/// WebSocket and `Response? (Chunk | ServerSent)* Closed` for a stream.
///
/// `C` is the type of the final event: [`Closed`] here; `net` has one with more detail.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'b, C = Closed> {
    /// The server accepted the handshake; the program can send messages.
    Opened(Box<Opened>),
    /// A text message.
    Text(Text<'b>),
    /// A binary message.
    Binary(Cow<'b, [u8]>),
    /// The payload of a pong. The session answers pings itself and does not report them.
    Pong(Cow<'b, [u8]>),
    /// The peer's close frame. Messages that the program sends after it reach the peer only if
    /// [`Settings::hold_close`](super::Settings::hold_close) is set.
    Closing(CloseFrame),
    /// The head of a response, after redirects and interim responses; its body follows.
    Response(Box<http::Response>),
    /// A piece of the body, or one event of an event stream as text, as [`http::Delivery`] defines.
    Chunk(Cow<'b, [u8]>),
    /// An event of an event stream.
    ServerSent(Box<sse::Event>),
    /// The final event; none follows.
    Closed(C),
}

impl<C> Event<'_, C> {
    /// The event with copies of all borrowed data.
    pub fn into_owned(self) -> Event<'static, C> {
        match self {
            Event::Text(text) => Event::Text(text.into_static()),
            Event::Binary(data) => Event::Binary(Cow::Owned(data.into_owned())),
            Event::Pong(data) => Event::Pong(Cow::Owned(data.into_owned())),
            Event::Chunk(data) => Event::Chunk(Cow::Owned(data.into_owned())),
            Event::Opened(opened) => Event::Opened(opened),
            Event::Closing(frame) => Event::Closing(frame),
            Event::Response(response) => Event::Response(response),
            Event::ServerSent(event) => Event::ServerSent(event),
            Event::Closed(closed) => Event::Closed(closed),
        }
    }
}

impl<'b, C> From<Message<'b>> for Event<'b, C> {
    #[inline]
    fn from(message: Message<'b>) -> Event<'b, C> {
        match message {
            Message::Text(text) => Event::Text(text),
            Message::Binary(data) => Event::Binary(data),
        }
    }
}
