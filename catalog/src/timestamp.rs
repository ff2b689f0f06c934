//! Times in columns: milliseconds since 1970 as integers, which sort and compare alike in both databases.

use chrono::{DateTime, Utc};

pub(crate) fn to_column(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}

/// A column holds what [`to_column`] wrote, so it is in range; anything else reads as 1970.
pub(crate) fn from_column(milliseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(milliseconds).unwrap_or_default()
}
