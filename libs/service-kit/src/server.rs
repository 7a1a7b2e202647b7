//! Serving with health, reflection, traces and limits, and ending without cutting calls.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use anyhow::Context as _;
use http::{HeaderMap, Response};
use neurotriage_access::{Access, Rules};
use tokio::{net::TcpListener, signal, sync::oneshot, time::timeout};
use tonic::{
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::ServingStatus;
use tower::util::MapResponseLayer;
use tower_http::trace::TraceLayer;
use tracing::Span;

use crate::{malformed, status::to_status, telemetry::server_span};

/// `ErrorInfo.domain` of a call that was refused before its service saw it.
pub const ACCESS_ERROR_DOMAIN: &str = "access.neurotriage.example";

/// Most calls at a time on one connection; more wait at the client.
const CONCURRENT_STREAMS_MAX: u32 = 256;
/// Most bytes of a call's metadata.
const METADATA_BYTES_MAX: u32 = 16 * 1024;
/// How often an idle connection is checked, so that dead peers are noticed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long a peer may take to answer that check.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Tells a server to end.
pub type Shutdown = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A server while it serves. Of one type, so that what serves is compiled in the crate that makes it, and not again in
/// every program and test that runs it.
pub type Serving = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// Serves `routes` on `listener` until `shutdown` completes, then drains.
///
/// Every call passes `access` first; health and reflection are open to all.
///
/// Adds gRPC health (of the whole server and of each of `service_names`), reflection v1 and
/// v1alpha, a span per call that continues the caller's trace, and limits; a message is limited to
/// tonic's 4 MiB by the generated services themselves. At shutdown health turns to NOT_SERVING, no
/// call is accepted any more, and running calls may go on for `drain_timeout`; what still runs
/// then is left to end with the process.
///
/// `name` is for logs. The caller binds the socket: tests pass port 0 and read the address back.
///
/// # Errors
/// If the reflection descriptor is broken or the listener fails.
pub fn serve(
    name: &'static str,
    listener: TcpListener,
    routes: Routes,
    service_names: &'static [&'static str],
    access: Access,
    drain_timeout: Duration,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Serving {
    boxed(name, listener, routes, service_names, access, drain_timeout, Box::pin(shutdown))
}

/// Of one type whatever ends it, so that the server is compiled here.
#[inline(never)]
fn boxed(
    name: &'static str,
    listener: TcpListener,
    routes: Routes,
    service_names: &'static [&'static str],
    access: Access,
    drain_timeout: Duration,
    ended: Shutdown,
) -> Serving {
    Box::pin(serve_until(name, listener, routes, service_names, access, drain_timeout, ended))
}

async fn serve_until(
    name: &'static str,
    listener: TcpListener,
    routes: Routes,
    service_names: &[&str],
    access: Access,
    drain_timeout: Duration,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let address = listener.local_addr().context("read bound address")?;
    let (mut health, health_service) = tonic_health::server::health_reporter();
    for service_name in service_names {
        health.set_service_status(service_name, ServingStatus::Serving).await;
    }
    let routes = with_reflection(routes)?.add_service(health_service);
    let rules = Arc::new(Rules::neurotriage());
    let layer = TraceLayer::new_for_grpc()
        .make_span_with(move |request: &http::Request<_>| server_span(request, &rules))
        .on_request(())
        .on_response(answered)
        // Errors are logged where they become a status.
        .on_failure(());

    // An answer is a few small writes: held back to be joined, each call would last 40 ms.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = Server::builder()
        .max_concurrent_streams(CONCURRENT_STREAMS_MAX)
        .http2_max_header_list_size(METADATA_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .layer(layer)
        // Inside the span: a refusal is seen in the trace.
        .layer(access.into_layer(|error| to_status(ACCESS_ERROR_DOMAIN, error)))
        .layer(MapResponseLayer::new(malformed::name_field))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, async {
            // A dropped sender stops the server too.
            let _ = stopped.await;
        });
    tracing::info!(service = name, %address, "serving");
    tokio::pin!(server);
    tokio::select! {
        ended = &mut server => return ended.context("serve gRPC"),
        () = shutdown => {}
    }

    tracing::info!(service = name, "draining");
    let watched: Vec<&str> = service_names.iter().copied().chain([""]).collect();
    for service_name in &watched {
        health.set_service_status(service_name, ServingStatus::NotServing).await;
    }
    // Ends the streams of those who watch health, which would keep the server busy for ever.
    for service_name in &watched {
        health.clear_service_status(service_name).await;
    }
    let _ = stop.send(());
    match timeout(drain_timeout, server).await {
        Ok(ended) => ended.context("drain gRPC")?,
        Err(_) => tracing::warn!(service = name, ?drain_timeout, "calls still ran after the drain"),
    }
    tracing::info!(service = name, "stopped");
    Ok(())
}

fn with_reflection(routes: Routes) -> anyhow::Result<Routes> {
    let configured = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(neurotriage_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = configured().build_v1().context("load reflection descriptor")?;
    let v1alpha = configured().build_v1alpha().context("load reflection descriptor")?;
    Ok(routes.add_service(v1).add_service(v1alpha))
}

/// Notes the outcome of a call that has none to come in trailers: those are errors only.
fn answered<B>(response: &Response<B>, latency: Duration, span: &Span) {
    let code = grpc_status(response.headers());
    span.record("rpc.grpc.status_code", code);
    tracing::debug!(parent: span, code, latency_us = latency.as_micros() as u64, "call answered");
}

fn grpc_status(headers: &HeaderMap) -> i64 {
    let status = headers.get("grpc-status").and_then(|value| value.to_str().ok());
    status.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Completes when the process is asked to end: SIGTERM or Ctrl-C.
///
/// If a signal can't be listened for, that is logged, and the other one still works.
pub async fn shutdown_signal() {
    tokio::select! {
        () = terminated() => {}
        result = signal::ctrl_c() => {
            if let Err(error) = result {
                tracing::error!(%error, "listen for Ctrl-C");
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(unix)]
async fn terminated() {
    match signal::unix::signal(signal::unix::SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(error) => {
            tracing::error!(%error, "listen for SIGTERM");
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending::<()>().await;
}
