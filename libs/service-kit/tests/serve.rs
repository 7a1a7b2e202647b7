//! Serving over a real socket: what is added to every service, and how it ends.

use std::{
    convert::Infallible,
    future::{Pending, pending},
    task::{Context, Poll},
    time::Duration,
};

use http::uri::PathAndQuery;
use neurotriage_service_kit::{access::Access, client, server};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tonic::{
    Code, Request, body::Body, client::Grpc, codegen::Service, server::NamedService,
    service::Routes,
};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};
use tonic_prost::ProstCodec;

/// Longest that a test waits for something that happens at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service that takes every call and answers none.
#[derive(Clone)]
struct Silent {
    called: mpsc::UnboundedSender<()>,
}

impl NamedService for Silent {
    const NAME: &'static str = "neurotriage.records.v1.RecordsService";
}

impl Service<http::Request<Body>> for Silent {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pending<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        let _ = self.called.send(());
        pending()
    }
}

#[tokio::test]
async fn a_call_without_end_does_not_hold_the_server_for_ever() -> anyhow::Result<()> {
    let (called, mut calls) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let channel = client::channel(&format!("http://{address}"))?;
    let running = tokio::spawn(server::serve(
        "test",
        listener,
        Routes::new(Silent { called }),
        &[Silent::NAME],
        Access::development(address)?,
        Duration::from_millis(50),
        async {
            let _ = stopped.await;
        },
    ));
    let health = HealthCheckRequest { service: Silent::NAME.to_owned() };
    HealthClient::new(client::traced(channel.clone())).check(health).await?;

    let call = tokio::spawn(async move {
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.map_err(|error| tonic::Status::unknown(error.to_string()))?;
        let path = PathAndQuery::from_static("/neurotriage.records.v1.RecordsService/ListPatients");
        let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
        grpc.unary(Request::new(HealthCheckRequest::default()), path, codec).await
    });
    timeout(PATIENCE, calls.recv()).await?;
    let _ = stop.send(());
    timeout(PATIENCE, running).await???;
    call.abort();
    Ok(())
}

#[tokio::test]
async fn a_call_to_nobody_is_unavailable() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let channel = client::channel(&format!("http://{}", listener.local_addr()?))?;
    drop(listener);
    let request = HealthCheckRequest::default();
    let mut client = HealthClient::new(client::traced(channel));
    let status = timeout(PATIENCE, client.check(request)).await?.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    Ok(())
}
