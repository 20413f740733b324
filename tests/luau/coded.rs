//! Content codings of streams: `Enum.HttpCompression`, `--compressed`, and event streams that the
//! server compresses though the client did not ask for it.

#[cfg(not(feature = "deflate"))]
use super::command::failed;
use super::command::{Ended, Script, printed};
use super::common;
use super::common::{Scripted, field, listen};

/// A server that sends each client the body of its request back, without decoding it. It returns
/// the `Accept-Encoding` of each request.
fn echo(clients: usize, kind: &'static str) -> Scripted<Vec<String>> {
    listen(move |listener| {
        (0..clients)
            .map(|_| {
                let mut peer = common::Peer::plain(listener.accept().unwrap().0);
                let head = peer.request().to_owned();
                let length = field(&head, "Content-Length").unwrap().parse().unwrap();
                let body = peer.read(length);
                let coding = field(&head, "Content-Encoding").unwrap_or("none");
                let head_back = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Encoding: {coding}\r\n\
                     Content-Length: {length}\r\n\r\n"
                );
                peer.write(head_back.as_bytes());
                peer.write(&body);
                peer.rest();
                field(&head, "Accept-Encoding").unwrap().to_owned()
            })
            .collect()
    })
}

const SENDS: &str = r#"
local url, kind = ...
local http = game:GetService("HttpService")
local body = string.rep("data: hello, hello\n\n", 1000)
local function send(compress)
    local client = http:CreateWebStreamClient(Enum.WebStreamClientType[kind], {
        Url = url, Method = "POST", Body = body, Compress = compress,
    })
    local got, coding, failure = {}, nil, nil
    client.Opened:Connect(function(_, head)
        coding = string.match(head, "Content%-Encoding: (%w+)")
    end)
    client.MessageReceived:Connect(function(message)
        table.insert(got, message)
    end)
    client.Error:Connect(function(status, text)
        failure = status .. " " .. text
    end)
    client.Closed:Wait()
    if failure then
        print(failure)
        return
    end
    print(coding, table.concat(got) == body, kind == "RawStream" or #got)
end
for _, compress in { Enum.HttpCompression.None, Enum.HttpCompression.Gzip } do
    send(compress)
end
"#;

fn sends(options: &[&str], kind: &'static str) -> (Ended, Vec<String>) {
    let media = if kind == "SSE" { "text/event-stream" } else { "application/octet-stream" };
    let server = echo(2, media);
    let script = Script::new(&format!("coded_{kind}_{}", options.len()), SENDS);
    let ended = script.run(options, &[&server.url().replacen("ws", "http", 1), kind]);
    (ended, server.join())
}

/// Roblox's option `Compress` codes the request's body. `--compressed` asks for a coded response.
#[cfg(feature = "deflate")]
#[test]
fn gzip_compresses_the_body_and_the_command_asks_for_codings() {
    for options in [&["--compressed"][..], &["--compressed", "--poll-thread"]] {
        let (ended, asked) = sends(options, "RawStream");
        printed(&ended, &["none true true", "gzip true true"]);
        assert_eq!(asked, ["gzip, deflate"; 2]);
    }
    // A client that requests no coding gets an error that names the coding.
    let (ended, asked) = sends(&[], "RawStream");
    let why = "200 HttpError: Unknown (the body is coded as \"gzip\", though \"Accept-Encoding: \
               identity\" was sent)";
    printed(&ended, &["none true true", why]);
    assert_eq!(asked, ["identity"; 2]);
}

#[cfg(feature = "deflate")]
#[test]
fn an_event_stream_that_is_compressed_is_read_and_the_trace_says_who_asked() {
    for (options, asks, note) in [
        (
            &["--trace"][..],
            "identity",
            "<- coded as gzip though identity was asked for; it is decoded",
        ),
        (&["--trace", "--compressed"], "gzip, deflate", "<- coded as gzip; it is decoded"),
    ] {
        let (ended, asked) = sends(options, "SSE");
        assert_eq!(ended.out, ["none true 1000", "gzip true 1000"]);
        assert_eq!(asked, [asks; 2]);
        let notes = ended.err.lines().filter(|line| line.ends_with(note)).count();
        assert_eq!(notes, 1);
        assert!(ended.err.contains("<- body 20000 coded as "));
    }
}

#[cfg(feature = "deflate")]
#[test]
fn a_body_has_one_coding() {
    let text = r#"
local http = game:GetService("HttpService")
local options = { Url = "http://127.0.0.1:9/", Method = "POST", Body = "x" }
options.Compress = Enum.HttpCompression.Gzip
options.Headers = { ["Content-Encoding"] = "br" }
print(select(2, pcall(http.CreateWebStreamClient, http, Enum.WebStreamClientType.RawStream, options)))
"#;
    let why = "header \"Content-Encoding\" is there already, and can be sent once only";
    printed(&Script::new("coded_twice", text).run(&[], &[]), &[why]);
}

#[cfg(not(feature = "deflate"))]
#[test]
fn a_build_without_it_sends_the_body_as_it_is_and_says_so_of_the_option() {
    let (ended, asked) = sends(&[], "RawStream");
    printed(&ended, &["none true true"; 2]);
    assert_eq!(asked, ["identity"; 2]);
    let ran = Script::new("coded_not", "print(1)").run(&["--compressed"], &[]);
    failed(&ran, 2, "--compressed: this build has no compression (feature deflate)");
}
