//! Calls that were refused before the service saw them.

use std::{future::Future, pin::Pin, time::Duration};

use neurotriage_access::{
    NoteRefusal, Refusal,
    scope::{self, Resource},
};
use neurotriage_audit::{Action, Detail, Outcome};
use tokio::time::timeout;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{AuditError, AuditLog, Call};

/// Longest that a refused caller waits for the entry.
const NOTE_TIMEOUT: Duration = Duration::from_secs(2);

/// An entry could not be written.
#[derive(Debug, thiserror::Error)]
enum NotNoted {
    /// Too many are being written.
    #[error("too many refusals at a time")]
    Busy,
    /// It took too long.
    #[error("database does not answer in time")]
    Late,
    #[error("caller can't be named")]
    Unnamed,
    #[error(transparent)]
    Audit(#[from] AuditError),
}

impl NoteRefusal for AuditLog {
    fn note(&self, refusal: Refusal) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let log = self.clone();
        // A task of its own: who hangs up is noted too.
        let noting = async move {
            let noted = match timeout(NOTE_TIMEOUT, log.note_refusal(&refusal)).await {
                Ok(noted) => noted,
                Err(_) => Err(NotNoted::Late),
            };
            if let Err(error) = noted {
                tracing::warn!(%error, reason = refusal.reason, "refused call is not in the audit");
            }
        };
        let noting = tokio::spawn(noting.in_current_span());
        Box::pin(async move {
            if noting.await.is_err() {
                tracing::error!("note of a refused call ended early");
            }
        })
    }
}

impl AuditLog {
    async fn note_refusal(&self, refusal: &Refusal) -> Result<(), NotNoted> {
        let _slot = self.refusals.try_acquire().map_err(|_| NotNoted::Busy)?;
        let call = Call::refused(refusal).map_err(|_| NotNoted::Unnamed)?;
        let mut unit = self.begin(&call).await?;
        let (action, kind) = (action(refusal.needed.action), kind(refusal.needed.resource));
        let detail = Detail::none().reason(refusal.reason);
        unit.note_outcome(action, kind, None, detail, Outcome::Denied)?;
        Ok(unit.commit("commit audit of refused call", Uuid::now_v7()).await?)
    }
}

fn action(needed: scope::Action) -> Action {
    match needed {
        scope::Action::Create => Action::Create,
        scope::Action::Read => Action::Read,
        scope::Action::Update => Action::Update,
        scope::Action::Delete => Action::Delete,
        scope::Action::Search => Action::Search,
    }
}

fn kind(needed: Resource) -> &'static str {
    match needed {
        Resource::Patient => "patient",
        Resource::SymptomReport => "symptom_report",
        Resource::Note => "note",
        Resource::Study => "study",
        Resource::Segmentation => "segmentation",
        Resource::Model => "model",
        Resource::Training => "training",
        Resource::Assessment => "assessment",
        Resource::Hospital => "hospital",
        Resource::Referral => "referral",
        Resource::Audit => "audit",
    }
}
