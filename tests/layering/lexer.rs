//! Splits Rust into the tokens that matter for imports: names, `::` and single marks, without
//! comments and unit tests.

/// A token of a source: a name, `::`, one mark, or a whole literal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) line: usize,
}

impl Token<'_> {
    pub(super) fn is_name(&self) -> bool {
        let mut chars = self.text.chars();
        chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') && chars.all(is_part)
    }
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The tokens of a source, without items behind `#[cfg(test)]`.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut all = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < text.len() {
        let rest = &text[at..];
        let (len, counts) = match blank(rest) {
            0 => (token(rest), true),
            blank => (blank, false),
        };
        if counts {
            all.push(Token { text: &rest[..len], line });
        }
        line += rest[..len].matches('\n').count();
        at += len;
    }
    without_tests(&all)
}

/// The length of the white space or of the comment at the start.
fn blank(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if !text.starts_with("/*") {
        return text.len() - text.trim_start().len();
    }
    let (mut depth, mut at) = (0, 0);
    loop {
        let rest = &text[at..];
        match rest.find("*/").map(|end| (end, rest.find("/*").filter(|&start| start < end))) {
            None => return text.len(),
            Some((_, Some(start))) => (depth, at) = (depth + 1, at + start + 2),
            Some((end, None)) => (depth, at) = (depth - 1, at + end + 2),
        }
        if depth == 0 {
            return at;
        }
    }
}

/// The length of the token at the start.
fn token(text: &str) -> usize {
    if let Some(len) = string(text).or_else(|| quote(text)) {
        return len;
    }
    let first = text.chars().next().map_or(1, char::len_utf8);
    match text.find(|c| !is_part(c)).unwrap_or(text.len()) {
        0 if text.starts_with("::") => 2,
        0 => first,
        len => len,
    }
}

/// The length of the string literal at the start, of any kind.
fn string(text: &str) -> Option<usize> {
    let kinds = ["br", "cr", "r", "b", "c", ""];
    let kind = kinds.into_iter().find(|kind| text.starts_with(kind))?;
    let behind = &text[kind.len()..];
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let inside = behind[hashes..].strip_prefix('"')?;
    let start = text.len() - inside.len();
    if kind.ends_with('r') {
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(start + inside.find(&end).map_or(inside.len(), |at| at + end.len()));
    }
    (hashes == 0).then(|| start + escaped(inside, '"'))
}

/// The length of the character, byte or lifetime at the start.
fn quote(text: &str) -> Option<usize> {
    let inside = text.strip_prefix("b'").or_else(|| text.strip_prefix('\''))?;
    let start = text.len() - inside.len();
    let mut chars = inside.chars();
    let is_char = chars.next() == Some('\\') || chars.next() == Some('\'');
    if is_char {
        return Some(start + escaped(inside, '\''));
    }
    Some(start + inside.find(|c| !is_part(c)).unwrap_or(inside.len()))
}

/// The length up to the mark that ends the literal, including the mark.
fn escaped(inside: &str, end: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in inside.char_indices() {
        if c == end && !is_escaped {
            return at + 1;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    inside.len()
}

/// The index after the group that opens at `at`.
pub(super) fn closed(tokens: &[Token<'_>], at: usize) -> usize {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().skip(at) {
        match token.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    tokens.len()
}

/// Whether the tokens at `at` are `words`.
pub(super) fn stands(tokens: &[Token<'_>], at: usize, words: &[&str]) -> bool {
    let found = tokens.get(at..at + words.len());
    found.is_some_and(|found| found.iter().map(|t| t.text).eq(words.iter().copied()))
}

fn without_tests<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if stands(tokens, at, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            at = item_end(tokens, at);
        } else {
            all.push(tokens[at]);
            at += 1;
        }
    }
    all
}

/// The index after the item whose attributes begin at `at`.
fn item_end(tokens: &[Token<'_>], mut at: usize) -> usize {
    while stands(tokens, at, &["#"]) {
        at = closed(tokens, at + 1);
    }
    let mut is_use = false;
    while at < tokens.len() {
        let text = tokens[at].text;
        is_use |= text == "use";
        match text {
            ";" => return at + 1,
            "{" if !is_use => return closed(tokens, at),
            "{" | "(" | "[" => at = closed(tokens, at),
            _ => at += 1,
        }
    }
    at
}
