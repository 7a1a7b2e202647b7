//! Pages of referrals and events.

use neurotriage_domain::PatientId;
use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::referral::v1::{
    GetReferralRequest, ListEventsRequest, ListReferralsRequest, Referral, ReferralMove,
    ReferralState,
};
use neurotriage_referral::Events;
use neurotriage_testkit::{TestDb, databases};
use sea_orm::{ConnectionTrait as _, Statement, TransactionTrait as _};
use tonic::{Code, Status};
use uuid::Uuid;

use super::harness::{
    DEVELOPMENT, HOSPITAL, Harness, OTHER_HOSPITAL, REFERRER, assert_refused, assessment_of,
    create_request, move_request,
};

async fn list(
    harness: &Harness,
    request: ListReferralsRequest,
) -> Result<(Vec<Referral>, String), Status> {
    let page = harness.client().list_referrals(request).await?.into_inner();
    Ok((page.referrals, page.next_page_token))
}

fn to_hospital() -> ListReferralsRequest {
    ListReferralsRequest { hospital_id: HOSPITAL.to_owned(), ..Default::default() }
}

fn ids(referrals: &[Referral]) -> Vec<&str> {
    referrals.iter().map(|referral| referral.referral_id.as_str()).collect()
}

#[tokio::test]
async fn referrals_come_newest_first_in_pages() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = Harness::start(db, Events::default()).await?;
        let patient_id = PatientId::generate();
        let assessment_id = assessment_of(&harness.db, DEVELOPMENT, patient_id).await?;
        let mut made = Vec::new();
        for _ in 0..5 {
            let draft = harness.create(create_request(assessment_id)).await?;
            made.push(harness.walk(&draft, &[ReferralMove::Request]).await?);
        }
        // Of others.
        harness.draft().await?;
        let mut elsewhere = create_request(assessment_id);
        elsewhere.hospital_id = OTHER_HOSPITAL.to_owned();
        let elsewhere = harness.create(elsewhere).await?;
        made.reverse();

        let mut found = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListReferralsRequest { page_size: 2, page_token, ..to_hospital() };
            let (page, next) = list(&harness, request).await?;
            assert!((1..=2).contains(&page.len()));
            found.extend(page);
            page_token = next;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(found, made);

        let patient_id = patient_id.to_string();
        let of_patient = ListReferralsRequest { patient_id, ..Default::default() };
        let (of_patient, _) = list(&harness, of_patient).await?;
        assert_eq!((of_patient.len(), &of_patient[0]), (6, &elsewhere));
        let referrer_id = REFERRER.to_owned();
        let by_referrer = ListReferralsRequest { referrer_id, ..Default::default() };
        assert_eq!(list(&harness, by_referrer).await?.0.len(), 7);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_hospital_does_not_see_what_was_never_sent() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = Harness::start(db, Events::default()).await?;
        let sent = harness.walk(&harness.draft().await?, &[ReferralMove::Request]).await?;
        let withdrawn = harness.walk(&sent, &[ReferralMove::Cancel]).await?;
        let draft = harness.draft().await?;
        let torn_up = harness.walk(&harness.draft().await?, &[ReferralMove::Cancel]).await?;
        assert_eq!(withdrawn.state(), torn_up.state());

        let (seen, _) = list(&harness, to_hospital()).await?;
        assert_eq!(ids(&seen), [withdrawn.referral_id.as_str()]);
        let by_referrer = |states: &[ReferralState]| ListReferralsRequest {
            referrer_id: REFERRER.to_owned(),
            states: states.iter().map(|&state| state.into()).collect(),
            ..Default::default()
        };
        let all = list(&harness, by_referrer(&[])).await?.0;
        assert_eq!(all.len(), 3);
        let drafts = list(&harness, by_referrer(&[ReferralState::Draft])).await?.0;
        assert_eq!(ids(&drafts), [draft.referral_id.as_str()]);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn events_are_listed_after_a_number_and_in_pages() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = Harness::start(db, Events::default()).await?;
        use ReferralMove::{Accept, Complete, Receive, Request};
        let done =
            harness.walk(&harness.draft().await?, &[Request, Receive, Accept, Complete]).await?;
        let request = |after_sequence, page_token: &str| ListEventsRequest {
            referral_id: done.referral_id.clone(),
            after_sequence,
            page_size: 2,
            page_token: page_token.to_owned(),
        };
        let first = harness.client().list_events(request(1, "")).await?.into_inner();
        let second =
            harness.client().list_events(request(1, &first.next_page_token)).await?.into_inner();
        let sequences: Vec<u64> =
            first.events.iter().chain(&second.events).map(|event| event.sequence).collect();
        assert_eq!(sequences, [2, 3, 4, 5]);
        assert_eq!(second.next_page_token, "");
        let none = harness.client().list_events(request(5, "")).await?.into_inner();
        assert_eq!(none.events, []);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn lists_refuse_what_they_should() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = Harness::start(db, Events::default()).await?;
        let both = ListReferralsRequest { referrer_id: REFERRER.to_owned(), ..to_hospital() };
        let state = ReferralState::Unspecified.into();
        // (what the row is for, request)
        let table = [
            ("nothing", ListReferralsRequest::default()),
            ("two things", both),
            ("size", ListReferralsRequest { page_size: 201, ..to_hospital() }),
            ("token", ListReferralsRequest { page_token: "7".to_owned(), ..to_hospital() }),
            ("state", ListReferralsRequest { states: vec![state], ..to_hospital() }),
        ];
        for (case, request) in table {
            let refused = list(&harness, request).await;
            assert_refused(refused, Code::InvalidArgument, "INVALID_FIELDS", case);
        }
        let unknown = Uuid::now_v7().to_string();
        let events = harness.events(&unknown).await;
        assert_refused(events, Code::NotFound, "REFERRAL_NOT_FOUND", "events of nothing");
        let request = GetReferralRequest { referral_id: unknown, role: 0 };
        let found = harness.client().get_referral(request).await;
        assert_refused(found, Code::NotFound, "REFERRAL_NOT_FOUND", "nothing");
        let draft = harness.draft().await?;
        let request = GetReferralRequest { referral_id: draft.referral_id.clone(), role: 3 };
        let found = harness.client().get_referral(request).await;
        assert_refused(found, Code::InvalidArgument, "INVALID_FIELDS", "as the system");
        assert!(harness.make_move(move_request(&draft, ReferralMove::Request)).await.is_ok());
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_grows_is_read_from_an_index() -> anyhow::Result<()> {
    let db = TestDb::sqlite::<Migrator>().await?;
    // What a hospital sent, or what was sent to it.
    let known = "(sender_hospital_id = 'b' OR (hospital_id = 'b' AND state <> 'draft' \
                 AND NOT (revision = 2 AND state IN ('cancelled', 'expired'))))";
    // (what the row is for, query, index)
    let table = [
        (
            "page of a hospital",
            "SELECT * FROM referral WHERE {known} AND hospital_id = 'a' AND state <> 'draft' \
             AND referral_id < x'00' ORDER BY referral_id DESC LIMIT 51",
            "ix_referral_hospital_id_referral_id",
        ),
        (
            "page of a patient",
            "SELECT * FROM referral WHERE {known} AND patient_id = x'00' AND referral_id < x'00' \
             ORDER BY referral_id DESC LIMIT 51",
            "ix_referral_patient_id_referral_id",
        ),
        (
            "page of a referrer",
            "SELECT * FROM referral WHERE {known} AND referrer_id = 'a' AND referral_id < x'00' \
             ORDER BY referral_id DESC LIMIT 51",
            "ix_referral_referrer_id_referral_id",
        ),
        (
            "referrals to expire",
            "SELECT referral_id FROM referral WHERE state IN ('draft', 'requested', 'received') \
             AND deadline_at <= '2026' ORDER BY deadline_at, referral_id LIMIT 100",
            "ix_referral_state_deadline_at",
        ),
        (
            "history",
            "SELECT * FROM referral_event WHERE referral_id IN (SELECT referral_id FROM referral \
             WHERE {known} AND referral_id = x'00') AND revision > 1 ORDER BY revision LIMIT 200",
            "uq_referral_event_referral_id_revision",
        ),
        (
            "look at a hospital",
            "SELECT * FROM referral_event WHERE referral_id IN (SELECT referral_id FROM referral \
             WHERE {known} AND hospital_id = 'a' AND updated_at >= '2026') AND occurred_at >= '2026' \
             ORDER BY occurred_at, referral_id, revision LIMIT 200",
            "ix_referral_hospital_id_updated_at",
        ),
        (
            "events to deliver",
            "SELECT * FROM outbox WHERE fate = 'pending' AND look_at <= '2026' AND NOT EXISTS \
             (SELECT 1 FROM outbox AS earlier WHERE earlier.referral_id = outbox.referral_id \
             AND earlier.sequence < outbox.sequence AND earlier.fate IN ('pending', 'dead')) \
             ORDER BY look_at, event_id LIMIT 32",
            "ix_outbox_fate_look_at_event_id",
        ),
        (
            "dead letters",
            "SELECT * FROM outbox WHERE (sender_hospital_id = 'b' OR hospital_id = 'b') AND fate = 'dead' AND (settled_at > '2026' OR (settled_at = '2026' \
             AND event_id > x'00')) ORDER BY settled_at, event_id LIMIT 51",
            "ix_outbox_fate_settled_at_event_id",
        ),
    ];
    // One connection: another may not have noticed the indexes yet, and only a query that is carried out
    // makes it look.
    let connection = db.db.begin().await?;
    connection.execute_unprepared("SELECT * FROM outbox").await?;
    for (case, query, index) in table {
        let backend = db.db.get_database_backend();
        let query = format!("EXPLAIN QUERY PLAN {}", query.replace("{known}", known));
        let statement = Statement::from_string(backend, query);
        let mut plan = Vec::new();
        for row in connection.query_all_raw(statement).await? {
            plan.push(row.try_get::<String>("", "detail")?);
        }
        assert!(plan.iter().any(|step| step.contains(index)), "case: {case}: {plan:?}");
        let scans = plan.iter().any(|step| step.starts_with("SCAN") && !step.contains("INDEX"));
        assert!(!scans, "case: {case}: {plan:?}");
    }
    connection.rollback().await?;
    db.drop().await
}
