//! Patients' stories that leave the system, and bundles that come in.

use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::{
    fhir::v1::{
        ExportPatientRequest, ImportBundleHeader, ImportBundleRequest, StoryPart,
        import_bundle_request::Content,
    },
    records::v1::Patient,
};
use neurotriage_testkit::databases;
use serde_json::json;
use tonic::Status;

use super::harness::{Clients, SENDER, Seen, reason, start};

async fn export(clients: &mut Clients, patient_id: &str, parts: Vec<i32>) -> Result<usize, Status> {
    let request =
        ExportPatientRequest { patient_id: patient_id.to_owned(), parts, ..Default::default() };
    let mut pieces = clients.fhir.export_patient(request).await?.into_inner();
    let mut bytes = 0;
    while let Some(message) = pieces.message().await? {
        bytes += message.piece.len();
    }
    Ok(bytes)
}

#[tokio::test]
async fn an_export_is_noted_with_what_it_took_from_here() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let service = start(db).await?;
        let (store, case) = (service.db.db.clone(), service.case());
        let mut doctor = service.doctor(SENDER)?;
        let mut seen = Seen::default();
        let patient = Patient {
            patient_id: case.patient_id.clone(),
            revision: 1,
            created_at: Some(std::time::SystemTime::now().into()),
            updated_at: Some(std::time::SystemTime::now().into()),
            name: "한가람".to_owned(),
            ..Default::default()
        };
        service.world.patients.lock().unwrap().insert(case.patient_id.clone(), patient);
        let made = doctor.diagnose(&case.diagnose()).await?;
        let sent = doctor.sent(&case).await?;
        for (id, name) in [
            (&case.patient_id, "patient"),
            (&made.diagnosis_id, "diagnosis"),
            (&made.assessment.clone().unwrap_or_default().assessment_id, "first"),
            (&sent.assessment_id, "second"),
            (&sent.referral_id, "referral"),
        ] {
            seen.name(id, name);
        }
        seen.news(&store).await?;

        assert!(export(&mut doctor, &case.patient_id, Vec::new()).await? > 0);
        assert_eq!(
            seen.news(&store).await?,
            [
                "export patient patient done fields=symptoms+notes+imaging+assessments+referrals",
                "read assessment first done",
                "read assessment second done",
                "read diagnosis diagnosis done",
                "read referral referral done revision=2",
                "search assessment - done count=2",
                "search diagnosis - done count=1",
                "search referral - done fields=patient_id count=1",
            ]
        );
        export(&mut doctor, &case.patient_id, vec![StoryPart::Notes.into()]).await?;
        assert_eq!(seen.news(&store).await?, ["export patient patient done fields=notes"]);
        let mut kept = service.kept_to(&service.case().patient_id)?;
        let denied = export(&mut kept, &case.patient_id, Vec::new()).await.unwrap_err();
        assert_eq!(reason(&denied), "OTHER_PATIENT");
        let denied = "export patient patient denied reason=OTHER_PATIENT";
        assert_eq!(seen.news(&store).await?, [denied]);
        drop((doctor, kept));
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_import_leaves_its_entries_with_the_records_alone() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let service = start(db).await?;
        let store = service.db.db.clone();
        let mut doctor = service.doctor(SENDER)?;
        let mut seen = Seen::default();
        let bundle = json!({ "resourceType": "Bundle", "type": "collection", "entry": [{
            "fullUrl": "urn:uuid:p", "resource": {
                "resourceType": "Patient",
                "identifier": [{ "system": "urn:oid:1.2.410.9", "value": "7" }],
                "name": [{ "text": "한가람" }],
            },
        }]});
        let contents = [
            Content::Header(ImportBundleHeader { dry_run: false }),
            Content::Piece(bundle.to_string().into_bytes()),
        ];
        let messages = contents.map(|content| ImportBundleRequest { content: Some(content) });
        let answer = doctor.fhir.import_bundle(tokio_stream::iter(messages)).await?.into_inner();
        assert!(answer.written && !answer.entries[0].record_id.is_empty(), "{answer:?}");
        assert!(seen.news(&store).await?.is_empty());
        drop(doctor);
        service.stop().await?;
    }
    Ok(())
}
