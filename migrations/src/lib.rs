//! Schema of every database of the suite, one `Migrator` per service.
