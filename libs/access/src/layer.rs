//! The check of every call, before its body is read.
//!
//! Who passes finds [`Identity`], [`Grant`] and, if a token came, [`Caller`] in the request's extensions.
//! Who does not gets a status in the answer's headers (trailers only), and the inner service is never asked.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use http::{HeaderMap, Request, Response, request::Parts};
use neurotriage_domain::{DomainError as _, HospitalId};
use tonic::Status;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    error::AccessError,
    grant::Grant,
    identity::Identity,
    relay::{self, Caller},
    rules::{Decision, Owner, Rule, Rules},
    scope::Permission,
    token::{self, Verifier},
};

/// Metadata by which a call shows that it did not come from this machine.
const PROXY_HEADERS: [&str; 5] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "via"];

/// How callers are known.
#[derive(Debug)]
pub(crate) enum Authenticator {
    /// By a token.
    Tokens(Verifier),
    /// Everyone on this machine is this one.
    Development(Box<Identity>),
}

impl Authenticator {
    async fn authenticate(
        &self,
        headers: &HeaderMap,
    ) -> Result<(Identity, Option<Caller>), AccessError> {
        match self {
            Self::Tokens(verifier) => {
                let token = token::bearer(headers)?;
                let identity = verifier.verify(token, SystemTime::now()).await?;
                Ok((identity, Caller::new(token)))
            }
            Self::Development(identity) => {
                if PROXY_HEADERS.iter().any(|name| headers.contains_key(*name)) {
                    return Err(AccessError::ProxiedWithoutTokens);
                }
                Ok((Identity::clone(identity), None))
            }
        }
    }
}

/// A call by a known caller of a hospital that was refused for want of a scope, before its service saw it.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Who called.
    pub identity: Identity,
    /// The caller's hospital.
    pub hospital_id: HospitalId,
    /// What the call needed, first of all.
    pub needed: Permission,
    /// Why it was refused, such as `SCOPE_MISSING`.
    pub reason: &'static str,
}

/// Keeps refusals. The caller's answer waits for it.
pub trait NoteRefusal: fmt::Debug + Send + Sync {
    /// Keeps one. Whether it could be kept changes nothing for the caller.
    fn note(&self, refusal: Refusal) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

pub(crate) struct Gate {
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) refusals: Option<Arc<dyn NoteRefusal>>,
    pub(crate) to_status: Box<dyn Fn(AccessError) -> Status + Send + Sync>,
}

/// A request's head that may pass.
struct Admitted {
    parts: Parts,
    grant: Grant,
    caller: Option<Caller>,
}

impl Gate {
    async fn admit(&self, mut parts: Parts) -> Result<Admitted, AccessError> {
        let (identity, caller) = self.authenticator.authenticate(&parts.headers).await?;
        let rule: Rule = match self.rules.decide(parts.uri.path()) {
            Decision::Ruled(rule) => rule,
            // Open calls do not come here; were one to, it has no rule.
            Decision::Unknown | Decision::Open => return Err(AccessError::RpcWithoutRule),
        };
        let grant = match rule.admit(&identity) {
            Ok(grant) => grant,
            Err(error) => {
                self.note(identity, rule, &error).await;
                return Err(error);
            }
        };
        parts.extensions.insert(identity);
        parts.extensions.insert(grant.clone());
        if let Some(caller) = &caller {
            parts.extensions.insert(caller.clone());
        }
        Ok(Admitted { parts, grant, caller })
    }

    /// Keeps that a call was refused that is about a hospital's data.
    async fn note(&self, identity: Identity, rule: Rule, error: &AccessError) {
        let (Some(refusals), Some(hospital_id)) = (&self.refusals, identity.hospital_id.clone())
        else {
            return;
        };
        let (Owner::Hospital | Owner::Patient, Some(&needed)) = (rule.owner, rule.needs.first())
        else {
            return;
        };
        refusals.note(Refusal { identity, hospital_id, needed, reason: error.reason() }).await;
    }

    fn refuse<B: Default>(&self, error: AccessError) -> Response<B> {
        tracing::info!(reason = error.reason(), "call refused");
        (self.to_status)(error).into_http()
    }
}

/// Puts the check in front of a server's services. Clones share it.
#[derive(Clone)]
pub struct AccessLayer(Arc<Gate>);

impl fmt::Debug for AccessLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AccessLayer").field(&self.0.authenticator).finish()
    }
}

impl AccessLayer {
    pub(crate) fn new(gate: Gate) -> Self {
        Self(Arc::new(gate))
    }
}

impl<S> Layer<S> for AccessLayer {
    type Service = AccessService<S>;

    fn layer(&self, inner: S) -> AccessService<S> {
        AccessService { inner, gate: Arc::clone(&self.0) }
    }
}

/// A service behind the check.
#[derive(Clone)]
pub struct AccessService<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S> fmt::Debug for AccessService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessService").finish_non_exhaustive()
    }
}

impl<S, B, A> Service<Request<B>> for AccessService<S>
where
    S: Service<Request<B>, Response = Response<A>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send,
    B: Send + 'static,
    A: Default,
{
    type Response = Response<A>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<A>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.gate.rules.decide(request.uri().path()) == Decision::Open {
            return Box::pin(self.inner.call(request));
        }
        let gate = Arc::clone(&self.gate);
        // The one that was polled ready is the one to call.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let Admitted { parts, grant, caller } = match gate.admit(parts).await {
                Ok(admitted) => admitted,
                Err(error) => return Ok(gate.refuse(error)),
            };
            let answering = inner.call(Request::from_parts(parts, body));
            let answer = relay::scope(caller, answering).await?;
            if grant.may_answer() || is_error(answer.headers()) {
                return Ok(answer);
            }
            Ok(gate.refuse(AccessError::PatientNotChecked))
        })
    }
}

/// Tells an answer that is an error and nothing else: it gives out no data.
fn is_error(headers: &HeaderMap) -> bool {
    headers.get(Status::GRPC_STATUS).is_some_and(|code| code != "0")
}
