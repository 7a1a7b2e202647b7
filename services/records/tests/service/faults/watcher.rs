//! Somebody who watches from the beginning and comes back with the last token whenever the watch breaks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use neurotriage_proto::records::v1::{
    WatchChangesRequest, records_service_client::RecordsServiceClient,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tonic::transport::Channel;

use super::load::{PATIENCE, PAUSE, is_unavailable};

pub(crate) struct Watcher {
    seen: Arc<Mutex<Seen>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<anyhow::Result<()>>,
}

/// What a watcher saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// How often each revision of each record was seen.
    pub(crate) changes: BTreeMap<(String, u64), usize>,
    /// Times the watch began.
    pub(crate) begun: usize,
}

impl Watcher {
    pub(crate) fn start(client: RecordsServiceClient<Channel>) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(watch(client, Arc::clone(&seen), stopped));
        Self { seen, stop, task }
    }

    fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until `changes` were seen, and a little longer for what is too much.
    pub(crate) async fn finish(self, changes: usize) -> anyhow::Result<Seen> {
        let deadline = Instant::now() + PATIENCE;
        while self.seen().changes.len() < changes && Instant::now() < deadline {
            ensure!(!self.task.is_finished(), "the watch ended: {:?}", self.task.await);
            sleep(Duration::from_millis(100)).await;
        }
        sleep(Duration::from_secs(2)).await;
        self.stop.send(true)?;
        let seen = self.seen();
        self.task.await??;
        Ok(seen)
    }
}

async fn watch(
    mut client: RecordsServiceClient<Channel>,
    seen: Arc<Mutex<Seen>>,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut resume_token = String::new();
    while !*stopped.borrow() {
        let request = WatchChangesRequest {
            from_beginning: resume_token.is_empty(),
            resume_token: resume_token.clone(),
            patient_id: String::new(),
        };
        let mut changes = match client.watch_changes(request).await {
            Ok(changes) => changes.into_inner(),
            Err(status) => {
                is_unavailable(&status)?;
                sleep(PAUSE).await;
                continue;
            }
        };
        seen.lock().unwrap().begun += 1;
        loop {
            let told = tokio::select! {
                // One that hears nothing for long is broken.
                told = timeout(Duration::from_secs(30), changes.message()) => told,
                _ = stopped.changed() => return Ok(()),
            };
            let told = match told.context("a watch fell silent")? {
                Ok(Some(told)) => told,
                Ok(None) => bail!("a watch ended without a word"),
                Err(status) => {
                    is_unavailable(&status)?;
                    break;
                }
            };
            resume_token = told.resume_token;
            if let Some(change) = told.change {
                let key = (change.record_id, change.revision);
                *seen.lock().unwrap().changes.entry(key).or_default() += 1;
            }
        }
    }
    Ok(())
}
