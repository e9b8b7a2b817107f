//! Times as ISO 8601 has them, to and from milliseconds since 1970. UTC, and any offset on input.

use esker_types::{Date, Timestamp};

const DAY: i64 = 86_400;

/// As text, with milliseconds.
pub(crate) fn to_text(timestamp: Timestamp) -> String {
    let millis = timestamp.millis();
    let seconds = millis.div_euclid(1000);
    let date = Date::of_days(seconds.div_euclid(DAY));
    let second = seconds.rem_euclid(DAY);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        date.year(),
        date.month(),
        date.day(),
        second / 3600,
        second / 60 % 60,
        second % 60,
        millis.rem_euclid(1000)
    )
}

fn number(text: &str, least: i64, most: i64) -> Option<i64> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = text.parse().ok().filter(|_| is_digits)?;
    (least..=most).contains(&number).then_some(number)
}

/// Seconds east of Greenwich, and the text in front.
fn offset(text: &str) -> Option<(i64, &str)> {
    if let Some(rest) = text.strip_suffix(['Z', 'z']) {
        return Some((0, rest));
    }
    let place = text.rfind(['+', '-'])?;
    let (rest, given) = text.split_at_checked(place)?;
    let (sign, digits) = given.split_at_checked(1)?;
    let (hours, minutes) = digits.split_once(':')?;
    let seconds = number(hours, 0, 18)? * 3600 + number(minutes, 0, 59)? * 60;
    Some((if sign == "-" { -seconds } else { seconds }, rest))
}

/// The time that `text` names, such as `2021-02-05T19:14:42.5Z`; `None` when it names none at or
/// after 1970.
pub(crate) fn from_text(text: &str) -> Option<Timestamp> {
    let (offset, text) = offset(text)?;
    let (date, time) = text.split_once(['T', 't'])?;
    let mut date = date.split('-');
    let (year, month, day) = (date.next()?, date.next()?, date.next()?);
    let (year, month) = (number(year, 0, 9999)?, number(month, 1, 12)?);
    let day = number(day, 1, 31).filter(|_| date.next().is_none())?;
    let days = Date::new(year, month, day)?.days();
    let mut time = time.split(':');
    let (hour, minute, second) = (time.next()?, time.next()?, time.next().unwrap_or("0"));
    let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
    let (hour, minute) = (number(hour, 0, 23)?, number(minute, 0, 59)?);
    let second = number(second, 0, 59).filter(|_| time.next().is_none())?;
    number(fraction, 0, i64::MAX)?;
    let millis = number(format!("{fraction:0<3}").get(..3)?, 0, 999)?;
    let seconds = days * DAY + hour * 3600 + minute * 60 + second - offset;
    let millis = seconds * 1000 + millis;
    (millis >= 0).then(|| Timestamp::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_the_same() {
        for millis in [0, 1, 951_782_400_000, 1_612_552_482_007, 4_102_444_799_999] {
            let text = to_text(Timestamp::from_millis(millis));
            assert_eq!(
                from_text(&text),
                Some(Timestamp::from_millis(millis)),
                "{text}"
            );
        }
        assert_eq!(
            to_text(Timestamp::from_millis(951_782_400_000)),
            "2000-02-29T00:00:00.000Z"
        );
    }

    #[test]
    fn offsets_and_fractions_are_understood_and_what_is_no_time_is_not() {
        let at = |millis| Some(Timestamp::from_millis(millis));
        assert_eq!(from_text("2021-02-05T19:14:42Z"), at(1_612_552_482_000));
        assert_eq!(
            from_text("2021-02-05T20:14:42.0071234+01:00"),
            at(1_612_552_482_007)
        );
        assert_eq!(from_text("2021-02-05T14:14-05:00"), at(1_612_552_440_000));
        for wrong in [
            "",
            "Z",
            "2021-02-05",
            "2021-02-29T00:00:00Z",
            "2021-13-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2021-02-05T24:00:00Z",
            "2021-02-05T19:14:42",
            "2021-02-05T19:14:42.xZ",
            "+1-02-05T19:14:42Z",
        ] {
            assert_eq!(from_text(wrong), None, "{wrong}");
        }
    }
}
