//! The simplest face: calls that block. Sends lines, prints the answers, and closes.
//!
//! ```sh
//! cargo run --example blocking                                 # starts its own server
//! cargo run --example blocking wss://echo.example/ one two     # sends your lines
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use moonwire::{Message, Options, Received};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match run(args.next(), args.collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The error is one line: the URL, the stage that failed, the reason.
            eprintln!("blocking: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(url: Option<String>, mut lines: Vec<String>) -> Result<(), Box<dyn Error>> {
    // The server lives until the end of this function.
    let (url, _server) = match url {
        Some(url) => (url, None),
        None => {
            // `moonwire::peer` is hidden: only examples and tests use it.
            let server = moonwire::peer::Server::bind(([127, 0, 0, 1], 0).into())?.spawn()?;
            (server.url().to_owned(), Some(server))
        }
    };
    if lines.is_empty() {
        lines = ["hello", "how are you, über?", "close_notify"].map(String::from).into();
    }

    let mut ws = Options::new(&url)?.timeout(Duration::from_secs(10)).connect()?;
    println!("connected to {url}");
    for line in &lines {
        ws.send_text(line)?;
        println!("> {line}");
        match ws.read_timeout(Duration::from_secs(5))? {
            Received::Message(Message::Text(text)) => println!("< {text}"),
            Received::Message(Message::Binary(data)) => println!("< {} bytes", data.len()),
            Received::Nothing => println!("(no answer within 5 s)"),
            Received::Closed(frame) => {
                println!("the server closed: {frame}");
                return Ok(());
            }
            // A pong, if `set_pongs` asks for them.
            _ => {}
        }
    }
    let frame = ws.close(1000, "that was all")?;
    println!("closed: {frame}");
    Ok(())
}
