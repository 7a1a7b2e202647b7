//! neurotriage-metrics.
