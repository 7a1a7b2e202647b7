//! What the directory of hospitals holds beyond its first columns, and the count of its writes.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, big_integer_null, json},
};

/// Adds what other registers call a hospital, its languages and its free beds, and table
/// `hospital_directory`.
pub(super) struct WidenHospital;

impl MigrationName for WidenHospital {
    fn name(&self) -> &str {
        "m20261126_000001_widen_hospital"
    }
}

/// SQLite adds one column in a statement.
fn added() -> [ColumnDef; 3] {
    [
        // List of `{system, value}`.
        json("identifiers").default("[]").take(),
        // List of BCP 47 tags.
        json("languages").default("[]").take(),
        // Null if it was not told.
        big_integer_null("beds_free").check(Expr::col("beds_free").gte(0)).take(),
    ]
}

#[async_trait::async_trait]
impl MigrationTrait for WidenHospital {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in added() {
            let alter = Table::alter().table("hospital").add_column(column).to_owned();
            manager.alter_table(alter).await?;
        }
        manager
            .create_table(
                Table::create()
                    .table("hospital_directory")
                    .col(big_integer("directory_id"))
                    // Counts writes of table `hospital`.
                    .col(big_integer("revision"))
                    .primary_key(Index::create().name("pk_hospital_directory").col("directory_id"))
                    .check(("ck_hospital_directory_one_row", Expr::col("directory_id").eq(1)))
                    .check(("ck_hospital_directory_revision", Expr::col("revision").gte(0)))
                    .to_owned(),
            )
            .await?;
        let row = Query::insert()
            .into_table("hospital_directory")
            .columns(["directory_id", "revision"])
            .values_panic([1_i64.into(), 0_i64.into()])
            .to_owned();
        manager.execute(row).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("hospital_directory").to_owned()).await?;
        for name in ["beds_free", "languages", "identifiers"] {
            let alter = Table::alter().table("hospital").drop_column(name).to_owned();
            manager.alter_table(alter).await?;
        }
        Ok(())
    }
}
