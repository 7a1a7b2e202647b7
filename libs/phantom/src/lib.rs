//! neurotriage-phantom.
