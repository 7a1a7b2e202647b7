//! Keys that only tests have.

use neurotriage_referral::store::Ledger;
use neurotriage_sealing::Keyring;
use sea_orm::DatabaseConnection;

pub(crate) const KEYS: &str = "seal:s1:active:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=,\
    index:i1:active:ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A=,\
    audit:a1:active:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpbXF1eX2A=";

pub(crate) fn keyring() -> Keyring {
    Keyring::parse(KEYS).expect("the keys of the tests")
}

/// Returns what stores of a test work with.
pub(crate) fn ledger(db: &DatabaseConnection) -> Ledger {
    Ledger::new(db.clone(), &keyring()).expect("a key for each use")
}
