//! Keys that change, and texts from before there were any.

use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::referral::v1::{Assessment, Referral, ReferralMove};
use neurotriage_referral::{
    assessment::ReferralStore as _,
    store::{
        SqlReferralStore,
        admin::{readable_row, rotate_keys},
    },
};
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::{
    audit::{Call, audit_entry_row, verify},
    keyring::Rotated,
};
use neurotriage_testkit::databases;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DatabaseConnection, EntityTrait as _,
    PaginatorTrait as _, QueryFilter as _, Statement,
};
use tonic::Code;

use super::{
    harness::{Case, HOSPITAL, NOT_UNDERSTOOD, SENDER, Service, move_of, reason, start},
    sealed::REASON,
    stored,
};
use crate::support::keys::{KEYS, keyring, ledger};

const SEAL: &str = "seal:s2:active:ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0E=";
const AUDIT: &str = "audit:a2:active:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpbXF1eX2E=";

/// Keys after a change: with the old ones, retired, or without.
fn changed(with_old: bool) -> Keyring {
    let index = KEYS.split(',').find(|line| line.starts_with("index:")).unwrap();
    let old = KEYS.replace(index, "").replace(":active:", ":retired:");
    let old = if with_old { old } else { String::new() };
    let lines = [SEAL, AUDIT, index].into_iter().chain(old.split(','));
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    Keyring::parse(&lines.join("\n")).unwrap()
}

/// Has an assessment made and a referral declined.
async fn filled(service: &Service) -> anyhow::Result<(Case, Assessment, Referral)> {
    let case = service.case();
    let (mut sender, mut receiver) = (service.doctor(SENDER)?, service.doctor(HOSPITAL)?);
    let sent = sender.sent(&case).await?;
    let declined = receiver.make(&move_of(&sent, ReferralMove::Decline, REASON)).await?;
    let assessment = sender.assessment(&sent.assessment_id).await?;
    assert_eq!((declined.reason.as_str(), assessment.not_understood.len()), (REASON, 1));
    Ok((case, assessment, declined))
}

/// Checks that both hospitals read what was written.
async fn check(
    service: &Service,
    assessment: &Assessment,
    referral: &Referral,
) -> anyhow::Result<()> {
    let (mut sender, mut receiver) = (service.doctor(SENDER)?, service.doctor(HOSPITAL)?);
    assert_eq!(sender.assessment(&assessment.assessment_id).await?, *assessment);
    for clients in [&mut sender, &mut receiver] {
        assert_eq!(clients.referral(&referral.referral_id).await?, *referral);
    }
    Ok(())
}

/// Returns which records the audit says were sealed again.
async fn resealed(db: &DatabaseConnection) -> anyhow::Result<Vec<String>> {
    let rows = audit_entry_row::Entity::find()
        .filter(audit_entry_row::Column::Action.eq("reseal"))
        .all(db)
        .await?;
    let mut words = Vec::new();
    for row in rows {
        assert_eq!(
            (row.actor.as_str(), row.purpose.as_str()),
            ("neurotriage-referral rotate-keys", "HSYSADMIN")
        );
        words.push(format!("{} {} {}", row.hospital_id, row.resource_kind, row.outcome));
    }
    words.sort();
    Ok(words)
}

#[tokio::test]
async fn after_a_rotation_the_old_keys_can_go() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let service = start(db).await?;
        let (_, assessment, referral) = filled(&service).await?;
        let service = service.restart(changed(true)).await?;
        check(&service, &assessment, &referral).await?;
        let (_, _, newer) = filled(&service).await?;

        let db = service.db.service.clone();
        let rotated = rotate_keys(&db, &changed(true)).await?;
        assert_eq!(rotated, Rotated { seen: 4, resealed: 2, ..Rotated::default() });
        let entries = ["north-lake assessment done", "north-lake referral_event done"];
        assert_eq!(resealed(&service.db.db).await?, entries);
        let again = rotate_keys(&db, &changed(true)).await?;
        assert_eq!(again, Rotated { seen: 4, ..Rotated::default() });
        let service = service.restart(changed(false)).await?;
        check(&service, &assessment, &referral).await?;
        check(&service, &assessment, &newer).await?;
        assert_eq!(verify(&db, &changed(false), &[], "").await?.broken().count(), 0);
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn without_the_old_key_a_text_is_an_error_and_a_rotation_too() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let service = start(db).await?;
        let (case, assessment, _) = filled(&service).await?;
        let lacks = format!("{SEAL},{}", KEYS.split_once(',').unwrap().1);
        let lacks = Keyring::parse(&lacks).unwrap();
        let service = service.restart(lacks.clone()).await?;
        let mut sender = service.doctor(SENDER)?;
        let status = sender.assessment(&assessment.assessment_id).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "STORE_FAILED"));
        assert!(!format!("{status:?}").contains("mark"), "{status:?}");
        rotate_keys(&service.db.service, &lacks).await.unwrap_err();
        // What is new is sealed with the new one.
        sender.sent(&case).await?;
        drop(sender);
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn texts_from_before_are_read_and_can_be_sealed() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let service = start(db).await?;
        let (_, assessment, referral) = filled(&service).await?;
        let db = service.db.db.clone();
        // A step back would lose what it can't open.
        let owner = service.db.owner().await?;
        let refused = stored::step_back(&owner).await.unwrap_err();
        assert!(refused.to_string().contains("sealed"), "{refused}");
        let call = Call::of_program(SENDER.parse()?, "test")?;
        let store = SqlReferralStore::new(ledger(&service.db.service));
        let found = store.find(&call, assessment.assessment_id.parse()?).await?;
        let content = serde_json::to_string(&found.findings)?.replace('\'', "''");
        let assessment_id = stored::literal(&db, &assessment.assessment_id);
        let before = [
            format!(
                "UPDATE assessment SET content = '{content}', sealed = NULL \
                 WHERE assessment_id = {assessment_id}"
            ),
            format!("UPDATE referral_reason SET readable = '{REASON}', sealed = NULL"),
        ];
        for statement in before {
            assert_eq!(stored::run(&db, &statement).await?, 1);
        }
        stored::step_back(&owner).await?;
        let same =
            "SELECT 1 FROM referral, referral_event WHERE referral.reason = referral_event.reason";
        let same = Statement::from_string(db.get_database_backend(), same);
        assert!(db.query_one_raw(same).await?.is_some());
        stored::step_on(&owner).await?;
        owner.close().await?;
        service.db.grant().await?;
        assert_eq!(readable_row::Entity::find().count(&db).await?, 1);

        check(&service, &assessment, &referral).await?;
        let dump = stored::dump(&db).await?;
        assert!(dump.contains(REASON) && dump.contains(NOT_UNDERSTOOD));
        let rotated = rotate_keys(&service.db.service, &keyring()).await?;
        assert_eq!(rotated, Rotated { seen: 2, resealed: 2, ..Rotated::default() });
        let entries = ["north-lake assessment done", "north-lake referral_event done"];
        assert_eq!(resealed(&db).await?, entries);
        assert_eq!(readable_row::Entity::find().count(&db).await?, 0);
        let dump = stored::dump(&db).await?;
        assert!(!dump.contains("mark-"), "{dump}");
        check(&service, &assessment, &referral).await?;
        service.stop().await?;
    }
    Ok(())
}
