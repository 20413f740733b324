//! Every number that bounds memory or time, each with its reason.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The limits of one reactor and its connections.
///
/// Limits whose text begins with *Reactor* or *Luau* are shared by all connections: they are set
/// for the reactor or the Luau runtime when it is created. All others belong to a connection, and
/// can be set for one connection ([`Options::limits`](crate::Options::limits),
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
    /// Bytes of one received message, over all its frames: 64 MiB. A longer message fails the
    /// connection with 1009. A single frame has the same bound. For a compressed message this
    /// bounds the inflated bytes, while they are produced; its frames may have an eighth and 1 KiB
    /// more, since incompressible data grows a little.
    pub message: usize,
    /// Frames of one received message: 131,072. An empty frame counts, since it costs time although
    /// it adds no byte (the Autobahn suite sends 65,537). One more fails the connection with 1009.
    pub fragments: u32,
    /// Bytes of a response head: 64 KiB. Browsers and servers send far less.
    pub head: usize,
    /// Fields of a response head: 128.
    pub fields: usize,
    /// Bytes of one line of a response head: 16 KiB. A long cookie needs that much.
    pub line: usize,
    /// Interim (1xx) responses before the final one: 16.
    pub interim: u32,
    /// From the last byte of the request to the head of the response, for a stream without a
    /// timeout of its own: 60 s. This is longer than for a handshake, since a server may compute
    /// before it responds.
    pub response: Duration,
    /// Redirects that one request follows: 10.
    pub redirects: u32,
    /// While fewer bytes of the request than this are waiting to be sent, more of its body is read
    /// ([`StreamOptions::body_from`](crate::StreamOptions::body_from)): 256 KiB, give or take a
    /// piece of 64 KiB. An upload of any size needs this much memory; it is enough for several
    /// writes at the pace of a fast connection.
    pub body_queue: usize,
    /// How long the reactor waits before it reads again from a body's reader that returned
    /// `WouldBlock`: 10 ms. A hundred reads a second cost nothing noticeable, and the delay is
    /// short. Less than 1 ms counts as 1 ms.
    pub body_retry: Duration,
    /// Bytes of the body of a refused response that its error keeps: 8 KiB. A text that states the
    /// reason is short; a page of markup is cut.
    pub refusal: usize,
    /// How long the client waits for that body after its head: 2 s, and no longer than the
    /// request's time limit. The body mostly comes with the head; the error must not wait longer.
    pub refusal_time: Duration,
    /// Bytes of the line that starts a chunk, with its extensions (RFC 9112 §7.1.1): 4 KiB.
    pub chunk_line: usize,
    /// Bytes of chunk framing of a whole body beyond 16 bytes per chunk and twice the data: 16 KiB,
    /// so that extensions cannot make one byte of data cost thousands (CVE-2023-39326).
    pub chunk_overhead: usize,
    /// Bytes of one decoded piece of a coded body (RFC 9110 §8.4): 64 KiB, as for a read. A piece
    /// that decodes to more is reported in several pieces, so that no more is held at a time.
    pub decoded_piece: usize,
    /// How many times larger than its received bytes a coded body may become: 200. Deflate reaches
    /// up to 1,032, for bytes that are all the same; text mostly stays below 30, and a flushed
    /// event that repeats the previous one below 120. Apache's `mod_deflate` has the same number.
    /// 0: no byte beyond [`Limits::decoded_free`].
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
    /// The shortest such wait, whatever the server sends: 500 ms, as in Firefox. A `retry: 0` and a
    /// response that ends at once would make a busy loop. Less than 1 ms counts as 1 ms.
    pub sse_retry_floor: Duration,
    /// The longest such wait that a server can ask for: 1 h. A `retry` of years, by mistake or
    /// malice, would look like an end that was not reported; one of minutes lets the client poll.
    pub sse_retry_ceiling: Duration,
    /// The bound of the wait that doubles while attempts fail in a row: 1 min. So many clients do
    /// not return at once to a server that was down for long, and a client finds it soon enough. If
    /// the server asked for a longer wait, that counts.
    pub sse_backoff: Duration,
    /// Bytes that may be waiting on one connection when another message is accepted: 16 MiB. One
    /// more message is then accepted; after it a send is an error until the peer has read.
    pub send_queue: usize,
    /// While fewer bytes than this are waiting to be sent, every ping is answered at once; beyond
    /// it only the latest is (RFC 6455 §5.5.3 allows that): 64 KiB. So a flood of pings costs no
    /// more memory.
    pub pong_queue: usize,
    /// The rest of a frame is read directly into an allocation of its own if at least this many of
    /// its bytes are missing, or its message already has this many: 64 KiB, the initial size of the
    /// shared receive buffer.
    pub in_place: usize,
    /// Reactor: initial size of the receive buffer that all connections of a reactor share: 64 KiB
    /// (4 KiB at least).
    pub receive_buffer: usize,
    /// Reactor: the size up to which that buffer grows while reads fill it: 1 MiB. At this size,
    /// system calls cost a negligible part. Scripts with a poll thread get half of it
    /// (`luau::Options::poll_thread`).
    pub receive_buffer_max: usize,
    /// Reactor: bytes of messages that one turn reports, give or take a message: 1 MiB. Each event
    /// counts a little more than its bytes, and compressed data also counts with its inflated size.
    /// This bounds the bytes that wait for slow handlers, and how long one fast peer can delay the
    /// others.
    pub turn: usize,
    /// Reactor: bytes that wait for the end of a turn: below 64 KiB; from there on they are written at once.
    pub cork: usize,
    /// Reactor: how long queued bytes may wait before the next send writes them: 1 ms.
    pub cork_time: Duration,
    /// From the URL to the 101 response (resolve, connect, TLS, handshake): 30 s. Waiting for a
    /// turn at the gate does not count. The system's resolver returns IPv4 and IPv6 addresses
    /// together, so a name server that is slow for one of them uses up part of this time (RFC 8305
    /// §3 would continue with the other). With an override (`Config::resolve`) or an address in the
    /// URL, the resolver is not called.
    pub opening: Duration,
    /// The longest time in which the kernel accepts no byte although some are waiting: 60 s. A slow
    /// connection is alive as long as the kernel accepts bytes; this limit ends one that is not.
    /// TCP itself gives up after about 15 minutes.
    pub stall: Duration,
    /// A stream without an idle limit: the silence after which TCP probes whether the server still
    /// exists: 60 s. Nothing else would end the wait for a server that vanished without closing;
    /// routers drop a silent connection after some minutes, the first of them after one.
    pub tcp_keep_alive: Duration,
    /// Time between two such probes: 15 s.
    pub tcp_probe_interval: Duration,
    /// How many unanswered probes end a connection: 4; with these two limits, after two minutes.
    pub tcp_probes: u32,
    /// From the last byte of our close frame to the server's close frame: 5 s. Also how long the
    /// program may hold back the answer to the server's close frame.
    pub close: Duration,
    /// How long a socket is drained after the final event, so that a reset does not discard our
    /// last bytes: 2 s.
    pub linger: Duration,
    /// From the last byte of a keep-alive ping to any byte from the peer: 20 s.
    pub pong: Duration,
    /// How long the memory for compressing (287 KiB, or 371 KiB if the first message had 16 KiB or
    /// more) is kept after the last message that used it: 1 s. The bytes that the next message may
    /// refer to stay, 32 KiB at most (RFC 7692 §7.1.1.2); starting again with them takes 30 to 90
    /// µs, which once a second is negligible.
    pub deflate_rest: Duration,
    /// How long those bytes are kept after the last compressed message: 60 s. A message after a
    /// minute often has other content. The memory for inflating cannot be freed while the server
    /// may refer to earlier messages.
    pub deflate_idle: Duration,
    /// The shortest interval of keep-alive pings: 100 ms. No proxy needs a shorter one, and an
    /// interval of zero would be a flood.
    pub ping_floor: Duration,
    /// Reactor: opening handshakes at a time per address and port: 1, as RFC 6455 §4.1 demands. The
    /// others wait at the gate, in order. A larger number deviates from the RFC.
    pub opening_per_peer: usize,
    /// The longest wait for a turn at the gate: 2 min, the time that four hanging handshakes take.
    /// The time limit of opening starts after this wait.
    pub opening_wait: Duration,
    /// Addresses of one name that are tried: 16.
    pub addresses: usize,
    /// How long one connection attempt runs before the next starts: 250 ms (RFC 8305 §5).
    pub attempt_delay: Duration,
    /// Reactor: connections that are kept for another request
    /// ([`StreamOptions::keep_alive`](crate::StreamOptions::keep_alive)): 32. One more closes the
    /// oldest. This bounds descriptors, here and on servers. 0: none is kept.
    pub kept: usize,
    /// Reactor: kept connections to one server, through one proxy and with the same credentials: 6,
    /// the number of connections that browsers have per HTTP/1.1 host. 0: none is kept.
    pub kept_per_peer: usize,
    /// Reactor: how long such a connection is kept: 4 s, less if the server asks for that
    /// (`Keep-Alive: timeout=5` counts as 4 s). Node and Uvicorn close after 5 s, and a request
    /// that meets their close may fail. 0: none is kept.
    pub kept_idle: Duration,
    /// Reactor: connections of one reactor: unlimited by default, apart from the system's limit.
    /// Those that are [kept](Limits::kept) count, and are closed first.
    pub connections: usize,
    /// Reactor: threads that resolve names: 4. They end when no name is waiting.
    pub dns_helpers: usize,
    /// Reactor: how long a name waits for these threads before it gets a thread of its own: 250 ms.
    /// By then all of them are busy with slow names, which must not delay the fast ones.
    pub dns_patience: Duration,
    /// Reactor: threads that resolve names, with those: 32. This many slow names at a time delay
    /// other names.
    pub dns_helpers_max: usize,
    /// Reactor: names that wait for such a thread: 1,024; one more fails at once.
    pub dns_queue: usize,
    /// Reactor: bytes of one connection that were reported and are not consumed yet; beyond this
    /// number its socket is not read (by `Client`, by the stand-in, and while a blocking send
    /// waits): 2 MiB.
    pub high_water: usize,
    /// Reactor: held bytes at which reading resumes: 512 KiB.
    pub low_water: usize,
    /// Reactor: held bytes of all connections of a reactor: 64 MiB. Beyond this, each connection is
    /// not read from [`Limits::low_water`] on, so that many fast peers are bounded, too.
    pub high_water_total: usize,
    /// Luau: time between two checks of the stand-in, the thread that drives the network while a
    /// script computes: 20 ms. It takes over at the second check during one piece of work, so after
    /// 20 to 40 ms: soon enough to answer any ping. 50 checks a second cost nothing noticeable, and
    /// a handler that is merely slow does not cause a takeover. Messages of such a script are sent
    /// after that time at the latest. Less than 1 ms counts as 1 ms.
    pub stand_in: Duration,
    /// Luau: `WebStreamClient`s that have not finished: 6, as Roblox documents.
    pub stream_clients: usize,
    /// Luau: bytes of the decoded response body that an HTTP call (`RequestAsync`) waits for: 64
    /// MiB, as for a message. More is an error; a `RawStream` accepts any number.
    pub body: usize,
    /// Luau: how deep JSON may be nested: 100 arrays and objects, well below what the stack allows.
    /// More than 127 counts as 127.
    pub json_depth: usize,
    /// Luau: bytes of messages held for one connection until a listener exists: 1 MiB. A short
    /// message counts as 64 bytes, about what it costs.
    pub hold: usize,
    /// Luau: bytes of messages held for all connections: 16 MiB.
    pub hold_total: usize,
    /// Luau: bytes of standard input (`io` of scripts) that are read before a script reads them: 64
    /// KiB, as much as a pipe holds. Then the program that writes to the pipe has to wait. Scripts
    /// also get this much at most before the network and the timers are served.
    pub input_ahead: usize,
    /// Luau: bytes of one line of standard input, or of one result of `io.read`: 64 MiB, as for a
    /// message. More raises an error; the script can still read them in pieces.
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
