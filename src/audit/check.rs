//! What a check consists of, and how each kind runs.

use super::ask::{Answer, RawRequest};
use super::finding::{About, Judged, Kind, Verdict, fault, notice, ok, skipped};
use super::frame::{Broken, Frame, Item};
use super::judge;
use super::lab::{BEHIND, Lab, Outcome, Trouble};
use super::talk::{End, Talk};
use crate::proto::{CloseFrame, Head};

pub(super) struct Check {
    pub(super) about: About,
    pub(super) play: Play,
}

/// The steps of a check. Most checks are data.
pub(super) enum Play {
    /// Judges the first answer; the second argument is the key.
    First(fn(&Head, &str) -> Judged),
    /// Sends a changed handshake, and judges the answer.
    Ask(fn(&mut RawRequest), fn(&Answer, &str) -> Judged),
    Ping(&'static [u8]),
    /// Sends a close frame with this code, if there is one, and this reason.
    Close(Option<u16>, &'static str),
    /// Sends a binary message of this many bytes in one frame.
    Length(usize),
    /// Sends frames whose data frames are a message with this content.
    Message {
        frames: &'static [Frame<'static>],
        is_text: bool,
        wanted: &'static [u8],
    },
    /// Looks whether such a rule was broken on any connection.
    Server(fn(&Broken) -> bool),
    /// Sends frames that have to fail the connection, with one of these codes.
    Broken(&'static [Frame<'static>], &'static [u16]),
    /// Sends frames that no client may send, though no rule demands that a server refuses them.
    Odd(&'static [Frame<'static>], &'static [u16]),
    /// Sends a close frame with this payload, which has to fail the connection.
    BrokenClose(&'static [u8]),
    /// Any other steps.
    Do(fn(&mut Lab<'_>) -> Outcome),
}

impl Check {
    pub(super) const fn legit(
        name: &'static str,
        section: &'static str,
        proves: &'static str,
        play: Play,
    ) -> Check {
        Check { about: About { name, section, kind: Kind::Legit, proves }, play }
    }

    pub(super) const fn hostile(
        name: &'static str,
        section: &'static str,
        proves: &'static str,
        play: Play,
    ) -> Check {
        Check { about: About { name, section, kind: Kind::Hostile, proves }, play }
    }

    pub(super) fn run(&self, lab: &mut Lab<'_>) -> Outcome {
        match &self.play {
            Play::First(judge) => {
                let (key, answer) = lab.first();
                Ok(match answer {
                    Answer::Head(head) => judge(head, key),
                    other => fault(judge::not_opened(other)),
                })
            }
            Play::Ask(change, judge) => {
                let (key, answer, wire) = lab.ask(&mut |ask| change(ask))?;
                drop(lab.talk(wire, &answer));
                Ok(judge(&answer, &key))
            }
            Play::Ping(payload) => ping(lab, payload),
            Play::Close(code, reason) => {
                close(lab, &CloseFrame { code: *code, reason: (*reason).to_owned() })
            }
            Play::Length(len) => {
                let payload: Vec<u8> = (0..*len).map(|i| (i % 251) as u8).collect();
                lab.frames(&[Frame::of(0x82, &payload)], false, &payload)
            }
            Play::Message { frames, is_text, wanted } => lab.frames(frames, *is_text, wanted),
            Play::Server(rule) => server(lab, *rule),
            Play::Broken(frames, codes) => broken(lab, frames, codes),
            Play::Odd(frames, codes) => broken(lab, frames, codes).map(judge::unless_taken),
            Play::BrokenClose(payload) => broken_close(lab, payload),
            Play::Do(play) => play(lab),
        }
    }
}

fn ping(lab: &mut Lab<'_>, payload: &[u8]) -> Outcome {
    let mut talk = lab.open()?;
    talk.send(&[Frame::of(0x89, payload)]);
    let seen = talk.watch(|item| matches!(item, Item::Pong(_) | Item::Close(_)));
    Ok(judge::pong(&seen, payload))
}

fn close(lab: &mut Lab<'_>, frame: &CloseFrame) -> Outcome {
    let mut talk = lab.open()?;
    talk.send(&[Frame::of(0x88, &frame.payload())]);
    Ok(judge::closing(&talk.watch_end(), frame))
}

/// Makes the server send every kind of frame that a client can ask for.
fn tour(lab: &mut Lab<'_>) -> Result<(), Trouble> {
    if std::mem::replace(&mut lab.has_toured, true) {
        return Ok(());
    }
    let mut talk = lab.open()?;
    for len in [1, 126, 65_536] {
        let text = vec![b'a'; len];
        let bytes = talk.bytes(&[Frame::of(0x81, &text)]);
        lab.message(&mut talk, &bytes, true, &text)?;
    }
    talk.send(&[Frame::of(0x89, &[b'p'; 125])]);
    talk.watch(|item| matches!(item, Item::Pong(payload) if payload.len() == 125));
    talk.send(&[Frame::of(0x88, b"\x03\xE8")]);
    talk.watch_end();
    Ok(())
}

fn server(lab: &mut Lab<'_>, rule: fn(&Broken) -> bool) -> Outcome {
    tour(lab)?;
    if let Some(what) = lab.broke(rule) {
        return Ok(judge::broken(&what));
    }
    Ok(match lab.log.borrow().frames {
        0 => skipped("the server sent no frame"),
        1 => ok("in the one frame that came"),
        n => ok(format!("in all of {n} frames")),
    })
}

fn broken(lab: &mut Lab<'_>, frames: &[Frame<'_>], codes: &[u16]) -> Outcome {
    let mut talk = lab.open()?;
    Ok(broken_over(&mut talk, frames, codes))
}

/// Sends frames that have to fail the connection, and a ping behind them that shows whether they
/// did.
pub(super) fn broken_over(talk: &mut Talk, frames: &[Frame<'_>], codes: &[u16]) -> Judged {
    talk.send(&[frames, &[Frame::of(0x89, BEHIND)]].concat());
    let seen = talk.watch(|item| match item {
        Item::Pong(payload) => payload == BEHIND,
        other => matches!(other, Item::Close(_)),
    });
    let seen = match (&seen.end, seen.close()) {
        // Some servers answer pings in their library, and parse a message when their program asks
        // for it.
        (End::Enough, None) => {
            let later = talk.watch_a_little(|item| matches!(item, Item::Close(_)));
            seen.then(later)
        }
        _ => seen,
    };
    judge::failed(&talk.end(seen), codes, BEHIND)
}

fn broken_close(lab: &mut Lab<'_>, payload: &[u8]) -> Outcome {
    let mut talk = lab.open()?;
    talk.send(&[Frame::of(0x88, payload)]);
    Ok(judge::close_failed(&talk.watch_end(), &[1002, 1007]))
}

/// Sends data behind a close frame (§5.5.1): the server must not process it.
pub(super) fn data_after_close(lab: &mut Lab<'_>) -> Outcome {
    let echoes = lab.echoes(true)?;
    let mut talk = lab.open()?;
    talk.send(&[Frame::of(0x88, b"\x03\xE8"), Frame::of(0x81, b"late")]);
    let seen = talk.watch_end();
    if seen.message(true, b"late").is_some() {
        return Ok(fault("sent back the message behind the close frame"));
    }
    let judged = judge::closing(&seen, &CloseFrame::new(1000, ""));
    Ok(match judged.verdict {
        Verdict::Ok if !echoes => {
            ok(format!("{}; it does not echo, so nothing more can be seen", judged.seen))
        }
        Verdict::Ok => ok(format!("{}, and nothing came back", judged.seen)),
        _ => judged,
    })
}

/// Sends nothing, and looks whether the server pings.
pub(super) fn idle(lab: &mut Lab<'_>) -> Outcome {
    let mut talk = lab.open()?;
    let time = lab.options.idle;
    let seen = talk.watch_for(time, |item| matches!(item, Item::Ping(_) | Item::Close(_)));
    let s = time.as_secs_f64();
    if let End::Broken(what) = &seen.end {
        return Ok(judge::broken(what));
    }
    Ok(match (seen.items.last(), &seen.end) {
        (Some(Item::Ping(_)), _) => ok(format!("pinged within {s} s")),
        (Some(Item::Close(frame)), _) => {
            notice(format!("closed within {s} s: {}", judge::shown(frame)))
        }
        (_, End::ConnectionEnd(how)) => {
            notice(format!("{} within {s} s, without a close frame", judge::gone(how)))
        }
        _ => notice(format!("sent no ping within {s} s; --idle waits longer")),
    })
}
