//! Streams over real sockets.

use moonwire::proto::http::Delivery;
use moonwire::{Closed, StreamOptions};

use crate::common::{LONG, Told, events, serve_either, trusting};

#[test]
fn a_stream_tells_its_head_its_pieces_and_its_end() {
    for secure in [false, true] {
        let server = serve_either(secure, |mut peer| {
            let head = peer.request();
            assert!(head.starts_with("GET /x?y HTTP/1.1\r\n"), "{head}");
            let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n\
                           5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n";
            peer.write(answer);
        });
        let url = server.url().replacen("ws", "http", 1) + "x?y";
        let options = StreamOptions::get(&url).unwrap().timeout(LONG).delivery(Delivery::Raw);
        let told = events(options, trusting());
        server.join();
        let [Told::Response(r), Told::Chunk(a), Told::Chunk(b), Told::Closed(Closed::Complete)] =
            &told[..]
        else {
            panic!("{told:?}")
        };
        assert_eq!((r.status, r.url.as_str()), (200, url.as_str()));
        assert_eq!((&a[..], &b[..]), (&b"hello"[..], &b"!"[..]));
    }
}
