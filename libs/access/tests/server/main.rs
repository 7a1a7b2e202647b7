//! Servers behind the layer, called over real sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop the test")]

mod issuer;
mod services;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request as HttpRequest, Response as HttpResponse};
use issuer::{HOSPITAL, Issuer, PATIENT, claims, with};
use neurotriage_access::{Access, AccessConfig, SetupError};
use neurotriage_proto::{
    ingestion::v1::{
        DownloadVolumeRequest, GetStudyRequest, GetStudyResponse, ListStudiesRequest,
        UploadStudyRequest, ingestion_service_client::IngestionServiceClient,
    },
    referral::v1::{
        AssessRequest, GetAssessmentRequest, ListReferralsRequest,
        referral_lifecycle_service_client::ReferralLifecycleServiceClient,
        referral_service_client::ReferralServiceClient,
    },
};
use prost::Message as _;
use serde_json::{Value, json};
use services::{FORGOTTEN, Services, channel, refusal, to_status};
use tokio::time::timeout;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;
use tower_layer::Layer as _;
use tower_service::Service;

/// Longest wait for an answer that must not depend on the rest of a request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

fn as_caller<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

async fn get_study(
    address: SocketAddr,
    token: &str,
    study_id: &str,
) -> Result<Response<GetStudyResponse>, Status> {
    let request = GetStudyRequest { study_id: study_id.to_owned() };
    IngestionServiceClient::new(channel(address)).get_study(as_caller(token, request)).await
}

#[tokio::test]
async fn a_good_token_opens_what_its_scopes_say() {
    let issuer = Issuer::start();
    let services = Services::default();
    let address = services.clone().serve(issuer.access().await).await;
    let answer = get_study(address, &issuer.token("user/Study.rs"), PATIENT).await.unwrap();
    let study = answer.into_inner().study.unwrap();
    assert_eq!((study.accession.as_str(), study.study_id.as_str()), ("user-7", HOSPITAL));

    let mut client = IngestionServiceClient::new(channel(address));
    let reader = issuer.token("user/*.read");
    client.list_studies(as_caller(&reader, ListStudiesRequest::default())).await.unwrap();
    assert_eq!(services.handled(), 2);
    let request = as_caller(&reader, tokio_stream::empty::<UploadStudyRequest>());
    let status = client.upload_study(request).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("SCOPE_MISSING", "test.example"));
    assert_eq!(info.metadata["neededScope"], "user/Study.c");
    assert_eq!(services.handled(), 2, "the handler was not asked");
}

#[tokio::test]
async fn a_call_is_refused_with_its_reason_before_the_handler() {
    let issuer = Issuer::start();
    let services = Services::default();
    let address = services.clone().serve(issuer.access().await).await;
    let scopes = "user/Study.r";
    let good = || claims(scopes);
    let signed = |claim: &str, value: Value| issuer.sign(&with(good(), claim, value));
    let no_hospital = signed("hospital_id", Value::Null);
    use Code::{PermissionDenied, Unauthenticated};
    // (what the row is for, token, code, reason)
    let table = [
        ("no token in it", "a.b.c".to_owned(), Unauthenticated, "TOKEN_MALFORMED"),
        ("expired", signed("exp", json!(1_000)), Unauthenticated, "TOKEN_EXPIRED"),
        ("issuer", signed("iss", json!("x")), Unauthenticated, "TOKEN_ISSUER_REFUSED"),
        ("audience", signed("aud", json!("x")), Unauthenticated, "TOKEN_AUDIENCE_REFUSED"),
        ("signature", Issuer::start().token(scopes), Unauthenticated, "TOKEN_SIGNATURE_WRONG"),
        ("claim", signed("hospital_id", json!(7)), Unauthenticated, "TOKEN_CLAIM_REFUSED"),
        ("no hospital", no_hospital, PermissionDenied, "HOSPITAL_MISSING"),
        ("no scope", issuer.token("openid"), PermissionDenied, "SCOPE_MISSING"),
    ];
    for (case, token, code, reason) in table {
        let refused = refusal(get_study(address, &token, PATIENT).await);
        assert_eq!(refused, (code, reason.to_owned()), "case: {case}");
    }

    let mut client = IngestionServiceClient::new(channel(address));
    let bare = client.get_study(GetStudyRequest::default()).await;
    assert_eq!(refusal(bare), (Unauthenticated, "TOKEN_MISSING".to_owned()));
    assert_eq!(services.handled(), 0);
}

#[tokio::test]
async fn a_patients_token_is_kept_to_that_patient() {
    let issuer = Issuer::start();
    let services = Services::default();
    let address = services.clone().serve(issuer.access().await).await;
    let token = issuer.token("patient/*.read");
    let own = get_study(address, &token, PATIENT).await.unwrap().into_inner();
    assert_eq!(own.study.unwrap().patient_id, PATIENT);
    let other = get_study(address, &token, "01890a5d-ac96-774b-bcce-111111111111").await;
    assert_eq!(refusal(other), (Code::PermissionDenied, "OTHER_PATIENT".to_owned()));

    // What a handler answers without its check is withheld, even of the right patient.
    let withheld = (Code::Internal, "PATIENT_NOT_CHECKED".to_owned());
    assert_eq!(refusal(get_study(address, &token, FORGOTTEN).await), withheld);
    let mut client = IngestionServiceClient::new(channel(address));
    let list = as_caller(&token, ListStudiesRequest::default());
    assert_eq!(refusal(client.list_studies(list).await), withheld);
    // An error gives nothing out, and stays what it is.
    let error = as_caller(&token, GetAssessmentRequest::default());
    let mut referral = ReferralServiceClient::new(channel(address));
    let status = referral.get_assessment(error).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    // Calls over several patients are not for one of them.
    let list = as_caller(&token, ListReferralsRequest::default());
    let all = ReferralLifecycleServiceClient::new(channel(address)).list_referrals(list).await;
    assert_eq!(refusal(all), (Code::PermissionDenied, "SCOPE_MISSING".to_owned()));

    // A caller of the whole hospital needs no such check.
    let wide = issuer.token("user/Study.r");
    get_study(address, &wide, FORGOTTEN).await.unwrap();
}

#[tokio::test]
async fn a_refusal_does_not_wait_for_the_body() {
    let issuer = Issuer::start();
    let services = Services::default();
    let address = services.clone().serve(issuer.access().await).await;
    let mut client = IngestionServiceClient::new(channel(address));
    let endless = || tokio_stream::pending::<UploadStudyRequest>();
    let bare = timeout(ANSWER_TIMEOUT, client.upload_study(endless())).await.unwrap();
    assert_eq!(refusal(bare), (Code::Unauthenticated, "TOKEN_MISSING".to_owned()));
    let request = as_caller(&issuer.token("user/Study.read"), endless());
    let reader = timeout(ANSWER_TIMEOUT, client.upload_study(request)).await.unwrap();
    assert_eq!(refusal(reader), (Code::PermissionDenied, "SCOPE_MISSING".to_owned()));
    assert_eq!(services.handled(), 0);
}

#[tokio::test]
async fn probes_need_no_token_and_unknown_calls_are_refused() {
    let issuer = Issuer::start();
    let address = Services::default().serve(issuer.access().await).await;
    let request = HealthCheckRequest { service: String::new() };
    HealthClient::new(channel(address)).check(request).await.unwrap();

    let mut grpc = tonic::client::Grpc::new(channel(address));
    grpc.ready().await.unwrap();
    let path =
        http::uri::PathAndQuery::from_static("/neurotriage.ingestion.v1.IngestionService/New");
    let codec = tonic_prost::ProstCodec::<GetStudyRequest, GetStudyResponse>::default();
    let request = as_caller(&issuer.token("system/*.cruds"), GetStudyRequest::default());
    let unknown = grpc.unary(request, path, codec).await;
    assert_eq!(refusal(unknown), (Code::PermissionDenied, "RPC_WITHOUT_RULE".to_owned()));
}

#[tokio::test]
async fn what_one_service_asks_another_it_asks_for_its_caller() {
    let issuer = Issuer::start();
    let other = Services::default().serve(issuer.access().await).await;
    let asking = Services { other: Some(other), ..Services::default() };
    let address = asking.serve(issuer.access().await).await;
    let assess = || AssessRequest { segmentation_id: PATIENT.to_owned(), ..Default::default() };
    let mut referral = ReferralServiceClient::new(channel(address));
    let token = issuer.token("user/Assessment.c user/Study.r");
    let answer = referral.assess(as_caller(&token, assess())).await.unwrap();
    assert_eq!(answer.into_inner().assessment.unwrap().patient_id, "user-7");

    // From a task that outlives the handler.
    let mut ingestion = IngestionServiceClient::new(channel(address));
    let request = DownloadVolumeRequest { study_id: PATIENT.to_owned(), ..Default::default() };
    let answer = ingestion.download_volume(as_caller(&token, request)).await.unwrap();
    let piece = answer.into_inner().message().await.unwrap().unwrap();
    assert_eq!(piece.data, b"user-7");

    // It may do there what it may do itself, and no more.
    let token = issuer.token("user/Assessment.c");
    let refused = referral.assess(as_caller(&token, assess())).await;
    assert_eq!(refusal(refused), (Code::PermissionDenied, "SCOPE_MISSING".to_owned()));
}

#[tokio::test]
async fn the_developer_needs_no_token_but_comes_directly() {
    let listen = SocketAddr::from(([127, 0, 0, 1], 1));
    let access = Access::from_settings(&AccessConfig::default(), listen, None).await.unwrap();
    let services = Services::default();
    let address = services.clone().serve(access).await;
    let mut client = IngestionServiceClient::new(channel(address));
    let request = || GetStudyRequest { study_id: PATIENT.to_owned() };
    let study = client.get_study(request()).await.unwrap().into_inner().study.unwrap();
    assert_eq!((study.accession.as_str(), study.study_id.as_str()), ("developer", "development"));
    for header in ["x-forwarded-for", "forwarded", "via"] {
        let mut proxied = Request::new(request());
        proxied.metadata_mut().insert(header, "192.0.2.7".parse().unwrap());
        let refused = refusal(client.get_study(proxied).await);
        let expected = (Code::PermissionDenied, "PROXIED_WITHOUT_TOKENS".to_owned());
        assert_eq!(refused, expected, "header: {header}");
    }
    assert_eq!(services.handled(), 1);

    let open = SocketAddr::from(([0, 0, 0, 0], 1));
    let error = Access::from_settings(&AccessConfig::default(), open, None).await.unwrap_err();
    assert!(matches!(error, SetupError::Unprotected { listen } if listen == open));
}

/// Answers everything, as a server without the layer would.
#[derive(Clone)]
struct Unguarded;

impl Service<HttpRequest<()>> for Unguarded {
    type Response = HttpResponse<()>;
    type Error = Infallible;
    type Future = Ready<Result<HttpResponse<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: HttpRequest<()>) -> Self::Future {
        ready(Ok(HttpResponse::new(())))
    }
}

#[tokio::test]
async fn no_rpc_of_any_service_is_open() {
    let issuer = Issuer::start();
    let mut guarded = issuer.access().await.into_layer(to_status).layer(Unguarded);
    let set = prost_types::FileDescriptorSet::decode(neurotriage_proto::FILE_DESCRIPTOR_SET);
    let mut paths = Vec::new();
    for file in &set.unwrap().file {
        for service in &file.service {
            let methods = service.method.iter();
            let path = |name: &str| format!("/{}.{}/{name}", file.package(), service.name());
            paths.extend(methods.map(|method| path(method.name())));
        }
    }
    assert!(paths.len() > 30, "{} RPCs", paths.len());
    let nobody = issuer.token("openid launch/patient offline_access");
    for path in paths {
        // (what the row is for, token, code)
        let table = [
            ("no token", None, Code::Unauthenticated),
            ("token without scopes", Some(&nobody), Code::PermissionDenied),
        ];
        for (case, token, code) in table {
            let mut request = HttpRequest::new(());
            *request.uri_mut() = path.parse().unwrap();
            if let Some(token) = token {
                let value = format!("Bearer {token}").parse().unwrap();
                request.headers_mut().insert("authorization", value);
            }
            let answer = guarded.call(request).await.unwrap();
            let status = Status::from_header_map(answer.headers());
            assert_eq!(status.map(|status| status.code()), Some(code), "case: {case}, {path}");
        }
    }
}
