//! The four services in one process: a phantom in, a whole report out.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use neurotriage::{
    case::{Made, make},
    cli::{DiagnoseArgs, ModelArgs},
    progress::Progress,
    report::Language,
};
use neurotriage_imaging::{
    CaseFiles,
    nifti::{read_image_file, read_mask_file},
};
use neurotriage_network::DeviceChoice;

fn arguments(out: &Path, data: &Path) -> DiagnoseArgs {
    DiagnoseArgs {
        case: None,
        symptoms: None,
        out: Some(out.to_owned()),
        json: false,
        data: Some(data.to_owned()),
        language: Language::English,
        handedness: None,
        home: Some((37.57, 126.98)),
        hospitals: 3,
        model: ModelArgs { model: None, device: DeviceChoice::Cpu },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phantom_goes_through_the_suite_and_leaves_a_whole_report() {
    let folder = tempfile::tempdir().unwrap();
    let (out, data) = (folder.path().join("out"), folder.path().join("data"));
    let Made { report, folder } = make(arguments(&out, &data), Progress::hidden()).await.unwrap();

    let names = ["report.json", "report.html", "report.fhir.json", "overlay.png", "mask.nii.gz"];
    for name in names {
        assert!(folder.join(name).metadata().unwrap().len() > 100, "{name}");
    }
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("report.json")).unwrap()).unwrap();
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["study"]["phantom"], true);
    assert_eq!(json["study"]["shape"], serde_json::json!([240, 240, 155]));
    assert_eq!(json["image"]["space"], "sri24", "{}", json["image"]["space_reason"]);
    assert!(
        json["image"]["volumes"]["whole_ml"].as_f64().unwrap() > 1.0,
        "no tumour: {}",
        json["headline"]
    );
    for id in ["patient_id", "study_id", "segmentation_id", "assessment_id", "symptom_report_id"] {
        let id = json["study"][id].as_str().unwrap();
        assert!(id.parse::<uuid::Uuid>().is_ok(), "{id}");
    }
    assert!(!json["symptoms"]["findings"].as_array().unwrap().is_empty());
    assert!(!json["assessment"]["reasons"].as_array().unwrap().is_empty());
    assert!(!json["referral"]["hospitals"].as_array().unwrap().is_empty());
    assert!(json["run"]["total_seconds"].as_f64().unwrap() > 0.0);
    let steps: Vec<&str> = report.run.steps.iter().map(|step| step.name).collect();
    assert_eq!(steps, ["phantom", "start", "register", "upload", "segment", "assess", "picture"]);

    let files = CaseFiles::find(&folder.join("case")).unwrap();
    let image = read_image_file(&files.images[0]).unwrap();
    let mask = read_mask_file(&folder.join("mask.nii.gz")).unwrap();
    assert_eq!(mask.grid(), image.grid(), "the mask lies on another grid than the input");
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.contains(&report.headline) && page.contains("data:image/png;base64,"));
    // The slices, the outlines of the regions, the brain and the map.
    assert_eq!((page.matches("<img ").count(), page.matches("<svg ").count()), (2, 2));
    let resource: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("report.fhir.json")).unwrap()).unwrap();
    assert_eq!(resource["resourceType"], "DiagnosticReport");
    assert_eq!(resource["status"], "preliminary");
    assert_eq!(resource["presentedForm"][0]["size"], page.len());
}
