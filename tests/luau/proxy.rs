//! Proxies and Unix sockets, and whether scripts may choose them: scripts and the command.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use moonwire::luau::Options;

use super::command::{Live, Script, command};
use super::support::*;

/// A proxy for `CONNECT` and SOCKS 5 that answers with its target, or refuses. Its threads end with
/// the connections.
struct Proxy {
    address: SocketAddr,
    /// The bytes of each connection, up to the end of the opening.
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Proxy {
    fn new(refuses: bool) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let its = Arc::clone(&heard);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, heard) = (stream.unwrap(), Arc::clone(&its));
                thread::spawn(move || serve(stream, &heard, refuses));
            }
        });
        Proxy { address, heard }
    }

    fn url(&self, scheme: &str, user: &str) -> String {
        format!("{scheme}://{user}{}", self.address)
    }

    fn heard(&self) -> Vec<String> {
        let heard = std::mem::take(&mut *self.heard.lock().unwrap());
        heard.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }
}

const REFUSAL: &[u8] =
    b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Type: text/plain\r\n\
                         Content-Length: 3\r\nConnection: close\r\n\r\nwho";

fn serve(mut client: TcpStream, heard: &Mutex<Vec<Vec<u8>>>, refuses: bool) {
    let Some((said, to)) = asked(&mut client) else { return };
    let is_socks = said.starts_with(&[5]);
    heard.lock().unwrap().push(said);
    if refuses {
        let _ = client.write_all(REFUSAL);
        return;
    }
    let Ok(server) = TcpStream::connect(to) else { return };
    let opened: &[u8] = match is_socks {
        true => b"\x05\0\0\x01\0\0\0\0\0\0",
        false => b"HTTP/1.1 200 Connection established\r\n\r\n",
    };
    if client.write_all(opened).is_err() {
        return;
    }
    let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || splice(back.0, back.1));
    splice(client, server);
}

fn splice(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// The bytes up to the point at which the tunnel may be opened, and its target.
fn asked(client: &mut TcpStream) -> Option<(Vec<u8>, String)> {
    let mut said = vec![0];
    client.read_exact(&mut said).ok()?;
    let mut take = |said: &mut Vec<u8>, n: usize| {
        let at = said.len();
        said.resize(at + n, 0);
        client.read_exact(&mut said[at..]).ok()
    };
    if said != [5] {
        while !said.ends_with(b"\r\n\r\n") {
            take(&mut said, 1)?;
        }
        let head = String::from_utf8(said.clone()).unwrap();
        let to = head.split(' ').nth(1)?.to_owned();
        return Some((said, to));
    }
    take(&mut said, 1)?;
    let methods = said[1].into();
    take(&mut said, methods)?;
    client.write_all(&[5, 0]).ok()?;
    let mut request = Vec::new();
    let mut more = |n: usize| {
        let at = request.len();
        request.resize(at + n, 0);
        client.read_exact(&mut request[at..]).ok()
    };
    more(5)?;
    assert_eq!(request[..4], [5, 1, 0, 1], "these tests name addresses");
    let mut rest = [0; 5];
    client.read_exact(&mut rest).ok()?;
    let address = std::net::Ipv4Addr::new(request[4], rest[0], rest[1], rest[2]);
    let port = u16::from_be_bytes([rest[3], rest[4]]);
    Some(([said, request].concat(), format!("{address}:{port}")))
}

const ECHO: &str = r#"local url, options = ...
    local ws = WebSocket.connect(url, options)
    ws:Send("hello")
    print((ws.OnMessage:Wait()))
    ws:Close()"#;

#[test]
fn a_script_may_choose_a_proxy_only_where_it_is_allowed() {
    for mode in [Mode::Inline, Mode::Threaded] {
        let (server, proxy) = (echo(), Proxy::new(false));
        for scheme in ["http", "socks5", "socks5h"] {
            let mut rt = Rt::with(mode, |options: Options| options.script_proxy(true));
            let options = rt.runtime.lua().create_table().unwrap();
            options.set("Proxy", proxy.url(scheme, "user:secret@")).unwrap();
            rt.spawn(ECHO, (server.url(), options));
            rt.run();
            assert_eq!(rt.said.take(), ["hello"], "{scheme}");
            assert_eq!(proxy.heard().len(), 1, "{scheme}");
        }
        let mut rt = Rt::new(mode);
        let options = rt.runtime.lua().create_table().unwrap();
        options.set("Proxy", proxy.url("http", "")).unwrap();
        rt.spawn(ECHO, (server.url(), options));
        rt.run();
        let said = rt.said.take();
        let why = "option Proxy is not available to scripts";
        assert!(said.len() == 1 && said[0].contains(why), "{said:?}");
        assert!(proxy.heard().is_empty());
    }
}

#[test]
fn so_it_is_with_web_stream_clients_and_trust_is_never_the_scripts() {
    let (server, proxy) = (echo(), Proxy::new(false));
    let text = r#"local url, proxy, name = ...
        local H = game:GetService("HttpService")
        local kind = Enum.WebStreamClientType.WebSocket
        local c = H:CreateWebStreamClient(kind, { Url = url, [name] = proxy })
        c.MessageReceived:Connect(function(m) print(m) c:Close() end)
        c.Opened:Connect(function() c:Send("hello") end)
        c.Closed:Wait()"#;
    let said = |allowed: bool, name: &str| {
        let mut rt = Rt::with(Mode::Inline, |options: Options| options.script_proxy(allowed));
        rt.spawn(text, (server.url(), proxy.url("http", ""), name));
        rt.run();
        rt.said.take()
    };
    assert_eq!(said(true, "Proxy"), ["hello"]);
    assert_eq!(proxy.heard().len(), 1);
    for (allowed, name) in [(false, "Proxy"), (true, "Cert"), (true, "Key"), (true, "Pins")] {
        let said = said(allowed, name);
        let why = format!("option {name} is not available to scripts");
        assert!(said.len() == 1 && said[0].contains(&why), "{said:?}");
    }
    let mut rt = Rt::with(Mode::Inline, |options: Options| options.script_proxy(true));
    rt.spawn(
        r#"local url = ...
        for _, options in { { Proxy = 5 }, { Proxy = "ftp://u:hidden@a" }, { Cert = "a" } } do
            print(select(2, pcall(WebSocket.connect, url, options)))
        end"#,
        server.url(),
    );
    rt.run();
    assert_eq!(
        rt.said.take(),
        [
            "option Proxy: string expected, got number",
            "option Proxy: a proxy is http://, https://, socks5:// or socks5h://",
            "option Cert is not available to scripts",
        ]
    );
}

/// The output of a run of the command, with these variables and no others that name proxies.
fn ran(
    script: &Script,
    options: &[&str],
    variables: &[(&str, &str)],
    url: &str,
) -> super::command::Ended {
    let file = script.path();
    let mut command = command(&[&["run"], options, &[file, url]].concat());
    Live::start(command.envs(variables.iter().copied())).end()
}

#[test]
fn the_command_has_options_and_reads_the_usual_variables() {
    let (server, proxy) = (echo(), Proxy::new(false));
    let script = Script::new("proxy", ECHO);
    let (http, socks) = (proxy.url("http", "user:secret@"), proxy.url("socks5h", ""));
    let no_proxy = format!("{}, example.com", server.address());
    for (options, variables, used) in [
        (&["--proxy", &http][..], &[][..], true),
        (&["--proxy", &socks], &[], true),
        (&[], &[("http_proxy", http.as_str())], true),
        (&[], &[("ALL_PROXY", &socks)], true),
        (&[], &[("https_proxy", &http)], false),
        (&["--proxy", ""], &[("http_proxy", &http)], false),
        (&["--proxy", &http, "--no-proxy", "127.0.0.0/8"], &[], false),
        (&[], &[("http_proxy", &http), ("NO_PROXY", &no_proxy)], false),
        (&["--no-proxy", "example.com"], &[("http_proxy", &http), ("NO_PROXY", "*")], true),
    ] {
        let ended = ran(&script, options, variables, server.url());
        assert_eq!((ended.status, ended.out), (Some(0), vec!["hello".into()]), "{}", ended.err);
        assert_eq!(ended.err, "");
        assert_eq!(proxy.heard().len(), usize::from(used), "{options:?} {variables:?}");
    }
    let options = ["--proxy", &http, "--proxy-header", "X-Own: 1", "--trace"];
    let ended = ran(&script, &options, &[], server.url());
    let heard = proxy.heard().concat();
    assert!(heard.contains("X-Own: 1\r\n") && heard.contains("Basic dXNlcjpzZWNyZXQ="), "{heard}");
    assert!(ended.err.contains("Proxy-Authorization: ***"), "{}", ended.err);
    assert!(!ended.err.contains("secret") && !ended.err.contains("dXNlc"), "{}", ended.err);
    // The server of --echo belongs to this run.
    let args = ["run", "--proxy", &http, "--echo", script.path()];
    let ended = Live::start(&mut command(&args)).end();
    assert_eq!((ended.status, proxy.heard().len()), (Some(0), 0), "{}", ended.err);
}

#[test]
fn a_refusal_of_the_proxy_is_reported_with_its_remedy() {
    let proxy = Proxy::new(true);
    let script = Script::new("proxy-refused", ECHO);
    for (user, remedy) in [
        ("", "it requires a user name and a password: USER:PASSWORD@ before its host"),
        ("user:secret@", "it does not accept the user name and the password"),
    ] {
        let http = proxy.url("http", user);
        let ended = ran(&script, &["--proxy", &http], &[], "wss://echo.example/");
        assert_eq!(ended.status, Some(1));
        let shown = format!(
            "wss://echo.example/: proxy: http://{}: it answered 407 Proxy Authentication Required: who; \
             {remedy}",
            proxy.address
        );
        assert!(ended.err.contains(&shown), "{}", ended.err);
        assert!(!ended.err.contains("secret"), "{}", ended.err);
    }
    // rSUNC's function returns the answer.
    let mut rt = Rt::with(Mode::Inline, |mut options: Options| {
        let http = proxy.url("http", "");
        options.config().proxy = moonwire::Proxy::parse(&http).unwrap().into();
        options
    });
    rt.spawn(
        r#"local ws, why, answer = websocket.connect("ws://echo.example/")
        print(ws, answer.StatusCode, answer.StatusMessage, answer.Body)"#,
        (),
    );
    rt.run();
    assert_eq!(rt.said.take(), ["nil 407 Proxy Authentication Required who"]);
}

#[test]
fn private_addresses_are_denied_behind_a_proxy_as_far_as_it_is_known() {
    let (server, proxy) = (echo(), Proxy::new(false));
    let script = Script::new("proxy-private", ECHO);
    let (http, socks) = (proxy.url("http", ""), proxy.url("socks5", ""));
    let port = server.address().port();
    let name = format!("ws://localhost:{port}/");
    for (proxy_url, url, warned) in
        [(&http, server.url(), true), (&http, &name, true), (&socks, server.url(), false)]
    {
        let ended = ran(&script, &["--proxy", proxy_url, "--deny-private"], &[], url);
        assert_eq!(ended.status, Some(1), "{}", ended.err);
        assert!(ended.err.contains("is not on the public internet"), "{}", ended.err);
        assert_eq!(ended.err.contains("resolves names itself"), warned, "{}", ended.err);
    }
    assert!(proxy.heard().is_empty());
    // A proxy that the script chooses is one more address.
    let text = ECHO.replace("(url, options)", &format!("(url, {{ Proxy = {http:?} }})"));
    let script = Script::new("proxy-own", &text);
    let ended = ran(&script, &["--allow-script-proxy", "--deny-private"], &[], "ws://9.9.9.9/");
    assert!(
        ended.err.contains("the policy does not allow it: the proxy: 127.0.0.1"),
        "{}",
        ended.err
    );
}

/// The proxy that was given is trusted by its address, and a script can name it with another
/// scheme.
#[test]
fn a_script_does_not_turn_a_proxy_that_gets_addresses_into_one_that_resolves() {
    let proxy = Proxy::new(false);
    let socks = proxy.url("socks5", "");
    for scheme in ["socks5h", "http"] {
        let own = proxy.url(scheme, "");
        let text = ECHO.replace("(url, options)", &format!("(url, {{ Proxy = {own:?} }})"));
        let script = Script::new("proxy-turned", &text);
        let options = ["--proxy", &socks, "--allow-script-proxy", "--deny-private"];
        let ended = ran(&script, &options, &[], "ws://a.example/");
        assert_eq!(ended.status, Some(1), "{}", ended.err);
        assert!(
            ended.err.contains("this proxy resolves a.example, so its address is not known here"),
            "{}",
            ended.err
        );
    }
    assert!(proxy.heard().is_empty());
}

/// Otherwise the script would connect without the proxy.
#[cfg(unix)]
#[test]
fn a_variable_that_is_no_utf_8_is_a_proxy_all_the_same() {
    use std::os::unix::ffi::OsStrExt as _;
    let proxy = Proxy::new(true);
    let mut url = b"http://us\xe9r:word@".to_vec();
    url.extend_from_slice(proxy.address.to_string().as_bytes());
    let script = Script::new("proxy-bytes", ECHO);
    let mut run = command(&["run", script.path(), "ws://a.example/"]);
    let ended = Live::start(run.env("http_proxy", std::ffi::OsStr::from_bytes(&url))).end();
    assert!(ended.err.contains("it answered 407"), "{}", ended.err);
    assert_eq!(proxy.heard().len(), 1);
}

#[test]
#[cfg(unix)]
fn unix_sockets_are_for_scripts_that_may() {
    use std::os::unix::net::UnixListener;
    // It keeps the folder.
    let script = Script::new("unix", ECHO);
    let path = super::command::folder().join("own.sock");
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let server = echo();
    let to = server.address();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut client, mut server) = (stream.unwrap(), TcpStream::connect(to).unwrap());
            let (mut from, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut back));
            thread::spawn(move || std::io::copy(&mut client, &mut server));
        }
    });
    let url = format!("ws+unix:{}:/", path.display());
    for (allowed, said) in [(true, "hello"), (false, "error: script:2: invalid websocket url")] {
        let mut rt = Rt::with(Mode::Inline, |options: Options| options.unix_sockets(allowed));
        rt.spawn(ECHO, url.clone());
        rt.run();
        assert_eq!(rt.said.take(), [said]);
    }
    let ended = ran(&script, &["--allow-unix"], &[], &url);
    assert_eq!((ended.status, ended.out), (Some(0), vec!["hello".into()]), "{}", ended.err);
    let ended = ran(&script, &["--allow-unix", "--deny-private"], &[], &url);
    assert!(ended.err.contains("a Unix socket is not on the public internet"), "{}", ended.err);
    let ended = ran(&script, &["--allow-unix"], &[], "ws+unix:/nowhere/at/all:/");
    assert!(
        ended.err.contains("ws+unix:/nowhere/at/all:/: connect: No such file"),
        "{}",
        ended.err
    );
    let _ = std::fs::remove_file(path);
}
