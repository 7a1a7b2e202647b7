//! The service over a real socket, with an assessment to refer by.

use std::time::Duration;

use neurotriage_domain::{AssessmentId, PatientId};
use neurotriage_proto::referral::v1::{
    Actor, ActorRole, CreateReferralRequest, Event, EventKind, GetReferralRequest,
    ListEventsRequest, MoveReferralRequest, MoveReferralResponse, Referral, ReferralMove,
    referral_lifecycle_service_client::ReferralLifecycleServiceClient,
};
use neurotriage_referral::{Dependencies, Events, store::assessment_row};
use neurotriage_service_kit::access::Access;
use neurotriage_testkit::TestDb;
use sea_orm::{ActiveValue::Set, EntityTrait as _};
use time::OffsetDateTime;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::support::{self, Served};

/// Longest wait for anything in a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A hospital of the sample directory that takes referrals, and another one.
pub(crate) const HOSPITAL: &str = "sample-a";
pub(crate) const OTHER_HOSPITAL: &str = "sample-b";
pub(crate) const REFERRER: &str = "practice-7";
/// Hospital of whoever calls without a token.
pub(crate) const DEVELOPMENT: &str = "development";

/// A running replica.
pub(crate) struct Replica {
    pub(crate) endpoint: String,
    pub(crate) client: ReferralLifecycleServiceClient<Channel>,
    served: Served,
}

impl Replica {
    /// Starts one for this machine.
    pub(crate) async fn start(db: &TestDb, events: Events) -> anyhow::Result<Self> {
        Self::start_for(db, events, Access::development(([127, 0, 0, 1], 0).into())?).await
    }

    /// Starts one for whom `access` lets in.
    pub(crate) async fn start_for(
        db: &TestDb,
        events: Events,
        access: Access,
    ) -> anyhow::Result<Self> {
        // Nothing here asks the other services.
        let others = support::dependencies(db.service.clone(), None)?;
        let dependencies = Dependencies { events, access, ..others };
        let served = support::serve(dependencies).await?;
        let endpoint = served.endpoint.clone();
        let mut client = ReferralLifecycleServiceClient::connect(endpoint.clone()).await?;
        // Whatever it answers, it has filled the directory by then.
        let _ = client.get_referral(GetReferralRequest::default()).await;
        Ok(Self { endpoint, client, served })
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        drop(self.client);
        self.served.stop().await
    }
}

/// A replica with a database of its own.
pub(crate) struct Harness {
    pub(crate) replica: Replica,
    pub(crate) db: TestDb,
}

impl Harness {
    pub(crate) async fn start(db: TestDb, events: Events) -> anyhow::Result<Self> {
        let replica = Replica::start(&db, events).await?;
        Ok(Self { replica, db })
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.replica.stop().await?;
        self.db.drop().await
    }

    pub(crate) fn client(&self) -> ReferralLifecycleServiceClient<Channel> {
        self.replica.client.clone()
    }

    pub(crate) async fn assessment(&self) -> anyhow::Result<AssessmentId> {
        assessment_of(&self.db, DEVELOPMENT, PatientId::generate()).await
    }

    /// Returns a draft to [`HOSPITAL`].
    pub(crate) async fn draft(&self) -> anyhow::Result<Referral> {
        let assessment_id = self.assessment().await?;
        Ok(self.create(create_request(assessment_id)).await?)
    }

    pub(crate) async fn create(&self, request: CreateReferralRequest) -> Result<Referral, Status> {
        let response = self.client().create_referral(request).await?.into_inner();
        Ok(response.referral.unwrap_or_default())
    }

    pub(crate) async fn make_move(
        &self,
        request: MoveReferralRequest,
    ) -> Result<MoveReferralResponse, Status> {
        Ok(self.client().move_referral(request).await?.into_inner())
    }

    /// Makes moves one after the other, each by who may, and returns the referral after them.
    pub(crate) async fn walk(
        &self,
        referral: &Referral,
        moves: &[ReferralMove],
    ) -> anyhow::Result<Referral> {
        let mut referral = referral.clone();
        for &kind in moves {
            let response = self.make_move(move_request(&referral, kind)).await?;
            referral = response.referral.unwrap_or_default();
        }
        Ok(referral)
    }

    pub(crate) async fn events(&self, referral_id: &str) -> Result<Vec<Event>, Status> {
        let request =
            ListEventsRequest { referral_id: referral_id.to_owned(), ..Default::default() };
        Ok(self.client().list_events(request).await?.into_inner().events)
    }
}

/// Stores an assessment of `patient_id` at a hospital. What was found in it does not matter here.
pub(crate) async fn assessment_of(
    db: &TestDb,
    hospital_id: &str,
    patient_id: PatientId,
) -> anyhow::Result<AssessmentId> {
    let assessment_id = AssessmentId::generate();
    let row = assessment_row::ActiveModel {
        assessment_id: Set(assessment_id.as_uuid()),
        hospital_id: Set(hospital_id.to_owned()),
        request_id: Set(Uuid::now_v7()),
        patient_id: Set(patient_id.as_uuid()),
        symptom_report_id: Set(Uuid::now_v7()),
        segmentation_id: Set(Uuid::now_v7()),
        hospitals_max: Set(5),
        created_at: Set(OffsetDateTime::now_utc()),
        content: Set(serde_json::Value::Null),
        sealed: Set(None),
    };
    assessment_row::Entity::insert(row).exec_without_returning(&db.db).await?;
    Ok(assessment_id)
}

pub(crate) fn create_request(assessment_id: AssessmentId) -> CreateReferralRequest {
    CreateReferralRequest {
        request_id: Uuid::now_v7().to_string(),
        assessment_id: assessment_id.to_string(),
        hospital_id: HOSPITAL.to_owned(),
        referrer_id: REFERRER.to_owned(),
        deadline_at: None,
    }
}

pub(crate) fn actor(role: ActorRole) -> Option<Actor> {
    let actor_id = if role == ActorRole::Hospital { HOSPITAL } else { REFERRER };
    Some(Actor { role: role.into(), actor_id: actor_id.to_owned() })
}

/// Returns `kind` as whoever may make it, with what it needs, at the revision of `referral`.
pub(crate) fn move_request(referral: &Referral, kind: ReferralMove) -> MoveReferralRequest {
    let by_referrer = matches!(kind, ReferralMove::Request | ReferralMove::Cancel);
    let role = if by_referrer { ActorRole::Referrer } else { ActorRole::Hospital };
    let needs_reason = matches!(kind, ReferralMove::Decline | ReferralMove::Cancel);
    let reason = if needs_reason { "no bed free" } else { "" };
    let scheduled_at = (kind == ReferralMove::Schedule).then(|| in_hours(48));
    MoveReferralRequest {
        request_id: Uuid::now_v7().to_string(),
        referral_id: referral.referral_id.clone(),
        expected_revision: referral.revision,
        actor: actor(role),
        r#move: kind.into(),
        reason: reason.to_owned(),
        scheduled_at,
    }
}

pub(crate) fn in_hours(hours: i64) -> prost_types::Timestamp {
    let at = OffsetDateTime::now_utc() + time::Duration::hours(hours);
    prost_types::Timestamp { seconds: at.unix_timestamp(), nanos: 0 }
}

pub(crate) fn kinds(events: &[Event]) -> Vec<EventKind> {
    events.iter().map(Event::kind).collect()
}

/// Checks class and reason of a refusal.
pub(crate) fn assert_refused<T>(result: Result<T, Status>, code: Code, reason: &str, case: &str) {
    let Err(status) = result else { panic!("case: {case}: not refused") };
    assert_eq!(status.code(), code, "case: {case}: {status}");
    let info = status.get_details_error_info().expect(case);
    assert_eq!(info.reason, reason, "case: {case}");
    assert_eq!(info.domain, "referral.neurotriage.example", "case: {case}");
}
