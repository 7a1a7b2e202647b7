//! neurotriage-imaging.
