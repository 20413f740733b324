//! Choices from bytes, cuts of bytes, and pseudo-random numbers that are the same on every machine.

/// Takes choices off the front of an input; missing bytes are 0.
#[derive(Clone)]
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }

    pub(super) fn take(&mut self, n: usize) -> &'a [u8] {
        let (first, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        first
    }

    /// The bytes up to the next LF, which is taken and left out.
    pub(super) fn line(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|&b| b == b'\n');
        let line = self.take(end.unwrap_or(self.0.len()));
        self.byte();
        line
    }
}

/// xorshift64*.
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n.max(1)
    }
}

/// A hash of all bytes, so that the cuts of an input are the same in each run.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3))
}

/// How an input is cut: not at all, at each byte, anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Whole,
    Bytewise,
    Random,
}

impl Cut {
    pub(super) const ALL: [Cut; 3] = [Cut::Whole, Cut::Bytewise, Cut::Random];

    /// The pieces; at least one.
    pub(super) fn pieces(self, mut bytes: &[u8]) -> Vec<&[u8]> {
        let mut rng = Rng::new(hash(bytes));
        let most = [2, 9, 60, 700][rng.below(4)];
        let mut pieces = Vec::new();
        loop {
            let n = match self {
                Cut::Whole => bytes.len(),
                Cut::Bytewise => 1,
                Cut::Random => rng.below(most) + rng.below(2),
            };
            let (piece, rest) = bytes.split_at(n.min(bytes.len()));
            pieces.push(piece);
            bytes = rest;
            if bytes.is_empty() {
                return pieces;
            }
        }
    }
}

/// Feeds a parser that takes a part of its input and keeps nothing: gives it each piece behind the
/// rest of the ones before. Stops at the first `Break`; returns how many bytes were taken by then.
pub(super) fn feed<B>(
    bytes: &[u8],
    cut: Cut,
    mut parse: impl FnMut(&[u8]) -> (usize, std::ops::ControlFlow<B>),
) -> (usize, Option<B>) {
    let (mut at, mut end) = (0, 0);
    for piece in cut.pieces(bytes) {
        end += piece.len();
        let (used, flow) = parse(&bytes[at..end]);
        assert!(used <= end - at, "took {used} of {} bytes", end - at);
        at += used;
        if let std::ops::ControlFlow::Break(value) = flow {
            return (at, Some(value));
        }
        let (used, flow) = parse(&bytes[at..end]);
        assert!(used == 0 && flow.is_continue(), "asked again, it found more");
    }
    (at, None)
}
