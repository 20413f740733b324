//! The text of docs/STRICTNESS.md: the cases, the results of moonwire, and the results of other
//! clients from their last run.

use std::fmt::Write as _;

use crate::script::{Case, Group};

const START: &str = "\
# Strictness

<!-- Written by `MOONWIRE_BLESS=1 cargo test --test hostile`: change tests/hostile or tests/peers. -->

What moonwire does with a hostile server, and what other WebSocket clients do with the same bytes. Each row is a case of
[`tests/hostile/cases.txt`](../tests/hostile/cases.txt), which has the bytes; FAULTS are faults that others had, listed
[at the end](#faults). `cargo test --test hostile` plays all of them over loopback sockets and compares what the client reports to the
program, the kind of its error, and the close code that the server sees on the wire. It checks besides that each connection
ends exactly once, that nothing is sent behind a close frame or after a handshake that failed, that the socket is closed,
and that the error is one printable line that names the URL.

**What a hostile server achieves** in these cases: it ends or refuses its own connection, or lets it wait until a time limit,
and the program learns why; what came whole before a violation is reported, and nothing of the violation. In no case does the
client panic, wait beyond its limits, take more memory than they allow, or report what breaks a rule.
[SECURITY.md](../SECURITY.md#who-may-be-hostile) has what a server can and cannot do in general.

**Outcome** is what the client reports, the end last: `refused` (it does not open), `failed` (it was open), `lost` (ended
without a closing handshake, or with half a body), `clean` with the server's code, `complete`. **Wire** is what it sends
after its request: a close frame as its code (`empty` without one), pongs, or `none`.

The columns of other clients come from [`tests/peers`](../tests/peers/README.md), run with default settings but for what a
case sets, and without compression:

* **✓**: as moonwire.
* **accepts**: it went on, or reported what it must not.
* **refuses**: it failed where it must not.
* **code N**: it failed, with another close code on the wire; **no code**: with none (RFC 6455 §7.1.7 has it as a SHOULD).
* **hangs**: it waits for more, though what came decides.
* **crash**: it panicked, or ended by an exception that the program cannot catch.
* **?**: not run since the case was changed; **—**: not run, see below the table.

A cell without ✓ is a difference, not always a fault. Some rules leave a choice, and then the row says what moonwire has
chosen: LF alone may be taken for the end of a line (RFC 9112 §2.2), `Sec-WebSocket-Accept` twice is not forbidden by name,
a limit is everybody's own, and nobody has to decide at the first byte that decides.
";

/// Known faults of other programs for which there are cases, with their numbers in docs/FAULTS.md.
const FAULTS: [(u32, &str); 46] = [
    (2, "CVE-2022-35922 websocket (Rust): memory for a declared length"),
    (4, "CVE-2020-27813 gorilla: the length of a message overflows"),
    (5, "CVE-2026-1528 undici: the halves of a 64-bit length, added"),
    (7, "CVE-2026-54463 websocket-driver: an ever-growing length in a draft's framing"),
    (14, "CVE-2026-2229 undici: `server_max_window_bits` out of range"),
    (15, "ws 8.21.0: memory for each tiny fragment"),
    (16, "ws #2329, undici: empty fragments were not counted"),
    (17, "undici: a limit for each frame and none for the message"),
    (20, "CVE-2025-5399 curl: answering pings without end"),
    (21, "CVE-2026-11586 curl: a queue of pongs without bound"),
    (24, "CVE-2024-37890 ws: too many fields, and `Upgrade` missing"),
    (25, "CVE-2021-32640 ws: quadratic time for a list"),
    (26, "CVE-2020-7662 websocket-extensions: the same for a quoted string"),
    (27, "ws 3.3.1: names out of `Object.prototype` as extensions"),
    (28, "CVE-2026-21710 Node: a field named `__proto__`"),
    (29, "CVE-2026-54465 websocket-driver, CVE-2023-38039 curl: endless heads"),
    (30, "CVE-2026-61666 websocket-driver: malformed fields throw"),
    (31, "CVE-2025-61724 Go: quadratic time for heads"),
    (32, "CVE-2026-42507 Go: bytes of the peer inside the text of an error"),
    (33, "CVE-2023-39326 Go: chunk extensions amplify"),
    (34, "CVE-2025-22871 Go, CVE-2025-43859 h11: ends of chunk lines and chunks"),
    (35, "CVE-2021-32714 hyper: a chunk size overflows"),
    (36, "CVE-2021-32715 hyper, CVE-2018-7159 Node: lenient `Content-Length`"),
    (37, "CVE-2021-21299 hyper, CVE-2022-32213 Node: `Transfer-Encoding`"),
    (38, "CVE-2025-23167 llhttp: CR LF CR X ends a head"),
    (39, "CVE-2024-22019 Node: chunk extensions without bound"),
    (40, "CVE-2026-58044 Node: fields past the limit count for the length"),
    (41, "CVE-2026-48931 Node: a response that nobody asked for"),
    (43, "CVE-2020-35678 Autobahn\\|Python: injection by a redirect"),
    (44, "CVE-2018-18074 requests, CVE-2022-27774 curl and others: credentials follow a redirect"),
    (45, "ws: redirects between schemes"),
    (
        46,
        "CVE-2023-32681 requests, CVE-2014-1830: credentials for a proxy reach a server, or a log",
    ),
    (49, "CVE-2020-15133 faye-websocket and others: a certificate that nobody checked"),
    (50, "CVE-2022-24968 mellium: another name than the one asked for was checked"),
    (51, "CVE-2026-48618 Node and others: dots of Unicode in a host"),
    (54, "RUSTSEC-2024-0336 rustls: a close_notify inside the handshake"),
    (56, "CVE-2022-32206 curl: chains of codings"),
    (57, "CVE-2018-12122 Node: a byte now and then"),
    (58, "undici, eventsource-parser: event streams without bound"),
    (59, "CVE-2026-44214 eventsource-encoder: line breaks in fields"),
    (60, "eventsource-parser 3.1.1: an ID with NUL"),
    (61, "TLS truncation, RFC 9112 §9.8"),
    (65, "CVE-2022-32212 Node: an address in a form of its own"),
    (71, "postman #10399, httpx-sse #33: of a refusal its body is lost"),
    (72, "vercel/ai #17007: `Content-Encoding: none`"),
    (74, "isahc #315, netty #10831: a `Location` that is not percent-encoded"),
];

/// Clients in the order of their columns.
const CLIENTS: [&str; 5] =
    ["tungstenite", "fastwebsockets", "tokio-websockets", "websockets", "ws"];

/// The results of a client, from tests/peers/results.
struct Results {
    client: &'static str,
    version: String,
    /// The text of the file, with one case in each line.
    text: String,
}

pub(crate) fn markdown(groups: &[Group]) -> String {
    let results = CLIENTS.map(Results::read);
    let mut out = START.to_owned();
    let cases = || groups.iter().flat_map(|g| &g.cases);
    writeln!(out, "\n## Sums\n").unwrap();
    writeln!(
        out,
        "| client | version | cases | ✓ | accepts | refuses | other or no code | hangs | crash |"
    )
    .unwrap();
    writeln!(out, "|---|---|--:|--:|--:|--:|--:|--:|--:|").unwrap();
    let all = cases().count();
    writeln!(
        out,
        "| **moonwire** | {} | {all} | {all} | 0 | 0 | 0 | 0 | 0 |",
        env!("CARGO_PKG_VERSION")
    )
    .unwrap();
    for r in &results {
        let verdicts: Vec<String> =
            cases().filter(|c| c.is_for_others()).map(|c| r.verdict(c)).collect();
        let count =
            |of: &[&str]| verdicts.iter().filter(|v| of.iter().any(|o| v.starts_with(o))).count();
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            r.client,
            r.version,
            verdicts.len(),
            count(&["✓"]),
            count(&["accepts"]),
            count(&["refuses"]),
            count(&["code", "no code"]),
            count(&["hangs"]),
            count(&["crash"])
        )
        .unwrap();
    }
    groups.iter().for_each(|g| group(&mut out, g, &results));
    writeln!(out, "\n## FAULTS\n\n| # | what |\n|--:|---|").unwrap();
    for (number, what) in FAULTS {
        let named = |c: &Case| faults(&c.rule).any(|n| n == number);
        assert!(cases().any(named), "no case is of FAULTS {number}");
        writeln!(out, "| {number} | {what} |").unwrap();
    }
    for number in cases().flat_map(|c| faults(&c.rule)) {
        assert!(FAULTS.iter().any(|(n, _)| *n == number), "FAULTS {number} is not listed");
    }
    out
}

/// The numbers in a rule such as `FAULTS 20, 21`.
fn faults(rule: &str) -> impl Iterator<Item = u32> {
    let numbers = rule.strip_prefix("FAULTS ").unwrap_or_default();
    numbers.split(", ").filter_map(|n| n.parse().ok())
}

fn group(out: &mut String, group: &Group, results: &[Results]) {
    let others = group.cases.iter().any(Case::is_for_others);
    writeln!(out, "\n## {}\n", group.title).unwrap();
    let sockets = group.cases.iter().any(Case::is_websocket);
    let mut head = vec!["case", "rule", "the server", "outcome"];
    head.extend(sockets.then_some("wire"));
    head.push("moonwire");
    if others {
        head.extend(results.iter().map(|r| r.client));
    }
    writeln!(out, "| {} |\n|{}", head.join(" | "), "---|".repeat(head.len())).unwrap();
    for case in &group.cases {
        let code = |text: &str| format!("`{}`", text.replace('|', "\\|"));
        let mut row = vec![case.id.clone(), case.rule.clone(), plain(&case.title)];
        row.push(code(&case.want.join("; ")));
        if sockets {
            row.push(case.wire.as_deref().map_or(String::new(), code));
        }
        row.push("✓".into());
        if others {
            row.extend(results.iter().map(|r| r.verdict(case)));
        }
        writeln!(out, "| {} |", row.join(" | ")).unwrap();
    }
    let ours: Vec<&Case> = group.cases.iter().filter(|c| others && !c.is_for_others()).collect();
    if !ours.is_empty() {
        writeln!(out).unwrap();
    }
    for case in ours {
        let way = if case.proxy.is_some() { "through a proxy" } else { "over TLS" };
        let why = case.ours.as_deref().unwrap_or(way);
        writeln!(out, "* {}: {why}.", case.id).unwrap();
    }
}

/// Escapes a text for Markdown.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if "|_*<>`[]\\".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

impl Results {
    fn read(client: &'static str) -> Results {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/results");
        let text = std::fs::read_to_string(format!("{folder}/{client}.json")).unwrap_or_default();
        let version = text.lines().find_map(|l| l.trim().strip_prefix("\"version\": \""));
        let version = version.and_then(|v| v.split('"').next()).unwrap_or("?").to_owned();
        Results { client, version, text }
    }

    fn verdict(&self, case: &Case) -> String {
        if !case.is_for_others() {
            return "—".into();
        }
        let start = format!("\"{}\": {{\"of\": \"{:08x}\", \"verdict\": \"", case.id, case.mark);
        let line = self.text.lines().find_map(|l| l.trim().strip_prefix(start.as_str()));
        match line.and_then(|l| l.split('"').next()) {
            None => "?".into(),
            Some("strict") => "✓".into(),
            Some(other) => other.into(),
        }
    }
}
