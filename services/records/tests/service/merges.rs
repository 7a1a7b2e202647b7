//! Patients made one, in SQLite and PostgreSQL.

use std::collections::BTreeSet;

use neurotriage_migrations::records::Migrator;
use neurotriage_proto::records::v1::{
    Consent, ConsentScope, CreateSymptomReportRequest, DeletePatientRequest, GetPatientRequest,
    ListPatientsRequest, MergePatientsRequest, Patient, SearchPatientsRequest,
};
use neurotriage_records::store::{entry_row, patient_row, search_token_row};
use neurotriage_testkit::databases;
use sea_orm::EntityTrait as _;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::harness::{
    Client, Harness, fields, metadata, named, number, patient, reason, refusal, start, stored,
};

fn by_number(text: &str) -> SearchPatientsRequest {
    SearchPatientsRequest { medical_record_number: Some(number(text)), ..Default::default() }
}

fn by_name(text: &str) -> SearchPatientsRequest {
    SearchPatientsRequest { name_prefix: text.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn what_belonged_to_the_duplicate_belongs_to_who_remains() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let kept = harness.create(named(1, "Ada Sample")).await?;
        let request_id = Uuid::now_v7().to_string();
        let duplicate = harness.create_as(&request_id, named(2, "Adah Sampel")).await?;
        let own = harness.report(&kept.patient_id, "headache").await?;
        let moved = harness.report(&duplicate.patient_id, "seizure").await?;
        harness.note(&duplicate.patient_id, "seen today").await?;

        let merged = harness.merge(&kept, &duplicate).await?;
        let expected = Patient {
            revision: 2,
            updated_at: merged.updated_at,
            medical_record_numbers: vec![number("MRN-1"), number("MRN-2")],
            merged_patient_ids: vec![duplicate.patient_id.clone()],
            ..kept.clone()
        };
        assert_eq!(merged, expected);
        // Either id is of the one who remains.
        for id in [&kept.patient_id, &duplicate.patient_id] {
            assert_eq!(harness.get(id).await?, merged);
            let reports = harness.reports(id).await?;
            let ids: Vec<&str> =
                reports.iter().map(|report| report.symptom_report_id.as_str()).collect();
            assert_eq!(ids, [&moved.symptom_report_id, &own.symptom_report_id]);
            assert!(reports.iter().all(|report| report.patient_id == kept.patient_id));
            assert_eq!(harness.notes(id).await?.len(), 1);
            let later = harness.report(id, "headache").await?;
            assert_eq!(later.patient_id, kept.patient_id);
            harness.delete_entry(&later.symptom_report_id, 1).await?;
        }
        for search in [by_number("MRN-2"), by_number("MRN-1"), by_name("ada")] {
            assert_eq!(harness.search(search).await?, std::slice::from_ref(&kept.patient_id));
        }
        // Their other details stay.
        assert!(harness.search(by_name("adah")).await?.is_empty());
        let seizure = moved.findings[0].code.clone();
        let by_code = SearchPatientsRequest { code: seizure, ..Default::default() };
        assert_eq!(harness.search(by_code).await?, std::slice::from_ref(&kept.patient_id));
        let all = ListPatientsRequest { show_deleted: true, ..Default::default() };
        let listed = harness.client.list_patients(all).await?.into_inner().patients;
        assert_eq!(listed, std::slice::from_ref(&merged));
        let status = harness.create(patient(2)).await.unwrap_err();
        assert_eq!(metadata(&status, "patientId"), kept.patient_id);
        // The request that made the duplicate tells of who remains.
        let again = harness.create_as(&request_id, named(2, "Adah Sampel")).await?;
        assert_eq!(again, merged);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn no_revision_seen_of_the_duplicate_passes_for_who_remains() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let kept = harness.create(patient(1)).await?;
        let mut duplicate = harness.create(patient(2)).await?;
        let mut seen = vec![duplicate.revision];
        for _ in 0..3 {
            duplicate = harness.update(duplicate, &["sex"]).await?;
            seen.push(duplicate.revision);
        }
        let merged = harness.merge(&kept, &duplicate).await?;
        assert_eq!((kept.revision, duplicate.revision, merged.revision), (1, 4, 5));
        for id in [&kept.patient_id, &duplicate.patient_id] {
            for &revision in &seen {
                let old = Patient { patient_id: id.clone(), revision, ..named(2, "Somebody Else") };
                let refused = [
                    harness.update(old, &["name"]).await.map(drop),
                    harness.delete(id, revision).await.map(drop),
                ];
                for result in refused {
                    let status = result.unwrap_err();
                    assert_eq!(reason(&status), "REVISION_STALE", "revision {revision}");
                    assert_eq!(metadata(&status, "revision"), "5");
                }
            }
        }
        // As of now, either id will do.
        let old_id = Patient {
            patient_id: duplicate.patient_id.clone(),
            revision: 5,
            ..named(2, "Ada Sample")
        };
        let changed = harness.update(old_id, &["name"]).await?;
        assert_eq!((changed.patient_id, changed.revision), (kept.patient_id.clone(), 6));
        assert_eq!(harness.delete(&duplicate.patient_id, 6).await?, 7);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn who_remains_gets_what_they_lack() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let consent = |given, day: &str| Consent {
            scope: ConsentScope::Sharing.into(),
            given,
            decided_on: day.to_owned(),
        };
        let lacking = Patient {
            medical_record_numbers: vec![number("MRN-1")],
            consents: vec![consent(true, "2026-01-02")],
            ..Default::default()
        };
        let kept = harness.create(lacking).await?;
        let full = patient(2);
        let duplicate = Patient { consents: vec![consent(false, "2026-01-02")], ..full.clone() };
        let duplicate = harness.create(duplicate).await?;
        let merged = harness.merge(&kept, &duplicate).await?;
        let expected = Patient {
            patient_id: kept.patient_id.clone(),
            revision: 2,
            created_at: kept.created_at,
            updated_at: merged.updated_at,
            medical_record_numbers: vec![number("MRN-1"), number("MRN-2")],
            merged_patient_ids: vec![duplicate.patient_id.clone()],
            // Of two decisions of one day, the refusal.
            consents: vec![consent(false, "2026-01-02")],
            ..full
        };
        assert_eq!(merged, expected);
        // Found by what they got.
        let born =
            SearchPatientsRequest { birth_date: "1960-02-29".to_owned(), ..Default::default() };
        for search in [by_name("김하"), born] {
            assert_eq!(harness.search(search).await?, std::slice::from_ref(&kept.patient_id));
        }
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn ids_resolve_through_every_merge() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let mut made = Vec::new();
        for at in 0..4 {
            made.push(harness.create(patient(at)).await?);
            harness.report(&made[at].patient_id, "headache").await?;
        }
        let [a, b, c, d] = made.as_slice() else { panic!("four patients") };
        let b_with_a = harness.merge(b, a).await?;
        let c_with_both = harness.merge(c, &b_with_a).await?;
        let all = harness.merge(&c_with_both, d).await?;
        assert_eq!(all.medical_record_numbers.len(), 4);
        let merged: BTreeSet<&str> = all.merged_patient_ids.iter().map(String::as_str).collect();
        assert_eq!(
            merged,
            BTreeSet::from([&a.patient_id, &b.patient_id, &d.patient_id].map(|id| id.as_str()))
        );
        for one in [a, b, c, d] {
            assert_eq!(harness.get(&one.patient_id).await?, all);
            assert_eq!(harness.reports(&one.patient_id).await?.len(), 4);
            let found = harness.search(by_number(&one.medical_record_numbers[0].number)).await?;
            assert_eq!(found, std::slice::from_ref(&c.patient_id));
        }
        // Whoever is named is deleted and brought back as one.
        let revision = harness.delete(&a.patient_id, all.revision).await?;
        for one in [a, b, c, d] {
            assert_eq!(refusal(harness.get(&one.patient_id).await).1, "PATIENT_NOT_FOUND");
        }
        let back = harness.undelete(&b.patient_id, revision).await?;
        assert_eq!(back.patient_id, c.patient_id);
        let rows = patient_row::Entity::find().all(harness.store()).await?;
        let into = rows.iter().filter_map(|row| row.merged_into.map(|id| id.to_string()));
        assert_eq!(into.collect::<Vec<_>>(), vec![c.patient_id.clone(); 3], "one step each");
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn merges_that_may_not_be_are_refused() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let a = harness.create(patient(1)).await?;
        let b = harness.create(patient(2)).await?;
        let c = harness.create(patient(3)).await?;
        let status = harness.merge(&a, &a).await.unwrap_err();
        assert_eq!(fields(&status), ["duplicate_patient_id"]);
        let old = |patient: &Patient| Patient { revision: 9, ..patient.clone() };
        for (kept, duplicate) in [(old(&a), b.clone()), (a.clone(), old(&b))] {
            let status = harness.merge(&kept, &duplicate).await.unwrap_err();
            assert_eq!(
                (status.code(), reason(&status)),
                (Code::Aborted, "REVISION_STALE".to_owned())
            );
            assert_eq!(metadata(&status, "revision"), "1");
        }
        let nobody = Patient { patient_id: Uuid::now_v7().to_string(), ..a.clone() };
        for (kept, duplicate) in [(&nobody, &a), (&a, &nobody)] {
            let status = harness.merge(kept, duplicate).await.unwrap_err();
            assert_eq!(reason(&status), "PATIENT_NOT_FOUND");
            assert_eq!(metadata(&status, "patientId"), nobody.patient_id);
        }

        let merged = harness.merge(&a, &b).await?;
        // Repeated as it was sent, it does nothing.
        assert_eq!(harness.merge(&a, &b).await?, merged);
        let status = harness.merge(&c, &b).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::FailedPrecondition, "ALREADY_MERGED".to_owned())
        );
        assert_eq!(metadata(&status, "mergedInto"), a.patient_id);
        // Who was merged away does not remain.
        let status = harness.merge(&b, &c).await.unwrap_err();
        assert_eq!(
            (reason(&status), metadata(&status, "patientId")),
            ("MERGED_AWAY".to_owned(), a.patient_id.clone())
        );
        harness.delete(&c.patient_id, 1).await?;
        assert_eq!(refusal(harness.merge(&merged, &c).await).1, "PATIENT_NOT_FOUND");
        assert_eq!(harness.get(&a.patient_id).await?, merged);

        // No more numbers than a patient may have.
        let many = |from: usize| Patient {
            medical_record_numbers: (from..from + 9).map(|at| number(&format!("M{at}"))).collect(),
            ..patient(9)
        };
        let (one, other) = (harness.create(many(100)).await?, harness.create(many(200)).await?);
        let status = harness.merge(&one, &other).await.unwrap_err();
        assert_eq!(fields(&status), ["duplicate_patient_id"]);
        assert_eq!(harness.get(&other.patient_id).await?, other);
        harness.stop().await?;
    }
    Ok(())
}

/// Merges with the revisions of now until it is done; returns whether it was.
async fn merge_at_last(
    mut client: Client,
    kept: String,
    duplicate: String,
) -> Result<bool, Status> {
    let (mut revision, mut duplicate_revision) = (1, 1);
    loop {
        let request = MergePatientsRequest {
            patient_id: kept.clone(),
            revision,
            duplicate_patient_id: duplicate.clone(),
            duplicate_revision,
        };
        let Err(status) = client.merge_patients(request).await else { return Ok(true) };
        match reason(&status).as_str() {
            "REVISION_STALE" => {}
            "ALREADY_MERGED" | "MERGED_AWAY" | "PATIENT_NOT_FOUND" => return Ok(false),
            _ => return Err(status),
        }
        for (id, revision) in [(&kept, &mut revision), (&duplicate, &mut duplicate_revision)] {
            let request = GetPatientRequest { patient_id: id.clone() };
            match client.get_patient(request).await {
                Ok(response) => *revision = response.into_inner().patient.expect("one").revision,
                Err(status) if status.code() == Code::NotFound => return Ok(false),
                Err(status) => return Err(status),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_report_is_lost_while_patients_are_merged() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        // Younger and older ones remain by turns: locks are wanted in either order.
        let mut ids = Vec::new();
        for at in 0..5 {
            ids.push(harness.create(patient(at)).await?.patient_id);
        }
        let chain = [(1, 0), (2, 1), (2, 3), (4, 2)];
        let mut tasks = tokio::task::JoinSet::new();
        for (kept, duplicate) in chain {
            let (kept, duplicate) = (ids[kept].clone(), ids[duplicate].clone());
            let client = harness.client.clone();
            tasks.spawn(async move {
                merge_at_last(client.clone(), kept.clone(), duplicate.clone()).await?;
                // And again: it does nothing, or is refused.
                merge_at_last(client, kept, duplicate).await?;
                Ok::<_, Status>(Vec::new())
            });
        }
        for at in 0..12 {
            let (mut client, patient_id) = (harness.client.clone(), ids[at % 5].clone());
            tasks.spawn(async move {
                let mut made = Vec::new();
                for _ in 0..6 {
                    let request = CreateSymptomReportRequest {
                        request_id: Uuid::now_v7().to_string(),
                        patient_id: patient_id.clone(),
                        text: "headache".to_owned(),
                        ..Default::default()
                    };
                    let report = client.create_symptom_report(request).await?.into_inner().report;
                    made.push(report.expect("a report").symptom_report_id);
                }
                Ok(made)
            });
        }
        let mut made = BTreeSet::new();
        while let Some(ended) = tasks.join_next().await {
            made.extend(ended??);
        }
        assert_eq!(made.len(), 72);
        check_whole(&mut harness, &ids, &made).await?;
        harness.stop().await?;
    }
    Ok(())
}

/// Checks that every report belongs to who remains of its patient, and is shown there.
async fn check_whole(
    harness: &mut Harness,
    ids: &[String],
    made: &BTreeSet<String>,
) -> anyhow::Result<()> {
    let mut shown = BTreeSet::new();
    for id in ids {
        let patient = harness.get(id).await?;
        assert_eq!(harness.get(&patient.patient_id).await?, patient);
        for report in harness.reports(id).await? {
            assert_eq!(report.patient_id, patient.patient_id);
            shown.insert(report.symptom_report_id);
        }
    }
    assert_eq!(&shown, made);
    let db = harness.store();
    let merged: BTreeSet<Uuid> = patient_row::Entity::find()
        .all(db)
        .await?
        .into_iter()
        .filter_map(|row| row.merged_into.map(|_| row.patient_id))
        .collect();
    let entries = entry_row::Entity::find().all(db).await?;
    assert!(entries.iter().all(|row| !merged.contains(&row.patient_id)));
    let tokens = search_token_row::Entity::find().all(db).await?;
    assert!(tokens.iter().all(|row| !merged.contains(&row.patient_id)));
    let two_steps = "SELECT count(*) AS n FROM patient AS one JOIN patient AS other \
         ON one.merged_into = other.patient_id WHERE other.merged_into IS NOT NULL";
    assert_eq!(stored::number(db, two_steps).await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn creates_deletes_and_merges_at_once_leave_nothing_hidden() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        for round in 0..6 {
            let kept = harness.create(patient(2 * round)).await?;
            let duplicate = harness.create(patient(2 * round + 1)).await?;
            let mut tasks = tokio::task::JoinSet::new();
            for at in 0..14 {
                let mut client = harness.client.clone();
                let of = if at % 2 == 0 { &kept } else { &duplicate };
                let request = CreateSymptomReportRequest {
                    request_id: Uuid::now_v7().to_string(),
                    patient_id: of.patient_id.clone(),
                    text: "headache".to_owned(),
                    ..Default::default()
                };
                tasks.spawn(async move {
                    match client.create_symptom_report(request).await {
                        Ok(made) => Ok(Some(made.into_inner().report.expect("a report"))),
                        Err(status) if reason(&status) == "PATIENT_NOT_FOUND" => Ok(None),
                        Err(status) => Err(status),
                    }
                });
            }
            let (mut client, request) = (
                harness.client.clone(),
                DeletePatientRequest { patient_id: duplicate.patient_id.clone(), revision: 1 },
            );
            tasks.spawn(async move {
                match client.delete_patient(request).await {
                    Ok(_) => Ok(None),
                    Err(status) if reason(&status) == "REVISION_STALE" => Ok(None),
                    Err(status) => Err(status),
                }
            });
            let client = harness.client.clone();
            let pair = (kept.patient_id.clone(), duplicate.patient_id.clone());
            tasks.spawn(async move {
                merge_at_last(client, pair.0, pair.1).await?;
                Ok(None)
            });
            let mut made = BTreeSet::new();
            while let Some(ended) = tasks.join_next().await {
                made.extend(ended??.map(|report| report.symptom_report_id));
            }
            // Deleted before it was merged: then what it has is hidden with it, and comes back.
            let duplicate_id = duplicate.patient_id.clone();
            if harness.get(&duplicate_id).await.is_err() {
                harness.undelete(&duplicate_id, 2).await?;
            }
            let ids = [kept.patient_id, duplicate_id];
            let mut shown = BTreeSet::new();
            for id in &ids {
                let reports = harness.reports(id).await?;
                shown.extend(reports.into_iter().map(|report| report.symptom_report_id));
            }
            assert_eq!(shown, made, "round {round}");
        }
        harness.stop().await?;
    }
    Ok(())
}
