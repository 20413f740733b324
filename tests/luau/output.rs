//! Output that the command cannot write (FAULTS 78): an error and a status, once; a pipe whose
//! reader has closed it ends the run without a message.

#[cfg(target_os = "linux")]
use std::fs::File;
use std::process::{Command, Stdio};

#[cfg(target_os = "linux")]
use super::command::Script;
use super::command::command;
#[cfg(target_os = "linux")]
use super::raw::{Peer, serve};
#[cfg(target_os = "linux")]
use super::support::*;

/// A file of which each write says that the disk is full.
#[cfg(target_os = "linux")]
fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// Status and standard error of a command whose output goes to that file.
fn into(command: &mut Command, out: impl Into<Stdio>) -> (Option<i32>, String) {
    let ended = command.stdout(out).stderr(Stdio::piped()).spawn().unwrap();
    let ended = ended.wait_with_output().unwrap();
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

#[cfg(target_os = "linux")]
const FULL: &str = "moonwire: standard output: No space left on device (os error 28)\n";

/// FAULTS 78.
#[cfg(target_os = "linux")]
#[test]
fn each_answer_of_the_command_that_cannot_be_written_is_an_error() {
    for args in [
        &["--help"][..],
        &["--version"],
        &["types"],
        &["types", "--help"],
        &["run", "--help"],
        &["echo", "--help"],
        // It does not serve if its URL cannot be printed.
        &["echo"],
    ] {
        assert_eq!(into(&mut command(args), full()), (Some(1), FULL.to_owned()), "{args:?}");
    }
}

/// FAULTS 78.
#[cfg(target_os = "linux")]
#[test]
fn a_print_that_cannot_be_written_ends_the_run_with_an_error() {
    for options in [&[][..], &["--poll-thread"]] {
        for (name, then) in
            [("ends", ""), ("waits", "ws.OnMessage:Wait()"), ("computes", "while true do end")]
        {
            let server = serve(|listener| Peer::open(listener).rest());
            let text = format!(
                "local ws = WebSocket.connect(...)
                task.spawn(function() ws:Send('sent') for i = 1, 3 do print('message', i) end end)
                warn('not here')
                {then}"
            );
            let script = Script::new(&format!("full_{name}{}", options.len()), &text);
            let got = into(&mut script.command(options, &[&server.url()]), full());
            assert_eq!(got, (Some(1), FULL.to_owned()), "{name}");
            // Sent messages are not lost by it, and the server gets a close frame.
            assert_eq!(server.end(), ["sent", "close 1001"]);
        }
    }
}

/// FAULTS 78: only the status can report it. A bot does not stop for it.
#[cfg(target_os = "linux")]
#[test]
fn without_standard_error_a_run_goes_on_and_its_status_tells() {
    let server = echo();
    for (name, options, text) in [
        ("warn", &[][..], "warn('x')"),
        ("raise", &[], "task.spawn(error, 'x')"),
        ("trace", &["--trace"], "WebSocket.connect(...):Close()"),
    ] {
        let text = format!("{text} print('on') task.wait() print('to the end')");
        let script = Script::new(&format!("unheard_{name}"), &text);
        let mut command = script.command(options, &[server.url()]);
        let child = command.stdout(Stdio::piped()).stderr(full()).spawn().unwrap();
        let ended = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(ended.stdout).unwrap(), "on\nto the end\n", "{name}");
        assert_eq!(ended.status.code(), Some(1), "{name}");
        // With a writable output, it behaves as any other.
        let mut command = script.command(options, &[server.url()]);
        assert_eq!(into(&mut command, Stdio::null()).0, Some(0), "{name}");
    }
}

// `moonwire types | head -1`. For the output of a script:
// `a_reader_that_goes_away_ends_it_quietly`.
#[test]
fn an_answer_that_nobody_reads_any_more_is_no_error() {
    let closed = || std::io::pipe().unwrap().1;
    for args in [&["--help"][..], &["types"], &["run", "--help"]] {
        assert_eq!(into(&mut command(args), closed()), (Some(0), String::new()), "{args:?}");
    }
}
