//! A `Client`: its connections live on a thread of their own, and its clones send from any
//! thread. Here one thread per connection sends, and the main thread receives all events.
//!
//! ```sh
//! cargo run --example threads                            # starts its own server
//! cargo run --example threads wss://echo.example/
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use moonwire::{Client, Closed, Config, ConnId, Event, Options};

const CONNECTIONS: usize = 3;
const MESSAGES: usize = 4;

fn main() -> ExitCode {
    match run(std::env::args().nth(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("threads: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(url: Option<String>) -> Result<(), Box<dyn Error>> {
    let (url, _server) = match url {
        Some(url) => (url, None),
        None => {
            // `moonwire::peer` is hidden: only examples and tests use it.
            let server = moonwire::peer::Server::bind(([127, 0, 0, 1], 0).into())?.spawn()?;
            (server.url().to_owned(), Some(server))
        }
    };
    let (client, mut events) = Client::spawn(Config::default())?;
    let mut names = HashMap::new();
    for number in 1..=CONNECTIONS {
        let id = client.open(Options::new(&url)?)?;
        names.insert(id, format!("connection {number}"));
    }

    let mut talkers = Vec::new();
    let mut received = HashMap::new();
    let mut open = CONNECTIONS;
    let mut failed = None;
    while open > 0 {
        events.wait(None, |id, event| match event {
            Event::Opened(_) => talkers.push(talk(client.clone(), id, &names[&id])),
            Event::Text(text) => {
                println!("{}: < {}", names[&id], text.as_str());
                let count = received.entry(id).or_insert(0);
                *count += 1;
                if *count == MESSAGES {
                    // The connection may be closed already; then there is nothing to do.
                    let _ = client.close(id, 1000, "all heard");
                }
            }
            Event::Closed(why) => {
                println!("{}: {why}", names[&id]);
                open -= 1;
                if let Closed::Failed(error) | Closed::Lost(error) = why {
                    failed = Some(error);
                }
            }
            _ => {}
        })?;
    }
    for talker in talkers {
        talker.join().map_err(|_| "a talker panicked")?;
    }
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// Sends a few messages from a thread of its own, which ends early if the connection does.
fn talk(client: Client, id: ConnId, name: &str) -> JoinHandle<()> {
    let name = name.to_owned();
    thread::spawn(move || {
        for number in 1..=MESSAGES {
            if let Err(problem) = client.send_text(id, &format!("message {number}")) {
                println!("{name}: not sent: {problem}");
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    })
}
