//! neurotriage-referral.
