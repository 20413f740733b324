//! ureq, whose calls block: HTTP calls with an agent that keeps connections, and event streams as lines
//! of the body, with a parser such as a program would write for them.

use std::io::{BufRead, BufReader};

use common::{Args, Failure};
use ureq::{Agent, BodyReader};

fn main() -> Result<(), Failure> {
    let args = Args::parse(std::env::args().skip(1))?;
    let report = match args.case.as_str() {
        "events" | "events-fields" => common::now(common::events(Source::default(), &args))?,
        "get-kept" | "post-kept" => common::now(common::calls(Caller(ureq::agent()), &args))?,
        other => return Err(format!("there is no case {other} here").into()),
    };
    report.print();
    Ok(())
}

struct Caller(Agent);

impl common::Caller for Caller {
    type Body = Vec<u8>;

    async fn get(&mut self, url: &str) -> Result<Vec<u8>, Failure> {
        Ok(self.0.get(url).call()?.body_mut().read_to_vec()?)
    }

    async fn post(&mut self, url: &str, body: &str) -> Result<Vec<u8>, Failure> {
        Ok(self.0.post(url).send(body)?.body_mut().read_to_vec()?)
    }
}

#[derive(Default)]
struct Source {
    body: Option<BufReader<BodyReader<'static>>>,
    line: String,
    last_id: String,
}

impl common::Source for Source {
    type Event = Event;

    async fn open(&mut self, url: &str) -> Result<(), Failure> {
        let body = ureq::agent().get(url).call()?.into_body();
        self.body = Some(BufReader::new(body.into_reader()));
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Event>, Failure> {
        let body = self.body.as_mut().ok_or("it is not open")?;
        next(body, &mut self.line, &mut self.last_id)
    }

    fn length(event: &Event) -> usize {
        event.data.len()
    }
}

/// The fields of an event; the program gets all of them.
#[allow(dead_code)]
#[derive(Default)]
struct Event {
    event: String,
    data: String,
    id: String,
}

/// Reads the next event; `None` at the end. As in the HTML standard, except that CR alone ends no line.
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
            // The LF after the last line does not belong to the data.
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
