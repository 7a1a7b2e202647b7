//! neurotriage.
