//! An `EventSource`, whose calls block.

use std::time::Duration;

use common::{Args, Failure, Report};
use moonwire::proto::sse::Event;
use moonwire::{EventSource, Incoming, StreamOptions};

pub(crate) fn run(args: &Args) -> Result<Report, Failure> {
    common::now(common::events(Source(None), args))
}

struct Source(Option<EventSource>);

impl common::Source for Source {
    type Event = Event;

    async fn open(&mut self, url: &str) -> Result<(), Failure> {
        let source = EventSource::new(StreamOptions::get(url)?).config(crate::config()?);
        let Incoming::Opened = self.0.insert(source).next_timeout(Duration::from_secs(10))? else {
            return Err("it does not open".into());
        };
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Event>, Failure> {
        Ok(self.0.as_mut().ok_or("it is not open")?.next_event()?)
    }

    fn length(event: &Event) -> usize {
        event.data.len()
    }
}
