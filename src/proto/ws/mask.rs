//! Masking (RFC 6455 §5.3): octet i of the payload is combined with octet i mod 4 of the key.

/// Appends `payload`, masked with `key`.
pub(crate) fn append(out: &mut Vec<u8>, payload: &[u8], key: [u8; 4]) {
    let at = out.len();
    out.extend_from_slice(payload);
    apply(&mut out[at..], key, 0);
}

/// Masks or unmasks `bytes`, the first of which is octet `phase` of its payload.
///
/// It takes eight octets at a time: compilers turn that into vector instructions.
pub(crate) fn apply(bytes: &mut [u8], mut key: [u8; 4], phase: usize) {
    key.rotate_left(phase % 4);
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (i, b) in rest.iter_mut().enumerate() {
        *b ^= key[i % 4];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loop as the RFC writes it.
    fn oracle(bytes: &[u8], key: [u8; 4], phase: usize) -> Vec<u8> {
        bytes.iter().enumerate().map(|(i, b)| b ^ key[(phase + i) % 4]).collect()
    }

    #[test]
    fn every_small_length_phase_and_cut_equals_the_rfc_loop() {
        let key = [0x37, 0xFA, 0x21, 0x3D];
        for len in 0..40usize {
            let data: Vec<u8> = (0..len).map(|i| (i * 31 + 7) as u8).collect();
            for phase in 0..4 {
                let want = oracle(&data, key, phase);
                for cut in 0..=len {
                    let mut got = data.clone();
                    let (a, b) = got.split_at_mut(cut);
                    apply(a, key, phase);
                    apply(b, key, phase + cut);
                    assert_eq!(got, want, "length {len}, phase {phase}, cut {cut}");
                }
            }
            let mut out = b"head".to_vec();
            append(&mut out, &data, key);
            assert_eq!(out[4..], oracle(&data, key, 0));
        }
    }

    #[test]
    fn the_example_of_section_5_7() {
        let mut out = vec![];
        append(&mut out, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(out, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }
}
