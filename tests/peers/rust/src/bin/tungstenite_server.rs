//! tungstenite as an echo server, for tests/audit: PORT.

use std::net::TcpListener;

fn main() {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).expect("a port");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port");
    for tcp in listener.incoming().flatten() {
        std::thread::spawn(move || {
            let Ok(mut socket) = tungstenite::accept(tcp) else { return };
            // As in its documentation: reading also answers pings and close frames, and an error is
            // the end.
            while let Ok(message) = socket.read() {
                if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                    return;
                }
            }
        });
    }
}
