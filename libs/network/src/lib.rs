//! neurotriage-network.
