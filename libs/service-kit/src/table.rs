//! Tables that refer to no other by an entity.

/// Makes a public module with the entity of a table, of its name and its columns as sea-orm writes them.
#[macro_export]
macro_rules! table {
    ($(#[$doc:meta])* $module:ident, $name:literal, { $($column:tt)* }) => {
        $(#[$doc])*
        pub mod $module {
            #![expect(missing_docs, reason = "columns; documented in the migration")]

            use sea_orm::entity::prelude::*;

            #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
            #[sea_orm(table_name = $name)]
            pub struct Model { $($column)* }

            #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
            pub enum Relation {}

            impl ActiveModelBehavior for ActiveModel {}
        }
    };
}
