//! Schema of the referral database.

use sea_orm_migration::prelude::*;

/// Applies every step in order.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        Vec::new()
    }

    fn migration_table_name() -> DynIden {
        "referral_migrations".into_iden()
    }
}
