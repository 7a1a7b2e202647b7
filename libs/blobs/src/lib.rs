//! neurotriage-blobs.
