//! neurotriage-ingestion.
