//! `Events` as an iterator, and what a `Client` knows about its connections.

use std::collections::HashMap;
use std::sync::mpsc::channel;
use std::thread;

use moonwire::peer::Server;
use moonwire::proto::Misuse;
use moonwire::{Client, Closed, Config, Event};

use crate::common::*;
use crate::web::get;

#[test]
fn the_iterator_gives_all_events_and_ends_with_the_last_connection() {
    let server = Server::bind(loopback()).unwrap().spawn().unwrap();
    let (client, mut events) = Client::spawn(Config::default()).unwrap();
    assert!(events.iter().next().is_none(), "nothing is open");
    assert!(client.is_empty());
    let ids: Vec<_> = (0..20).map(|_| client.open(options(server.url())).unwrap()).collect();
    assert_eq!(client.len(), 20);
    let mut reported: HashMap<_, Vec<_>> = HashMap::new();
    for event in &mut events {
        let (id, event) = event.unwrap();
        match event {
            Event::Opened(_) => {
                assert!(client.is_open(id));
                client.ping(id, b"p").unwrap();
                client.send_text(id, "x").unwrap();
            }
            Event::Text(_) => client.close(id, 1000, "").unwrap(),
            _ => {}
        }
        reported.entry(id).or_default().push(event);
    }
    for id in ids {
        let of_one = &reported[&id];
        assert!(matches!(&of_one[1], Event::Pong(data) if **data == *b"p"), "{of_one:?}");
        assert!(matches!(of_one.last(), Some(Event::Closed(Closed::Clean(_)))), "{of_one:?}");
        assert!(!client.is_open(id));
    }
    assert!(events.iter().next().is_none());
    // Connections that are opened later are for the next iterator.
    client.open(options(server.url())).unwrap();
    assert!(matches!(events.iter().next(), Some(Ok((_, Event::Opened(_))))));
}

/// The end of a connection that is given up is not reported. The test repeats this, so that the end
/// comes at different moments of the wait.
#[test]
fn the_iterator_ends_when_the_last_connection_is_given_up_by_another_thread() {
    let server = Server::bind(loopback()).unwrap().spawn().unwrap();
    for _ in 0..100 {
        let (client, mut events) = Client::spawn(Config::default()).unwrap();
        let id = client.open(options(server.url())).unwrap();
        let (opened, is_open) = channel();
        let other = thread::spawn(move || {
            is_open.recv().unwrap();
            client.release(id, 1000, "");
        });
        for event in &mut events {
            if let (_, Event::Opened(_)) = event.unwrap() {
                opened.send(()).unwrap();
            }
        }
        other.join().unwrap();
    }
}

/// A wait and the iterator take from the same queue.
#[test]
fn what_the_iterator_has_taken_and_not_given_the_next_wait_gives() {
    let server = serve(|mut p| {
        let texts = (0..100).flat_map(|i| frame(0x81, format!("{i}").as_bytes()));
        let texts: Vec<u8> = texts.collect();
        p.accept(&texts);
        p.write(&close(1000, ""));
        p.close_frame();
    });
    let (client, mut events) = Client::spawn(Config::default()).unwrap();
    client.open(options(&server.url())).unwrap();
    let (mut got, mut over) = (Vec::new(), false);
    while !over {
        for event in events.iter().take(3) {
            got.push(keep(event.unwrap().1));
        }
        // This takes all events that are there. The loop above may have taken the last one.
        let now = Some(std::time::Instant::now());
        events.wait(now, |_, event| got.push(keep(event))).unwrap();
        over = matches!(got.last(), Some(OwnedEvent::Closed(_)));
    }
    let texts = got.iter().filter_map(|reported| match reported {
        OwnedEvent::Text(text) => Some(text.parse::<usize>().unwrap()),
        _ => None,
    });
    assert!(texts.eq(0..100));
    server.join();
}

#[test]
fn close_all_closes_what_is_open_and_gives_up_the_rest() {
    let server = Server::bind(loopback()).unwrap().spawn().unwrap();
    let stream = serve(|mut p| {
        p.request();
        p.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
        p.rest()
    });
    let silent = std::net::TcpListener::bind(loopback()).unwrap();
    let (client, mut events) = Client::spawn(Config::default()).unwrap();
    let ids: Vec<_> = (0..3).map(|_| client.open(options(server.url())).unwrap()).collect();
    client.open(get(&stream.url())).unwrap();
    client.open(options(&format!("ws://{}/", silent.local_addr().unwrap()))).unwrap();
    let (mut begun, mut closed) = (0, Vec::new());
    for event in &mut events {
        match event.unwrap() {
            (_, Event::Opened(_) | Event::Response(_)) => begun += 1,
            (id, Event::Closed(how)) => {
                assert!(matches!(&how, Closed::Clean(f) if f.code == Some(4001)), "{how}");
                closed.push(id);
                continue;
            }
            _ => continue,
        }
        if begun == 4 {
            assert_eq!(client.close_all(1, ""), Err(Misuse::CloseCode(1)), "no such code");
            client.close_all(4001, "all of you").unwrap();
        }
    }
    closed.sort_unstable();
    assert_eq!(closed, ids);
    assert_eq!(stream.join(), 0);
}
