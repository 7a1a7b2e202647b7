//! neurotriage-records.
