use neurotriage_domain::{DomainError as _, ErrorCode};
use proptest::prelude::*;
use time::{Duration, OffsetDateTime, macros::datetime};

use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-26 09:00 UTC);
const DEADLINE: OffsetDateTime = datetime!(2026-11-28 09:00 UTC);
const LATE: OffsetDateTime = datetime!(2026-11-29 09:00 UTC);
const APPOINTMENT: OffsetDateTime = datetime!(2026-12-10 08:30 UTC);

fn terms() -> Terms {
    Terms {
        referral_id: ReferralId::generate(),
        request_id: Uuid::now_v7(),
        patient_id: PatientId::generate(),
        assessment_id: AssessmentId::generate(),
        sender_hospital_id: "north-lake".parse().unwrap(),
        hospital_id: "sample-01".parse().unwrap(),
        referrer_id: "practice-7".parse().unwrap(),
        created_at: NOW,
        deadline_at: Some(DEADLINE),
    }
}

fn actor(role: Role) -> Actor {
    let id = match role {
        Role::Referrer => "practice-7",
        Role::Hospital => "sample-01",
        Role::System => "neurotriage",
    };
    Actor { role, id: id.parse().unwrap() }
}

fn action(kind: MoveKind) -> Action {
    let reason = matches!(kind, MoveKind::Decline | MoveKind::Cancel).then_some("no bed");
    let scheduled_at = (kind == MoveKind::Schedule).then_some(APPOINTMENT);
    Action::from_parts(kind, reason, scheduled_at).unwrap()
}

fn request(kind: MoveKind) -> Move {
    Move { request_id: Uuid::now_v7(), action: action(kind) }
}

/// Makes `kind` as whoever may, at the current revision.
fn step(referral: &Referral, kind: MoveKind) -> Referral {
    let rule = referral.status().state.rule(kind).unwrap();
    let now = if kind == MoveKind::Expire { LATE } else { NOW };
    let revision = referral.status().revision;
    referral.apply(request(kind), revision, actor(rule.roles[0]), now).unwrap().0
}

fn in_state(state: State) -> Referral {
    use MoveKind::{Accept, Cancel, Complete, Decline, Expire, Receive, Request, Schedule};
    let path: &[MoveKind] = match state {
        State::Draft => &[],
        State::Requested => &[Request],
        State::Received => &[Request, Receive],
        State::Accepted => &[Request, Accept],
        State::Declined => &[Request, Decline],
        State::Scheduled => &[Request, Receive, Accept, Schedule],
        State::Completed => &[Request, Accept, Complete],
        State::Cancelled => &[Cancel],
        State::Expired => &[Request, Expire],
    };
    let referral = path.iter().fold(Referral::draft(terms()).0, |one, kind| step(&one, *kind));
    assert_eq!(referral.status().state, state);
    referral
}

/// Written apart from `RULES`. A cell is the state that the move leads to and who may make it
/// (`r`eferrer, `h`ospital, `s`ystem); the columns are `MoveKind::ALL`.
#[rustfmt::skip]
const MATRIX: [(&str, [&str; 8]); 9] = [
    //             request        receive       accept        decline       schedule       complete       cancel          expire
    ("draft",     ["requested r", "",           "",           "",           "",            "",            "cancelled r",  "expired s"]),
    ("requested", ["",            "received h", "accepted h", "declined h", "",            "",            "cancelled r",  "expired s"]),
    ("received",  ["",            "",           "accepted h", "declined h", "",            "",            "cancelled r",  "expired s"]),
    ("accepted",  ["",            "",           "",           "",           "scheduled h", "completed h", "cancelled rh", ""]),
    ("declined",  ["",            "",           "",           "",           "",            "",            "",             ""]),
    ("scheduled", ["",            "",           "",           "",           "scheduled h", "completed h", "cancelled rh", ""]),
    ("completed", ["",            "",           "",           "",           "",            "",            "",             ""]),
    ("cancelled", ["",            "",           "",           "",           "",            "",            "",             ""]),
    ("expired",   ["",            "",           "",           "",           "",            "",            "",             ""]),
];

#[test]
fn every_move_from_every_state_by_every_role_follows_the_matrix() {
    for ((name, cells), state) in MATRIX.iter().zip(State::ALL) {
        assert_eq!(*name, state.as_str());
        let referral = in_state(*state);
        let revision = referral.status().revision;
        for (cell, kind) in cells.iter().zip(MoveKind::ALL) {
            let now = if *kind == MoveKind::Expire { LATE } else { NOW };
            for role in Role::ALL {
                let case = format!("{role} makes {kind} from {state}");
                let answer = referral.apply(request(*kind), revision, actor(*role), now);
                let Some((to, roles)) = cell.split_once(' ') else {
                    assert_eq!(answer.unwrap_err().refusal, Refusal::NotLegal, "{case}");
                    continue;
                };
                if !roles.contains(&role.as_str()[..1]) {
                    let refusal = Refusal::RoleNotAllowed { role: *role };
                    assert_eq!(answer.unwrap_err().refusal, refusal, "{case}");
                    continue;
                }
                let (after, event) = answer.expect(&case);
                assert_eq!(after.status().state.as_str(), to, "{case}");
                assert_eq!(after.status().revision, revision + 1, "{case}");
                assert_eq!(event.revision, revision + 1, "{case}");
                assert_eq!(after.history().last(), Some(&event), "{case}");
            }
        }
        assert_eq!(state.is_final(), cells.iter().all(|cell| cell.is_empty()), "{state}");
    }
}

#[test]
fn an_error_names_state_move_and_what_is_legal() {
    let referral = in_state(State::Requested);
    let schedule = referral.apply(request(MoveKind::Schedule), 2, actor(Role::Hospital), NOW);
    assert_eq!(
        schedule.unwrap_err().to_string(),
        "cannot schedule a referral that is requested: no such move from this state; \
         legal here: receive, accept, decline"
    );
    let done = in_state(State::Declined);
    let accept = done.apply(request(MoveKind::Accept), 3, actor(Role::Hospital), NOW);
    let error = accept.unwrap_err();
    assert!(error.to_string().ends_with("legal here: nothing"), "{error}");
    assert!(error.metadata().contains(&("state", "declined".to_owned())));
}

#[test]
fn a_stale_revision_is_refused_and_the_current_one_named() {
    let referral = in_state(State::Received);
    for expected in [0, 2, 4, u64::MAX] {
        let error = referral
            .apply(request(MoveKind::Accept), expected, actor(Role::Hospital), NOW)
            .unwrap_err();
        assert_eq!(error.refusal, Refusal::Stale { expected, current: 3 });
        assert!(error.to_string().contains("the current one, which is 3"));
    }
}

#[test]
fn a_repeated_request_gives_the_same_result_whatever_came_since() {
    let requested = in_state(State::Requested);
    let accept = request(MoveKind::Accept);
    let first = requested.apply(accept.clone(), 2, actor(Role::Hospital), NOW).unwrap();
    let later = step(&step(&first.0, MoveKind::Schedule), MoveKind::Complete);
    for (case, referral, revision) in
        [("at once", &first.0, 2), ("later", &later, 2), ("with the new revision", &later, 5)]
    {
        let again = referral.apply(accept.clone(), revision, actor(Role::Hospital), LATE);
        assert_eq!(again.as_ref(), Ok(&first), "case: {case}");
    }
}

#[test]
fn a_repeated_appointment_compares_equal_in_another_zone_and_with_more_digits() {
    let accepted = in_state(State::Accepted);
    let request_id = Uuid::now_v7();
    let at = |scheduled_at| Move { request_id, action: Action::Schedule { scheduled_at } };
    let hospital = || actor(Role::Hospital);
    let first = accepted.apply(at(APPOINTMENT), 3, hospital(), NOW).unwrap();
    let same = datetime!(2026-12-10 10:30:00.000000999 +2);
    assert_eq!(first.0.apply(at(same), 3, hospital(), NOW).as_ref(), Ok(&first));
}

#[test]
fn a_request_id_stands_for_one_move_of_one_actor() {
    let referral = Referral::draft(terms()).0;
    let cancel = request(MoveKind::Cancel);
    let request_id = cancel.request_id;
    let accepted = in_state(State::Accepted);
    let (cancelled, _) = accepted.apply(cancel.clone(), 3, actor(Role::Referrer), NOW).unwrap();
    let other = Move { request_id, action: action(MoveKind::Complete) };
    let reason = "another".parse().unwrap();
    let other_reason = Move { request_id, action: Action::Cancel { reason } };
    let created = Move { request_id: referral.terms().request_id, ..cancel.clone() };
    let table = [
        ("another move", &cancelled, other, Role::Referrer),
        ("another reason", &cancelled, other_reason, Role::Referrer),
        ("another actor", &cancelled, cancel, Role::Hospital),
        ("the request that created it", &referral, created, Role::Referrer),
    ];
    for (case, referral, request, role) in table {
        let request_id = request.request_id;
        let error =
            referral.apply(request, referral.status().revision, actor(role), NOW).unwrap_err();
        assert_eq!(error.refusal, Refusal::RequestReused { request_id }, "case: {case}");
    }
}

#[test]
fn only_the_hospital_and_the_referrer_of_a_referral_are_parties() {
    let referral = in_state(State::Accepted);
    for role in [Role::Hospital, Role::Referrer] {
        let stranger = Actor { role, id: "sample-02".parse().unwrap() };
        let error = referral.apply(request(MoveKind::Cancel), 3, stranger, NOW).unwrap_err();
        assert_eq!(error.refusal, Refusal::NotParty { role });
        assert_eq!(error.code(), ErrorCode::PermissionDenied);
    }
}

#[test]
fn the_deadline_binds_before_anything_expires_the_referral() {
    // (what the row is for, state, move, role, now, whether it is taken)
    let second = Duration::SECOND;
    let table = [
        (
            "answer in time",
            State::Requested,
            MoveKind::Accept,
            Role::Hospital,
            DEADLINE - second,
            true,
        ),
        (
            "answer at the deadline",
            State::Requested,
            MoveKind::Accept,
            Role::Hospital,
            DEADLINE,
            false,
        ),
        ("refusal too late", State::Received, MoveKind::Decline, Role::Hospital, LATE, false),
        ("draft sent too late", State::Draft, MoveKind::Request, Role::Referrer, LATE, false),
        ("withdrawn late", State::Received, MoveKind::Cancel, Role::Referrer, LATE, true),
        (
            "answered, so no deadline",
            State::Accepted,
            MoveKind::Schedule,
            Role::Hospital,
            LATE,
            true,
        ),
        (
            "expires early",
            State::Requested,
            MoveKind::Expire,
            Role::System,
            DEADLINE - second,
            false,
        ),
        ("expires", State::Requested, MoveKind::Expire, Role::System, DEADLINE, true),
    ];
    for (case, state, kind, role, now, taken) in table {
        let referral = in_state(state);
        let answer = referral.apply(request(kind), referral.status().revision, actor(role), now);
        assert_eq!(answer.is_ok(), taken, "case: {case}");
        assert_eq!(
            referral.legal_moves(role, now).contains(&kind),
            taken,
            "legal moves agree; case: {case}"
        );
        let Err(error) = answer else { continue };
        let deadline_at = DEADLINE;
        let expected = if kind == MoveKind::Expire {
            Refusal::DeadlineAhead { deadline_at }
        } else {
            Refusal::DeadlinePassed { deadline_at }
        };
        assert_eq!(error.refusal, expected, "case: {case}");
    }
}

#[test]
fn without_a_deadline_nothing_expires() {
    let (referral, _) = Referral::draft(Terms { deadline_at: None, ..terms() });
    assert!(!referral.is_due(LATE));
    let error =
        referral.apply(request(MoveKind::Expire), 1, actor(Role::System), LATE).unwrap_err();
    assert_eq!(error.refusal, Refusal::NoDeadline);
    assert!(referral.apply(request(MoveKind::Request), 1, actor(Role::Referrer), LATE).is_ok());
}

#[test]
fn an_appointment_lies_ahead() {
    let referral = in_state(State::Accepted);
    for (case, now, taken) in [
        ("before", APPOINTMENT - Duration::SECOND, true),
        ("now", APPOINTMENT, false),
        ("past", APPOINTMENT + Duration::DAY, false),
    ] {
        let answer = referral.apply(request(MoveKind::Schedule), 3, actor(Role::Hospital), now);
        assert_eq!(answer.is_ok(), taken, "case: {case}");
        if let Err(error) = answer {
            assert_eq!(error.refusal, Refusal::ScheduledInPast { now }, "case: {case}");
        }
    }
}

#[test]
fn a_loop_of_appointments_ends_and_the_referral_still_can() {
    let mut referral = in_state(State::Scheduled);
    let error = loop {
        let revision = referral.status().revision;
        match referral.apply(request(MoveKind::Schedule), revision, actor(Role::Hospital), NOW) {
            Ok((next, _)) => referral = next,
            Err(error) => break error,
        }
    };
    assert_eq!(error.refusal, Refusal::TooManyEvents { events: EVENTS_MAX - 1 });
    let ended = step(&referral, MoveKind::Complete);
    assert_eq!(ended.status().revision, EVENTS_MAX);
}

#[test]
fn a_clock_that_runs_behind_does_not_turn_time_back() {
    let referral = in_state(State::Requested);
    let early = NOW - Duration::HOUR;
    let (after, event) =
        referral.apply(request(MoveKind::Accept), 2, actor(Role::Hospital), early).unwrap();
    assert_eq!(event.occurred_at, NOW);
    assert_eq!(after.status().updated_at, NOW);
}

#[test]
fn parts_make_an_action_or_say_what_is_wrong() {
    use InvalidAction as Wrong;
    let long = "ä".repeat(REASON_CHARS_MAX);
    let longer = "ä".repeat(REASON_CHARS_MAX + 1);
    let chars = REASON_CHARS_MAX + 1;
    let (decline, schedule, accept) = (MoveKind::Decline, MoveKind::Schedule, MoveKind::Accept);
    let table = [
        ("longest reason", decline, Some(long.as_str()), None, None),
        ("shortest reason", MoveKind::Cancel, Some("x"), None, None),
        ("no reason", decline, None, None, Some(Wrong::ReasonMissing { kind: decline })),
        ("empty", decline, Some(""), None, Some(Wrong::ReasonLength { chars: 0 })),
        ("blank", decline, Some(" \n"), None, Some(Wrong::ReasonLength { chars: 0 })),
        ("too long", decline, Some(&longer), None, Some(Wrong::ReasonLength { chars })),
        ("reason", accept, Some("x"), None, Some(Wrong::ReasonUnwanted { kind: accept })),
        ("time", schedule, None, Some(APPOINTMENT), None),
        ("no time", schedule, None, None, Some(Wrong::TimeMissing { kind: schedule })),
        ("time", accept, None, Some(NOW), Some(Wrong::TimeUnwanted { kind: accept })),
    ];
    for (case, kind, reason, scheduled_at, wrong) in table {
        let made = Action::from_parts(kind, reason, scheduled_at);
        assert_eq!(made.as_ref().err().copied(), wrong, "case: {case}");
        if let Ok(action) = made {
            assert_eq!(action.kind(), kind, "case: {case}");
            assert_eq!(action.reason().map(Reason::as_str), reason, "case: {case}");
            assert_eq!(action.scheduled_at(), scheduled_at, "case: {case}");
        }
    }
    for (case, text, good) in
        [("plain", "sample-01", true), ("empty", "", false), ("blank", "a b", false)]
    {
        assert_eq!(text.parse::<ActorId>().is_ok(), good, "case: {case}");
    }
    assert!("a".repeat(ACTOR_ID_BYTES_MAX + 1).parse::<ActorId>().is_err());
}

#[test]
fn a_reason_is_kept_but_shown_by_no_debug_and_no_error() {
    let secret = "Mrs Miller prefers another hospital";
    let reason: Reason = secret.parse().unwrap();
    let referral = in_state(State::Requested);
    let decline = Move { request_id: Uuid::now_v7(), action: Action::Decline { reason } };
    let (declined, event) = referral.apply(decline.clone(), 2, actor(Role::Hospital), NOW).unwrap();
    assert_eq!(declined.status().reason.as_ref().unwrap().as_str(), secret);
    let error = declined.apply(decline, 2, actor(Role::Referrer), NOW).unwrap_err();
    for shown in [format!("{declined:?}"), format!("{event:?}"), error.to_string()] {
        assert!(!shown.contains("Miller"), "{shown}");
    }
}

#[test]
fn a_draft_is_no_matter_of_the_hospital_before_it_is_sent() {
    let (draft, drafted) = Referral::draft(terms());
    assert!(!drafted.change.concerns_hospital());
    for (kind, concerns) in [(MoveKind::Request, true), (MoveKind::Cancel, false)] {
        let moved = step(&draft, kind);
        assert_eq!(moved.history()[1].change.concerns_hospital(), concerns, "{kind}");
    }
    let withdrawn = step(&in_state(State::Requested), MoveKind::Cancel);
    assert!(withdrawn.history()[2].change.concerns_hospital());
}

#[test]
fn only_a_history_makes_a_referral() {
    let referral = in_state(State::Scheduled);
    let (terms, events) = (referral.terms().clone(), referral.history().to_vec());
    let referral_id = terms.referral_id;
    let foreign_id = ReferralId::generate();
    let mut foreign = events.clone();
    foreign[1].referral_id = foreign_id;
    let mut swapped = events.clone();
    swapped.swap(1, 2);
    let mut jump = events.clone();
    jump.remove(1);
    let mut illegal = events.clone();
    illegal[1].change = events[3].change.clone();
    let mut drafted_twice = events.clone();
    drafted_twice[1].change = Change::Drafted;
    let table = [
        ("none", vec![], ReplayError::Empty { referral_id }),
        ("foreign", foreign, ReplayError::Foreign { revision: 2, referral_id: foreign_id }),
        ("swapped", swapped, ReplayError::Gap { expected: 2, found: 3 }),
        ("missing", jump, ReplayError::Gap { expected: 2, found: 3 }),
        ("late start", events[1..].to_vec(), ReplayError::Gap { expected: 1, found: 2 }),
        ("illegal", illegal, ReplayError::NotLegal { revision: 2 }),
        ("drafted twice", drafted_twice, ReplayError::NotLegal { revision: 2 }),
    ];
    for (case, events, error) in table {
        assert_eq!(Referral::replay(terms.clone(), &events), Err(error), "case: {case}");
    }
}

#[test]
fn every_refusal_has_a_reason_of_its_own() {
    let at = NOW;
    let refusals = [
        Refusal::Stale { expected: 1, current: 2 },
        Refusal::NotLegal,
        Refusal::RoleNotAllowed { role: Role::System },
        Refusal::NotParty { role: Role::Hospital },
        Refusal::DeadlinePassed { deadline_at: at },
        Refusal::DeadlineAhead { deadline_at: at },
        Refusal::NoDeadline,
        Refusal::ScheduledInPast { now: at },
        Refusal::RequestReused { request_id: Uuid::nil() },
        Refusal::TooManyEvents { events: 200 },
    ];
    let mut reasons: Vec<&str> = refusals
        .into_iter()
        .map(|refusal| {
            let (state, attempted) = (State::Draft, MoveKind::Request);
            let error = MoveError { state, revision: 1, attempted, legal: vec![], refusal };
            assert_ne!(error.code(), ErrorCode::Internal);
            error.reason()
        })
        .collect();
    reasons.sort_unstable();
    reasons.dedup();
    assert_eq!(reasons.len(), 10);
}

#[test]
fn names_survive_text() {
    assert!(State::ALL.iter().all(|one| State::from_name(one.as_str()) == Some(*one)));
    assert!(MoveKind::ALL.iter().all(|one| MoveKind::from_name(one.as_str()) == Some(*one)));
    assert!(Role::ALL.iter().all(|one| Role::from_name(one.as_str()) == Some(*one)));
    assert_eq!(State::from_name("lost"), None);
}

proptest! {
    /// Walks at random, with wrong revisions, wrong roles and repetitions among the steps.
    #[test]
    fn a_walk_counts_its_events_and_replays_to_its_state(
        steps in prop::collection::vec(
            (0..8_usize, 0..3_usize, -1..=1_i64, 0..100_i64, any::<bool>()),
            0..60,
        )
    ) {
        let (mut referral, _) = Referral::draft(terms());
        let mut made: Vec<(Move, Actor, (Referral, Event))> = Vec::new();
        for (kind, role, stale, hours, repeat) in steps {
            let now = NOW + Duration::hours(hours);
            if repeat && let Some((request, actor, first)) = made.first() {
                let again = referral.apply(request.clone(), 0, actor.clone(), now);
                prop_assert_eq!(again.as_ref(), Ok(first));
                continue;
            }
            let before = referral.status().clone();
            // Mostly right, so that walks get somewhere.
            let off = if hours % 4 == 0 { stale } else { 0 };
            let expected = before.revision.saturating_add_signed(off);
            let (request, actor) = (request(MoveKind::ALL[kind]), actor(Role::ALL[role]));
            let legal = referral.legal_moves(actor.role, now).contains(&request.action.kind());
            let answer = referral.apply(request.clone(), expected, actor.clone(), now);
            prop_assert_eq!(answer.is_ok(), legal && off == 0);
            let Ok((after, event)) = answer else { continue };
            prop_assert!(!before.state.is_final());
            prop_assert_eq!(event.revision, before.revision + 1);
            prop_assert_eq!(after.status().revision, event.revision);
            prop_assert!(event.occurred_at >= before.updated_at);
            made.push((request, actor, (after.clone(), event)));
            referral = after;
        }
        let count = u64::try_from(referral.history().len()).unwrap();
        prop_assert_eq!(count, referral.status().revision);
        let replayed = Referral::replay(referral.terms().clone(), referral.history()).unwrap();
        prop_assert_eq!(&replayed, &referral);
    }
}
