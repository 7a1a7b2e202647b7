//! Uploads over a real socket into a real database, good and bad.

#![allow(clippy::expect_used, reason = "a helper of a test that cannot go on ends the test")]

mod audit;
mod away;
mod client;
mod harness;
mod names;
mod stored;
mod tenants;

use neurotriage_migrations::ingestion::Migrator;
use neurotriage_proto::{
    common::v1::Modality,
    ingestion::v1::{
        DownloadVolumeRequest, GetStudyRequest, ListStudiesRequest, upload_study_request::Content,
    },
};
use neurotriage_testkit::{TestDb, databases};
use tonic::Code;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use self::harness::{MODALITIES, chunks, head, header, reason, start, study};

#[tokio::test]
async fn a_study_is_stored_once_and_comes_back_as_it_was() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db, 4).await?;
        let (request, patient) = (Uuid::now_v7().to_string(), Uuid::now_v7().to_string());
        let study_id = harness.upload(study(&request, &patient)).await?;
        assert_eq!(harness.upload(study(&request, &patient)).await?, study_id, "repeated request");
        assert_eq!(harness.stored_files(), 5);

        let request_message = GetStudyRequest { study_id: study_id.clone() };
        let stored = harness.client.get_study(request_message).await?.into_inner().study.unwrap();
        assert_eq!(stored.patient_id, patient);
        let geometry = stored.geometry.unwrap();
        assert_eq!((geometry.shape, geometry.orientation.as_str()), (vec![40, 44, 36], "LPS"));
        assert_eq!(geometry.affine_mm[7], 239.0);
        assert_eq!(stored.prepared.unwrap().profile, "whole");

        let request_message = DownloadVolumeRequest { study_id, modality: Modality::T1ce.into() };
        let mut stream = harness.client.download_volume(request_message).await?.into_inner();
        let mut data = Vec::new();
        while let Some(piece) = stream.message().await? {
            data.extend(piece.data);
        }
        assert_eq!(data, head(20.0, (40, 44, 36)));
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_same_request_id_with_other_content_is_refused() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db, 4).await?;
        let request = Uuid::now_v7().to_string();
        harness.upload(study(&request, &Uuid::now_v7().to_string())).await?;
        let status =
            harness.upload(study(&request, &Uuid::now_v7().to_string())).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::AlreadyExists, "REQUEST_ID_REUSED".into())
        );
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn studies_of_a_patient_come_in_pages_newest_first() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db, 4).await?;
        let patient = Uuid::now_v7().to_string();
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(harness.upload(study(&Uuid::now_v7().to_string(), &patient)).await?);
        }
        harness.upload(study(&Uuid::now_v7().to_string(), &Uuid::now_v7().to_string())).await?;
        ids.reverse();
        let mut seen = Vec::new();
        let mut page_token = String::new();
        loop {
            let request =
                ListStudiesRequest { patient_id: patient.clone(), page_size: 2, page_token };
            let page = harness.client.list_studies(request).await?.into_inner();
            seen.extend(page.studies.into_iter().map(|study| study.study_id));
            if page.next_page_token.is_empty() {
                break;
            }
            page_token = page.next_page_token;
        }
        assert_eq!(seen, ids);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_bad_upload_is_named_and_leaves_nothing_behind() -> anyhow::Result<()> {
    let patient = Uuid::now_v7().to_string();
    let replaced = |index: usize, data: Vec<u8>| {
        let mut messages = vec![header(&Uuid::now_v7().to_string(), &patient)];
        for (i, (modality, name)) in MODALITIES.into_iter().enumerate() {
            let data = if i == index { data.clone() } else { head(1.0, (40, 44, 36)) };
            messages.extend(chunks(modality, name, &data));
        }
        messages
    };
    let whole = head(1.0, (40, 44, 36));
    let mut no_header = study("", &patient);
    no_header.remove(0);
    let mut missing = study(&Uuid::now_v7().to_string(), &patient);
    missing.retain(|message| {
        !matches!(&message.content, Some(Content::Chunk(chunk)) if chunk.modality() == Modality::T2)
    });
    let table = [
        ("no header", no_header, "INVALID_FIELDS", "header"),
        ("patient id", study(&Uuid::now_v7().to_string(), "x"), "INVALID_FIELDS", "patient_id"),
        ("request id", study("x", &patient), "INVALID_FIELDS", "request_id"),
        ("a modality short", missing, "INVALID_FIELDS", "t2"),
        ("page", replaced(1, b"<html>login</html>".to_vec()), "INVALID_IMAGE", "t1 volume"),
        (
            "cut short",
            replaced(2, whole[..whole.len() / 2].to_vec()),
            "INVALID_IMAGE",
            "t1ce volume",
        ),
        ("other shape", replaced(3, head(1.0, (40, 44, 38))), "INVALID_IMAGE", "t2 volume"),
    ];
    for db in databases::<Migrator>().await? {
        let mut harness = start(db, 4).await?;
        for (case, messages, expected_reason, expected_text) in table.clone() {
            let status = harness.upload(messages).await.expect_err(case);
            assert_eq!(reason(&status), expected_reason, "case: {case}: {status}");
            assert!(status.message().contains(expected_text), "case: {case}: {status}");
            assert!(!status.message().contains("case_"), "case: {case}: {status}");
            assert_eq!(harness.stored_files(), 0, "case: {case}");
        }
        let request = ListStudiesRequest { patient_id: patient.clone(), ..Default::default() };
        assert!(harness.client.list_studies(request).await?.into_inner().studies.is_empty());
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn one_upload_too_many_is_told_to_wait() -> anyhow::Result<()> {
    let db = TestDb::sqlite::<Migrator>().await?;
    let mut harness = start(db, 0).await?;
    let messages = study(&Uuid::now_v7().to_string(), &Uuid::now_v7().to_string());
    let status = harness.upload(messages).await.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (Code::ResourceExhausted, "UPLOADS_BUSY".into()));
    assert!(status.get_details_retry_info().is_some());
    harness.stop().await
}

#[tokio::test]
async fn what_is_not_there_is_not_found() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db, 1).await?;
        let study_id = Uuid::now_v7().to_string();
        let status = harness.client.get_study(GetStudyRequest { study_id }).await.unwrap_err();
        assert_eq!((status.code(), reason(&status)), (Code::NotFound, "STUDY_NOT_FOUND".into()));
        let request = GetStudyRequest { study_id: "banana".to_owned() };
        let status = harness.client.get_study(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        harness.stop().await?;
    }
    Ok(())
}
