//! Which day it is.

use time::{Date, Duration, OffsetDateTime, UtcOffset};

/// How far the day of the easternmost zone is ahead of UTC.
pub const DAY_AHEAD_MAX: Duration = Duration::hours(14);

/// Returns the latest day that it is anywhere: a day after it is in the future for everybody.
pub fn latest_day(now: OffsetDateTime) -> Date {
    now.saturating_add(DAY_AHEAD_MAX).to_offset(UtcOffset::UTC).date()
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    #[test]
    fn it_is_tomorrow_somewhere_from_ten_in_utc() {
        // (now, the latest day that it is)
        let table = [
            (datetime!(2026-11-26 09:59:59 UTC), date!(2026 - 11 - 26)),
            (datetime!(2026-11-26 10:00 UTC), date!(2026 - 11 - 27)),
            (datetime!(2026-11-27 00:00 +14), date!(2026 - 11 - 27)),
            (datetime!(2026-11-27 23:59 UTC), date!(2026 - 11 - 28)),
        ];
        for (now, day) in table {
            assert_eq!(latest_day(now), day, "{now}");
        }
    }
}
