//! reqwest on a runtime of one thread: event streams by eventsource-stream, and HTTP calls by a client with
//! its pool.

use std::hint::black_box;

use common::{Args, Failure, Meter, Report, warm_up};
use eventsource_stream::Eventsource as _;
use futures_util::StreamExt as _;

fn main() -> Result<(), Failure> {
    let args = Args::parse(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        match args.case.as_str() {
            "events" | "events-fields" => events(&args).await,
            "get-kept" | "post-kept" => calls(&args).await,
            other => Err(format!("there is no case {other} here").into()),
        }
    })?;
    report.print();
    Ok(())
}

async fn events(args: &Args) -> Result<Report, Failure> {
    let client = reqwest::Client::new();
    let mut report = None;
    for count in [warm_up(args.count), args.count] {
        let url = format!("{}?n={count}&size={}", args.url, args.size);
        let response = client.get(&url).send().await?.error_for_status()?;
        let mut stream = response.bytes_stream().eventsource();
        let (mut messages, mut bytes, mut last) = (0, 0, None);
        let meter = Meter::start();
        while let Some(event) = stream.next().await {
            let event = event?;
            messages += 1;
            bytes += event.data.len() as u64;
            if args.case == "events-fields" {
                last = Some(event);
            } else {
                black_box(event);
            }
        }
        black_box(last);
        report = Some(meter.stop(messages, bytes));
    }
    report.ok_or_else(|| "nothing was measured".into())
}

async fn calls(args: &Args) -> Result<Report, Failure> {
    let client = reqwest::Client::new();
    let url = format!("{}?size={}", args.url, args.size);
    let body = "p".repeat(args.size);
    let mut report = None;
    for count in [warm_up(args.count), args.count] {
        let (meter, mut bytes) = (Meter::start(), 0);
        for _ in 0..count {
            let request = match args.case.as_str() {
                "post-kept" => client.post(&url).body(body.clone()),
                _ => client.get(&url),
            };
            bytes += black_box(request.send().await?.bytes().await?).len() as u64;
        }
        report = Some(meter.stop(count, bytes));
    }
    report.ok_or_else(|| "nothing was measured".into())
}
