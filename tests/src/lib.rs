//! neurotriage-tests.
