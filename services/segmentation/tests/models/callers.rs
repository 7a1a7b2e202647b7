//! Whose token goes to the ingestion service, which asks for one here.

use neurotriage_domain::StudyId;
use neurotriage_migrations::segmentation::Migrator;
use neurotriage_proto::segmentation::v1::{
    LocaliseRequest, SegmentStudyRequest, Segmentation, localise_request, segment_study_response,
};
use neurotriage_testkit::{TestDb, issuer::Issuer};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::harness::{Files, Ground, Running, reason};

fn with_token<T>(message: T, token: &str) -> anyhow::Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    Ok(request)
}

async fn segment(
    running: &mut Running,
    request: Request<SegmentStudyRequest>,
) -> Result<Segmentation, Status> {
    let mut stream = running.segmentation.segment_study(request).await?.into_inner();
    while let Some(message) = stream.message().await? {
        if let Some(segment_study_response::Content::Segmentation(made)) = message.content {
            return Ok(made);
        }
    }
    Err(Status::internal("the stream ended without a result"))
}

fn assert_refused_by_ingestion(status: &Status) {
    let found = (status.code(), reason(status));
    assert_eq!(found, (Code::PermissionDenied, "UPSTREAM_PERMISSION_DENIED".to_owned()));
    let metadata = status.get_details_error_info().map(|info| info.metadata).unwrap_or_default();
    assert_eq!(metadata.get("upstream").map(String::as_str), Some("ingestion"));
    assert!(status.message().contains("user/Study.r"), "{}", status.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_is_asked_for_with_the_callers_token() -> anyhow::Result<()> {
    let issuer = Issuer::start()?;
    let db = TestDb::sqlite::<Migrator>().await?;
    let ground = Ground::behind(issuer.access().await?).await?;
    let mut running = ground.serve(&db.db, Files::tiny("first", 1).start()).await?;
    let study_id = StudyId::generate().to_string();
    let request = || SegmentStudyRequest { study_id: study_id.clone() };

    let bare = segment(&mut running, Request::new(request())).await.unwrap_err();
    assert_eq!((bare.code(), reason(&bare).as_str()), (Code::Unauthenticated, "TOKEN_MISSING"));
    let alone = issuer.token("user/Segmentation.cr")?;
    let refused = segment(&mut running, with_token(request(), &alone)?).await.unwrap_err();
    assert_refused_by_ingestion(&refused);
    let both = issuer.token("user/Segmentation.cr user/Study.r")?;
    let made = segment(&mut running, with_token(request(), &both)?).await?;
    assert_eq!(made.study_id, study_id);

    // The study's own image is asked for as well.
    let content = Some(localise_request::Content::StudyId(study_id));
    let messages = || tokio_stream::iter([LocaliseRequest { content: content.clone() }]);
    let refused = running.segmentation.localise(with_token(messages(), &alone)?).await;
    assert_refused_by_ingestion(&refused.unwrap_err());
    running.segmentation.localise(with_token(messages(), &both)?).await?;
    running.stop().await?;
    db.drop().await
}
