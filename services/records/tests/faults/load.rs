//! Callers that create until they are told that it is stored, and one that watches.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use neurotriage_proto::records::v1::{
    ChangeAction, CreatePatientRequest, CreateSymptomReportRequest, MedicalRecordNumber, Patient,
    WatchChangesRequest, records_service_client::RecordsServiceClient,
};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;
use uuid::Uuid;

/// Creates at a time.
pub(crate) const CALLERS: usize = 400;
/// What each caller creates, one after the other.
pub(crate) const CREATES_EACH: usize = 25;
/// Every so manieth create is given up when it fails; the others are repeated.
const GIVEN_UP_EVERY: usize = 10;
/// Longest that one create may take with all its repetitions.
const PATIENCE: Duration = Duration::from_secs(90);
/// Pause before a repetition. Shorter than RetryInfo asks for: the harder case.
const PAUSE: Duration = Duration::from_millis(500);

/// A create, and what the service said about it.
#[derive(Clone, Debug)]
pub(crate) struct Create {
    pub(crate) request_id: Uuid,
    pub(crate) content: Content,
    /// Id of what is stored, as acknowledged; none if the caller gave up.
    pub(crate) acknowledged: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Number and name of the patient.
    Patient { number: String, name: String },
    /// Id of the patient, and what is reported.
    Report { patient_id: String, text: String },
}

/// What happened, for all callers together.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) acknowledged: AtomicUsize,
    pub(crate) given_up: AtomicUsize,
    /// Answers of the service that it is not able to now.
    pub(crate) unavailable: AtomicUsize,
    /// Calls whose connection broke.
    pub(crate) broken: AtomicUsize,
}

impl Progress {
    pub(crate) fn done(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed) + self.given_up.load(Ordering::Relaxed)
    }
}

/// Returns whether the call is to be repeated: the service said so, or it said nothing.
///
/// # Errors
/// If the service refused in another way.
pub(crate) fn is_unavailable(status: &Status) -> anyhow::Result<bool> {
    let Some(info) = status.get_details_error_info() else {
        // Not from the service: the connection broke.
        let broken = [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::Internal];
        ensure!(broken.contains(&status.code()), "unexpected end of a call: {status:?}");
        return Ok(false);
    };
    ensure!(status.code() == Code::Unavailable, "refused: {info:?}, {status:?}");
    ensure!(status.get_details_retry_info().is_some(), "no RetryInfo: {status:?}");
    Ok(true)
}

/// Runs all callers; each of `clients` is a connection that some of them share.
pub(crate) async fn create(
    clients: &[RecordsServiceClient<Channel>],
    progress: &Arc<Progress>,
) -> anyhow::Result<Vec<Create>> {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let client = clients[caller % clients.len()].clone();
        callers.spawn(create_some(client, caller, Arc::clone(progress)));
    }
    let mut creates = Vec::new();
    while let Some(of_caller) = callers.join_next().await {
        creates.extend(of_caller.context("join caller")??);
    }
    Ok(creates)
}

async fn create_some(
    mut client: RecordsServiceClient<Channel>,
    caller: usize,
    progress: Arc<Progress>,
) -> anyhow::Result<Vec<Create>> {
    let mut creates: Vec<Create> = Vec::new();
    let mut patient_id: Option<String> = None;
    for turn in 0..CREATES_EACH {
        let number = caller * CREATES_EACH + turn;
        let content = match &patient_id {
            Some(patient_id) if turn % 3 == 2 => Content::Report {
                patient_id: patient_id.clone(),
                text: format!("headache, report {number}"),
            },
            Some(_) | None => Content::Patient {
                number: format!("MRN-{number}"),
                name: format!("Sample Patient {number}"),
            },
        };
        let mut create = Create { request_id: Uuid::now_v7(), content, acknowledged: None };
        let gives_up = number.is_multiple_of(GIVEN_UP_EVERY);
        create.acknowledged = repeat(&mut client, &create, gives_up, &progress).await?;
        if let (Content::Patient { .. }, Some(id)) = (&create.content, &create.acknowledged) {
            patient_id = Some(id.clone());
        }
        creates.push(create);
    }
    Ok(creates)
}

/// Creates until it is acknowledged, with the same request id; or once, if the caller gives up.
async fn repeat(
    client: &mut RecordsServiceClient<Channel>,
    create: &Create,
    gives_up: bool,
    progress: &Progress,
) -> anyhow::Result<Option<String>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match once(client, create).await {
            Ok(id) => {
                progress.acknowledged.fetch_add(1, Ordering::Relaxed);
                return Ok(Some(id));
            }
            Err(status) => {
                let said_so = is_unavailable(&status)?;
                let counter = if said_so { &progress.unavailable } else { &progress.broken };
                counter.fetch_add(1, Ordering::Relaxed);
                if gives_up {
                    progress.given_up.fetch_add(1, Ordering::Relaxed);
                    return Ok(None);
                }
                ensure!(Instant::now() < deadline, "never acknowledged: {status:?}");
            }
        }
        sleep(PAUSE).await;
    }
}

/// Sends a create once; returns the id of what is stored.
pub(crate) async fn once(
    client: &mut RecordsServiceClient<Channel>,
    create: &Create,
) -> Result<String, Status> {
    let request_id = create.request_id.to_string();
    match &create.content {
        Content::Patient { number, name } => {
            let request = CreatePatientRequest { request_id, patient: Some(patient(number, name)) };
            let response = client.create_patient(request).await?.into_inner();
            Ok(response.patient.unwrap_or_default().patient_id)
        }
        Content::Report { patient_id, text } => {
            let request = CreateSymptomReportRequest {
                request_id,
                patient_id: patient_id.clone(),
                text: text.clone(),
                ..CreateSymptomReportRequest::default()
            };
            let response = client.create_symptom_report(request).await?.into_inner();
            Ok(response.report.unwrap_or_default().symptom_report_id)
        }
    }
}

pub(crate) fn patient(number: &str, name: &str) -> Patient {
    Patient {
        medical_record_numbers: vec![MedicalRecordNumber {
            issuer: "Sample Hospital".to_owned(),
            number: number.to_owned(),
        }],
        name: name.to_owned(),
        birth_date: "1960-02-29".to_owned(),
        ..Patient::default()
    }
}

/// Somebody who watches from the beginning and comes back with the last token whenever the watch breaks.
pub(crate) struct Watcher {
    seen: Arc<Mutex<Seen>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<anyhow::Result<()>>,
}

/// What a watcher saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// How often each record was seen created.
    pub(crate) created: BTreeMap<String, usize>,
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

    /// Waits until `records` were seen, and a little longer for what is too much.
    pub(crate) async fn finish(self, records: usize) -> anyhow::Result<Seen> {
        let deadline = Instant::now() + PATIENCE;
        while self.seen().created.len() < records && Instant::now() < deadline {
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
                ensure!(change.action() == ChangeAction::Created, "unexpected {change:?}");
                *seen.lock().unwrap().created.entry(change.record_id).or_default() += 1;
            }
        }
    }
    Ok(())
}
