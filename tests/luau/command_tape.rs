//! The command records tapes, replays them, plays the server of a tape, and writes tapes as inputs
//! of fuzz targets.

use std::fs;
use std::path::PathBuf;

use super::command::{Ended, Live, Script, command, folder, run};

const SCRIPT: &str = r#"
local ws = WebSocket.connect(...)
ws:Send("hunter22, says the script")
ws.OnMessage:Wait()
ws:Close(4000, "enough")
ws.OnClose:Wait()
"#;

/// A client that sends other frames than `SCRIPT`: a ping, and a close frame without a reason.
const OTHER: &str = r#"
local ws = WebSocket.connect(...)
ws:Ping("there?")
ws:Close(4000)
ws.OnClose:Wait()
"#;

fn file(name: &str) -> (PathBuf, String) {
    let path = folder().join(name);
    let text = path.to_str().unwrap().to_owned();
    (path, text)
}

fn replay(args: &[&str]) -> Ended {
    Live::start(&mut command(&[&["replay"], args].concat())).end()
}

#[test]
fn what_a_run_writes_down_is_run_again_and_played_from_the_other_side() {
    let script = Script::new("taped", SCRIPT);
    for (name, more) in [("all.tape", Some("--tape-payloads")), ("lengths.tape", None)] {
        let (path, tape) = file(name);
        let args = [&["--echo", "--tape", &tape][..], more.as_slice(), &[script.path()]].concat();
        let ended = run(&args);
        assert_eq!((ended.status, ended.err.as_str()), (Some(0), ""), "{ended:?}");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.contains("hunter22, says"), more.is_some(), "{text}");
        // The replay agrees with the tape in all modes.
        let ended = replay(&["--bytewise", "--cuts", "7", &tape]);
        assert_eq!(ended.status, Some(0), "{ended:?}");
        assert!(ended.out[0].contains("as it was, 7 ways: 1 connection,"), "{ended:?}");
        // The first byte of a frame of the server is changed, so the replay fails.
        let at = text.find("\ntook 81").unwrap() + 6;
        let changed = format!("{}82{}", &text[..at], &text[at + 2..]);
        let number = text[..at].lines().count();
        fs::write(&path, changed).unwrap();
        let ended = replay(&[&tape]);
        let output = ended.out.join("\n");
        assert_eq!(ended.status, Some(1), "{output}");
        assert!(output.contains(&format!("line {number}, Whole: took 82")), "{output}");
        assert!(output.contains("(RFC 6455 §5.2)"), "{output}");
        // The command plays the server: for a client that sends what the tape has, and for a
        // client that does not.
        fs::write(&path, &text).unwrap();
        for (client, status) in [(SCRIPT, 0), (OTHER, 1)] {
            let server = Live::start(&mut command(&["replay", "--server", &tape]));
            let url = server.line();
            assert!(url.starts_with("ws://127.0.0.1:"), "{url}");
            let client = Script::new("played", client);
            let client = Live::start(&mut command(&["run", client.path(), &url]));
            let (client, server) = (client.end(), server.end());
            assert_eq!((client.status, server.status), (Some(0), Some(status)), "{server:?}");
            if status == 0 {
                assert!(server.out[0].ends_with("2 frames as they were"), "{server:?}");
                assert_eq!(server.out.len() > 1, more.is_none(), "{server:?}");
            } else {
                let want = "expected text fin, 25 bytes, got close fin, 2 bytes";
                assert!(server.out[0].contains(want), "{server:?}");
            }
        }
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_tape_becomes_inputs_of_fuzz_targets() {
    let script = Script::new("seeds", "");
    let tape = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tapes/ws-echo.tape");
    let (path, into) = file("seeds");
    let ended = replay(&["--seeds", &into, tape]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let session = fs::read(path.join("session").join("ws-echo-0")).unwrap();
    assert_eq!(session[..3], [1, 1, 3]);
    let head = String::from_utf8_lossy(&session[3..]).into_owned();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // The fuzz target's key is fixed, and the answer has the value for it.
    assert!(head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
    let message = fs::read(path.join("message").join("ws-echo-0")).unwrap();
    assert_eq!(message[..9], *b"\0\0\x81\x05hello");
    fs::remove_dir_all(path).unwrap();
    drop(script);
}

#[test]
fn what_is_wrong_with_a_tape_is_said() {
    let script = Script::new("wrong", "print(1)");
    let (path, tape) = file("wrong.tape");
    fs::write(&path, "open\npeer 8102 \"hi\"\ngap its payload is missing\npeer 8101").unwrap();
    let ended = replay(&[&tape]);
    assert_eq!(ended.status, Some(1));
    let output = ended.out.join("\n");
    assert!(output.contains("line 3") && output.contains("event not named"), "{output}");
    fs::write(&path, "open\npeer 8900\ntook nothing\nwrote 8a80 00000000\ngap so\npeer 8101")
        .unwrap();
    let ended = replay(&[&tape]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.out[1].contains("line 5: what follows cannot be replayed: so"), "{ended:?}");
    for (args, want) in [
        (&["replay", "/nowhere/at/all"][..], "/nowhere/at/all: "),
        (&["run", "--tape-payloads", script.path()], "--tape-payloads needs --tape FILE"),
        (&["run", "--tape", "/nowhere/at/all", script.path()], "--tape: /nowhere/at/all: "),
        (&["replay", "--server", &tape], "starts open"),
    ] {
        let ended = Live::start(&mut command(args)).end();
        let all = format!("{}{}", ended.err, ended.out.join("\n"));
        assert!(ended.status != Some(0) && all.contains(want), "{args:?}: {ended:?}");
    }
    fs::remove_file(path).unwrap();
}
