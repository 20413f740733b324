//! fastwebsockets against the hostile server.

#[path = "../reported.rs"]
mod reported;

use std::future::Future;

use fastwebsockets::{FragmentCollector, OpCode, handshake};
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use tokio::net::TcpStream;

struct Local;

impl<F: Future<Output: Send + 'static> + Send + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::spawn(future);
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(run());
}

async fn run() {
    let args = reported::arguments("fastwebsockets");
    let host = args.url.strip_prefix("ws://").and_then(|u| u.split('/').next()).unwrap();
    let stream = TcpStream::connect(host).await.unwrap();
    // As its README shows.
    let mut request = Request::get(&args.url)
        .header("Host", host)
        .header("Upgrade", "websocket")
        .header("Connection", "upgrade")
        .header("Sec-WebSocket-Key", handshake::generate_key())
        .header("Sec-WebSocket-Version", "13");
    if let Some(protocol) = &args.protocol {
        request = request.header("Sec-WebSocket-Protocol", protocol);
    }
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let mut ws = match handshake::client(&Local, request, stream).await {
        Ok((ws, _)) => ws,
        Err(e) => return reported::error(&e),
    };
    reported::opened();
    if let Some(max) = args.message {
        ws.set_max_message_size(max);
    }
    let mut ws = FragmentCollector::new(ws);
    loop {
        match ws.read_frame().await {
            Ok(frame) => match frame.opcode {
                OpCode::Text => reported::message("text", &frame.payload),
                OpCode::Binary => reported::message("binary", &frame.payload),
                OpCode::Close => {
                    let code = frame.payload.first_chunk().map_or(1005, |c| u16::from_be_bytes(*c));
                    return reported::close(code);
                }
                _ => {}
            },
            Err(e) => return reported::error(&e),
        }
    }
}
