//! That the service can be found: by health checks and by reflection.

use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::referral::v1::referral_lifecycle_service_server::SERVICE_NAME;
use neurotriage_referral::Events;
use neurotriage_service_kit::client;
use neurotriage_testkit::TestDb;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::harness::Harness;

#[tokio::test]
async fn health_and_reflection_know_the_service() -> anyhow::Result<()> {
    let harness = Harness::start(TestDb::sqlite::<Migrator>().await?, Events::default()).await?;
    let channel = client::channel(&harness.replica.endpoint)?;
    let request = HealthCheckRequest { service: SERVICE_NAME.to_owned() };
    let health = HealthClient::new(channel.clone()).check(request).await?.into_inner();
    assert_eq!(health.status(), ServingStatus::Serving);

    let symbol = MessageRequest::FileContainingSymbol(SERVICE_NAME.to_owned());
    let request = ServerReflectionRequest { message_request: Some(symbol), ..Default::default() };
    let mut client = ServerReflectionClient::new(channel);
    let mut answers =
        client.server_reflection_info(tokio_stream::once(request)).await?.into_inner();
    let answer = answers.message().await?.and_then(|answer| answer.message_response);
    assert!(matches!(answer, Some(MessageResponse::FileDescriptorResponse(_))), "{answer:?}");
    harness.stop().await
}
