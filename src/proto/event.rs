//! What a session has to tell.

use std::borrow::Cow;

use super::closed::Closed;
use super::http;
use super::sse;
use super::ws::close::CloseFrame;
use super::ws::handshake::Opened;
use super::ws::message::{Message, Text};

/// What a session has to tell. The order is `Opened? (Text | Binary | Pong)* Closing? Closed` for
/// a WebSocket and `Response? (Chunk | ServerSent)* Closed` for a stream.
///
/// `C` is how the end is told: [`Closed`] here, with more to say where there are sockets.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'b, C = Closed> {
    /// The server has accepted; messages can be sent.
    Opened(Box<Opened>),
    /// A text message.
    Text(Text<'b>),
    /// A binary message.
    Binary(Cow<'b, [u8]>),
    /// The payload of a pong. Pings are answered without the owner.
    Pong(Cow<'b, [u8]>),
    /// The peer's close frame. What the owner then sends reaches the peer only where
    /// [`Settings::hold_close`](super::Settings::hold_close) is set.
    Closing(CloseFrame),
    /// The head of a response, after redirects and interim responses; its body follows.
    Response(Box<http::Response>),
    /// A piece of the body, or one event of an event stream as text, as [`http::Delivery`] says.
    Chunk(Cow<'b, [u8]>),
    /// An event of an event stream.
    ServerSent(Box<sse::Event>),
    /// The end; nothing follows.
    Closed(C),
}

impl<C> Event<'_, C> {
    /// The event with memory of its own; what it lends is copied.
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
