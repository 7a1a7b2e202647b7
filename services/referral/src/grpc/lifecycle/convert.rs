//! Between messages of the life cycle and domain values.

use std::{fmt::Display, str::FromStr, time::SystemTime};

use neurotriage_domain::{EventId, FieldViolation, HospitalId, ReferralId};
use neurotriage_proto::referral::v1::{self as pb, watch_events_request::Subject};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::lifecycle::{
    Draft, LifecycleError, MoveRequest, ReleaseRequest,
    event::{EventEnvelope, EventKind},
    outbox::{Cause, Release},
    page_size,
    referral::{Action, Actor, ActorId, Move, MoveKind, Role, State, Status, Terms},
    store::{DeadLetter, DeadPlace, Listed},
    watch::Watched,
};

/// What a page token has to be.
const PAGE_TOKEN: &str = "pass the next_page_token of the page before, unchanged";

/// Wrong fields, collected so that a caller sees them all at once.
#[derive(Default)]
struct Violations(Vec<FieldViolation>);

impl Violations {
    fn add(&mut self, field: &str, description: impl Into<String>) {
        let (field, description) = (field.to_owned(), description.into());
        self.0.push(FieldViolation { field, description });
    }

    /// Returns `text` parsed, or notes why it can't be.
    fn parse<T: FromStr<Err: Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(field, error.to_string());
                None
            }
        }
    }

    fn request_id(&mut self, text: &str) -> Option<Uuid> {
        let request_id = Uuid::try_parse(text).ok();
        if request_id.is_none() {
            self.add("request_id", "a UUID chosen by the caller");
        }
        request_id
    }

    fn time(&mut self, field: &str, time: prost_types::Timestamp) -> Option<OffsetDateTime> {
        let nanos = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
        let in_second = (0..1_000_000_000).contains(&time.nanos);
        // Years of four digits, as RFC 3339 and the protocol's own type have them.
        let time = OffsetDateTime::from_unix_timestamp_nanos(nanos)
            .ok()
            .filter(|time| in_second && (1..=9999).contains(&time.year()));
        if time.is_none() {
            self.add(field, "a time between the years 1 and 9999");
        }
        time
    }

    fn limit(&mut self, given: u32) -> u32 {
        page_size(given).unwrap_or_else(|error| {
            if let LifecycleError::Invalid(violations) = error {
                self.0.extend(violations);
            }
            1
        })
    }

    fn into_error(self) -> LifecycleError {
        LifecycleError::Invalid(self.0)
    }

    /// Fails if anything was wrong.
    fn check(self) -> Result<(), LifecycleError> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into_error()) }
    }
}

fn one<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, LifecycleError> {
    text.parse().map_err(|error: T::Err| LifecycleError::field(field, error.to_string()))
}

pub(super) fn draft(request: &pb::CreateReferralRequest) -> Result<Draft, LifecycleError> {
    let mut wrong = Violations::default();
    let request_id = wrong.request_id(&request.request_id);
    let assessment_id = wrong.parse("assessment_id", &request.assessment_id);
    let hospital_id = wrong.parse("hospital_id", &request.hospital_id);
    let referrer_id = wrong.parse("referrer_id", &request.referrer_id);
    let deadline_at = request.deadline_at.and_then(|at| wrong.time("deadline_at", at));
    match (request_id, assessment_id, hospital_id, referrer_id) {
        (Some(request_id), Some(assessment_id), Some(hospital_id), Some(referrer_id))
            if wrong.0.is_empty() =>
        {
            Ok(Draft { request_id, assessment_id, hospital_id, referrer_id, deadline_at })
        }
        _ => Err(wrong.into_error()),
    }
}

pub(super) fn move_request(
    request: &pb::MoveReferralRequest,
) -> Result<MoveRequest, LifecycleError> {
    let mut wrong = Violations::default();
    let request_id = wrong.request_id(&request.request_id);
    let referral_id = wrong.parse("referral_id", &request.referral_id);
    if request.expected_revision == 0 {
        wrong.add("expected_revision", "the revision of the referral as you saw it, from 1");
    }
    let actor = actor(request.actor.as_ref(), &mut wrong);
    let action = action(request, &mut wrong);
    match (request_id, referral_id, actor, action) {
        (Some(request_id), Some(referral_id), Some(actor), Some(action)) if wrong.0.is_empty() => {
            let expected_revision = request.expected_revision;
            let request = Move { request_id, action };
            Ok(MoveRequest { referral_id, expected_revision, actor, request })
        }
        _ => Err(wrong.into_error()),
    }
}

fn actor(actor: Option<&pb::Actor>, wrong: &mut Violations) -> Option<Actor> {
    let Some(actor) = actor else {
        wrong.add("actor", "who moves it");
        return None;
    };
    let role = match pb::ActorRole::try_from(actor.role) {
        Ok(pb::ActorRole::Referrer) => Some(Role::Referrer),
        Ok(pb::ActorRole::Hospital) => Some(Role::Hospital),
        Ok(pb::ActorRole::System | pb::ActorRole::Unspecified) | Err(_) => {
            wrong.add("actor.role", "ACTOR_ROLE_REFERRER or ACTOR_ROLE_HOSPITAL");
            None
        }
    };
    let id: Option<ActorId> = wrong.parse("actor.actor_id", &actor.actor_id);
    role.zip(id).map(|(role, id)| Actor { role, id })
}

fn action(request: &pb::MoveReferralRequest, wrong: &mut Violations) -> Option<Action> {
    let kind = match pb::ReferralMove::try_from(request.r#move) {
        Ok(pb::ReferralMove::Request) => MoveKind::Request,
        Ok(pb::ReferralMove::Receive) => MoveKind::Receive,
        Ok(pb::ReferralMove::Accept) => MoveKind::Accept,
        Ok(pb::ReferralMove::Decline) => MoveKind::Decline,
        Ok(pb::ReferralMove::Schedule) => MoveKind::Schedule,
        Ok(pb::ReferralMove::Complete) => MoveKind::Complete,
        Ok(pb::ReferralMove::Cancel) => MoveKind::Cancel,
        Ok(pb::ReferralMove::Expire) => MoveKind::Expire,
        Ok(pb::ReferralMove::Unspecified) | Err(_) => {
            wrong.add("move", "a move");
            return None;
        }
    };
    let scheduled_at = match request.scheduled_at {
        Some(at) => Some(wrong.time("scheduled_at", at)?),
        None => None,
    };
    let reason = Some(request.reason.as_str()).filter(|reason| !reason.is_empty());
    Action::from_parts(kind, reason, scheduled_at)
        .inspect_err(|error| wrong.add(error.field(), error.to_string()))
        .ok()
}

pub(super) fn referral_id(text: &str) -> Result<ReferralId, LifecycleError> {
    one("referral_id", text)
}

/// Returns the role, if there is one.
pub(super) fn role(role: i32) -> Result<Option<Role>, LifecycleError> {
    match pb::ActorRole::try_from(role) {
        Ok(pb::ActorRole::Unspecified) => Ok(None),
        Ok(pb::ActorRole::Referrer) => Ok(Some(Role::Referrer)),
        Ok(pb::ActorRole::Hospital) => Ok(Some(Role::Hospital)),
        Ok(pb::ActorRole::System) | Err(_) => {
            let right = "ACTOR_ROLE_REFERRER or ACTOR_ROLE_HOSPITAL, or none";
            Err(LifecycleError::field("role", right))
        }
    }
}

pub(super) struct ReferralsPage {
    pub(super) listed: Listed,
    pub(super) states: Vec<State>,
    pub(super) before: Option<ReferralId>,
    pub(super) limit: u32,
}

pub(super) fn referrals_page(
    request: &pb::ListReferralsRequest,
) -> Result<ReferralsPage, LifecycleError> {
    let mut wrong = Violations::default();
    let limit = wrong.limit(request.page_size);
    let before = page_token(&request.page_token, &mut wrong);
    let pb::ListReferralsRequest { hospital_id, patient_id, referrer_id, .. } = request;
    let listed = match (hospital_id.as_str(), patient_id.as_str(), referrer_id.as_str()) {
        (id, "", "") if !id.is_empty() => wrong.parse("hospital_id", id).map(Listed::ToHospital),
        ("", id, "") if !id.is_empty() => wrong.parse("patient_id", id).map(Listed::OfPatient),
        ("", "", id) if !id.is_empty() => wrong.parse("referrer_id", id).map(Listed::ByReferrer),
        _ => {
            wrong.add("hospital_id", "exactly one of hospital_id, patient_id and referrer_id");
            None
        }
    };
    let mut states = Vec::new();
    for &given in &request.states {
        match state(given) {
            Some(state) if !states.contains(&state) => states.push(state),
            Some(_) => {}
            None => {
                wrong.add("states", "states, none of them unspecified");
                break;
            }
        }
    }
    match listed {
        Some(listed) if wrong.0.is_empty() => Ok(ReferralsPage { listed, states, before, limit }),
        _ => Err(wrong.into_error()),
    }
}

fn page_token<T: FromStr>(text: &str, wrong: &mut Violations) -> Option<T> {
    if text.is_empty() {
        return None;
    }
    let token = text.parse().ok();
    if token.is_none() {
        wrong.add("page_token", PAGE_TOKEN);
    }
    token
}

fn state(given: i32) -> Option<State> {
    match pb::ReferralState::try_from(given).ok()? {
        pb::ReferralState::Unspecified => None,
        pb::ReferralState::Draft => Some(State::Draft),
        pb::ReferralState::Requested => Some(State::Requested),
        pb::ReferralState::Received => Some(State::Received),
        pb::ReferralState::Accepted => Some(State::Accepted),
        pb::ReferralState::Declined => Some(State::Declined),
        pb::ReferralState::Scheduled => Some(State::Scheduled),
        pb::ReferralState::Completed => Some(State::Completed),
        pb::ReferralState::Cancelled => Some(State::Cancelled),
        pb::ReferralState::Expired => Some(State::Expired),
    }
}

pub(super) struct EventsPage {
    pub(super) referral_id: ReferralId,
    pub(super) after_sequence: u64,
    pub(super) limit: u32,
}

pub(super) fn events_page(request: &pb::ListEventsRequest) -> Result<EventsPage, LifecycleError> {
    let mut wrong = Violations::default();
    let referral_id = wrong.parse("referral_id", &request.referral_id);
    let limit = wrong.limit(request.page_size);
    let after: Option<u64> = page_token(&request.page_token, &mut wrong);
    let after_sequence = request.after_sequence.max(after.unwrap_or(0));
    match referral_id {
        Some(referral_id) if wrong.0.is_empty() => {
            Ok(EventsPage { referral_id, after_sequence, limit })
        }
        _ => Err(wrong.into_error()),
    }
}

pub(super) fn watched(request: pb::WatchEventsRequest) -> Result<Watched, LifecycleError> {
    let after_sequence = request.after_sequence;
    match request.subject {
        Some(Subject::ReferralId(text)) => {
            Ok(Watched::Referral { referral_id: referral_id(&text)?, after_sequence })
        }
        Some(Subject::HospitalId(_)) if after_sequence > 0 => {
            let right = "0 for a hospital, whose referrals count each for itself";
            Err(LifecycleError::field("after_sequence", right))
        }
        Some(Subject::HospitalId(text)) => Ok(Watched::Hospital(one("hospital_id", &text)?)),
        None => Err(LifecycleError::field("subject", "a referral_id or a hospital_id")),
    }
}

pub(super) struct DeadLettersPage {
    pub(super) hospital_id: Option<HospitalId>,
    pub(super) after: Option<DeadPlace>,
    pub(super) limit: u32,
}

pub(super) fn dead_letters_page(
    request: &pb::ListDeadLettersRequest,
) -> Result<DeadLettersPage, LifecycleError> {
    let mut wrong = Violations::default();
    let limit = wrong.limit(request.page_size);
    let hospital_id = match request.hospital_id.as_str() {
        "" => None,
        text => wrong.parse("hospital_id", text),
    };
    let after = match request.page_token.as_str() {
        "" => None,
        text => {
            let place = dead_place(text);
            if place.is_none() {
                wrong.add("page_token", PAGE_TOKEN);
            }
            place
        }
    };
    wrong.check()?;
    Ok(DeadLettersPage { hospital_id, after, limit })
}

/// Returns the token of the page after `last`: when it died, in microseconds, and its id.
pub(super) fn dead_letter_token(last: &DeadLetter) -> String {
    let micros = last.dead_at.unix_timestamp_nanos() / 1_000;
    format!("{micros}/{}", last.event.event_id)
}

fn dead_place(token: &str) -> Option<DeadPlace> {
    let (micros, event_id) = token.split_once('/')?;
    let micros: i64 = micros.parse().ok()?;
    let dead_at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).ok()?;
    let event_id: EventId = event_id.parse().ok()?;
    Some(DeadPlace { dead_at, event_id })
}

pub(super) fn release_request(
    request: &pb::ReleaseDeadLetterRequest,
) -> Result<ReleaseRequest, LifecycleError> {
    let mut wrong = Violations::default();
    let event_id = wrong.parse("event_id", &request.event_id);
    let release = match pb::DeadLetterRelease::try_from(request.release) {
        Ok(pb::DeadLetterRelease::Retry) => Some(Release::Retry),
        Ok(pb::DeadLetterRelease::Skip) => Some(Release::Skip),
        Ok(pb::DeadLetterRelease::Unspecified) | Err(_) => {
            wrong.add("release", "DEAD_LETTER_RELEASE_RETRY or DEAD_LETTER_RELEASE_SKIP");
            None
        }
    };
    let dead_at = match request.dead_at {
        Some(at) => wrong.time("dead_at", at),
        None => {
            wrong.add("dead_at", "the dead_at that ListDeadLetters returned");
            None
        }
    };
    match (event_id, release, dead_at) {
        (Some(event_id), Some(release), Some(dead_at)) => {
            Ok(ReleaseRequest { event_id, release, dead_at })
        }
        _ => Err(wrong.into_error()),
    }
}

fn timestamp(time: OffsetDateTime) -> prost_types::Timestamp {
    SystemTime::from(time).into()
}

pub(super) fn referral(terms: &Terms, status: &Status) -> pb::Referral {
    let state = match status.state {
        State::Draft => pb::ReferralState::Draft,
        State::Requested => pb::ReferralState::Requested,
        State::Received => pb::ReferralState::Received,
        State::Accepted => pb::ReferralState::Accepted,
        State::Declined => pb::ReferralState::Declined,
        State::Scheduled => pb::ReferralState::Scheduled,
        State::Completed => pb::ReferralState::Completed,
        State::Cancelled => pb::ReferralState::Cancelled,
        State::Expired => pb::ReferralState::Expired,
    };
    let reason = status.reason.as_ref().map(|reason| reason.as_str().to_owned());
    pb::Referral {
        referral_id: terms.referral_id.to_string(),
        revision: status.revision,
        state: state.into(),
        patient_id: terms.patient_id.to_string(),
        assessment_id: terms.assessment_id.to_string(),
        hospital_id: terms.hospital_id.to_string(),
        referrer_id: terms.referrer_id.to_string(),
        created_at: Some(timestamp(terms.created_at)),
        updated_at: Some(timestamp(status.updated_at)),
        deadline_at: terms.deadline_at.map(timestamp),
        scheduled_at: status.scheduled_at.map(timestamp),
        reason: reason.unwrap_or_default(),
    }
}

pub(super) fn move_kind(kind: MoveKind) -> pb::ReferralMove {
    match kind {
        MoveKind::Request => pb::ReferralMove::Request,
        MoveKind::Receive => pb::ReferralMove::Receive,
        MoveKind::Accept => pb::ReferralMove::Accept,
        MoveKind::Decline => pb::ReferralMove::Decline,
        MoveKind::Schedule => pb::ReferralMove::Schedule,
        MoveKind::Complete => pb::ReferralMove::Complete,
        MoveKind::Cancel => pb::ReferralMove::Cancel,
        MoveKind::Expire => pb::ReferralMove::Expire,
    }
}

pub(super) fn event(event: &EventEnvelope) -> pb::Event {
    let kind = match event.kind {
        EventKind::Drafted => pb::EventKind::Drafted,
        EventKind::Requested => pb::EventKind::Requested,
        EventKind::Received => pb::EventKind::Received,
        EventKind::Accepted => pb::EventKind::Accepted,
        EventKind::Declined => pb::EventKind::Declined,
        EventKind::Scheduled => pb::EventKind::Scheduled,
        EventKind::Rescheduled => pb::EventKind::Rescheduled,
        EventKind::Completed => pb::EventKind::Completed,
        EventKind::Cancelled => pb::EventKind::Cancelled,
        EventKind::Expired => pb::EventKind::Expired,
    };
    let actor_role = match event.actor_role {
        Role::Referrer => pb::ActorRole::Referrer,
        Role::Hospital => pb::ActorRole::Hospital,
        Role::System => pb::ActorRole::System,
    };
    pb::Event {
        event_id: event.event_id.to_string(),
        referral_id: event.referral_id.to_string(),
        sequence: event.sequence,
        kind: kind.into(),
        actor_role: actor_role.into(),
        occurred_at: Some(timestamp(event.occurred_at)),
    }
}

pub(super) fn dead_letter(letter: DeadLetter) -> pb::DeadLetter {
    let cause = match letter.cause {
        Cause::AttemptsSpent => pb::DeadLetterCause::AttemptsSpent,
        Cause::TooOld => pb::DeadLetterCause::TooOld,
        Cause::Refused => pb::DeadLetterCause::Refused,
    };
    pb::DeadLetter {
        event: Some(event(&letter.event)),
        hospital_id: letter.hospital_id.to_string(),
        cause: cause.into(),
        dead_at: Some(timestamp(letter.dead_at)),
        attempts: letter.attempts,
        held_back: letter.held_back,
    }
}
