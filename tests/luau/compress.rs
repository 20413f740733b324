//! The option `Compress` and `--compress`.

#[cfg(not(feature = "deflate"))]
use super::command::failed;
use super::command::{Script, printed};

const URL: &str = "local url = ...\n";

/// Defines `agreed(options)`. It exchanges messages and returns the `Sec-WebSocket-Extensions` of
/// the response.
const AGREED: &str = r#"
local function agreed(options)
    local ws = WebSocket.connect(url, options)
    local text = string.rep("hello, world; ", 100)
    for _ = 1, 3 do
        ws:Send(text)
        assert(ws.OnMessage:Wait() == text)
    end
    ws:Send("short")
    assert(ws.OnMessage:Wait() == "short")
    ws:Send(buffer.fromstring(text))
    local message, binary = ws.OnMessage:Wait()
    assert(message == text and binary)
    local line = string.match(ws.Headers, "Sec%-WebSocket%-Extensions: ([^\r]*)")
    ws:Close()
    return line or "nothing"
end
"#;

#[cfg(feature = "deflate")]
#[test]
fn a_script_chooses_whether_and_how_messages_are_compressed() {
    let text = r#"
print(agreed(nil))
print(agreed({ Compress = false }))
print(agreed({ Compress = true }))
print(agreed({ Compress = {} }))
print(agreed({ Compress = { Takeover = false, ServerTakeover = false, ServerWindow = 10, Window = 9 } }))
print(agreed({ Compress = { Level = 9, Threshold = 0 } }))
for _, wrong in {
    { Level = 0 }, { Level = 10 }, { Level = 1.5 }, { Level = "1" }, { Window = 8 }, { Window = 16 },
    { ServerWindow = 7 }, { Threshold = -1 }, { Takeover = 1 }, { Nothing = 1 }, { 1 }, "yes",
} do
    local _, why = pcall(WebSocket.connect, url, { Compress = wrong })
    print(why)
end
"#;
    let script = Script::new("compress", &[URL, AGREED, text].concat());
    let known = "(Level, Threshold, Window, ServerWindow, Takeover, ServerTakeover)";
    let level = "option Compress.Level has to be a whole number from 1 to 9";
    let window = "option Compress.Window has to be a whole number from 9 to 15";
    let nothing = format!("option Compress: there is no Nothing {known}");
    let alone = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 server_max_window_bits=10; client_max_window_bits=9";
    let want = [
        "nothing",
        "nothing",
        "permessage-deflate",
        "permessage-deflate",
        alone,
        "permessage-deflate",
        level,
        level,
        level,
        "option Compress.Level: number expected, got string",
        window,
        window,
        "option Compress.ServerWindow has to be a whole number from 8 to 15",
        "option Compress.Threshold has to be a whole number from 0 to 4294967295",
        "option Compress.Takeover: boolean expected, got number",
        &nothing,
        "option Compress: its options have names",
        "option Compress: boolean or table expected, got string",
    ];
    printed(&script.run(&["--echo"], &[]), &want);
}

#[cfg(feature = "deflate")]
#[test]
fn the_command_compresses_where_a_script_says_nothing() {
    let text = r#"
print(agreed(nil))
print(agreed({ Compress = false }))
local H = game:GetService("HttpService")
local c = H:CreateWebStreamClient(Enum.WebStreamClientType.WebSocket, { Url = url })
c.Opened:Connect(function(_, head)
    print(string.match(head, "Sec%-WebSocket%-Extensions: ([^\r]*)"))
    c:Send(string.rep("a", 1000))
end)
print(#c.MessageReceived:Wait())
c:Close()
"#;
    let script = Script::new("compress_all", &[URL, AGREED, text].concat());
    for options in [&["--echo", "--compress"][..], &["--echo=wss", "--compress", "--poll-thread"]] {
        let want = ["permessage-deflate", "nothing", "permessage-deflate", "1000"];
        printed(&script.run(options, &[]), &want);
    }
}

#[cfg(not(feature = "deflate"))]
#[test]
fn a_build_without_it_says_so() {
    let text = r#"
print(agreed({ Compress = false }))
for _, wanted in { true, {} } do
    print(select(2, pcall(WebSocket.connect, url, { Compress = wanted })))
end
"#;
    let script = Script::new("compress_not", &[URL, AGREED, text].concat());
    let why = "option Compress: permessage-deflate is not in this build";
    printed(&script.run(&["--echo"], &[]), &["nothing", why, why]);
    let ran = script.run(&["--compress"], &[]);
    failed(&ran, 2, "--compress: this build has no compression (feature deflate)");
}
