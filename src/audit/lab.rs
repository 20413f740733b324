//! The tools of the checks: connections to the server, and what earlier checks have found out.

use std::cell::RefCell;
use std::rc::Rc;

use super::ask::{Answer, RawRequest, answer};
use super::finding::{Judged, fault, skipped};
use super::frame::{Broken, Frame, Item};
use super::judge;
use super::options::Options;
use super::talk::{Log, Talk};
use super::wire::{NoWire, Target, Wire};

/// The result of a check.
pub(super) type Outcome = Result<Judged, Trouble>;

/// Why a check has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The connection failed.
    Wire(NoWire),
    /// The server opened no WebSocket, though it did at first.
    Handshake(String),
}

impl From<NoWire> for Trouble {
    fn from(why: NoWire) -> Trouble {
        Trouble::Wire(why)
    }
}

impl Trouble {
    pub(super) fn judged(self) -> Judged {
        match self {
            Trouble::Wire(NoWire::Refused(why)) => skipped(why),
            Trouble::Wire(NoWire::Failed(why)) => fault(format!("is not there any more: {why}")),
            Trouble::Handshake(why) => skipped(format!("opened no WebSocket any more: {why}")),
        }
    }
}

/// Which kinds of messages the server echoes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Echo {
    text: bool,
    binary: bool,
}

pub(super) struct Lab<'a> {
    pub(super) options: &'a Options,
    target: &'a Target,
    /// The first handshake: its key, and the answer.
    first: (String, Answer),
    echo: Option<Echo>,
    pub(super) log: Rc<RefCell<Log>>,
    /// Whether the server was asked for frames of every kind already.
    pub(super) has_toured: bool,
}

/// A text that no server sends by itself.
const QUESTION: &[u8] = b"moonwire audit: does this come back?";

/// The payload of the ping behind a frame: its pong shows that the server has accepted the frame.
pub(super) const BEHIND: &[u8] = b"behind";

impl<'a> Lab<'a> {
    /// Connects for the first time.
    pub(super) fn new(options: &'a Options, target: &'a Target) -> Result<Lab<'a>, NoWire> {
        let wire = target.connect()?;
        let silence = (String::new(), Answer::Silence);
        let log = Rc::default();
        let mut lab = Lab { options, target, first: silence, echo: None, log, has_toured: false };
        let (key, answer, wire) = lab.ask_over(wire, &mut |_| {});
        // Dropping it closes the connection as a client does.
        drop(lab.talk(wire, &answer));
        lab.first = (key, answer);
        Ok(lab)
    }

    pub(super) fn first(&self) -> (&str, &Answer) {
        (&self.first.0, &self.first.1)
    }

    /// Sends a handshake that `change` has changed; returns its key and the answer.
    pub(super) fn ask(
        &mut self,
        change: &mut dyn FnMut(&mut RawRequest),
    ) -> Result<(String, Answer, Wire), Trouble> {
        let wire = self.target.connect()?;
        Ok(self.ask_over(wire, change))
    }

    fn ask_over(
        &mut self,
        mut wire: Wire,
        change: &mut dyn FnMut(&mut RawRequest),
    ) -> (String, Answer, Wire) {
        let mut ask = RawRequest::new(&self.target.url, wire.random(), &self.options.headers);
        change(&mut ask);
        let key = ask.get("Sec-WebSocket-Key").to_owned();
        let deadline = wire.before(self.options.patience);
        wire.write(&ask.bytes(), deadline);
        let answer = answer(&mut wire, deadline);
        (key, answer, wire)
    }

    /// The same in two pieces: the second is sent when the first has arrived for sure.
    pub(super) fn ask_in_pieces(&mut self) -> Result<(String, Answer, Wire), Trouble> {
        let mut wire = self.target.connect()?;
        let ask = RawRequest::new(&self.target.url, wire.random(), &self.options.headers);
        let (bytes, deadline) = (ask.bytes(), wire.before(self.options.patience));
        for piece in [&bytes[..5], &bytes[5..bytes.len() - 3], &bytes[bytes.len() - 3..]] {
            wire.write(piece, deadline);
            // The server sends nothing meanwhile; the next write is a segment of its own.
            let pause = wire.before(PAUSE);
            wire.more(pause);
        }
        let answer = answer(&mut wire, deadline);
        Ok((ask.get("Sec-WebSocket-Key").to_owned(), answer, wire))
    }

    /// The WebSocket of a connection whose handshake was answered; `None` if the answer opens none.
    pub(super) fn talk(&self, wire: Wire, answer: &Answer) -> Option<Talk> {
        let patience = self.options.patience;
        match answer {
            Answer::Head(head) if head.status == 101 => {
                Some(Talk::new(wire, patience, Rc::clone(&self.log)))
            }
            _ => None,
        }
    }

    /// Opens a WebSocket.
    pub(super) fn open(&mut self) -> Result<Talk, Trouble> {
        self.open_with(&mut |_| {}).map(|(talk, _)| talk)
    }

    /// The same with a changed handshake; returns the answer, too.
    pub(super) fn open_with(
        &mut self,
        change: &mut dyn FnMut(&mut RawRequest),
    ) -> Result<(Talk, Answer), Trouble> {
        let (_, answer, wire) = self.ask(change)?;
        match self.talk(wire, &answer) {
            Some(talk) => Ok((talk, answer)),
            None => Err(Trouble::Handshake(judge::not_opened(&answer))),
        }
    }

    /// Whether the server echoes such messages; found out once.
    pub(super) fn echoes(&mut self, is_text: bool) -> Result<bool, Trouble> {
        let echo = match self.echo {
            Some(echo) => echo,
            None => {
                let echo = Echo { text: self.comes_back(0x81)?, binary: self.comes_back(0x82)? };
                *self.echo.insert(echo)
            }
        };
        Ok(if is_text { echo.text } else { echo.binary })
    }

    fn comes_back(&mut self, first: u8) -> Result<bool, Trouble> {
        let mut talk = self.open()?;
        talk.send(&[Frame::of(first, QUESTION)]);
        let is_it = |item: &Item| matches!(item, Item::Message { data, .. } if data == QUESTION);
        let seen = talk.watch(is_it);
        Ok(seen.message(first == 0x81, QUESTION).is_some())
    }

    /// Sends `bytes`, which are a message, and a ping behind them, and judges what comes back.
    pub(super) fn message(
        &mut self,
        talk: &mut Talk,
        bytes: &[u8],
        is_text: bool,
        wanted: &[u8],
    ) -> Outcome {
        let echoes = self.echoes(is_text)?;
        let ping = talk.bytes(&[Frame::of(0x89, BEHIND)]);
        talk.raw(&[bytes, &ping].concat());
        let seen = talk.watch(|item| match item {
            Item::Message { text, data, .. } => echoes && *text == is_text && data == wanted,
            Item::Pong(payload) => !echoes && payload == BEHIND,
            Item::Close(_) => true,
            Item::Ping(_) => false,
        });
        Ok(if echoes {
            judge::echo(&seen, is_text, wanted, BEHIND)
        } else {
            judge::taken(&seen, BEHIND)
        })
    }

    /// The same with a new connection and these frames.
    pub(super) fn frames(&mut self, frames: &[Frame<'_>], is_text: bool, wanted: &[u8]) -> Outcome {
        let mut talk = self.open()?;
        let bytes = talk.bytes(frames);
        self.message(&mut talk, &bytes, is_text, wanted)
    }

    /// The first broken rule of this kind on any connection.
    pub(super) fn broke(&self, rule: impl Fn(&Broken) -> bool) -> Option<Broken> {
        self.log.borrow().broken.iter().find(|broken| rule(broken)).cloned()
    }
}

/// Long enough for a segment to arrive, on loopback and over long distances.
pub(super) const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);
