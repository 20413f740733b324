//! ureq, which blocks: HTTP calls by an agent with its pool, and event streams as lines of the body with
//! the parser that a program writes for them.

use std::hint::black_box;
use std::io::{BufRead, BufReader};

use common::{Args, Failure, Meter, Report, warm_up};

fn main() -> Result<(), Failure> {
    let args = Args::parse(std::env::args().skip(1))?;
    let report = match args.case.as_str() {
        "events" | "events-fields" => events(&args)?,
        "get-kept" | "post-kept" => calls(&args)?,
        other => return Err(format!("there is no case {other} here").into()),
    };
    report.print();
    Ok(())
}

#[derive(Default)]
struct Event {
    event: String,
    data: String,
    id: String,
}

/// The next event; `None` at the end. As the standard has it, but for CR as the end of a line.
fn next(
    body: &mut impl BufRead,
    line: &mut String,
    last_id: &mut String,
) -> Result<Option<Event>, Failure> {
    let mut event = Event::default();
    loop {
        line.clear();
        if body.read_line(line)? == 0 {
            return Ok(None);
        }
        let text = line.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            if event.data.is_empty() {
                event = Event::default();
                continue;
            }
            // The LF behind the last line is none of the data.
            event.data.pop();
            if event.event.is_empty() {
                event.event.push_str("message");
            }
            event.id.clone_from(last_id);
            return Ok(Some(event));
        }
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => {
                event.data.push_str(value);
                event.data.push('\n');
            }
            "event" => value.clone_into(&mut event.event),
            "id" => value.clone_into(last_id),
            _ => {}
        }
    }
}

fn events(args: &Args) -> Result<Report, Failure> {
    let agent = ureq::agent();
    let mut report = None;
    for count in [warm_up(args.count), args.count] {
        let url = format!("{}?n={count}&size={}", args.url, args.size);
        let body = agent.get(&url).call()?.into_body();
        let mut body = BufReader::new(body.into_reader());
        let (mut line, mut last_id, mut last) = (String::new(), String::new(), None);
        let (mut messages, mut bytes) = (0, 0);
        let meter = Meter::start();
        while let Some(event) = next(&mut body, &mut line, &mut last_id)? {
            messages += 1;
            bytes += event.data.len() as u64;
            if args.case == "events-fields" {
                last = Some(event);
            } else {
                black_box((event.event, event.data, event.id));
            }
        }
        black_box(last.map(|event| (event.event, event.data, event.id)));
        report = Some(meter.stop(messages, bytes));
    }
    report.ok_or_else(|| "nothing was measured".into())
}

fn calls(args: &Args) -> Result<Report, Failure> {
    let agent = ureq::agent();
    let url = format!("{}?size={}", args.url, args.size);
    let body = "p".repeat(args.size);
    let mut report = None;
    for count in [warm_up(args.count), args.count] {
        let (meter, mut bytes) = (Meter::start(), 0);
        for _ in 0..count {
            let mut response = match args.case.as_str() {
                "post-kept" => agent.post(&url).send(&body)?,
                _ => agent.get(&url).call()?,
            };
            bytes += black_box(response.body_mut().read_to_vec()?).len() as u64;
        }
        report = Some(meter.stop(count, bytes));
    }
    report.ok_or_else(|| "nothing was measured".into())
}
