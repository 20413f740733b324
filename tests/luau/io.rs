//! The global `io`: what scripts read and write, with an embedder's streams and in the command.

use std::collections::VecDeque;
use std::io::{self, Cursor, Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use moonwire::luau::{Error, Io, Line, Options, Progress, Runtime};

use super::raw::LONG;
use super::support::*;

/// What is written here can be looked at.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what comes through a channel, until that is closed.
struct Fed(Receiver<io::Result<Vec<u8>>>, VecDeque<u8>);

fn fed() -> (Sender<io::Result<Vec<u8>>>, Fed) {
    let (feed, fed) = channel();
    (feed, Fed(fed, VecDeque::new()))
}

impl Read for Fed {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.1.is_empty() {
            match self.0.recv() {
                Ok(bytes) => self.1.extend(bytes?),
                Err(_) => return Ok(0),
            }
        }
        self.1.read(room)
    }
}

fn reading(mode: Mode, input: impl Read + Send + 'static) -> Rt {
    Rt::with(mode, |options| options.io(Io::new(input, io::sink(), io::sink())))
}

const LIST: &str = "local n = 0 for line in io.lines() do n += 1 print(n, `{#line}:{line}`) end";

both! {
    fn lines_end_with_either_line_end_or_the_input(mode) {
        for (input, lines) in [
            ("", &[][..]),
            ("\n", &["1 0:"]),
            ("a", &["1 1:a"]),
            ("a\n", &["1 1:a"]),
            ("a\nb", &["1 1:a", "2 1:b"]),
            ("a\r\nb\r\n", &["1 1:a", "2 1:b"]),
            ("\r\n\n\r\n", &["1 0:", "2 0:", "3 0:"]),
            // A carriage return by itself, or without its line feed, is a byte as any.
            ("a\rb\nc\r", &["1 3:a\rb", "2 2:c\r"]),
            ("\r\r\n", &["1 1:\r"]),
        ] {
            let whole = reading(mode, Cursor::new(input)).says(LIST, ());
            assert_eq!(whole, lines, "{input:?}");
            // And byte by byte.
            let (feed, fed) = fed();
            for byte in input.bytes() {
                feed.send(Ok(vec![byte])).unwrap();
            }
            drop(feed);
            assert_eq!(reading(mode, fed).says(LIST, ()), lines, "{input:?}");
        }
    }

    fn what_is_read_by_number_by_line_and_all(mode) {
        let text = "local r = io.read print(r(2), r(), r('line'), r(1), r('all'), r('all') == '') \
                    print(r(), r(1), r('line')) for _ in io.lines() do print('never') end";
        let said = reading(mode, Cursor::new("abcd\n\nxyz\n")).says(text, ());
        assert_eq!(said, ["ab cd  x yz\n true", "nil nil nil"]);
        // What is left, if that is less.
        let said = reading(mode, Cursor::new("abc")).says("print(io.read(7), io.read(7))", ());
        assert_eq!(said, ["abc nil"]);
        let said = reading(mode, Cursor::new("")).says("print(#io.read('all'), io.read())", ());
        assert_eq!(said, ["0 nil"]);
    }

    fn bytes_of_any_kind_come_as_they_are(mode) {
        let all: Vec<u8> = (0..=255).chain(*b"\n\0\xff\n").collect();
        let text = "local a = io.read(10) local b, c = io.read(), io.read() local d = io.read() \
                    local s = a .. '\\n' .. b .. '\\n' .. c \
                    print(#a, #b, c:byte(1, -1)) print(d) \
                    for i = 0, 255 do assert(string.byte(s, i + 1) == i, i) end";
        let said = reading(mode, Cursor::new(all)).says(text, ());
        assert_eq!(said, ["10 0 11 12", ""]);
    }
}
