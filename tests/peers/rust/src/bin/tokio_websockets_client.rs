//! tokio-websockets against the hostile server.

#[path = "../reported.rs"]
mod reported;

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio_websockets::{ClientBuilder, Limits};

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run());
}

async fn run() {
    let args = reported::arguments("tokio-websockets");
    let mut builder = ClientBuilder::from_uri(args.url.parse().unwrap());
    if let Some(max) = args.message {
        builder = builder.limits(Limits::default().max_payload_len(Some(max)));
    }
    if let Some(protocol) = args.protocol {
        let name = http::HeaderName::from_static("sec-websocket-protocol");
        builder = builder.add_header(name, protocol.parse().unwrap()).unwrap();
    }
    let mut ws = match builder.connect().await {
        Ok((ws, _)) => ws,
        Err(e) => return reported::error(&e),
    };
    reported::opened();
    let mut code = None;
    while let Some(item) = ws.next().await {
        match item {
            Ok(message) if message.is_text() => reported::message("text", message.as_payload()),
            Ok(message) if message.is_binary() => reported::message("binary", message.as_payload()),
            Ok(message) => code = message.as_close().map(|(c, _)| c.into()).or(code),
            Err(e) => {
                reported::error(&e);
                // Its close frame is sent only at another call.
                let rest = async { while ws.next().await.is_some() {} };
                let _ = tokio::time::timeout(Duration::from_millis(500), rest).await;
                return;
            }
        }
    }
    code.map_or_else(reported::end, reported::close);
}
