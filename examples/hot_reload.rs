//! Scripts that change while the program runs. Each script is an object with its own table of globals
//! and with the services that the program gives it. Killing a script ends its threads, timers,
//! handlers and connections; other scripts go on.
//!
//! ```sh
//! cargo run --example hot_reload
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use moonwire::luau::{Line, Options, Runtime, ScriptOptions};

/// This script answers every message, for as long as it lives.
const CHAT: &str = r#"
local Board = game:GetService("Board")
local ws = WebSocket.connect((...))
ws.OnMessage:Connect(function(text)
	Board.Write(text)
	task.wait(0.02)
	ws:Send(text .. "!")
end)
ws:Send("hello")
"#;

/// This script prints its version, then waits for a message that never comes.
fn bot(version: u32) -> String {
    format!(
        "local ws = WebSocket.connect((...))
        version = {version}
        print('this is version', version, 'of the', greeting)
        task.spawn(function() ws.OnMessage:Wait() end)
        task.delay(3600, print, 'an hour later')"
    )
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hot_reload: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    // `moonwire::peer` is hidden: only examples and tests use it.
    let server = moonwire::peer::Server::bind(([127, 0, 0, 1], 0).into())?.spawn()?;

    let board = std::rc::Rc::new(std::cell::RefCell::new(Vec::<String>::new()));
    let its = board.clone();
    let show = |line: Line<'_>| println!("[{}] {line}", line.script.unwrap_or("moonwire"));
    let options = Options::new(show)
        .service("Board", move |lua| {
            let write = lua.create_function(move |_, text: String| {
                its.borrow_mut().push(text);
                Ok(())
            })?;
            let service = lua.create_table()?;
            service.set("Write", write)?;
            // All scripts share this table, so none of them may change it.
            service.set_readonly(true);
            Ok(service)
        })
        .global("greeting", |_| Ok("bot"))
        .globals_per_script(true);
    let mut runtime = Runtime::new(options)?;

    let chat = runtime.spawn("chat", CHAT, server.url())?;
    for version in 1..=3 {
        // A bot may have one connection.
        let may = ScriptOptions::new().connections(Some(1));
        let bot = runtime.spawn_with("bot", bot(version), server.url(), may)?;
        // The program's own loop.
        for _ in 0..10 {
            runtime.step(Duration::from_millis(2))?;
            std::thread::sleep(Duration::from_millis(10));
        }
        println!("bot {version}: alive {}, failed {}", bot.is_alive(), bot.has_raised());
        bot.kill()?;
        println!("bot {version}: alive {}, the chat's {}", bot.is_alive(), chat.is_alive());
    }
    chat.kill()?;
    // Closes the connections, with the closing handshake.
    runtime.finish();
    println!("on the board: {}", board.borrow().join(" "));
    Ok(())
}
