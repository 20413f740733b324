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

/// Text that no script may see.
const HIDDEN: &str = "hunter2";

fn with_secrets(mode: Mode) -> Rt {
    Rt::with(mode, |options| options.secrets(|name| (name == "key").then(|| HIDDEN.to_owned())))
}

#[test]
fn secrets_are_not_seen() {
    with_secrets(Mode::Inline).passes(include_str!("secrets.luau"), HIDDEN);
    // Nor where a script fails with one in its hands.
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
