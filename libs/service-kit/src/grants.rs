//! What the role of a service may do in a PostgreSQL database whose tables another role owns.
//!
//! An owner can turn row-level security off, drop policies and rewrite the audit: a service that is taken over must not
//! be one. Its role reads and writes rows; of the audit it adds entries and moves heads, and nothing else.

use std::{fmt, str::FromStr};

use sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DbBackend, DbErr, Statement, TransactionOptions,
};

use crate::database;

/// Longest name of a role, in bytes; PostgreSQL cuts longer ones off.
const ROLE_BYTES_MAX: usize = 63;

/// Whether the role `r` owns the tables, their schema or their database, is a member of who does, or can make itself one.
/// The owner of a schema drops what is in it, and the owner of a database owns its schema `public` since PostgreSQL 15.
pub(crate) const MAY_OWN: &str = "(r.rolcreaterole OR EXISTS \
     (SELECT FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' \
     AND pg_has_role(r.oid, c.relowner, 'MEMBER')) OR EXISTS \
     (SELECT FROM pg_namespace n WHERE n.oid = current_schema()::regnamespace \
     AND pg_has_role(r.oid, n.nspowner, 'MEMBER')) OR EXISTS \
     (SELECT FROM pg_database d WHERE d.datname = current_database() AND pg_has_role(r.oid, d.datdba, 'MEMBER')))";

/// Name of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role(String);

impl Role {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let right = (1..=ROLE_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control);
        if right { Ok(Self(text.to_owned())) } else { Err(RoleError) }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A text is no name of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a role has 1 to {ROLE_BYTES_MAX} bytes and no control characters")]
pub struct RoleError;

/// Why a role was given nothing.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// SQLite has no roles.
    #[error("only PostgreSQL has roles")]
    NoRoles,
    /// There is no such role.
    #[error("there is no role {role}; create it first")]
    Missing {
        /// The role.
        role: Role,
    },
    /// What is granted would not limit the role.
    #[error(
        "role {role} is the owner of the tables, their schema or the database, a member of it, a superuser, or has \
         BYPASSRLS or CREATEROLE; give the service another"
    )]
    Unlimited {
        /// The role.
        role: Role,
    },
    /// The database does not answer, or refuses.
    #[error("grant what a service needs")]
    Database(#[from] DbErr),
}

/// Returns what a service needs of a table.
fn privileges(table: &str) -> &'static str {
    match table {
        "audit_entry" | "audit_hospital" => "SELECT, INSERT",
        "audit_head" => "SELECT, INSERT, UPDATE (sequence, hash, mac)",
        // What is applied: written by migrations only. Each service's table has a name of its own.
        _ if table.ends_with("_migrations") => "SELECT",
        _ => "SELECT, INSERT, UPDATE, DELETE",
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Gives `role` what a service needs of the tables that are there, and takes what else it had of them. `db` is connected
/// as their owner. Again it changes nothing; tables that a later migration makes need it again.
///
/// # Errors
/// [`GrantError`], each variant. Then nothing was changed.
pub async fn grant(db: &DatabaseConnection, role: &Role) -> Result<(), GrantError> {
    if db.get_database_backend() != DbBackend::Postgres {
        return Err(GrantError::NoRoles);
    }
    let transaction = database::begin(db, TransactionOptions::default()).await?;
    let unlimited = format!(
        "SELECT r.rolsuper OR r.rolbypassrls OR pg_has_role(r.oid, current_user, 'MEMBER') OR {MAY_OWN} \
         FROM pg_roles r WHERE r.rolname = $1"
    );
    let values = [role.as_str().into()];
    let asked = Statement::from_sql_and_values(DbBackend::Postgres, unlimited, values);
    let row = transaction.query_one_raw(asked).await?;
    let row = row.ok_or_else(|| GrantError::Missing { role: role.clone() })?;
    if row.try_get_by_index::<bool>(0)? {
        return Err(GrantError::Unlimited { role: role.clone() });
    }
    let tables = "SELECT current_schema()::text, relname::text FROM pg_class \
         WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' ORDER BY relname";
    let asked = Statement::from_string(DbBackend::Postgres, tables);
    let to = quoted(role.as_str());
    let mut schema = None;
    for row in transaction.query_all_raw(asked).await? {
        let table: String = row.try_get_by_index(1)?;
        let place = quoted(&row.try_get_by_index::<String>(0)?);
        let on = format!("{place}.{}", quoted(&table));
        let sql = format!(
            "REVOKE ALL ON TABLE {on} FROM {to}; GRANT {} ON TABLE {on} TO {to}",
            privileges(&table)
        );
        transaction.execute_unprepared(&sql).await?;
        schema = Some(place);
    }
    if let Some(schema) = schema {
        // Who may create there could put its own function in the way of what the owner runs.
        let sql = format!(
            "REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC, {to}; GRANT USAGE ON SCHEMA {schema} TO {to}; \
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {to}"
        );
        transaction.execute_unprepared(&sql).await?;
    }
    Ok(transaction.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_named_as_the_database_names_it() {
        for right in ["records", "records-service", "Records \"x\"", &"r".repeat(63)] {
            assert_eq!(right.parse::<Role>().unwrap().as_str(), right);
        }
        for wrong in ["", "a\0b", "a\nb", &"r".repeat(64)] {
            assert_eq!(wrong.parse::<Role>(), Err(RoleError), "{wrong:?}");
        }
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
