//! Writes responses of HTTP/1.1 (RFC 9112 §4, §7.1). Each is the last of its connection.

use std::io::Write as _;

/// Appends a head; `more` holds whole lines.
pub(super) fn head(out: &mut Vec<u8>, status: u16, more: &str) {
    // A 426 response has to have this field (RFC 9110 §15.5.22).
    let connection = match status {
        426 => "Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
        _ => "close",
    };
    let reason = reason(status);
    let head = format!("HTTP/1.1 {status} {reason}\r\n{more}Connection: {connection}\r\n\r\n");
    out.extend_from_slice(head.as_bytes());
}

/// Appends the head of a response of unknown length.
pub(super) fn start(out: &mut Vec<u8>, fields: &str, chunked: bool) {
    let framing = if chunked { "Transfer-Encoding: chunked\r\n" } else { "" };
    head(out, 200, &format!("{fields}{framing}"));
}

/// Appends a response of known length; without its body for HEAD.
pub(super) fn answer(out: &mut Vec<u8>, status: u16, more: &str, body: &[u8], bodyless: bool) {
    let len = body.len();
    head(out, status, &format!("{more}Content-Type: text/plain\r\nContent-Length: {len}\r\n"));
    if !bodyless {
        out.extend_from_slice(body);
    }
}

/// Appends the line that starts a chunk; `extension` is empty or begins with `;`.
pub(super) fn chunk_size(out: &mut Vec<u8>, len: usize, extension: &str) {
    // Writing to a `Vec` cannot fail.
    let _ = write!(out, "{len:x}{extension}\r\n");
}

/// Appends a chunk.
pub(super) fn chunk(out: &mut Vec<u8>, data: &[u8], extension: &str) {
    chunk_size(out, data.len(), extension);
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// The reason phrase of a status (RFC 9110 §15); the grammar allows an empty one.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        413 => "Content Too Large",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_the_lines_that_its_status_demands() {
        for (status, want) in [
            (200, "HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\n\r\n"),
            (599, "HTTP/1.1 599 \r\nX: y\r\nConnection: close\r\n\r\n"),
            (
                426,
                "HTTP/1.1 426 Upgrade Required\r\nX: y\r\nConnection: Upgrade, close\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
            ),
        ] {
            let mut out = Vec::new();
            head(&mut out, status, "X: y\r\n");
            assert_eq!(std::str::from_utf8(&out), Ok(want));
        }
    }

    #[test]
    fn chunks_have_their_size_in_hex() {
        let mut out = Vec::new();
        chunk(&mut out, &[b'x'; 30], "");
        chunk(&mut out, b"y", ";a=b");
        let want = format!("1e\r\n{}\r\n1;a=b\r\ny\r\n", "x".repeat(30));
        assert_eq!(std::str::from_utf8(&out), Ok(&*want));
    }
}
