//! The records service alone, with a database and a file of keys, and what an operator does with them.

use std::{fs, path::PathBuf};

use neurotriage_migrations::records::Migrator;
use neurotriage_service_kit::audit::{audit_entry_row, audit_head_row};
use neurotriage_testkit::{TestDb, databases};
use neurotriage_tests::server::{Server, free_ports};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait as _, DatabaseConnection,
    EntityTrait as _, IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;
use uuid::Uuid;

use crate::{Ended, patients::Client, run};

/// Whose callers have no token.
pub(crate) const HOSPITAL: &str = "development";

/// A database and a file of keys; the service runs while somebody calls it.
pub(crate) struct Clinic {
    folder: TempDir,
    db: TestDb,
    port: u16,
}

impl Clinic {
    /// One for each kind of database, with keys that the command made.
    pub(crate) async fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for db in databases::<Migrator>().await.unwrap() {
            let port = free_ports(1).unwrap()[0];
            let clinic = Self { folder: tempfile::tempdir().unwrap(), db, port };
            clinic.new_keyring("records.keys");
            all.push(clinic);
        }
        all
    }

    pub(crate) async fn remove(self) {
        self.db.drop().await.unwrap();
    }

    /// Returns the path of a file beside the keys.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns where the keys are that service and operator read.
    pub(crate) fn keys(&self) -> PathBuf {
        self.file("records.keys")
    }

    /// Has the command make a file of keys; returns its text.
    pub(crate) fn new_keyring(&self, name: &str) -> String {
        let file = self.file(name);
        run(&["records", "new-keyring", file.to_str().unwrap()], &[]).well();
        fs::read_to_string(file).unwrap()
    }

    /// Returns the connection of who may do anything with the database.
    pub(crate) fn owned(&self) -> &DatabaseConnection {
        &self.db.db
    }

    /// Runs the service for as long as `calls` take.
    pub(crate) async fn serve<T>(&self, calls: impl AsyncFnOnce(&mut Client) -> T) -> T {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        let settings = [
            ("RECORDS_LISTEN", format!("127.0.0.1:{}", self.port)),
            ("RECORDS_DATABASE_URL", self.db.url.expose_secret().to_owned()),
            ("KEYRING_FILE", self.keys().display().to_string()),
        ];
        let server = Server::start("neurotriage-records", &endpoint, &settings).await.unwrap();
        let mut client = Client::connect(endpoint).await.unwrap();
        let answer = calls(&mut client).await;
        drop(client);
        server.terminate().await.unwrap();
        assert_eq!(server.exit_code().await.unwrap(), 0);
        answer
    }

    /// Runs `neurotriage records` on the database, as the service's role.
    pub(crate) fn operate(&self, arguments: &[&str]) -> Ended {
        let keys = self.keys();
        let settings = [
            ("DATABASE_URL", self.db.url.expose_secret()),
            ("KEYRING_FILE", keys.to_str().unwrap()),
        ];
        run(&[&["records"][..], arguments].concat(), &settings)
    }

    /// Returns how many entries the audit has.
    pub(crate) async fn entries(&self) -> u64 {
        audit_entry_row::Entity::find().count(self.owned()).await.unwrap()
    }
}

/// The chain of a patient as it stands.
#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) head: audit_head_row::Model,
    pub(crate) entries: Vec<audit_entry_row::Model>,
}

impl Chain {
    pub(crate) async fn of(clinic: &Clinic, patient_id: &str) -> Self {
        let (db, id) = (clinic.owned(), patient_id.parse::<Uuid>().unwrap());
        let of_patient =
            audit_entry_row::Entity::find().filter(audit_entry_row::Column::ResourceId.eq(id));
        let shard = of_patient.one(db).await.unwrap().unwrap().shard;
        let entries = audit_entry_row::Entity::find()
            .filter(audit_entry_row::Column::Shard.eq(shard))
            .order_by_asc(audit_entry_row::Column::Sequence);
        let head = audit_head_row::Entity::find_by_id((HOSPITAL.to_owned(), shard));
        let head = head.one(db).await.unwrap().unwrap();
        Self { head, entries: entries.all(db).await.unwrap() }
    }

    /// Returns how the command names it.
    pub(crate) fn name(&self) -> String {
        format!("{HOSPITAL} chain {}", self.head.shard)
    }

    /// Puts the database back to this state of the chain.
    pub(crate) async fn put_back(&self, clinic: &Clinic) {
        let (db, shard) = (clinic.owned(), self.head.shard);
        let entries =
            audit_entry_row::Entity::delete_many().filter(audit_entry_row::Column::Shard.eq(shard));
        entries.exec(db).await.unwrap();
        let head =
            audit_head_row::Entity::delete_many().filter(audit_head_row::Column::Shard.eq(shard));
        head.exec(db).await.unwrap();
        let rows = self.entries.iter().cloned().map(|row| row.into_active_model());
        let rows = audit_entry_row::Entity::insert_many(rows);
        rows.exec_without_returning(db).await.unwrap();
        self.head.clone().into_active_model().insert(db).await.unwrap();
    }

    /// Changes one row of it by a statement, in which `{c}` stands for the chain.
    pub(crate) async fn tamper(&self, clinic: &Clinic, statement: &str) {
        let chain = format!("hospital_id = '{HOSPITAL}' AND shard = {}", self.head.shard);
        let statement = statement.replace("{c}", &chain);
        let changed = clinic.owned().execute_unprepared(&statement).await.unwrap();
        assert_eq!(changed.rows_affected(), 1, "{statement}");
    }
}
