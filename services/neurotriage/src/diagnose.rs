//! One patient through the four services, over gRPC only.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use neurotriage_domain::Modality;
use neurotriage_proto::{
    CHUNK_BYTES_MAX, common::v1 as common, ingestion::v1 as ingestion, records::v1 as records,
    referral::v1 as referral, segmentation::v1 as segmentation,
};
use tokio::{io::AsyncReadExt as _, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Response;
use uuid::Uuid;

use crate::{
    progress::Progress,
    report::{Place, from_proto::Answers},
    services::{CALL_TIMEOUT, Services, answer, refused, said, within},
};

/// How long an upload with its checks and preparation may take.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// How long a study may wait for the network and take: a slow CPU with others before it.
const SEGMENT_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// Chunks of an upload that wait to be sent.
const CHUNKS_WAITING_MAX: usize = 4;
/// Most bytes of a mask: a labelled volume of 512 cubed that did not compress at all.
const MASK_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Who issues the number of a patient that this command registers.
const ISSUER: &str = "neurotriage-diagnose";

/// What to diagnose.
#[derive(Clone)]
pub struct Case {
    /// The caller's name of the study.
    pub name: String,
    /// One file for each sequence.
    pub files: Vec<(Modality, PathBuf)>,
    /// True if the study is a phantom.
    pub phantom: bool,
    /// The symptoms as written.
    pub symptoms: String,
    /// Hand the patient writes with.
    pub handedness: records::Handedness,
    /// Where the patient lives: degrees north, degrees east.
    pub home: Option<(f64, f64)>,
    /// Most hospitals to rank.
    pub hospitals_max: u32,
}

/// What the services found.
pub struct Diagnosis {
    /// Their answers; `run` is empty until the caller ends its last step.
    pub answers: Answers,
    /// The mask as a `.nii.gz` file in the geometry of the input.
    pub mask: Vec<u8>,
}

/// Takes one patient through the services.
///
/// # Errors
/// What a service refused, with the step that was tried; a file that can't be read.
pub async fn diagnose(
    services: &mut Services,
    case: &Case,
    generated_at: String,
    progress: &mut Progress,
) -> anyhow::Result<Diagnosis> {
    progress.step("register");
    let patient_id = create_patient(services, case).await?;
    let symptoms = report_symptoms(services, &patient_id, &case.symptoms).await?;
    progress.step("upload");
    let study = upload(services, case, &patient_id, progress).await?;
    link_study(services, &patient_id, &study.study_id).await?;
    progress.step("segment");
    let segmentation = segment(services, &study.study_id, progress).await?;
    let mask = download_mask(services, &segmentation.segmentation_id).await?;
    let request = within(CALL_TIMEOUT, segmentation::GetModelRequest {});
    let model = answer("ask for the model", services.segmentation.get_model(request)).await?;
    progress.step("assess");
    let request = referral::AssessRequest {
        request_id: Uuid::now_v7().to_string(),
        symptom_report_id: symptoms.symptom_report_id.clone(),
        segmentation_id: segmentation.segmentation_id.clone(),
        hospitals_max: case.hospitals_max,
    };
    let call = services.referral.assess(within(CALL_TIMEOUT, request));
    let assessment = answer("compare image and symptoms", call).await?;
    let answers = Answers {
        case: case.name.clone(),
        phantom: case.phantom,
        generated_at,
        study,
        segmentation,
        model: model.model.context("segmentation service named no model")?,
        symptoms,
        assessment: assessment.assessment.context("referral service sent no assessment")?,
        home: case.home.map(|(latitude_degrees, longitude_degrees)| Place {
            latitude_degrees,
            longitude_degrees,
        }),
        run: crate::report::Run { steps: Vec::new(), total_seconds: 0.0, peak_memory_bytes: None },
    };
    Ok(Diagnosis { answers, mask })
}

/// Registers the patient of `case` and returns its id.
///
/// # Errors
/// What the service refused.
pub async fn create_patient(services: &mut Services, case: &Case) -> anyhow::Result<String> {
    let request_id = Uuid::now_v7().to_string();
    let address = case.home.map(|(latitude_degrees, longitude_degrees)| records::Address {
        coordinates: Some(records::Coordinates { latitude_degrees, longitude_degrees }),
        ..Default::default()
    });
    let patient = records::Patient {
        medical_record_numbers: vec![records::MedicalRecordNumber {
            issuer: ISSUER.to_owned(),
            number: request_id.clone(),
        }],
        handedness: case.handedness.into(),
        address,
        ..Default::default()
    };
    let request = records::CreatePatientRequest { request_id, patient: Some(patient) };
    let call = services.records.create_patient(within(CALL_TIMEOUT, request));
    let created = answer("register the patient", call).await?;
    Ok(created.patient.context("records service sent no patient")?.patient_id)
}

/// Stores the patient's symptoms.
///
/// # Errors
/// What the service refused.
pub async fn report_symptoms(
    services: &mut Services,
    patient_id: &str,
    text: &str,
) -> anyhow::Result<records::SymptomReport> {
    let request = records::CreateSymptomReportRequest {
        request_id: Uuid::now_v7().to_string(),
        patient_id: patient_id.to_owned(),
        text: text.to_owned(),
        reporter: records::Reporter::Patient.into(),
        ..Default::default()
    };
    let call = services.records.create_symptom_report(within(CALL_TIMEOUT, request));
    let created = answer("store the symptoms", call).await?;
    created.report.context("records service sent no symptom report")
}

async fn link_study(
    services: &mut Services,
    patient_id: &str,
    study_id: &str,
) -> anyhow::Result<()> {
    let request = records::LinkStudyRequest {
        request_id: Uuid::now_v7().to_string(),
        patient_id: patient_id.to_owned(),
        study_id: study_id.to_owned(),
        ..Default::default()
    };
    let call = services.records.link_study(within(CALL_TIMEOUT, request));
    answer("link the study to the patient", call).await?;
    Ok(())
}

/// Uploads the files of `case` as a study of the patient.
///
/// # Errors
/// What the service refused; a file that can't be read.
pub async fn upload(
    services: &mut Services,
    case: &Case,
    patient_id: &str,
    progress: &Progress,
) -> anyhow::Result<ingestion::Study> {
    let header = ingestion::UploadHeader {
        request_id: Uuid::now_v7().to_string(),
        patient_id: patient_id.to_owned(),
        accession: case.name.clone(),
    };
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
    let request = within(UPLOAD_TIMEOUT, ReceiverStream::new(receiver));
    let call = async {
        let stored = services.ingestion.upload_study(request).await;
        stored.map(Response::into_inner).map_err(|status| {
            anyhow!(in_own_names(said(&status), &case.files)).context("upload the study")
        })
    };
    // The service may answer before the last byte: then its answer counts, not the unsent rest.
    let (stored, sent) = tokio::join!(call, send_study(sender, header, &case.files, progress));
    sent?;
    stored?.study.context("ingestion service sent no study")
}

/// Returns what the service said with the names of the files, which it does not repeat: it says `t1 volume`.
fn in_own_names(mut text: String, files: &[(Modality, PathBuf)]) -> String {
    for (modality, path) in files {
        if let Some(name) = path.file_name() {
            text = text.replace(&format!("{modality} volume"), &name.to_string_lossy());
        }
    }
    text
}

type Outgoing = mpsc::Sender<ingestion::UploadStudyRequest>;

/// Sends header and files; a receiver that has gone is no failure here, its answer tells why.
async fn send_study(
    sender: Outgoing,
    header: ingestion::UploadHeader,
    files: &[(Modality, PathBuf)],
    progress: &Progress,
) -> anyhow::Result<()> {
    use ingestion::upload_study_request::Content;

    let mut bytes_total = 0;
    for (_, path) in files {
        let found = tokio::fs::metadata(path).await;
        bytes_total += found.with_context(|| format!("read {}", path.display()))?.len();
    }
    let mut bytes_done = 0;
    let message = ingestion::UploadStudyRequest { content: Some(Content::Header(header)) };
    if sender.send(message).await.is_err() {
        return Ok(());
    }
    for (modality, path) in files {
        let file_name =
            path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let failed = || format!("read {}", path.display());
        let mut file = tokio::fs::File::open(path).await.with_context(failed)?;
        // An empty file is sent too, as one empty chunk, so that the service names it.
        let mut first = true;
        loop {
            let mut data = Vec::with_capacity(CHUNK_BYTES_MAX);
            let limit = CHUNK_BYTES_MAX as u64;
            let length =
                (&mut file).take(limit).read_to_end(&mut data).await.with_context(failed)?;
            if length == 0 && !first {
                break;
            }
            first = false;
            bytes_done += length as u64;
            let chunk = ingestion::UploadChunk {
                modality: wire_modality(*modality).into(),
                file_name: file_name.clone(),
                data,
            };
            let message = ingestion::UploadStudyRequest { content: Some(Content::Chunk(chunk)) };
            if sender.send(message).await.is_err() {
                return Ok(());
            }
            progress.update(bytes_done, bytes_total);
        }
    }
    Ok(())
}

fn wire_modality(modality: Modality) -> common::Modality {
    match modality {
        Modality::Flair => common::Modality::Flair,
        Modality::T1 => common::Modality::T1,
        Modality::T1ce => common::Modality::T1ce,
        Modality::T2 => common::Modality::T2,
    }
}

async fn segment(
    services: &mut Services,
    study_id: &str,
    progress: &Progress,
) -> anyhow::Result<segmentation::Segmentation> {
    use segmentation::segment_study_response::Content;

    let request = segmentation::SegmentStudyRequest { study_id: study_id.to_owned() };
    let call = services.segmentation.segment_study(within(SEGMENT_TIMEOUT, request));
    let mut stream = answer("segment the study", call).await?;
    while let Some(message) =
        stream.message().await.map_err(|status| refused("segment the study", &status))?
    {
        match message.content {
            Some(Content::Progress(at)) => {
                progress.message(&at.step);
                progress.update(at.units_done, at.units_total);
            }
            Some(Content::Segmentation(segmentation)) => return Ok(segmentation),
            None => {}
        }
    }
    bail!("segmentation service ended without a result; see its log")
}

async fn download_mask(services: &mut Services, segmentation_id: &str) -> anyhow::Result<Vec<u8>> {
    let request = segmentation::DownloadMaskRequest { segmentation_id: segmentation_id.to_owned() };
    let call = services.segmentation.download_mask(within(CALL_TIMEOUT, request));
    let mut stream = answer("download the mask", call).await?;
    let mut mask = Vec::new();
    while let Some(piece) =
        stream.message().await.map_err(|status| refused("download the mask", &status))?
    {
        if mask.len() + piece.data.len() > MASK_BYTES_MAX {
            bail!(
                "mask is larger than {MASK_BYTES_MAX} bytes; the study is too large for this command"
            );
        }
        mask.extend_from_slice(&piece.data);
    }
    Ok(mask)
}
