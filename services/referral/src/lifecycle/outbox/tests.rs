use proptest::prelude::*;
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-26 09:00 UTC);
const SECOND: Duration = Duration::from_secs(1);

fn row(sequence: u64) -> Row {
    let referral_id = ReferralId::from(Uuid::from_u128(7));
    Row::new(EventId::of(referral_id, sequence), referral_id, sequence, NOW)
}

fn lease(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// Short enough to reach every limit.
fn policy() -> Policy {
    Policy::new(PolicySettings {
        backoff_first: Duration::from_secs(10),
        backoff_max: Duration::from_secs(100),
        attempts_max: 4,
        age_max: Duration::from_secs(1_000),
        attempt_timeout: Duration::from_secs(5),
        lease: Duration::from_secs(20),
    })
    .unwrap()
}

fn failed() -> Outcome {
    Outcome::Failed { retry_after: None }
}

/// Returns the row after one failed attempt that began at `now`.
fn fail_at(row: &Row, now: OffsetDateTime) -> Row {
    let held = row.claim(lease(1), Ahead::Nothing, &policy(), now).unwrap();
    held.finish(lease(1), failed(), &policy(), now).unwrap()
}

#[test]
fn a_row_is_decided_by_fate_order_lease_attempts_age_and_backoff() {
    let fresh = row(1);
    let held = fresh.claim(lease(1), Ahead::Nothing, &policy(), NOW).unwrap();
    let failed = fail_at(&fresh, NOW);
    let due = NOW + policy().backoff(fresh.event_id, 1);
    let dead = Row { fate: Fate::Dead { at: NOW, cause: Cause::Refused }, ..fresh.clone() };
    let skipped = Row { fate: Fate::Skipped { at: NOW }, ..fresh.clone() };
    let delivered = Row { fate: Fate::Delivered { at: NOW }, ..fresh.clone() };
    let spent = Row { attempts: 4, ..failed.clone() };
    let asked = Row { not_before: Some(NOW + 50 * SECOND), ..failed.clone() };
    let asked_long = Row { not_before: Some(NOW + 5_000 * SECOND), ..failed.clone() };
    let old = NOW + 1_000 * SECOND;
    let released = Released { at: old, release: Release::Retry, dead_at: NOW };
    let released = Row { released: Some(released), ..failed.clone() };
    let lease_end = NOW + 20 * SECOND;
    let settled = Ahead::Settled { at: NOW + 500 * SECOND };
    let deliver = Decision::Deliver;
    let too_old = Decision::DeadLetter { cause: Cause::TooOld };
    let attempts_spent = Decision::DeadLetter { cause: Cause::AttemptsSpent };
    let leased = Decision::Leased { until: lease_end };
    // (what the row is for, row, ahead, now, decision)
    let table = [
        ("new", &fresh, Ahead::Nothing, NOW, deliver),
        ("new, after others", &fresh, settled, NOW + 500 * SECOND, deliver),
        ("behind one", &fresh, Ahead::Pending, NOW, Decision::HeldBack { by_dead_letter: false }),
        (
            "behind a dead one",
            &fresh,
            Ahead::Dead,
            NOW,
            Decision::HeldBack { by_dead_letter: true },
        ),
        ("delivered", &delivered, Ahead::Nothing, old, Decision::Settled),
        ("skipped", &skipped, Ahead::Nothing, old, Decision::Settled),
        ("dead", &dead, Ahead::Nothing, old, Decision::Dead),
        ("leased", &held, Ahead::Nothing, lease_end - SECOND, leased),
        ("lease over, backoff over", &held, Ahead::Nothing, lease_end, deliver),
        ("failed", &failed, Ahead::Nothing, NOW, Decision::Wait { until: due }),
        ("due", &failed, Ahead::Nothing, due, deliver),
        ("asked to wait", &asked, Ahead::Nothing, due, Decision::Wait { until: NOW + 50 * SECOND }),
        ("asked too long", &asked_long, Ahead::Nothing, due, Decision::Wait { until: old }),
        ("tried often", &spent, Ahead::Nothing, due, attempts_spent),
        ("never tried is never old", &fresh, Ahead::Nothing, old + 9_999 * SECOND, deliver),
        ("young", &failed, Ahead::Nothing, old - SECOND, deliver),
        ("old", &failed, Ahead::Nothing, old, too_old),
        ("old, its turn came late", &failed, settled, old, deliver),
        ("old, released", &released, Ahead::Nothing, old + 999 * SECOND, deliver),
        ("old since released", &released, Ahead::Nothing, old + 1_000 * SECOND, too_old),
    ];
    for (case, row, ahead, now, decision) in table {
        assert_eq!(row.decide(ahead, &policy(), now), decision, "case: {case}");
    }
}

#[test]
fn two_workers_do_not_hold_one_row_and_a_lease_that_ran_out_is_taken_over() {
    let held = row(1).claim(lease(1), Ahead::Nothing, &policy(), NOW).unwrap();
    let refused = held.claim(lease(2), Ahead::Nothing, &policy(), NOW + SECOND).unwrap_err();
    let decision = Decision::Leased { until: NOW + 20 * SECOND };
    assert_eq!(refused, OutboxError::NotDeliverable { event_id: held.event_id, decision });

    let later = NOW + 20 * SECOND;
    let taken = held.claim(lease(2), Ahead::Nothing, &policy(), later).unwrap();
    assert_eq!(taken.attempts, 2);
    let lost = OutboxError::LeaseLost { event_id: held.event_id };
    for outcome in [Outcome::Delivered, failed(), Outcome::Refused] {
        assert_eq!(taken.finish(lease(1), outcome, &policy(), later), Err(lost));
    }
    let done = taken.finish(lease(2), Outcome::Delivered, &policy(), later).unwrap();
    assert_eq!((done.fate, done.lease), (Fate::Delivered { at: later }, None));
    assert!(done.finish(lease(2), failed(), &policy(), later).is_err());
}

#[test]
fn a_late_note_counts_if_nobody_took_over() {
    let held = row(1).claim(lease(1), Ahead::Nothing, &policy(), NOW).unwrap();
    let late = NOW + 300 * SECOND;
    let done = held.finish(lease(1), Outcome::Delivered, &policy(), late).unwrap();
    assert_eq!(done.fate, Fate::Delivered { at: late });
}

#[test]
fn an_event_that_kills_its_workers_is_given_up() {
    let (mut row, mut now) = (row(1), NOW);
    for _ in 0..policy().settings().attempts_max {
        row = row.claim(lease(1), Ahead::Nothing, &policy(), now).unwrap();
        now += 200 * SECOND;
    }
    let dead = row.give_up(Ahead::Nothing, &policy(), now).unwrap();
    assert_eq!(dead.fate, Fate::Dead { at: now, cause: Cause::AttemptsSpent });
    assert_eq!(dead.lease, None);
}

#[test]
fn only_what_is_spent_is_given_up() {
    let refused = row(1).give_up(Ahead::Nothing, &policy(), NOW).unwrap_err();
    let event_id = row(1).event_id;
    assert_eq!(refused, OutboxError::NotDeliverable { event_id, decision: Decision::Deliver });
}

#[test]
fn what_a_receiver_asks_for_is_kept_up_to_the_longest_backoff() {
    let held = row(1).claim(lease(1), Ahead::Nothing, &policy(), NOW).unwrap();
    for (asked, kept) in [(30, 30), (100, 100), (86_400, 100)] {
        let outcome = Outcome::Failed { retry_after: Some(Duration::from_secs(asked)) };
        let row = held.finish(lease(1), outcome, &policy(), NOW).unwrap();
        assert_eq!(row.not_before, Some(NOW + kept * SECOND), "asked for {asked} s");
    }
    let longest = Outcome::Failed { retry_after: Some(Duration::MAX) };
    assert!(held.finish(lease(1), longest, &policy(), NOW).is_ok());
}

#[test]
fn a_dead_letter_holds_back_its_referral_until_it_is_released() {
    let held = row(1).claim(lease(1), Ahead::Nothing, &policy(), NOW).unwrap();
    let dead = held.finish(lease(1), Outcome::Refused, &policy(), NOW).unwrap();
    let rows = [dead.clone(), row(2), row(3)];
    assert_eq!(ahead_of_each(&rows), [Ahead::Nothing, Ahead::Dead, Ahead::Dead]);

    let at = NOW + 9_000 * SECOND;
    let skipped = dead.release(Release::Skip, NOW, at).unwrap();
    let rows = [skipped.clone(), row(2), row(3)];
    let ahead = ahead_of_each(&rows);
    assert_eq!(ahead, [Ahead::Nothing, Ahead::Settled { at }, Ahead::Pending]);
    assert_eq!(rows[1].decide(ahead[1], &policy(), at), Decision::Deliver);

    let retried = dead.release(Release::Retry, NOW, at).unwrap();
    let released = Released { at, release: Release::Retry, dead_at: NOW };
    assert_eq!((retried.attempts, retried.released), (0, Some(released)));
    assert_eq!(retried.decide(Ahead::Nothing, &policy(), at), Decision::Deliver);
    assert_eq!(ahead_of_each(&[retried, row(2)])[1], Ahead::Pending);

    let event_id = dead.event_id;
    // (what the row is for, row, given up at)
    let table = [
        ("pending", &row(1), NOW),
        ("skipped", &skipped, NOW),
        ("died at another time", &dead, NOW + SECOND),
    ];
    for (case, row, dead_at) in table {
        let refused = row.release(Release::Retry, dead_at, at);
        assert_eq!(refused, Err(OutboxError::NotDead { event_id }), "case: {case}");
    }
}

#[test]
fn a_repeated_release_changes_nothing_and_does_not_release_a_second_death() {
    let held = row(1).claim(lease(1), Ahead::Nothing, &policy(), NOW).unwrap();
    let dead = held.finish(lease(1), Outcome::Refused, &policy(), NOW).unwrap();
    let at = NOW + 50 * SECOND;
    for release in [Release::Retry, Release::Skip] {
        let released = dead.release(release, NOW, at).unwrap();
        assert_eq!(released.release(release, NOW, at + SECOND), Ok(released));
    }
    let retried = dead.release(Release::Retry, NOW, at).unwrap();
    let held = retried.claim(lease(2), Ahead::Nothing, &policy(), at).unwrap();
    let again = held.finish(lease(2), Outcome::Refused, &policy(), at).unwrap();
    assert_eq!(again.release(Release::Retry, NOW, at + SECOND), Ok(again.clone()));
    let second = again.release(Release::Retry, at, at + SECOND).unwrap();
    assert_eq!(second.fate, Fate::Pending);

    // A second death at the moment of the first has a time of its own.
    let retried = dead.release(Release::Retry, NOW, NOW).unwrap();
    let held = retried.claim(lease(3), Ahead::Nothing, &policy(), NOW).unwrap();
    let again = held.finish(lease(3), Outcome::Refused, &policy(), NOW).unwrap();
    let Fate::Dead { at, .. } = again.fate else { panic!("{again:?}") };
    assert!(at > NOW);
    assert_eq!(again.release(Release::Retry, at, NOW).unwrap().fate, Fate::Pending);
}

#[test]
fn the_turn_comes_when_the_last_before_it_is_settled() {
    let delivered = |sequence, seconds: u32| {
        let at = NOW + seconds * SECOND;
        Row { fate: Fate::Delivered { at }, ..row(sequence) }
    };
    let ahead = ahead_of_each(&[delivered(1, 50), delivered(2, 20), row(3)]);
    let at = NOW + 50 * SECOND;
    assert_eq!(ahead, [Ahead::Nothing, Ahead::Settled { at }, Ahead::Settled { at }]);
}

#[test]
fn backoff_doubles_up_to_its_cap_with_a_jitter_that_is_fixed() {
    let policy = Policy::default();
    let first = row(1).event_id;
    assert_eq!(policy.backoff(first, 0), Duration::ZERO);
    // (attempts, longest wait in seconds)
    for (attempts, longest) in
        [(1, 5), (2, 10), (3, 20), (12, 10_240), (13, 20_480), (14, 21_600), (33, 21_600)]
    {
        let longest = Duration::from_secs(longest);
        let wait = policy.backoff(first, attempts);
        assert!(wait >= longest / 2 && wait < longest, "attempt {attempts}: {wait:?}");
        assert_eq!(wait, policy.backoff(first, attempts));
    }
    assert!(policy.backoff(first, u32::MAX) < Duration::from_secs(21_600));
    // Over many events the jitter fills its half evenly: mean 3/4 of the longest, here 3.75 s; the
    // standard error of 1000 is 2.5 s / sqrt(12 000) = 0.023 s, and five of them are allowed.
    let sum: f64 = (1..=1_000).map(|n| policy.backoff(row(n).event_id, 1).as_secs_f64()).sum();
    assert!((sum / 1_000.0 - 3.75).abs() < 0.115, "mean {}", sum / 1_000.0);
}

#[test]
fn the_default_policy_is_one_and_spans_a_long_weekend() {
    let policy = Policy::default();
    assert_eq!(Policy::new(*policy.settings()), Ok(policy));
    let waits: Duration = (1..24).map(|attempts| policy.backoff(row(1).event_id, attempts)).sum();
    assert!(waits > Duration::from_hours(48), "{waits:?}");
}

#[test]
fn settings_that_make_no_policy_are_refused() {
    let good = *Policy::default().settings();
    let (zero, long) = (Duration::ZERO, Duration::from_hours(721));
    let out = |setting| InvalidPolicy::OutOfRange { setting };
    let table = [
        (PolicySettings { backoff_first: zero, ..good }, out("backoff_first")),
        (PolicySettings { backoff_max: long, ..good }, out("backoff_max")),
        (PolicySettings { age_max: zero, ..good }, out("age_max")),
        (PolicySettings { attempt_timeout: zero, ..good }, out("attempt_timeout")),
        (PolicySettings { lease: long, ..good }, out("lease")),
        (PolicySettings { attempts_max: 0, ..good }, InvalidPolicy::NoAttempts),
        (PolicySettings { backoff_max: SECOND, ..good }, InvalidPolicy::BackoffOrder),
        (PolicySettings { lease: good.attempt_timeout, ..good }, InvalidPolicy::LeaseTooShort),
    ];
    for (settings, error) in table {
        assert_eq!(Policy::new(settings), Err(error));
    }
}

#[test]
fn causes_have_names_of_their_own() {
    for &cause in Cause::ALL {
        assert_eq!(Cause::from_name(cause.as_str()), Some(cause));
    }
    assert_eq!(Cause::from_name("lost"), None);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Claim { worker: usize, referral: usize, sequence: usize },
    Finish { worker: usize, outcome: Outcome },
    Crash { worker: usize },
    GiveUp { referral: usize },
    Release { referral: usize, release: Release },
    Advance { seconds: u32 },
}

fn any_step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        3 => Just(Outcome::Delivered),
        3 => Just(failed()),
        1 => Just(Outcome::Refused),
        1 => (0..200_u64).prop_map(|s| {
            Outcome::Failed { retry_after: Some(Duration::from_secs(s)) }
        }),
    ];
    prop_oneof![
        6 => (0..2_usize, 0..2_usize, 0..4_usize)
            .prop_map(|(worker, referral, sequence)| Step::Claim { worker, referral, sequence }),
        4 => (0..2_usize, outcome).prop_map(|(worker, outcome)| Step::Finish { worker, outcome }),
        1 => (0..2_usize).prop_map(|worker| Step::Crash { worker }),
        2 => (0..2_usize).prop_map(|referral| Step::GiveUp { referral }),
        1 => (0..2_usize, any::<bool>()).prop_map(|(referral, skip)| Step::Release {
            referral,
            release: if skip { Release::Skip } else { Release::Retry },
        }),
        4 => (1..120_u32).prop_map(|seconds| Step::Advance { seconds }),
    ]
}

/// Two workers over the rows of two referrals, as a store with atomic updates would let them.
struct World {
    now: OffsetDateTime,
    referrals: [Vec<Row>; 2],
    /// Referral, place, lease.
    in_hand: [Option<(usize, usize, Uuid)>; 2],
    leases: u128,
}

impl World {
    fn new() -> Self {
        Self {
            now: NOW,
            referrals: [(); 2].map(|()| (1..=4).map(row).collect()),
            in_hand: [None; 2],
            leases: 0,
        }
    }

    fn claim(&mut self, who: usize, referral: usize, place: usize) -> Result<(), TestCaseError> {
        self.leases += 1;
        let lease_id = lease(self.leases);
        let rows = &self.referrals[referral];
        let ahead = ahead_of_each(rows)[place];
        let Ok(held) = rows[place].claim(lease_id, ahead, &policy(), self.now) else {
            return Ok(());
        };
        for earlier in &rows[..place] {
            let settled = matches!(earlier.fate, Fate::Delivered { .. } | Fate::Skipped { .. });
            prop_assert!(settled, "event {place} overtook {earlier:?}");
        }
        let live = rows[place].lease.is_some_and(|lease| self.now < lease.until);
        prop_assert!(!live, "two workers hold one row");
        prop_assert!(held.attempts <= policy().settings().attempts_max);
        self.in_hand[who] = Some((referral, place, lease_id));
        self.referrals[referral][place] = held;
        Ok(())
    }

    fn finish(&mut self, who: usize, outcome: Outcome) -> Result<(), TestCaseError> {
        let Some((referral, place, lease_id)) = self.in_hand[who].take() else { return Ok(()) };
        let row = &self.referrals[referral][place];
        let mine = row.lease.is_some_and(|lease| lease.lease_id == lease_id);
        let done = row.finish(lease_id, outcome, &policy(), self.now);
        prop_assert_eq!(done.is_ok(), mine);
        if let Ok(done) = done {
            self.referrals[referral][place] = done;
        }
        Ok(())
    }

    fn give_up(&mut self, referral: usize) {
        for place in 0..4 {
            let ahead = ahead_of_each(&self.referrals[referral])[place];
            let row = &self.referrals[referral][place];
            if let Ok(dead) = row.give_up(ahead, &policy(), self.now) {
                self.referrals[referral][place] = dead;
            }
        }
    }

    fn release(&mut self, referral: usize, release: Release) {
        for row in &mut self.referrals[referral] {
            if let Fate::Dead { at, .. } = row.fate {
                *row = row.release(release, at, self.now).unwrap();
            }
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for rows in &self.referrals {
            let dead = rows.iter().filter(|row| matches!(row.fate, Fate::Dead { .. })).count();
            prop_assert!(dead <= 1, "only the event whose turn it is can die");
            let settled_at = |row: &Row| match row.fate {
                Fate::Delivered { at } | Fate::Skipped { at } => Some(at),
                Fate::Pending | Fate::Dead { .. } => None,
            };
            for pair in rows.windows(2) {
                if let Some(second) = settled_at(&pair[1]) {
                    prop_assert!(settled_at(&pair[0]).is_some_and(|first| first <= second));
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn workers_that_fail_crash_and_race_keep_the_order_and_come_to_an_end(
        steps in prop::collection::vec(any_step(), 0..200)
    ) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Claim { worker, referral, sequence } => {
                    world.claim(worker, referral, sequence)?;
                }
                Step::Finish { worker, outcome } => world.finish(worker, outcome)?,
                Step::Crash { worker } => world.in_hand[worker] = None,
                Step::GiveUp { referral } => world.give_up(referral),
                Step::Release { referral, release } => world.release(referral, release),
                Step::Advance { seconds } => world.now += seconds * SECOND,
            }
            world.check()?;
        }
        // A receiver that is back, and an operator: 4 events, each at most one release and one
        // send.
        world.in_hand = [None; 2];
        for _ in 0..12 {
            world.now += 200 * SECOND;
            for referral in 0..2 {
                world.give_up(referral);
                world.release(referral, Release::Retry);
                for place in 0..4 {
                    world.claim(0, referral, place)?;
                    world.finish(0, Outcome::Delivered)?;
                }
            }
            world.check()?;
        }
        for row in world.referrals.iter().flatten() {
            let settled = matches!(row.fate, Fate::Delivered { .. } | Fate::Skipped { .. });
            prop_assert!(settled, "{row:?}");
        }
    }

    #[test]
    fn a_wait_ends_when_it_says(attempts in 1..4_u32, passed in 0..2_000_u32) {
        let row = Row { attempts, last_attempt_at: Some(NOW), ..row(1) };
        let now = NOW + passed * SECOND;
        if let Decision::Wait { until } = row.decide(Ahead::Nothing, &policy(), now) {
            prop_assert!(until > now);
            let then = row.decide(Ahead::Nothing, &policy(), until);
            let is_wait = matches!(then, Decision::Wait { .. });
            prop_assert!(!is_wait, "{then:?}");
        }
    }
}
