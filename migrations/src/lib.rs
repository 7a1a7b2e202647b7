//! neurotriage-migrations.
