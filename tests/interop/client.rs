//! Does the work of echo.luau, body.luau and events.luau with the blocking face: `interop_client
//! URL edges|many|all [KEY=VALUE…]`, `… URL body`, `… URL events [held]`.

use std::error::Error;

use moonwire::proto::Compression;
use moonwire::proto::http::Delivery;
use moonwire::trace::Lines;
use moonwire::{Config, Message, Options, StreamOptions, WebSocket};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let (Some(url), Some(work)) = (args.next(), args.next()) else {
        return Err("usage: interop_client URL edges|many|all|body|events [KEY=VALUE…]".into());
    };
    match work.as_str() {
        "body" => return body(&url),
        "events" => return events(&url, args.next().is_some()),
        _ => {}
    }
    let wanted = wanted(args)?;
    let mut ws = Options::new(&url)?.compression(wanted).connect_with(config())?;
    let answer = ws.headers().and_then(|h| h.get_str("Sec-WebSocket-Extensions"));
    println!("answer: {}", answer.unwrap_or_default());
    let agreed = ws.compression().map(|a| {
        let taken = |yes| if yes { "takeover" } else { "alone" };
        let (client, server) = (taken(a.client_takeover), taken(a.server_takeover));
        format!("{} {client} {} {server}", a.client_window, a.server_window)
    });
    println!("agreed: {}", agreed.as_deref().unwrap_or("none"));
    let mut count = 0;
    if work != "many" {
        count += edges(&mut ws)?;
    }
    if work != "edges" {
        count += many(&mut ws)?;
    }
    let frame = ws.close(1000, "done")?;
    if frame.code != Some(1000) {
        return Err(format!("closed with {frame:?}").into());
    }
    println!("OK echo: {count} messages");
    Ok(())
}

/// Prints the trace to standard error.
fn config() -> Config {
    Config { observer: Some(Box::new(Lines::new(std::io::stderr()))), ..Config::default() }
}

fn wanted(args: impl Iterator<Item = String>) -> Outcome<Compression> {
    let mut wanted = Compression::default();
    for arg in args {
        let (name, value) = arg.split_once('=').ok_or("KEY=VALUE")?;
        match name {
            "Window" => wanted.client_window = value.parse()?,
            "ServerWindow" => wanted.server_window = value.parse()?,
            "Takeover" => wanted.client_takeover = value.parse()?,
            "ServerTakeover" => wanted.server_takeover = value.parse()?,
            "Threshold" => wanted.threshold = value.parse()?,
            "Level" => wanted.level = value.parse()?,
            _ => return Err(format!("what is {name}?").into()),
        }
    }
    Ok(wanted)
}

fn send(ws: &mut WebSocket, message: &Message) -> Outcome<()> {
    match message {
        Message::Text(text) => ws.send_text(text)?,
        Message::Binary(data) => ws.send_binary(data)?,
    }
    Ok(())
}

fn expect(ws: &mut WebSocket, want: &Message) -> Outcome<()> {
    match ws.read()? {
        Some(got) if got == *want => Ok(()),
        Some(Message::Text(got)) => {
            Err(format!("{} came back as a text of {} bytes", what(want), got.len()).into())
        }
        Some(Message::Binary(got)) => {
            Err(format!("{} came back as {} bytes", what(want), got.len()).into())
        }
        None => Err(format!("closed before the echo of {}", what(want)).into()),
    }
}

fn what(message: &Message) -> String {
    match message {
        Message::Text(text) => format!("a text of {} bytes", text.len()),
        Message::Binary(data) => format!("{} bytes", data.len()),
    }
}

fn echo(ws: &mut WebSocket, messages: &[Message]) -> Outcome<usize> {
    for message in messages {
        send(ws, message)?;
        expect(ws, message)?;
    }
    Ok(messages.len())
}

fn edges(ws: &mut WebSocket) -> Outcome<usize> {
    let mut seed = 0x9E37_79B9;
    let text = |unit: &str, len| Message::Text(filled(unit, len));
    let mut count = 0;
    for len in [0, 1, 125, 126, 127, 65535, 65536, 1 << 20] {
        let bytes = [0, 1, 2, 3, 0xFE, 0xFF, 0, 0].into_iter().cycle().take(len).collect();
        let messages = [
            text("all of it is plain text, ", len),
            text("über den Mond 🌙 und zurück; ", len),
            Message::Binary(bytes),
            Message::Binary(random(&mut seed, len)),
        ];
        count += echo(ws, &messages)?;
    }
    // Finding a repetition at this distance needs a window of this size; a smaller one must not
    // find it.
    for distance in [250, 500, 1000, 2000, 4000, 8000, 16000, 32000] {
        count += echo(ws, &[Message::Binary(random(&mut seed, distance).repeat(3))])?;
    }
    Ok(count)
}

/// Repeats `unit` as often as it fits, and adds dots.
fn filled(unit: &str, len: usize) -> String {
    let mut text = unit.repeat(len / unit.len());
    text.extend(std::iter::repeat_n('.', len - text.len()));
    text
}

fn random(seed: &mut u32, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 3);
    while bytes.len() < len {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 17;
        *seed ^= *seed << 5;
        bytes.extend_from_slice(&seed.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn many(ws: &mut WebSocket) -> Outcome<usize> {
    let (one_by_one, at_once): (Vec<_>, Vec<_>) =
        ((1..=500).map(ticker).collect(), (501..=1000).map(ticker).collect());
    echo(ws, &one_by_one)?;
    at_once.iter().try_for_each(|message| send(ws, message))?;
    at_once.iter().try_for_each(|message| expect(ws, message))?;
    Ok(one_by_one.len() + at_once.len())
}

fn ticker(k: u32) -> Message {
    let (price, volume) = (k * 7919 % 100_003, k * 104_729 % 1009);
    let words = format!(r#""price":{price},"volume":{volume},"venue":"Mondbörse, Tycho""#);
    let text = format!(
        r#"{{"channel":"ticker","sequence":{k},"symbol":"MOON-{}",{words},"side":"buy","currency":"MOON","type":"limit"}}"#,
        k % 17
    );
    if k.is_multiple_of(5) { Message::Binary(text.into_bytes()) } else { Message::Text(text) }
}

/// The lines of body.luau.
fn body(url: &str) -> Outcome<()> {
    let mut stream = StreamOptions::get(url)?.decode(true).open_with(config())?;
    let got = stream.read_all(1 << 24)?;
    let want: String = (1..=40_000).map(|i| format!("line {i} über den Mond\n")).collect();
    if stream.response().status != 200 || got != want.as_bytes() {
        return Err(format!("{} bytes instead of {}", got.len(), want.len()).into());
    }
    println!("OK body: {} bytes", got.len());
    Ok(())
}

/// The events of events.luau; each is acknowledged, and the server then sends the next one.
fn events(base: &str, held: bool) -> Outcome<()> {
    let id = std::process::id();
    let url = format!("{base}&id={id}{}", if held { "" } else { "&waits=1" });
    let options = StreamOptions::get(&url)?.decode(true).delivery(Delivery::Events);
    let mut stream = options.open_with(config())?;
    let ack = base.split_once("/events?").map(|(server, _)| format!("{server}/ack?id={id}"));
    let ack = ack.ok_or("BASE is …/events?…")?;
    for k in 1..=10 {
        let event = stream.event()?.ok_or("the stream ended early")?;
        let want = ("tick", format!("{k}"), format!(r#"{{"tick":{k}}}"#));
        if (&*event.event, &event.id, &event.data) != (want.0, &want.1, &want.2) {
            return Err(format!("event {k} is {event:?}").into());
        }
        if !held {
            StreamOptions::get(&format!("{ack}&k={k}"))?.open()?.read_all(1 << 10)?;
        }
    }
    if let Some(event) = stream.event()? {
        return Err(format!("one more: {event:?}").into());
    }
    println!("OK events: ten");
    Ok(())
}
