//! The compression that a client asks for, and the one that both sides agreed on.

/// The end of an empty block. Every compressed message ends in it; it is not sent (RFC 7692
/// §7.2.1).
pub(super) const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// How the client wants to compress messages (permessage-deflate, RFC 7692), if the server agrees.
///
/// Compression is off by default. It costs memory: 319 KiB for sending (84 more if the first
/// message has 16 KiB or more, less with a smaller window), of which 32 remain when no message was
/// compressed for a second ([`Limits::deflate_rest`](crate::Limits::deflate_rest)), and 47 KiB for
/// receiving; each is allocated with the first compressed message of its direction. And it costs
/// CPU time: some microseconds for a message of 2 KiB. It is worth that if the connection is slow
/// or traffic costs money.
///
/// **It is unsafe if a message mixes a secret with text that somebody else chooses**: an attacker
/// who sees the lengths of messages, encrypted or not, and can have own text sent beside the
/// secret, learns the secret from how well both compress (CRIME, BREACH). Send such a message
/// uncompressed ([`send_text_plain`](crate::proto::Session::send_text_plain)), and switch takeover
/// off if other messages of the connection contain secrets.
///
/// ```
/// use moonwire::proto::{Compression, Request, Url};
///
/// let mut request = Request::new(Url::parse("wss://example.com/feed")?);
/// request.compression(Compression { level: 1, ..Compression::default() });
/// # Ok::<(), moonwire::proto::UrlError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// The client's window, as a power of two: 9 to 15 (32 KiB), the default. A smaller one needs
    /// less memory at both ends and compresses less. Less counts as 9, more as 15. The server may
    /// require a smaller one (§7.1.2.2). If it requires 8, the client sends everything
    /// uncompressed, since the library has no such window.
    ///
    /// 15 takes 319 KiB, 14 239, 13 199, 12 179. With 14 at level 3, messages become larger by 0 to
    /// 3 % (JSON with random numbers), 4 to 5 % (chat, prose, source code, HTML), 43 % (a state of
    /// 2 KiB that is sent again and again with few changes) or three times as large (such a state
    /// of 16 to 32 KiB, which then exceeds the window).
    pub client_window: u8,
    /// The window that the client asks the server to use: 8 to 15. The default 15 asks for nothing.
    /// Less counts as 8, more as 15. A smaller one saves memory at the server only, since the
    /// client always inflates with 32 KiB.
    pub server_window: u8,
    /// Whether the client's messages may refer to earlier ones (context takeover); default true.
    /// Without it, small messages that are alike hardly become smaller. With it, each connection
    /// keeps memory for it.
    pub client_takeover: bool,
    /// Whether the server's messages may refer to earlier ones; false asks it not to (§7.1.1.1).
    pub server_takeover: bool,
    /// 1 (fast) to 9 (small); default 3. Less counts as 1, more as 9.
    pub level: u8,
    /// Messages with fewer bytes are not compressed; default 128: they would save less than the
    /// headers of TCP and IP take. Neither is a message that would not become smaller.
    pub threshold: usize,
}

impl Default for Compression {
    fn default() -> Compression {
        Compression {
            client_window: 15,
            server_window: 15,
            client_takeover: true,
            server_takeover: true,
            level: 3,
            threshold: 128,
        }
    }
}

impl Compression {
    /// The smallest window with which the library compresses.
    pub(super) const CLIENT_WINDOW_MIN: u8 = 9;

    pub(super) fn client_window(&self) -> u8 {
        self.client_window.clamp(Self::CLIENT_WINDOW_MIN, 15)
    }

    pub(super) fn server_window(&self) -> u8 {
        self.server_window.clamp(8, 15)
    }

    pub(super) fn level(&self) -> u8 {
        self.level.clamp(1, 9)
    }
}

/// The result of the negotiation between client and server (RFC 7692 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Agreed {
    /// The client's window, as a power of two: 8 to 15. With 8, the client compresses nothing.
    pub client_window: u8,
    /// The server's window: 8 to 15.
    pub server_window: u8,
    /// Whether the client's messages may refer to earlier ones.
    pub client_takeover: bool,
    /// Whether the server's messages may refer to earlier ones.
    pub server_takeover: bool,
}

impl Agreed {
    /// The result if the server accepts all that is `wanted`.
    pub(crate) fn to(wanted: &Compression) -> Agreed {
        Agreed {
            client_window: wanted.client_window(),
            server_window: wanted.server_window(),
            client_takeover: wanted.client_takeover,
            server_takeover: wanted.server_takeover,
        }
    }
}
