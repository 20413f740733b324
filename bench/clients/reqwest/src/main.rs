//! reqwest on a runtime of one thread: event streams with eventsource-stream, and HTTP calls with a client
//! that keeps connections.

use bytes::Bytes;
use common::{Args, Failure};
use eventsource_stream::{Event, EventStream, Eventsource as _};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use reqwest::{Client, RequestBuilder};

fn main() -> Result<(), Failure> {
    let args = Args::parse(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::new();
    let report = runtime.block_on(async {
        match args.case.as_str() {
            "events" | "events-fields" => {
                common::events(Source { client, stream: None }, &args).await
            }
            "get-kept" | "post-kept" => common::calls(Caller(client), &args).await,
            other => Err(format!("there is no case {other} here").into()),
        }
    })?;
    report.print();
    Ok(())
}

struct Caller(Client);

async fn answer(request: RequestBuilder) -> Result<Bytes, Failure> {
    Ok(request.send().await?.bytes().await?)
}

impl common::Caller for Caller {
    type Body = Bytes;

    async fn get(&mut self, url: &str) -> Result<Bytes, Failure> {
        answer(self.0.get(url)).await
    }

    async fn post(&mut self, url: &str, body: &str) -> Result<Bytes, Failure> {
        answer(self.0.post(url).body(body.to_owned())).await
    }
}

struct Source {
    client: Client,
    stream: Option<EventStream<BoxStream<'static, reqwest::Result<Bytes>>>>,
}

impl common::Source for Source {
    type Event = Event;

    async fn open(&mut self, url: &str) -> Result<(), Failure> {
        let response = self.client.get(url).send().await?.error_for_status()?;
        self.stream = Some(response.bytes_stream().boxed().eventsource());
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Event>, Failure> {
        let stream = self.stream.as_mut().ok_or("it is not open")?;
        Ok(stream.next().await.transpose()?)
    }

    fn length(event: &Event) -> usize {
        event.data.len()
    }
}
