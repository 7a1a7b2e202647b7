//! Traces and logs: one call at start, one guard to flush at the end.

use std::io;

use anyhow::Context as _;
use clap::Args;
use neurotriage_access::{Rules, rules::Decision};
use opentelemetry::{
    global,
    trace::{TraceContextExt as _, TracerProvider as _},
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::LevelFilter, fmt::writer::BoxMakeWriter,
    layer::SubscriberExt as _, util::SubscriberInitExt as _,
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
    install(service, config, BoxMakeWriter::new(io::stdout))
}

/// As [`init`], with the lines on standard error: for a command, whose standard output is its answer.
///
/// # Errors
/// As [`init`].
pub fn init_command(
    name: &'static str,
    config: &TelemetryConfig,
) -> anyhow::Result<TelemetryGuard> {
    install(name, config, BoxMakeWriter::new(io::stderr))
}

fn install(
    service: &'static str,
    config: &TelemetryConfig,
    lines: BoxMakeWriter,
) -> anyhow::Result<TelemetryGuard> {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let filter = EnvFilter::try_new(&config.log_filter).context("parse log filter")?;

    let resource = Resource::builder().with_service_name(service).build();
    let builder = SdkTracerProvider::builder().with_resource(resource);
    // Without a collector spans go nowhere, but calls still have a trace id: the audit notes it.
    let provider = match &config.otlp_endpoint {
        None => builder.build(),
        Some(endpoint) => {
            let exporter = SpanExporter::builder()
                .with_tonic()
                .with_endpoint(endpoint)
                .build()
                .context("build OTLP exporter")?;
            builder.with_batch_exporter(exporter).build()
        }
    };
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer(service));

    tracing_subscriber::registry()
        // Whatever is logged: a call's trace goes into the audit and on to other services.
        .with(spans.with_filter(LevelFilter::INFO))
        .with(tracing_subscriber::fmt::layer().json().with_writer(lines).with_filter(filter))
        .try_init()
        .context("install subscriber")?;
    Ok(TelemetryGuard(Some(provider)))
}

/// Returns the trace id of the current span, 32 hexadecimal digits; nothing outside a trace.
pub fn trace_id() -> Option<String> {
    let context = Span::current().context();
    let span = context.span();
    let span_context = span.span_context();
    span_context.is_valid().then(|| span_context.trace_id().to_string())
}

/// Returns a span for `request` that continues the caller's trace.
///
/// A path that `rules` do not know is not repeated: it may hold anything.
pub(crate) fn server_span<B>(request: &http::Request<B>, rules: &Rules) -> Span {
    let method = match rules.decide(request.uri().path()) {
        Decision::Open | Decision::Ruled(_) => request.uri().path(),
        Decision::Unknown => "unknown",
    };
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
