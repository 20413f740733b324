//! The aliases of a `.luaurc`: JSON in which comments and trailing commas are allowed, as in Luau.

use std::collections::BTreeMap;

use super::source::unmarked;
use crate::proto::escape;

/// The paths of aliases, by name in lower case: aliases are case-insensitive.
pub(super) type Aliases = BTreeMap<String, String>;

/// The deepest nesting; a deeper file is not a configuration.
const DEEPEST: usize = 64;

/// Reads the aliases of a file; an error names the line.
pub(super) fn aliases(text: &[u8]) -> Result<Aliases, String> {
    let text = unmarked(text);
    let mut reader = Reader { text, at: 0, aliases: Aliases::new() };
    let read = reader.file();
    read.map(|()| std::mem::take(&mut reader.aliases)).map_err(|problem| {
        let line = 1 + text[..reader.at.min(text.len())].iter().filter(|b| **b == b'\n').count();
        format!("line {line}: {problem}")
    })
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    aliases: Aliases,
}

type Read<T> = Result<T, String>;

impl Reader<'_> {
    fn file(&mut self) -> Read<()> {
        self.object(&mut |reader, key| match key {
            "aliases" => reader.object(&mut |reader, name| {
                let path = reader.string()?;
                reader.aliases.insert(name.to_ascii_lowercase(), path);
                Ok(())
            }),
            _ => reader.skip(DEEPEST),
        })?;
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unlike("the end of the file")),
        }
    }

    /// The next byte that is neither blank nor in a comment.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let rest = &self.text[self.at..];
            if rest.starts_with(b"//") {
                self.at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
            } else if rest.first()?.is_ascii_whitespace() {
                self.at += 1;
            } else {
                return rest.first().copied();
            }
        }
    }

    fn unlike(&mut self, wanted: &str) -> String {
        self.peek();
        let rest = &self.text[self.at..];
        if rest.is_empty() {
            return format!("{wanted} expected, and the file ends");
        }
        format!("{wanted} expected, got {}", escape(&rest[..rest.len().min(20)], 20))
    }

    fn expect(&mut self, byte: u8) -> Read<()> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.unlike(&format!("\"{}\"", byte as char)))
    }

    /// Reads items between two brackets, separated by commas; a trailing comma is allowed.
    fn list(&mut self, ends: [u8; 2], item: &mut dyn FnMut(&mut Self) -> Read<()>) -> Read<()> {
        let [open, close] = ends;
        self.expect(open)?;
        while self.peek() != Some(close) {
            item(self)?;
            if self.peek() != Some(b',') {
                break;
            }
            self.at += 1;
        }
        self.expect(close)
    }

    fn object(&mut self, field: &mut dyn FnMut(&mut Self, &str) -> Read<()>) -> Read<()> {
        self.list(*b"{}", &mut |reader| {
            let key = reader.string()?;
            reader.expect(b':')?;
            field(reader, &key)
        })
    }

    fn string(&mut self) -> Read<String> {
        if self.peek() != Some(b'"') {
            return Err(self.unlike("a string"));
        }
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            match self.text.get(self.at) {
                None | Some(b'\n') => return Err("a string that does not end".to_owned()),
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    bytes.push(self.escaped()?);
                }
                Some(byte) => bytes.push(*byte),
            }
            self.at += 1;
        }
        self.at += 1;
        String::from_utf8(bytes).map_err(|_| "a string that is not UTF-8".to_owned())
    }

    /// Reads one of the escapes that a path may need.
    fn escaped(&self) -> Read<u8> {
        match self.text.get(self.at) {
            Some(byte @ (b'"' | b'\\' | b'/')) => Ok(*byte),
            Some(b'n') => Ok(b'\n'),
            Some(b'r') => Ok(b'\r'),
            Some(b't') => Ok(b'\t'),
            _ => Err("an escape that is none of \\\" \\\\ \\/ \\n \\r \\t".to_owned()),
        }
    }

    /// Skips a value that defines no aliases.
    fn skip(&mut self, deep: usize) -> Read<()> {
        let deep = deep.checked_sub(1).ok_or("nested too deep")?;
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.object(&mut |reader, _| reader.skip(deep)),
            Some(b'[') => self.list(*b"[]", &mut |reader| reader.skip(deep)),
            Some(byte) if byte.is_ascii_alphanumeric() || byte == b'-' => {
                let rest = &self.text[self.at..];
                let literal = |b: &u8| b.is_ascii_alphanumeric() || b"+-.".contains(b);
                self.at += rest.iter().position(|b| !literal(b)).unwrap_or(rest.len());
                Ok(())
            }
            _ => Err(self.unlike("a value")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_among_what_else_a_file_says() {
        for (text, want) in [
            ("{}", &[][..]),
            (" { } ", &[]),
            ("{\"aliases\":{}}", &[]),
            ("{\"aliases\":{\"a\":\"./b\"}}", &[("a", "./b")]),
            ("\u{FEFF}{\"aliases\":{\"A\":\"/B\"}}", &[("a", "/B")]),
            (
                "// first\n{ // second\n\"aliases\": { \"x\": \"@a/b\", \"y\": \"..\", }, // third\n}",
                &[("x", "@a/b"), ("y", "..")],
            ),
            (
                "{\"languageMode\":\"strict\",\"lint\":{\"*\":true,\"X\":false},\
                 \"globals\":[\"a\",{\"b\":[1,-2.5e+3,null,],},],\"aliases\":{\"a\":\"b\"}}",
                &[("a", "b")],
            ),
            ("{\"aliases\":{\"a\":\"1\",\"A\":\"2\"}}", &[("a", "2")]),
            (r#"{"aliases":{"a":"\"\\\/ü//x"}}"#, &[("a", "\"\\/ü//x")]),
        ] {
            let want = want.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            assert_eq!(aliases(text.as_bytes()), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let deep = ["{\"a\":", &"[".repeat(100), &"]".repeat(100), "}"].concat();
        for (text, want) in [
            ("", "line 1: \"{\" expected, and the file ends"),
            ("return {}", "line 1: \"{\" expected, got return {}"),
            ("{\n\"aliases\"\n[]}", "line 3: \":\" expected, got []}"),
            ("{\"aliases\":[]}", "line 1: \"{\" expected, got []}"),
            ("{\"aliases\":{\"a\":1}}", "line 1: a string expected, got 1}}"),
            ("{\"aliases\":{\"a\":\"x}}", "line 1: a string that does not end"),
            ("{\"a\":\"\\u0041\"}", "line 1: an escape that is none of \\\" \\\\ \\/ \\n \\r \\t"),
            ("{} {}", "line 1: the end of the file expected, got {}"),
            ("{\"a\":}", "line 1: a value expected, got }"),
            ("{,}", "line 1: a string expected, got ,}"),
            (&deep, "line 1: nested too deep"),
        ] {
            assert_eq!(aliases(text.as_bytes()), Err(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn no_text_panics() {
        let good = b"{ // x\n\"aliases\": {\"a\": \"./b\\\\\", }, \"c\": [1, {\"d\": null}] }";
        for at in 0..=good.len() {
            let _ = aliases(&good[..at]);
            for byte in *b"{}[]\",:/\\x\n\xFF" {
                let mut text = good.to_vec();
                text.insert(at, byte);
                let _ = aliases(&text);
            }
        }
    }
}
