//! Who sees a referral, who acts on it as whom, and who tries without being either.

use neurotriage_domain::{HospitalId, PatientId};
use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::referral::v1::{
    ActorRole, GetReferralRequest, ListDeadLettersRequest, ListEventsRequest, ListReferralsRequest,
    Referral, ReferralMove, ReferralState, ReleaseDeadLetterRequest, WatchEventsRequest,
    referral_lifecycle_service_client::ReferralLifecycleServiceClient,
    watch_events_request::Subject,
};
use neurotriage_referral::{
    Events,
    lifecycle::{Lifecycle, Posting},
    store::{
        assessment_row,
        lifecycle::{SqlLifecycleStore, event_row, outbox_row, reason_row, referral_row},
    },
};
use neurotriage_service_kit::tenant::{self, Mode};
use neurotriage_testkit::{
    TestDb, databases,
    issuer::{Bearer, Issuer},
};
use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait,
    IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _,
};
use time::OffsetDateTime;
use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use super::{
    harness::{
        HOSPITAL, PATIENCE, REFERRER, Replica, actor, assert_refused, assessment_of,
        create_request, move_request,
    },
    receiver::{Answer, Receiver},
};
use crate::support::keys::ledger;

/// Who refers to [`HOSPITAL`].
const SENDER: &str = "north-lake";
/// Who has nothing to do with it.
const STRANGER: &str = "south-lake";

type Client = ReferralLifecycleServiceClient<InterceptedService<Channel, Bearer>>;

/// The service, and one caller of each hospital.
struct Three {
    replica: Replica,
    db: TestDb,
    issuer: Issuer,
    channel: Channel,
    sender: Client,
    receiver: Client,
    stranger: Client,
}

impl Three {
    async fn start(db: TestDb, events: Events) -> anyhow::Result<Self> {
        let issuer = Issuer::start()?;
        let replica = Replica::start_for(&db, events, issuer.access().await?).await?;
        let channel = Endpoint::from_shared(replica.endpoint.clone())?.connect().await?;
        let client = |hospital_id| -> anyhow::Result<Client> {
            let bearer = issuer.caller(hospital_id, "user/*.cruds")?;
            Ok(ReferralLifecycleServiceClient::with_interceptor(channel.clone(), bearer))
        };
        let (sender, receiver, stranger) = (client(SENDER)?, client(HOSPITAL)?, client(STRANGER)?);
        Ok(Self { replica, db, issuer, channel, sender, receiver, stranger })
    }

    async fn stop(self) -> anyhow::Result<()> {
        drop((self.channel, self.sender, self.receiver, self.stranger));
        self.replica.stop().await?;
        self.db.drop().await
    }

    /// Returns a draft of the sender.
    async fn draft(&mut self) -> anyhow::Result<Referral> {
        let assessment_id = assessment_of(&self.db, SENDER, PatientId::generate()).await?;
        let made = self.sender.create_referral(create_request(assessment_id)).await?.into_inner();
        Ok(made.referral.unwrap_or_default())
    }
}

async fn get(client: &mut Client, referral: &Referral) -> Result<Referral, Status> {
    get_as(client, referral, ActorRole::Unspecified).await
}

async fn get_as(
    client: &mut Client,
    referral: &Referral,
    role: ActorRole,
) -> Result<Referral, Status> {
    let request =
        GetReferralRequest { referral_id: referral.referral_id.clone(), role: role.into() };
    Ok(client.get_referral(request).await?.into_inner().referral.unwrap_or_default())
}

async fn act(
    client: &mut Client,
    referral: &Referral,
    kind: ReferralMove,
) -> Result<Referral, Status> {
    let request = move_request(referral, kind);
    Ok(client.move_referral(request).await?.into_inner().referral.unwrap_or_default())
}

async fn events(client: &mut Client, referral: &Referral) -> Result<usize, Status> {
    let referral_id = referral.referral_id.clone();
    let request = ListEventsRequest { referral_id, ..ListEventsRequest::default() };
    Ok(client.list_events(request).await?.into_inner().events.len())
}

/// Returns how many referrals are listed by hospital, by patient and by referrer.
async fn listed(client: &mut Client, referral: &Referral) -> Result<[usize; 3], Status> {
    let request = ListReferralsRequest::default();
    let by = [
        ListReferralsRequest { hospital_id: HOSPITAL.to_owned(), ..request.clone() },
        ListReferralsRequest { patient_id: referral.patient_id.clone(), ..request.clone() },
        ListReferralsRequest { referrer_id: REFERRER.to_owned(), ..request },
    ];
    let mut counts = [0; 3];
    for (count, request) in counts.iter_mut().zip(by) {
        *count = client.list_referrals(request).await?.into_inner().referrals.len();
    }
    Ok(counts)
}

#[tokio::test]
async fn a_referral_is_known_to_its_two_hospitals_alone() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut three = Three::start(db, Events::default()).await?;
        let draft = three.draft().await?;
        let absent = (Code::NotFound, "REFERRAL_NOT_FOUND");
        // Of a draft the receiver has not heard.
        for (case, client) in [("receiver", &mut three.receiver), ("other", &mut three.stranger)] {
            assert_refused(get(client, &draft).await, absent.0, absent.1, case);
            assert_refused(events(client, &draft).await, absent.0, absent.1, case);
            assert_eq!(listed(client, &draft).await?, [0; 3], "case: {case}");
            let taken = act(client, &draft, ReferralMove::Request).await;
            assert_refused(taken, absent.0, absent.1, case);
        }
        assert_eq!(get(&mut three.sender, &draft).await?, draft);
        assert_eq!(listed(&mut three.sender, &draft).await?, [0, 1, 1]);

        let mut watched = {
            let subject = Some(Subject::HospitalId(HOSPITAL.to_owned()));
            let request = WatchEventsRequest { subject, after_sequence: 0 };
            let stranger = three.stranger.watch_events(request.clone()).await?.into_inner();
            (three.receiver.watch_events(request).await?.into_inner(), stranger)
        };
        let sent = act(&mut three.sender, &draft, ReferralMove::Request).await?;
        let told = timeout(PATIENCE, watched.0.message()).await??.unwrap_or_default();
        assert_eq!(told.event.unwrap_or_default().referral_id, draft.referral_id);
        let silent = timeout(Duration::from_secs(3), watched.1.message()).await;
        assert!(silent.is_err(), "a stranger was told: {silent:?}");
        drop(watched);

        assert_eq!(get(&mut three.receiver, &draft).await?, sent);
        assert_eq!(events(&mut three.receiver, &sent).await?, 2);
        assert_eq!(listed(&mut three.receiver, &sent).await?, [1; 3]);
        let stranger = &mut three.stranger;
        assert_refused(get(stranger, &sent).await, absent.0, absent.1, "get");
        assert_refused(events(stranger, &sent).await, absent.0, absent.1, "events");
        assert_eq!(listed(stranger, &sent).await?, [0; 3]);
        let taken = act(stranger, &sent, ReferralMove::Accept).await;
        assert_refused(taken, absent.0, absent.1, "move");
        let subject = Some(Subject::ReferralId(sent.referral_id.clone()));
        let watch = stranger.watch_events(WatchEventsRequest { subject, after_sequence: 0 }).await;
        assert_refused(watch, absent.0, absent.1, "watch");

        // A draft that is withdrawn stays unheard of.
        let withdrawn = three.draft().await?;
        let withdrawn = act(&mut three.sender, &withdrawn, ReferralMove::Cancel).await?;
        let found = get(&mut three.receiver, &withdrawn).await;
        assert_refused(found, absent.0, absent.1, "withdrawn");
        three.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn each_side_acts_as_itself_only() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut three = Three::start(db, Events::default()).await?;
        let draft = three.draft().await?;
        let sent = act(&mut three.sender, &draft, ReferralMove::Request).await?;
        let denied = (Code::PermissionDenied, "NOT_PARTY");
        let taken = act(&mut three.sender, &sent, ReferralMove::Accept).await;
        assert_refused(taken, denied.0, denied.1, "sender as hospital");
        let taken = act(&mut three.receiver, &sent, ReferralMove::Cancel).await;
        assert_refused(taken, denied.0, denied.1, "hospital as referrer");
        let asked = get_as(&mut three.sender, &sent, ActorRole::Hospital).await;
        assert_refused(asked, denied.0, denied.1, "sender asks as hospital");
        let asked = get_as(&mut three.receiver, &sent, ActorRole::Referrer).await;
        assert_refused(asked, denied.0, denied.1, "hospital asks as referrer");
        assert_eq!(get(&mut three.sender, &sent).await?, sent, "nothing moved");

        assert_eq!(get_as(&mut three.receiver, &sent, ActorRole::Hospital).await?, sent);
        let accepted = act(&mut three.receiver, &sent, ReferralMove::Accept).await?;
        let mut cancel = move_request(&accepted, ReferralMove::Cancel);
        cancel.actor = actor(ActorRole::Hospital);
        let cancelled = three.receiver.move_referral(cancel).await?.into_inner();
        assert_eq!(cancelled.referral.unwrap_or_default().state(), ReferralState::Cancelled);
        three.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn request_ids_and_assessments_of_another_hospital_are_nobodys() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut three = Three::start(db, Events::default()).await?;
        let assessment_id = assessment_of(&three.db, SENDER, PatientId::generate()).await?;
        let request = create_request(assessment_id);
        let made = three.sender.create_referral(request.clone()).await?.into_inner().referral;
        let crossed = three.stranger.create_referral(request.clone()).await;
        assert_refused(crossed, Code::NotFound, "ASSESSMENT_NOT_FOUND", "another's assessment");
        let own = assessment_of(&three.db, STRANGER, PatientId::generate()).await?;
        let mut repeated = request.clone();
        repeated.assessment_id = own.to_string();
        let other = three.stranger.create_referral(repeated).await?.into_inner().referral;
        assert_ne!(
            made.as_ref().map(|it| &it.referral_id),
            other.map(|it| it.referral_id).as_ref()
        );
        let again = three.sender.create_referral(request).await?.into_inner().referral;
        assert_eq!(again, made);
        three.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn dead_letters_are_those_of_the_two_hospitals() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let endpoint = Receiver::start(vec![Answer::Status("410 Gone", "")]).await?;
        let mut three = Three::start(db, endpoint.events(20)?).await?;
        let draft = three.draft().await?;
        act(&mut three.sender, &draft, ReferralMove::Request).await?;
        let deadline = Instant::now() + PATIENCE;
        let letter = loop {
            let page = three.sender.list_dead_letters(ListDeadLettersRequest::default()).await?;
            if let Some(letter) = page.into_inner().dead_letters.pop() {
                break letter;
            }
            anyhow::ensure!(Instant::now() < deadline, "no dead letter");
            sleep(Duration::from_millis(20)).await;
        };
        let page = three.receiver.list_dead_letters(ListDeadLettersRequest::default()).await?;
        assert_eq!(page.into_inner().dead_letters, std::slice::from_ref(&letter));
        for hospital_id in ["", HOSPITAL] {
            let request = ListDeadLettersRequest {
                hospital_id: hospital_id.to_owned(),
                ..ListDeadLettersRequest::default()
            };
            let page = three.stranger.list_dead_letters(request).await?.into_inner();
            assert!(page.dead_letters.is_empty());
        }
        let release = ReleaseDeadLetterRequest {
            event_id: letter.event.clone().unwrap_or_default().event_id,
            release: neurotriage_proto::referral::v1::DeadLetterRelease::Retry.into(),
            dead_at: letter.dead_at,
        };
        let crossed = three.stranger.release_dead_letter(release.clone()).await;
        assert_refused(crossed, Code::NotFound, "EVENT_NOT_FOUND", "release");
        three.receiver.release_dead_letter(release).await?;
        endpoint.received(2).await?;
        three.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_token_for_one_patient_reaches_no_other() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut three = Three::start(db, Events::default()).await?;
        let patient_id = PatientId::generate();
        let bearer = three.issuer.patient(SENDER, &patient_id.to_string())?;
        let mut patient =
            ReferralLifecycleServiceClient::with_interceptor(three.channel.clone(), bearer);
        let of_other = three.draft().await?;
        let denied = (Code::PermissionDenied, "OTHER_PATIENT");
        assert_refused(get(&mut patient, &of_other).await, denied.0, denied.1, "get");
        let moved = act(&mut patient, &of_other, ReferralMove::Request).await;
        assert_refused(moved, denied.0, denied.1, "move");
        let other = assessment_of(&three.db, SENDER, PatientId::generate()).await?;
        let made = patient.create_referral(create_request(other)).await;
        assert_refused(made, denied.0, denied.1, "create");
        assert_eq!(get(&mut three.sender, &of_other).await?, of_other, "nothing moved");
        let rows = referral_row::Entity::find().count(&three.db.db).await?;
        assert_eq!(rows, 1, "nothing was written");

        let own = assessment_of(&three.db, SENDER, patient_id).await?;
        let made = patient.create_referral(create_request(own)).await?.into_inner().referral;
        let made = made.unwrap_or_default();
        assert_eq!(get(&mut patient, &made).await?, made);
        act(&mut patient, &made, ReferralMove::Request).await?;
        drop(patient);
        three.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_worker_expires_the_referrals_of_every_hospital() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut three = Three::start(db, Events::default()).await?;
        let mut overdue = Vec::new();
        for hospital_id in [SENDER, STRANGER] {
            let assessment_id =
                assessment_of(&three.db, hospital_id, PatientId::generate()).await?;
            let mut request = create_request(assessment_id);
            request.deadline_at = Some(super::harness::in_hours(1));
            let client =
                if hospital_id == SENDER { &mut three.sender } else { &mut three.stranger };
            overdue.push(client.create_referral(request).await?.into_inner().referral.unwrap());
        }
        let past = OffsetDateTime::now_utc() - time::Duration::minutes(1);
        referral_row::Entity::update_many()
            .set(referral_row::ActiveModel { deadline_at: Set(Some(past)), ..Default::default() })
            .exec(&three.db.db)
            .await?;
        let store = SqlLifecycleStore::new(ledger(&three.db.service));
        let worker = Lifecycle::new(store, Posting::Off, 1, CancellationToken::new());
        assert_eq!(worker.expire(10).await?, 2);
        let expired = get(&mut three.sender, &overdue[0]).await?;
        assert_eq!(expired.state(), ReferralState::Expired);
        let expired = get(&mut three.stranger, &overdue[1]).await?;
        assert_eq!(expired.state(), ReferralState::Expired);
        three.stop().await?;
    }
    Ok(())
}

async fn visible(db: &impl ConnectionTrait) -> Result<[u64; 4], DbErr> {
    Ok([
        assessment_row::Entity::find().count(db).await?,
        referral_row::Entity::find().count(db).await?,
        event_row::Entity::find().count(db).await?,
        outbox_row::Entity::find().count(db).await?,
    ])
}

#[tokio::test]
async fn the_database_itself_keeps_hospitals_apart() -> anyhow::Result<()> {
    let Some(db) = TestDb::postgres::<Migrator>().await? else { return Ok(()) };
    let endpoint = Receiver::start(Vec::new()).await?;
    let mut three = Three::start(db, endpoint.events(20)?).await?;
    let draft = three.draft().await?;
    let service = three.db.service.clone();
    let [sender, receiver, stranger]: [HospitalId; 3] =
        [SENDER.parse()?, HOSPITAL.parse()?, STRANGER.parse()?];
    let as_of = async |hospital_id: &HospitalId| -> anyhow::Result<[u64; 4]> {
        let transaction = tenant::begin(&service, hospital_id, Mode::Read).await?;
        let seen = visible(&transaction).await?;
        transaction.commit().await?;
        Ok(seen)
    };
    assert_eq!(as_of(&sender).await?, [1, 1, 1, 0]);
    assert_eq!(as_of(&receiver).await?, [0; 4], "of a draft it knows nothing");
    act(&mut three.sender, &draft, ReferralMove::Request).await?;
    endpoint.received(1).await?;
    assert_eq!(as_of(&sender).await?, [1, 1, 2, 1]);
    assert_eq!(as_of(&receiver).await?, [0, 1, 2, 1], "the assessment stays with the sender");
    assert_eq!(as_of(&stranger).await?, [0; 4]);
    assert_eq!(visible(&service).await?, [0; 4], "no setting");

    let transaction = tenant::begin(&service, &stranger, Mode::Write).await?;
    let row = referral_row::Entity::find().one(&three.db.db).await?.expect("a row");
    let taken = referral_row::Entity::update_many()
        .set(referral_row::ActiveModel {
            sender_hospital_id: Set(STRANGER.to_owned()),
            ..Default::default()
        })
        .filter(referral_row::Column::ReferralId.eq(row.referral_id))
        .exec(&transaction)
        .await?;
    assert_eq!(taken.rows_affected, 0);
    assert_eq!(outbox_row::Entity::delete_many().exec(&transaction).await?.rows_affected, 0);
    assert_eq!(assessment_row::Entity::delete_many().exec(&transaction).await?.rows_affected, 0);
    transaction.rollback().await?;

    // In another's name nobody writes: not the stranger, nor the receiver.
    for hospital_id in [&stranger, &receiver] {
        let transaction = tenant::begin(&service, hospital_id, Mode::Write).await?;
        let mut forged = row.clone().into_active_model();
        forged.referral_id = Set(Uuid::now_v7());
        forged.request_id = Set(Uuid::now_v7());
        assert!(forged.insert(&transaction).await.is_err(), "{hospital_id}");
        transaction.rollback().await?;
    }
    let transaction = tenant::begin(&service, &stranger, Mode::Write).await?;
    let event = event_row::Entity::find().one(&three.db.db).await?.expect("an event");
    let mut forged = event.into_active_model();
    (forged.event_id, forged.request_id) = (Set(Uuid::now_v7()), Set(Uuid::now_v7()));
    forged.revision = Set(9);
    assert!(forged.insert(&transaction).await.is_err());
    transaction.rollback().await?;

    // What happened, happened: not even the parties change events.
    let transaction = tenant::begin(&service, &sender, Mode::Write).await?;
    let changed = event_row::Entity::update_many()
        .set(event_row::ActiveModel { actor_id: Set("x".to_owned()), ..Default::default() })
        .exec(&transaction)
        .await?;
    assert_eq!(changed.rows_affected, 0);
    transaction.rollback().await?;

    // A reason is seen by those who see its referral, and nobody removes it.
    let sent = get(&mut three.sender, &draft).await?;
    act(&mut three.receiver, &sent, ReferralMove::Decline).await?;
    let sealed = reason_row::Entity::find().one(&three.db.db).await?.expect("a reason");
    for (hospital_id, expected) in [(&sender, 1), (&receiver, 1), (&stranger, 0)] {
        let transaction = tenant::begin(&service, hospital_id, Mode::Write).await?;
        let seen = reason_row::Entity::find().count(&transaction).await?;
        assert_eq!(seen, expected, "{hospital_id}");
        let changed = reason_row::Entity::update_many()
            .set(reason_row::ActiveModel { sealed: Set(None), ..Default::default() });
        if expected == 0 {
            assert_eq!(changed.exec(&transaction).await?.rows_affected, 0);
            let mut forged = sealed.clone().into_active_model();
            forged.event_id = Set(Uuid::now_v7());
            assert!(forged.insert(&transaction).await.is_err(), "{hospital_id}");
        } else {
            let removed = reason_row::Entity::delete_many().exec(&transaction).await?;
            assert_eq!(removed.rows_affected, 0, "{hospital_id}");
        }
        transaction.rollback().await?;
    }
    assert_eq!(reason_row::Entity::find().count(&service).await?, 0, "no setting");
    three.stop().await
}
