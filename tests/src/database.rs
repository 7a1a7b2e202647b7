//! A Postgres database for one flow.

use std::env;

use anyhow::Context as _;
use neurotriage_service_kit::database;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use secrecy::SecretString;
use uuid::Uuid;

/// A database of its own on the server of `TEST_DATABASE_URL`.
#[derive(Debug)]
pub struct FlowDatabase {
    server: DatabaseConnection,
    server_url: String,
    name: String,
}

impl FlowDatabase {
    /// Creates a database; `None` if `TEST_DATABASE_URL` is not set.
    ///
    /// # Errors
    /// If the server does not answer or refuses.
    pub async fn create() -> anyhow::Result<Option<Self>> {
        let Ok(server_url) = env::var("TEST_DATABASE_URL") else { return Ok(None) };
        let server = database::connect(&SecretString::from(server_url.clone()), 1)
            .await
            .context("connect to TEST_DATABASE_URL")?;
        let name = format!("neurotriage_flow_{}", Uuid::now_v7().simple());
        server.execute_unprepared(&format!("CREATE DATABASE {name}")).await?;
        Ok(Some(Self { server, server_url, name }))
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        let (base, query) = match self.server_url.split_once('?') {
            Some((base, query)) => (base, format!("?{query}")),
            None => (self.server_url.as_str(), String::new()),
        };
        // `postgres://user@host:port` and the same with a database behind it.
        let authority_at = base.find("://").map_or(0, |at| at + 3);
        let end = base[authority_at..].find('/').map_or(base.len(), |at| authority_at + at);
        format!("{}/{}{query}", &base[..end], self.name)
    }

    /// Removes the database.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn remove(self) -> anyhow::Result<()> {
        self.server
            .execute_unprepared(&format!("DROP DATABASE {} WITH (FORCE)", self.name))
            .await
            .context("remove the test's database")?;
        Ok(())
    }
}
