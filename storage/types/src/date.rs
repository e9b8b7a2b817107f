//! Dates of the Gregorian calendar, to and from days since 1970.
//!
//! Source: Howard Hinnant, "chrono-compatible low-level date algorithms": years begin in March, so
//! that leap days come last.

/// Days in 400 years, after which the calendar repeats itself.
const ERA_DAYS: i64 = 146_097;
/// From the 1st of March of the year 0 to 1970.
const DAYS_BEFORE_1970: i64 = 719_468;
/// The last year that is written with four digits.
const YEAR_MAX: i64 = 9999;

/// A date that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    year: i64,
    month: i64,
    day: i64,
}

impl Date {
    /// The date; `None` when there is none, or when its year is none of 0 to 9999.
    #[must_use]
    pub fn new(year: i64, month: i64, day: i64) -> Option<Self> {
        let may_exist =
            (0..=YEAR_MAX).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        let date = Self { year, month, day };
        (may_exist && Self::of_days(date.days()) == date).then_some(date)
    }

    /// The date so many days after 1970-01-01, or before it.
    #[must_use]
    pub fn of_days(days: i64) -> Self {
        let days = days.saturating_add(DAYS_BEFORE_1970);
        let era = days.div_euclid(ERA_DAYS);
        let day_of_era = days.rem_euclid(ERA_DAYS);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = (month_from_march + 2) % 12 + 1;
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
        }
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub fn days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((self.month + 9) % 12) + 2) / 5 + self.day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        year.div_euclid(400) * ERA_DAYS + day_of_era - DAYS_BEFORE_1970
    }

    /// Year.
    #[must_use]
    pub fn year(self) -> i64 {
        self.year
    }

    /// Month, 1 to 12.
    #[must_use]
    pub fn month(self) -> i64 {
        self.month
    }

    /// Day of the month, 1 to 31.
    #[must_use]
    pub fn day(self) -> i64 {
        self.day
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates_are_so_many_days_from_1970() {
        for ((year, month, day), days) in [
            ((1970, 1, 1), 0),
            ((1969, 12, 31), -1),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((2026, 12, 31), 20_818),
            ((0, 3, 1), -719_468),
            ((9999, 12, 31), 2_932_896),
        ] {
            let date = Date::new(year, month, day).unwrap();

            assert_eq!(date.days(), days, "{date:?}");
            assert_eq!(Date::of_days(days), date);
            assert_eq!((date.year(), date.month(), date.day()), (year, month, day));
        }
    }

    #[test]
    fn every_day_of_an_era_comes_back_the_same_and_follows_the_one_before() {
        let mut before = Date::of_days(-1);
        for days in 0..ERA_DAYS {
            let date = Date::of_days(days);
            let is_next_month = date.day == 1 && before.day >= 28;

            assert_eq!(date.days(), days);
            assert!(date.day == before.day + 1 || is_next_month, "{date:?}");
            before = date;
        }
    }

    #[test]
    fn dates_that_do_not_exist_are_none() {
        for (year, month, day) in [
            (2021, 2, 29),
            (1900, 2, 29),
            (2021, 4, 31),
            (2021, 13, 1),
            (2021, 0, 1),
            (2021, 1, 0),
            (2021, 1, 32),
            (10_000, 1, 1),
            (-1, 1, 1),
        ] {
            assert_eq!(Date::new(year, month, day), None, "{year}-{month}-{day}");
        }
        assert!(Date::of_days(i64::MAX).year() > YEAR_MAX);
    }
}
