//! Referrals, their events and dead letters, of the two hospitals.

use neurotriage_domain::EventId;
use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::referral::v1::{
    ActorRole, DeadLetter, DeadLetterRelease, ListDeadLettersRequest, ListReferralsRequest,
    ReferralMove, ReleaseDeadLetterRequest, WatchEventsRequest, watch_events_request::Subject,
};
use neurotriage_referral::{
    Events,
    lifecycle::{Lifecycle, Posting},
    store::lifecycle::{SqlLifecycleStore, referral_row},
};
use neurotriage_testkit::databases;
use sea_orm::{ActiveValue::Set, EntityTrait as _};
use time::OffsetDateTime;
use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::harness::{
    Clients, HOSPITAL, PATIENCE, SENDER, Seen, create, id, move_of, reason, start, start_with,
};
use crate::{
    lifecycle::receiver::{Answer, Receiver},
    support::keys::{keyring, ledger},
};

#[tokio::test]
async fn every_create_and_move_of_a_referral_is_noted() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let service = start(db).await?;
        let (store, case) = (service.db.db.clone(), service.case());
        let (mut sender, mut receiver) = (service.doctor(SENDER)?, service.doctor(HOSPITAL)?);
        let mut seen = Seen::default();
        let assessment_id = sender.assess(&case.assess()).await?.assessment_id;
        seen.name(&assessment_id, "its");
        seen.news(&store).await?;

        let request = create(&assessment_id);
        let draft = sender.create(&request).await?;
        seen.name(&draft.referral_id, "one");
        let asked = "read assessment its done fields=patient_id";
        assert_eq!(seen.news(&store).await?, ["create referral one done revision=1", asked]);
        assert_eq!(sender.create(&request).await?, draft);
        assert_eq!(seen.news(&store).await?, ["create referral one done reason=REPEATED"]);
        let mut other = request.clone();
        other.referrer_id = "practice-8".to_owned();
        sender.create(&other).await.unwrap_err();
        let reused = "create referral one failed reason=REQUEST_ID_REUSED";
        assert_eq!(seen.news(&store).await?, [reused]);
        sender.create(&create(&id())).await.unwrap_err();
        let absent = "read assessment ? failed reason=ASSESSMENT_NOT_FOUND";
        assert_eq!(seen.news(&store).await?, [absent]);

        // Of a draft the receiver knows nothing; what it tried is in its own audit.
        receiver.referral(&draft.referral_id).await.unwrap_err();
        let absent = "sample-a: read referral one failed reason=REFERRAL_NOT_FOUND";
        assert_eq!(seen.news(&store).await?, [absent]);
        let request = move_of(&draft, ReferralMove::Request, "");
        let sent = sender.make(&request).await?;
        assert_eq!(seen.news(&store).await?, ["update referral one done revision=2"]);
        assert_eq!(sender.make(&request).await?, sent);
        assert_eq!(seen.news(&store).await?, ["update referral one done reason=REPEATED"]);
        sender.make(&move_of(&draft, ReferralMove::Cancel, "late")).await.unwrap_err();
        let stale = "update referral one failed reason=REVISION_STALE";
        assert_eq!(seen.news(&store).await?, [stale]);
        sender.make(&move_of(&sent, ReferralMove::Accept, "")).await.unwrap_err();
        let not_party = "update referral one denied reason=NOT_PARTY";
        assert_eq!(seen.news(&store).await?, [not_party]);
        let unknown =
            neurotriage_proto::referral::v1::Referral { referral_id: id(), ..sent.clone() };
        sender.make(&move_of(&unknown, ReferralMove::Cancel, "none")).await.unwrap_err();
        let absent = "update referral ? failed reason=REFERRAL_NOT_FOUND";
        assert_eq!(seen.news(&store).await?, [absent]);
        receiver.make(&move_of(&sent, ReferralMove::Decline, "no bed free")).await?;
        assert_eq!(seen.news(&store).await?, ["sample-a: update referral one done revision=3"]);

        let mut kept = service.kept_to(&service.case().patient_id)?;
        let denied = kept.referral(&draft.referral_id).await.unwrap_err();
        assert_eq!(reason(&denied), "OTHER_PATIENT");
        kept.make(&move_of(&sent, ReferralMove::Cancel, "none")).await.unwrap_err();
        kept.create(&create(&assessment_id)).await.unwrap_err();
        assert_eq!(
            seen.news(&store).await?,
            [
                "read assessment its denied reason=OTHER_PATIENT",
                "read referral one denied reason=OTHER_PATIENT",
                "update referral one denied reason=OTHER_PATIENT",
            ]
        );
        drop((sender, receiver, kept));
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_look_at_referrals_is_noted_where_the_caller_is() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let service = start(db).await?;
        let store = service.db.db.clone();
        let (mut sender, mut receiver) = (service.doctor(SENDER)?, service.doctor(HOSPITAL)?);
        let mut seen = Seen::default();
        let sent = sender.sent(&service.case()).await?;
        seen.name(&sent.referral_id, "one");
        for revision in 1..=3 {
            let event_id = EventId::of(sent.referral_id.parse()?, revision).to_string();
            seen.name(&event_id, &format!("event-{revision}"));
        }
        seen.news(&store).await?;

        sender.referral(&sent.referral_id).await?;
        assert_eq!(seen.news(&store).await?, ["read referral one done revision=2"]);
        receiver.referral_as(&sent.referral_id, ActorRole::Hospital).await?;
        assert_eq!(seen.news(&store).await?, ["sample-a: read referral one done revision=2"]);
        receiver.referral_as(&sent.referral_id, ActorRole::Referrer).await.unwrap_err();
        assert_eq!(
            seen.news(&store).await?,
            ["sample-a: read referral one denied reason=NOT_PARTY"]
        );
        let by = |hospital_id: &str, patient_id: &str, referrer_id: &str| ListReferralsRequest {
            hospital_id: hospital_id.to_owned(),
            patient_id: patient_id.to_owned(),
            referrer_id: referrer_id.to_owned(),
            ..ListReferralsRequest::default()
        };
        receiver.referrals.list_referrals(by(HOSPITAL, "", "")).await?;
        let [read, search] =
            ["read referral one done revision=2", "search referral - done fields="];
        assert_eq!(
            seen.news(&store).await?,
            [format!("sample-a: {read}"), format!("sample-a: {search}hospital_id count=1")]
        );
        sender.referrals.list_referrals(by("", &sent.patient_id, "")).await?;
        let found = format!("{search}patient_id count=1");
        assert_eq!(seen.news(&store).await?, [read, found.as_str()]);
        sender.referrals.list_referrals(by("", "", "practice-8")).await?;
        assert_eq!(seen.news(&store).await?, [format!("{search}referrer_id count=0")]);

        assert_eq!(sender.events(&sent.referral_id).await?.len(), 2);
        assert_eq!(
            seen.news(&store).await?,
            [
                "read referral one done revision=2",
                "read referral_event event-1 done",
                "read referral_event event-2 done",
                "search referral_event - done count=2",
            ]
        );
        sender.events(&id()).await.unwrap_err();
        let absent = "read referral ? failed reason=REFERRAL_NOT_FOUND";
        assert_eq!(seen.news(&store).await?, [absent]);

        // A watch is noted when it begins; it looks again and again.
        let subject = Some(Subject::ReferralId(sent.referral_id.clone()));
        let watch = WatchEventsRequest { subject, after_sequence: 2 };
        let mut of_one = sender.referrals.watch_events(watch).await?.into_inner();
        let watched = "search referral_event - done fields=watch";
        assert_eq!(seen.news(&store).await?, [read, watched]);
        let subject = Some(Subject::HospitalId(HOSPITAL.to_owned()));
        let watch = WatchEventsRequest { subject, after_sequence: 0 };
        let mut of_all = receiver.referrals.watch_events(watch).await?.into_inner();
        assert_eq!(seen.news(&store).await?, [format!("sample-a: {watched}")]);
        receiver.make(&move_of(&sent, ReferralMove::Receive, "")).await?;
        for told in [&mut of_one, &mut of_all] {
            let told = timeout(PATIENCE, told.message()).await??.unwrap_or_default();
            assert_eq!(told.event.unwrap_or_default().sequence, 3);
        }
        assert_eq!(seen.news(&store).await?, ["sample-a: update referral one done revision=3"]);
        drop((of_one, of_all, sender, receiver));
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_the_worker_expires_is_noted_as_its_own_doing() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let service = start(db).await?;
        let store = service.db.db.clone();
        let mut sender = service.doctor(SENDER)?;
        let mut seen = Seen::default();
        let sent = sender.sent(&service.case()).await?;
        seen.name(&sent.referral_id, "one");
        seen.news(&store).await?;
        let past = OffsetDateTime::now_utc() - time::Duration::minutes(1);
        referral_row::Entity::update_many()
            .set(referral_row::ActiveModel { deadline_at: Set(Some(past)), ..Default::default() })
            .exec(&store)
            .await?;
        let lifecycle = SqlLifecycleStore::new(ledger(&service.db.service));
        let worker = Lifecycle::new(lifecycle, Posting::Off, 1, CancellationToken::new());
        assert_eq!(worker.expire(10).await?, 1);
        let who = "neurotriage-referral expiry of north-lake for HSYSADMIN";
        let expired = format!("{who}: update referral one done revision=3");
        assert_eq!(seen.news(&store).await?, [expired]);
        drop(sender);
        service.stop().await?;
    }
    Ok(())
}

async fn dead_letters(clients: &mut Clients) -> anyhow::Result<Vec<DeadLetter>> {
    let page = clients.referrals.list_dead_letters(ListDeadLettersRequest::default()).await?;
    Ok(page.into_inner().dead_letters)
}

#[tokio::test]
async fn dead_letters_are_noted_and_deliveries_are_not() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let endpoint = Receiver::start(vec![Answer::Status("410 Gone", "")]).await?;
        let service = start_with(db, keyring(), endpoint.events(20)?).await?;
        let store = service.db.db.clone();
        let (mut sender, mut receiver) = (service.doctor(SENDER)?, service.doctor(HOSPITAL)?);
        let mut seen = Seen::default();
        let sent = sender.sent(&service.case()).await?;
        let event_id = EventId::of(sent.referral_id.parse()?, 2).to_string();
        seen.name(&event_id, "event-2");
        seen.news(&store).await?;
        let deadline = Instant::now() + PATIENCE;
        let letter = loop {
            if let Some(letter) = dead_letters(&mut sender).await?.pop() {
                break letter;
            }
            anyhow::ensure!(Instant::now() < deadline, "no dead letter");
            sleep(Duration::from_millis(20)).await;
        };
        let search = "search referral_event - done fields=dead_letters count=";
        let mut news = seen.news(&store).await?;
        news.dedup();
        let [read, found, none] = [
            "read referral_event event-2 done".to_owned(),
            format!("{search}1"),
            format!("{search}0"),
        ];
        // However often none was found.
        news.retain(|one| *one != none);
        assert_eq!(news, [read, found]);

        let release = ReleaseDeadLetterRequest {
            event_id: event_id.clone(),
            release: DeadLetterRelease::Retry.into(),
            dead_at: letter.dead_at,
        };
        receiver.referrals.release_dead_letter(release.clone()).await?;
        endpoint.received(2).await?;
        let released = "sample-a: update referral_event event-2 done fields=release";
        assert_eq!(seen.news(&store).await?, [released]);
        receiver.referrals.release_dead_letter(release.clone()).await?;
        let repeated = "sample-a: update referral_event event-2 done reason=REPEATED";
        assert_eq!(seen.news(&store).await?, [repeated]);
        let skip = DeadLetterRelease::Skip.into();
        let other = ReleaseDeadLetterRequest { release: skip, ..release.clone() };
        sender.referrals.release_dead_letter(other).await.unwrap_err();
        let not_dead = "update referral_event event-2 failed reason=NOT_DEAD";
        assert_eq!(seen.news(&store).await?, [not_dead]);
        let unknown = ReleaseDeadLetterRequest { event_id: id(), ..release };
        sender.referrals.release_dead_letter(unknown).await.unwrap_err();
        let absent = "update referral_event ? failed reason=EVENT_NOT_FOUND";
        assert_eq!(seen.news(&store).await?, [absent]);
        drop((sender, receiver));
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_watch_of_what_is_not_there_is_noted_and_takes_no_place() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let events = Events { watchers_max: 1, ..Events::default() };
        let service = start_with(db, keyring(), events).await?;
        let store = service.db.db.clone();
        let mut sender = service.doctor(SENDER)?;
        let mut seen = Seen::default();
        for _ in 0..2 {
            let subject = Some(Subject::ReferralId(id()));
            let watch = WatchEventsRequest { subject, after_sequence: 0 };
            let refused = sender.referrals.watch_events(watch).await.unwrap_err();
            assert_eq!(reason(&refused), "REFERRAL_NOT_FOUND");
            let absent = "read referral ? failed reason=REFERRAL_NOT_FOUND";
            assert_eq!(seen.news(&store).await?, [absent]);
        }
        drop(sender);
        service.stop().await?;
    }
    Ok(())
}
