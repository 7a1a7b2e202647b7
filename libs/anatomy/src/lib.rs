//! neurotriage-anatomy.
