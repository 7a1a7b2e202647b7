//! Creating and moving.

use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::referral::v1::{
    Actor, ActorRole, CreateReferralRequest, EventKind, GetReferralRequest, MoveReferralRequest,
    Referral, ReferralMove, ReferralState,
};
use neurotriage_referral::{
    Events,
    lifecycle::{
        Lifecycle, Posting,
        store::{EventPlace, LifecycleStore as _},
    },
    store::lifecycle::{SqlLifecycleStore, outbox_row, referral_row},
};
use neurotriage_testkit::{TestDb, databases};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, PaginatorTrait as _,
    QueryFilter as _, sea_query::Expr,
};
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::harness::{
    DEVELOPMENT, HOSPITAL, Harness, OTHER_HOSPITAL, actor, assert_refused, create_request,
    in_hours, kinds, move_request,
};
use crate::support::keys::ledger;

#[tokio::test]
async fn a_referral_is_moved_to_its_end_and_each_move_leaves_an_event() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = Harness::start(db, Events::default()).await?;
        let draft = harness.draft().await?;
        assert_eq!((draft.state(), draft.revision), (ReferralState::Draft, 1));
        use ReferralMove::{Accept, Complete, Receive, Request, Schedule};
        let moves = [Request, Receive, Accept, Schedule, Schedule, Complete];
        let done = harness.walk(&draft, &moves).await?;
        assert_eq!((done.state(), done.revision), (ReferralState::Completed, 7));
        assert!(done.scheduled_at.is_some());
        assert_eq!(
            (done.patient_id.as_str(), done.reason.as_str()),
            (draft.patient_id.as_str(), "")
        );

        let events = harness.events(&draft.referral_id).await?;
        assert_eq!(
            kinds(&events),
            [
                EventKind::Drafted,
                EventKind::Requested,
                EventKind::Received,
                EventKind::Accepted,
                EventKind::Scheduled,
                EventKind::Rescheduled,
                EventKind::Completed,
            ]
        );
        let request = GetReferralRequest {
            referral_id: draft.referral_id.clone(),
            role: ActorRole::Hospital.into(),
        };
        let found = harness.client().get_referral(request).await?.into_inner();
        assert_eq!((found.referral, found.legal_moves), (Some(done), vec![]));
        // Without a place to deliver to, nothing waits to be delivered.
        assert_eq!(outbox_row::Entity::find().count(&harness.db.db).await?, 0);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_repeated_creation_returns_the_referral_as_it_is_now() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = Harness::start(db, Events::default()).await?;
        let mut request = create_request(harness.assessment().await?);
        request.deadline_at = Some(in_hours(24));
        let (one, other) =
            tokio::join!(harness.create(request.clone()), harness.create(request.clone()));
        let draft = one?;
        assert_eq!(other?, draft);
        let requested = harness.walk(&draft, &[ReferralMove::Request]).await?;
        assert_eq!(harness.create(request.clone()).await?, requested);

        let reused = |change: &dyn Fn(&mut CreateReferralRequest)| {
            let mut other = request.clone();
            change(&mut other);
            other
        };
        // (what the row is for, request)
        let table = [
            ("assessment", reused(&|r| r.assessment_id = Uuid::now_v7().to_string())),
            ("hospital", reused(&|r| r.hospital_id = OTHER_HOSPITAL.to_owned())),
            ("referrer", reused(&|r| r.referrer_id = "practice-8".to_owned())),
            ("deadline", reused(&|r| r.deadline_at = None)),
        ];
        for (case, request) in table {
            let refused = harness.create(request).await;
            assert_refused(refused, Code::AlreadyExists, "REQUEST_ID_REUSED", case);
        }
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn creation_refuses_what_it_should() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = Harness::start(db, Events::default()).await?;
        let closed = "UPDATE hospital SET accepts_referrals = FALSE WHERE hospital_id = 'sample-b'";
        harness.db.db.execute_unprepared(closed).await?;
        let base = create_request(harness.assessment().await?);
        let with = |change: &dyn Fn(&mut CreateReferralRequest)| {
            let request_id = Uuid::now_v7().to_string();
            let mut request = CreateReferralRequest { request_id, ..base.clone() };
            change(&mut request);
            request
        };
        let year_zero = prost_types::Timestamp { seconds: -62_200_000_000, nanos: 0 };
        // (what the row is for, request, code, reason)
        let table = [
            ("empty", CreateReferralRequest::default(), Code::InvalidArgument, "INVALID_FIELDS"),
            (
                "referrer with a blank",
                with(&|r| r.referrer_id = "Dr Who".to_owned()),
                Code::InvalidArgument,
                "INVALID_FIELDS",
            ),
            (
                "no year",
                with(&|r| r.deadline_at = Some(year_zero)),
                Code::InvalidArgument,
                "INVALID_FIELDS",
            ),
            (
                "deadline",
                with(&|r| r.deadline_at = Some(in_hours(-1))),
                Code::InvalidArgument,
                "DEADLINE_IN_PAST",
            ),
            (
                "assessment",
                with(&|r| r.assessment_id = Uuid::now_v7().to_string()),
                Code::NotFound,
                "ASSESSMENT_NOT_FOUND",
            ),
            (
                "hospital",
                with(&|r| r.hospital_id = "nowhere".to_owned()),
                Code::NotFound,
                "HOSPITAL_NOT_FOUND",
            ),
            (
                "closed hospital",
                with(&|r| r.hospital_id = OTHER_HOSPITAL.to_owned()),
                Code::FailedPrecondition,
                "HOSPITAL_CLOSED",
            ),
        ];
        for (case, request, code, reason) in table {
            assert_refused(harness.create(request).await, code, reason, case);
        }
        let status = harness.create(CreateReferralRequest::default()).await.expect_err("empty");
        let fields: Vec<String> = status
            .get_details_bad_request()
            .map(|bad| bad.field_violations.into_iter().map(|one| one.field).collect())
            .unwrap_or_default();
        assert_eq!(fields, ["request_id", "assessment_id", "hospital_id", "referrer_id"]);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_repeated_move_returns_what_it_returned_whatever_came_since() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = Harness::start(db, Events::default()).await?;
        let draft = harness.draft().await?;
        let requested = harness.walk(&draft, &[ReferralMove::Request]).await?;
        let accept = move_request(&requested, ReferralMove::Accept);
        let accepted = harness.make_move(accept.clone()).await?;
        let referral = accepted.referral.clone().unwrap_or_default();
        harness.walk(&referral, &[ReferralMove::Schedule]).await?;
        assert_eq!(harness.make_move(accept.clone()).await?, accepted);

        let other = MoveReferralRequest { r#move: ReferralMove::Complete.into(), ..accept };
        let refused = harness.make_move(other).await;
        assert_refused(refused, Code::AlreadyExists, "REQUEST_ID_REUSED", "another move");
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_move_is_refused_with_what_would_be_legal() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = Harness::start(db, Events::default()).await?;
        let draft = harness.draft().await?;
        let received =
            harness.walk(&draft, &[ReferralMove::Request, ReferralMove::Receive]).await?;
        let with = |kind: ReferralMove, change: &dyn Fn(&mut MoveReferralRequest)| {
            let mut request = move_request(&received, kind);
            change(&mut request);
            request
        };
        let stranger =
            Actor { role: ActorRole::Hospital.into(), actor_id: OTHER_HOSPITAL.to_owned() };
        use Code::{FailedPrecondition, InvalidArgument, NotFound, PermissionDenied};
        use ReferralMove::{Accept, Cancel, Complete, Decline, Expire, Schedule};
        // (what the row is for, request, code, reason)
        let table = [
            ("empty", MoveReferralRequest::default(), InvalidArgument, "INVALID_FIELDS"),
            (
                "as the system",
                with(Expire, &|r| r.actor = actor(ActorRole::System)),
                InvalidArgument,
                "INVALID_FIELDS",
            ),
            ("no reason", with(Decline, &|r| r.reason.clear()), InvalidArgument, "INVALID_FIELDS"),
            (
                "reason of blanks",
                with(Cancel, &|r| r.reason = "  ".to_owned()),
                InvalidArgument,
                "INVALID_FIELDS",
            ),
            (
                "reason unasked",
                with(Accept, &|r| r.reason = "why not".to_owned()),
                InvalidArgument,
                "INVALID_FIELDS",
            ),
            (
                "unknown",
                with(Accept, &|r| r.referral_id = Uuid::now_v7().to_string()),
                NotFound,
                "REFERRAL_NOT_FOUND",
            ),
            (
                "stranger",
                with(Accept, &|r| r.actor = Some(stranger.clone())),
                PermissionDenied,
                "NOT_PARTY",
            ),
            (
                "other role",
                with(Accept, &|r| r.actor = actor(ActorRole::Referrer)),
                PermissionDenied,
                "ROLE_NOT_ALLOWED",
            ),
            (
                "stale",
                with(Accept, &|r| r.expected_revision = 2),
                FailedPrecondition,
                "REVISION_STALE",
            ),
            ("not legal", with(Complete, &|_| {}), FailedPrecondition, "MOVE_NOT_LEGAL"),
            ("no deadline", with(Expire, &|_| {}), PermissionDenied, "ROLE_NOT_ALLOWED"),
            (
                "appointment too early in the cycle",
                with(Schedule, &|_| {}),
                FailedPrecondition,
                "MOVE_NOT_LEGAL",
            ),
        ];
        for (case, request, code, reason) in table {
            assert_refused(harness.make_move(request).await, code, reason, case);
        }
        let stale = with(Accept, &|request| request.expected_revision = 2);
        let status = harness.make_move(stale).await.expect_err("stale");
        let metadata =
            status.get_details_error_info().map(|info| info.metadata).unwrap_or_default();
        assert_eq!(metadata["state"], "received");
        assert_eq!(metadata["revision"], "3");
        assert_eq!(metadata["legalMoves"], "accept, decline");

        let accepted = harness.walk(&received, &[Accept]).await?;
        let mut past = move_request(&accepted, Schedule);
        past.scheduled_at = Some(in_hours(-1));
        let refused = harness.make_move(past).await;
        assert_refused(refused, InvalidArgument, "SCHEDULED_IN_PAST", "past");
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_reason_is_kept_for_the_parties_and_in_no_error() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = Harness::start(db, Events::default()).await?;
        let requested = harness.walk(&harness.draft().await?, &[ReferralMove::Request]).await?;
        let mut decline = move_request(&requested, ReferralMove::Decline);
        decline.reason = "  Mrs Miller is known elsewhere ".to_owned();
        let declined = harness.make_move(decline.clone()).await?.referral.unwrap_or_default();
        assert_eq!(declined.state(), ReferralState::Declined);
        assert_eq!(declined.reason, "Mrs Miller is known elsewhere");

        decline.reason = "Mr Smith".to_owned();
        let status = harness.make_move(decline).await.expect_err("reused");
        assert!(!format!("{status:?}").contains("Smith"), "{status:?}");
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_moves_at_the_same_time_one_is_made() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = Harness::start(db, Events::default()).await?;
        let draft = harness.draft().await?;
        let requested = harness.walk(&draft, &[ReferralMove::Request]).await?;
        let one = |kind| harness.make_move(move_request(&requested, kind));
        let results = tokio::join!(
            one(ReferralMove::Accept),
            one(ReferralMove::Decline),
            one(ReferralMove::Receive),
            one(ReferralMove::Accept),
        );
        let results = [results.0, results.1, results.2, results.3];
        let made = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(made, 1);
        for refused in results.into_iter().filter(|result| result.is_err()) {
            assert_refused(refused, Code::FailedPrecondition, "REVISION_STALE", "slower");
        }
        assert_eq!(harness.events(&draft.referral_id).await?.len(), 3);
        harness.stop().await?;
    }
    Ok(())
}

/// Returns a referral in state `requested` whose deadline has passed.
async fn overdue(harness: &Harness) -> anyhow::Result<Referral> {
    let mut request = create_request(harness.assessment().await?);
    request.deadline_at = Some(in_hours(1));
    let draft = harness.create(request).await?;
    let requested = harness.walk(&draft, &[ReferralMove::Request]).await?;
    let past = OffsetDateTime::now_utc() - Duration::minutes(1);
    referral_row::Entity::update_many()
        .col_expr(referral_row::Column::DeadlineAt, Expr::value(past))
        .filter(referral_row::Column::ReferralId.eq(requested.referral_id.parse::<Uuid>()?))
        .exec(&harness.db.db)
        .await?;
    Ok(requested)
}

#[tokio::test]
async fn what_nobody_answered_expires_once_and_cannot_be_answered_before() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = Harness::start(db, Events::default()).await?;
        let requested = overdue(&harness).await?;
        let refused = harness.make_move(move_request(&requested, ReferralMove::Accept)).await;
        assert_refused(refused, Code::FailedPrecondition, "DEADLINE_PASSED", "late");

        // Two sweeps at once, as of two replicas.
        let store = SqlLifecycleStore::new(ledger(&harness.db.service));
        let sweep = || Lifecycle::new(store.clone(), Posting::Off, 1, CancellationToken::new());
        let (one, other) = (sweep(), sweep());
        let (one, other) = tokio::join!(one.expire(10), other.expire(10));
        assert!(one? + other? >= 1);
        let events = harness.events(&requested.referral_id).await?;
        let expected = [EventKind::Drafted, EventKind::Requested, EventKind::Expired];
        assert_eq!(kinds(&events), expected);
        assert_eq!(events[2].actor_role(), ActorRole::System);
        assert_eq!(sweep().expire(10).await?, 0);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_referral_stays_readable_after_as_many_events_as_it_may_have() -> anyhow::Result<()> {
    let harness = Harness::start(TestDb::sqlite::<Migrator>().await?, Events::default()).await?;
    let draft = harness.draft().await?;
    let moves = [ReferralMove::Request, ReferralMove::Accept];
    let mut referral = harness.walk(&draft, &moves).await?;
    while referral.revision < 199 {
        referral = harness.walk(&referral, &[ReferralMove::Schedule]).await?;
    }
    let refused = harness.make_move(move_request(&referral, ReferralMove::Schedule)).await;
    assert_refused(refused, Code::FailedPrecondition, "TOO_MANY_EVENTS", "200th");
    let done = harness.walk(&referral, &[ReferralMove::Complete]).await?;
    assert_eq!((done.state(), done.revision), (ReferralState::Completed, 200));

    // Pages of a hospital's events go on where the page before ended.
    let store = SqlLifecycleStore::new(ledger(&harness.db.service));
    let (hospital_id, development) = (HOSPITAL.parse()?, DEVELOPMENT.parse()?);
    let since = OffsetDateTime::now_utc() - Duration::hours(1);
    let (mut after, mut sequences) = (None, Vec::new());
    loop {
        let page = store.events_of_hospital(&development, &hospital_id, since, after, 60).await?;
        let Some(last) = page.last() else { break };
        after = Some(EventPlace {
            occurred_at: last.occurred_at,
            referral_id: last.referral_id,
            sequence: last.sequence,
        });
        sequences.extend(page.iter().map(|event| event.sequence));
    }
    assert_eq!(sequences, (2..=200).collect::<Vec<u64>>());
    harness.stop().await
}
