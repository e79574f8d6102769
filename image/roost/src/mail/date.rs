//! When a message arrived: IMAP's date-time, the `From ` line of an mbox file, seconds since 1970.

use std::fmt::Write as _;

/// Months as mail has them (RFC 5322, section 3.3; RFC 3501, section 9).
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// 1970-01-01 was a Thursday.
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const DAY: i64 = 86_400;
/// The furthest that a zone of the world is from UTC, in minutes, and some room for odd clocks.
const MAX_OFFSET: i32 = 24 * 60;

/// A moment, and the zone in which it was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// Since 1970-01-01 00:00:00 UTC; negative before that.
    pub seconds: i64,
    /// Minutes east of UTC.
    pub offset: i32,
}

impl Date {
    /// In UTC.
    pub fn utc(seconds: i64) -> Self {
        Self { seconds, offset: 0 }
    }

    /// Reads IMAP's date-time, e.g. `17-Jul-1996 02:44:25 -0700`.
    pub fn from_imap(text: &str) -> Option<Self> {
        let mut parts = text.split_ascii_whitespace();
        let (date, time, zone) = (
            parts.next()?,
            parts.next()?,
            parts.next().unwrap_or("+0000"),
        );
        if parts.next().is_some() {
            return None;
        }
        let mut date = date.split('-');
        let (day, month, year) = (date.next()?, date.next()?, date.next()?);
        if date.next().is_some() {
            return None;
        }
        let seconds = civil(number(year)?, month_of(month)?, number(day)?)? + clock(time)?;
        let offset = offset(zone)?;
        Some(Self {
            seconds: seconds - i64::from(offset) * 60,
            offset,
        })
    }

    /// As IMAP's date-time; `None` if the year has not four digits.
    pub fn to_imap(self) -> Option<String> {
        let (year, month, day, second) = self.civil()?;
        let (hour, minute) = (second / 3600, second / 60 % 60);
        let (sign, offset) = if self.offset < 0 {
            ('-', -self.offset)
        } else {
            ('+', self.offset)
        };
        Some(format!(
            "{day:>2}-{}-{year:04} {hour:02}:{minute:02}:{:02} {sign}{:02}{:02}",
            MONTHS[month],
            second % 60,
            offset / 60,
            offset % 60,
        ))
    }

    /// What stands at the end of a line that begins a message in an mbox file, in UTC:
    /// `Thu Jan  1 00:00:00 1970`. `None` if the year has not four digits.
    pub fn to_mbox(self) -> Option<String> {
        let (year, month, day, second) = Self::utc(self.seconds).civil()?;
        let weekday = DAYS[usize::try_from(self.seconds.div_euclid(DAY).rem_euclid(7)).ok()?];
        let mut text = String::new();
        let (hour, minute) = (second / 3600, second / 60 % 60);
        let _ = write!(
            text,
            "{weekday} {} {day:>2} {hour:02}:{minute:02}:{:02} {year:04}",
            MONTHS[month],
            second % 60,
        );
        Some(text)
    }

    /// Finds the date in the rest of a line that begins with `From `. Programs write it in many ways:
    /// with and without seconds and zone, with a sender before it and words behind it.
    pub fn from_mbox(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        // The month stands before the day and the time; a sender may be called May.
        (0..words.len()).find_map(|at| after_month(words.get(at..)?))
    }

    /// Whether such a line is written to the letter of ctime(3): a sender, `Thu Jan  1 00:00:00 1970`, no more.
    pub fn is_ctime(line: &str) -> bool {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, weekday, rest @ ..] = words.as_slice() else {
            return false;
        };
        rest.len() == 4
            && rest[2].len() == 8
            && DAYS.iter().any(|day| day.eq_ignore_ascii_case(weekday))
            && after_month(rest).is_some()
    }

    /// Year, month from 0, day from 1, second of the day; in its own zone.
    fn civil(self) -> Option<(i64, usize, i64, i64)> {
        let local = self.seconds.checked_add(i64::from(self.offset) * 60)?;
        let (days, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        // Howard Hinnant, "chrono-compatible low-level date algorithms": eras of 400 years from March on.
        let shifted = days.checked_add(719_468)?;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = (from_march + 2) % 12;
        let year = era * 400 + year_of_era + i64::from(month < 2);
        let month = usize::try_from(month).ok()?;
        (1000..=9999)
            .contains(&year)
            .then_some((year, month, day, second))
    }
}

/// `Jul 17 02:44:25 1996`, with what may stand between time and year.
fn after_month(words: &[&str]) -> Option<Date> {
    let [month, day, time, rest @ ..] = words else {
        return None;
    };
    let (month, day, time) = (month_of(month)?, number(day)?, clock(time)?);
    let mut year = None;
    let mut zone = 0;
    for word in rest.iter().take(3) {
        if word.len() == 4 && year.is_none() && word.bytes().all(|b| b.is_ascii_digit()) {
            year = number(word);
        } else if let Some(found) = offset(word) {
            zone = found;
        }
    }
    let seconds = civil(year?, month, day)? + time;
    Some(Date {
        seconds: seconds - i64::from(zone) * 60,
        offset: zone,
    })
}

fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

fn month_of(text: &str) -> Option<i64> {
    let at = MONTHS.iter().position(|m| m.eq_ignore_ascii_case(text))?;
    i64::try_from(at).ok()
}

/// Seconds of the day of `hh:mm` or `hh:mm:ss`.
fn clock(text: &str) -> Option<i64> {
    let parts: Vec<&str> = text.split(':').collect();
    let (hour, minute, second) = match parts.as_slice() {
        [hour, minute] => (number(hour)?, number(minute)?, 0),
        [hour, minute, second] => (number(hour)?, number(minute)?, number(second)?),
        _ => return None,
    };
    // A leap second is 60.
    (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
}

/// Minutes east of UTC of `+0100`.
fn offset(text: &str) -> Option<i32> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, text.get(1..)?),
        b'-' => (-1, text.get(1..)?),
        _ => return None,
    };
    if digits.len() != 4 {
        return None;
    }
    let number = i32::try_from(number(digits)?).ok()?;
    let minutes = number / 100 * 60 + number % 100;
    (minutes <= MAX_OFFSET).then_some(sign * minutes)
}

/// Seconds since 1970 of a day; the month counts from 0.
fn civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=31).contains(&day) {
        return None;
    }
    let year = if month < 2 { year - 1 } else { year };
    let from_march = (month + 10) % 12;
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * DAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_of_imap_are_read_and_written() {
        for (text, seconds) in [
            ("17-Jul-1996 02:44:25 -0700", 837_596_665),
            (" 1-Jan-1970 00:00:00 +0000", 0),
            ("31-Dec-1969 23:59:59 +0000", -1),
            ("29-Feb-2000 12:00:00 +0545", 951_804_900),
            ("19-Jan-2038 03:14:08 +0000", 1 << 31),
            ("31-Dec-9999 23:59:59 +0000", 253_402_300_799),
        ] {
            let date = Date::from_imap(text).unwrap();
            assert_eq!(date.seconds, seconds, "{text}");
            assert_eq!(date.to_imap().unwrap(), text);
        }
        for bad in [
            "",
            "17-Jul-1996",
            "17-Juli-1996 02:44:25 -0700",
            "0-Jan-1970 00:00:00 +0000",
            "1-Jan-1970 25:00:00 +0000",
        ] {
            assert_eq!(Date::from_imap(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_in_mbox_files_are_found_however_they_are_written() {
        for line in [
            "alice@example.org Wed Jul 17 09:44:25 1996",
            "- Wed Jul 17 09:44:25 1996",
            "May Wed Jul 17 09:44:25 1996",
            "MAILER-DAEMON Wed Jul 17 02:44:25 -0700 1996",
            "MAILER-DAEMON Wed Jul 17 09:44:25 UTC 1996 remote from there",
            "alice@example.org Wed Jul 17 02:44:25 1996 -0700",
        ] {
            assert_eq!(
                Date::from_mbox(line).map(|d| d.seconds),
                Some(837_596_665),
                "{line}"
            );
        }
        assert_eq!(
            Date::utc(837_596_665).to_mbox().unwrap(),
            "Wed Jul 17 09:44:25 1996"
        );
        for bad in [
            "here to eternity",
            "May 17 the world",
            "Jul 17 02:44:25 soon",
            "",
        ] {
            assert_eq!(Date::from_mbox(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(seconds in -30_000_000_000i64..250_000_000_000, offset in -1439i32..1440) {
            let date = Date { seconds, offset };
            let imap = date.to_imap().unwrap();
            prop_assert_eq!(Date::from_imap(&imap), Some(date), "{}", imap);
            let mbox = date.to_mbox().unwrap();
            prop_assert_eq!(Date::from_mbox(&mbox), Some(Date::utc(seconds)), "{}", mbox);
        }

        #[test]
        fn no_text_and_no_number_panics(text in "\\PC{0,60}", seconds: i64, offset in -5000i32..5000) {
            let _ = (Date::from_imap(&text), Date::from_mbox(&text));
            let date = Date { seconds, offset };
            let _ = (date.to_imap(), date.to_mbox());
        }
    }
}
