//! The cases of `cases.txt`: what a hostile server does, and the expected result of a strict
//! client. The start of that file explains the format. This file uses only std, since `tests/peers`
//! uses it, too.
// Each of the two users needs only a part of this file.
#![allow(dead_code, unreachable_pub)]

/// One case.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// Such as `H-FR-003`. It never changes, and no other case ever gets it.
    pub id: String,
    /// The section of an RFC, or the row of FAULTS.
    pub rule: String,
    pub title: String,
    /// The kind of client and its settings: `ws`, `stream` or `events` first.
    pub client: Vec<String>,
    /// The server's certificate; `raw` if it does not use TLS.
    pub tls: Option<String>,
    /// If the server is a proxy: its protocol, and the user name with password if it needs them.
    pub proxy: Option<(String, Option<String>)>,
    pub steps: Vec<Step>,
    /// The events that the client reports; the last one is the end.
    pub want: Vec<String>,
    /// The frames that the server receives.
    pub wire: Option<String>,
    /// A part of the error's text.
    pub error: Option<String>,
    /// What requests must have or must not have: the number of the request, which of the two, and
    /// the text.
    pub asked: Vec<(usize, bool, String)>,
    /// On how many connections, one after the other, all steps are played.
    pub times: usize,
    /// Why other clients do not run this case.
    pub ours: Option<String>,
    /// A hash of all lines that determine a client's verdict.
    pub mark: u32,
}

/// A step of the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Adds these bytes to the waiting ones: the next step sends them.
    Say(Vec<Piece>),
    /// Sends the waiting bytes, then waits for a moment.
    Cut,
    /// Sends these bytes one by one.
    Drip(Vec<Piece>),
    /// Sends these bytes repeatedly until the client closes.
    Flood(Vec<Piece>),
    /// The same with pauses.
    Slow(Vec<Piece>),
    /// Reads up to the client's close frame.
    Await,
    /// Ends the stream, over TLS with close_notify.
    Eof,
    /// Ends the stream without close_notify.
    CutOff,
    Reset,
    /// Does nothing more.
    Hold,
    /// Waits until the client closes and connects again.
    Next,
    /// Reads this many bytes and compares them with these.
    Hear(usize, Vec<Piece>),
    /// Reads another request on the same connection.
    Request,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Bytes(Vec<u8>),
    /// The correct 101 response without its final empty line.
    Answer,
    /// The value of `Sec-WebSocket-Accept`.
    Accept,
    /// The port of the server.
    Port,
}

/// The cases under one heading.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub title: String,
    pub cases: Vec<Case>,
}

impl Case {
    /// Whether the server is a SOCKS proxy.
    pub fn is_socks(&self) -> bool {
        self.proxy.as_ref().is_some_and(|(scheme, _)| scheme.starts_with("socks"))
    }

    pub fn is_websocket(&self) -> bool {
        self.client[0] == "ws"
    }

    /// Whether other clients run this case.
    pub fn is_for_others(&self) -> bool {
        let plain = self.tls.is_none() && self.proxy.is_none();
        self.is_websocket() && plain && self.ours.is_none()
    }

    /// The value of a setting of the client: `1000` for `message` of `message=1000`.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.client.iter().find_map(|w| w.strip_prefix(name)?.strip_prefix('='))
    }

    /// The expected end: `failed ReservedBits(4)`.
    pub fn end(&self) -> &str {
        self.want.last().map_or("", |end| end)
    }

    /// Whether the server sends more bytes at the end, which show if a client has not failed.
    pub fn probes(&self) -> bool {
        let last = matches!(self.steps.last(), Some(Step::Say(_) | Step::Cut | Step::Drip(_)));
        let fails = ["failed", "refused"].iter().any(|e| self.end().starts_with(e));
        let plain = self.tls.is_none() && self.proxy.is_none();
        self.is_websocket() && plain && fails && last
    }
}

/// All cases in a text.
pub fn parse(text: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for block in text.split("\n\n") {
        let lines: Vec<&str> =
            block.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
        match lines[..] {
            [] => {}
            [first, ..] if first.starts_with("== ") => {
                groups.push(Group { title: first[3..].to_owned(), cases: Vec::new() });
                assert_eq!(lines.len(), 1, "a line follows a heading directly: {first}");
            }
            [first, ..] => {
                let read = case(&lines).unwrap_or_else(|e| panic!("{first}: {e}"));
                groups.last_mut().expect("a heading").cases.push(read);
            }
        }
    }
    groups
}

fn case(lines: &[&str]) -> Result<Case, String> {
    let (id, rest) = lines[0].split_once(" [").ok_or("no [rule]")?;
    let (rule, title) = rest.split_once("] ").ok_or("no title")?;
    let [id, rule, title] = [id, rule, title].map(|s| s.trim().to_owned());
    let mut case = Case { id, rule, title, times: 1, ..Case::default() };
    case.client = vec!["ws".to_owned()];
    case.mark = mark(&lines[1..]);
    for line in &lines[1..] {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "client" => case.client = rest.split_whitespace().map(str::to_owned).collect(),
            "proxy" => {
                let (scheme, user) = rest.split_once(' ').unwrap_or((rest, ""));
                let user = Some(user.to_owned()).filter(|user| !user.is_empty());
                case.proxy = Some((scheme.to_owned(), user));
            }
            "tls" => case.tls = Some(rest.to_owned()),
            "want" => case.want = rest.split("; ").map(str::to_owned).collect(),
            "wire" => case.wire = Some(rest.to_owned()),
            "error" => case.error = Some(rest.to_owned()),
            "ours" => case.ours = Some(rest.to_owned()),
            "times" => case.times = rest.parse().map_err(|_| format!("{line}?"))?,
            "asked" => case.asked.push(asked(rest).ok_or(format!("{line}?"))?),
            _ => case.steps.push(step(word, rest)?),
        }
    }
    if case.is_websocket() != case.wire.is_some() {
        return Err("`wire` is for WebSockets, and each of them".into());
    }
    if case.steps.is_empty() || case.want.is_empty() {
        return Err("no step, or nothing is wanted".into());
    }
    Ok(case)
}

/// Parses `2 has Cookie: a`.
fn asked(text: &str) -> Option<(usize, bool, String)> {
    let (number, rest) = text.split_once(' ')?;
    let (which, what) = rest.split_once(' ')?;
    let has = [("has", true), ("lacks", false)].into_iter().find(|(w, _)| *w == which)?.1;
    Some((number.parse().ok()?, has, what.to_owned()))
}

fn step(word: &str, rest: &str) -> Result<Step, String> {
    Ok(match word {
        "peer" => Step::Say(pieces(rest)?),
        // The correct response, with frames in one piece with it.
        "open" => Step::Say(pieces(&format!("@101 \"\\r\\n\" {rest}"))?),
        "drip" => Step::Drip(pieces(rest)?),
        "flood" => Step::Flood(pieces(rest)?),
        "slow" => Step::Slow(pieces(rest)?),
        "await" => Step::Await,
        "cut" => Step::Cut,
        "eof" => Step::Eof,
        "cutoff" => Step::CutOff,
        "reset" => Step::Reset,
        "hold" => Step::Hold,
        "next" => Step::Next,
        "hear" => {
            let pieces = pieces(rest)?;
            let len = |piece: &Piece| match piece {
                Piece::Bytes(bytes) => Ok(bytes.len()),
                Piece::Port => Ok(2),
                other => Err(format!("hear {other:?}?")),
            };
            Step::Hear(pieces.iter().map(len).sum::<Result<usize, String>>()?, pieces)
        }
        "request" => Step::Request,
        _ => return Err(format!("{word}?")),
    })
}

/// Parses `@101 89 05 "Hello\r\n" 00*3`.
fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let (mut all, mut rest): (Vec<Piece>, _) = (Vec::new(), text.trim_start());
    while let Some(c) = rest.chars().next() {
        let word = rest.find([' ', '"', '*']).unwrap_or(rest.len());
        let (piece, len) = match c {
            '"' => quoted(&rest[1..]).map(|(bytes, n)| (Piece::Bytes(bytes), n + 1))?,
            '*' => {
                let end = rest.find(' ').unwrap_or(rest.len());
                let n: usize = rest[1..end].parse().map_err(|_| "no number behind *")?;
                let Some(Piece::Bytes(last)) = all.pop() else { return Err("* of what?".into()) };
                (Piece::Bytes(last.repeat(n)), end)
            }
            '@' => {
                let piece = match &rest[..word] {
                    "@101" => Piece::Answer,
                    "@accept" => Piece::Accept,
                    "@port" => Piece::Port,
                    other => return Err(format!("{other}?")),
                };
                (piece, word)
            }
            _ => (Piece::Bytes(hex(&rest[..word]).ok_or(format!("{rest} is not hex"))?), word),
        };
        all.push(piece);
        rest = rest[len..].trim_start();
    }
    Ok(all)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: &u8| char::from(*c).to_digit(16);
    let pair = |p: &[u8]| Some((digit(p.first()?)? * 16 + digit(p.get(1)?)?) as u8);
    text.as_bytes().chunks(2).map(pair).collect()
}

/// The bytes up to the closing quote, and the length including it.
fn quoted(text: &str) -> Result<(Vec<u8>, usize), String> {
    let (mut bytes, mut chars) = (Vec::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((bytes, at + 1)),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('r') => bytes.push(b'\r'),
                Some('n') => bytes.push(b'\n'),
                Some('t') => bytes.push(b'\t'),
                Some('x') => {
                    bytes.extend(text.get(at + 2..at + 4).and_then(hex).ok_or("\\x?")?);
                    chars.nth(1);
                }
                Some(c @ ('"' | '\\')) => bytes.push(c as u8),
                other => return Err(format!("\\{other:?}")),
            },
            c => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    Err("quote without end".into())
}

/// FNV-1a over the lines, except for `error`: other clients have other texts.
fn mark(lines: &[&str]) -> u32 {
    let bytes = lines.iter().filter(|l| !l.starts_with("error ")).flat_map(|l| l.bytes());
    bytes.fold(0x811C_9DC5, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193))
}

/// Shows bytes as the cases do: short ones quoted or as hex, long ones as their number.
pub fn shown(bytes: &[u8]) -> String {
    let plain = |b: &u8| (b' '..=b'~').contains(b) && !b"\"\\;".contains(b);
    match bytes {
        _ if bytes.len() > 40 => format!("{} bytes", bytes.len()),
        _ if bytes.iter().all(plain) => format!("\"{}\"", String::from_utf8_lossy(bytes)),
        _ => bytes.iter().map(|b| format!("{b:02X}")).collect(),
    }
}

/// Joins equal items in a row into one with their count: `pong "" *10`.
pub fn collapse(all: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut runs: Vec<(String, usize)> = Vec::new();
    for one in all {
        match runs.last_mut() {
            Some((last, n)) if *last == one => *n += 1,
            _ => runs.push((one, 1)),
        }
    }
    let name = |(one, n): (String, usize)| if n == 1 { one } else { format!("{one} *{n}") };
    runs.into_iter().map(name).collect()
}
