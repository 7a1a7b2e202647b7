//! Days and times as FHIR writes them.

use neurotriage_domain::DAY_AHEAD_MAX;
use time::{
    Date, Duration, OffsetDateTime, Time, UtcOffset,
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros::format_description,
};

const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

/// How far another clock may be ahead, as in the records.
const CLOCK_AHEAD_MAX: Duration = Duration::minutes(5);

/// Returns the latest time that a good clock may show.
pub(crate) fn latest_time(now: OffsetDateTime) -> OffsetDateTime {
    now.saturating_add(CLOCK_AHEAD_MAX)
}

/// Returns the first moment of a day: of UTC, or where the day begins first if it has not begun in UTC yet.
pub(crate) fn first_moment(day: Date, now: OffsetDateTime) -> OffsetDateTime {
    let at = day.with_time(Time::MIDNIGHT).assume_utc();
    if at > now { at.saturating_sub(DAY_AHEAD_MAX) } else { at }
}

/// Returns whether both are one time, or the first moment of one day as it was read before and after the day began in
/// UTC.
pub fn is_same_time(kept: OffsetDateTime, sent: OffsetDateTime) -> bool {
    let is_day = sent.to_offset(UtcOffset::UTC).time() == Time::MIDNIGHT;
    kept == sent || is_day && kept == sent.saturating_sub(DAY_AHEAD_MAX)
}

/// Returns the first day of a year, or of a year and month; `None` for anything else.
pub(crate) fn first_day(text: &str) -> Option<Date> {
    if !is_partial(text) {
        return None;
    }
    let month = if text.len() == 4 { "-01" } else { "" };
    read_day(&format!("{text}{month}-01"))
}

/// Returns a day as `YYYY-MM-DD`.
pub(crate) fn day(date: Date) -> String {
    date.format(DAY).unwrap_or_default()
}

/// Returns a time of UTC, to the microsecond.
pub(crate) fn instant(at: OffsetDateTime) -> String {
    whole_us(at.to_offset(UtcOffset::UTC)).format(&Rfc3339).unwrap_or_default()
}

/// Returns the day of a text `YYYY-MM-DD`; `None` for anything else.
pub(crate) fn read_day(text: &str) -> Option<Date> {
    // The format takes a sign and more digits too.
    if text.len() != 10 || text.starts_with(['+', '-']) {
        return None;
    }
    Date::parse(text, DAY).ok()
}

/// Returns whether a text is a year, or a year and a month: a legal date of FHIR, and no day.
pub(crate) fn is_partial(text: &str) -> bool {
    let digits = |text: &str, count: usize| {
        text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    match text.split_once('-') {
        None => digits(text, 4),
        Some((year, month)) => {
            digits(year, 4) && digits(month, 2) && ("01"..="12").contains(&month)
        }
    }
}

/// Returns whether a date or time, however much of it is told, was over before `today`.
pub(crate) fn is_past(text: &str, today: Date) -> bool {
    let today = day(today);
    let told = text.len().min(today.len());
    matches!((text.get(..told), today.get(..told)), (Some(end), Some(today)) if told >= 4 && end < today)
}

/// Returns the time of a `dateTime` that names seconds and a zone, to the microsecond: what is finer is not kept, and the
/// same time sent again would be another.
pub(crate) fn read_time(text: &str) -> Option<OffsetDateTime> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    (text.as_bytes().get(10) == Some(&b'T')).then(|| whole_us(at.to_offset(UtcOffset::UTC)))
}

fn whole_us(at: OffsetDateTime) -> OffsetDateTime {
    at.replace_nanosecond(at.nanosecond() / 1_000 * 1_000).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    #[test]
    fn days_and_times_come_back() {
        assert_eq!(read_day(&day(date!(1990 - 02 - 28))), Some(date!(1990 - 02 - 28)));
        let at = datetime!(2026-11-26 15:04:05.123456 +9);
        assert_eq!(instant(at), "2026-11-26T06:04:05.123456Z");
        assert_eq!(read_time(&instant(at)), Some(at));
    }

    #[test]
    fn a_time_is_read_to_the_microsecond() {
        let at = datetime!(2026-11-26 06:04:05.123456 UTC);
        assert_eq!(read_time("2026-11-26T15:04:05.1234567+09:00"), Some(at));
        assert_eq!(read_time("2026-11-26T06:04:05.123456999Z"), Some(at));
    }

    #[test]
    fn a_year_or_month_is_a_date_and_no_day() {
        for text in ["1960", "1960-05", "1960-12"] {
            assert!(is_partial(text) && read_day(text).is_none(), "{text}");
        }
        for text in ["", "60", "1960-13", "1960-00", "1960-5", "1960-05-01", "1960-05-", "+960"] {
            assert!(!is_partial(text), "{text}");
        }
    }

    #[test]
    fn a_day_that_has_begun_in_the_east_has_begun() {
        let now = datetime!(2026-11-26 10:00 UTC);
        let tomorrow = first_moment(date!(2026 - 11 - 27), now);
        assert_eq!(tomorrow, datetime!(2026-11-26 10:00 UTC));
        assert_eq!(first_moment(date!(2026 - 11 - 26), now), datetime!(2026-11-26 0:00 UTC));
        let later = first_moment(date!(2026 - 11 - 27), now + Duration::DAY);
        assert!(is_same_time(tomorrow, later) && is_same_time(later, later));
        assert!(!is_same_time(later, tomorrow) && !is_same_time(later, later + Duration::HOUR));
        assert_eq!(first_day("2026"), Some(date!(2026 - 01 - 01)));
        assert_eq!(first_day("2026-05"), Some(date!(2026 - 05 - 01)));
        assert_eq!(first_day("2026-05-02"), None);
    }

    #[test]
    fn what_is_over_is_told_from_as_much_as_is_written() {
        let today = date!(2026 - 11 - 26);
        for text in ["2025", "2026-10", "2026-11-25", "2026-11-25T23:59:59Z"] {
            assert!(is_past(text, today), "{text}");
        }
        for text in ["", "x", "2026", "2026-11", "2026-11-26", "2026-11-26T00:00:00Z", "2027"] {
            assert!(!is_past(text, today), "{text}");
        }
    }

    #[test]
    fn zones_and_fractions_of_any_kind_are_read() {
        let at = datetime!(2026-11-26 06:04:05.5 UTC);
        for text in [
            "2026-11-26T06:04:05.5Z",
            "2026-11-26T15:04:05.500000+09:00",
            "2026-11-25T20:34:05.5-09:30",
            "2026-11-26T20:04:05.500+14:00",
        ] {
            assert_eq!(read_time(text), Some(at), "{text}");
        }
    }

    #[test]
    fn what_is_no_day_or_no_time_is_refused() {
        for text in ["", "1990", "1990-02", "1990-02-30", "19900228", "1990-2-3", "+1990-02-2"] {
            assert_eq!(read_day(text), None, "{text}");
        }
        for text in [
            "2026",
            "2026-11",
            "2026-11-26",
            "2026-11-26T15:04",
            "2026-11-26 15:04:05Z",
            "2026-11-26T15:04:05",
        ] {
            assert_eq!(read_time(text), None, "{text}");
        }
    }
}
