//! The client under test of the Autobahn suite, blocking face: `autobahn_client [--compress] URL AGENT`.

use std::error::Error;

use moonwire::{Message, Options};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).peekable();
    let compress = args.next_if(|arg| arg == "--compress").is_some();
    let (Some(url), Some(agent)) = (args.next(), args.next()) else {
        return Err("usage: autobahn_client [--compress] URL AGENT".into());
    };
    for case in 1..=case_count(&url, &agent)? {
        let options = Options::new(&format!("{url}/runCase?case={case}&agent={agent}"))?;
        let mut ws = offering(options, compress)?.connect()?;
        // Clean, failed or lost: each ends the case, and the suite checks which one is right.
        while let Ok(Some(message)) = ws.read() {
            // If a reply cannot be sent, the connection has ended, and `read` returns why.
            let _ = match &message {
                Message::Text(text) => ws.send_text(text),
                Message::Binary(bytes) => ws.send_binary(bytes),
            };
        }
    }
    let mut ws = moonwire::connect(&format!("{url}/updateReports?agent={agent}"))?;
    while let Ok(Some(_)) = ws.read() {}
    Ok(())
}

/// The cases of 12 and 13 are about compression, and send messages of any length.
#[cfg(feature = "deflate")]
fn offering(options: Options, compress: bool) -> Result<Options, Box<dyn Error>> {
    let wanted = moonwire::proto::Compression { threshold: 0, ..Default::default() };
    Ok(if compress { options.compression(wanted) } else { options })
}

#[cfg(not(feature = "deflate"))]
fn offering(options: Options, compress: bool) -> Result<Options, Box<dyn Error>> {
    if compress { Err("--compress: feature deflate is missing".into()) } else { Ok(options) }
}

fn case_count(url: &str, agent: &str) -> Result<u32, Box<dyn Error>> {
    let mut ws = moonwire::connect(&format!("{url}/getCaseCount?agent={agent}"))?;
    let Some(Message::Text(count)) = ws.read()? else {
        return Err("the harness gave no case count".into());
    };
    while let Ok(Some(_)) = ws.read() {}
    Ok(count.parse()?)
}
