//! Every number that bounds memory or time, each with its reason.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What one reactor and its connections may use.
///
/// What begins with *Reactor* or *Luau* is shared by all connections, and counts where the reactor or
/// the host of scripts is made. All else is a connection's, and can be set for one alone
/// ([`Options::limits`](crate::Options::limits), [`StreamOptions::limits`](crate::StreamOptions::limits)).
///
/// The defaults suit a program that talks to servers it did not write. Every field can be set;
/// a value is read when a connection is opened (or, for the reactor's own numbers, when the
/// reactor is made), so a later change touches later connections only.
///
/// ```
/// let limits = moonwire::Limits { message: 1024 * 1024, ..Default::default() };
/// assert!(limits.message < moonwire::Limits::default().message);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one received message, put together from all its frames: 64 MiB.
    /// More fails the connection with 1009. A single frame has the same bound. Of a compressed message
    /// it bounds what is inflated, as it comes to be; its frames may have an eighth and 1 KiB more, since
    /// what does not shrink grows a little.
    pub message: usize,
    /// Frames of one received message: 131,072. An empty one counts, since it costs time though
    /// it adds no byte (the Autobahn suite sends 65,537). More fails with 1009.
    pub fragments: u32,
    /// Bytes of a response head: 64 KiB. Browsers and servers stay well below.
    pub head: usize,
    /// Fields of a response head: 128.
    pub fields: usize,
    /// Bytes of one line of a response head: 16 KiB, which a long cookie needs.
    pub line: usize,
    /// Interim (1xx) responses before the final one: 16.
    pub interim: u32,
    /// From the last byte of the request to the head of the response, for a stream whose request
    /// has no time limit of its own: 60 s. A server that computes an answer before it says a word
    /// needs longer than one that only upgrades.
    pub response: Duration,
    /// Redirects that one request follows: 10.
    pub redirects: u32,
    /// Bytes of a request that wait to be sent at most when more of its body is read
    /// ([`StreamOptions::body_from`](crate::StreamOptions::body_from)): 256 KiB, give or take a piece of
    /// 64 KiB. It is what an upload of any size costs, and several writes at the pace of a fast line.
    pub body_queue: usize,
    /// When a reader of a body that has said `WouldBlock` is asked again: 10 ms. A hundred questions
    /// a second do not show, and for what arrives by then it is soon. Less than 1 ms counts as 1 ms.
    pub body_retry: Duration,
    /// Bytes of the body of an answer that is refused which are kept with its error: 8 KiB. What says
    /// why is short; a page of markup is cut.
    pub refusal: usize,
    /// How long that body is waited for behind its head: 2 s, and no longer than the time limit of
    /// what was asked for. It mostly comes with the head, and the error is worth more than its end.
    pub refusal_time: Duration,
    /// Bytes of a line that starts a chunk, with its extensions (RFC 9112 §7.1.1): 4 KiB.
    pub chunk_line: usize,
    /// What chunk framing may cost beyond 16 bytes a chunk and twice the data: 16 KiB over a whole
    /// body, so that extensions cannot make one byte of data cost thousands (CVE-2023-39326).
    pub chunk_overhead: usize,
    /// Bytes of one decoded piece of a coded body (RFC 9110 §8.4): 64 KiB, as a read brings. What a piece
    /// that comes becomes beyond that is another piece, so that nobody holds more at a time.
    pub decoded_piece: usize,
    /// So many times the bytes that came is what a coded body may become: 200. Deflate makes up to 1,032
    /// times as much, of bytes that are all the same; text mostly stays below 30, and an event that repeats the
    /// one before and is flushed, below 120. Apache's `mod_deflate` has the same number. 0: nothing beyond
    /// [`Limits::decoded_free`].
    pub decoded_ratio: u32,
    /// So much it may become in any case: 16 MiB, which whoever keeps it can bear.
    pub decoded_free: usize,
    /// Bytes of one line of an event stream: 1 MiB. WHATWG HTML names no bound.
    pub sse_line: usize,
    /// Bytes of one event of an event stream, over all its lines: 1 MiB.
    pub sse_block: usize,
    /// What an [`EventSource`](crate::EventSource) waits before it connects again, until the server
    /// says how long: 3 s. WHATWG HTML §9.2.2 leaves it to the client ("a few seconds"); Chromium
    /// takes 3 s, Firefox 5 s.
    pub sse_retry: Duration,
    /// The least it waits, whatever the server says: 500 ms, as in Firefox. A `retry: 0` and an
    /// answer that ends at once would make a busy loop. Less than 1 ms counts as 1 ms.
    pub sse_retry_floor: Duration,
    /// The most that a server can make it wait: 1 h. A `retry` of years, by mistake or malice, would
    /// look like an end that nobody told; one of minutes is a server's way to be polled.
    pub sse_retry_ceiling: Duration,
    /// Up to what the wait doubles while attempts fail in a row: 1 min. So a server that is down for
    /// long is not overrun when it comes back, and not missed for long either. A server that asked
    /// for more gets more.
    pub sse_backoff: Duration,
    /// Bytes that may wait to be sent on one connection when another message is accepted: 16 MiB.
    /// One message more than that fits; then sending is an error until the peer has read.
    pub send_queue: usize,
    /// While fewer bytes than this wait to be sent, every ping is answered at once; beyond it only
    /// the latest is (RFC 6455 §5.5.3 allows that): 64 KiB. So a flood of pings costs no memory.
    pub pong_queue: usize,
    /// A frame that misses at least this many bytes is read straight into an allocation of its
    /// own, and so is what is missing of a frame once its message has this many: 64 KiB, the first
    /// size of the shared receive buffer.
    pub in_place: usize,
    /// Reactor: first size of the receive buffer that all connections of a reactor share: 64 KiB (4 KiB at
    /// least).
    pub receive_buffer: usize,
    /// Reactor: size up to which that buffer grows while reads fill it: 1 MiB, where system calls no
    /// longer show.
    pub receive_buffer_max: usize,
    /// Reactor: bytes of messages that one turn hands over, give or take a message: 1 MiB. Each event counts
    /// a little more than its bytes, and what is compressed counts as what it becomes, too. It bounds what waits for slow handlers, and how long one fast
    /// peer can hold up the others.
    pub turn: usize,
    /// Reactor: bytes that wait for the end of a turn before they are written anyway: 64 KiB.
    pub cork: usize,
    /// Reactor: time for which bytes wait before the next send writes them: 1 ms.
    pub cork_time: Duration,
    /// From the URL to the 101 response (resolve, connect, TLS, handshake): 30 s. Waiting for one's
    /// turn does not count. The system's resolver answers for IPv4 and IPv6 at once, so a name server
    /// that is slow about one of them takes of it (RFC 8305 §3 would go on with the other); an
    /// override (`Config::resolve`) or an address in the URL asks no resolver.
    pub opening: Duration,
    /// The longest time in which no byte leaves though some wait to be sent: 60 s. A slow line is
    /// slow, not dead, as long as it moves; this is what ends one that does not. TCP itself gives up
    /// after some 15 minutes.
    pub stall: Duration,
    /// The silence of a stream without an idle limit after which TCP asks whether the server is still
    /// there: 60 s. Nothing else would end the wait for one that is gone without a word; routers forget
    /// a silent connection after some minutes, the first of them after one.
    pub tcp_keep_alive: Duration,
    /// Between two such questions: 15 s.
    pub tcp_probe_interval: Duration,
    /// So many of them without an answer end a connection: 4, with the two above after two minutes.
    pub tcp_probes: u32,
    /// From our close frame, when its last byte has left, to the server's: 5 s. Also how long an
    /// owner may hold back the answer to the server's.
    pub close: Duration,
    /// After the final event, how long a socket is drained so that what we said last is not lost
    /// to a reset: 2 s.
    pub linger: Duration,
    /// From a keep-alive ping, when its last byte has left, to any byte from the peer: 20 s.
    pub pong: Duration,
    /// How long what compresses messages (287 KiB, 371 where the first message was of 16 KiB or more) is kept
    /// after the last that it was used for: 1 s. The bytes that the next may refer to stay, 32 KiB at most
    /// (RFC 7692 §7.1.1.2); to begin again with them takes 30 to 90 µs, which once a second is nothing.
    pub deflate_rest: Duration,
    /// How long those bytes are kept after the last message that was compressed: 60 s. What comes after a
    /// minute often is about something else. What inflates cannot be given up while the server may refer to
    /// earlier messages.
    pub deflate_idle: Duration,
    /// The least interval of keep-alive pings: 100 ms. No proxy wants more, and an interval of zero
    /// would be a flood.
    pub ping_floor: Duration,
    /// Reactor: opening handshakes at a time with one address and port: 1, as RFC 6455 §4.1 demands. The
    /// others wait for their turn, in the order in which they were asked for. A larger number is a
    /// deviation.
    pub opening_per_peer: usize,
    /// The longest wait for such a turn, apart from the time limit of the opening, which starts with
    /// the turn: 2 min, as long as four handshakes that hang take.
    pub opening_wait: Duration,
    /// Addresses of one name that are tried: 16.
    pub addresses: usize,
    /// Head start of one connection attempt over the next: 250 ms (RFC 8305 §5).
    pub attempt_delay: Duration,
    /// Reactor: connections that wait for another request at a time
    /// ([`StreamOptions::keep_alive`](crate::StreamOptions::keep_alive)): 32. One more ends the one that
    /// has waited longest. It bounds descriptors, here and at servers. 0: none is kept.
    pub kept: usize,
    /// Reactor: of these, those with one server, of one proxy and for the same credentials: 6, as many as
    /// browsers have with a host of HTTP/1.1 at all. 0: none is kept.
    pub kept_per_peer: usize,
    /// Reactor: how long such a connection waits: 4 s, less where the server says so
    /// (`Keep-Alive: timeout=5` counts as 4 s). Node and Uvicorn close after 5 s, and a request that
    /// meets the close may have to fail. 0: none is kept.
    pub kept_idle: Duration,
    /// Reactor: connections of one reactor: no limit by default, the system's own apply. Those that
    /// are [kept](Limits::kept) count, and end first.
    pub connections: usize,
    /// Reactor: threads that resolve names: 4. They end when nothing is asked.
    pub dns_helpers: usize,
    /// Reactor: how long a name waits for them before it gets a thread of its own: 250 ms. They are all busy
    /// with names that are slow then, which are not to stop those that are fast.
    pub dns_patience: Duration,
    /// Reactor: threads that resolve names, those included: 32. So many slow names at a time stop the others.
    pub dns_helpers_max: usize,
    /// Reactor: questions that wait for such a thread: 1,024; one more fails at once.
    pub dns_queue: usize,
    /// Reactor: bytes that were handed over for one connection and that are not consumed yet, past which
    /// its socket is not read (by `Client`, by the stand-in, and while a blocking send waits):
    /// 2 MiB.
    pub high_water: usize,
    /// Reactor: where reading goes on: 512 KiB.
    pub low_water: usize,
    /// Reactor: the same over all connections of a reactor: 64 MiB. Past it, each connection is stopped at
    /// [`Limits::low_water`], so that many fast peers are bounded too.
    pub high_water_total: usize,
    /// Luau: between two looks of the stand-in, the thread that takes over the network from a script
    /// that computes: 20 ms. It takes over at the second look at the same piece of work, so after
    /// 20 to 40 ms: short enough for any ping, and long enough that 50 looks a second do not show
    /// and that handlers which are merely slow stay inline. What such a script sends leaves after
    /// so long at the latest. Less than 1 ms counts as 1 ms.
    pub stand_in: Duration,
    /// Luau: `WebStreamClient`s that have not finished: 6, as Roblox documents.
    pub stream_clients: usize,
    /// Luau: bytes of the body of an answer that an HTTP call (`RequestAsync`) waits for, decoded: 64 MiB, as
    /// of a message. More is an error; a `RawStream` takes any.
    pub body: usize,
    /// Luau: how deep JSON may be nested: 100 arrays and objects, well below what the stack bears.
    /// More than 127 counts as 127.
    pub json_depth: usize,
    /// Luau: bytes of messages held for one connection until a listener exists: 1 MiB. A short
    /// message counts as 64 bytes, since it costs as much.
    pub hold: usize,
    /// Luau: the same over all connections: 16 MiB.
    pub hold_total: usize,
    /// Luau: bytes of standard input (`io` of scripts) that are read before a script asks for
    /// them: 64 KiB, as much as a pipe holds. Whoever writes them is stopped there. So many are also what
    /// scripts are given before the network and the timers have their turn.
    pub input_ahead: usize,
    /// Luau: bytes of one line of standard input, or of what one `io.read` gives: 64 MiB, as of a message.
    /// More raises, and stays to be read in pieces.
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
