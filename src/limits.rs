//! Every number that bounds memory or time, each with its reason.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The limits of one reactor and its connections.
///
/// Limits whose text begins with *Reactor* or *Luau* are shared by all connections, and count where
/// the reactor or the Luau runtime is created. All others are a connection's, and can be set for
/// one connection ([`Options::limits`](crate::Options::limits),
/// [`StreamOptions::limits`](crate::StreamOptions::limits)).
///
/// The defaults suit a program that talks to servers of other authors. Every field can be set; a
/// value is read when a connection is opened (or, for the reactor's own limits, when the reactor is
/// created), so a later change affects later connections only.
///
/// ```
/// let limits = moonwire::Limits { message: 1024 * 1024, ..Default::default() };
/// assert!(limits.message < moonwire::Limits::default().message);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one received message, put together from all its frames: 64 MiB. More fails the
    /// connection with 1009. A single frame has the same bound. For a compressed message it bounds
    /// the inflated bytes, while they are produced; its frames may have an eighth and 1 KiB more,
    /// since incompressible data grows a little.
    pub message: usize,
    /// Frames of one received message: 131,072. An empty one counts, since it costs time even
    /// though it adds no byte (the Autobahn suite sends 65,537). More fails with 1009.
    pub fragments: u32,
    /// Bytes of a response head: 64 KiB. Browsers and servers stay well below.
    pub head: usize,
    /// Fields of a response head: 128.
    pub fields: usize,
    /// Bytes of one line of a response head: 16 KiB, which a long cookie needs.
    pub line: usize,
    /// Interim (1xx) responses before the final one: 16.
    pub interim: u32,
    /// From the last byte of the request to the head of the response, for a stream without a
    /// timeout of its own: 60 s. A server that computes before it responds needs longer than one
    /// that only upgrades.
    pub response: Duration,
    /// Redirects that one request follows: 10.
    pub redirects: u32,
    /// More of a request's body is read
    /// ([`StreamOptions::body_from`](crate::StreamOptions::body_from)) while fewer bytes of the
    /// request are waiting to be sent: 256 KiB, give or take a piece of 64 KiB. It is the memory
    /// that an upload of any size needs, and several writes at the pace of a fast connection.
    pub body_queue: usize,
    /// After what time a reader of a body that returned `WouldBlock` is read again: 10 ms. A
    /// hundred reads a second cost nothing noticeable, and the delay is short. Less than 1 ms
    /// counts as 1 ms.
    pub body_retry: Duration,
    /// Bytes of the body of a refused response that are kept with its error: 8 KiB. Texts that
    /// state the reason are short; a page of markup is cut.
    pub refusal: usize,
    /// How long that body is awaited after its head: 2 s, and no longer than the time limit of the
    /// request. It mostly comes with the head, and the error is worth more than its end.
    pub refusal_time: Duration,
    /// Bytes of a line that starts a chunk, with its extensions (RFC 9112 §7.1.1): 4 KiB.
    pub chunk_line: usize,
    /// Bytes of chunk framing beyond 16 bytes a chunk and twice the data: 16 KiB over a whole body,
    /// so that extensions cannot make one byte of data cost thousands (CVE-2023-39326).
    pub chunk_overhead: usize,
    /// Bytes of one decoded piece of a coded body (RFC 9110 §8.4): 64 KiB, as of a read. A received
    /// piece that decodes to more is reported in several pieces, so that no more is held at a time.
    pub decoded_piece: usize,
    /// How many times larger than its received bytes a coded body may become: 200. Deflate reaches
    /// up to 1,032, for bytes that are all the same; text mostly stays below 30, and an event that
    /// repeats the one before and is flushed, below 120. Apache's `mod_deflate` has the same
    /// number. 0: nothing beyond [`Limits::decoded_free`].
    pub decoded_ratio: u32,
    /// Decoded bytes of a body that are allowed in any case: 16 MiB, which most programs can keep.
    pub decoded_free: usize,
    /// Bytes of one line of an event stream: 1 MiB. WHATWG HTML names no bound.
    pub sse_line: usize,
    /// Bytes of one event of an event stream, over all its lines: 1 MiB.
    pub sse_block: usize,
    /// How long an [`EventSource`](crate::EventSource) waits before it reconnects, until the server
    /// sends a `retry`: 3 s. WHATWG HTML §9.2.2 leaves it to the client ("a few seconds"); Chromium
    /// takes 3 s, Firefox 5 s.
    pub sse_retry: Duration,
    /// The least time that it waits, whatever the server sends: 500 ms, as in Firefox. A `retry: 0`
    /// and a response that ends at once would make a busy loop. Less than 1 ms counts as 1 ms.
    pub sse_retry_floor: Duration,
    /// The most that a server can make it wait: 1 h. A `retry` of years, by mistake or malice,
    /// would look like an end that was not reported; one of minutes is a server's way to be polled.
    pub sse_retry_ceiling: Duration,
    /// The bound of the wait, which doubles while attempts fail in a row: 1 min. So a server that
    /// is down for long is not overrun when it comes back, and not missed for long either. If a
    /// server asked for more, the wait is longer.
    pub sse_backoff: Duration,
    /// Bytes that may be waiting to be sent on one connection when another message is accepted: 16
    /// MiB. One message more than that fits; then sending is an error until the peer has read.
    pub send_queue: usize,
    /// While fewer bytes than this are waiting to be sent, every ping is answered at once; beyond
    /// it only the latest is (RFC 6455 §5.5.3 allows that): 64 KiB. So a flood of pings costs no
    /// memory.
    pub pong_queue: usize,
    /// A frame that lacks at least this many bytes is read directly into an allocation of its own,
    /// and so is the rest of a frame once its message has this many: 64 KiB, the initial size of
    /// the shared receive buffer.
    pub in_place: usize,
    /// Reactor: initial size of the receive buffer that all connections of a reactor share: 64 KiB
    /// (4 KiB at least).
    pub receive_buffer: usize,
    /// Reactor: size up to which that buffer grows while reads fill it: 1 MiB, where the cost of
    /// system calls is negligible.
    pub receive_buffer_max: usize,
    /// Reactor: bytes of messages that one turn reports, give or take a message: 1 MiB. Each event
    /// counts a little more than its bytes, and compressed data also counts with its inflated size.
    /// It bounds the bytes that wait for slow handlers, and how long one fast peer can delay the
    /// others.
    pub turn: usize,
    /// Reactor: bytes that may wait for the end of a turn; more are written at once: 64 KiB.
    pub cork: usize,
    /// Reactor: time after which the next send writes waiting bytes: 1 ms.
    pub cork_time: Duration,
    /// From the URL to the 101 response (resolve, connect, TLS, handshake): 30 s. Waiting for a
    /// turn does not count. The system's resolver answers for IPv4 and IPv6 at once, so a name
    /// server that is slow for one of them uses up part of it (RFC 8305 §3 would go on with the
    /// other); with an override (`Config::resolve`) or an address in the URL the resolver is not
    /// asked.
    pub opening: Duration,
    /// The longest time in which no byte is sent though some are waiting: 60 s. A slow connection
    /// is alive as long as the kernel takes bytes; this limit ends one that is not. TCP itself
    /// gives up after some 15 minutes.
    pub stall: Duration,
    /// The silence of a stream without an idle limit after which TCP probes whether the server is
    /// still there: 60 s. Nothing else would end the wait for one that is gone without a close;
    /// routers drop a silent connection after some minutes, the first of them after one.
    pub tcp_keep_alive: Duration,
    /// Time between two such probes: 15 s.
    pub tcp_probe_interval: Duration,
    /// How many probes without an answer end a connection: 4, with the two above after two minutes.
    pub tcp_probes: u32,
    /// From our close frame, when its last byte was sent, to the server's: 5 s. Also how long the
    /// program may hold back the answer to the server's.
    pub close: Duration,
    /// How long a socket is drained after the final event, so that our last bytes are not lost to a
    /// reset: 2 s.
    pub linger: Duration,
    /// From a keep-alive ping, when its last byte was sent, to any byte from the peer: 20 s.
    pub pong: Duration,
    /// How long the memory for compressing (287 KiB, 371 where the first message was of 16 KiB or
    /// more) is kept after the last message that used it: 1 s. The bytes that the next message may
    /// refer to stay, 32 KiB at most (RFC 7692 §7.1.1.2); to begin again with them takes 30 to 90
    /// µs, which once a second is negligible.
    pub deflate_rest: Duration,
    /// How long those bytes are kept after the last message that was compressed: 60 s. Messages
    /// after a minute are often about something else. The memory for inflating cannot be freed
    /// while the server may refer to earlier messages.
    pub deflate_idle: Duration,
    /// The shortest interval of keep-alive pings: 100 ms. No proxy needs a shorter one, and an
    /// interval of zero would be a flood.
    pub ping_floor: Duration,
    /// Reactor: opening handshakes at a time per address and port: 1, as RFC 6455 §4.1 demands. The
    /// others wait for their turn, in order. A larger number is a deviation.
    pub opening_per_peer: usize,
    /// The longest wait for such a turn, apart from the time limit of opening, which starts with
    /// the turn: 2 min, as long as four hanging handshakes take.
    pub opening_wait: Duration,
    /// Addresses of one name that are tried: 16.
    pub addresses: usize,
    /// Head start of one connection attempt over the next: 250 ms (RFC 8305 §5).
    pub attempt_delay: Duration,
    /// Reactor: connections kept for another request at a time
    /// ([`StreamOptions::keep_alive`](crate::StreamOptions::keep_alive)): 32. One more closes the
    /// oldest. It bounds descriptors, here and at servers. 0: none is kept.
    pub kept: usize,
    /// Reactor: of these, those with one server, of one proxy and for the same credentials: 6, the
    /// number of connections that browsers have per HTTP/1.1 host. 0: none is kept.
    pub kept_per_peer: usize,
    /// Reactor: how long such a connection is kept: 4 s, less if the server asks for it
    /// (`Keep-Alive: timeout=5` counts as 4 s). Node and Uvicorn close after 5 s, and a request
    /// that meets the close may have to fail. 0: none is kept.
    pub kept_idle: Duration,
    /// Reactor: connections of one reactor: no limit by default, only the system's own. Those that
    /// are [kept](Limits::kept) count, and are closed first.
    pub connections: usize,
    /// Reactor: threads that resolve names: 4. They end when there are no questions.
    pub dns_helpers: usize,
    /// Reactor: how long a name waits for them before it gets a thread of its own: 250 ms. By then
    /// all of them are busy with slow names, which must not delay the fast ones.
    pub dns_patience: Duration,
    /// Reactor: threads that resolve names, including those: 32. So many slow names at a time delay
    /// the others.
    pub dns_helpers_max: usize,
    /// Reactor: questions that wait for such a thread: 1,024; one more fails at once.
    pub dns_queue: usize,
    /// Reactor: bytes that were reported for one connection and are not consumed yet, past which
    /// its socket is not read (by `Client`, by the stand-in, and while a blocking send waits): 2
    /// MiB.
    pub high_water: usize,
    /// Reactor: held bytes at which reading resumes: 512 KiB.
    pub low_water: usize,
    /// Reactor: the same over all connections of a reactor: 64 MiB. Past it, each connection is stopped at
    /// [`Limits::low_water`], so that many fast peers are bounded too.
    pub high_water_total: usize,
    /// Luau: time between two checks of the stand-in, the thread that takes over the network from a
    /// script that computes: 20 ms. It takes over at the second check during the same piece of
    /// work, so after 20 to 40 ms: short enough for any ping, and long enough that 50 checks a
    /// second cost nothing noticeable and that handlers which are merely slow stay inline. Messages
    /// of such a script are sent after that time at the latest. Less than 1 ms counts as 1 ms.
    pub stand_in: Duration,
    /// Luau: `WebStreamClient`s that have not finished: 6, as Roblox documents.
    pub stream_clients: usize,
    /// Luau: bytes of the response body that an HTTP call (`RequestAsync`) waits for, decoded: 64
    /// MiB, as of a message. More is an error; a `RawStream` takes any.
    pub body: usize,
    /// Luau: how deep JSON may be nested: 100 arrays and objects, well below what the stack allows.
    /// More than 127 counts as 127.
    pub json_depth: usize,
    /// Luau: bytes of messages held for one connection until a listener exists: 1 MiB. A short
    /// message counts as 64 bytes, since that is about its cost.
    pub hold: usize,
    /// Luau: the same over all connections: 16 MiB.
    pub hold_total: usize,
    /// Luau: bytes of standard input (`io` of scripts) that are read before a script asks for them:
    /// 64 KiB, as much as a pipe holds. Then the writer of the pipe has to wait. This is also how
    /// much scripts get before the network and the timers have their turn.
    pub input_ahead: usize,
    /// Luau: bytes of one line of standard input, or of one result of `io.read`: 64 MiB, as of a
    /// message. More raises an error, and can still be read in pieces.
    pub input_piece: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message: 64 * MIB,
            fragments: 131_072,
            head: 64 * KIB,
            fields: 128,
            line: 16 * KIB,
            interim: 16,
            response: Duration::from_secs(60),
            redirects: 10,
            body_queue: 256 * KIB,
            body_retry: Duration::from_millis(10),
            refusal: 8 * KIB,
            refusal_time: Duration::from_secs(2),
            chunk_line: 4 * KIB,
            chunk_overhead: 16 * KIB,
            decoded_piece: 64 * KIB,
            decoded_ratio: 200,
            decoded_free: 16 * MIB,
            sse_line: MIB,
            sse_block: MIB,
            sse_retry: Duration::from_secs(3),
            sse_retry_floor: Duration::from_millis(500),
            sse_retry_ceiling: Duration::from_secs(3600),
            sse_backoff: Duration::from_secs(60),
            send_queue: 16 * MIB,
            pong_queue: 64 * KIB,
            in_place: 64 * KIB,
            receive_buffer: 64 * KIB,
            receive_buffer_max: MIB,
            turn: MIB,
            cork: 64 * KIB,
            cork_time: Duration::from_millis(1),
            opening: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            tcp_keep_alive: Duration::from_secs(60),
            tcp_probe_interval: Duration::from_secs(15),
            tcp_probes: 4,
            close: Duration::from_secs(5),
            linger: Duration::from_secs(2),
            pong: Duration::from_secs(20),
            deflate_rest: Duration::from_secs(1),
            deflate_idle: Duration::from_secs(60),
            ping_floor: Duration::from_millis(100),
            opening_per_peer: 1,
            opening_wait: Duration::from_secs(120),
            addresses: 16,
            attempt_delay: Duration::from_millis(250),
            kept: 32,
            kept_per_peer: 6,
            kept_idle: Duration::from_secs(4),
            connections: usize::MAX,
            dns_helpers: 4,
            dns_patience: Duration::from_millis(250),
            dns_helpers_max: 32,
            dns_queue: 1024,
            high_water: 2 * MIB,
            low_water: 512 * KIB,
            high_water_total: 64 * MIB,
            stand_in: Duration::from_millis(20),
            stream_clients: 6,
            body: 64 * MIB,
            json_depth: 100,
            hold: MIB,
            hold_total: 16 * MIB,
            input_ahead: 64 * KIB,
            input_piece: 64 * MIB,
        }
    }
}
