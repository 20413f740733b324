//! Whole bodies of responses, and JSON in both directions.

use moonwire::{ErrorKind, Stream};

use crate::common::*;
use crate::web::get;

/// The stream of a response whose body arrives in pieces, and its server.
fn answer(pieces: &'static [&'static [u8]]) -> (Stream, Scripted<()>) {
    let server = serve(move |mut p| {
        p.request();
        p.write(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in pieces {
            // The client may have closed.
            let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            let _ = p.try_write(&chunk);
        }
        let _ = p.try_write(b"0\r\n\r\n");
    });
    (get(&server.url()).open().unwrap(), server)
}

#[test]
fn a_body_is_read_whole_up_to_the_limit_and_not_one_byte_beyond() {
    let (mut stream, server) = answer(&[b"gr\xC3", b"\xB6\xC3\x9Fer"]);
    assert_eq!(stream.read_all(8).unwrap(), "größer".as_bytes());
    assert_eq!(stream.read_all(0).unwrap(), b"", "nothing is left");
    server.join();
    let (mut stream, server) = answer(&[b"gr\xC3", b"\xB6\xC3\x9Fer"]);
    assert_eq!(stream.read_to_string(8).unwrap(), "größer");
    server.join();
    for limit in [0, 2, 3, 7] {
        let (mut stream, server) = answer(&[b"gr\xC3", b"\xB6\xC3\x9Fer"]);
        let error = stream.read_to_string(limit).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BodyTooBig(n) if *n == limit), "{error}");
        assert!(error.to_string().contains(&format!("{limit} bytes, the limit")), "{error}");
        assert_eq!(error.status(), Some(201));
        server.join();
    }
}

#[test]
fn a_body_that_is_not_utf_8_is_no_text() {
    let (mut stream, server) = answer(&[b"ab\xFF"]);
    let error = stream.read_to_string(100).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotText(e) if e.valid_up_to() == 2), "{error}");
    server.join();
}

#[cfg(feature = "json")]
#[test]
fn json_is_a_body_both_ways() {
    use moonwire::StreamOptions;
    use moonwire::serde_json::{Value, json};

    let server = serve(|mut p| {
        let head = p.request().to_owned();
        let len = field(&head, "Content-Length").unwrap().parse().unwrap();
        let body = p.read(len);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n");
        p.write(&[answer.as_bytes(), &body].concat());
        head
    });
    let value = json!({ "text": "größer", "list": [1, 2.5, null] });
    let url = crate::web::http(&server.url());
    let mut stream =
        StreamOptions::new("POST", &url).unwrap().json(&value).unwrap().open().unwrap();
    assert_eq!(stream.read_json::<Value>(1000).unwrap(), value);
    assert_eq!(field(&server.join(), "Content-Type"), Some("application/json"));

    let (mut stream, server) = answer(&[b"{\"a\": ", b"nonsense\n}"]);
    let error = stream.read_json::<Value>(1000).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Json(_)), "{error}");
    assert!(error.to_string().contains("line 1"), "{error}");
    server.join();
    let (mut stream, server) = answer(&[b"[1, 2]"]);
    assert_eq!(stream.read_json::<Vec<u8>>(6).unwrap(), [1, 2]);
    server.join();
}
