//! A `Reactor` that this program drives: the program has the loop, the wait and the sink. Another
//! thread produces lines and wakes the reactor; meanwhile a timer of the program ticks.
//!
//! ```sh
//! cargo run --example reactor                            # starts its own server
//! cargo run --example reactor wss://echo.example/
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use moonwire::proto::CloseFrame;
use moonwire::{Closed, Config, Conn, Event, Options, Poller as _, Reactor, Sink};

const LINES: [&str; 3] = ["hello", "how are you?", "close_notify"];
const TICK: Duration = Duration::from_millis(40);

/// Receives all events, during the turn. The data of an event is valid until `event` returns.
#[derive(Default)]
struct Listener {
    open: bool,
    echoes: usize,
    end: Option<Closed>,
}

impl Sink for Listener {
    fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>) {
        match event {
            Event::Opened(_) => {
                println!("open");
                self.open = true;
                // The sink can answer at once.
                let _ = conn.send_text("first");
            }
            Event::Text(text) => {
                println!("< {}", text.as_str());
                self.echoes += 1;
            }
            Event::Closing(_) => self.open = false,
            Event::Closed(why) => {
                self.open = false;
                self.end = Some(why);
            }
            _ => {}
        }
    }
}

fn main() -> ExitCode {
    match run(std::env::args().nth(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reactor: {error}");
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
    let mut reactor = Reactor::new(Config::default())?;
    let mut listener = Listener::default();
    let id = reactor.open(Options::new(&url)?)?;

    // Another source of work: a thread sends a line to the loop, then wakes the reactor.
    let (sender, lines) = mpsc::channel();
    let poller = reactor.poller();
    let typist = thread::spawn(move || {
        for line in LINES {
            thread::sleep(Duration::from_millis(100));
            if sender.send(line).is_err() {
                return;
            }
            poller.wake();
        }
    });

    let (mut next_tick, mut ticks) = (Instant::now() + TICK, 0);
    while listener.end.is_none() {
        // Waits for sockets, a wake-up, the reactor's own timers, or the next tick.
        reactor.turn(Some(next_tick), &mut listener)?;
        if Instant::now() >= next_tick {
            ticks += 1;
            next_tick += TICK;
        }
        // Lines stay in the channel until the connection is open.
        while listener.open
            && let Ok(line) = lines.try_recv()
        {
            println!("> {line}");
            reactor.send_text(id, line)?;
        }
        if listener.echoes == 1 + LINES.len() {
            // `close` fails if the connection is already closing, which does no harm.
            let _ = reactor.close(id, &CloseFrame::new(1000, "that was all"));
        }
    }
    drop(lines);
    typist.join().map_err(|_| "the typist panicked")?;
    match listener.end {
        Some(Closed::Failed(error) | Closed::Lost(error)) => Err(error.into()),
        Some(end) => {
            println!("{end}, after {ticks} ticks of {TICK:?}");
            Ok(())
        }
        None => Ok(()),
    }
}
