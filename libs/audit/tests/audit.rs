//! Chains that are whole, and chains that somebody changed.
#![allow(clippy::unwrap_used, reason = "tests")]

use neurotriage_audit::{
    Action, Anchor, AuditError, Break, ChainId, Checkpoint, CheckpointError, Detail, EVENTS_MAX,
    Event, EventError, Head, Mac, MacError, Outcome, Part, Purpose, Resource, Row, Signer, Subject,
    Tenant, TraceId, Verified, Verifier, Witness, append, shard_of,
};
use neurotriage_sealing::Keyring;
use proptest::prelude::*;
use time::macros::datetime;
use uuid::Uuid;

const OURS: &str = "audit:a:active:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
const THEIRS: &str = "audit:a:active:ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A=";

fn signer(text: &str) -> Signer {
    Signer::new(&Keyring::parse(text).unwrap()).unwrap()
}

fn tenant() -> Tenant {
    Tenant::new("sample".to_owned()).unwrap()
}

fn chain_id() -> ChainId {
    ChainId { tenant: tenant(), shard: 3 }
}

fn event(number: u64) -> Event {
    Event {
        at: datetime!(2026-11-26 12:00 UTC) + time::Duration::seconds(number as i64),
        actor: Subject::new(format!("staff-{}", number % 3)).unwrap(),
        action: Action::Read,
        resource: Resource::one("patient", Uuid::from_u128(number.into())).unwrap(),
        purpose: Purpose::new("TREAT".to_owned()).unwrap(),
        trace: TraceId::parse("4bf92f3577b34da6a3ce929d0e0e4736")
            .ok()
            .filter(|_| number.is_multiple_of(2)),
        outcome: Outcome::Done,
        detail: Detail::none().revision(number),
    }
}

/// A chain of rows 1 to `length`, its head, and the heads on the way.
fn chain(length: u64) -> (Vec<Row>, Vec<Head>) {
    let signer = signer(OURS);
    let mut heads = vec![Head::empty(chain_id(), &signer)];
    let mut rows = Vec::new();
    for number in 1..=length {
        let (new, head) = append(heads.last().unwrap(), &[event(number)], &signer).unwrap();
        rows.extend(new);
        heads.push(head);
    }
    (rows, heads)
}

fn verify_with(rows: &[Row], head: Option<&Head>, anchors: Vec<Anchor>) -> Result<Verified, Break> {
    let mut verifier = Verifier::new(chain_id(), anchors);
    for row in rows {
        if verifier.push(row.clone()).is_break() {
            break;
        }
    }
    verifier.finish(head, &signer(OURS))
}

fn broken(rows: &[Row], head: &Head) -> Break {
    verify_with(rows, Some(head), Vec::new()).unwrap_err()
}

/// Makes the hashes of `rows` right from `from` on, as somebody without the key can.
fn rehash(rows: &mut [Row], from: usize) {
    for at in from..rows.len() {
        let before = at.checked_sub(1).map(|before| rows[before].hash.clone());
        rows[at].previous_hash = before.unwrap_or_else(|| chain_id().genesis().to_vec());
        rows[at].hash = forged_hash(&rows[at]);
    }
}

/// The hash as the documentation describes it, written anew.
fn forged_hash(row: &Row) -> Vec<u8> {
    use sha2::{Digest as _, Sha256};

    let mut bytes = row.previous_hash.clone();
    let mut field = |content: Option<&[u8]>| {
        let length = content.map_or(u32::MAX, |content| content.len() as u32);
        bytes.extend(length.to_be_bytes());
        bytes.extend(content.unwrap_or_default());
    };
    field(Some(b"neurotriage.audit.v1"));
    field(Some(row.tenant.as_bytes()));
    field(Some(&row.shard.to_be_bytes()));
    field(Some(&row.sequence.to_be_bytes()));
    field(Some(&row.at_us.to_be_bytes()));
    field(Some(row.actor.as_bytes()));
    field(Some(row.action.as_bytes()));
    field(Some(row.resource_kind.as_bytes()));
    field(row.resource_id.as_ref().map(|id| id.as_bytes().as_slice()));
    field(Some(row.purpose.as_bytes()));
    field(row.trace_id.as_ref().map(|id| id.as_bytes()));
    field(Some(row.outcome.as_bytes()));
    field(Some(row.detail.as_bytes()));
    Sha256::digest(bytes).to_vec()
}

fn renumber(rows: &mut [Row]) {
    for (row, sequence) in rows.iter_mut().zip(1..) {
        row.sequence = sequence;
    }
}

#[test]
fn a_whole_chain_is_verified() {
    let (rows, heads) = chain(10);
    let verified = verify_with(&rows, heads.last(), Vec::new()).unwrap();
    assert_eq!((verified.rows, verified.sequence, verified.checkpoints), (10, 10, 0));
    assert_eq!(verified.hash.as_slice(), rows[9].hash);
    assert_eq!(rows[9].hash, forged_hash(&rows[9]));
    let empty = verify_with(&[], Some(&heads[0]), Vec::new()).unwrap();
    assert_eq!((empty.rows, empty.hash), (0, chain_id().genesis()));
}

/// The values are those of `tools/sealing_vectors.py`.
#[test]
fn hashes_and_signatures_are_fixed() {
    let (rows, heads) = chain(2);
    assert_eq!(heads[2].mac.as_str(), "h1.a.eHQsflECcd2BULQ3BRRbsLvH1hqSuguz7-BHUn109zE");
    let hex: String = rows[1].hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "7427c95250f64b95ef27beec68a5bd674d4a7bf4e279ea2a1979eb54bdfe6241");
}

#[test]
fn events_appended_together_are_chained_as_one_by_one() {
    let (rows, heads) = chain(3);
    let events: Vec<Event> = (1..=3).map(event).collect();
    let (together, head) = append(&heads[0], &events, &signer(OURS)).unwrap();
    assert_eq!((together, &head), (rows, &heads[3]));
}

#[test]
fn removed_rows_are_named() {
    let (rows, heads) = chain(10);
    let head = &heads[10];
    let mut some = rows.clone();
    some.drain(3..5);
    assert_eq!(broken(&some, head), Break::Removed { first: 4, last: 5 });
    renumber(&mut some);
    assert_eq!(broken(&some, head), Break::Removed { first: 4, last: 5 });
    assert_eq!(broken(&rows[2..], head), Break::Removed { first: 1, last: 2 });
    let tail = Break::TailRemoved { first: 8, last: 10, witness: Witness::Head };
    assert_eq!(broken(&rows[..7], head), tail);
    assert_eq!(tail.to_string(), "rows 8 to 10 were removed from the end; the head knows of them");
}

#[test]
fn altered_rows_are_named_with_the_part() {
    let (rows, heads) = chain(10);
    let altered = |spoil: fn(&mut Row)| {
        let mut rows = rows.clone();
        spoil(&mut rows[4]);
        broken(&rows, &heads[10])
    };
    let at = |part| Break::Altered { sequence: 5, part };
    type Spoil = fn(&mut Row);
    let contents: [(&str, Spoil); 13] = [
        ("tenant", |row| row.tenant = "other".into()),
        ("shard", |row| row.shard = 4),
        ("time", |row| row.at_us += 1),
        ("actor", |row| row.actor = "staff-9".into()),
        ("action", |row| row.action = "search".into()),
        ("kind", |row| row.resource_kind = "report".into()),
        ("resource", |row| row.resource_id = None),
        ("purpose", |row| row.purpose = "HRESCH".into()),
        ("trace", |row| row.trace_id = Some(String::new())),
        ("outcome", |row| row.outcome = "denied".into()),
        ("detail", |row| row.detail.push(' ')),
        ("text moved on", |row| {
            row.actor.push_str("re");
            row.action = "ad".into();
        }),
        ("emptied", |row| {
            row.hash.clear();
            row.previous_hash.clear();
        }),
    ];
    for (case, spoil) in contents {
        assert_eq!(altered(spoil), at(Part::Content), "case: {case}");
    }
    assert_eq!(altered(|row| row.previous_hash[0] ^= 1), at(Part::PreviousHash));
    assert_eq!(altered(|row| row.hash[0] ^= 1), at(Part::Hash));
    let mut last = rows.clone();
    last[9].hash[0] ^= 1;
    assert_eq!(broken(&last, &heads[10]), Break::Altered { sequence: 10, part: Part::Hash });
}

#[test]
fn a_row_replaced_with_right_hashes_is_named() {
    let (rows, heads) = chain(10);
    let mut one = rows.clone();
    one[4].actor = "staff-9".into();
    rehash(&mut one[..5], 4);
    assert_eq!(broken(&one, &heads[10]), Break::Replaced { sequence: 5 });
    let mut last = rows.clone();
    last[9].actor = "staff-9".into();
    rehash(&mut last, 9);
    assert_eq!(broken(&last, &heads[10]), Break::Replaced { sequence: 10 });
    let mut first = rows;
    first[0].previous_hash = vec![1; 32];
    first[0].hash = forged_hash(&first[0]);
    assert_eq!(broken(&first, &heads[10]), Break::Replaced { sequence: 1 });
}

#[test]
fn inserted_and_moved_rows_are_named() {
    let (rows, heads) = chain(10);
    let head = &heads[10];
    let mut forged = rows[6].clone();
    forged.actor = "staff-9".into();
    let mut inserted = rows.clone();
    inserted.insert(4, forged.clone());
    renumber(&mut inserted);
    assert_eq!(broken(&inserted, head), Break::Inserted { first: 5, last: 5 });
    rehash(&mut inserted[..5], 4);
    assert_eq!(broken(&inserted, head), Break::Inserted { first: 5, last: 5 });
    let mut twice = rows.clone();
    twice.insert(4, rows[3].clone());
    assert_eq!(broken(&twice, head), Break::Inserted { first: 4, last: 4 });
    let mut beyond = rows.clone();
    beyond.push(Row { sequence: 11, ..forged });
    rehash(&mut beyond, 10);
    assert_eq!(broken(&beyond, head), Break::BeyondHead { head: 10, last: 11 });
    let mut swapped = rows.clone();
    swapped.swap(4, 7);
    renumber(&mut swapped);
    assert_eq!(broken(&swapped, head), Break::Reordered { sequence: 5, found: 8 });
    let mut unsorted = rows;
    unsorted.swap(4, 7);
    assert_eq!(broken(&unsorted, head), Break::Reordered { sequence: 5, found: 8 });
}

#[test]
fn a_forged_head_is_refused_by_reader_and_writer() {
    let (mut rows, heads) = chain(10);
    // Everything rewritten, by somebody with the database and a key of their own.
    rows[2].actor = "staff-9".into();
    rehash(&mut rows, 2);
    let theirs = signer(THEIRS);
    let mut forged = heads[10].clone();
    forged.hash = rows[9].hash.clone();
    let wrong = Break::HeadSignature { last: 10, source: MacError::Wrong };
    assert_eq!(broken(&rows, &forged), wrong);
    let (_, signed) = append(&Head::empty(chain_id(), &theirs), &[event(1)], &theirs).unwrap();
    let refused = append(&signed, &[event(2)], &signer(OURS)).unwrap_err();
    assert!(matches!(refused, AuditError::Head { source: MacError::Wrong, .. }), "{refused}");
    let mut stranger = heads[10].clone();
    stranger.chain.shard = 4;
    assert_eq!(broken(&chain(10).0, &stranger), wrong);
    stranger.mac = Mac::stored("h1.b.AAAA".to_owned());
    let refused = append(&stranger, &[event(2)], &signer(OURS)).unwrap_err();
    assert!(refused.to_string().contains("no audit key b"), "{refused}");
    let missing = verify_with(&rows, None, Vec::new()).unwrap_err();
    assert_eq!(missing, Break::HeadMissing { last: 10 });
}

#[test]
fn events_over_a_limit_are_refused() {
    let signer = signer(OURS);
    let head = Head::empty(chain_id(), &signer);
    let many = vec![event(1); EVENTS_MAX + 1];
    let refused = append(&head, &many, &signer).unwrap_err();
    assert_eq!(refused, AuditError::Many { events: EVENTS_MAX + 1 });
    let mut long = event(1);
    for _ in 0..40 {
        long.detail = long.detail.fields(&["medical_record_number"]);
    }
    let refused = append(&head, &[long], &signer).unwrap_err();
    assert_eq!(refused, AuditError::Event(EventError::Detail));
}

#[test]
fn a_checkpoint_shows_what_the_head_can_not() {
    let (rows, heads) = chain(10);
    let ours = signer(OURS);
    let at = datetime!(2026-11-26 13:00 UTC);
    let other = Head::empty(ChainId { tenant: tenant(), shard: 0 }, &ours);
    let kept = [4, 8].map(|length: usize| {
        let stand = [heads[length].clone(), other.clone()];
        let made = Checkpoint::new(tenant(), length as i64, at, &stand, &ours).unwrap();
        let read = Checkpoint::from_line(&made.to_line(), &ours).unwrap();
        assert_eq!(read, made);
        assert_eq!(read.positions().len(), 2);
        read.anchor(3).unwrap()
    });
    let verified = verify_with(&rows, heads.last(), kept.to_vec()).unwrap();
    assert_eq!(verified.checkpoints, 2);
    // Chain and head put back together: right in themselves.
    verify_with(&rows[..6], Some(&heads[6]), Vec::new()).unwrap();
    let witness = Witness::Checkpoint { number: 8 };
    assert_eq!(
        verify_with(&rows[..6], Some(&heads[6]), kept.to_vec()).unwrap_err(),
        Break::TailRemoved { first: 7, last: 8, witness }
    );
    // Rewritten by somebody who has the key.
    let (mut forged, mut head) = (rows[..4].to_vec(), heads[4].clone());
    for number in 105..=109 {
        let (new, next) = append(&head, &[event(number)], &ours).unwrap();
        forged.extend(new);
        head = next;
    }
    assert_eq!(
        verify_with(&forged, Some(&head), kept.to_vec()).unwrap_err(),
        Break::Rewritten { first: 5, last: 8, checkpoint: 8 }
    );
    let mut verifier = Verifier::after(chain_id(), kept[0], kept.to_vec());
    assert_eq!(verifier.reached(), 4);
    for row in &rows[4..] {
        assert!(verifier.push(row.clone()).is_continue());
    }
    let verified = verifier.finish(heads.last(), &ours).unwrap();
    assert_eq!((verified.rows, verified.checkpoints), (6, 2));
}

#[test]
fn a_checkpoint_is_made_and_read_with_the_key_only() {
    let (_, heads) = chain(2);
    let (ours, theirs) = (signer(OURS), signer(THEIRS));
    let at = datetime!(2026-11-26 13:00 UTC);
    let forged = Checkpoint::new(tenant(), 1, at, &heads[2..], &theirs).unwrap_err();
    assert!(matches!(forged, CheckpointError::Head { .. }), "{forged}");
    let twice = Checkpoint::new(tenant(), 1, at, &heads[1..], &ours).unwrap_err();
    assert!(matches!(twice, CheckpointError::Malformed { .. }), "{twice}");
    let stranger = Tenant::new("other".to_owned()).unwrap();
    assert!(Checkpoint::new(stranger, 1, at, &heads[2..], &ours).is_err());
    let line = Checkpoint::new(tenant(), 1, at, &heads[2..], &ours).unwrap().to_line();
    let changed = line.replacen(" 3:2:", " 3:1:", 1);
    assert_ne!(line, changed);
    let refused = Checkpoint::from_line(&changed, &ours).unwrap_err();
    assert_eq!(refused.to_string(), "checkpoint 1: signature does not hold");
    for bad in ["", "c1", "c2 sample 1 1 3:2:AA h1.a.AA", "c1 sample 1 1 3:2:AA h1.a.AA"] {
        let refused = Checkpoint::from_line(bad, &ours).unwrap_err();
        assert!(matches!(refused, CheckpointError::Malformed { .. }), "{bad}: {refused}");
    }
}

#[test]
fn shards_are_filled_evenly() {
    let mut counts = [0_u32; 16];
    for number in 0..16_000 {
        counts[usize::from(shard_of(&Uuid::from_u128(number), 16))] += 1;
    }
    // Six standard deviations of a fair draw of 1000.
    assert!(counts.iter().all(|count| (810..1190).contains(count)), "{counts:?}");
    assert_eq!(shard_of(&Uuid::from_u128(1), 0), 0);
}

proptest! {
    #[test]
    fn any_removal_is_named_exactly(length in 1..40_u64, a: prop::sample::Index, b: prop::sample::Index) {
        let (mut rows, heads) = chain(length);
        let (a, b) = (a.index(rows.len()), b.index(rows.len()));
        let (first, last) = (a.min(b), a.max(b));
        rows.drain(first..=last);
        let expected = if last + 1 == length as usize {
            let (first, last) = (first as i64 + 1, length as i64);
            Break::TailRemoved { first, last, witness: Witness::Head }
        } else {
            Break::Removed { first: first as i64 + 1, last: last as i64 + 1 }
        };
        prop_assert_eq!(broken(&rows, heads.last().unwrap()), expected);
    }

    #[test]
    fn any_swap_is_named_exactly(length in 2..40_u64, a: prop::sample::Index, b: prop::sample::Index) {
        let (mut rows, heads) = chain(length);
        let (a, b) = (a.index(rows.len()), b.index(rows.len()));
        prop_assume!(a != b);
        rows.swap(a, b);
        renumber(&mut rows);
        let (sequence, found) = (a.min(b) as i64 + 1, a.max(b) as i64 + 1);
        prop_assert_eq!(broken(&rows, heads.last().unwrap()), Break::Reordered { sequence, found });
    }

    #[test]
    fn any_rewriting_is_found(length in 1..30_u64, at: prop::sample::Index, to: prop::sample::Index) {
        let (mut rows, heads) = chain(length);
        let at = at.index(rows.len());
        rows[at].actor.push('x');
        let to = at + to.index(rows.len() - at);
        rehash(&mut rows[..=to], at);
        let sequence = to as i64 + 1;
        prop_assert_eq!(broken(&rows, heads.last().unwrap()), Break::Replaced { sequence });
    }
}

/// What somebody without the key can do to rows.
#[derive(Clone, Debug)]
enum Tampering {
    Delete(prop::sample::Index),
    Copy(prop::sample::Index, prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Alter(prop::sample::Index),
    Number(prop::sample::Index, i64),
    Renumber,
    Rehash(prop::sample::Index),
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        at().prop_map(Tampering::Delete),
        (at(), at()).prop_map(|(from, to)| Tampering::Copy(from, to)),
        (at(), at()).prop_map(|(one, other)| Tampering::Swap(one, other)),
        at().prop_map(Tampering::Alter),
        (at(), any::<i64>()).prop_map(|(at, number)| Tampering::Number(at, number)),
        Just(Tampering::Renumber),
        at().prop_map(Tampering::Rehash),
    ]
}

fn tamper(rows: &mut Vec<Row>, tampering: &Tampering) {
    if rows.is_empty() {
        return;
    }
    let length = rows.len();
    match tampering {
        Tampering::Delete(at) => drop(rows.remove(at.index(length))),
        Tampering::Copy(from, to) => {
            rows.insert(to.index(length), rows[from.index(length)].clone())
        }
        Tampering::Swap(one, other) => rows.swap(one.index(length), other.index(length)),
        Tampering::Alter(at) => rows[at.index(length)].purpose.push('X'),
        Tampering::Number(at, number) => rows[at.index(length)].sequence = *number,
        Tampering::Renumber => renumber(rows),
        Tampering::Rehash(from) => rehash(rows, from.index(length)),
    }
}

proptest! {
    #[test]
    fn whatever_is_done_without_the_key_is_found(
        length in 1..20_u64,
        done in prop::collection::vec(tampering(), 1..6),
    ) {
        let (rows, heads) = chain(length);
        let mut changed = rows.clone();
        for tampering in &done {
            tamper(&mut changed, tampering);
        }
        let verified = verify_with(&changed, heads.last(), Vec::new());
        prop_assert_eq!(verified.is_ok(), changed == rows, "{:?}", verified);
    }
}
