//! §2 and §5: `game`, `HttpService` without its streams, enums, secrets.

use moonwire::luau::Options;

use super::support::*;

both! {
    fn game_and_its_service(mode) {
        passes(mode, include_str!("http_service.luau"), ());
    }

    fn enums(mode) {
        passes(mode, include_str!("enums.luau"), ());
    }
}

/// The error lists the services, and a warning says how to get others: once for each name that a
/// built-in host has, once for all other names.
#[test]
fn a_service_that_is_not_here_is_raised_and_its_host_is_named() {
    let mut rt = Rt::new(Mode::Inline);
    let script = r#"
        for _, name in { "Players", "Players", "httpservice", "Workspace", "StudioService" } do
            local ok, text = pcall(function() return game:GetService(name) end)
            print(text)
        end
        print(select(2, pcall(function() return game.RunService end)))
        print(select(2, pcall(function() return game.Lighting end)))
    "#;
    let none = |name| {
        format!("script:3: '{name}' is not a valid Service name (HttpService is the only one here)")
    };
    let missing = |name: &str, host: &str| format!("warning: {name} is not here: {host}");
    let ours = |which: &str| format!("moonwire run {which} (else Options::host)");
    let both = ours("--host studio and --host executor have it");
    let other = "a host file can add it (moonwire run --host FILE, else Options::host)";
    let member = |name: &str, line| {
        format!("script:{line}: {name} is not a valid member of DataModel \"Game\"")
    };
    let want = [
        missing("Players", &both),
        none("Players"),
        none("Players"),
        missing("httpservice", other),
        none("httpservice"),
        none("Workspace"),
        missing("StudioService", &ours("--host studio has it")),
        none("StudioService"),
        missing("RunService", &both),
        member("RunService", 6),
        member("Lighting", 7),
    ];
    assert_eq!(rt.says(script, ()), want);
}

#[test]
#[cfg(feature = "json")]
fn json() {
    passes(Mode::Inline, include_str!("json.luau"), ());
}

#[test]
#[cfg(not(feature = "json"))]
fn without_the_feature_json_raises() {
    let text = r#"local H = game:GetService("HttpService")
        raises("JSONEncode is not in this build (feature json)", H.JSONEncode, H, {})
        raises("JSONDecode is not in this build (feature json)", H.JSONDecode, H, "[]")
        done()"#;
    passes(Mode::Inline, text, ());
}

/// Text that no script may read.
const HIDDEN: &str = "hunter2";

fn with_secrets(mode: Mode) -> Rt {
    Rt::with(mode, |options| options.secrets(|name| (name == "key").then(|| HIDDEN.to_owned())))
}

#[test]
fn secrets_are_not_seen() {
    with_secrets(Mode::Inline).passes(include_str!("secrets.luau"), HIDDEN);
    // No output has the secret's text, even if a script passes the secret where it does not belong.
    let mut rt = with_secrets(Mode::Inline);
    for text in [
        "error(...)",
        "error(tostring(...))",
        "error('x' .. ...)",
        "print(...) warn(...) print({ ... }, #...)",
        "WebSocket.connect(...)",
        "WebSocket.connect('ws://' .. ...)",
        "WebSocket.connect('ws://localhost', { Headers = { a = ... } })",
        "game:GetService('HttpService'):JSONEncode({ a = { ... } })",
        "game:GetService('HttpService'):JSONDecode(...)",
        "game:GetService('HttpService'):UrlEncode(...)",
        "game:GetService('HttpService'):Base64Encode(...)",
        "game:GetService('HttpService'):Base64Decode(...)",
        "game:GetService('HttpService'):GetSecret(...)",
        "game:GetService(...)",
        "local function f(a) return a.Nothing end f(...)",
        "local secret = ... secret.Value = secret",
        "local secret = ... return secret:AddPrefix(secret)",
        "task.wait(...)",
        "loadstring(...)",
        "buffer.fromstring(...)",
        "string.format('%d', ...)",
    ] {
        let secret = "local secret = game:GetService('HttpService'):GetSecret('key');";
        let said = rt.says(&format!("{secret} (function(...) {text} end)(secret)"), ());
        assert!(!said.is_empty(), "{text}");
        assert!(!said.iter().any(|line| line.contains(HIDDEN)), "{text}: {said:?}");
    }
}

#[test]
fn without_a_source_there_is_no_secret() {
    let text = r#"local H = game:GetService("HttpService")
        raises('there is no secret "key" (', H.GetSecret, H, "key")
        done()"#;
    passes(Mode::Inline, text, ());
}

#[test]
fn the_depth_and_the_size_of_json_are_limits() {
    let mut rt = Rt::with(Mode::Inline, |mut options: Options| {
        options.config().limits.json_depth = 2;
        options.config().limits.message = 10;
        options
    });
    let text = r#"local H = game:GetService("HttpService")
        if not pcall(H.JSONEncode, H, {}) then
            return done()
        end
        eq(H:JSONEncode({ { 1 } }), "[[1]]")
        eq(H:JSONDecode("[[1]]")[1][1], 1)
        raises("nested deeper than 2 ", H.JSONEncode, H, { { {} } })
        raises("nested deeper than 2 ", H.JSONDecode, H, "[[[]]]")
        eq(H:JSONEncode("12345678"), '"12345678"')
        raises("cannot encode more than 10 bytes", H.JSONEncode, H, { "12345678" })
        eq(H:Base64Encode("123456"), "MTIzNDU2")
        raises("cannot encode 7 bytes: more than 10 bytes of text", H.Base64Encode, H, "1234567")
        done()"#;
    rt.passes(text, ());
}

#[test]
fn guids_of_two_runtimes_differ() {
    let text = "print(game:GetService('HttpService'):GenerateGUID())";
    assert_ne!(says(Mode::Inline, text, ()), says(Mode::Inline, text, ()));
}
