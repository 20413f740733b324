//! The global `io`: reading and writing by scripts, with an embedder's streams and in the command.

use std::collections::VecDeque;
use std::io::{self, Cursor, Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use moonwire::luau::{Error, Io, Line, Options, Progress, Runtime};

use super::raw::LONG;
use super::support::*;

/// A writer whose bytes a test can read.
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

/// A reader of the bytes that arrive through a channel, until the sender is dropped.
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
            // A carriage return without a line feed behind it is an ordinary byte.
            ("a\rb\nc\r", &["1 3:a\rb", "2 2:c\r"]),
            ("\r\r\n", &["1 1:\r"]),
        ] {
            let whole = reading(mode, Cursor::new(input)).says(LIST, ());
            assert_eq!(whole, lines, "{input:?}");
            // The same input, byte by byte.
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
        // If less is left than the script asked for, `read` returns the rest.
        let said = reading(mode, Cursor::new("abc")).says("print(io.read(7), io.read(7))", ());
        assert_eq!(said, ["abc nil"]);
        let said = reading(mode, Cursor::new("")).says("print(#io.read('all'), io.read())", ());
        assert_eq!(said, ["0 nil"]);
    }

    fn bytes_of_any_kind_come_as_they_are(mode) {
        let all: Vec<u8> = (0..=255).chain(*b"\xff\xfe\0\n").collect();
        // The line feed is the eleventh byte; there is no carriage return before it.
        let text = "local first, rest = io.read(), io.read() local s = first .. '\\n' .. rest \
                    print(#first, #s, io.read()) \
                    for i = 0, 255 do assert(string.byte(s, i + 1) == i, i) end \
                    assert(string.sub(s, 257) == '\\255\\254\\0') print('all')";
        assert_eq!(reading(mode, Cursor::new(all)).says(text, ()), ["10 259 nil", "all"]);
    }

    fn others_go_on_while_a_thread_waits(mode) {
        let server = echo();
        let (feed, fed) = fed();
        let mut rt = reading(mode, fed);
        let lua = rt.runtime.lua();
        let feed = Mutex::new(Some(feed));
        let send = move |_: &_, text: Option<String>| {
            let mut feed = feed.lock().unwrap();
            match text {
                Some(text) => feed.as_ref().unwrap().send(Ok(text.into_bytes())).unwrap(),
                None => drop(feed.take()),
            }
            Ok(())
        };
        lua.globals().set("feed", lua.create_function(send).unwrap()).unwrap();
        let text = "local ws = WebSocket.connect(...) \
            local count = 0 local function until_line(n) while count < n do task.wait() end end \
            task.spawn(function() for line in io.lines() do count += 1 print('line', line) end \
                print('end') ws:Close() end) \
            task.wait(0.01) print('time') task.defer(print, 'deferred') task.wait() \
            ws:Send('echo') print(ws.OnMessage:Wait()) feed('a\\nb') until_line(1) \
            print('not yet') feed('c\\n') until_line(2) feed(nil)";
        let said = rt.says(text, server.url());
        let want = ["time", "deferred", "echo", "line a", "not yet", "line bc", "end"];
        assert_eq!(said, want);
    }

    fn many_lines_shut_nobody_out(mode) {
        // The whole input is available at once.
        let input = Cursor::new("x\n".repeat(400_000));
        let text = "local n, at = 0, {} \
            task.spawn(function() for i = 1, 3 do task.wait() at[i] = n end end) \
            task.delay(0, function() at[4] = n end) \
            for _ in io.lines() do n += 1 end \
            print(n, #at) for i = 1, 4 do assert(at[i] < n, i) end";
        assert_eq!(reading(mode, input).says(text, ()), ["400000 4"]);
    }

    fn who_asks_first_is_served_first(mode) {
        let (feed, fed) = fed();
        let mut rt = reading(mode, fed);
        rt.spawn(
            "local function ask(name, what) task.spawn(function() \
                 print(name, io.read(what)) end) end \
             ask('a', 'line') ask('b', 3) cancelled = task.spawn(io.read) ask('c') ask('d', 'all') \
             task.cancel(cancelled) \
             task.spawn(function() print('e', io.read()) end)",
            (),
        );
        for part in ["on", "e\nxy", "zthr", "ee\nall ", "of it\n"] {
            feed.send(Ok(part.into())).unwrap();
        }
        drop(feed);
        rt.run();
        assert_eq!(rt.said.take(), ["a one", "b xyz", "c three", "d all of it\n", "e nil"]);
    }

    fn one_that_is_cancelled_gives_up_its_place(mode) {
        let (feed, fed) = fed();
        let mut rt = reading(mode, fed);
        // No thread waits any more, so the run ends, though the input has not ended.
        rt.spawn("local t = task.spawn(io.read) task.wait(0.01) task.cancel(t) print('end')", ());
        rt.run();
        assert_eq!(rt.said.take(), ["end"]);
        // Bytes that arrive later are not lost, and a cancelled read takes none of them.
        rt.spawn(
            "local t = task.spawn(function() print('never', io.read()) end) \
             task.spawn(function() print(io.read()) print(io.read()) end) task.cancel(t)",
            (),
        );
        feed.send(Ok(b"a\nb\n".into())).unwrap();
        rt.run();
        assert_eq!(rt.said.take(), ["a", "b"]);
        drop(feed);
    }

    fn a_resumed_thread_goes_on_waiting(mode) {
        let (feed, fed) = fed();
        let mut rt = reading(mode, fed);
        rt.spawn(
            "local t = coroutine.create(function() print('got', io.read()) end) \
             coroutine.resume(t) coroutine.resume(t, 'not this') print(coroutine.status(t))",
            (),
        );
        feed.send(Ok(b"line\n".into())).unwrap();
        rt.run();
        assert_eq!(rt.said.take(), ["suspended", "got line"]);
        drop(feed);
    }

    fn a_script_that_waits_for_input_is_alive_until_it_is_killed(mode) {
        let (feed, fed) = fed();
        let mut rt = reading(mode, fed);
        let script = rt.runtime.spawn("reads", "io.read() print('one') io.read()", ()).unwrap();
        assert!(script.is_alive() && script.is_alive());
        feed.send(Ok(b"a\n".into())).unwrap();
        while rt.said.all().is_empty() {
            rt.runtime.step(Duration::from_millis(1)).unwrap();
        }
        assert!(script.is_alive());
        script.kill().unwrap();
        assert!(!script.is_alive());
        rt.run();
        drop(feed);
    }

    fn a_line_and_a_piece_have_a_bound(mode) {
        let with = |input: &str| {
            let input = Cursor::new(input.to_owned());
            Rt::with(mode, |mut options| {
                options.config().limits.input_piece = 8;
                options.config().limits.input_ahead = 3;
                options.io(Io::new(input, io::sink(), io::sink()))
            })
        };
        let text = "for line in io.lines() do print(line) end";
        assert_eq!(with("12345678\r\n1\n").says(text, ()), ["12345678", "1"]);
        let long = "error: script:1: standard input: the bytes of this line are more than 8 bytes \
                    (Limits::input_piece): read them with io.read(n)";
        assert_eq!(with("123456789\n").says(text, ()), [long]);
        assert_eq!(with("123456789").says(text, ()), [long]);
        // No byte is lost.
        let text = "print(pcall(io.read, 'all')) print(pcall(io.read)) print(io.read(8), io.read())";
        let said = with("123456789\n").says(text, ());
        assert!(said[0].starts_with("false standard input: what is left are more"), "{said:?}");
        assert_eq!(said[2], "12345678 9");
        assert_eq!(with("12345678").says("print(io.read('all'))", ()), ["12345678"]);
        let said = with("x").says("print(io.read(9))", ());
        assert!(said[0].ends_with("(a whole number from 1 to 8 expected, got 9)"), "{said:?}");
    }

    fn an_input_that_breaks_is_raised_behind_what_came(mode) {
        let (feed, fed) = fed();
        for part in [
            Ok(b"a\nb".to_vec()),
            Err(io::ErrorKind::Interrupted.into()),
            Err(io::ErrorKind::WouldBlock.into()),
            Ok(b"c\nd".to_vec()),
            Err(io::Error::other("unplugged")),
        ] {
            feed.send(part).unwrap();
        }
        let said = reading(mode, fed).says(LIST, ());
        let problem = "error: script:1: standard input: unplugged";
        assert_eq!(said, ["1 1:a", "2 2:bc", "3 1:d", problem]);
        drop(feed);
    }

    fn a_reader_that_panics_is_an_error(mode) {
        struct Panics;
        impl Read for Panics {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                panic!("the reader of a test")
            }
        }
        let said = reading(mode, Panics).says("print(io.read())", ());
        assert_eq!(said, ["error: script:1: standard input: its reader has panicked"]);
    }

    fn what_raises(mode) {
        let said = reading(mode, Cursor::new("line\n")).says(
            "local function try(f, ...) local ok, e = pcall(f, ...) assert(not ok) print(e) end \
             try(io.read, 0) try(io.read, 1.5) try(io.read, 0/0) try(io.read, '*a') try(io.read, {}) \
             try(io.lines, 'file') try(io.write, nil) try(io.write, 'a', true) try(io.stderr, {}) \
             try(io.writeBytes, 5) try(function() io.more = 1 end) \
             table.sort({ 1, 2 }, function() try(io.read) return false end) \
             print(io.open, io.popen, io.read())",
            (),
        );
        let want = [
            "a whole number from 1 to 67108864 expected, got 0",
            "expected, got 1.5",
            "expected, got nan",
            "\"line\", \"all\" or a number expected, got another string",
            "a number expected, got table",
            "io.lines takes no argument",
            "invalid argument #1 to 'write' (string or number expected, got nil)",
            "invalid argument #2 to 'write' (string or number expected, got boolean)",
            "invalid argument #1 to 'stderr' (string or number expected, got table)",
            "invalid argument #1 to 'writeBytes' (string or buffer expected, got number)",
            "readonly",
        ];
        for (said, want) in said.iter().zip(want) {
            assert!(said.contains(want), "{said}: {want}");
        }
        // `table.sort` calls the comparison once or twice.
        let (last, asked) = said[want.len()..].split_last().unwrap();
        assert!(!asked.is_empty() && asked.iter().all(|said| {
            said.ends_with("io.read has to wait, and this thread cannot yield here")
        }), "{asked:?}");
        assert_eq!(last, "nil nil line");
    }

    fn what_is_written_is_there_at_once(mode) {
        let (out, err) = (Written::default(), Written::default());
        let streams = Io::new(io::empty(), out.clone(), err.clone());
        let mut rt = Rt::with(mode, |options| options.io(streams));
        let text = "io.write('a', 1, ' ', 0.5) io.write() io.write('') io.stderr('e', 2) \
                    io.writeBytes(buffer.fromstring('b\\0')) io.writeBytes('c')";
        assert_eq!(rt.says(text, ()), [""; 0]);
        assert_eq!((out.text(), err.text()), ("a1 0.5b\0c".to_owned(), "e2".to_owned()));
    }

    fn a_writer_that_fails_raises_in_the_script(mode) {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut rt = Rt::with(mode, |options| options.io(Io::new(io::empty(), Full, Full)));
        let said = rt.says("print(pcall(io.stderr, 'x')) io.write('x')", ());
        assert_eq!(said, [
            "false io.stderr: no storage space",
            "error: script:1: io.write: no storage space",
        ]);
    }

    fn exit_ends_all_scripts_where_they_are(mode) {
        let server = echo();
        let mut rt = Rt::with(mode, |options| options.exit(true));
        rt.spawn("while true do task.wait() end", ());
        // The newest handler is called first. After its `exit`, no deferred call runs: neither a
        // function of the runtime (`print`) nor one of the script.
        rt.spawn(
            "local ws = WebSocket.connect(...) ws.OnClose:Connect(print) \
             ws.OnMessage:Connect(print) ws.OnMessage:Connect(function() \
                 task.defer(print, 'never') task.delay(0, print, 'never') \
                 print('in') \
                 xpcall(exit, function() print('never') end, 7) \
                 while true do pcall(print, 'never') end \
             end) ws:Send('x') task.wait(100)",
            server.url(),
        );
        assert_eq!(rt.runtime.exit_code(), None);
        rt.run();
        assert_eq!(rt.runtime.exit_code(), Some(7));
        assert_eq!(rt.said.take(), ["in"]);
        // After `exit`, no script runs.
        assert!(matches!(rt.runtime.spawn("more", "print('never')", ()), Err(Error::Exited)));
        assert_eq!(rt.runtime.step(Duration::ZERO).unwrap(), Progress::Done);
        rt.run();
        assert_eq!(rt.said.take(), [""; 0]);
        // The embedder's own Luau code still runs.
        rt.runtime.lua().load("for i = 1, 3 do print('mine') end").exec().unwrap();
        assert_eq!(rt.said.take(), ["mine"; 3]);
    }

    fn exit_goes_through_whatever_a_script_stands_in(mode) {
        for text in [
            "exit(3)",
            "pcall(exit, 3) print('never')",
            "coroutine.wrap(exit)(3) print('never')",
            "print(coroutine.resume(coroutine.create(exit), 3)) print('never')",
            "task.spawn(exit, 3) print('never')",
            "task.defer(exit, 3) task.defer(print, 'never') task.wait() print('never')",
            "task.delay(0.001, exit, 3) task.wait(100)",
            "table.sort({ 1, 2 }, function() exit(3) end) print('never')",
            "local t = setmetatable({}, { __index = function() exit(3) end }) \
             print(pcall(function() return t.x end)) print('never')",
            "while true do pcall(exit, 3) end",
            "xpcall(error, function() exit(3) end) print('never')",
            // The first code counts.
            "pcall(exit, 3) exit(4)",
            "task.spawn(pcall, exit, 3) exit(4)",
        ] {
            for limit in [None, Some(Duration::from_secs(10))] {
                let mut rt =
                    Rt::with(mode, |options| options.exit(true).time_limit(limit));
                rt.spawn(text, ());
                rt.run();
                assert_eq!(rt.runtime.exit_code(), Some(3), "{text}");
                assert_eq!(rt.said.take(), [""; 0], "{text}");
                assert!(!rt.runtime.has_raised(), "{text}");
            }
        }
    }

    fn a_code_is_a_whole_number_of_a_byte(mode) {
        for (given, code) in [("", 0), ("0", 0), ("1", 1), ("7", 7), ("255", 255), ("nil", 0)] {
            let mut rt = Rt::with(mode, |options| options.exit(true));
            rt.spawn(&format!("exit({given})"), ());
            rt.run();
            assert_eq!(rt.runtime.exit_code(), Some(code), "{given}");
        }
        for given in ["256", "-1", "1.5", "0/0", "1/0", "'1'", "true", "{}"] {
            let mut rt = Rt::with(mode, |options| options.exit(true));
            let said = rt.says(&format!("exit({given})"), ());
            let want = "error: script:1: invalid argument #1 to 'exit' (a whole number from 0 to 255";
            assert!(said[0].starts_with(want), "{said:?}");
            assert_eq!(rt.runtime.exit_code(), None, "{given}");
        }
    }
}

/// An input that never ends, and counts the bytes that are read from it.
struct Endless(Arc<Mutex<usize>>);

impl Read for Endless {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        room.fill(b'\n');
        *self.0.lock().unwrap() += room.len();
        Ok(room.len())
    }
}

#[test]
fn nothing_is_read_before_a_script_asks_and_then_no_more_than_the_limit_ahead() {
    const AHEAD: usize = 1000;
    let count = Arc::new(Mutex::new(0));
    let mut rt = Rt::with(Mode::Inline, |mut options| {
        options.config().limits.input_ahead = AHEAD;
        options.io(Io::new(Endless(Arc::clone(&count)), io::sink(), io::sink()))
    });
    assert_eq!(rt.says("task.wait(0.05) print(1)", ()), ["1"]);
    assert_eq!(*count.lock().unwrap(), 0);
    assert_eq!(rt.says("print(#io.read(1))", ()), ["1"]);
    // The runtime has received 1000 bytes, and the reader's thread has read as many again.
    let until = std::time::Instant::now() + LONG;
    while *count.lock().unwrap() < 2 * AHEAD {
        assert!(std::time::Instant::now() < until);
        std::thread::yield_now();
    }
    assert_eq!(rt.says("task.wait(0.05) print(2)", ()), ["2"]);
    assert_eq!(*count.lock().unwrap(), 2 * AHEAD);
    // The same for a script that reads more lines later.
    assert_eq!(rt.says("for i = 1, 1500 do io.read() end print(3)", ()), ["3"]);
    assert!(*count.lock().unwrap() <= 4 * AHEAD);
}

#[test]
fn the_thread_ends_with_the_runtime() {
    // The drop of the reader drops the sender, which the test notices. Nothing is sent.
    struct NotifyingReader(Endless, #[allow(dead_code)] Sender<()>);
    impl Read for NotifyingReader {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            self.0.read(room)
        }
    }
    let (end, ended) = channel();
    let input = NotifyingReader(Endless(Arc::default()), end);
    let mut rt = reading(Mode::Inline, input);
    assert_eq!(rt.says("print(#io.read(100000))", ()), ["100000"]);
    assert!(ended.recv_timeout(Duration::ZERO).is_err());
    drop(rt);
    // The reader's thread had read as far ahead as it may, and waited. It ends and drops the
    // reader.
    use std::sync::mpsc::RecvTimeoutError::Disconnected;
    assert_eq!(ended.recv_timeout(LONG), Err(Disconnected));
}

#[test]
fn memory_of_what_waits_to_be_read_counts() {
    let input = Endless(Arc::default());
    let mut rt = Rt::with(Mode::Inline, |mut options| {
        options.config().limits.input_piece = usize::MAX;
        options.memory_limit(Some(8 << 20)).io(Io::new(input, io::sink(), io::sink()))
    });
    let said = rt.says("io.read('all')", ());
    assert_eq!(said, ["error: script:1: standard input: not enough memory"]);
}

#[test]
fn a_program_with_a_loop_of_its_own_is_notified_of_input() {
    let (feed, fed) = fed();
    let mut rt = reading(Mode::Inline, fed);
    rt.spawn("for line in io.lines() do print(line) end", ());
    for text in ["a", "b"] {
        feed.send(Ok(format!("{text}\n").into_bytes())).unwrap();
        let said = loop {
            let progress = rt.runtime.step(Duration::from_millis(1)).unwrap();
            assert!(progress.is_alive());
            let said = rt.said.take();
            if !said.is_empty() {
                break said;
            }
        };
        assert_eq!(said, [text]);
    }
    drop(feed);
    while rt.runtime.step(Duration::from_millis(1)).unwrap().is_alive() {}
}

#[test]
fn without_the_options_there_is_neither() {
    assert_eq!(Rt::new(Mode::Inline).says("print(io, exit)", ()), ["nil nil"]);
    let options = || Options::new(|_: Line<'_>| {});
    let nothing = Io::new(io::empty(), io::sink(), io::sink());
    let twice = options().io(nothing).global("io", |_| Ok(1));
    let Err(Error::Options(text)) = Runtime::new(twice) else { panic!() };
    assert_eq!(text, "Options::global: io is what Options::io sets");
    assert!(Runtime::new(options().exit(true).global("exit", |_| Ok(1))).is_err());
    // Without these globals, the names are free.
    let mut rt = Rt::with(Mode::Inline, |options| options.global("io", |_| Ok(1)));
    assert_eq!(rt.says("print(io)", ()), ["1"]);
}

#[test]
fn what_is_printed_reaches_the_embedder_byte_for_byte() {
    type Said = Vec<(String, Vec<u8>)>;
    let said: Arc<Mutex<Said>> = Arc::default();
    let its = Arc::clone(&said);
    let output = move |line: Line<'_>| {
        its.lock().unwrap().push((line.text.to_owned(), line.bytes.to_owned()));
    };
    let mut runtime = Runtime::new(Options::new(output)).unwrap();
    runtime.spawn("bytes", "print('a\\255', 'é') warn('\\xc3') error('x', 0)", ()).unwrap();
    let said = said.lock().unwrap();
    let (text, bytes): (Vec<_>, Vec<_>) = said.iter().cloned().unzip();
    assert_eq!(text, ["a\u{fffd} é", "\u{fffd}", "x"]);
    assert_eq!(bytes, [&b"a\xff \xc3\xa9"[..], b"\xc3", b"x"]);
}
