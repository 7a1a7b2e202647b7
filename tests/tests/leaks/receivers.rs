//! What leaves the services by itself: spans to a collector, events to a webhook.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use anyhow::Context as _;
use prost::Message;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::{Grpc, NamedService, UnaryService},
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

/// What came, as it came.
type Taken = Arc<Mutex<Vec<u8>>>;

/// `ExportTraceServiceRequest` of OTLP, with what is in it left as bytes: texts are in them as they are.
#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(bytes = "vec", repeated, tag = "1")]
    resource_spans: Vec<Vec<u8>>,
}

/// A collector of spans, over OTLP/gRPC.
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    taken: Taken,
    server: JoinHandle<()>,
}

impl Collector {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let taken = Taken::default();
        let server = Server::builder().add_service(TraceService(Arc::clone(&taken)));
        let server = tokio::spawn(async move {
            let _ = server.serve_with_incoming(TcpIncoming::from(listener)).await;
        });
        Ok(Self { endpoint, taken, server })
    }

    /// Returns the spans that came.
    pub(crate) fn spans(&self) -> Vec<u8> {
        self.taken.lock().unwrap().clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Clone)]
struct TraceService(Taken);

impl NamedService for TraceService {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl Service<http::Request<Body>> for TraceService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let take = Take(Arc::clone(&self.0));
        Box::pin(async move {
            Ok(Grpc::new(ProstCodec::<(), Export>::default()).unary(take, request).await)
        })
    }
}

struct Take(Taken);

impl UnaryService<Export> for Take {
    type Response = ();
    type Future = Ready<Result<Response<()>, Status>>;

    fn call(&mut self, request: Request<Export>) -> Self::Future {
        let spans = request.into_inner().resource_spans.concat();
        self.0.lock().unwrap().extend(spans);
        ready(Ok(Response::new(())))
    }
}

/// A webhook that never takes the first event, and takes all others.
pub(crate) struct Webhook {
    pub(crate) address: SocketAddr,
    taken: Taken,
    server: JoinHandle<()>,
}

impl Webhook {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let taken = Taken::default();
        let shared = Arc::clone(&taken);
        let server = tokio::spawn(async move {
            let mut status = "410 Gone";
            while let Ok((stream, _)) = listener.accept().await {
                // A connection that breaks off is opened again.
                if answer(stream, status, &shared).await.is_ok() {
                    status = "204 No Content";
                }
            }
        });
        Ok(Self { address, taken, server })
    }

    /// Returns the headers and bodies that came.
    pub(crate) fn deliveries(&self) -> Vec<u8> {
        self.taken.lock().unwrap().clone()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Answers one request with this status. The path is left out: it is the test's own.
async fn answer(stream: TcpStream, status: &str, taken: &Taken) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line).await?;
    let mut came = String::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().context("a length")?;
        }
        came.push_str(&line);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await?;
    let mut taken = taken.lock().unwrap();
    taken.extend(came.into_bytes());
    taken.extend(body);
    Ok(())
}
