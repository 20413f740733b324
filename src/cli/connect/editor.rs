//! The input line at a terminal, which stays below the messages that arrive.
//!
//! The terminal passes on each key and echoes nothing (`Mode`), so that this code can erase the
//! line and draw it again below a message. On another kind of terminal, the system edits the line.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crate::cli::show::printable;
use crate::cli::signals::PATIENCE;

/// The input line, its cursor, and the lines that were entered before.
#[derive(Debug, Default)]
struct Line {
    text: Vec<char>,
    at: usize,
    history: Vec<String>,
    /// The index of the shown line in the history; its length for the new line.
    shown: usize,
    /// The new line, while a line of the history is shown.
    kept: Vec<char>,
}

/// How many lines the history keeps.
const HISTORY: usize = 1000;

const PROMPT: &str = "> ";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Char(char),
    Enter,
    /// Ctrl-D: the end of input.
    End,
    Left,
    Right,
    Up,
    Down,
    Home,
    Last,
    Backspace,
    Delete,
    /// Ctrl-W, Ctrl-U, Ctrl-K, Ctrl-L.
    WordBack,
    ToStart,
    ToEnd,
    Clear,
    /// A key that has no function here.
    Other,
}

/// Decodes keys from the bytes of a terminal.
#[derive(Debug, Default)]
struct Keys(Vec<u8>);

impl Keys {
    fn push(&mut self, byte: u8) -> Option<Key> {
        self.0.push(byte);
        let key = match self.0[..] {
            [0x1b] | [0x1b, b'[' | b'O'] => return None,
            [0x1b, b'[', .., last] if !(0x40..=0x7e).contains(&last) => {
                // A sequence that never ends is dropped.
                if self.0.len() < 32 {
                    return None;
                }
                Key::Other
            }
            [0x1b, b'[', ref middle @ .., last] => match (middle, last) {
                ([], b'A') => Key::Up,
                ([], b'B') => Key::Down,
                ([], b'C') => Key::Right,
                ([], b'D') => Key::Left,
                ([], b'H') | ([b'1' | b'7'], b'~') => Key::Home,
                ([], b'F') | ([b'4' | b'8'], b'~') => Key::Last,
                ([b'3'], b'~') => Key::Delete,
                _ => Key::Other,
            },
            [0x1b, b'O', b'A'] => Key::Up,
            [0x1b, b'O', b'B'] => Key::Down,
            [0x1b, b'O', b'C'] => Key::Right,
            [0x1b, b'O', b'D'] => Key::Left,
            [0x1b, b'O', b'H'] => Key::Home,
            [0x1b, b'O', b'F'] => Key::Last,
            [0x1b, ..] => Key::Other,
            [b'\r' | b'\n'] => Key::Enter,
            [0x01] => Key::Home,
            [0x02] => Key::Left,
            [0x04] => Key::End,
            [0x05] => Key::Last,
            [0x06] => Key::Right,
            [0x08 | 0x7f] => Key::Backspace,
            [0x0b] => Key::ToEnd,
            [0x0c] => Key::Clear,
            [0x0e] => Key::Down,
            [0x10] => Key::Up,
            [0x15] => Key::ToStart,
            [0x17] => Key::WordBack,
            [b'\t'] => Key::Char('\t'),
            [byte] if byte < 0x20 => Key::Other,
            _ => match std::str::from_utf8(&self.0) {
                Ok(text) => text.chars().next().map_or(Key::Other, Key::Char),
                Err(e) if e.error_len().is_none() => return None,
                Err(_) => Key::Other,
            },
        };
        self.0.clear();
        Some(key)
    }
}

/// The effect of a key.
#[derive(Debug, PartialEq, Eq)]
enum Pressed {
    Nothing,
    Changed,
    Clear,
    Line(String),
    /// The user has ended the input.
    End,
}

impl Line {
    fn press(&mut self, key: Key) -> Pressed {
        match key {
            Key::Char(c) => {
                self.text.insert(self.at, c);
                self.at += 1;
            }
            Key::Enter => {
                let text: String = self.text.drain(..).collect();
                (self.at, self.kept) = (0, Vec::new());
                if !text.is_empty() && self.history.last() != Some(&text) {
                    self.history.push(text.clone());
                    if self.history.len() > HISTORY {
                        self.history.remove(0);
                    }
                }
                self.shown = self.history.len();
                return Pressed::Line(text);
            }
            Key::End if self.text.is_empty() => return Pressed::End,
            Key::End | Key::Delete if self.at < self.text.len() => drop(self.text.remove(self.at)),
            Key::Left if self.at > 0 => self.at -= 1,
            Key::Right if self.at < self.text.len() => self.at += 1,
            Key::Home => self.at = 0,
            Key::Last => self.at = self.text.len(),
            Key::Backspace if self.at > 0 => {
                self.at -= 1;
                self.text.remove(self.at);
            }
            Key::WordBack => {
                let before = &self.text[..self.at];
                let end = before.iter().rposition(|c| !c.is_whitespace()).map_or(0, |i| i + 1);
                let start =
                    before[..end].iter().rposition(|c| c.is_whitespace()).map_or(0, |i| i + 1);
                self.text.drain(start..self.at);
                self.at = start;
            }
            Key::ToStart => {
                self.text.drain(..self.at);
                self.at = 0;
            }
            Key::ToEnd => self.text.truncate(self.at),
            Key::Up if self.shown > 0 => self.show(self.shown - 1),
            Key::Down if self.shown < self.history.len() => self.show(self.shown + 1),
            Key::Clear => return Pressed::Clear,
            _ => return Pressed::Nothing,
        }
        Pressed::Changed
    }

    fn show(&mut self, which: usize) {
        let new = self.history.len();
        if self.shown == new {
            self.kept = std::mem::take(&mut self.text);
        }
        self.text = match self.history.get(which) {
            Some(text) => text.chars().collect(),
            None => std::mem::take(&mut self.kept),
        };
        (self.shown, self.at) = (which, self.text.len());
    }

    /// The part of the line that fits into the columns, and the cursor's column in it.
    fn view(&self, columns: usize) -> (String, usize) {
        let room = columns.saturating_sub(PROMPT.len() + 1).max(1);
        let mut start = 0;
        while self.text[start..self.at].iter().map(|c| width(*c)).sum::<usize>() > room {
            start += 1;
        }
        let (mut text, mut used) = (String::new(), 0);
        for c in &self.text[start..] {
            used += width(*c);
            if used > room {
                break;
            }
            text.push(if c.is_control() { ' ' } else { *c });
        }
        (text, self.text[start..self.at].iter().map(|c| width(*c)).sum())
    }
}

/// How many columns a character takes in a terminal: an estimate, good enough for an input line.
fn width(c: char) -> usize {
    match c as u32 {
        // Combining marks, joiners, selectors.
        0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f | 0x20d0..=0x20ff => 0,
        // Hangul, CJK, full width, emoji.
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// A terminal with an input line.
pub(super) struct Screen {
    mode: mode::Mode,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    line: Line,
    /// Whether the input line is on the screen.
    drawn: bool,
    /// Whether the user has typed something.
    typing: bool,
}

impl Screen {
    /// Opens the screen if standard input and output are a terminal that supports it.
    pub(super) fn open() -> Option<Arc<Screen>> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        if dumb || !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return None;
        }
        let mode = mode::Mode::enter()?;
        Some(Arc::new(Screen { mode, state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line above the input line.
    pub(super) fn above(&self, line: &str) -> io::Result<()> {
        let mut state = self.state();
        let mut text = state.erased();
        text += line;
        text.push('\n');
        text += &state.drawing(mode::columns());
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    }

    /// Erases the input line, calls `write`, and draws the line again.
    pub(super) fn aside(&self, write: impl FnOnce()) {
        let mut state = self.state();
        put(&state.erased());
        write();
        put(&state.drawing(mode::columns()));
    }

    /// Waits for the next line; `None` at the end of input.
    pub(super) fn read_line(&self) -> io::Result<Option<String>> {
        let (mut input, mut keys, mut byte) = (io::stdin().lock(), Keys::default(), [0]);
        {
            let mut state = self.state();
            state.typing = true;
            put(&state.drawing(mode::columns()));
        }
        loop {
            if input.read(&mut byte)? == 0 {
                self.leave();
                return Ok(None);
            }
            let Some(key) = keys.push(byte[0]) else { continue };
            let mut state = self.state();
            match state.line.press(key) {
                Pressed::Nothing => {}
                Pressed::Changed => {
                    let text = state.erased() + &state.drawing(mode::columns());
                    put(&text);
                }
                Pressed::Clear => {
                    let text = "\x1b[H\x1b[2J".to_owned() + &state.drawing(mode::columns());
                    put(&text);
                }
                Pressed::Line(text) => {
                    // The line stays on the screen, since the command sends it.
                    let shown = printable(&text);
                    put(&format!("{}{PROMPT}{shown}\n", state.erased()));
                    return Ok(Some(text));
                }
                Pressed::End => {
                    drop(state);
                    self.leave();
                    return Ok(None);
                }
            }
        }
    }

    /// Restores the terminal's mode and erases the input line. If another thread is blocked in a
    /// write to the terminal, the line stays: the process has to end nevertheless.
    pub(super) fn leave(&self) {
        self.mode.leave();
        let until = Instant::now() + PATIENCE;
        let mut state = loop {
            match self.state.try_lock() {
                Ok(state) => break state,
                Err(TryLockError::Poisoned(e)) => break e.into_inner(),
                Err(TryLockError::WouldBlock) if Instant::now() >= until => return,
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        state.typing = false;
        put(&state.erased());
    }

    /// Draws the line again: the process continues after a stop, and a program that ran meanwhile
    /// may have changed the terminal's mode; or the window has changed its size.
    #[cfg(unix)]
    pub(super) fn resume(&self) {
        let mut state = self.state();
        if state.typing {
            self.mode.again();
            put(&state.drawing(mode::columns()));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.mode.leave();
    }
}

impl State {
    fn erased(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            true => "\r\x1b[K".to_owned(),
            false => String::new(),
        }
    }

    fn drawing(&mut self, columns: usize) -> String {
        if !self.typing {
            return String::new();
        }
        self.drawn = true;
        let (text, at) = self.line.view(columns);
        let right = PROMPT.len() + at;
        format!("\r{PROMPT}{text}\x1b[K\r\x1b[{right}C")
    }
}

/// Errors are ignored: the next message runs into the same error and reports it.
fn put(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(unix)]
mod mode {
    use std::io;

    use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};

    /// The value `_POSIX_VDISABLE`, which assigns no key to a function.
    const NO_KEY: u8 =
        if cfg!(any(target_vendor = "apple", target_os = "freebsd")) { 0xff } else { 0 };

    /// The terminal's previous mode, and the mode for typing.
    pub(super) struct Mode {
        was: Termios,
        is: Termios,
    }

    impl Mode {
        pub(super) fn enter() -> Option<Mode> {
            let was = termios::tcgetattr(io::stdin()).ok()?;
            let mut is = was.clone();
            // Ctrl-C and Ctrl-Z still send signals.
            is.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            // A read waits for one byte, whatever mode an earlier program has left behind.
            (is.special_codes[SpecialCodeIndex::VMIN], is.special_codes[SpecialCodeIndex::VTIME]) =
                (1, 0);
            // Ctrl-\ would end the process and leave the terminal in the mode for typing.
            is.special_codes[SpecialCodeIndex::VQUIT] = NO_KEY;
            let mode = Mode { was, is };
            mode.again();
            Some(mode)
        }

        pub(super) fn again(&self) {
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.is);
        }

        pub(super) fn leave(&self) {
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.was);
        }
    }

    pub(super) fn columns() -> usize {
        let size = termios::tcgetwinsize(io::stdout()).ok();
        size.map(|size| size.ws_col.into()).filter(|n| *n > 0).unwrap_or(80)
    }
}

/// Without such a terminal, the system edits the line.
#[cfg(not(unix))]
mod mode {
    pub(super) enum Mode {}

    impl Mode {
        pub(super) fn enter() -> Option<Mode> {
            None
        }

        pub(super) fn leave(&self) {
            match *self {}
        }
    }

    pub(super) fn columns() -> usize {
        80
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::default();
        bytes.iter().filter_map(|b| keys.push(*b)).collect()
    }

    #[test]
    fn bytes_of_a_terminal_are_keys() {
        for (bytes, want) in [
            (
                &b"a\xc3\xa9\xf0\x9f\x99\x82"[..],
                &[Key::Char('a'), Key::Char('é'), Key::Char('🙂')][..],
            ),
            (b"\x1b[A\x1bOB\x1b[C\x1b[D", &[Key::Up, Key::Down, Key::Right, Key::Left]),
            (b"\x1b[1~\x1b[F\x1b[3~\x7f", &[Key::Home, Key::Last, Key::Delete, Key::Backspace]),
            (b"\x1b[1;5C\x1bx\x00a", &[Key::Other, Key::Other, Key::Other, Key::Char('a')]),
            (b"\xff\xc3a", &[Key::Other, Key::Other]),
            (b"\r\n\x04", &[Key::Enter, Key::Enter, Key::End]),
        ] {
            assert_eq!(keys(bytes), want, "{bytes:?}");
        }
        // A sequence without end is dropped.
        assert_eq!(keys(&[&b"\x1b["[..], &[b'1'; 40][..]].concat())[0], Key::Other);
    }

    /// The line that typing these bytes produces; `|` is the cursor.
    fn typed(bytes: &[u8]) -> (String, Vec<String>) {
        let (mut line, mut lines) = (Line::default(), Vec::new());
        for key in keys(bytes) {
            match line.press(key) {
                Pressed::Line(text) => lines.push(text),
                Pressed::End => lines.push("END".into()),
                _ => {}
            }
        }
        let (before, behind) = line.text.split_at(line.at);
        let of = |chars: &[char]| chars.iter().collect::<String>();
        (format!("{}|{}", of(before), of(behind)), lines)
    }

    #[test]
    fn a_line_is_edited_and_kept() {
        for (bytes, line, lines) in [
            (&b"abc\x1b[D\x1b[DX"[..], "aX|bc", &[][..]),
            (b"abc\x01\x04", "|bc", &[]),
            (b"abc\x01\x1b[3~\x7f", "|bc", &[]),
            (b"one two  \x17x", "one x|", &[]),
            (b"one two\x02\x02\x15", "|wo", &[]),
            (b"one two\x02\x02\x0b", "one t|", &[]),
            (b"a\rb\rc\x1b[A\x1b[A", "a|", &["a", "b"]),
            (b"a\rb\rc\x1b[A\x1b[A\x1b[B\x1b[B", "c|", &["a", "b"]),
            (b"a\ra\rb\x1b[A\x1b[A\x1b[A", "a|", &["a", "a"]),
            (b"\x1b[A\x1b[B\x1b[D\x1b[C\x7f", "|", &[]),
            (b"a\x04\x7f\x04", "|", &["END"]),
        ] {
            let (got, entered) = typed(bytes);
            assert_eq!(
                (&*got, &entered[..]),
                (line, &lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>()[..]),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn a_long_line_is_shown_around_the_cursor() {
        let mut line = Line { text: "0123456789".chars().collect(), ..Line::default() };
        for (at, columns, want) in [
            (0, 80, ("0123456789", 0)),
            (10, 80, ("0123456789", 10)),
            (0, 8, ("01234", 0)),
            (5, 8, ("01234", 5)),
            (10, 8, ("56789", 5)),
            (10, 0, ("9", 1)),
        ] {
            line.at = at;
            let (text, column) = line.view(columns);
            assert_eq!((&*text, column), want, "{at} of {columns}");
        }
        let wide = Line { text: "日本語".chars().collect(), at: 3, ..Line::default() };
        assert_eq!(wide.view(8), ("本語".to_owned(), 4));
    }
}
