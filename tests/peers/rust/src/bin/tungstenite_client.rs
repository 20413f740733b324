//! tungstenite against the hostile server.

#[path = "../reported.rs"]
mod reported;

use tungstenite::client::{IntoClientRequest, connect_with_config};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message};

fn main() {
    let args = reported::arguments("tungstenite");
    let mut request = args.url.into_client_request().unwrap();
    if let Some(protocol) = args.protocol {
        let name = "Sec-WebSocket-Protocol";
        request.headers_mut().insert(name, protocol.parse().unwrap());
    }
    let mut config = WebSocketConfig::default();
    if let Some(max) = args.message {
        config = config.max_message_size(Some(max)).max_frame_size(Some(max));
    }
    let mut ws = match connect_with_config(request, Some(config), 3) {
        Ok((ws, _)) => ws,
        Err(e) => return reported::error(&e),
    };
    reported::opened();
    let mut code = None;
    loop {
        match ws.read() {
            Ok(Message::Text(text)) => reported::message("text", text.as_bytes()),
            Ok(Message::Binary(data)) => reported::message("binary", &data),
            Ok(Message::Close(frame)) => code = Some(frame.map_or(1005, |f| f.code.into())),
            Ok(_) => {}
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                return reported::close(code.unwrap_or(1006));
            }
            // Its error after a close frame is about the end of TCP.
            Err(e) => return code.map_or_else(|| reported::error(&e), reported::close),
        }
    }
}
