//! Days and times as FHIR writes them.

use time::{
    Date, OffsetDateTime, Time, UtcOffset,
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros::format_description,
};

const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

/// Returns a day as `YYYY-MM-DD`.
pub(crate) fn day(date: Date) -> String {
    date.format(DAY).unwrap_or_default()
}

/// Returns a time of UTC, to the microsecond.
pub(crate) fn instant(at: OffsetDateTime) -> String {
    let at = at.to_offset(UtcOffset::UTC);
    let whole_us = at.replace_nanosecond(at.nanosecond() / 1_000 * 1_000).unwrap_or(at);
    whole_us.format(&Rfc3339).unwrap_or_default()
}

/// Returns the day of a text `YYYY-MM-DD`; `None` for anything else.
pub(crate) fn read_day(text: &str) -> Option<Date> {
    // The format takes a sign and more digits too.
    if text.len() != 10 || text.starts_with(['+', '-']) {
        return None;
    }
    Date::parse(text, DAY).ok()
}

/// Returns the time of a `dateTime` that names at least a day: a day is its first moment of UTC.
pub(crate) fn read_time(text: &str) -> Option<OffsetDateTime> {
    if let Some(date) = read_day(text) {
        return Some(date.with_time(Time::MIDNIGHT).assume_utc());
    }
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    (text.as_bytes().get(10) == Some(&b'T')).then(|| at.to_offset(UtcOffset::UTC))
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
        assert_eq!(read_time("2026-11-26"), Some(datetime!(2026-11-26 0:00 UTC)));
    }

    #[test]
    fn what_is_no_day_or_no_time_is_refused() {
        for text in ["", "1990", "1990-02", "1990-02-30", "19900228", "1990-2-3", "+1990-02-2"] {
            assert_eq!(read_day(text), None, "{text}");
        }
        for text in
            ["2026", "2026-11", "2026-11-26T15:04", "2026-11-26 15:04:05Z", "2026-11-26T15:04:05"]
        {
            assert_eq!(read_time(text), None, "{text}");
        }
    }
}
