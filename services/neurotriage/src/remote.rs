//! Connections to running services, with a token where one is given.
//!
//! A token is read from a file at each connection and is never an argument, which every user of the machine could
//! read. It goes to another machine over `https` only, unless it is asked for by name.

use std::{
    fmt, fs,
    io::Read as _,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use neurotriage_service_kit::client;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Uri},
};

/// Most bytes of a file with a token: services take tokens of at most 8 KiB, and a line may end.
const FILE_BYTES_MAX: u64 = 8 * 1024 + 2;

/// Which token goes with the calls to a service.
#[derive(Args, Clone, Debug, Default)]
pub struct TokenArgs {
    /// File with the bearer token that goes with each call; none if not given.
    #[arg(long, env = "NEUROTRIAGE_TOKEN_FILE", global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Send the token even over plain http to another machine, where the network can read it.
    #[arg(long, global = true, requires = "token_file")]
    pub insecure_token: bool,
}

/// A channel whose calls carry the token, if there is one.
pub type ServiceChannel = InterceptedService<Channel, Token>;

/// Adds a bearer token to calls, or nothing.
#[derive(Clone, Default)]
pub struct Token(Option<MetadataValue<Ascii>>);

/// Never shows the token.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Token").field(&self.0.is_some()).finish()
    }
}

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// Returns a channel to the service at `endpoint`, which connects at its first call.
///
/// # Errors
/// If the endpoint is no URL, the file holds no token, or the token would go over an open line.
pub(crate) fn connect(endpoint: &str, args: &TokenArgs) -> anyhow::Result<ServiceChannel> {
    let channel = client::channel(endpoint)?;
    let token = match &args.token_file {
        None => Token::default(),
        Some(file) => {
            ensure!(
                args.insecure_token || is_private(endpoint),
                "the token would go to {endpoint} in plain http; give an https:// endpoint, or \
                 --insecure-token if something else encrypts the way there"
            );
            if is_readable_by_others(file) {
                let file = file.display();
                eprintln!("warning: others may read the token in {file}; `chmod 600 {file}` helps");
            }
            Token::read(file).with_context(|| format!("read token in {}", file.display()))?
        }
    };
    Ok(InterceptedService::new(channel, token))
}

impl Token {
    /// Returns the token in a file: its one line.
    fn read(file: &Path) -> anyhow::Result<Self> {
        let mut text = Vec::new();
        fs::File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
        ensure!(
            text.len() as u64 <= FILE_BYTES_MAX,
            "file is larger than a token, which has 8 KiB"
        );
        let text = text.trim_ascii();
        ensure!(!text.is_empty(), "file is empty");
        if !text.iter().all(u8::is_ascii_graphic) {
            bail!(
                "file holds something else than one token; give the token alone, without `Bearer`"
            );
        }
        let value = MetadataValue::try_from([b"Bearer ", text].concat());
        let mut value = value.ok().context("token is no text for metadata")?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

/// Returns whether nobody on the way to `endpoint` can read along: by TLS, or since there is no way.
fn is_private(endpoint: &str) -> bool {
    let Ok(uri) = endpoint.parse::<Uri>() else { return false };
    if uri.scheme_str() == Some("https") {
        return true;
    }
    let Some(host) = uri.host() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match address {
        Ok(address) => address.to_canonical().is_loopback(),
        // RFC 6761, 6.3: it never leaves the machine.
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(unix)]
fn is_readable_by_others(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    /// Read by the group and by everyone.
    const OTHERS: u32 = 0o044;
    fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & OTHERS != 0)
}

#[cfg(not(unix))]
fn is_readable_by_others(_file: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(file: &Path) -> TokenArgs {
        TokenArgs { token_file: Some(file.to_owned()), insecure_token: false }
    }

    #[test]
    fn a_token_stays_on_this_machine_or_goes_encrypted() {
        // (endpoint, whether a token may go there)
        let table = [
            ("https://segmentation.example", true),
            ("https://10.0.0.7:50052", true),
            ("http://127.0.0.1:50052", true),
            ("http://127.8.8.8:50052", true),
            ("http://[::1]:50052", true),
            ("http://localhost:50052", true),
            ("http://segmentation.example:50052", false),
            ("http://10.0.0.7:50052", false),
            ("http://localhost.example:50052", false),
            ("http://127.0.0.1.example:50052", false),
            ("http://localhost@other.example:50052", false),
            ("http://0.0.0.0:50052", false),
            ("segmentation:50052", false),
            ("", false),
        ];
        for (endpoint, private) in table {
            assert_eq!(is_private(endpoint), private, "endpoint: {endpoint}");
        }
    }

    #[tokio::test]
    async fn an_open_line_must_be_asked_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "a.b.c").unwrap();
        let open = "http://segmentation.example:50052";
        let error = connect(open, &args(file.path())).unwrap_err().to_string();
        assert!(error.contains("--insecure-token") && !error.contains("a.b.c"), "{error}");
        connect(open, &TokenArgs { insecure_token: true, ..args(file.path()) }).unwrap();
        connect(open, &TokenArgs::default()).unwrap();
        connect("http://127.0.0.1:1", &args(file.path())).unwrap();
        let absent = connect("http://127.0.0.1:1", &args(Path::new("/absent"))).unwrap_err();
        assert!(format!("{absent:#}").contains("read token in /absent"), "{absent:#}");
    }

    #[test]
    fn a_file_holds_one_token() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let long = "x".repeat(8 * 1024 + 3);
        // (content, phrase of the error)
        let table = [
            ("", "empty"),
            ("\n\n", "empty"),
            ("Bearer a.b.c", "without `Bearer`"),
            ("a.b.c\nd.e.f", "something else"),
            ("a.b.\u{e9}", "something else"),
            (long.as_str(), "larger"),
        ];
        for (content, phrase) in table {
            fs::write(file.path(), content).unwrap();
            let error = Token::read(file.path()).unwrap_err().to_string();
            assert!(error.contains(phrase), "{error}");
        }
        fs::write(file.path(), " a.b.c\r\n").unwrap();
        let mut token = Token::read(file.path()).unwrap();
        assert_eq!(format!("{token:?}"), "Token(true)");
        let request = token.call(Request::new(())).unwrap();
        let sent = request.metadata().get("authorization").unwrap();
        assert_eq!(sent, "Bearer a.b.c");
        assert!(sent.is_sensitive());
        let bare = Token::default().call(Request::new(())).unwrap();
        assert!(bare.metadata().get("authorization").is_none());
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_should_read_a_token() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, others) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_readable_by_others(file.path()), others, "mode: {mode:o}");
        }
    }
}
