//! Constraints that steps made without a name, so that the database chose one.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// Gives a constraint the name that it would have by the rule of the others: its kind, the table, the columns.
pub(super) struct NameConstraint {
    /// Name of the step.
    pub(super) step: &'static str,
    pub(super) table: &'static str,
    /// What PostgreSQL called it.
    pub(super) chosen: &'static str,
    pub(super) given: &'static str,
}

impl NameConstraint {
    async fn rename(&self, manager: &SchemaManager<'_>, from: &str, to: &str) -> Result<(), DbErr> {
        // SQLite can't rename a constraint: the table would be written anew, for a name that nothing asks for there.
        if manager.get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        let rename = format!("ALTER TABLE {} RENAME CONSTRAINT {from} TO {to}", self.table);
        manager.get_connection().execute_unprepared(&rename).await.map(|_| ())
    }
}

impl MigrationName for NameConstraint {
    fn name(&self) -> &str {
        self.step
    }
}

#[async_trait::async_trait]
impl MigrationTrait for NameConstraint {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        self.rename(manager, self.chosen, self.given).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        self.rename(manager, self.given, self.chosen).await
    }
}
