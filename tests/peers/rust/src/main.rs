//! The hostile server of tests/hostile for other clients.
//!
//! ```text
//! hostile-peers run NAME COMMAND…    each case against COMMAND URL [--protocol P] [--message N],
//!                                    which prints what it tells; the results as JSON
//! hostile-peers serve [PORT]         ws://127.0.0.1:PORT/ID plays the case ID, and what the server
//!                                    saw is printed, JSON in a line; for clients by hand
//! hostile-peers list                 the IDs
//! ```

#[path = "../../../hostile/play.rs"]
mod play;
#[path = "../../../hostile/script.rs"]
mod script;
#[path = "../../../common/timeout.rs"]
mod timeout;
mod verdict;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use script::Case;
use verdict::{Reported, json, judge};

/// A client that did nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(4);

/// Cases at a time.
const WORKERS: usize = 4;

/// The cases that other clients are put through.
fn cases() -> Vec<Case> {
    let groups = script::parse(include_str!("../../../hostile/cases.txt"));
    let all = groups.into_iter().flat_map(|g| g.cases);
    all.filter(Case::is_for_others).collect()
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => cases().iter().for_each(|c| println!("{}  {}", c.id, c.title)),
        ["serve"] => serve(0),
        ["serve", port] => serve(port.parse().expect("a port")),
        ["run", name, ref command @ ..] if !command.is_empty() => run(name, command),
        _ => {
            eprintln!("hostile-peers run NAME COMMAND… | serve [PORT] | list");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn plain(tcp: TcpStream) -> Box<dyn play::Link> {
    Box::new(tcp)
}

fn run(name: &str, command: &[&str]) {
    let version = Command::new(command[0]).args(&command[1..]).arg("version").output().unwrap();
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let (cases, next) = (cases(), AtomicUsize::new(0));
    let lines = Mutex::new(vec![String::new(); cases.len()]);
    let work = || {
        while let Some((i, case)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, cases.get(i)?)))
        {
            let (verdict, saw) = twice(case, command);
            eprintln!("{name} {}: {verdict}", case.id);
            let [verdict, saw] = [verdict, saw].map(|t| json(&t));
            let line = format!(
                "    \"{}\": {{\"of\": \"{:08x}\", \"verdict\": {verdict}, \"saw\": {saw}}}",
                case.id, case.mark
            );
            lines.lock().unwrap()[i] = line;
        }
    };
    std::thread::scope(|scope| (0..WORKERS).for_each(|_| drop(scope.spawn(work))));
    let lines = lines.into_inner().unwrap().join(",\n");
    let [name, version] = [name, &version].map(json);
    println!(
        "{{\n  \"client\": {name},\n  \"version\": {version},\n  \"cases\": {{\n{lines}\n  }}\n}}"
    );
}

/// A busy machine can make a client late: what comes out twice counts, at the latest the third.
fn twice(case: &Case, command: &[&str]) -> (String, String) {
    let mut all: Vec<(String, String)> = Vec::new();
    loop {
        let new = one(case, command);
        if new.0 == "strict" || all.len() == 2 || all.iter().any(|old| old.0 == new.0) {
            return new;
        }
        all.push(new);
    }
}

/// One case with one client: the verdict, and what was seen.
fn one(case: &Case, command: &[&str]) -> (String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let theirs = case.clone();
    let server = std::thread::spawn(move || play::play(&theirs, &listener, &plain, PATIENCE));
    let mut call = Command::new(command[0]);
    call.args(&command[1..]).arg(url).env("RUST_BACKTRACE", "0");
    for name in ["protocol", "message"] {
        if let Some(value) = case.setting(name) {
            call.args([&format!("--{name}"), value]);
        }
    }
    let mut child = call.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let text = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = out.read_to_string(&mut text);
        text
    });
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = err.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let seen = server.join().expect("the server");
    // The server has closed: every client ends.
    let until = Instant::now() + 4 * PATIENCE;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() > until => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let reported = Reported::read(&text.join().unwrap(), status, &errors.join().unwrap());
    (judge(case, &seen, &reported), reported.shown(&seen))
}

fn serve(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    eprintln!("ws://{}/ID", listener.local_addr().unwrap());
    for tcp in listener.incoming().flatten() {
        std::thread::spawn(move || answer(tcp));
    }
}

fn answer(mut tcp: TcpStream) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match tcp.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let request = String::from_utf8_lossy(&head).into_owned();
    let id = request.split(['/', ' ', '?']).nth(2).unwrap_or_default();
    let all = cases();
    let Some(case) = all.iter().find(|c| c.id == id) else {
        let _ = tcp.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        return;
    };
    let seen = play::play_on(case, tcp, request, PATIENCE);
    let [wire, want] = [seen.wire(), case.want.join("; ")].map(|t| json(&t));
    let wire_wanted = json(case.wire.as_deref().unwrap_or_default());
    let (closed, wrong) = (seen.closed, json(seen.wrong.as_deref().unwrap_or_default()));
    println!(
        "{{\"case\": \"{}\", \"wire\": {wire}, \"wire wanted\": {wire_wanted}, \"late bytes\": {}, \
         \"client closed\": {closed}, \"wrong\": {wrong}, \"client has to tell\": {want}}}",
        case.id, seen.late
    );
}
