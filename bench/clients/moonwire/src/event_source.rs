//! An `EventSource`, whose calls block.

use std::hint::black_box;
use std::time::Duration;

use common::{Args, Failure, Meter, Report, warm_up};
use moonwire::{EventSource, Incoming, StreamOptions};

pub(crate) fn run(args: &Args) -> Result<Report, Failure> {
    let mut report = None;
    for count in [warm_up(args.count), args.count] {
        let url = format!("{}?n={count}&size={}", args.url, args.size);
        let mut source = EventSource::new(StreamOptions::get(&url)?).config(crate::config()?);
        let Incoming::Opened = source.next_timeout(Duration::from_secs(10))? else {
            return Err("it does not open".into());
        };
        let (mut messages, mut bytes, mut last) = (0, 0, None);
        let meter = Meter::start();
        while let Some(event) = source.next_event()? {
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
