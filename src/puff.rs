//! A second decoder of RFC 1951 and RFC 7692, bit by bit: an oracle for tests and fuzz targets; and
//! for audits, which need to know how far back a server refers. No connection uses it.

/// Decodes the compressed messages of one connection.
#[derive(Clone)]
pub(crate) struct Puff {
    /// The bytes to which the next block may refer.
    window: Vec<u8>,
    /// The longest distance that a block may refer back.
    reach: usize,
}

/// Why a message is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Broken,
    /// The message ends in the head of a dynamic block, which the appended bytes may complete.
    CutInHead,
    TooBig,
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the payload ends. Symbols that need bits beyond it are not part of the message.
    end: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Result<u32, Wrong> {
        let byte = self.bytes.get(self.at / 8).ok_or(Wrong::Broken)?;
        let bit = byte >> (self.at % 8) & 1;
        self.at += 1;
        Ok(bit.into())
    }

    fn number(&mut self, bits: u32) -> Result<usize, Wrong> {
        let mut n = 0;
        for i in 0..bits {
            n |= (self.bit()? as usize) << i;
        }
        Ok(n)
    }

    fn align(&mut self) {
        self.at = self.at.div_ceil(8) * 8;
    }
}

/// A Huffman code: how many codes have each length, and the symbols in their order (§3.2.2).
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    /// `sparse`: a single code of one bit is allowed.
    fn new(lengths: &[usize], sparse: bool) -> Result<Code, Wrong> {
        let mut counts = [0; 16];
        lengths.iter().for_each(|&len| counts[len] += 1);
        let used = lengths.len() - counts[0];
        counts[0] = 0;
        let mut left = 1i64;
        for count in &counts[1..] {
            left = left * 2 - *count as i64;
            if left < 0 {
                return Err(Wrong::Broken);
            }
        }
        if left > 0 && used > 0 && !(sparse && used == 1 && counts[1] == 1) {
            return Err(Wrong::Broken);
        }
        let with = |len: usize| (0..lengths.len()).filter(move |&symbol| lengths[symbol] == len);
        Ok(Code { counts, symbols: (1..16).flat_map(with).collect() })
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> Result<usize, Wrong> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code |= bits.bit()? as usize;
            if code < first + count {
                return Ok(self.symbols[index + code - first]);
            }
            index += count;
            first = (first + count) * 2;
            code *= 2;
        }
        Err(Wrong::Broken)
    }
}

const LENGTHS: [(usize, u32); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];

fn distance(symbol: usize) -> Result<(usize, u32), Wrong> {
    match symbol {
        0..=3 => Ok((symbol + 1, 0)),
        4..=29 => {
            let extra = symbol as u32 / 2 - 1;
            Ok((((2 + symbol % 2) << extra) + 1, extra))
        }
        _ => Err(Wrong::Broken),
    }
}

impl Puff {
    pub(crate) fn of(reach: usize) -> Puff {
        Puff { window: Vec::new(), reach }
    }

    /// The message in this payload, of at most `max` bytes; with an error, the part before the
    /// error.
    pub(crate) fn message(&mut self, payload: &[u8], max: usize) -> (Vec<u8>, Result<(), Wrong>) {
        let whole = [payload, &[0, 0, 0xFF, 0xFF]].concat();
        let mut bits = Bits { bytes: &whole, at: 0, end: payload.len() * 8 };
        let mut from = self.window.len();
        let mut data = Vec::new();
        let result = loop {
            let start = bits.at;
            let result = self.block(&mut bits, max - data.len(), from);
            data.extend_from_slice(&self.window[from..]);
            from = self.window.len();
            match result {
                Err(wrong) => break Err(wrong),
                Ok(true) => {
                    bits.align();
                    self.window.clear();
                    from = 0;
                }
                Ok(false) => {}
            }
            if bits.at == whole.len() * 8 {
                // The last block has to be an empty one, whose lengths are the bytes appended to
                // the payload.
                let mut head = Bits { bytes: &whole, at: start, end: bits.end };
                let kind = head.number(3).map(|n| n >> 1);
                head.align();
                break match kind {
                    Ok(0) if head.at == payload.len() * 8 => Ok(()),
                    _ => Err(Wrong::Broken),
                };
            }
        };
        let keep = self.window.len().saturating_sub(self.reach);
        self.window.drain(..keep);
        (data, result)
    }

    /// Empties the window, as without takeover.
    pub(crate) fn forget(&mut self) {
        self.window.clear();
    }

    /// Decodes one block; returns whether it is the final one.
    fn block(&mut self, bits: &mut Bits<'_>, max: usize, from: usize) -> Result<bool, Wrong> {
        let last = bits.bit()? == 1;
        match bits.number(2)? {
            0 => {
                bits.align();
                let (len, inverse) = (bits.number(16)?, bits.number(16)?);
                if len ^ inverse != 0xFFFF {
                    return Err(Wrong::Broken);
                }
                for _ in 0..len {
                    let byte = bits.number(8)? as u8;
                    self.put(bits, byte, max, from)?;
                }
            }
            1 => {
                let lengths: Vec<usize> = (0..288)
                    .map(|n| [8, 9, 7, 8][[144, 256, 280].iter().filter(|&&m| n >= m).count()])
                    .collect();
                let (literals, distances) =
                    (Code::new(&lengths, false)?, Code::new(&[5; 32], false)?);
                self.codes(bits, &literals, &distances, max, from)?;
            }
            2 => {
                let start = bits.at;
                let head = Self::head(bits);
                if start <= bits.end && bits.at > bits.end {
                    return Err(Wrong::CutInHead);
                }
                let (literals, distances) = head?;
                self.codes(bits, &literals, &distances, max, from)?;
            }
            _ => return Err(Wrong::Broken),
        }
        Ok(last)
    }

    /// Reads the codes of a dynamic block (§3.2.7).
    fn head(bits: &mut Bits<'_>) -> Result<(Code, Code), Wrong> {
        let (literals, distances, codes) =
            (bits.number(5)? + 257, bits.number(5)? + 1, bits.number(4)? + 4);
        if literals > 286 || distances > 30 {
            return Err(Wrong::Broken);
        }
        let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
        let mut lengths = [0; 19];
        for &symbol in &order[..codes] {
            lengths[symbol] = bits.number(3)?;
        }
        let code = Code::new(&lengths, false)?;
        let mut lengths = Vec::new();
        while lengths.len() < literals + distances {
            let (value, times) = match code.symbol(bits)? {
                16 => (*lengths.last().ok_or(Wrong::Broken)?, 3 + bits.number(2)?),
                17 => (0, 3 + bits.number(3)?),
                18 => (0, 11 + bits.number(7)?),
                len => (len, 1),
            };
            lengths.extend(std::iter::repeat_n(value, times));
        }
        if lengths.len() > literals + distances || lengths[256] == 0 {
            return Err(Wrong::Broken);
        }
        let (literals, distances) = lengths.split_at(literals);
        Ok((Code::new(literals, true)?, Code::new(distances, true)?))
    }

    fn codes(
        &mut self,
        bits: &mut Bits<'_>,
        literals: &Code,
        distances: &Code,
        max: usize,
        from: usize,
    ) -> Result<(), Wrong> {
        loop {
            match literals.symbol(bits)? {
                256 => return Ok(()),
                byte @ 0..256 => self.put(bits, byte as u8, max, from)?,
                symbol => {
                    let &(base, extra) = LENGTHS.get(symbol - 257).ok_or(Wrong::Broken)?;
                    let len = base + bits.number(extra)?;
                    let (base, extra) = distance(distances.symbol(bits)?)?;
                    let back = base + bits.number(extra)?;
                    if back > self.reach {
                        return Err(Wrong::Broken);
                    }
                    for _ in 0..len {
                        let at = self.window.len().checked_sub(back).ok_or(Wrong::Broken)?;
                        self.put(bits, self.window[at], max, from)?;
                    }
                }
            }
        }
    }

    fn put(&mut self, bits: &Bits<'_>, byte: u8, max: usize, from: usize) -> Result<(), Wrong> {
        if bits.at > bits.end {
            return Err(Wrong::Broken);
        }
        if self.window.len() - from == max {
            return Err(Wrong::TooBig);
        }
        self.window.push(byte);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of these bits: `01` is a code, its first bit first; `5:3` is the number 5 in three
    /// bits.
    fn bits(text: &str) -> Vec<u8> {
        let mut all = Vec::new();
        for part in text.split_whitespace() {
            match part.split_once(':') {
                Some((n, len)) => {
                    let n: usize = n.parse().unwrap();
                    all.extend((0..len.parse().unwrap()).map(|i| n >> i & 1 == 1));
                }
                None => all.extend(part.bytes().map(|b| b == b'1')),
            }
        }
        let byte = |bits: &[bool]| bits.iter().rev().fold(0, |n, &bit| n << 1 | u8::from(bit));
        all.chunks(8).map(byte).collect()
    }

    #[test]
    fn the_length_of_a_stored_block_is_sent_twice() {
        for (block, want) in [
            (b"\x00\x01\x00\xfe\xffa\x00", Ok(())),
            (b"\x00\x01\x00\xff\xffa\x00", Err(Wrong::Broken)),
            (b"\x00\x01\x00\xfe\x7fa\x00", Err(Wrong::Broken)),
        ] {
            assert_eq!(Puff::of(8).message(block, 8).1, want, "{block:x?}");
        }
    }

    #[test]
    fn a_copy_reaches_back_so_far_and_no_further() {
        let letters: Vec<String> =
            (b"abcdef").iter().map(|b| format!("{:08b}", 0x30 + b)).collect();
        // Three bytes from a distance of 3, 4, 5 and 6, then the end of the block.
        for (distance, want) in [
            ("00010", Ok("abcdefdef")),
            ("00011", Ok("abcdefcde")),
            ("00100 0", Err(Wrong::Broken)),
            ("00100 1", Err(Wrong::Broken)),
        ] {
            let copy = format!("0000001 {distance} 0000000");
            let payload = bits(&format!("0 1:2 {} {copy} 0 0:2", letters.join(" ")));
            let (data, got) = Puff::of(4).message(&payload, 100);
            assert_eq!(got, want.map(|_| ()), "{distance}");
            assert_eq!(data, want.unwrap_or("abcdef").as_bytes(), "{distance}");
        }
    }

    /// A dynamic block with one bit each for `a` and the end. `extra` more lengths are sent than it
    /// has codes.
    fn dynamic(literals: usize, distances: usize, extra: usize) -> String {
        let zeros = |mut n: usize| {
            let mut text = String::new();
            while n > 0 {
                let now = if n > 138 { 127 } else { n };
                text += &match now {
                    11.. => format!("0 {}:7 ", now - 11),
                    now => format!("11 {}:3 ", now - 3),
                };
                n -= now;
            }
            text
        };
        // The lengths of the codes for lengths: 18 has one bit, 1 and 17 have two.
        let codes = "0:3 2:3 1:3 0:42 2:3";
        let (literals_sent, distances_sent) = (literals - 257, distances - 1);
        let behind = zeros(literals_sent + distances + extra);
        format!(
            "0 2:2 {literals_sent}:5 {distances_sent}:5 14:4 {codes} {} 10 {} 10 {behind}",
            zeros(97),
            zeros(158)
        )
    }

    #[test]
    fn a_dynamic_block_has_286_and_30_codes_at_most_and_a_length_for_each() {
        for (literals, distances, extra, want) in [
            (257, 3, 0, Ok(())),
            (286, 3, 0, Ok(())),
            (287, 3, 0, Err(Wrong::Broken)),
            (257, 30, 0, Ok(())),
            (257, 31, 0, Err(Wrong::Broken)),
            (257, 3, 1, Err(Wrong::Broken)),
        ] {
            let payload = bits(&(dynamic(literals, distances, extra) + "0 0 0 1 0 0:2"));
            let (data, got) = Puff::of(8).message(&payload, 8);
            assert_eq!(got, want, "{literals} and {distances}, {extra} more");
            assert_eq!(data, if want.is_ok() { &b"aaa"[..] } else { b"" });
        }
    }

    #[test]
    fn a_message_that_ends_in_a_head_is_told_from_one_that_ends_behind_it() {
        let head = bits(&dynamic(257, 3, 0));
        assert_eq!(head.len() * 8, 3 + 14 + 54 + 33, "it fills its last byte");
        for end in 1..=head.len() {
            let want = if end == head.len() { Wrong::Broken } else { Wrong::CutInHead };
            let got = Puff::of(8).message(&head[..end], 8);
            assert_eq!(got, (Vec::new(), Err(want)), "{end} bytes");
        }
    }
}
