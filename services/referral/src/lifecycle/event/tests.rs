use neurotriage_domain::{AssessmentId, PatientId};
use time::macros::datetime;
use uuid::Uuid;

use super::*;
use crate::lifecycle::referral::{Action, Actor, Move, Referral, Terms};

fn id(text: &str) -> ReferralId {
    Uuid::parse_str(text).unwrap().into()
}

fn envelope() -> EventEnvelope {
    let referral_id = id("01939c5e-7a00-7000-8000-000000000001");
    EventEnvelope {
        version: EVENT_VERSION,
        event_id: EventId::of(referral_id, 3),
        referral_id,
        sequence: 3,
        kind: EventKind::Accepted,
        actor_role: Role::Hospital,
        occurred_at: datetime!(2026-11-26 09:30:00.123456 UTC),
    }
}

#[test]
fn the_json_form_is_fixed() {
    let event = envelope();
    let json = event.to_json().unwrap();
    assert_eq!(
        json,
        format!(
            "{{\"version\":1,\"event_id\":\"{}\",\
             \"referral_id\":\"01939c5e-7a00-7000-8000-000000000001\",\"sequence\":3,\
             \"kind\":\"accepted\",\"actor_role\":\"hospital\",\
             \"occurred_at\":\"2026-11-26T09:30:00.123456Z\"}}",
            event.event_id
        )
    );
    assert_eq!(EventEnvelope::from_json(json.as_bytes()).unwrap(), event);
}

#[test]
fn new_members_are_passed_over_and_wrong_text_is_refused() {
    let json = envelope().to_json().unwrap();
    let more = json.replace("{\"version\"", "{\"tenant\":[1],\"version\"");
    assert_eq!(EventEnvelope::from_json(more.as_bytes()).unwrap(), envelope());
    let version = json.replace("\"version\":1", "\"version\":2,\"kind\":7");
    let number = json.replace("\"sequence\":3", "\"sequence\":4");
    let kind = json.replace("accepted", "lost");
    let long = format!("{json}{}", " ".repeat(EVENT_JSON_BYTES_MAX));
    let refused = |text: &str| EventEnvelope::from_json(text.as_bytes()).unwrap_err();
    assert!(matches!(refused(&version), EventError::UnknownVersion { found: 2 }));
    assert!(matches!(refused(&number), EventError::IdMismatch { .. }));
    assert!(matches!(refused(&kind), EventError::Json(_)));
    assert!(matches!(refused("{}"), EventError::Json(_)));
    assert!(matches!(refused(&long), EventError::TooLong { .. }));
}

#[test]
fn every_move_has_its_kind_and_no_event_tells_whom_why_or_when() {
    let now = datetime!(2026-11-26 09:00 UTC);
    let terms = Terms {
        referral_id: ReferralId::generate(),
        request_id: Uuid::now_v7(),
        patient_id: PatientId::generate(),
        assessment_id: AssessmentId::generate(),
        sender_hospital_id: "north-lake".parse().unwrap(),
        hospital_id: "sample-01".parse().unwrap(),
        referrer_id: "practice-7".parse().unwrap(),
        created_at: now,
        deadline_at: Some(now),
    };
    let reason = || "Mrs Miller moved".parse().unwrap();
    let schedule = || Action::Schedule { scheduled_at: datetime!(2031-05-06 07:08 UTC) };
    let (referrer, hospital, system) = (Role::Referrer, Role::Hospital, Role::System);
    // (deadline binds, moves with roles, kinds)
    type Walk = (bool, Vec<(Role, Action)>, &'static [&'static str]);
    let walks: Vec<Walk> = vec![
        (
            false,
            vec![
                (referrer, Action::Request),
                (hospital, Action::Receive),
                (hospital, Action::Accept),
                (hospital, schedule()),
                (hospital, schedule()),
                (hospital, Action::Complete),
            ],
            &[
                "drafted",
                "requested",
                "received",
                "accepted",
                "scheduled",
                "rescheduled",
                "completed",
            ],
        ),
        (
            false,
            vec![(referrer, Action::Request), (hospital, Action::Decline { reason: reason() })],
            &["drafted", "requested", "declined"],
        ),
        (false, vec![(referrer, Action::Cancel { reason: reason() })], &["drafted", "cancelled"]),
        (true, vec![(system, Action::Expire)], &["drafted", "expired"]),
    ];
    for (due, moves, kinds) in walks {
        let deadline_at = due.then_some(now);
        let (mut referral, _) = Referral::draft(Terms { deadline_at, ..terms.clone() });
        for (role, action) in moves {
            let id = match role {
                Role::Referrer => "practice-7",
                Role::Hospital => "sample-01",
                Role::System => "neurotriage",
            };
            let actor = Actor { role, id: id.parse().unwrap() };
            let request = Move { request_id: Uuid::now_v7(), action };
            let revision = referral.status().revision;
            referral = referral.apply(request, revision, actor, now).unwrap().0;
        }
        let sent: Vec<EventEnvelope> = referral.history().iter().map(Into::into).collect();
        let found: Vec<&str> = sent.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(found, kinds);
        let patient_id = terms.patient_id.to_string();
        for event in &sent {
            let json = event.to_json().unwrap();
            for private in ["Miller", "2031", "practice-7", "sample-01", &patient_id] {
                assert!(!json.contains(private), "{private} in {json}");
            }
            assert_eq!(EventEnvelope::from_json(json.as_bytes()).unwrap(), *event);
        }
    }
}
