//! Passing the caller's token on: what one service asks another, it asks for its caller.
//!
//! The layer runs every handler with its caller at hand; [`Relay`] adds that caller's token to outgoing
//! calls. A task that a handler spawns, and a stream that it returns, know the caller only if they are wrapped
//! by [`InCurrentCaller::in_current_caller`].
//!
//! Put it on channels to this suite's own services only: whoever gets the token may act as the caller.

use std::{fmt, future::Future};

use tokio::task::futures::TaskLocalFuture;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

tokio::task_local! {
    static CURRENT: Option<Caller>;
}

/// The bearer token of a call that was let in, for calls that follow from it.
///
/// Also in the extensions of the request that it came with. To name the caller of one outgoing call, put it into that
/// request's extensions.
#[derive(Clone)]
pub struct Caller(MetadataValue<Ascii>);

/// Never shows the token.
impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Caller(..)")
    }
}

impl Caller {
    /// Returns the caller of `token`, which was verified; nothing if it is no text for metadata.
    pub(crate) fn new(token: &str) -> Option<Self> {
        let mut value = MetadataValue::try_from(format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }

    /// Returns the caller whose call is being handled, if it came with a token.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok().flatten()
    }
}

/// Runs `future` with `caller` at hand.
pub(crate) fn scope<F: Future>(
    caller: Option<Caller>,
    future: F,
) -> TaskLocalFuture<Option<Caller>, F> {
    CURRENT.scope(caller, future)
}

/// Futures that remember their caller.
pub trait InCurrentCaller: Future + Sized {
    /// Returns the future, with the caller of now at hand wherever it runs, such as in a task of its own.
    fn in_current_caller(self) -> TaskLocalFuture<Option<Caller>, Self> {
        CURRENT.scope(Caller::current(), self)
    }
}

impl<F: Future> InCurrentCaller for F {}

/// Adds the caller's token to outgoing calls: the one of the request's extensions, or else the current one.
///
/// A call without a caller, or with metadata `authorization` of its own, goes out as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Relay;

impl Interceptor for Relay {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if request.metadata().contains_key("authorization") {
            return Ok(request);
        }
        let named = request.extensions().get::<Caller>().cloned();
        if let Some(caller) = named.or_else(Caller::current) {
            request.metadata_mut().insert("authorization", caller.0);
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relayed(request: Request<()>) -> Option<String> {
        let request = Relay.call(request).unwrap();
        let value = request.metadata().get("authorization")?;
        assert!(value.is_sensitive() || value == "own");
        Some(value.to_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn the_token_of_the_current_call_goes_with_it() {
        let caller = Caller::new("a.b.c");
        assert_eq!(relayed(Request::new(())), None);
        let sent = scope(caller.clone(), async { relayed(Request::new(())) }).await;
        assert_eq!(sent.as_deref(), Some("Bearer a.b.c"));

        let sent = scope(caller.clone(), async {
            let bare = tokio::spawn(async { relayed(Request::new(())) });
            let kept = tokio::spawn(async { relayed(Request::new(())) }.in_current_caller());
            (bare.await.unwrap(), kept.await.unwrap())
        });
        assert_eq!(sent.await, (None, Some("Bearer a.b.c".to_owned())));

        let sent = scope(caller, async {
            let mut named = Request::new(());
            named.extensions_mut().insert(Caller::new("d.e.f").unwrap());
            let mut own = Request::new(());
            own.metadata_mut().insert("authorization", MetadataValue::from_static("own"));
            (relayed(named), relayed(own))
        });
        let expected = (Some("Bearer d.e.f".to_owned()), Some("own".to_owned()));
        assert_eq!(sent.await, expected);
    }

    #[test]
    fn a_token_is_never_printed() {
        let caller = Caller::new("a.b.c").unwrap();
        assert_eq!(format!("{caller:?}"), "Caller(..)");
        assert!(!format!("{:?}", caller.0).contains("a.b.c"));
        assert!(Caller::new("a\nb").is_none());
    }
}
