//! `io`, `exit`, `args` and `-e` of the command, with real pipes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::command::{Live, Script, command, failed, printed};
use super::raw::{Peer, serve};
use super::support::*;

const BOTH: [&[&str]; 2] = [&["--timeout=60"], &["--timeout=60", "--poll-thread"]];

/// Runs a command with these bytes as its input. Returns its status, output and standard error.
#[track_caller]
fn through(command: &mut Command, input: impl Into<Vec<u8>>) -> (Option<i32>, Vec<u8>, String) {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let (mut pipe, input) = (child.stdin.take().unwrap(), input.into());
    // The command may end before it has read all input, so an error is ignored.
    let writes = std::thread::spawn(move || drop(pipe.write_all(&input)));
    let ended = child.wait_with_output().unwrap();
    writes.join().unwrap();
    (ended.status.code(), ended.stdout, String::from_utf8(ended.stderr).unwrap())
}

#[track_caller]
fn evaluated(options: &[&str], code: &str, args: &[&str]) -> Command {
    command(&[&["run"], options, &["-e", code], args].concat())
}

#[test]
fn a_filter_of_lines() {
    let code = "for line in io.lines() do io.write('[', line, ']\\n') end";
    for options in BOTH {
        for (input, output) in [
            (&b""[..], &b""[..]),
            (b"a\nb\n", b"[a]\n[b]\n"),
            (b"a\nb", b"[a]\n[b]\n"),
            (b"a\r\nb\r\n", b"[a]\n[b]\n"),
            (b"\n\n", b"[]\n[]\n"),
            (b"\xff\0\n\xc3\xa9", b"[\xff\0]\n[\xc3\xa9]\n"),
        ] {
            let got = through(&mut evaluated(options, code, &[]), input);
            assert_eq!(got, (Some(0), output.to_owned(), String::new()), "{input:?}");
        }
    }
    // An empty standard input is at its end.
    let ended = Live::start(&mut evaluated(&[], "print(io.read(), io.read('all') == '')", &[]));
    printed(&ended.end(), &["nil true"]);
}

#[test]
fn bytes_go_through_as_they_are() {
    let all: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    for options in BOTH {
        for code in [
            "io.writeBytes(io.read('all'))",
            "io.writeBytes(buffer.fromstring(io.read('all')))",
            "while true do local s = io.read(1000) if not s then break end io.write(s) end",
        ] {
            let got = through(&mut evaluated(options, code, &[]), &*all);
            assert!(got == (Some(0), all.clone(), String::new()), "{code}: {:?}", got.0);
        }
        let (status, out, _) =
            through(&mut evaluated(options, "print(io.read('all'))", &[]), &*all);
        assert_eq!(status, Some(0));
        assert!(out[..all.len()] == all && out[all.len()..] == *b"\n");
    }
    // The name precedes each line. The line's bytes are not changed.
    let got =
        through(&mut evaluated(&["--prefix"], "print('a\\255\\nb') io.write('c\\n')", &[]), "");
    assert_eq!(got.1, b"-e: a\xff\n-e: b\nc\n");
}

#[test]
fn each_line_is_there_before_the_next_comes_and_a_prompt_before_the_answer() {
    let code = "io.write('name? ') local name = io.read() io.write('hello, ', name, '\\n') \
                io.stderr('and ') io.write('again? ') io.stderr(io.read() or 'end')";
    for options in BOTH {
        let mut child = evaluated(options, code, &[]).stdin(Stdio::piped()).spawn().unwrap();
        let (mut to, mut from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut next = |want: &str| {
            let mut got = vec![0; want.len()];
            from.read_exact(&mut got).unwrap();
            assert_eq!(String::from_utf8(got).unwrap(), want);
        };
        next("name? ");
        to.write_all(b"Ada\n").unwrap();
        next("hello, Ada\nagain? ");
        drop(to);
        let ended = child.wait_with_output().unwrap();
        assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), &b"and end"[..]));
    }
}

// The test writes the second half of the 10 MB only when the connection has had several turns. So
// the connection had turns before the input ended.
#[test]
fn ten_megabytes_of_lines_while_a_websocket_echoes() {
    const LINE: &[u8] = b"a line of a log that is about as long as lines of logs are\n";
    const HALF: usize = 5_000_000 / LINE.len();
    let server = echo();
    let text = "local ws = WebSocket.connect(...)
        local echoes, lines, bytes, over = 0, 0, 0, false
        task.spawn(function()
            while not over do
                ws:Send('ping')
                assert(ws.OnMessage:Wait() == 'ping')
                echoes += 1
                if echoes == 10 then print('ten echoes') end
            end
            ws:Close()
        end)
        for line in io.lines() do
            lines += 1
            bytes += #line
        end
        over = true
        print(lines, bytes)";
    for (i, options) in BOTH.into_iter().enumerate() {
        let script = Script::new(&format!("io_ten{i}"), text);
        let mut command = script.command(options, &[server.url()]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let half = LINE.repeat(HALF);
        pipe.write_all(&half).unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "ten echoes\n");
        pipe.write_all(&half).unwrap();
        drop(pipe);
        line.clear();
        out.read_to_string(&mut line).unwrap();
        assert_eq!(line, format!("{} {}\n", 2 * HALF, 2 * HALF * (LINE.len() - 1)));
        assert_eq!(ended(child), (Some(0), String::new()));
    }
}

/// The status and standard error of a process whose standard output is not needed.
fn ended(child: Child) -> (Option<i32>, String) {
    let ended = child.wait_with_output().unwrap();
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

#[test]
fn a_reader_that_is_slow_gets_all_of_it() {
    // The script writes several times the capacity of a pipe.
    let code = "for i = 1, 20000 do io.write(i, ' and some more\\n') end io.write('end')";
    for options in BOTH {
        let mut child = evaluated(options, code, &[]).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let (mut all, mut piece) = (Vec::new(), [0; 16 * 1024]);
        loop {
            std::thread::sleep(Duration::from_millis(2));
            match out.read(&mut piece).unwrap() {
                0 => break,
                n => all.extend_from_slice(&piece[..n]),
            }
        }
        let want: String = (1..=20000).map(|i| format!("{i} and some more\n")).collect();
        assert_eq!(String::from_utf8(all).unwrap(), want + "end");
        assert_eq!(ended(child), (Some(0), String::new()));
    }
}

#[test]
fn a_reader_that_goes_away_ends_a_run_that_writes() {
    for (i, options) in BOTH.into_iter().enumerate() {
        let server = serve(|listener| Peer::open(listener).rest());
        let text = "WebSocket.connect(...) while true do io.write('x') task.wait() end";
        let script = Script::new(&format!("io_closed{i}"), text);
        let mut child = script.command(options, &[&server.url()]).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0]).unwrap();
        drop(out);
        assert_eq!(ended(child), (Some(0), String::new()));
        assert_eq!(server.end(), ["close 1001"]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_io_cannot_write_ends_the_run_or_is_noted() {
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let code = "io.stderr('heard') io.writeBytes('x') io.stderr('never')";
    let child = evaluated(&[], code, &[]).stdout(full()).spawn().unwrap();
    let text = "heardmoonwire: standard output: No space left on device (os error 28)\n";
    assert_eq!(ended(child), (Some(1), text.to_owned()));
    // If standard error cannot be written, the script runs on, and the status is 1.
    let child = evaluated(&[], "io.stderr('x') print('on')", &[]).stderr(full()).spawn().unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), &*ended.stdout), (Some(1), &b"on\n"[..]));
}

#[test]
fn exit_codes() {
    for options in BOTH {
        for (code, status) in [
            ("exit()", 0),
            ("exit(0)", 0),
            ("exit(1)", 1),
            ("exit(7)", 7),
            ("exit(255)", 255),
            ("task.defer(exit, 7)", 7),
            // The code of `exit` counts, though an error came earlier.
            ("task.delay(0.01, exit, 0) error('x')", 0),
        ] {
            let ended = Live::start(&mut evaluated(options, code, &[])).end();
            assert_eq!(ended.status, Some(status), "{code}: {ended:?}");
        }
        for code in ["exit(256)", "exit(-1)", "exit(0.5)"] {
            let ended = Live::start(&mut evaluated(options, code, &[])).end();
            failed(
                &ended,
                1,
                "error: -e:1: invalid argument #1 to 'exit' (a whole number from 0 to",
            );
        }
        let code =
            "print(1) task.delay(0.01, print, 'never') io.write('no line end') exit(3) print(2)";
        let got = through(&mut evaluated(options, code, &[]), "");
        assert_eq!(got, (Some(3), b"1\nno line end".to_vec(), String::new()));
        // `exit` does not wait for a read by another thread.
        let code = "task.spawn(function() print(io.read()) end) task.delay(0.01, exit, 4)";
        let mut child = evaluated(options, code, &[]).stdin(Stdio::piped()).spawn().unwrap();
        let pipe = child.stdin.take();
        assert_eq!(ended(child), (Some(4), String::new()));
        drop(pipe);
    }
}

// The server reads slowly at first, so bytes are still unsent when the handler calls `exit`.
#[test]
fn what_was_sent_leaves_before_an_exit() {
    const COUNT: usize = 60;
    for (i, options) in BOTH.into_iter().enumerate() {
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            peer.send(&super::raw::text("go"));
            std::thread::sleep(Duration::from_millis(200));
            let reported = peer.rest();
            (reported.len(), reported.last().unwrap().clone())
        });
        let text = format!(
            "local ws = WebSocket.connect(...)
            ws.OnClose:Connect(function() print('never') end)
            ws.OnMessage:Connect(function()
                for i = 1, {COUNT} do ws:Send(string.rep('x', 100000)) end
                pcall(exit, 7)
                ws:Send('never')
            end)"
        );
        let script = Script::new(&format!("io_unsent{i}"), &text);
        let ended = script.run(options, &[&server.url()]);
        assert_eq!((ended.status, ended.out.len(), &*ended.err), (Some(7), 0, ""), "{ended:?}");
        assert_eq!(server.end(), (COUNT + 1, "close 1001".to_owned()));
    }
}

#[test]
fn bytes_that_did_not_leave_make_a_success_a_failure() {
    for (code, status) in [(0, 1), (7, 7)] {
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            peer.send(&super::raw::text("go"));
            // The server reads slowly until the process closes the connection.
            while peer.received() != "EOF" {
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let text = format!(
            "local ws = WebSocket.connect(...) ws.OnMessage:Wait()
            for i = 1, 150 do ws:Send(string.rep('x', 100000)) end exit({code})"
        );
        let script = Script::new(&format!("io_lost{code}"), &text);
        let ended = script.run(&["--exit-timeout", "0.05"], &[&server.url()]);
        failed(&ended, status, "bytes that were sent did not leave within 50ms, the exit timeout");
        drop(server);
    }
}

#[test]
fn scripts_beside_each_other_share_input_and_arguments() {
    let text = "print(args[1], #args, select('#', ...), args[2]) print(io.read()) print(io.read())";
    let other = Script::new("io_other", text);
    for options in BOTH {
        let options = [options, &["--prefix", "--also", other.path()]].concat();
        let mut command = evaluated(&options, text, &["a", "b"]);
        let (status, out, err) = through(&mut command, "1\n2\n3\n4\n");
        let out = String::from_utf8(out).unwrap().replace(other.path(), "B");
        let mut lines: Vec<&str> = out.lines().collect();
        // Both scripts read lines, in the order of their calls.
        assert_eq!(lines[..2], ["-e: a 2 2 b", "B: a 2 2 b"]);
        let order = ["-e: 1", "B: 2", "-e: 3", "B: 4"];
        assert_eq!(lines.split_off(2), order);
        assert_eq!((status, &*err), (Some(0), ""));
        // The `exit` of one script ends both.
        let ended = Live::start(&mut evaluated(&options, "print(1) exit(5)", &[])).end();
        assert_eq!((ended.status, &*ended.out), (Some(5), &["-e: 1".to_owned()][..]));
    }
    // No script can change the arguments of another.
    let ended = Live::start(&mut evaluated(&[], "args[1] = 1", &["a"])).end();
    failed(&ended, 1, "-e:1: attempt to modify a readonly table");
}

#[test]
fn code_on_the_command_line() {
    let run = |args: &[&str]| Live::start(&mut command(&[&["run"], args].concat())).end();
    printed(&run(&["-e", "print(...) print(#args)", "a", "--trace", "-e"]), &["a --trace -e", "3"]);
    printed(&run(&["-e", "print(args[1])", "--", "-x"]), &["-x"]);
    printed(&run(&["-e", "local a = 1", "-e", "print(a)"]), &["1"]);
    printed(&run(&["--eval=print(#args)"]), &["0"]);
    let ended = run(&["--echo", "-e", "print(args[1] == ..., #args)", "b"]);
    printed(&ended, &["true 2"]);
    failed(&run(&["-e", "local a\nerror('oh')"]), 1, "error: -e:2: oh\n  -e:2\n");
    failed(&run(&["-e", "local = 1"]), 1, "moonwire: -e:1: ");
    failed(&run(&["-e"]), 2, "-e needs a value");
    // Modules are searched from the folder in which the command was started.
    let module = Script::new("io_module", "return 'from a module'");
    let folder = std::path::Path::new(module.path()).parent().unwrap();
    let mut command = command(&["run", "-e", "print(require('./io_module'))"]);
    printed(&Live::start(command.current_dir(folder)).end(), &["from a module"]);
}

#[cfg(unix)]
#[test]
fn a_script_that_waits_for_input_is_ended_by_a_signal() {
    for options in BOTH {
        let code = "print('waits') io.read() print('never')";
        let mut command = evaluated(options, code, &[]);
        let (read, write) = std::io::pipe().unwrap();
        let live = Live::start(command.stdin(read));
        assert_eq!(live.line(), "waits");
        live.signal("TERM");
        assert_eq!(live.end().status, Some(143));
        drop(write);
    }
}

// Before a script reads, no thread for the input exists, and no byte of it is read.
#[cfg(target_os = "linux")]
#[test]
fn input_costs_no_thread_where_nobody_reads() {
    let threads = |code: &str| {
        let mut command = evaluated(&["--timeout=60"], code, &[]);
        let (read, write) = std::io::pipe().unwrap();
        let live = Live::start(command.stdin(read));
        assert_eq!(live.line(), "ready");
        let names = live.threads();
        live.signal("TERM");
        assert_eq!(live.end().status, Some(143));
        drop(write);
        names.into_iter().filter(|name| name == "moonwire-input").count()
    };
    assert_eq!(threads("print('ready') task.wait(100)"), 0);
    assert_eq!(threads("task.spawn(io.read) task.wait() print('ready') task.wait(100)"), 1);
}
