//! Places in a topic as people write them: `earliest`, `latest`, `17`, `-10`, `@2026-01-31T12:00Z`.

use std::str::FromStr;

use super::Session;
use super::exit::Failure;
use esker_kafka::client::OffsetQuery;
use esker_types::Date;

/// Where to begin in each partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Earliest,
    Latest,
    /// This offset, or the nearest that exists.
    Offset(i64),
    /// So many records before the end.
    Back(i64),
    /// The first record at or after so many milliseconds since 1970.
    At(i64),
}

/// The offsets that a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The first kept offset.
    pub(crate) start: i64,
    /// The offset behind the last record.
    pub(crate) end: i64,
}

/// A text that names no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StartError {
    #[error("earliest, latest, an offset, -N (N before the end) or @TIMESTAMP is wanted")]
    Unknown,
    #[error("a timestamp is milliseconds since 1970, or a date such as 2026-01-31T12:00:00Z")]
    Timestamp,
}

impl FromStr for Start {
    type Err = StartError;

    fn from_str(text: &str) -> Result<Self, StartError> {
        match text {
            "earliest" | "beginning" => return Ok(Self::Earliest),
            "latest" | "end" => return Ok(Self::Latest),
            _ => {}
        }
        if text.starts_with('@') {
            return text.parse().map(|time: Time| Self::At(time.millis()));
        }
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(StartError::Unknown);
        }
        let number = digits.parse().map_err(|_| StartError::Unknown)?;
        match text.starts_with('-') {
            true => Ok(Self::Back(number)),
            false => Ok(Self::Offset(number)),
        }
    }
}

/// Milliseconds since 1970, as people write a time: the number, or a date; `@` may stand before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(i64);

impl Time {
    pub(crate) fn millis(self) -> i64 {
        self.0
    }
}

impl FromStr for Time {
    type Err = StartError;

    fn from_str(text: &str) -> Result<Self, StartError> {
        let time = text.strip_prefix('@').unwrap_or(text);
        let millis = match time.parse() {
            Ok(millis) if millis >= 0 => Some(millis),
            _ => millis_of_date(time),
        };
        millis.map(Self).ok_or(StartError::Timestamp)
    }
}

impl Start {
    /// The offset to begin at. `found` is the answer to the time that was asked for.
    fn place(self, bounds: Bounds, found: Option<i64>) -> i64 {
        let wanted = match self {
            Self::Earliest => bounds.start,
            Self::Latest => bounds.end,
            Self::Offset(offset) => offset,
            Self::Back(count) => bounds.end.saturating_sub(count),
            Self::At(_) => found.filter(|offset| *offset >= 0).unwrap_or(bounds.end),
        };
        wanted.min(bounds.end).max(bounds.start)
    }

    /// The offset to begin at in one partition.
    pub(crate) async fn resolve(
        self,
        session: &Session,
        topic: &str,
        partition: i32,
        bounds: Bounds,
    ) -> Result<i64, Failure> {
        let found = match self {
            Self::At(millis) => {
                let query = OffsetQuery::At(millis);
                Some(session.offset(topic, partition, query).await?)
            }
            _ => None,
        };
        Ok(self.place(bounds, found))
    }
}

/// Milliseconds since 1970 of `YYYY-MM-DD[THH:MM[:SS]]` and a zone: `Z`, `+HH:MM`, none = UTC.
fn millis_of_date(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, time),
        None => (text, "00:00"),
    };
    let mut parts = date.splitn(3, '-');
    let year = digits(parts.next()?, 4)?;
    let month = digits(parts.next()?, 2)?;
    let date = Date::new(year, month, digits(parts.next()?, 2)?)?;
    let (clock, zone_minutes) = split_zone(time)?;
    let mut parts = clock.splitn(3, ':');
    let hour = digits(parts.next()?, 2).filter(|hour| *hour < 24)?;
    let minute = digits(parts.next()?, 2).filter(|minute| *minute < 60)?;
    let second = digits(parts.next().unwrap_or("00"), 2).filter(|second| *second < 60)?;
    let minutes = (date.days() * 24 + hour) * 60 + minute - zone_minutes;
    Some((minutes * 60 + second) * 1000).filter(|millis| *millis >= 0)
}

/// A time of day and its zone's minutes east of UTC.
fn split_zone(time: &str) -> Option<(&str, i64)> {
    if let Some(clock) = time.strip_suffix('Z') {
        return Some((clock, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else {
        return Some((time, 0));
    };
    let (clock, zone) = time.split_at_checked(at)?;
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let hours = digits(hours, 2).filter(|hours| *hours < 24)?;
    let minutes = digits(minutes, 2).filter(|minutes| *minutes < 60)?;
    Some((clock, sign * (hours * 60 + minutes)))
}

fn digits(text: &str, count: usize) -> Option<i64> {
    let right = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if right { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_people_write_them() {
        for (text, start) in [
            ("earliest", Start::Earliest),
            ("latest", Start::Latest),
            ("0", Start::Offset(0)),
            ("17", Start::Offset(17)),
            ("-10", Start::Back(10)),
            ("@0", Start::At(0)),
            ("@1700000000123", Start::At(1_700_000_000_123)),
            ("@1970-01-02", Start::At(86_400_000)),
            ("@2023-11-14T22:13:20Z", Start::At(1_700_000_000_000)),
            ("@2023-11-14T23:13:20+01:00", Start::At(1_700_000_000_000)),
            ("@2023-11-14T17:13-05:00", Start::At(1_699_999_980_000)),
            ("@2024-02-29", Start::At(1_709_164_800_000)),
        ] {
            assert_eq!(text.parse(), Ok(start), "{text}");
        }
    }

    #[test]
    fn a_time_is_a_number_or_a_date_with_or_without_its_sign() {
        for text in ["1700000000000", "@1700000000000", "2023-11-14T22:13:20Z"] {
            assert_eq!(text.parse(), Ok(Time(1_700_000_000_000)), "{text}");
        }
        assert_eq!("-5".parse::<Time>(), Err(StartError::Timestamp));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in ["", "-", "soon", "--1", "+1", "1.5", "99999999999999999999"] {
            assert_eq!(text.parse::<Start>(), Err(StartError::Unknown), "{text}");
        }
        for text in [
            "@",
            "@-1",
            "@2023-13-01",
            "@2023-02-29",
            "@2023-1-1",
            "@2023-01-01T24:00",
        ] {
            assert_eq!(text.parse::<Start>(), Err(StartError::Timestamp), "{text}");
        }
    }

    #[test]
    fn every_place_lies_within_what_the_partition_holds() {
        let bounds = Bounds { start: 10, end: 20 };
        for (start, found, offset) in [
            (Start::Earliest, None, 10),
            (Start::Latest, None, 20),
            (Start::Offset(15), None, 15),
            (Start::Offset(3), None, 10),
            (Start::Offset(30), None, 20),
            (Start::Back(4), None, 16),
            (Start::Back(400), None, 10),
            (Start::At(5), Some(12), 12),
            (Start::At(5), Some(-1), 20),
        ] {
            assert_eq!(start.place(bounds, found), offset, "{start:?}");
        }
    }
}
