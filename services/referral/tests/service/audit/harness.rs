//! The service behind an issuer, beside neighbours in process, and callers of several hospitals.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, OnceLock},
    time::Duration,
};

use neurotriage_proto::{
    fhir::v1::fhir_service_client::FhirServiceClient,
    ingestion::v1 as ingestion,
    records::v1 as records,
    referral::v1::{
        Actor, ActorRole, AssessRequest, Assessment, CreateReferralRequest, DiagnoseRequest,
        Diagnosis, GetAssessmentRequest, GetReferralRequest, ListEventsRequest,
        MoveReferralRequest, Referral, ReferralMove, diagnose_response::Content,
        diagnosis_service_client::DiagnosisServiceClient,
        referral_lifecycle_service_client::ReferralLifecycleServiceClient,
        referral_service_client::ReferralServiceClient,
    },
    segmentation::v1 as segmentation,
};
use neurotriage_referral::{Dependencies, Events};
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::{
    audit::audit_entry_row,
    client,
    telemetry::{self, TelemetryConfig, TelemetryGuard},
};
use neurotriage_testkit::{
    TestDb,
    issuer::{Bearer, Issuer, claims},
};
use sea_orm::{DatabaseConnection, EntityTrait as _};
use tokio::task::JoinHandle;
use tonic::{
    Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::support::{
    self, Served,
    keys::keyring,
    neighbours::{self, World},
};

/// Longest wait for anything in a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Who refers.
pub(crate) const SENDER: &str = "north-lake";
/// Who is referred to: a hospital of the sample directory.
pub(crate) const HOSPITAL: &str = "sample-a";
/// Of the patient's own words.
pub(crate) const NOT_UNDERSTOOD: &str = "mark-whizzing";

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const REFERRER: &str = "practice-7";

/// Traces, as the service's own program has them; once in a process.
fn traced() {
    static GUARD: OnceLock<TelemetryGuard> = OnceLock::new();
    GUARD.get_or_init(|| {
        let log_filter = "off,neurotriage_service_kit::telemetry=info".to_owned();
        telemetry::init("test", &TelemetryConfig { otlp_endpoint: None, log_filter })
            .expect("first in the process")
    });
}

/// Who the calls of a client are from, in one trace.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Bearer);

impl Interceptor for Caller {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let mut request = self.0.call(request)?;
        request.metadata_mut().insert("traceparent", MetadataValue::from_static(TRACE));
        Ok(request)
    }
}

type Channels = InterceptedService<Channel, Caller>;

/// Every client of one caller.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    pub(crate) assessments: ReferralServiceClient<Channels>,
    pub(crate) diagnoses: DiagnosisServiceClient<Channels>,
    pub(crate) referrals: ReferralLifecycleServiceClient<Channels>,
    pub(crate) fhir: FhirServiceClient<Channels>,
}

pub(crate) struct Service {
    pub(crate) world: Arc<World>,
    pub(crate) db: TestDb,
    issuer: Issuer,
    channel: Channel,
    others: Channel,
    served: Served,
    neighbours: JoinHandle<()>,
}

pub(crate) async fn start(db: TestDb) -> anyhow::Result<Service> {
    start_with(db, keyring(), Events::default()).await
}

pub(crate) async fn start_with(
    db: TestDb,
    keyring: Keyring,
    events: Events,
) -> anyhow::Result<Service> {
    traced();
    let world = Arc::new(World { any_patient: true.into(), ..World::default() });
    let (address, neighbours) = neighbours::start(Arc::clone(&world)).await?;
    let others = client::channel(&format!("http://{address}"))?;
    let issuer = Issuer::start()?;
    let (served, channel) = serve(&db, &issuer, others.clone(), keyring, events).await?;
    Ok(Service { world, db, issuer, channel, others, served, neighbours })
}

async fn serve(
    db: &TestDb,
    issuer: &Issuer,
    others: Channel,
    keyring: Keyring,
    events: Events,
) -> anyhow::Result<(Served, Channel)> {
    let rest = support::dependencies(db.service.clone(), Some(others))?;
    let dependencies = Dependencies { access: issuer.access().await?, keyring, events, ..rest };
    let served = support::serve(dependencies).await?;
    let channel = Endpoint::from_shared(served.endpoint.clone())?.connect().await?;
    // Whatever it answers, it has filled the directory by then.
    let request = GetReferralRequest::default();
    let _ = ReferralLifecycleServiceClient::new(channel.clone()).get_referral(request).await;
    Ok((served, channel))
}

impl Service {
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        drop(self.channel);
        self.served.stop().await?;
        self.neighbours.abort();
        self.db.drop().await
    }

    /// Ends the service and starts it again on the same database, with other keys.
    pub(crate) async fn restart(self, keyring: Keyring) -> anyhow::Result<Self> {
        let Self { world, db, issuer, channel, others, served, neighbours } = self;
        drop(channel);
        served.stop().await?;
        let (served, channel) =
            serve(&db, &issuer, others.clone(), keyring, Events::default()).await?;
        Ok(Self { world, db, issuer, channel, others, served, neighbours })
    }

    fn clients(&self, claims: &serde_json::Value) -> anyhow::Result<Clients> {
        let caller = Caller(Bearer::new(&self.issuer.sign(claims)?)?);
        let channel = || self.channel.clone();
        Ok(Clients {
            assessments: ReferralServiceClient::with_interceptor(channel(), caller.clone()),
            diagnoses: DiagnosisServiceClient::with_interceptor(channel(), caller.clone()),
            referrals: ReferralLifecycleServiceClient::with_interceptor(channel(), caller.clone()),
            fhir: FhirServiceClient::with_interceptor(channel(), caller),
        })
    }

    /// Returns the clients of one who works at a hospital.
    pub(crate) fn doctor(&self, hospital_id: &str) -> anyhow::Result<Clients> {
        self.doctor_named(hospital_id, &format!("doctor-of-{hospital_id}"))
    }

    /// As [`Service::doctor`], another one.
    pub(crate) fn doctor_named(&self, hospital_id: &str, name: &str) -> anyhow::Result<Clients> {
        let mut claims = claims("user/*.cruds")?;
        claims["hospital_id"] = hospital_id.into();
        claims["sub"] = name.into();
        claims["purpose_of_use"] = "TREAT".into();
        self.clients(&claims)
    }

    /// Returns the clients of one who is kept to a patient of [`SENDER`].
    pub(crate) fn kept_to(&self, patient_id: &str) -> anyhow::Result<Clients> {
        let mut claims = claims("patient/*.cruds")?;
        claims["hospital_id"] = SENDER.into();
        claims["sub"] = format!("doctor-of-{SENDER}").into();
        claims["purpose_of_use"] = "TREAT".into();
        claims["patient"] = patient_id.into();
        self.clients(&claims)
    }

    /// Lets the neighbours know a study of a patient.
    pub(crate) fn study(&self, patient_id: &str) -> String {
        let study = ingestion::Study {
            study_id: id(),
            patient_id: patient_id.to_owned(),
            created_at: Some(std::time::SystemTime::now().into()),
            prepared: Some(ingestion::PreparedStudy {
                blob: Some(neurotriage_proto::common::v1::BlobReference {
                    digest: "b6".repeat(32),
                    size_bytes: 9,
                }),
                profile: "whole".to_owned(),
                profile_version: 1,
            }),
            ..Default::default()
        };
        let study_id = study.study_id.clone();
        self.world.studies.lock().unwrap().insert(study_id.clone(), study);
        study_id
    }

    /// Lets the neighbours know a segmentation of a study.
    pub(crate) fn segmentation(&self, study_id: &str) -> String {
        let segmentation = segmentation::Segmentation {
            segmentation_id: id(),
            study_id: study_id.to_owned(),
            model_id: "model-7".to_owned(),
            weights_sha256: "weights".to_owned(),
            mask: Some(neurotriage_proto::common::v1::BlobReference {
                digest: "a5".repeat(32),
                size_bytes: 7,
            }),
            localisation: Some(segmentation::Localisation {
                space: segmentation::Space::Sri24.into(),
                atlas: "atlas 3".to_owned(),
                ..Default::default()
            }),
            outcome: segmentation::Outcome::Tumour.into(),
            ..Default::default()
        };
        let segmentation_id = segmentation.segmentation_id.clone();
        self.world.segmentations.lock().unwrap().insert(segmentation_id.clone(), segmentation);
        segmentation_id
    }

    /// Lets the neighbours know a patient with a study, a segmentation of it, and a report not all of which was
    /// understood.
    pub(crate) fn case(&self) -> Case {
        let patient_id = id();
        let study_id = self.study(&patient_id);
        let segmentation_id = self.segmentation(&study_id);
        let report = records::SymptomReport {
            symptom_report_id: id(),
            patient_id: patient_id.clone(),
            not_understood: vec![NOT_UNDERSTOOD.to_owned()],
            lexicon_version: "lexicon-7".to_owned(),
            ..Default::default()
        };
        let report_id = report.symptom_report_id.clone();
        self.world.reports.lock().unwrap().insert(report_id.clone(), report);
        Case { patient_id, study_id, segmentation_id, report_id }
    }
}

pub(crate) fn id() -> String {
    Uuid::now_v7().to_string()
}

/// A patient of the neighbours.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) patient_id: String,
    pub(crate) study_id: String,
    pub(crate) segmentation_id: String,
    pub(crate) report_id: String,
}

impl Case {
    pub(crate) fn assess(&self) -> AssessRequest {
        AssessRequest {
            request_id: id(),
            symptom_report_id: self.report_id.clone(),
            segmentation_id: self.segmentation_id.clone(),
            hospitals_max: 2,
        }
    }

    pub(crate) fn diagnose(&self) -> DiagnoseRequest {
        DiagnoseRequest {
            request_id: id(),
            study_id: self.study_id.clone(),
            symptom_report_id: self.report_id.clone(),
            hospitals_max: 2,
            model_id: String::new(),
        }
    }
}

impl Clients {
    pub(crate) async fn assess(&mut self, request: &AssessRequest) -> Result<Assessment, Status> {
        let response = self.assessments.assess(request.clone()).await?.into_inner();
        Ok(response.assessment.unwrap_or_default())
    }

    pub(crate) async fn assessment(&mut self, assessment_id: &str) -> Result<Assessment, Status> {
        let request = GetAssessmentRequest { assessment_id: assessment_id.to_owned() };
        let response = self.assessments.get_assessment(request).await?.into_inner();
        Ok(response.assessment.unwrap_or_default())
    }

    pub(crate) async fn diagnose(
        &mut self,
        request: &DiagnoseRequest,
    ) -> Result<Diagnosis, Status> {
        let mut messages = self.diagnoses.diagnose(request.clone()).await?.into_inner();
        while let Some(message) = messages.message().await? {
            if let Some(Content::Diagnosis(diagnosis)) = message.content {
                return Ok(diagnosis);
            }
        }
        Err(Status::internal("no diagnosis at the end"))
    }

    pub(crate) async fn create(
        &mut self,
        request: &CreateReferralRequest,
    ) -> Result<Referral, Status> {
        let response = self.referrals.create_referral(request.clone()).await?.into_inner();
        Ok(response.referral.unwrap_or_default())
    }

    pub(crate) async fn referral(&mut self, referral_id: &str) -> Result<Referral, Status> {
        self.referral_as(referral_id, ActorRole::Unspecified).await
    }

    pub(crate) async fn referral_as(
        &mut self,
        referral_id: &str,
        role: ActorRole,
    ) -> Result<Referral, Status> {
        let request = GetReferralRequest { referral_id: referral_id.to_owned(), role: role.into() };
        let response = self.referrals.get_referral(request).await?.into_inner();
        Ok(response.referral.unwrap_or_default())
    }

    pub(crate) async fn make(&mut self, request: &MoveReferralRequest) -> Result<Referral, Status> {
        let response = self.referrals.move_referral(request.clone()).await?.into_inner();
        Ok(response.referral.unwrap_or_default())
    }

    /// Returns the ids of a referral's events.
    pub(crate) async fn events(&mut self, referral_id: &str) -> Result<Vec<String>, Status> {
        let request =
            ListEventsRequest { referral_id: referral_id.to_owned(), ..Default::default() };
        let response = self.referrals.list_events(request).await?.into_inner();
        Ok(response.events.into_iter().map(|event| event.event_id).collect())
    }

    /// Returns a referral of a case that was sent to [`HOSPITAL`].
    pub(crate) async fn sent(&mut self, case: &Case) -> Result<Referral, Status> {
        let assessment = self.assess(&case.assess()).await?;
        let draft = self.create(&create(&assessment.assessment_id)).await?;
        self.make(&move_of(&draft, ReferralMove::Request, "")).await
    }
}

pub(crate) fn create(assessment_id: &str) -> CreateReferralRequest {
    CreateReferralRequest {
        request_id: id(),
        assessment_id: assessment_id.to_owned(),
        hospital_id: HOSPITAL.to_owned(),
        referrer_id: REFERRER.to_owned(),
        deadline_at: None,
    }
}

/// Returns a move as whoever may make it, at the revision of `referral`.
pub(crate) fn move_of(
    referral: &Referral,
    kind: ReferralMove,
    reason: &str,
) -> MoveReferralRequest {
    let by_referrer = matches!(kind, ReferralMove::Request | ReferralMove::Cancel);
    let (role, actor_id) =
        if by_referrer { (ActorRole::Referrer, REFERRER) } else { (ActorRole::Hospital, HOSPITAL) };
    MoveReferralRequest {
        request_id: id(),
        referral_id: referral.referral_id.clone(),
        expected_revision: referral.revision,
        actor: Some(Actor { role: role.into(), actor_id: actor_id.to_owned() }),
        r#move: kind.into(),
        reason: reason.to_owned(),
        scheduled_at: None,
    }
}

pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// What was seen of the audit.
#[derive(Default)]
pub(crate) struct Seen {
    rows: BTreeSet<(String, i32, i64)>,
    names: HashMap<Uuid, String>,
}

impl Seen {
    /// Calls the record with this id `name`.
    pub(crate) fn name(&mut self, id: &str, name: &str) {
        self.names.insert(id.parse().expect("a UUID"), name.to_owned());
    }

    /// Returns what is new, sorted: action, kind, name, outcome and detail of each; before it who, unless it is the
    /// doctor of [`SENDER`], who asks to treat, in the trace that was sent.
    pub(crate) async fn news(&mut self, db: &DatabaseConnection) -> anyhow::Result<Vec<String>> {
        let mut news = Vec::new();
        for row in audit_entry_row::Entity::find().all(db).await? {
            if !self.rows.insert((row.hospital_id.clone(), row.shard, row.sequence)) {
                continue;
            }
            let name = match row.resource_id {
                None => "-",
                Some(id) => self.names.get(&id).map_or("?", String::as_str),
            };
            let doctor = format!("doctor-of-{}", row.hospital_id);
            let how = (row.actor.as_str(), row.purpose.as_str(), row.trace_id.as_deref());
            let who = if how == (doctor.as_str(), "TREAT", Some(TRACE_ID)) {
                if row.hospital_id == SENDER {
                    String::new()
                } else {
                    row.hospital_id.clone() + ": "
                }
            } else {
                format!("{} of {} for {}: ", row.actor, row.hospital_id, row.purpose)
            };
            let audit_entry_row::Model { action, resource_kind: kind, outcome, detail, .. } = row;
            news.push(format!("{who}{action} {kind} {name} {outcome} {detail}").trim().to_owned());
        }
        news.sort();
        Ok(news)
    }
}
