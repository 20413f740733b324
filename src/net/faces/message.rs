//! Messages of the blocking faces.

use crate::proto::CloseFrame;

/// A message of a blocking face.
///
/// ```
/// use moonwire::Message;
///
/// let message = Message::from("hello");
/// assert!(message.is_text() && message.len() == 5);
/// assert_eq!(message.as_text(), Some("hello"));
/// assert_eq!(Message::from(vec![1, 2]).into_text(), Err(Message::Binary(vec![1, 2])));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Binary.
    Binary(Vec<u8>),
}

/// The result of waiting for a message.
///
/// ```no_run
/// use moonwire::Received;
/// use std::time::Duration;
///
/// let mut ws = moonwire::connect("wss://echo.example/")?;
/// match ws.read_timeout(Duration::from_secs(1))? {
///     Received::Message(message) => println!("{message:?}"),
///     Received::Closed(frame) => println!("closed: {frame}"),
///     _ => println!("nothing within a second"),
/// }
/// # Ok::<(), moonwire::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// A message.
    Message(Message),
    /// The payload of a pong, if pongs are switched on
    /// ([`WebSocket::set_pongs`](crate::WebSocket::set_pongs)). Pongs for keep-alive pings are
    /// returned too, with the payload of the ping.
    Pong(Vec<u8>),
    /// The connection was closed cleanly; the server's close frame.
    Closed(CloseFrame),
    /// The timeout has passed.
    Nothing,
}

impl Message {
    /// Whether the message is text.
    pub fn is_text(&self) -> bool {
        matches!(self, Message::Text(_))
    }

    /// Whether the message is binary.
    pub fn is_binary(&self) -> bool {
        matches!(self, Message::Binary(_))
    }

    /// The bytes of the message; those of text are UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(data) => data,
        }
    }

    /// The text; `None` for a binary message, whatever its bytes are.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Message::Text(text) => Some(text),
            Message::Binary(_) => None,
        }
    }

    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// The bytes of the message, without a copy.
    pub fn into_data(self) -> Vec<u8> {
        match self {
            Message::Text(text) => text.into_bytes(),
            Message::Binary(data) => data,
        }
    }

    /// The text, without a copy.
    ///
    /// # Errors
    ///
    /// The unchanged message, if it is binary.
    pub fn into_text(self) -> Result<String, Message> {
        match self {
            Message::Text(text) => Ok(text),
            binary @ Message::Binary(_) => Err(binary),
        }
    }

    /// The bytes of a binary message, without a copy.
    ///
    /// # Errors
    ///
    /// The unchanged message, if it is text; [`Message::into_data`] accepts both.
    pub fn into_binary(self) -> Result<Vec<u8>, Message> {
        match self {
            Message::Binary(data) => Ok(data),
            text @ Message::Text(_) => Err(text),
        }
    }
}

impl From<String> for Message {
    fn from(text: String) -> Message {
        Message::Text(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Message {
        Message::Text(text.to_owned())
    }
}

impl From<Vec<u8>> for Message {
    fn from(data: Vec<u8>) -> Message {
        Message::Binary(data)
    }
}

impl From<&[u8]> for Message {
    fn from(data: &[u8]) -> Message {
        Message::Binary(data.to_vec())
    }
}

impl Received {
    /// How many bytes it counts towards the high-water mark.
    pub(super) fn cost(&self) -> usize {
        size_of::<Received>()
            + match self {
                Received::Message(message) => message.len(),
                Received::Pong(data) => data.len(),
                Received::Closed(_) | Received::Nothing => 0,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_made_of_what_it_holds_and_gives_it_back() {
        for text in [Message::from("größe"), Message::from("größe".to_owned())] {
            assert!(text.is_text() && !text.is_binary() && !text.is_empty());
            assert_eq!((text.len(), text.as_text()), (7, Some("größe")));
            assert_eq!(text.as_bytes(), "größe".as_bytes());
            assert_eq!(text.clone().into_data(), "größe".as_bytes());
            assert_eq!(text.clone().into_binary(), Err(text.clone()));
            assert_eq!(text.into_text(), Ok("größe".to_owned()));
        }
        for data in [Message::from(&b"ab"[..]), Message::from(b"ab".to_vec())] {
            assert!(data.is_binary() && !data.is_text());
            // The bytes do not matter.
            assert_eq!((data.len(), data.as_text()), (2, None));
            assert_eq!(data.clone().into_text(), Err(data.clone()));
            assert_eq!(data.clone().into_data(), b"ab");
            assert_eq!(data.into_binary(), Ok(b"ab".to_vec()));
        }
        assert!(Message::from("").is_empty());
    }
}
