//! Parses HTTP dates (RFC 9110 §5.6.7).

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Parses a date in any of the three forms that a recipient has to accept; returns seconds since
/// 1970, or `None` if the date is invalid or before 1970.
pub(super) fn read(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let words: Vec<&str> = text.split([' ', '-', ',']).filter(|word| !word.is_empty()).collect();
    let (day, month, year, time) = match words[..] {
        // Sun, 06 Nov 1994 08:49:37 GMT; Sunday, 06-Nov-94 08:49:37 GMT
        [_, day, month, year, time, "GMT"] => (day, month, year, time),
        // Sun Nov  6 08:49:37 1994
        [_, month, day, time, year] => (day, month, year, time),
        _ => return None,
    };
    let year = match (number(year, 4)?, year.len()) {
        (year, 4) => year,
        // A two-digit year means 1970 to 2069.
        (year, 2) if year < 70 => 2000 + year,
        (year, 2) => 1900 + year,
        _ => return None,
    };
    let month = MONTHS.iter().position(|name| month.as_bytes() == &name[..])? as u64 + 1;
    let mut parts = time.split(':').map(|part| number(part, 2).filter(|_| part.len() == 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    // A leap second (:60) counts as the second after it.
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days(year, month, number(day, 2)?)?;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Parses a number of 1 to `digits` digits and nothing else.
fn number(text: &str, digits: usize) -> Option<u64> {
    let fine = (1..=digits).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    fine.then(|| text.parse().ok()).flatten()
}

/// The number of days from 1970-01-01 to a day of the Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let of_month = |m: u64| match m {
        2 => 28 + u64::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if year < 1970 || day == 0 || day > of_month(month) {
        return None;
    }
    // How many leap years there are up to the end of year `y`.
    let leaps = |y: u64| y / 4 - y / 100 + y / 400;
    let before = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    Some(before + (1..month).map(of_month).sum::<u64>() + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_of_rfc_9110_mean_the_same() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(read(text.as_bytes()), Some(784_111_777), "{text}");
        }
        for (text, want) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Thu, 29 Feb 2024 23:59:60 GMT", 1_709_251_200),
            ("Fri, 01 Mar 2024 00:00:00 GMT", 1_709_251_200),
            ("Wednesday, 01-Jan-70 00:00:01 GMT", 1),
            ("Tuesday, 31-Dec-69 23:59:59 GMT", 3_155_759_999),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
            ("Mon, 01 Mar 2100 00:00:00 GMT", 4_107_542_400),
        ] {
            assert_eq!(read(text.as_bytes()), Some(want), "{text}");
        }
        for bad in [
            "",
            "soon",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 32 Jan 1994 08:49:37 GMT",
            "Sun, 29 Feb 2023 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 199 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:00 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37:00 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
        ] {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
    }

    /// Each day is the day before plus one, over all kinds of years.
    #[test]
    fn days_follow_each_other() {
        let mut want = 0;
        for year in 1970..2500 {
            for month in 1..=12 {
                for day in (1..=31).filter_map(|day| days(year, month, day)) {
                    assert_eq!(day, want);
                    want += 1;
                }
            }
        }
        assert_eq!(want, 193_579, "1970 to 2499");
    }
}
