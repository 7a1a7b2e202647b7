//! The services that a story needs, each with keys that the command made, and `neurotriage fhir` beside them.

use std::path::{Path, PathBuf};

use neurotriage_tests::{
    deployment::Ground,
    server::Server,
    stored::{files_under, rows},
};

use crate::{Ended, patients::Client, run};

/// What a story needs where nothing was segmented: no network is loaded.
const SERVICES: [&str; 3] = ["ingestion", "records", "referral"];

/// Running services with empty databases, and their files.
pub(crate) struct Suite {
    ground: Ground,
    servers: Vec<Server>,
}

impl Suite {
    pub(crate) async fn start() -> Self {
        let mut ground = Ground::new(Vec::new()).await.unwrap();
        ground.use_key_files();
        for service in SERVICES {
            let file = ground.key_file(service);
            run(&[service, "new-keyring", file.to_str().unwrap()], &[]).well();
        }
        let servers = ground.start_some(&SERVICES).await.unwrap();
        Self { ground, servers }
    }

    /// Returns the path of a file beside the databases.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.ground.folder().join(name)
    }

    pub(crate) async fn records(&self) -> Client {
        Client::connect(self.ground.endpoint("records").unwrap().to_owned()).await.unwrap()
    }

    /// Returns where the service answers that speaks FHIR.
    pub(crate) fn referral(&self) -> &str {
        self.ground.endpoint("referral").unwrap()
    }

    /// Ends the service of that name.
    pub(crate) async fn end(&mut self, service: &str) {
        let at = SERVICES.iter().position(|name| *name == service).unwrap();
        self.servers.remove(at).kill().await.unwrap();
    }

    /// Returns how many rows are stored of patients, and files of images. The audit is not counted.
    pub(crate) async fn kept(&self) -> (i64, usize) {
        let mut count = 0;
        for service in SERVICES {
            let database = self.file(&format!("{service}.sqlite"));
            count += rows(&database, &[]).await.unwrap();
        }
        (count, files_under(&self.file("blobs")).unwrap())
    }

    /// Runs `neurotriage fhir`.
    pub(crate) fn fhir(&self, arguments: &[&str]) -> Ended {
        run(&[&["fhir"][..], arguments].concat(), &[("REFERRAL_ENDPOINT", self.referral())])
    }

    pub(crate) fn export(&self, patient_id: &str, file: &Path) -> Ended {
        self.fhir(&["export", patient_id, "-o", file.to_str().unwrap()])
    }

    pub(crate) fn import(&self, file: &Path, more: &[&str]) -> Ended {
        self.fhir(&[&["import", file.to_str().unwrap()][..], more].concat())
    }
}
