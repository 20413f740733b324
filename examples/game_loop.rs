//! Scripts with network access inside a game: the game has the VM and the loop, and gives the
//! scripts a part of each frame.
//!
//! ```sh
//! cargo run --example game_loop                          # starts its own server
//! cargo run --example game_loop wss://echo.example/
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use moonwire::luau::{self, Line, Options, Progress};
use moonwire::mlua::{Lua, Table};

/// 60 frames a second; scripts may use `BUDGET` of each.
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 60);
const BUDGET: Duration = Duration::from_millis(2);
/// The game ends when its script has ended, or after this many frames.
const FRAMES: u32 = 300;

/// The script moves the player; `task.wait()` waits for the next frame.
const SCRIPT: &str = r#"
local ws = WebSocket.connect((...))
print("script: connected to", ws.URL)

ws.OnMessage:Connect(function(message)
	local x, y = string.match(message, "^move (%S+) (%S+)$")
	if x then
		player.x, player.y = tonumber(x), tonumber(y)
	end
end)

for i = 1, 90 do
	-- The server's answer is what moves the player.
	ws:Send(`move {i} {i * i / 90}`)
	task.wait()
end
ws:Close()
ws.OnClose:Wait()
print("script: the game is over,", ws.CloseCode)
"#;

fn main() -> ExitCode {
    match run(std::env::args().nth(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("game_loop: {error}");
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

    // The game's own VM, and a table that the game gives to scripts.
    let lua = Lua::new();
    let player: Table = lua.create_table()?;
    player.set("x", 0.0)?;
    player.set("y", 0.0)?;
    lua.globals().set("player", &player)?;

    // Players' scripts do not get `loadstring`. What else they need, such as limits and a policy, is
    // in docs/EMBEDDING.md.
    let options = Options::new(|line: Line<'_>| println!("{line}")).without("loadstring");
    let mut runtime = luau::install(&lua, options)?;
    runtime.spawn("player.luau", SCRIPT, url)?;

    let mut next_frame = Instant::now() + FRAME;
    let mut longest = Duration::ZERO;
    let mut frame = 0;
    while frame < FRAMES {
        // Reads what has arrived, then runs the scripts that are ready; it never waits.
        let begin = Instant::now();
        let progress = runtime.step(BUDGET)?;
        longest = longest.max(begin.elapsed());

        // The rest of the frame: physics, pictures, sound.
        let (x, y): (f64, f64) = (player.get("x")?, player.get("y")?);
        if frame % 15 == 0 {
            println!("frame {frame}: player at {x:.0}, {y:.1}");
        }
        frame += 1;
        if matches!(progress, Progress::Done | Progress::Stopped) {
            break;
        }
        thread::sleep(next_frame.saturating_duration_since(Instant::now()));
        next_frame += FRAME;
    }
    // Closes the connections that scripts left open.
    runtime.finish();
    println!("{frame} frames; the longest step took {:.2} ms", longest.as_secs_f64() * 1e3);
    if runtime.has_raised() {
        return Err("the script failed".into());
    }
    Ok(())
}
