//! Which move leads from which state to which, and who may make it.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        pub enum $type {
            $($(#[$variant_doc])* #[serde(rename = $name)] $variant,)*
        }

        impl $type {
            /// Every one, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the stable name, as it is stored and sent.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns what `name` names; `None` if nothing.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == name)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use names;

names! {
    /// How far a referral is.
    State {
        /// Written, not yet sent: the hospital does not know of it.
        Draft = "draft",
        /// Sent to the hospital.
        Requested = "requested",
        /// Seen by the hospital, which has not answered.
        Received = "received",
        /// The hospital takes the patient.
        Accepted = "accepted",
        /// The hospital does not take the patient. Final.
        Declined = "declined",
        /// The patient has an appointment.
        Scheduled = "scheduled",
        /// The patient was seen. Final.
        Completed = "completed",
        /// Withdrawn by either side. Final.
        Cancelled = "cancelled",
        /// Not answered before its deadline. Final.
        Expired = "expired",
    }
}

names! {
    /// A kind of move.
    MoveKind {
        /// Send the draft to the hospital.
        Request = "request",
        /// Confirm that the request was seen.
        Receive = "receive",
        /// Take the patient.
        Accept = "accept",
        /// Not take the patient.
        Decline = "decline",
        /// Give an appointment, or another one.
        Schedule = "schedule",
        /// Say that the patient was seen.
        Complete = "complete",
        /// Withdraw.
        Cancel = "cancel",
        /// Close what nobody answered in time.
        Expire = "expire",
    }
}

names! {
    /// As whom somebody acts.
    Role {
        /// Who refers the patient.
        Referrer = "referrer",
        /// The hospital that the patient is referred to, or its records system.
        Hospital = "hospital",
        /// This system.
        System = "system",
    }
}

/// One legal move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// State before.
    pub from: State,
    /// The move.
    pub kind: MoveKind,
    /// State after.
    pub to: State,
    /// Who may make it.
    pub roles: &'static [Role],
}

const fn rule(from: State, kind: MoveKind, to: State, roles: &'static [Role]) -> Rule {
    Rule { from, kind, to, roles }
}

/// Every legal move; what is not here is refused.
///
/// # Source
/// Names and order follow `Task.status` of FHIR R5 (hl7.org/fhir/R5/task.html): `draft`,
/// `requested`, `received`, `accepted`, `rejected`, `completed`, `cancelled`; acceptance without a
/// receipt is usual there too. Ours: `scheduled` and `expired`, `declined` for `rejected`,
/// completion without an appointment (an emergency transfer has none), and that only what waits for
/// the hospital's answer expires: a patient who was taken on is never dropped by silence.
pub const RULES: &[Rule] = {
    use MoveKind::{Accept, Cancel, Complete, Decline, Expire, Receive, Request, Schedule};
    use Role::{Hospital, Referrer, System};
    use State::{
        Accepted, Cancelled, Completed, Declined, Draft, Expired, Received, Requested, Scheduled,
    };
    &[
        rule(Draft, Request, Requested, &[Referrer]),
        rule(Draft, Cancel, Cancelled, &[Referrer]),
        rule(Draft, Expire, Expired, &[System]),
        rule(Requested, Receive, Received, &[Hospital]),
        rule(Requested, Accept, Accepted, &[Hospital]),
        rule(Requested, Decline, Declined, &[Hospital]),
        rule(Requested, Cancel, Cancelled, &[Referrer]),
        rule(Requested, Expire, Expired, &[System]),
        rule(Received, Accept, Accepted, &[Hospital]),
        rule(Received, Decline, Declined, &[Hospital]),
        rule(Received, Cancel, Cancelled, &[Referrer]),
        rule(Received, Expire, Expired, &[System]),
        rule(Accepted, Schedule, Scheduled, &[Hospital]),
        rule(Accepted, Complete, Completed, &[Hospital]),
        rule(Accepted, Cancel, Cancelled, &[Referrer, Hospital]),
        rule(Scheduled, Schedule, Scheduled, &[Hospital]),
        rule(Scheduled, Complete, Completed, &[Hospital]),
        rule(Scheduled, Cancel, Cancelled, &[Referrer, Hospital]),
    ]
};

impl State {
    /// Returns the rule for `kind` from this state; `None` if the move is not legal.
    pub fn rule(self, kind: MoveKind) -> Option<&'static Rule> {
        RULES.iter().find(|rule| rule.from == self && rule.kind == kind)
    }

    /// Returns the moves that anyone may make from this state; empty if it is final.
    pub fn legal(self) -> Vec<MoveKind> {
        RULES.iter().filter(|rule| rule.from == self).map(|rule| rule.kind).collect()
    }

    /// Returns true if no move leads out of it.
    pub fn is_final(self) -> bool {
        RULES.iter().all(|rule| rule.from != self)
    }

    /// Returns true if it waits for the hospital's answer, and so expires at the deadline.
    pub fn expires(self) -> bool {
        self.rule(MoveKind::Expire).is_some()
    }
}
