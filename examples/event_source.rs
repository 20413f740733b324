//! Server-sent events over several connections: after a loss, the source connects again and asks
//! for the events after the last one that it returned.
//!
//! ```sh
//! cargo run --example event_source                              # starts its own server
//! cargo run --example event_source https://example.com/events   # until Ctrl-C
//! ```

use std::error::Error;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use moonwire::{EventSource, Incoming, StreamOptions};

fn main() -> ExitCode {
    match run(std::env::args().nth(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The error is one line: the URL, the stage that failed, the reason.
            eprintln!("event_source: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(url: Option<String>) -> Result<(), Box<dyn Error>> {
    let url = match url {
        Some(url) => url,
        None => start_server()?,
    };
    let mut source = EventSource::new(StreamOptions::get(&url)?)
        .reconnect(true)
        // A proxy whose server restarts answers 502 or 503 for a while.
        .reconnect_when_refused(true)
        // How long to wait if the server does not set it; the server below does.
        .retry(Duration::from_secs(2))
        // If nothing arrives for this time, not even a comment, the connection is ended.
        .idle(Some(Duration::from_secs(60)));
    loop {
        match source.next_timeout(Duration::from_secs(1))? {
            Incoming::Event(event) => println!("{} #{}: {}", event.event, event.id, event.data),
            Incoming::Comment(text) => println!("(the server says: {text})"),
            Incoming::Opened => println!("(connected)"),
            Incoming::Reconnecting { after } => match source.last_error() {
                Some(error) => println!("({error}; again in {after:?})"),
                None => println!("(the stream has ended; again in {after:?})"),
            },
            Incoming::Closed => break,
            _ => println!("(nothing within 1 s)"),
        }
    }
    println!("the server has no more");
    Ok(())
}

const LAST: u32 = 8;

/// Whether the server has already refused one request.
static BUSY: AtomicBool = AtomicBool::new(false);

/// Starts a server that ends each connection after three events, continues after the ID that the
/// client names, answers 503 once, and answers 204 when there are no more events.
fn start_server() -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/events", listener.local_addr()?);
    thread::spawn(move || {
        for client in listener.incoming() {
            if let Err(error) = client.and_then(serve) {
                eprintln!("server: {error}");
            }
        }
    });
    Ok(url)
}

fn serve(mut client: TcpStream) -> io::Result<()> {
    let mut seen = 0;
    for line in BufReader::new(&client).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(id) = line.strip_prefix("Last-Event-ID: ") {
            println!("server: goes on behind #{id}");
            seen = id.parse().unwrap_or(0);
        }
    }
    if seen >= LAST {
        return client.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
    }
    if seen == 3 && !BUSY.swap(true, Ordering::Relaxed) {
        return client.write_all(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n");
    }
    client
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 500\n\n")?;
    client.write_all(b": three at a time\n")?;
    for id in (seen + 1..=LAST).take(3) {
        thread::sleep(Duration::from_millis(50));
        client.write_all(format!("event: tick\nid: {id}\ndata: {id} of {LAST}\n\n").as_bytes())?;
    }
    Ok(())
}
