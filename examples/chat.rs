//! Sends and receives at the same time: a blocking connection in two halves. One thread sends the
//! lines of standard input, another prints the messages that arrive; neither waits for the other.
//!
//! ```sh
//! cargo run --example chat                           # starts its own server, which echoes
//! cargo run --example chat wss://echo.example/
//! ```
//!
//! The end of the input (Ctrl-D) closes the connection.

use std::error::Error;
use std::io::BufRead as _;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use moonwire::{Message, Options, Received, Sender};

fn main() -> ExitCode {
    match run(std::env::args().nth(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(url: Option<String>) -> Result<(), Box<dyn Error>> {
    // The server lives until the end of this function.
    let (url, _server) = match url {
        Some(url) => (url, None),
        None => {
            // `moonwire::peer` is hidden: only examples and tests use it.
            let server = moonwire::peer::Server::bind(([127, 0, 0, 1], 0).into())?.spawn()?;
            (server.url().to_owned(), Some(server))
        }
    };
    let ws = Options::new(&url)?.timeout(Duration::from_secs(10)).connect()?;
    println!("connected to {url}");
    let (sender, mut receiver) = ws.split()?;

    // This thread may wait for a line for ever, so the program does not wait for the thread.
    thread::spawn(move || {
        if let Err(error) = talk(&sender) {
            eprintln!("chat: not sent: {error}");
        }
    });
    loop {
        match receiver.read_timeout(Duration::from_secs(3600))? {
            Received::Message(Message::Text(text)) => println!("< {text}"),
            Received::Message(Message::Binary(data)) => println!("< {} bytes", data.len()),
            Received::Closed(frame) => {
                println!("closed: {frame}");
                return Ok(());
            }
            // No message for an hour. A pong would come here, too, but only after `set_pongs`.
            _ => {}
        }
    }
}

/// Sends each line, and closes after the last one.
fn talk(sender: &Sender) -> Result<(), moonwire::Error> {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        sender.send_text(&line)?;
    }
    sender.close(1000, "that was all")
}
