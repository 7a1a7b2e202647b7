//! Runs the four services on loopback until it is told to stop.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    cli::UpArgs,
    model,
    output::print,
    services::Endpoints,
    signal::stop_signal,
    suite::{Ports, Suite, SuiteModel},
};

/// The folder in which services keep what they store.
pub(crate) enum DataFolder {
    /// Named by the caller; stays.
    Kept(PathBuf),
    /// Removed when dropped.
    Temporary(TempDir),
}

impl DataFolder {
    /// Returns the folder that the caller named, or a fresh temporary one.
    pub(crate) fn open(named: Option<&Path>) -> anyhow::Result<Self> {
        match named {
            Some(path) => Ok(Self::Kept(path.to_owned())),
            None => {
                let folder = tempfile::Builder::new().prefix("neurotriage-").tempdir();
                Ok(Self::Temporary(folder.context("create temporary data folder")?))
            }
        }
    }

    /// Returns its path.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

/// Runs the services until Ctrl-C or SIGTERM.
///
/// # Errors
/// If they can't start, or one of them fails.
pub fn run(runtime: &Runtime, args: &UpArgs) -> anyhow::Result<()> {
    let model = SuiteModel { training: args.training.settings(), ..model::start(&args.model)? };
    let data = DataFolder::open(args.data.as_deref())?;
    runtime.block_on(async {
        let mut suite = Suite::start(data.path(), Ports::From(args.port_base), model).await?;
        print(&welcome(suite.endpoints(), &data))?;
        tokio::select! {
            signal = stop_signal() => signal?,
            error = suite.failed() => return Err(error),
        }
        eprintln!("stopping");
        suite.stop().await
    })
}

fn welcome(endpoints: &Endpoints, data: &DataFolder) -> String {
    let kept = match data {
        DataFolder::Kept(path) => format!("data         {}\n", path.display()),
        DataFolder::Temporary(_) => "data         temporary; --data DIR keeps it\n".to_owned(),
    };
    let records = endpoints.records.trim_start_matches("http://");
    format!(
        "ingestion    {}\nsegmentation {}\nrecords      {}\nreferral     {}\n{kept}\n\
         Try: grpcurl -plaintext {records} list\n     grpcurl -plaintext {records} \
         neurotriage.records.v1.RecordsService/ListPatients\n\n{}\nCtrl-C stops.\n",
        endpoints.ingestion,
        endpoints.segmentation,
        endpoints.records,
        endpoints.referral,
        crate::report::NOTICE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_welcome_names_every_address_and_a_call() {
        let endpoints = Endpoints {
            ingestion: "http://127.0.0.1:1".into(),
            segmentation: "http://127.0.0.1:2".into(),
            records: "http://127.0.0.1:3".into(),
            referral: "http://127.0.0.1:4".into(),
        };
        let text = welcome(&endpoints, &DataFolder::Kept("kept".into()));
        for expected in
            ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:4", "grpcurl -plaintext 127.0.0.1:3", "kept"]
        {
            assert!(text.contains(expected), "{text}");
        }
    }
}
