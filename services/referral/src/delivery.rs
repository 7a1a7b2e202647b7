//! Delivers events to where hospitals read them: takes what is due from the outbox, sends it, writes
//! what came of it.
//!
//! `nats` and `webhook` send; `worker` decides when, by the outbox of the life cycle. None of them
//! knows tonic or sea-orm.

pub mod nats;
pub mod webhook;
mod worker;

use std::time::Duration;

pub use self::worker::run;
use self::{nats::NatsSink, webhook::WebhookSink};
use crate::lifecycle::outbox::{Letter, Policy};

/// Where events go, and how persistently.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Where to.
    pub sink: Sink,
    /// When an event is tried again, and when it is given up.
    pub policy: Policy,
}

/// Where events go.
#[derive(Clone, Debug)]
pub enum Sink {
    /// To a JetStream stream of NATS.
    Nats(NatsSink),
    /// To an HTTP endpoint.
    Webhook(WebhookSink),
}

/// Why a receiver does not have an event, as far as is known.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It may have it or not; it may be sent again.
    #[error("{what}")]
    Failed {
        /// What happened.
        what: String,
        /// How long the receiver wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// It will never take it.
    #[error("{what}")]
    Refused {
        /// What it said.
        what: String,
    },
}

impl SendError {
    /// Returns the error for a failure after which the receiver asked for nothing.
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::Failed { what: what.into(), retry_after: None }
    }
}

impl Sink {
    /// Returns false while it is known that nothing can be sent: events then wait untried, and
    /// without growing old.
    pub fn is_ready(&self) -> bool {
        match self {
            Self::Nats(nats) => nats.is_connected(),
            // Whether it answers shows when something is sent.
            Self::Webhook(_) => true,
        }
    }

    /// Sends one event and waits until the receiver has confirmed it.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, letter: &Letter) -> Result<(), SendError> {
        match self {
            Self::Nats(nats) => nats.send(letter).await,
            Self::Webhook(webhook) => webhook.send(letter).await,
        }
    }
}
