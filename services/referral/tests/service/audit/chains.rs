//! The chains: whole after concurrent work, broken where somebody touched them, and the condition of every call.

use std::sync::Arc;

use neurotriage_audit::Break;
use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::referral::v1::{
    CompareStudiesRequest, GetDiagnosisRequest, ListDeadLettersRequest, ListReferralsRequest,
    ReferralMove, Timepoint, WatchEventsRequest, timepoint::Source, watch_events_request::Subject,
};
use neurotriage_referral::store::{
    assessment_row,
    diagnosis::diagnosis_row,
    lifecycle::{event_row, referral_row},
};
use neurotriage_service_kit::audit::verify;
use neurotriage_testkit::databases;
use sea_orm::{DatabaseConnection, EntityTrait as _, PaginatorTrait as _};
use tokio::task::JoinSet;
use tonic::{Code, Status};

use super::{
    harness::{HOSPITAL, SENDER, create, id, move_of, reason, start},
    stored,
};
use crate::support::keys::keyring;

async fn rows(db: &DatabaseConnection) -> anyhow::Result<[u64; 4]> {
    Ok([
        assessment_row::Entity::find().count(db).await?,
        diagnosis_row::Entity::find().count(db).await?,
        referral_row::Entity::find().count(db).await?,
        event_row::Entity::find().count(db).await?,
    ])
}

fn assert_unaudited<T: std::fmt::Debug>(answer: Result<T, Status>, case: &str) {
    let status = answer.expect_err(case);
    let expected = (Code::Internal, "STORE_FAILED".to_owned());
    assert_eq!((status.code(), reason(&status)), expected, "case: {case}: {status:?}");
}

#[tokio::test]
async fn without_an_audit_nothing_is_read_and_nothing_is_stored() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let service = start(db).await?;
        let (store, case) = (service.db.db.clone(), service.case());
        let (mut sender, mut receiver) = (service.doctor(SENDER)?, service.doctor(HOSPITAL)?);
        let assess = case.assess();
        let assessed = sender.assess(&assess).await?;
        let diagnose = case.diagnose();
        let diagnosed = sender.diagnose(&diagnose).await?;
        let drafting = create(&assessed.assessment_id);
        let draft = sender.create(&drafting).await?;
        let sent = sender.make(&move_of(&draft, ReferralMove::Request, "")).await?;
        receiver.referral(&sent.referral_id).await?;
        let before = rows(&store).await?;
        stored::run(&store, "DELETE FROM audit_head").await?;

        assert_unaudited(sender.assess(&case.assess()).await, "assess");
        assert_unaudited(sender.assess(&assess).await, "assess again");
        assert_unaudited(sender.assessment(&assessed.assessment_id).await, "get assessment");
        assert_unaudited(sender.assessment(&id()).await, "get none");
        assert_unaudited(sender.diagnose(&case.diagnose()).await, "diagnose");
        assert_unaudited(sender.diagnose(&diagnose).await, "diagnose again");
        let request = GetDiagnosisRequest { diagnosis_id: diagnosed.diagnosis_id.clone() };
        assert_unaudited(sender.diagnoses.get_diagnosis(request).await, "get diagnosis");
        let later = service.study(&case.patient_id);
        let [earlier, later] =
            [&case.study_id, &later].map(|study_id| service.segmentation(study_id));
        let point = |segmentation_id| {
            let source = Some(Source::SegmentationId(segmentation_id));
            Some(Timepoint { source, ..Timepoint::default() })
        };
        let request = CompareStudiesRequest { earlier: point(earlier), later: point(later) };
        assert_unaudited(sender.diagnoses.compare_studies(request).await, "compare");
        assert_unaudited(sender.create(&create(&assessed.assessment_id)).await, "create");
        assert_unaudited(sender.create(&drafting).await, "create again");
        let cancel = move_of(&sent, ReferralMove::Cancel, "withdrawn");
        assert_unaudited(sender.make(&cancel).await, "move");
        let decline = move_of(&sent, ReferralMove::Decline, "no bed free");
        assert_unaudited(receiver.make(&decline).await, "answer");
        assert_unaudited(receiver.referral(&sent.referral_id).await, "get referral");
        assert_unaudited(sender.events(&sent.referral_id).await, "list events");
        let request =
            ListReferralsRequest { hospital_id: HOSPITAL.to_owned(), ..Default::default() };
        assert_unaudited(sender.referrals.list_referrals(request).await, "list");
        let subject = Some(Subject::HospitalId(HOSPITAL.to_owned()));
        let request = WatchEventsRequest { subject, after_sequence: 0 };
        assert_unaudited(sender.referrals.watch_events(request).await.map(drop), "watch");
        let request = ListDeadLettersRequest::default();
        assert_unaudited(sender.referrals.list_dead_letters(request).await, "dead letters");
        let request = neurotriage_proto::fhir::v1::ExportPatientRequest {
            patient_id: case.patient_id.clone(),
            parts: vec![neurotriage_proto::fhir::v1::StoryPart::Imaging.into()],
            ..Default::default()
        };
        assert_unaudited(sender.fhir.export_patient(request).await.map(drop), "export");
        assert_eq!(rows(&store).await?, before);

        // Those of another hospital go on.
        let mut stranger = service.doctor("south-lake")?;
        stranger.assess(&case.assess()).await?;
        let report = verify(&service.db.service, &keyring(), &[], "").await?;
        let broken: std::collections::BTreeSet<&str> =
            report.broken().map(|(chain, _)| chain.hospital_id.as_str()).collect();
        assert_eq!(broken.into_iter().collect::<Vec<_>>(), [SENDER, HOSPITAL]);
        drop((sender, receiver, stranger));
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_entry_that_is_altered_or_removed_is_found() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let service = start(db).await?;
        let (store, case) = (service.db.db.clone(), service.case());
        let mut doctor = service.doctor(SENDER)?;
        let made = doctor.assess(&case.assess()).await?;
        for _ in 0..3 {
            doctor.assessment(&made.assessment_id).await?;
        }
        let verified = async || verify(&service.db.service, &keyring(), &[], "").await;
        let whole = verified().await?;
        assert_eq!((whole.entries(), whole.broken().count()), (4, 0));
        // All of a patient's are in one chain.
        let alter = "UPDATE audit_entry SET actor = 'nobody' WHERE sequence = 2";
        assert_eq!(stored::run(&store, alter).await?, 1);
        let altered = verified().await?;
        let why: Vec<&Break> = altered.broken().map(|(_, why)| why).collect();
        assert!(matches!(why[..], [Break::Altered { sequence: 2, .. }]), "{why:?}");
        let back =
            format!("UPDATE audit_entry SET actor = 'doctor-of-{SENDER}' WHERE sequence = 2");
        stored::run(&store, &back).await?;
        assert_eq!(verified().await?.broken().count(), 0);
        stored::run(&store, "DELETE FROM audit_entry WHERE sequence = 3").await?;
        assert_eq!(verified().await?.broken().count(), 1);
        drop(doctor);
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_audit_is_whole_after_concurrent_calls() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let service = start(db).await?;
        let doctor = service.doctor(SENDER)?;
        let cases: Arc<Vec<_>> = Arc::new((0..3).map(|_| service.case()).collect());
        let mut tasks = JoinSet::new();
        for task in 0..12_usize {
            let (mut doctor, cases) = (doctor.clone(), Arc::clone(&cases));
            tasks.spawn(async move {
                let case = &cases[task % cases.len()];
                let sent = doctor.sent(case).await?;
                doctor.assessment(&sent.assessment_id).await?;
                doctor.diagnose(&case.diagnose()).await?;
                doctor.referral(&sent.referral_id).await?;
                doctor.assessment(&id()).await.unwrap_err();
                Ok::<_, Status>(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        // Both sides try one move at one time: one is made, and both are noted.
        let mut doctor = doctor;
        let sent = doctor.sent(&cases[0]).await?;
        let mut receiver = service.doctor(HOSPITAL)?;
        let (cancel, decline) = (
            move_of(&sent, ReferralMove::Cancel, "withdrawn"),
            move_of(&sent, ReferralMove::Decline, "no bed free"),
        );
        let (one, other) = tokio::join!(doctor.make(&cancel), receiver.make(&decline));
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");

        let report = verify(&service.db.service, &keyring(), &[], "").await?;
        assert_eq!(report.broken().count(), 0, "{:?}", report.broken().next());
        // Of each task: create and read an assessment, read whom to refer, create, move and read the referral, four of
        // the diagnosis, and one that failed; of the last referral the first four and both tries.
        assert_eq!(report.entries(), 12 * 11 + 4 + 2);
        drop((doctor, receiver));
        service.stop().await?;
    }
    Ok(())
}
