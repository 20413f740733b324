//! Errors of a coded body.

use std::fmt;

/// The value of `Accept-Encoding` if codings are accepted.
pub(crate) const ACCEPTED: &str = "gzip, deflate";

/// An error of a coded body.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodingError {
    /// A coding that the client does not decode, or several codings (RFC 9110 §8.4); their names.
    Unknown(String),
    /// The header of gzip (RFC 1952 §2.3) or zlib (RFC 1950 §2.2) is invalid, has a wrong checksum,
    /// or requires something that the client does not support: reserved flags, a dictionary.
    Head,
    /// The compressed data is invalid (RFC 1951).
    Data,
    /// The checksum behind the data does not match (CRC-32 of RFC 1952, Adler-32 of RFC 1950).
    Checksum,
    /// The length behind the data does not match (ISIZE of RFC 1952 §2.3.1).
    Length,
    /// The body ended before its coded data did.
    Truncated,
    /// Behind the coded data stand bytes that are not another gzip member.
    Trailing,
    /// The decoded body has more than [`Limits::decoded_free`](crate::Limits::decoded_free) bytes,
    /// and more than [`Limits::decoded_ratio`](crate::Limits::decoded_ratio) (this number) times
    /// the coded bytes.
    Ratio(u32),
}

impl fmt::Display for CodingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodingError::Unknown(names) => write!(
                f,
                "the body is coded as \"{names}\", though \"Accept-Encoding: {ACCEPTED}\" was sent"
            ),
            CodingError::Head => f.write_str("the coded body does not start with a valid header"),
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
            CodingError::Trailing => f.write_str("the body has bytes behind its compressed data"),
            CodingError::Ratio(times) => write!(
                f,
                "the body became more than {times} times what came (Limits::decoded_ratio)"
            ),
        }
    }
}

impl std::error::Error for CodingError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_coding_or_the_limit() {
        for (error, want) in [
            (
                CodingError::Unknown("br".into()),
                "the body is coded as \"br\", though \"Accept-Encoding: gzip, deflate\" was sent",
            ),
            (
                CodingError::Ratio(100),
                "the body became more than 100 times what came (Limits::decoded_ratio)",
            ),
        ] {
            assert_eq!(error.to_string(), want);
        }
    }
}
