//! neurotriage-testkit.
