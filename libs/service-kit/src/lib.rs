//! neurotriage-service-kit.
