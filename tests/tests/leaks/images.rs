//! Calls on ingestion and segmentation.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::Path,
    time::Duration,
};

use flate2::{Compression, GzBuilder, read::GzDecoder};
use neurotriage::phantom;
use neurotriage_domain::Modality;
use neurotriage_imaging::CaseFiles;
use neurotriage_network::WEIGHTS_FILE;
use neurotriage_proto::{
    CHUNK_BYTES_MAX,
    common::v1::Modality as PbModality,
    ingestion::v1::{
        DownloadVolumeRequest, DownloadVolumeResponse, GetStudyRequest, GetStudyResponse,
        ListStudiesRequest, ListStudiesResponse, Study, UploadChunk, UploadHeader,
        UploadStudyRequest, UploadStudyResponse, upload_study_request,
    },
    segmentation::v1::{
        CancelTrainingRequest, CancelTrainingResponse, DescribeModelRequest, DescribeModelResponse,
        DownloadMaskRequest, DownloadMaskResponse, ExportModelRequest, ExportModelResponse,
        FilePiece, GetModelRequest, GetModelResponse, GetSegmentationRequest,
        GetSegmentationResponse, GetTrainingRequest, GetTrainingResponse, ImportModelRequest,
        ImportModelResponse, ListModelsRequest, ListModelsResponse, ListPromotionsRequest,
        ListPromotionsResponse, ListTrainingsRequest, ListTrainingsResponse, LoadModelRequest,
        LoadModelResponse, LocaliseRequest, LocaliseResponse, PromoteModelRequest,
        PromoteModelResponse, ResumeTrainingRequest, ResumeTrainingResponse, RollbackModelRequest,
        RollbackModelResponse, SegmentStudyRequest, SegmentStudyResponse, StartTrainingRequest,
        StartTrainingResponse, TrainingRun, TrainingState, WatchTrainingRequest,
        WatchTrainingResponse, import_model_request, localise_request, segment_study_response,
    },
};
use neurotriage_tests::segmentation::write_tiny_model;
use prost::Message;
use tokio::time::{Instant, sleep};

use crate::{Drive, calls::Calls, id, marks::Marks};

/// Where texts are in the header of NIfTI-1: `db_name`, `descrip`, `aux_file`, `intent_name`.
const TEXTS_AT: [usize; 4] = [14, 148, 228, 328];
/// Where the first row of the affine ends: its shift.
const SHIFT_AT: usize = 292;
/// Longest wait for a training run to end.
const TRAINING_MAX: Duration = Duration::from_secs(120);
/// Pause between two looks at it.
const PAUSE: Duration = Duration::from_millis(50);

fn ingestion(name: &str) -> String {
    format!("ingestion.v1.IngestionService/{name}")
}

fn segmentation(name: &str) -> String {
    format!("segmentation.v1.SegmentationService/{name}")
}

fn models(name: &str) -> String {
    format!("segmentation.v1.ModelService/{name}")
}

fn training(name: &str) -> String {
    format!("segmentation.v1.TrainingService/{name}")
}

/// A file of a study.
#[derive(Clone)]
pub(crate) struct VolumeFile {
    modality: PbModality,
    name: String,
    data: Vec<u8>,
}

/// Returns the voxels of a phantom, not compressed, for [`study`].
pub(crate) fn phantom_files(folder: &Path) -> Vec<Vec<u8>> {
    let files = CaseFiles::find(&phantom::write_default(folder).unwrap()).unwrap();
    let read = |path: &std::path::PathBuf| {
        let mut bytes = Vec::new();
        GzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
        bytes
    };
    files.images.iter().map(read).collect()
}

/// Returns a study with marks in the names and the headers of its files.
pub(crate) fn study(marks: &mut Marks, phantom: &[Vec<u8>]) -> Vec<VolumeFile> {
    let mut files = Vec::new();
    for (modality, bytes) in Modality::ALL.into_iter().zip(phantom) {
        let mut bytes = bytes.clone();
        for at in TEXTS_AT {
            let mark = marks.text();
            bytes[at..at + mark.len()].copy_from_slice(mark.as_bytes());
        }
        let modality = match modality {
            Modality::Flair => PbModality::Flair,
            Modality::T1 => PbModality::T1,
            Modality::T1ce => PbModality::T1ce,
            Modality::T2 => PbModality::T2,
        };
        let name = format!("{}.nii.gz", marks.text());
        let (inner, note) = (marks.text(), marks.text());
        let data = gzipped(&bytes, &inner, &note);
        files.push(VolumeFile { modality, name, data });
    }
    files
}

fn gzipped(bytes: &[u8], name: &str, comment: &str) -> Vec<u8> {
    let header = GzBuilder::new().filename(name).comment(comment);
    let mut encoder = header.write(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn upload(marks: &mut Marks, patient_id: &str, files: &[VolumeFile]) -> Vec<UploadStudyRequest> {
    use upload_study_request::Content;
    let header = UploadHeader {
        request_id: id(),
        patient_id: patient_id.to_owned(),
        accession: marks.text(),
    };
    let mut contents = vec![Content::Header(header)];
    for VolumeFile { modality, name, data } in files {
        contents.extend(data.chunks(CHUNK_BYTES_MAX).map(|data| {
            Content::Chunk(UploadChunk {
                modality: (*modality).into(),
                file_name: name.clone(),
                data: data.to_vec(),
            })
        }));
    }
    let message = |content| UploadStudyRequest { content: Some(content) };
    contents.into_iter().map(message).collect()
}

/// Stores a study, has it segmented, and returns it with its segmentation.
pub(crate) async fn segmented(
    drive: &mut Drive,
    patient_id: &str,
    files: &[VolumeFile],
) -> (Study, String) {
    let Drive { calls, marks } = drive;
    let messages = upload(marks, patient_id, files);
    let stored: UploadStudyResponse = calls.right_stream(&ingestion("UploadStudy"), messages).await;
    let study = stored.study.unwrap();
    assert!(!marks.found_in(study.accession.as_bytes()).is_empty());
    assert_eq!(study.volumes[0].file_name, files[0].name);
    let request = SegmentStudyRequest { study_id: study.study_id.clone() };
    let told: SegmentStudyResponse = calls.right(&segmentation("SegmentStudy"), request).await;
    let Some(segment_study_response::Content::Segmentation(made)) = told.content else {
        panic!("the stream ended without a segmentation")
    };
    (study, made.segmentation_id)
}

/// Makes every other call on studies and segmentations as it should be.
pub(crate) async fn call_rightly(drive: &mut Drive, study: &Study, segmentation_id: &str) {
    let Drive { calls, marks } = drive;
    let study_id = || study.study_id.clone();
    let request = GetStudyRequest { study_id: study_id() };
    calls.right::<_, GetStudyResponse>(&ingestion("GetStudy"), request).await;
    let request = ListStudiesRequest { patient_id: study.patient_id.clone(), ..Default::default() };
    calls.right::<_, ListStudiesResponse>(&ingestion("ListStudies"), request).await;
    let request = DownloadVolumeRequest { study_id: study_id(), modality: PbModality::T1.into() };
    calls.right::<_, DownloadVolumeResponse>(&ingestion("DownloadVolume"), request).await;
    let request = GetSegmentationRequest { segmentation_id: segmentation_id.to_owned() };
    calls.right::<_, GetSegmentationResponse>(&segmentation("GetSegmentation"), request).await;
    let request = DownloadMaskRequest { segmentation_id: segmentation_id.to_owned() };
    let pieces = calls.answers(&segmentation("DownloadMask"), vec![request], usize::MAX).await;
    let mask = pieces.into_iter().map(|one: DownloadMaskResponse| one.data);
    let messages = localise(marks, &study.study_id, &mask.collect::<Vec<_>>());
    let localised: LocaliseResponse = calls.right_stream(&segmentation("Localise"), messages).await;
    assert!(!localised.localisation.unwrap().atlas.is_empty());
    calls.right::<_, GetModelResponse>(&segmentation("GetModel"), GetModelRequest {}).await;
}

fn localise(marks: &mut Marks, study_id: &str, mask: &[Vec<u8>]) -> Vec<LocaliseRequest> {
    use localise_request::Content;
    let file_name = format!("{}.nii.gz", marks.text());
    let piece = |data: &Vec<u8>| FilePiece { file_name: file_name.clone(), data: data.clone() };
    let mut contents = vec![Content::StudyId(study_id.to_owned())];
    contents.extend(mask.iter().map(piece).map(Content::Mask));
    let message = |content| LocaliseRequest { content: Some(content) };
    contents.into_iter().map(message).collect()
}

/// Sends files that can't be used.
pub(crate) async fn call_wrongly(
    drive: &mut Drive,
    patient_id: &str,
    files: &[VolumeFile],
    plain: &[u8],
) {
    let Drive { calls, marks } = drive;
    let mut moved = plain.to_vec();
    moved[SHIFT_AT..SHIFT_AT + 4].copy_from_slice(&25.0_f32.to_le_bytes());
    let mut header = plain.to_vec();
    header.truncate(352);
    for at in TEXTS_AT {
        let mark = marks.text();
        header[at..at + mark.len()].copy_from_slice(mark.as_bytes());
    }
    let whole = files[1].data.clone();
    let page = format!("<html>{}</html>", marks.text()).into_bytes();
    let (inner, note) = (marks.text(), marks.text());
    // (what the row is for, what stands in the place of T1)
    let table = [
        ("page", page.clone()),
        ("text", marks.text().into_bytes()),
        ("nothing", Vec::new()),
        ("cut off", whole[..whole.len() / 2].to_vec()),
        ("elsewhere", gzipped(&moved, &inner, &note)),
        ("a header alone", header),
    ];
    for (case, data) in table {
        let mut wrong = files.to_vec();
        wrong[1] =
            VolumeFile { name: format!("{}.nii.gz", marks.text()), data, ..wrong[1].clone() };
        let mut messages = upload(marks, patient_id, &wrong);
        if case == "nothing" {
            let chunk = UploadChunk { modality: PbModality::T1.into(), ..Default::default() };
            let content = Some(upload_study_request::Content::Chunk(chunk));
            messages.push(UploadStudyRequest { content });
        }
        calls.wrong_stream(&ingestion("UploadStudy"), messages).await;
    }
    let mut two_names = upload(marks, patient_id, files);
    if let Some(upload_study_request::Content::Chunk(chunk)) = &mut two_names[2].content {
        chunk.file_name = marks.text();
    }
    calls.wrong_stream(&ingestion("UploadStudy"), two_names).await;
    let mut odd_name = upload(marks, patient_id, files);
    if let Some(upload_study_request::Content::Chunk(chunk)) = &mut odd_name[1].content {
        chunk.file_name = format!("{}/{}", marks.text(), marks.text());
    }
    calls.wrong_stream(&ingestion("UploadStudy"), odd_name).await;
    for mask in [page, whole] {
        let messages = localise(marks, &id(), &[mask]);
        let alone = messages[1..].to_vec();
        calls.wrong_stream(&segmentation("Localise"), alone).await;
        calls.wrong_stream(&segmentation("Localise"), messages).await;
    }
}

/// Makes every call on models: texts are those of a card.
pub(crate) async fn exchange_models(drive: &mut Drive, folder: &Path) {
    let Drive { calls, marks } = drive;
    let mut card = write_tiny_model(folder, "tiny-1", 1).unwrap();
    card.provenance.data = marks.text();
    card.provenance.git_revision = marks.text();
    card.provenance.licence = marks.text();
    card.intended_use = marks.text();
    let card_json = serde_json::to_vec(&card).unwrap();
    let weights = fs::read(folder.join(WEIGHTS_FILE)).unwrap();
    use import_model_request::Content;
    let sent = |card: Vec<u8>| {
        let pieces = weights.chunks(CHUNK_BYTES_MAX).map(|piece| Content::Weights(piece.to_vec()));
        let contents = std::iter::once(Content::CardJson(card)).chain(pieces);
        contents.map(|content| ImportModelRequest { content: Some(content) }).collect::<Vec<_>>()
    };
    let model_id = || "tiny-1".to_owned();
    calls.right_stream::<_, ImportModelResponse>(&models("ImportModel"), sent(card_json)).await;
    let listed: ListModelsResponse =
        calls.right(&models("ListModels"), ListModelsRequest::default()).await;
    let built_in = listed.serving_model_id;
    let request = DescribeModelRequest { model_id: model_id() };
    let described: DescribeModelResponse = calls.right(&models("DescribeModel"), request).await;
    assert!(!marks.found_in(described.card_json.as_bytes()).is_empty());
    let request = ExportModelRequest { model_id: model_id() };
    calls.right::<_, ExportModelResponse>(&models("ExportModel"), request).await;
    let request = LoadModelRequest { model_id: model_id() };
    calls.right::<_, LoadModelResponse>(&models("LoadModel"), request).await;
    let request = PromoteModelRequest { model_id: model_id(), expected_serving_model_id: built_in };
    calls.right::<_, PromoteModelResponse>(&models("PromoteModel"), request).await;
    let request = RollbackModelRequest { expected_serving_model_id: model_id() };
    calls.right::<_, RollbackModelResponse>(&models("RollbackModel"), request).await;
    let request = ListPromotionsRequest::default();
    calls.right::<_, ListPromotionsResponse>(&models("ListPromotions"), request).await;
    card.provenance.name = format!("{} ?", marks.text());
    calls.wrong_stream(&models("ImportModel"), sent(serde_json::to_vec(&card).unwrap())).await;
    card.profile = marks.text();
    calls.wrong_stream(&models("ImportModel"), sent(serde_json::to_vec(&card).unwrap())).await;
    calls.wrong_stream(&models("ImportModel"), sent(marks.text().into_bytes())).await;
}

fn training_file(marks: &mut Marks, data: &str) -> String {
    format!(
        r#"
# {}
[model]
name = "trained-{}"
data = "{}"
licence = "{}"

[train]
threads = 1
steps_max = 2
max_minutes = 0.0
checkpoint_minutes = 0.0
validate_minutes = 0.0

[train.network]
architecture = "residual"
in_channels = 4
out_channels = 3
widths = [4, 8]
stem_stride = 2
deep_supervision = false
dropout = []

[data]
{data}

[data.mix]
patch = [32, 32, 32]
"#,
        marks.text(),
        id(),
        marks.text(),
        marks.text()
    )
}

/// Makes every call on training: texts are those of a training file and names of cases.
pub(crate) async fn train(drive: &mut Drive) {
    let good = training_file(&mut drive.marks, "");
    let run = trained(drive, good).await;
    assert_eq!(run.state(), TrainingState::Succeeded, "{}", run.error_text);
    let request = ListTrainingsRequest::default();
    drive.calls.right::<_, ListTrainingsResponse>(&training("ListTrainings"), request).await;
    cancel_and_resume(drive).await;
    let case = format!("cases_env = 'NEUROTRIAGE_CASES'\ncases = ['{}']", drive.marks.text());
    let missing = training_file(&mut drive.marks, &case);
    let run = trained(drive, missing).await;
    assert_eq!(run.state(), TrainingState::Failed);
    let Drive { calls, marks } = drive;
    let unknown = format!("{} = '{}'", marks.text(), marks.text());
    for training_file in [training_file(marks, &unknown), marks.text()] {
        let request = StartTrainingRequest { request_id: id(), training_file };
        calls.wrong(&training("StartTraining"), request).await;
    }
}

/// Runs a training file to its end, and returns how it ended.
async fn trained(drive: &mut Drive, training_file: String) -> TrainingRun {
    let calls = &mut drive.calls;
    let request = StartTrainingRequest { request_id: id(), training_file };
    let started: StartTrainingResponse =
        when_free(calls, &training("StartTraining"), request).await;
    let training_run_id = started.run.unwrap().training_run_id;
    let request = WatchTrainingRequest { training_run_id: training_run_id.clone() };
    calls.right::<_, WatchTrainingResponse>(&training("WatchTraining"), request).await;
    let request = GetTrainingRequest { training_run_id };
    let read: GetTrainingResponse = calls.right(&training("GetTraining"), request).await;
    read.run.unwrap()
}

/// Cancels a run, and goes on with it.
async fn cancel_and_resume(drive: &mut Drive) {
    let endless = training_file(&mut drive.marks, "").replace("steps_max = 2", "steps_max = 99999");
    let calls = &mut drive.calls;
    let request = StartTrainingRequest { request_id: id(), training_file: endless };
    let started: StartTrainingResponse =
        when_free(calls, &training("StartTraining"), request).await;
    let run = started.run.unwrap();
    let training_run_id = || run.training_run_id.clone();
    let cancel = || CancelTrainingRequest { training_run_id: training_run_id() };
    calls.right::<_, CancelTrainingResponse>(&training("CancelTraining"), cancel()).await;
    let request = WatchTrainingRequest { training_run_id: training_run_id() };
    calls.right::<_, WatchTrainingResponse>(&training("WatchTraining"), request).await;
    let request = ResumeTrainingRequest { training_run_id: training_run_id() };
    when_free::<_, ResumeTrainingResponse>(calls, &training("ResumeTraining"), request).await;
    calls.right::<_, CancelTrainingResponse>(&training("CancelTraining"), cancel()).await;
}

/// Makes a call that is right once there is a place for a run: a moment after the end of the one before is told.
async fn when_free<M, A>(calls: &mut Calls, rpc: &str, request: M) -> A
where
    M: Message + Clone + 'static,
    A: Message + Default + 'static,
{
    let began = Instant::now();
    loop {
        match calls.call(rpc, vec![request.clone()], 1).await {
            Ok(mut answers) => {
                calls.answered.insert(rpc.to_owned());
                return answers.pop().unwrap();
            }
            Err(status) if began.elapsed() > TRAINING_MAX => panic!("{rpc}: {status:?}"),
            Err(_) => sleep(PAUSE).await,
        }
    }
}
