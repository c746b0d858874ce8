//! From when to when a certificate is valid, read from its DER form (RFC 5280, 4.1). Pure.
//!
//! rustls checks the certificates of others but does not tell the dates of our own; only they are looked for here.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// `None` for what is no X.509 certificate.
pub(super) fn validity(certificate: &[u8]) -> Option<Validity> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (signed, _) = element(certificate, SEQUENCE)?;
    let rest = element(signed, VERSION).map_or(signed, |(_, rest)| rest);
    let (_serial, rest) = element(rest, INTEGER)?;
    let (_algorithm, rest) = element(rest, SEQUENCE)?;
    let (_issuer, rest) = element(rest, SEQUENCE)?;
    let (dates, _) = element(rest, SEQUENCE)?;
    let (not_before, dates) = time(dates)?;
    let (not_after, _) = time(dates)?;
    Some(Validity { not_before, not_after })
}

/// The content of the element at the front, if it has this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    if length < 0x80 {
        return rest.split_at_checked(usize::from(length));
    }
    let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
    if digits.len() > 4 {
        return None;
    }
    let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
    rest.split_at_checked(length)
}

fn time(der: &[u8]) -> Option<(i64, &[u8])> {
    let (year, text, rest) = if let Some((text, rest)) = element(der, UTC_TIME) {
        let (digits, text) = text.split_at_checked(2)?;
        let year = number(digits)?;
        // RFC 5280, 4.1.2.5.1
        (if year < 50 { 2000 + year } else { 1900 + year }, text, rest)
    } else {
        let (text, rest) = element(der, GENERALIZED_TIME)?;
        let (digits, text) = text.split_at_checked(4)?;
        (number(digits)?, text, rest)
    };
    let text = text.strip_suffix(b"Z").filter(|digits| digits.len() == 10)?;
    let pair = |at: usize| number(&text[at..at + 2]).and_then(|number| i8::try_from(number).ok());
    let civil = DateTime::new(year, pair(0)?, pair(2)?, pair(4)?, pair(6)?, pair(8)?, 0).ok()?;
    let seconds = civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    Some((seconds, rest))
}

fn number(digits: &[u8]) -> Option<i16> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn certificate(from: (i32, u8, u8), to: (i32, u8, u8)) -> Vec<u8> {
        let mut parameters = CertificateParams::new(vec!["registry.test".to_owned()]).unwrap();
        parameters.not_before = date_time_ymd(from.0, from.1, from.2);
        parameters.not_after = date_time_ymd(to.0, to.1, to.2);
        let key = KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    fn seconds(time: &str) -> i64 {
        time.parse::<jiff::Timestamp>().unwrap().as_second()
    }

    #[test]
    fn both_dates_are_found_in_both_forms_of_time() {
        let short = validity(&certificate((2026, 1, 2), (2049, 12, 31))).unwrap();
        let long = validity(&certificate((1999, 7, 1), (2050, 1, 1))).unwrap();

        assert_eq!(short.not_before, seconds("2026-01-02T00:00:00Z"));
        assert_eq!(short.not_after, seconds("2049-12-31T00:00:00Z"));
        assert_eq!(long.not_before, seconds("1999-07-01T00:00:00Z"));
        assert_eq!(long.not_after, seconds("2050-01-01T00:00:00Z"));
    }

    #[test]
    fn a_certificate_that_ends_early_is_none() {
        let whole = certificate((2026, 1, 2), (2027, 1, 2));

        for length in 0..whole.len() {
            assert_eq!(validity(&whole[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn other_bytes_are_no_certificate(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            assert_eq!(validity(&bytes), None);
        }
    }
}
