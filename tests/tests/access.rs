//! Who may call the built programs, and what one token opens on the way of one patient.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use neurotriage::{
    diagnose::{Case, create_patient, report_symptoms, upload},
    phantom,
    progress::Progress,
    remote::TokenArgs,
    services::{Endpoints, Services},
};
use neurotriage_domain::Modality;
use neurotriage_imaging::CaseFiles;
use neurotriage_proto::{
    fhir::v1::{ExportPatientRequest, fhir_service_client::FhirServiceClient},
    records::v1::{Handedness, MergePatientsRequest, records_service_client::RecordsServiceClient},
    referral::v1::{
        DiagnoseRequest, Diagnosis, DiagnosisState, diagnose_response,
        diagnosis_service_client::DiagnosisServiceClient,
    },
};
use neurotriage_service_kit::client;
use neurotriage_testkit::issuer::{Bearer, HOSPITAL, Issuer, KEY_ID, claims};
use neurotriage_tests::{
    deployment::{Ground, SERVICES},
    programs::program,
    server::free_ports,
};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use serde_json::{Value, json};
use tonic::{Code, Request, Status, codegen::http::uri::PathAndQuery};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;
use uuid::Uuid;

/// What the way of one patient takes, and which service misses it when it is left out of a diagnosis.
const NEEDED: [(&str, Missed); 10] = [
    ("user/Assessment.c", Missed::Diagnosis),
    ("user/Assessment.r", Missed::Diagnosis),
    ("user/Patient.c", Missed::Before("register the patient")),
    ("user/Patient.r", Missed::Upstream("records")),
    ("user/Segmentation.c", Missed::Upstream("segmentation")),
    ("user/Segmentation.r", Missed::Upstream("segmentation")),
    ("user/Study.c", Missed::Before("upload the study")),
    ("user/Study.r", Missed::Upstream("ingestion")),
    ("user/SymptomReport.c", Missed::Before("store the symptoms")),
    ("user/SymptomReport.r", Missed::Upstream("records")),
];

/// Where a scope is missed.
#[derive(Clone, Copy, Debug)]
enum Missed {
    /// At that step before the diagnosis.
    Before(&'static str),
    /// At the diagnosis itself.
    Diagnosis,
    /// At the service that is asked for the diagnosis.
    Upstream(&'static str),
}

fn as_caller<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// Calls any RPC with an empty message.
async fn call(endpoint: &str, path: &str, token: Option<&str>) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(client::channel(endpoint).unwrap());
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::try_from(path).unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    grpc.unary(as_caller((), token), path, codec).await.map(drop)
}

/// Code, reason and who says so.
fn refusal(status: &Status) -> (Code, String, String) {
    let info = status.get_details_error_info();
    let (reason, domain) = info.map(|info| (info.reason, info.domain)).unwrap_or_default();
    (status.code(), reason, domain)
}

/// Full names of every service of the contracts with their RPCs, by the service that has them.
fn contracts() -> Vec<(String, String, Vec<String>)> {
    let set = FileDescriptorSet::decode(neurotriage_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut found = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let of = file.package().split('.').nth(1).unwrap().to_owned();
            let name = format!("{}.{}", file.package(), service.name());
            let rpcs = service.method.iter().map(|rpc| rpc.name().to_owned()).collect();
            found.push((of, name, rpcs));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rpc_of_any_program_is_open() {
    let issuer = Issuer::start().unwrap();
    let ground = Ground::new(issuer.settings()).await.unwrap();
    let servers = ground.start().await.unwrap();
    let nobody = issuer.token("openid launch/patient offline_access").unwrap();
    let refused =
        |code, reason: &str| (code, reason.to_owned(), "access.neurotriage.example".to_owned());
    let mut count = 0;
    for (of, service, rpcs) in contracts() {
        // FHIR is spoken by the referral service.
        let of = if of == "fhir" { "referral" } else { of.as_str() };
        let endpoint = ground.endpoint(of).unwrap();
        // It is there, and says so to everyone.
        let mut health = HealthClient::new(client::channel(endpoint).unwrap());
        health.check(HealthCheckRequest { service: service.clone() }).await.expect(&service);
        for rpc in rpcs {
            let path = format!("/{service}/{rpc}");
            let bare = call(endpoint, &path, None).await.expect_err(&path);
            let expected = refused(Code::Unauthenticated, "TOKEN_MISSING");
            assert_eq!(refusal(&bare), expected, "{path}");
            let poor = call(endpoint, &path, Some(&nobody)).await.expect_err(&path);
            let expected = refused(Code::PermissionDenied, "SCOPE_MISSING");
            assert_eq!(refusal(&poor), expected, "{path}");
            count += 1;
        }
    }
    assert!(count > 30, "{count} RPCs");
    drop(servers);
}

/// A token that says how it is signed, and is not.
fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}.", part(header), part(claims))
}

/// A token signed with a shared secret.
fn with_secret(secret: &[u8], claims: &Value) -> String {
    let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::HS256) };
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_trusted_opens_no_program() {
    let issuer = Issuer::start().unwrap();
    let ground = Ground::new(issuer.settings()).await.unwrap();
    let servers = ground.start().await.unwrap();
    let good = || claims("system/*.cruds").unwrap();
    let with = |claim: &str, value: Value| {
        let mut claims = good();
        claims[claim] = value;
        issuer.sign(&claims).unwrap()
    };
    let published = fs::read(issuer.jwks_file()).unwrap();
    let x = URL_SAFE_NO_PAD.encode(issuer.public_key());
    let other = Issuer::start().unwrap();
    let none = json!({"alg": "none", "typ": "JWT", "kid": KEY_ID});
    let as_is = issuer.sign(&good()).unwrap();
    let (signed, signature) = as_is.rsplit_once('.').unwrap();
    let wider = signed.replacen(
        signed.split_once('.').unwrap().1,
        &{
            let mut claims = good();
            claims["scope"] = json!("system/Model.cruds");
            URL_SAFE_NO_PAD.encode(claims.to_string())
        },
        1,
    );
    // (what the row is for, token, reason)
    let table = [
        ("expired", with("exp", json!(1_000)), "TOKEN_EXPIRED"),
        ("of the future", with("nbf", json!(99_999_999_999_u64)), "TOKEN_NOT_YET_VALID"),
        ("another audience", with("aud", json!("other")), "TOKEN_AUDIENCE_REFUSED"),
        ("another issuer", with("iss", json!("https://other.example")), "TOKEN_ISSUER_REFUSED"),
        ("another key", other.sign(&good()).unwrap(), "TOKEN_SIGNATURE_WRONG"),
        ("other claims", format!("{wider}.{signature}"), "TOKEN_SIGNATURE_WRONG"),
        ("not signed", unsigned(&none, &good()), "TOKEN_ALGORITHM_REFUSED"),
        ("signature taken off", format!("{signed}."), "TOKEN_SIGNATURE_WRONG"),
        (
            "public key as secret",
            with_secret(&issuer.public_key(), &good()),
            "TOKEN_ALGORITHM_REFUSED",
        ),
        ("its text as secret", with_secret(x.as_bytes(), &good()), "TOKEN_ALGORITHM_REFUSED"),
        ("its document as secret", with_secret(&published, &good()), "TOKEN_ALGORITHM_REFUSED"),
        ("no token", "a.b.c".to_owned(), "TOKEN_MALFORMED"),
    ];
    let paths = [
        ("ingestion", "/neurotriage.ingestion.v1.IngestionService/GetStudy"),
        ("segmentation", "/neurotriage.segmentation.v1.SegmentationService/GetSegmentation"),
        ("records", "/neurotriage.records.v1.RecordsService/GetPatient"),
        ("referral", "/neurotriage.referral.v1.ReferralService/GetAssessment"),
    ];
    for (service, path) in paths {
        let endpoint = ground.endpoint(service).unwrap();
        for (case, token, reason) in &table {
            let status = call(endpoint, path, Some(token)).await.unwrap_err();
            let (code, found, _) = refusal(&status);
            assert_eq!(
                (code, found.as_str()),
                (Code::Unauthenticated, *reason),
                "{service}: {case}"
            );
        }
        // The same claims, rightly signed, come through to the handler, which misses an id.
        let status = call(endpoint, path, Some(&as_is)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{service}: {status:?}");
    }
    drop(servers);
}

fn case(folder: &Path) -> Case {
    let files = CaseFiles::find(&phantom::write_default(folder).unwrap()).unwrap();
    Case {
        name: "flow".to_owned(),
        files: Modality::ALL.into_iter().zip(files.images).collect(),
        phantom: true,
        symptoms: phantom::DEFAULT_SYMPTOMS.to_owned(),
        handedness: Handedness::Right,
        home: None,
        hospitals_max: 2,
    }
}

/// Writes a token that only its owner may read.
fn token_file(folder: &Path, name: &str, token: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join(name);
    fs::write(&path, token).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Clients whose calls carry a token of these scopes, which they read from a file.
fn services(ground: &Ground, issuer: &Issuer, scopes: &[&str]) -> Services {
    let token = issuer.token(&scopes.join(" ")).unwrap();
    let file = token_file(ground.folder(), "token", &token);
    let of = |service: &str| ground.endpoint(service).unwrap().to_owned();
    let endpoints = Endpoints {
        ingestion: of("ingestion"),
        segmentation: of("segmentation"),
        records: of("records"),
        referral: of("referral"),
    };
    let token = TokenArgs { token_file: Some(file), ..TokenArgs::default() };
    Services::connect_as(&endpoints, &token).unwrap()
}

/// The way of a patient up to the diagnosis: study and symptom report.
async fn admit(services: &mut Services, case: &Case) -> anyhow::Result<DiagnoseRequest> {
    let patient_id = create_patient(services, case).await?;
    let report = report_symptoms(services, &patient_id, &case.symptoms).await?;
    let study = upload(services, case, &patient_id, &Progress::hidden()).await?;
    Ok(asked(&study.study_id, &report.symptom_report_id))
}

fn asked(study_id: &str, symptom_report_id: &str) -> DiagnoseRequest {
    DiagnoseRequest {
        request_id: Uuid::now_v7().to_string(),
        study_id: study_id.to_owned(),
        symptom_report_id: symptom_report_id.to_owned(),
        hospitals_max: 2,
        model_id: String::new(),
    }
}

async fn diagnose(
    ground: &Ground,
    token: &str,
    request: DiagnoseRequest,
) -> Result<Diagnosis, Status> {
    let channel = client::channel(ground.endpoint("referral").unwrap()).unwrap();
    let mut client = DiagnosisServiceClient::new(channel);
    let mut stream = client.diagnose(as_caller(request, Some(token))).await?.into_inner();
    while let Some(message) = stream.message().await? {
        if let Some(diagnose_response::Content::Diagnosis(diagnosis)) = message.content {
            return Ok(diagnosis);
        }
    }
    Err(Status::internal("the stream ended without a diagnosis"))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_patients_way_takes_exactly_the_scopes_that_are_written_down() {
    let issuer = Issuer::start().unwrap();
    let ground = Ground::new(issuer.settings()).await.unwrap();
    let servers = ground.start().await.unwrap();
    let case = case(&ground.folder().join("case"));
    let all = NEEDED.map(|(scope, _)| scope);
    let request = admit(&mut services(&ground, &issuer, &all), &case).await.unwrap();
    let token = issuer.token(&all.join(" ")).unwrap();
    let diagnosis = diagnose(&ground, &token, request.clone()).await.unwrap();
    assert_eq!(diagnosis.state(), DiagnosisState::Finished);
    assert!(!diagnosis.segmentation_id.is_empty() && diagnosis.assessment.is_some());

    for (left_out, missed) in NEEDED {
        let scopes: Vec<&str> = all.into_iter().filter(|scope| *scope != left_out).collect();
        let token = issuer.token(&scopes.join(" ")).unwrap();
        let (reason, upstream) = match missed {
            Missed::Before(step) => {
                let mut services = services(&ground, &issuer, &scopes);
                let error = format!("{:#}", admit(&mut services, &case).await.unwrap_err());
                let told = error.starts_with(step) && error.ends_with("[SCOPE_MISSING]");
                assert!(told && error.contains(left_out), "without {left_out}: {error}");
                continue;
            }
            Missed::Diagnosis => ("SCOPE_MISSING", None),
            Missed::Upstream(service) => ("UPSTREAM_PERMISSION_DENIED", Some(service)),
        };
        let anew = asked(&request.study_id, &request.symptom_report_id);
        let status = diagnose(&ground, &token, anew).await.expect_err(left_out);
        assert_eq!(status.code(), Code::PermissionDenied, "without {left_out}: {status:?}");
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.reason, reason, "without {left_out}");
        let said = info.metadata.get("upstream").map(String::as_str);
        assert_eq!(said, upstream, "without {left_out}");
        assert!(status.message().contains(left_out), "without {left_out}: {}", status.message());
    }
    drop(servers);

    // As people read it: resources in order, with their letters together.
    let mut written: Vec<String> = Vec::new();
    for scope in all {
        let (resource, letter) = scope.split_once('.').unwrap();
        match written.last_mut().filter(|last| last.starts_with(&format!("{resource}."))) {
            Some(last) => last.push_str(letter),
            None => written.push(scope.to_owned()),
        }
    }
    let page = include_str!("../../docs/access.md");
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(page.contains(&written.join(" ")), "docs/access.md does not say {written:?}");
}

/// Takes a story out; returns the types of its resources.
async fn exported(
    ground: &Ground,
    bearer: &Bearer,
    patient_id: &str,
) -> Result<Vec<String>, Status> {
    let channel = client::channel(ground.endpoint("referral").unwrap()).unwrap();
    let mut client = FhirServiceClient::with_interceptor(channel, bearer.clone());
    let request = ExportPatientRequest { patient_id: patient_id.to_owned(), ..Default::default() };
    let mut stream = client.export_patient(request).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(message) = stream.message().await? {
        bytes.extend(message.piece);
    }
    let bundle: Value = serde_json::from_slice(&bytes).unwrap();
    let entries = bundle["entry"].as_array().unwrap().iter();
    let kind = |entry: &Value| entry["resource"]["resourceType"].as_str().unwrap().to_owned();
    Ok(entries.map(kind).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patients_own_token_takes_their_story_out_after_a_merge_too() {
    let issuer = Issuer::start().unwrap();
    let ground = Ground::new(issuer.settings()).await.unwrap();
    let servers = ground.start_some(&["ingestion", "records", "referral"]).await.unwrap();
    let case = case(&ground.folder().join("case"));
    let mut services = services(&ground, &issuer, &["user/*.cruds"]);
    let patient_id = create_patient(&mut services, &case).await.unwrap();
    let duplicate_id = create_patient(&mut services, &case).await.unwrap();
    report_symptoms(&mut services, &patient_id, &case.symptoms).await.unwrap();
    upload(&mut services, &case, &duplicate_id, &Progress::hidden()).await.unwrap();
    let own = issuer.patient(HOSPITAL, &patient_id).unwrap();
    let duplicates = issuer.patient(HOSPITAL, &duplicate_id).unwrap();
    let hospitals = issuer.caller(HOSPITAL, "user/*.cruds").unwrap();
    let has = |kinds: &[String], kind: &str| kinds.iter().any(|one| one == kind);

    let before = exported(&ground, &own, &patient_id).await.unwrap();
    assert!(has(&before, "Observation") && !has(&before, "ImagingStudy"), "{before:?}");
    assert!(has(&exported(&ground, &duplicates, &duplicate_id).await.unwrap(), "ImagingStudy"));
    let other = exported(&ground, &own, &duplicate_id).await.unwrap_err();
    assert_eq!(other.code(), Code::PermissionDenied, "{other:?}");

    let channel = client::channel(ground.endpoint("records").unwrap()).unwrap();
    let mut records = RecordsServiceClient::with_interceptor(channel, hospitals.clone());
    let request = MergePatientsRequest {
        patient_id: patient_id.clone(),
        revision: 1,
        duplicate_patient_id: duplicate_id.clone(),
        duplicate_revision: 1,
    };
    records.merge_patients(request).await.unwrap();

    // Images that were uploaded under the old id are for the hospital to give out.
    let after = exported(&ground, &own, &patient_id).await.unwrap();
    assert_eq!(after, before);
    let whole = exported(&ground, &hospitals, &patient_id).await.unwrap();
    assert!(has(&whole, "ImagingStudy"), "{whole:?}");
    for id in [&patient_id, &duplicate_id] {
        let status = exported(&ground, &duplicates, id).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    }
    drop(servers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_could_not_check_its_callers_does_not_start() {
    let issuer = Issuer::start().unwrap();
    let ground = Ground::new(Vec::new()).await.unwrap();
    let port = free_ports(1).unwrap()[0];
    let part = |left_out: &str| -> Vec<(&'static str, String)> {
        issuer.settings().into_iter().filter(|(name, _)| *name != left_out).collect()
    };
    for (_, program, listen) in SERVICES {
        let open = || vec![(listen, format!("0.0.0.0:{port}"))];
        let gone = ("ACCESS_JWKS_FILE", "/nowhere/jwks.json".to_owned());
        let both = ("ACCESS_JWKS_URL", "https://login.example/keys".to_owned());
        // (what the row is for, settings, what the program says)
        let table = [
            ("open to all", open(), "set ACCESS_ISSUER, ACCESS_AUDIENCE and ACCESS_JWKS_FILE or"),
            ("no issuer", part("ACCESS_ISSUER"), "ACCESS_ISSUER is not set"),
            ("no audience", part("ACCESS_AUDIENCE"), "ACCESS_AUDIENCE is not set"),
            ("no keys", part("ACCESS_JWKS_FILE"), "ACCESS_JWKS_FILE or ACCESS_JWKS_URL is not set"),
            (
                "keys are gone",
                [issuer.settings(), vec![gone]].concat(),
                "ACCESS_JWKS_FILE gives no keys",
            ),
            ("two sources", [issuer.settings(), vec![both]].concat(), "are both set"),
            ("open, in part", [open(), part("ACCESS_ISSUER")].concat(), "ACCESS_ISSUER is not set"),
        ];
        for (case, settings, said) in table {
            let output = ground.refused(program, &settings).await.expect(case);
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{program}, {case}: {text}");
            assert!(text.contains(said), "{program}, {case}: {text}");
        }
    }
}

/// Runs the command with its token file in the environment.
fn command(arguments: &[&str], token_file: Option<&Path>) -> Output {
    let mut command = std::process::Command::new(program("neurotriage").unwrap());
    command.args(arguments).env_remove("NEUROTRIAGE_TOKEN_FILE");
    if let Some(file) = token_file {
        command.env("NEUROTRIAGE_TOKEN_FILE", file);
    }
    command.output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_shows_its_token_and_only_where_it_may() {
    use std::os::unix::fs::PermissionsExt as _;
    let issuer = Issuer::start().unwrap();
    let ground = Ground::new(issuer.settings()).await.unwrap();
    let servers = ground.start().await.unwrap();
    let token = issuer.token("user/Hospital.s user/Model.s user/Training.s").unwrap();
    let file = token_file(ground.folder(), "command", &token);
    let segmentation = ground.endpoint("segmentation").unwrap();
    let referral = ground.endpoint("referral").unwrap();
    let search = ["hospitals", "search", "--from", "37.57,126.98", "--endpoint", referral];
    // (arguments, what is said to a caller who may)
    let table: [(&[&str], &str); 3] = [
        (&["model", "list", "--endpoint", segmentation], "*"),
        (&search, " km "),
        // Nothing is trained here.
        (&["training", "list", "--endpoint", segmentation], "TRAINING_FOLDER"),
    ];
    let said = |output: &Output| {
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    };
    for (arguments, expected) in table {
        let bare = command(arguments, None);
        let text = said(&bare);
        assert!(
            !bare.status.success() && text.contains("[TOKEN_MISSING]"),
            "{arguments:?}: {text}"
        );
        let text = said(&command(arguments, Some(&file)));
        assert!(text.contains(expected), "{arguments:?}: {text}");
        assert!(!text.contains(&token) && !text.contains("warning"), "{arguments:?}: {text}");
    }

    // By an argument as well; a file that others may read is warned of.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let path = file.to_str().unwrap();
    let listed =
        command(&["model", "list", "--endpoint", segmentation, "--token-file", path], None);
    assert!(listed.status.success(), "{}", said(&listed));
    assert!(said(&listed).contains("warning: others may read the token"), "{}", said(&listed));
    // No token leaves the machine in the clear, unless that is asked for.
    let away = ["model", "list", "--endpoint", "http://segmentation.invalid:50052"];
    let refused = said(&command(&away, Some(&file)));
    assert!(refused.contains("--insecure-token"), "{refused}");
    let sent = said(&command(&[&away[..], &["--insecure-token"]].concat(), Some(&file)));
    assert!(!sent.contains("--insecure-token") && sent.contains("list models"), "{sent}");
    drop(servers);
}
