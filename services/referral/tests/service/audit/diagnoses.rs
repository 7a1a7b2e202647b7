//! Assessments, diagnoses and comparisons.

use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::referral::v1::{
    AssessRequest, CompareStudiesRequest, DiagnoseRequest, GetDiagnosisRequest, Timepoint,
    timepoint::Source,
};
use neurotriage_testkit::databases;

use super::harness::{SENDER, Seen, id, reason, start};

#[tokio::test]
async fn every_call_on_assessments_is_noted() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let service = start(db).await?;
        let (store, case) = (service.db.db.clone(), service.case());
        let mut doctor = service.doctor(SENDER)?;
        let mut seen = Seen::default();
        seen.name(&case.patient_id, "patient");
        let request = case.assess();
        let made = doctor.assess(&request).await?;
        seen.name(&made.assessment_id, "one");
        assert_eq!(seen.news(&store).await?, ["create assessment one done"]);
        assert_eq!(doctor.assess(&request).await?, made);
        assert_eq!(seen.news(&store).await?, ["create assessment one done reason=REPEATED"]);
        let other = AssessRequest { hospitals_max: 9, ..request };
        doctor.assess(&other).await.unwrap_err();
        let reused = "create assessment one failed reason=REQUEST_ID_REUSED";
        assert_eq!(seen.news(&store).await?, [reused]);
        assert_eq!(doctor.assessment(&made.assessment_id).await?, made);
        assert_eq!(seen.news(&store).await?, ["read assessment one done"]);
        doctor.assessment(&id()).await.unwrap_err();
        let absent = "read assessment ? failed reason=ASSESSMENT_NOT_FOUND";
        assert_eq!(seen.news(&store).await?, [absent]);

        // Of another hospital it is not there, and that hospital's audit says so.
        let mut stranger = service.doctor("south-lake")?;
        stranger.assessment(&made.assessment_id).await.unwrap_err();
        let absent = "south-lake: read assessment one failed reason=ASSESSMENT_NOT_FOUND";
        assert_eq!(seen.news(&store).await?, [absent]);

        let mut kept = service.kept_to(&service.case().patient_id)?;
        let denied = kept.assessment(&made.assessment_id).await.unwrap_err();
        assert_eq!(reason(&denied), "OTHER_PATIENT");
        assert_eq!(seen.news(&store).await?, ["read assessment one denied reason=OTHER_PATIENT"]);
        kept.assess(&case.assess()).await.unwrap_err();
        assert_eq!(
            seen.news(&store).await?,
            ["create patient patient denied reason=OTHER_PATIENT"]
        );
        drop((doctor, stranger, kept));
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_call_on_diagnoses_is_noted() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let service = start(db).await?;
        let (store, case) = (service.db.db.clone(), service.case());
        let mut doctor = service.doctor(SENDER)?;
        let mut seen = Seen::default();
        seen.name(&case.patient_id, "patient");
        let request = case.diagnose();
        let made = doctor.diagnose(&request).await?;
        seen.name(&made.diagnosis_id, "one");
        seen.name(&made.assessment.clone().unwrap_or_default().assessment_id, "its");
        assert_eq!(
            seen.news(&store).await?,
            [
                "create assessment its done",
                "create diagnosis one done",
                "update diagnosis one done fields=ending",
                "update diagnosis one done fields=marking",
            ]
        );
        let [read, again] =
            ["read assessment its done", "create diagnosis one done reason=REPEATED"];
        assert_eq!(doctor.diagnose(&request).await?, made);
        assert_eq!(seen.news(&store).await?, [again, read]);
        let other = DiagnoseRequest { hospitals_max: 9, ..request.clone() };
        doctor.diagnose(&other).await.unwrap_err();
        let reused = "create diagnosis one failed reason=REQUEST_ID_REUSED";
        assert_eq!(seen.news(&store).await?, [reused]);
        let get =
            |diagnosis_id: &str| GetDiagnosisRequest { diagnosis_id: diagnosis_id.to_owned() };
        doctor.diagnoses.get_diagnosis(get(&made.diagnosis_id)).await?;
        assert_eq!(seen.news(&store).await?, [read, "read diagnosis one done"]);
        doctor.diagnoses.get_diagnosis(get(&id())).await.unwrap_err();
        let absent = "read diagnosis ? failed reason=DIAGNOSIS_NOT_FOUND";
        assert_eq!(seen.news(&store).await?, [absent]);

        let mut kept = service.kept_to(&service.case().patient_id)?;
        kept.diagnoses.get_diagnosis(get(&made.diagnosis_id)).await.unwrap_err();
        let denied = "read diagnosis one denied reason=OTHER_PATIENT";
        assert_eq!(seen.news(&store).await?, [denied]);
        kept.diagnose(&case.diagnose()).await.unwrap_err();
        let denied = "create patient patient denied reason=OTHER_PATIENT";
        assert_eq!(seen.news(&store).await?, [denied]);
        drop((doctor, kept));
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn who_goes_on_with_a_diagnosis_is_noted_as_who_did_it() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let service = start(db).await?;
        let (store, request) = (service.db.db.clone(), service.case().diagnose());
        let mut seen = Seen::default();
        service.world.network_free.send_replace(false);
        let mut first = service.doctor_named(SENDER, "first")?;
        let mut begun = first.diagnoses.diagnose(request.clone()).await?.into_inner();
        let begun_id = begun.message().await?.unwrap_or_default().diagnosis_id;
        seen.name(&begun_id, "one");
        assert_eq!(
            seen.news(&store).await?,
            ["first of north-lake for TREAT: create diagnosis one done"]
        );
        drop(begun);
        service.world.dropped.subscribe().wait_for(|dropped| *dropped > 0).await?;
        service.world.network_free.send_replace(true);

        let mut second = service.doctor(SENDER)?;
        let made = second.diagnose(&request).await?;
        seen.name(&made.assessment.unwrap_or_default().assessment_id, "its");
        assert_eq!(
            seen.news(&store).await?,
            [
                "create assessment its done",
                "create diagnosis one done reason=REPEATED",
                "update diagnosis one done fields=ending",
                "update diagnosis one done fields=marking",
            ]
        );
        drop((first, second));
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_was_compared_is_noted() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let service = start(db).await?;
        let (store, case) = (service.db.db.clone(), service.case());
        let mut doctor = service.doctor(SENDER)?;
        let mut seen = Seen::default();
        let made = doctor.diagnose(&case.diagnose()).await?;
        seen.news(&store).await?;
        let later = service.study(&case.patient_id);
        for (id, name) in [
            (&made.diagnosis_id, "one"),
            (&case.study_id, "before"),
            (&later, "after"),
            (&case.patient_id, "patient"),
        ] {
            seen.name(id, name);
        }
        let point = |source| Some(Timepoint { source: Some(source), ..Timepoint::default() });
        let request = CompareStudiesRequest {
            earlier: point(Source::DiagnosisId(made.diagnosis_id.clone())),
            later: point(Source::SegmentationId(service.segmentation(&later))),
        };
        doctor.diagnoses.compare_studies(request).await?;
        assert_eq!(
            seen.news(&store).await?,
            [
                "read diagnosis one done",
                "read study after done fields=later",
                "read study before done fields=earlier",
            ]
        );
        let unknown = CompareStudiesRequest {
            earlier: point(Source::DiagnosisId(id())),
            later: point(Source::SegmentationId(service.segmentation(&later))),
        };
        doctor.diagnoses.compare_studies(unknown).await.unwrap_err();
        let absent = "read diagnosis ? failed reason=DIAGNOSIS_NOT_FOUND";
        assert_eq!(seen.news(&store).await?, [absent]);
        // Of whom a diagnosis is, is known at once; of whom a segmentation is, when both were read.
        let mut kept = service.kept_to(&service.case().patient_id)?;
        let segmented = CompareStudiesRequest {
            earlier: point(Source::SegmentationId(service.segmentation(&case.study_id))),
            later: point(Source::SegmentationId(service.segmentation(&later))),
        };
        let denied = kept.diagnoses.compare_studies(segmented).await.unwrap_err();
        assert_eq!(reason(&denied), "OTHER_PATIENT");
        let denied = "read patient patient denied reason=OTHER_PATIENT";
        assert_eq!(seen.news(&store).await?, [denied]);
        drop((doctor, kept));
        service.stop().await?;
    }
    Ok(())
}
