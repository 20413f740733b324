//! What may be wrong with a coded body.

use std::fmt;

/// What is asked for.
pub(crate) const ACCEPTED: &str = "gzip, deflate";

/// What is wrong with a coded body.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodingError {
    /// It has a coding that was not asked for, or several in a row (RFC 9110 §8.4); their names.
    Unknown(String),
    /// The head of gzip (RFC 1952 §2.3), or that of zlib (RFC 1950 §2.2), is none or names what cannot be
    /// read: reserved flags, a dictionary, a checksum of the head that is wrong.
    Head,
    /// The compressed data is none (RFC 1951).
    Data,
    /// The checksum behind the data is another (CRC-32 of RFC 1952, Adler-32 of RFC 1950).
    Checksum,
    /// The length behind the data is another (ISIZE of RFC 1952 §2.3.1).
    Length,
    /// The body has ended and the coded data has not.
    Truncated,
    /// Bytes that are no further member of gzip stand behind the end of the coded data.
    Trailing,
    /// It became more than [`Limits::decoded_free`](crate::Limits::decoded_free) bytes and more than
    /// [`Limits::decoded_ratio`](crate::Limits::decoded_ratio) times what came, which this is.
    Ratio(u32),
}

impl fmt::Display for CodingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodingError::Unknown(names) => write!(
                f,
                "the body is coded as \"{names}\", though \"Accept-Encoding: {ACCEPTED}\" was sent"
            ),
            CodingError::Head => f.write_str("the coded body starts with no head that can be read"),
            CodingError::Data => f.write_str("the compressed data of the body is broken"),
            CodingError::Checksum => {
                f.write_str("the checksum behind the compressed data of the body is another")
            }
            CodingError::Length => {
                f.write_str("the length behind the compressed data of the body is another")
            }
            CodingError::Truncated => {
                f.write_str("truncated: the body ended before its compressed data did")
            }
            CodingError::Trailing => {
                f.write_str("more stands behind the compressed data of the body")
            }
            CodingError::Ratio(times) => write!(
                f,
                "the body became more than {times} times what came (Limits::decoded_ratio)"
            ),
        }
    }
}

impl std::error::Error for CodingError {}
