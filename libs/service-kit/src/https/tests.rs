//! Against a server with a certificate of its own, over real sockets.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use clap::Parser;
use neurotriage_access::{Access, AccessConfig};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::*;
use crate::status::chain;

/// Longer than any test waits for something that comes.
const PATIENT: Duration = Duration::from_secs(30);
/// Most bytes of a document in these tests.
const BYTES_MAX: usize = 1024;
const KEYS: &str = r#"{"keys": []}"#;

/// A server on loopback whose certificate is for `localhost`.
struct Issuer {
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    /// How often the keys were given out.
    given: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let certificate = cert.der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let given = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&given);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, given) = (acceptor.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    // A client that does not trust the certificate breaks off.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        answer(stream, &given).await;
                    }
                });
            }
        });
        Self { address, certificate, given }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    fn given(&self) -> usize {
        self.given.load(Ordering::SeqCst)
    }

    /// Returns a client that trusts this server.
    fn client(&self, time_max: Duration) -> HttpsFetcher {
        trusting(Some(self.certificate.clone()), time_max)
    }
}

fn trusting(certificate: Option<CertificateDer<'static>>, time_max: Duration) -> HttpsFetcher {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificate);
    let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_only();
    HttpsFetcher::over(builder.enable_http1().wrap_connector(connector()), time_max)
}

/// Answers one request by its path, and waits for the client's end.
async fn answer(mut stream: TlsStream<TcpStream>, given: &AtomicUsize) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap();
    let ok = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    let text = match path {
        "/keys" => {
            given.fetch_add(1, Ordering::SeqCst);
            format!("{}{KEYS}", ok(KEYS.len()))
        }
        "/moved" => "HTTP/1.1 302 Found\r\nlocation: /keys\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "/no-content" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "/away" => "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "/largest" => format!("{}{}", ok(BYTES_MAX), "x".repeat(BYTES_MAX)),
        "/large" => format!("{}{}", ok(BYTES_MAX + 1), "x".repeat(BYTES_MAX + 1)),
        "/endless" => {
            let piece = format!("400\r\n{}\r\n", "x".repeat(0x400));
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            format!("{head}{piece}{piece}{piece}")
        }
        "/cut" => {
            let _ = stream.write_all(format!("{}{{", ok(100)).as_bytes()).await;
            let _ = stream.shutdown().await;
            return;
        }
        "/stuck" => format!("{}{{", ok(100)),
        "/silent" => String::new(),
        "/no-http" => "SSH-2.0-OpenSSH\r\n\r\n".to_owned(),
        _ => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
    };
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.flush().await;
    let _ = stream.read_u8().await;
}

#[tokio::test]
async fn a_document_comes_over_tls() {
    let issuer = Issuer::start().await;
    let client = issuer.client(PATIENT);
    let document = client.fetch(&issuer.url("/keys"), BYTES_MAX).await.unwrap();
    assert_eq!(document, KEYS.as_bytes());
    let largest = client.fetch(&issuer.url("/largest"), BYTES_MAX).await.unwrap();
    assert_eq!(largest.len(), BYTES_MAX);
    assert_eq!(issuer.given(), 1);
}

#[tokio::test]
async fn what_is_no_document_is_refused() {
    let issuer = Issuer::start().await;
    let client = issuer.client(PATIENT);
    // (path, what the error says)
    let table = [
        ("/moved", "server answered 302"),
        ("/no-content", "server answered 204"),
        ("/absent", "server answered 404"),
        ("/away", "server answered 503"),
        ("/large", "larger than 1024 bytes"),
        ("/endless", "larger than 1024 bytes"),
        ("/cut", "read document"),
        ("/no-http", "ask for document"),
    ];
    for (path, said) in table {
        let error = client.fetch(&issuer.url(path), BYTES_MAX).await.unwrap_err();
        assert!(chain(error.as_ref()).contains(said), "{path}: {}", chain(error.as_ref()));
    }
    assert_eq!(issuer.given(), 0, "a redirect was followed");
}

#[tokio::test]
async fn a_server_that_is_slow_is_given_up() {
    let issuer = Issuer::start().await;
    let client = issuer.client(Duration::from_millis(500));
    for path in ["/silent", "/stuck"] {
        let error = client.fetch(&issuer.url(path), BYTES_MAX).await.unwrap_err();
        assert_eq!(error.to_string(), "document did not arrive in 0.5 s", "{path}");
    }
}

#[tokio::test]
async fn only_the_named_host_over_tls_is_believed() {
    let issuer = Issuer::start().await;
    let client = issuer.client(PATIENT);
    let port = issuer.address.port();
    // (what the row is for, client, address, what the error says)
    let table = [
        ("unknown certificate", trusting(None, PATIENT), issuer.url("/keys"), "UnknownIssuer"),
        ("another host", client.clone(), format!("https://127.0.0.1:{port}/keys"), "not valid for"),
        ("no TLS", client.clone(), format!("http://localhost:{port}/keys"), "ask for document"),
        ("no address", client, "https://local host/".to_owned(), "address is malformed"),
    ];
    for (case, client, url, said) in table {
        let error = client.fetch(&url, BYTES_MAX).await.unwrap_err();
        let text = chain(error.as_ref());
        assert!(text.contains(said) && !text.contains("/keys"), "case: {case}: {text}");
    }
    assert_eq!(issuer.given(), 0);
}

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    access: AccessConfig,
}

#[tokio::test]
async fn access_asks_for_the_keys_of_an_address_at_the_start() {
    let issuer = Issuer::start().await;
    let url = issuer.url("/keys");
    let settings =
        ["program", "--access-issuer", "a", "--access-audience", "b", "--access-jwks-url"];
    let program = Program::parse_from(settings.into_iter().chain([url.as_str()]));
    let listen = SocketAddr::from(([0, 0, 0, 0], 1));
    let fetcher: Arc<dyn FetchDocument> = Arc::new(issuer.client(PATIENT));
    Access::from_settings(&program.access, listen, Some(fetcher)).await.unwrap();
    assert_eq!(issuer.given(), 1);
    // The same with the system's roots, which do not know the certificate: it starts, and waits for keys.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    crate::access::open(&program.access, &listener).await.unwrap();
    assert_eq!(issuer.given(), 1);
}
