//! Events that were given up, and letting them go.

use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::referral::v1::{
    DeadLetter, DeadLetterCause, DeadLetterRelease, ListDeadLettersRequest,
    ListDeadLettersResponse, Referral, ReferralMove, ReleaseDeadLetterRequest,
    ReleaseDeadLetterResponse,
};
use neurotriage_testkit::databases;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};
use uuid::Uuid;

use super::{
    harness::{HOSPITAL, Harness, OTHER_HOSPITAL, PATIENCE, assert_refused},
    receiver::{Answer, Receiver},
};

const GONE: Answer = Answer::Status("410 Gone", "");
const BROKEN: Answer = Answer::Status("500 Internal Server Error", "");

async fn page(
    harness: &Harness,
    request: ListDeadLettersRequest,
) -> Result<ListDeadLettersResponse, Status> {
    Ok(harness.client().list_dead_letters(request).await?.into_inner())
}

/// Returns the dead letters, once there are `count`.
async fn dead_letters(harness: &Harness, count: usize) -> anyhow::Result<Vec<DeadLetter>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let letters = page(harness, ListDeadLettersRequest::default()).await?.dead_letters;
        if letters.len() == count {
            return Ok(letters);
        }
        anyhow::ensure!(Instant::now() < deadline, "{} dead letters", letters.len());
        sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn release_request(letter: &DeadLetter, release: DeadLetterRelease) -> ReleaseDeadLetterRequest {
    ReleaseDeadLetterRequest {
        event_id: letter.event.clone().unwrap_or_default().event_id,
        release: release.into(),
        dead_at: letter.dead_at,
    }
}

async fn release(
    harness: &Harness,
    request: ReleaseDeadLetterRequest,
) -> Result<ReleaseDeadLetterResponse, Status> {
    Ok(harness.client().release_dead_letter(request).await?.into_inner())
}

async fn accepted(harness: &Harness) -> anyhow::Result<Referral> {
    let draft = harness.draft().await?;
    harness.walk(&draft, &[ReferralMove::Request, ReferralMove::Accept]).await
}

#[tokio::test]
async fn a_refused_event_holds_back_its_referral_until_it_is_tried_again() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let receiver = Receiver::start(vec![GONE, GONE]).await?;
        let harness = Harness::start(db, receiver.events(20)?).await?;
        let referral = accepted(&harness).await?;
        let letter = dead_letters(&harness, 1).await?.remove(0);
        assert_eq!(letter.cause(), DeadLetterCause::Refused);
        assert_eq!((letter.hospital_id.as_str(), letter.attempts), (HOSPITAL, 1));
        let event = letter.event.clone().unwrap_or_default();
        assert_eq!((event.referral_id.as_str(), event.sequence), (&*referral.referral_id, 2));
        assert_eq!(letter.held_back, 1);

        // Released, it dies again, and the request repeated does not release the second death.
        let again = release_request(&letter, DeadLetterRelease::Retry);
        let released = release(&harness, again.clone()).await?;
        assert_eq!((released.event, released.held_back), (Some(event.clone()), 1));
        receiver.received(2).await?;
        let second = dead_letters(&harness, 1).await?.remove(0);
        assert_ne!(second.dead_at, letter.dead_at);
        assert_eq!(release(&harness, again).await?.event, Some(event.clone()));
        assert_eq!(dead_letters(&harness, 1).await?, std::slice::from_ref(&second));

        release(&harness, release_request(&second, DeadLetterRelease::Retry)).await?;
        let received = receiver.received(4).await?;
        let sequences: Vec<u64> = received.iter().map(|one| one.event().sequence).collect();
        assert_eq!(sequences, [2, 2, 2, 3]);
        dead_letters(&harness, 0).await?;
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_skipped_event_leaves_a_gap_and_the_next_follow() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        // Tried twice, given up.
        let receiver = Receiver::start(vec![BROKEN, BROKEN]).await?;
        let harness = Harness::start(db, receiver.events(2)?).await?;
        accepted(&harness).await?;
        let letter = dead_letters(&harness, 1).await?.remove(0);
        assert_eq!(letter.cause(), DeadLetterCause::AttemptsSpent);
        assert_eq!(letter.attempts, 2);
        let skip = release_request(&letter, DeadLetterRelease::Skip);
        release(&harness, skip.clone()).await?;
        let received = receiver.received(3).await?;
        assert_eq!(received[2].event().sequence, 3);
        release(&harness, skip.clone()).await?;

        let retry = release_request(&letter, DeadLetterRelease::Retry);
        let refused = release(&harness, retry).await;
        assert_refused(refused, Code::FailedPrecondition, "NOT_DEAD", "released the other way");
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn dead_letters_come_longest_dead_first_in_pages_by_hospital() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let receiver = Receiver::start(vec![GONE; 5]).await?;
        let harness = Harness::start(db, receiver.events(20)?).await?;
        let mut made = Vec::new();
        for dead in 1..=5 {
            let sent = harness.walk(&harness.draft().await?, &[ReferralMove::Request]).await?;
            dead_letters(&harness, dead).await?;
            made.push(sent.referral_id);
        }
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let hospital_id = HOSPITAL.to_owned();
            let request = ListDeadLettersRequest { page_size: 2, page_token, hospital_id };
            let page = page(&harness, request).await?;
            found.extend(page.dead_letters.into_iter().filter_map(|letter| letter.event));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let found: Vec<String> = found.into_iter().map(|event| event.referral_id).collect();
        assert_eq!(found, made);
        let hospital_id = OTHER_HOSPITAL.to_owned();
        let elsewhere = ListDeadLettersRequest { hospital_id, ..Default::default() };
        assert_eq!(page(&harness, elsewhere).await?.dead_letters, []);

        // (what the row is for, token)
        for (case, token) in [("text", "banana"), ("no id", "7/8"), ("far", "9223372036854775807/")]
        {
            let page_token = token.to_owned();
            let request = ListDeadLettersRequest { page_token, ..Default::default() };
            let refused = page(&harness, request).await;
            assert_refused(refused, Code::InvalidArgument, "INVALID_FIELDS", case);
        }
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_release_refuses_what_it_should() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let receiver = Receiver::start(vec![]).await?;
        let harness = Harness::start(db, receiver.events(20)?).await?;
        let sent = harness.walk(&harness.draft().await?, &[ReferralMove::Request]).await?;
        receiver.received(1).await?;
        let events = harness.events(&sent.referral_id).await?;
        let request = |event_id: &str| ReleaseDeadLetterRequest {
            event_id: event_id.to_owned(),
            release: DeadLetterRelease::Skip.into(),
            dead_at: events[1].occurred_at,
        };
        let unknown = Uuid::now_v7().to_string();
        // (what the row is for, request, code, reason)
        let table = [
            ("empty", ReleaseDeadLetterRequest::default(), Code::InvalidArgument, "INVALID_FIELDS"),
            ("unknown", request(&unknown), Code::NotFound, "EVENT_NOT_FOUND"),
            // The draft's own event goes nowhere.
            ("not sent", request(&events[0].event_id), Code::NotFound, "EVENT_NOT_FOUND"),
            ("alive", request(&events[1].event_id), Code::FailedPrecondition, "NOT_DEAD"),
        ];
        for (case, request, code, reason) in table {
            assert_refused(release(&harness, request).await, code, reason, case);
        }
        harness.stop().await?;
    }
    Ok(())
}
