//! Coded bodies that Python's zlib made, and changed ones; whole, byte by byte and in other pieces.
#![cfg(feature = "deflate")]

use super::*;
use crate::limits::Limits;
use crate::proto::http::HttpError;
use crate::proto::token::escape;

thread_local! {
    /// How many bytes of room were filled with zeros.
    pub(super) static CLEARED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// `hello, hello, hello` as one member: without a name, with every optional part, stored, with a
/// name, with an empty extra field and a checksum of the header.
const GZIP: &str = "1f8b08000000000000ffcb48cdc9c9d751c840a2009fa1ca0913000000";
const FLAGGED: &str = "1f8b081f0102030402030500415001007a6e616d65006120636f6d6d656e7400f0c7\
                       cb48cdc9c9d751c840a2009fa1ca0913000000";
const STORED: &str = "1f8b08000000000000ff011300ecff68656c6c6f2c2068656c6c6f2c2068656c6c6f\
                      9fa1ca0913000000";
const NAMED: &str = "1f8b08080000000000ff7800cb48cdc9c9d751c840a2009fa1ca0913000000";
const NO_EXTRA: &str = "1f8b08060000000000ff0000aa0bcb48cdc9c9d751c840a2009fa1ca0913000000";
/// An empty body.
const EMPTY: &str = "1f8b08000000000000ff03000000000000000000";
/// The same text in zlib: with a window of 32 KiB, of 512 bytes, and with a dictionary.
const ZLIB: &str = "78dacb48cdc9c9d751c840a200442806d5";
const ZLIB_9: &str = "18d3cb48cdc9c9d751c840a200442806d5";
const ZLIB_DICTIONARY: &str = "78f9062c0215cb00113a0ac81400442806d5";
/// The same text, raw; and a block with dynamic codes.
const RAW: &str = "cb48cdc9c9d751c840a200";
const RAW_STORED: &str = "011300ecff68656c6c6f2c2068656c6c6f2c2068656c6c6f";
const RAW_EMPTY: &str = "0300";
const RAW_DYNAMIC: &str = "adcc810dc0200800b05bd944200a6250787f4fac0714b847fa031656b0ce6e781be862\
                           b7974024df642e84a938e594570e93ed34ba3ba9c4d5d848f077f201";
const DYNAMIC: &str = "ahfsvpbansnwaotqdeudamohpncgaiivcvhhwealmelitwpwvkniqpgkfppgmisumsqega\
                       hfsvpbansnwaotqdeudamohpncgaiivcvhhwealmelitwpwvkniqpgkfppgmisumsqegahfsvpbansnw";
/// 1,000 zeros, raw: 11 bytes.
const ZEROS: &str = "63601805a360140c770000";

const HELLO: &str = "hello, hello, hello";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().map(|c| c.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// The pieces, and the end. Feeds `step` bytes at a time, and again the bytes that were not taken.
fn read(
    coding: Coding,
    coded: &[u8],
    step: usize,
    limits: &Limits,
) -> (Vec<Vec<u8>>, Result<(), HttpError>) {
    let (mut decoder, mut pieces) = (Decoder::new(coding), Vec::new());
    let (mut at, mut end) = (0, 0);
    while end < coded.len() {
        end = (end + step).min(coded.len());
        while at < end {
            match decoder.decode(&coded[at..end], limits) {
                Ok(taken) => at += taken,
                Err(e) => return (pieces, Err(e)),
            }
            if !decoder.rest().is_empty() {
                assert!(at < end, "something is left as long as there is more to be decoded");
                assert!(decoder.rest().len() <= limits.decoded_piece.max(1));
                pieces.push(decoder.take_rest());
            }
            at += decoder.release();
        }
        assert_eq!(at, end, "all is taken");
    }
    let (wire, len) = decoder.sizes();
    let decoded = pieces.concat().len() as u64;
    assert_eq!((wire, len), (coded.len() as u64, decoded));
    (pieces, decoder.finish())
}

/// Checks that the result does not depend on the cuts.
fn check(coding: Coding, coded: &[u8]) -> (Vec<u8>, Result<(), HttpError>) {
    let limits = Limits::default();
    let (pieces, end) = read(coding, coded, coded.len().max(1), &limits);
    let whole = (pieces.concat(), end);
    for step in [1, 2, 3, 7] {
        let (pieces, end) = read(coding, coded, step, &limits);
        assert_eq!((pieces.concat(), end), whole, "{step} at a time");
    }
    for decoded_piece in [0, 1, 5] {
        let limits = Limits { decoded_piece, ..Limits::default() };
        for step in [1, coded.len().max(1)] {
            let (pieces, end) = read(coding, coded, step, &limits);
            assert_eq!((pieces.concat(), end), whole, "pieces of {decoded_piece}");
        }
    }
    whole
}

fn fine(coding: Coding, coded: &[u8], want: &str) {
    let (data, end) = check(coding, coded);
    assert_eq!((String::from_utf8_lossy(&data).as_ref(), end), (want, Ok(())));
    // Every shorter prefix is truncated.
    for cut in 1..coded.len() {
        let (part, end) = check(coding, &coded[..cut]);
        assert_eq!(end, Err(HttpError::Coding(CodingError::Truncated)), "{cut}");
        assert!(want.as_bytes().starts_with(&part));
    }
}

fn broken(coding: Coding, coded: &[u8], want: CodingError) {
    let (data, end) = check(coding, coded);
    assert_eq!(end, Err(HttpError::Coding(want)));
    assert!(HELLO.repeat(2).as_bytes().starts_with(&data), "{}", escape(&data, 100));
}

/// RFC 1952 §2.3.
#[test]
fn a_gzip_member_may_have_every_part_that_there_is() {
    for coded in [GZIP, FLAGGED, STORED, NAMED, NO_EXTRA] {
        fine(Coding::Gzip, &bytes(coded), HELLO);
    }
    fine(Coding::Gzip, &bytes(EMPTY), "");
}

#[test]
fn a_body_of_no_byte_is_none_whatever_its_coding() {
    for coding in [Coding::Gzip, Coding::Deflate] {
        assert_eq!(check(coding, b""), (vec![], Ok(())));
    }
}

/// RFC 1952 §2.2.
#[test]
fn several_gzip_members_are_one_body() {
    let two = bytes(&[GZIP, FLAGGED].concat());
    assert_eq!(check(Coding::Gzip, &two), (HELLO.repeat(2).into_bytes(), Ok(())));
    let many = bytes(&[EMPTY, GZIP, EMPTY, EMPTY, STORED, EMPTY].concat());
    assert_eq!(check(Coding::Gzip, &many), (HELLO.repeat(2).into_bytes(), Ok(())));
    for cut in 1..two.len() {
        let whole = [0, bytes(GZIP).len()].contains(&cut);
        let (_, end) = check(Coding::Gzip, &two[..cut]);
        let want = HttpError::Coding(CodingError::Truncated);
        assert_eq!(end, if whole { Ok(()) } else { Err(want) }, "{cut}");
    }
}

/// RFC 1950 §2.2; and RFC 1951, which servers have sent under the same name.
#[test]
fn deflate_is_zlib_or_raw() {
    for coded in [ZLIB, ZLIB_9, RAW, RAW_STORED] {
        fine(Coding::Deflate, &bytes(coded), HELLO);
    }
    fine(Coding::Deflate, &bytes(RAW_EMPTY), "");
    fine(Coding::Deflate, &bytes(RAW_DYNAMIC), DYNAMIC);
}

#[test]
fn a_head_that_is_none_is_an_error() {
    let changed = |coded: &str, at: usize, byte: u8| {
        let mut coded = bytes(coded);
        coded[at] = byte;
        coded
    };
    for (at, byte) in [(0, 0x1E), (1, 0x8C), (2, 7), (3, 0x20), (3, 0x40), (3, 0x80), (3, 0xFF)] {
        broken(Coding::Gzip, &changed(GZIP, at, byte), CodingError::Head);
    }
    // A bit of the header's checksum is changed, or of a byte that it covers.
    for at in [4, 12, 20, 30, 32, 33] {
        let was = bytes(FLAGGED)[at];
        broken(Coding::Gzip, &changed(FLAGGED, at, was ^ 1), CodingError::Head);
    }
    // Time, extra flags and operating system may have any value.
    for at in 4..10 {
        fine(Coding::Gzip, &changed(GZIP, at, 77), HELLO);
    }
    broken(Coding::Gzip, b"<html>", CodingError::Head);
    broken(Coding::Gzip, &bytes(ZLIB), CodingError::Head);
    broken(Coding::Deflate, &bytes(ZLIB_DICTIONARY), CodingError::Head);
    // A body without a zlib header is raw compressed data, or invalid.
    broken(Coding::Deflate, &changed(ZLIB, 1, 0xDB), CodingError::Data);
    broken(Coding::Deflate, &bytes(GZIP), CodingError::Data);
    broken(Coding::Deflate, b"<html>", CodingError::Data);
}

#[test]
fn what_stands_behind_the_data_has_to_agree_with_it() {
    let changed = |coded: &str, back: usize| {
        let mut coded = bytes(coded);
        let at = coded.len() - back;
        coded[at] ^= 0x10;
        coded
    };
    for back in 5..=8 {
        broken(Coding::Gzip, &changed(GZIP, back), CodingError::Checksum);
    }
    for back in 1..=4 {
        broken(Coding::Gzip, &changed(GZIP, back), CodingError::Length);
        broken(Coding::Deflate, &changed(ZLIB, back), CodingError::Checksum);
    }
    // The error is in the first member, or in the second.
    let second = bytes(GZIP);
    let both = [changed(GZIP, 8), second.clone()].concat();
    broken(Coding::Gzip, &both, CodingError::Checksum);
    let both = [second, changed(GZIP, 1)].concat();
    broken(Coding::Gzip, &both, CodingError::Length);
    // A changed byte of the data.
    let mut stored = bytes(STORED);
    stored[30] ^= 1;
    let (_, end) = check(Coding::Gzip, &stored);
    assert_eq!(end, Err(HttpError::Coding(CodingError::Checksum)));
}

#[test]
fn data_that_is_none_is_an_error_behind_what_came_before_it() {
    // A block of an unknown type, at the start and behind a valid one.
    let head = &bytes(GZIP)[..10];
    broken(Coding::Gzip, &[head, b"\x07"].concat(), CodingError::Data);
    let stored = [head, &b"\0\x05\0\xFA\xFFhello"[..], b"\x07 and more"].concat();
    let (data, end) = check(Coding::Gzip, &stored);
    assert_eq!((&data[..], end), (&b"hello"[..], Err(HttpError::Coding(CodingError::Data))));
    // A distance that refers to bytes before the start.
    broken(Coding::Deflate, &bytes("030200"), CodingError::Data);
}

#[test]
fn more_behind_the_end_is_an_error() {
    for more in [&b"\0"[..], b"\r\n", b"garbage", &[0; 100]] {
        for (coding, coded) in [
            (Coding::Gzip, GZIP),
            (Coding::Deflate, ZLIB),
            (Coding::Deflate, RAW),
            (Coding::Deflate, RAW_STORED),
            (Coding::Deflate, RAW_EMPTY),
        ] {
            broken(coding, &[&bytes(coded), more].concat(), CodingError::Trailing);
        }
    }
    // The bytes start like another member, but are none.
    broken(Coding::Gzip, &bytes(&(GZIP.to_owned() + "1f00")), CodingError::Head);
    broken(Coding::Deflate, &bytes(&ZLIB.repeat(2)), CodingError::Trailing);
}

/// Each flush gives the bytes written before it at once.
#[test]
fn what_is_flushed_is_there_at_once() {
    let of = |i| format!("data: event {i} of several\n\n");
    for (coding, parts, end) in [
        (
            Coding::Gzip,
            [
                "1f8b08000000000002034a492c49b452482d4bcd2b513054c84f532806b28b1273b8b800000000ffff",
                "4a419231429101000000ffff",
                "429631469101000000ffff",
            ],
            "030070c2ed954e000000",
        ),
        // A flush that does not end at a byte (Z_PARTIAL_FLUSH).
        (
            Coding::Deflate,
            [
                "4a492c49b452482d4bcd2b513054c84f532806b28b1273b8b80002",
                "280549c608450620",
                "8090658c51640002",
            ],
            "0c00",
        ),
    ] {
        let (mut decoder, limits) = (Decoder::new(coding), Limits::default());
        for (i, part) in parts.into_iter().enumerate() {
            let part = bytes(part);
            let taken = decoder.decode(&part, &limits).unwrap();
            assert_eq!(String::from_utf8(decoder.take_rest()).unwrap(), of(i + 1));
            assert_eq!(taken + decoder.release(), part.len());
        }
        assert_eq!(decoder.finish(), Err(HttpError::Coding(CodingError::Truncated)));
        let end = bytes(end);
        assert_eq!(decoder.decode(&end, &limits), Ok(end.len()));
        assert_eq!(decoder.finish(), Ok(()));
    }
}

#[test]
fn limits_hold_at_n_and_break_at_n_plus_1() {
    let zeros = bytes(ZEROS);
    assert_eq!(zeros.len(), 11);
    let end = |decoded_free, decoded_ratio| {
        let limits = Limits { decoded_free, decoded_ratio, ..Limits::default() };
        let (pieces, end) = read(Coding::Deflate, &zeros, zeros.len(), &limits);
        assert!(pieces.concat().len() <= 1000);
        end
    };
    let ratio = |n| Err(HttpError::Coding(CodingError::Ratio(n)));
    assert_eq!((end(1000, 0), end(999, 0)), (Ok(()), ratio(0)));
    // 11 bytes may become 1,001, or 990.
    assert_eq!((end(0, 91), end(0, 90)), (Ok(()), ratio(90)));
    // The largest piece.
    for (decoded_piece, want) in [(1000, vec![1000]), (999, vec![999, 1])] {
        let limits = Limits { decoded_piece, ..Limits::default() };
        let (pieces, end) = read(Coding::Deflate, &zeros, zeros.len(), &limits);
        assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), want);
        assert_eq!(end, Ok(()));
    }
}

/// FAULTS 56: 1 GiB in 1 MiB.
#[test]
fn a_bomb_ends_at_its_bound_and_costs_a_piece_at_a_time() {
    let limits = Limits { decoded_free: 1 << 20, ..Limits::default() };
    let coded = gzip(&vec![0; 4 << 20]).unwrap();
    assert!(coded.len() < 5000, "{}", coded.len());
    for step in [1, 100, coded.len()] {
        let (pieces, end) = read(Coding::Gzip, &coded, step, &limits);
        assert_eq!(end, Err(HttpError::Coding(CodingError::Ratio(200))), "{step} at a time");
        let len = pieces.concat().len();
        assert!((1 << 20..=(1 << 20) + limits.decoded_piece).contains(&len), "{len}");
    }
    let (pieces, end) = read(Coding::Gzip, &coded, 700, &Limits::default());
    assert_eq!((pieces.concat().len(), end), (4 << 20, Ok(())), "below the default");
}

#[test]
fn what_is_coded_here_can_be_read() {
    let noise: Vec<u8> =
        (0..200_000u64).map(|i| (i.wrapping_mul(i * 0x9E37_79B9) >> 13) as u8).collect();
    let rows = "{\"id\":1,\"name\":\"x\"},".repeat(20_000);
    for body in [&b""[..], b"x", HELLO.as_bytes(), &noise, rows.as_bytes(), &[7; 70_000]] {
        let coded = gzip(body).unwrap();
        assert_eq!(coded[..10], bytes("1f8b08000000000000ff"));
        assert!(coded.capacity() <= 2 * coded.len() + 65_536, "room is made in small steps");
        let (pieces, end) = read(Coding::Gzip, &coded, 1000, &Limits::default());
        assert_eq!((pieces.concat(), end), (body.to_vec(), Ok(())));
    }
    assert!(gzip(rows.as_bytes()).unwrap().len() * 50 < rows.len());
}

#[test]
fn codings_have_names_without_case_and_stand_alone() {
    use crate::proto::head::HeadParser;

    let asked = |name: &str| Err(HttpError::Coding(CodingError::Unknown(name.into())));
    let refused = |name: &str| Err(HttpError::ContentEncoding(name.into()));
    for (fields, want, unasked) in [
        ("A: b", Ok(None), Ok(None)),
        ("Content-Encoding: identity, none", Ok(None), Ok(None)),
        ("Content-Encoding: gzip", Ok(Some(Coding::Gzip)), Ok(Some(Coding::Gzip))),
        ("Content-Encoding: GZIP,", Ok(Some(Coding::Gzip)), Ok(Some(Coding::Gzip))),
        ("Content-Encoding: x-gzip", Ok(Some(Coding::Gzip)), Ok(Some(Coding::Gzip))),
        ("Content-Encoding: none, Deflate", Ok(Some(Coding::Deflate)), Ok(Some(Coding::Deflate))),
        ("Content-Encoding: br", asked("br"), refused("br")),
        ("Content-Encoding: x-deflate", asked("x-deflate"), refused("x-deflate")),
        // FAULTS 56.
        ("Content-Encoding: gzip, gzip", asked("gzip, gzip"), refused("gzip")),
        (
            "Content-Encoding: deflate\r\nContent-Encoding: gzip",
            asked("deflate, gzip"),
            refused("deflate"),
        ),
        ("Content-Encoding: gzip, identity, br", asked("gzip, br"), refused("gzip")),
        ("Content-Encoding: \"gzip\"", asked("\\\"gzip\\\""), refused("\\\"gzip\\\"")),
        ("Content-Encoding: gzip;q=1", asked("gzip;q=1"), refused("gzip;q=1")),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
        let parsed = HeadParser::default().feed(head.as_bytes(), &Limits::default());
        let head = parsed.unwrap().1.unwrap();
        assert_eq!(Accepts::Asked.coding(&head.fields), want, "{fields}");
        assert_eq!(Accepts::Unasked.coding(&head.fields), unasked, "{fields}");
        let identity = Accepts::Identity.coding(&head.fields);
        assert_eq!(identity.is_ok(), want == Ok(None), "{fields}");
    }
}

/// A thousand empty members come in one piece: they share one buffer.
#[test]
fn many_short_members_share_their_room() {
    let (many, limits) = (bytes(EMPTY).repeat(3000), Limits::default());
    let mut decoder = Decoder::new(Coding::Gzip);
    assert_eq!(decoder.decode(&many, &limits), Ok(many.len()));
    assert!(decoder.rest().is_empty());
    assert_eq!(decoder.finish(), Ok(()));
    assert!(CLEARED.get() <= limits.decoded_piece, "{} zeros", CLEARED.get());
}

/// An idle stream keeps room for 4 KiB at most.
#[test]
fn much_room_is_freed_behind_its_piece() {
    for (decoded_piece, want) in [(100, 100), (4096, 4096), (4097, 0), (100_000, 0)] {
        let limits = Limits { decoded_piece, ..Limits::default() };
        let coded = gzip(&vec![0; decoded_piece]).unwrap();
        let (mut decoder, mut at) = (Decoder::new(Coding::Gzip), 0);
        while at < coded.len() {
            at += decoder.decode(&coded[at..], &limits).unwrap();
            decoder.skip(decoder.rest().len());
            at += decoder.release();
        }
        assert_eq!(decoder.take_rest().capacity(), want, "{decoded_piece}");
    }
}

/// A long name neither ends the body nor is kept.
#[test]
fn a_name_of_any_length_costs_no_memory() {
    let limits = Limits::default();
    let mut decoder = Decoder::new(Coding::Gzip);
    let (head, rest) = NAMED.split_at(20);
    decoder.decode(&bytes(head), &limits).unwrap();
    for _ in 0..1000 {
        assert_eq!(decoder.decode(&[b'x'; 1000], &limits), Ok(1000));
    }
    assert!(decoder.rest().is_empty() && CLEARED.get() == 0);
    let rest = bytes(rest);
    // The last byte is not taken yet.
    assert_eq!(decoder.decode(&rest, &limits), Ok(rest.len() - 1));
    assert_eq!(decoder.take_rest(), HELLO.as_bytes());
    assert_eq!(decoder.release(), 1);
    assert_eq!(decoder.finish(), Ok(()));
}
