//! Inflates a server's messages, and shows how far back they refer (RFC 7692).

use crate::proto::Agreed;
use crate::puff::{Puff, Wrong};

/// Reads the messages of one connection.
pub(super) struct Inflate {
    /// With the negotiated window and takeover.
    strict: Puff,
    /// With the largest window: a message that only this one can inflate refers too far back.
    wide: Puff,
    has_takeover: bool,
}

impl Inflate {
    pub(super) fn new(agreed: &Agreed) -> Inflate {
        let strict = Puff::of(1 << agreed.server_window);
        Inflate { strict, wide: Puff::of(1 << 15), has_takeover: agreed.server_takeover }
    }

    /// The message of a payload, of at most `most` bytes, or the broken rule.
    pub(super) fn message(&mut self, payload: &[u8], most: usize) -> Result<Vec<u8>, &'static str> {
        let (data, result) = self.strict.message(payload, most);
        let (_, wide) = self.wide.message(payload, most);
        if !self.has_takeover {
            self.strict.forget();
        }
        match (result, wide) {
            (Ok(()), _) => Ok(data),
            (Err(Wrong::TooBig), _) => Err("a compressed message is far larger than what was sent"),
            (Err(_), Ok(())) if self.has_takeover => {
                Err("a compressed message refers further back than the window agreed on (§7.2.2)")
            }
            (Err(_), Ok(())) => Err(
                "a compressed message refers to one before, or further back than the window, against \
                 what was agreed on (§7.1.1.1)",
            ),
            (Err(_), Err(_)) => Err("a compressed message is broken (§7.2.1)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Compression;
    use crate::proto::ws::deflate::Codec;

    fn of(server_window: u8, server_takeover: bool) -> Agreed {
        Agreed::to(&Compression { server_window, server_takeover, ..Compression::default() })
    }

    /// Two equal messages of `len` random letters, compressed under `wrote` and inflated under
    /// `agreed`.
    fn second(wrote: &Agreed, agreed: &Agreed, len: usize) -> Result<(), &'static str> {
        let mut n = 1u32;
        let data: Vec<u8> = std::iter::repeat_with(|| {
            n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b'a' + (n >> 28) as u8
        })
        .take(len)
        .collect();
        let mut codec =
            Codec::server(wrote, &Compression { threshold: 1, ..Compression::default() });
        let mut inflate = Inflate::new(agreed);
        for _ in 0..2 {
            let mut out = Vec::new();
            assert!(codec.deflate(&data, |made| out.extend_from_slice(made)));
            assert_eq!(inflate.message(&out, len)?, data);
        }
        Ok(())
    }

    #[test]
    fn what_goes_beyond_the_agreement_is_seen() {
        assert_eq!(second(&of(15, true), &of(15, true), 2000), Ok(()));
        assert_eq!(second(&of(10, true), &of(10, true), 2000), Ok(()));
        assert_eq!(second(&of(15, false), &of(15, false), 2000), Ok(()));
        let far = second(&of(15, true), &of(10, true), 2000).unwrap_err();
        assert!(far.contains("window agreed on"), "{far}");
        let before = second(&of(15, true), &of(15, false), 2000).unwrap_err();
        assert!(before.contains("refers to one before"), "{before}");
        let broken = Inflate::new(&of(15, true)).message(b"\xFF\xFF", 9).unwrap_err();
        assert!(broken.contains("broken"), "{broken}");
    }
}
