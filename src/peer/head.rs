//! Parses the head of a request; other files check what it means (RFC 9112 §3, §5).

use crate::proto::is_token;
use crate::proto::token::{is_value_byte, list, trim};

/// A request head.
pub(super) struct Head<'a> {
    /// The bytes as they arrived, with the empty line.
    pub(super) raw: &'a [u8],
    pub(super) method: &'a [u8],
    target: &'a [u8],
    fields: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Head<'a> {
    /// Parses a head that ends in an empty line; `None` if RFC 9112 §3 or §5 does not allow it.
    pub(super) fn parse(raw: &'a [u8]) -> Option<Head<'a>> {
        let mut lines = Vec::new();
        for line in raw.strip_suffix(b"\r\n")?.split_inclusive(|&b| b == b'\n') {
            let line = line.strip_suffix(b"\r\n")?;
            if !line.iter().all(|&b| is_value_byte(b)) {
                return None;
            }
            lines.push(line);
        }
        let (start, fields) = lines.split_first()?;
        let mut parts = start.split(|&b| b == b' ');
        let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || version != b"HTTP/1.1" || !is_token(method) {
            return None;
        }
        let target = origin_form(target)?;
        let fields = fields.iter().map(|line| {
            let colon = line.iter().position(|&b| b == b':')?;
            let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
            is_token(name).then_some((name, value))
        });
        Some(Head { raw, method, target, fields: fields.collect::<Option<_>>()? })
    }

    /// The target without its query.
    pub(super) fn path(&self) -> &'a [u8] {
        self.target.split(|&b| b == b'?').next().unwrap_or_default()
    }

    /// The part of the target behind the question mark.
    pub(super) fn query(&self) -> &'a [u8] {
        self.target.splitn(2, |&b| b == b'?').nth(1).unwrap_or_default()
    }

    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let same = move |n: &[u8]| n.eq_ignore_ascii_case(name.as_bytes());
        self.fields.iter().filter(move |(n, _)| same(n)).map(|(_, v)| *v)
    }

    /// The value of a field that has to be there exactly once.
    pub(super) fn only(&self, name: &str) -> Option<&'a [u8]> {
        let mut all = self.all(name);
        let value = all.next()?;
        all.next().is_none().then_some(value)
    }

    pub(super) fn lists(&self, name: &str, token: &[u8]) -> bool {
        self.all(name).flat_map(list).any(|item| item.eq_ignore_ascii_case(token))
    }
}

/// The path and query of a target, which may be a whole URI (RFC 9112 §3.2.2).
fn origin_form(target: &[u8]) -> Option<&[u8]> {
    if !target.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    let absolute = target.strip_prefix(b"http://").or_else(|| target.strip_prefix(b"https://"));
    match absolute {
        None => target.starts_with(b"/").then_some(target),
        Some(rest) => Some(rest.iter().position(|&b| b == b'/').map_or(b"/", |at| &rest[at..])),
    }
}
