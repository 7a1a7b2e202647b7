//! neurotriage-proto.
