//! Traces and logs: one call at start, one guard to flush at the end.

use anyhow::Context as _;
use clap::Args;
use opentelemetry::{global, trace::TracerProvider as _};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{
    EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// Where traces go and how much is logged.
#[derive(Clone, Debug, Args)]
pub struct TelemetryConfig {
    /// OTLP/gRPC endpoint for traces, such as `http://otel-collector:4317`; none exports nothing.
    #[arg(long, env = "OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// What is logged, in the syntax of `RUST_LOG`, such as `info,neurotriage_records=debug`.
    #[arg(long, env = "LOG_FILTER", default_value = "info")]
    pub log_filter: String,
}

/// Flushes spans when told to. Keep it until the server has drained.
#[derive(Debug)]
#[must_use = "spans are lost unless `shutdown` is called"]
pub struct TelemetryGuard(Option<SdkTracerProvider>);

impl TelemetryGuard {
    /// Exports what is still buffered. Blocks.
    ///
    /// # Errors
    /// If the collector did not take the spans in time.
    pub fn shutdown(self) -> anyhow::Result<()> {
        match self.0 {
            Some(provider) => provider.shutdown().context("flush spans"),
            None => Ok(()),
        }
    }
}

/// Installs the global subscriber: JSON lines on standard output, spans to the collector.
///
/// Call once, inside a Tokio runtime, before anything logs.
///
/// # Errors
/// If the filter or the endpoint is malformed, or a subscriber is installed already.
pub fn init(service: &'static str, config: &TelemetryConfig) -> anyhow::Result<TelemetryGuard> {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let filter = EnvFilter::try_new(&config.log_filter).context("parse log filter")?;

    let provider = match &config.otlp_endpoint {
        None => None,
        Some(endpoint) => {
            let exporter = SpanExporter::builder()
                .with_tonic()
                .with_endpoint(endpoint)
                .build()
                .context("build OTLP exporter")?;
            let resource = Resource::builder().with_service_name(service).build();
            let builder = SdkTracerProvider::builder().with_resource(resource);
            Some(builder.with_batch_exporter(exporter).build())
        }
    };
    let spans = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer().with_tracer(provider.tracer(service)).boxed()
    });

    tracing_subscriber::registry()
        .with(spans)
        .with(tracing_subscriber::fmt::layer().json())
        .with(filter)
        .try_init()
        .context("install subscriber")?;
    Ok(TelemetryGuard(provider))
}

/// Returns a span for `request` that continues the caller's trace.
pub(crate) fn server_span<B>(request: &http::Request<B>) -> Span {
    let method = request.uri().path();
    let span = tracing::info_span!(
        "rpc",
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.method = method,
        rpc.grpc.status_code = Empty,
    );
    let caller =
        global::get_text_map_propagator(|p| p.extract(&HeaderExtractor(request.headers())));
    // Fails only where no OpenTelemetry layer is installed; then there is no trace to continue.
    let _ = span.set_parent(caller);
    span
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        telemetry: TelemetryConfig,
    }

    #[test]
    fn nothing_is_exported_unless_asked_for() {
        let program = Program::parse_from(["program", "--log-filter", "warn"]);
        assert_eq!(program.telemetry.log_filter, "warn");
        assert!(TelemetryGuard(None).shutdown().is_ok());
    }

    #[test]
    fn a_malformed_filter_is_refused() {
        let config = TelemetryConfig { otlp_endpoint: None, log_filter: "a=b=c".to_owned() };
        assert!(init("test", &config).unwrap_err().to_string().contains("log filter"));
    }
}
