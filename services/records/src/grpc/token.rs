//! Tokens that say where a page or a watch goes on.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use neurotriage_domain::{FieldViolation, HospitalId};
use neurotriage_service_kit::audit::Call;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::convert;
use crate::{
    change::Position,
    error::{RecordsError, violation},
    records::{Read, both, limit},
};

/// Bytes of the hash of what a list was asked for.
const QUERY_BYTES: usize = 8;

/// A page of a list, as it is asked for.
pub(super) struct Asked<F> {
    pub(super) filters: F,
    pub(super) query: Query,
    /// Id after which the page begins; none for the first.
    pub(super) before: Option<Uuid>,
    /// Most rows on it.
    pub(super) limit: u32,
}

/// Returns what is asked for, with `filters`, or everything that is wrong with it.
pub(super) fn asked<F: Serialize>(
    list: List,
    call: &Call,
    filters: Read<F>,
    (page_token, page_size): (&str, u32),
) -> Result<Asked<F>, RecordsError> {
    let query = match &filters {
        Ok(filters) => Some(Query::new(list, &call.hospital_id, filters)?),
        Err(_) => None,
    };
    // With filters that can't be read, a token can be told from other text only.
    let before = match &query {
        Some(query) => query.read(page_token),
        None => last(list, None, page_token),
    };
    let page = both(convert::read(before), convert::read(limit(page_size)));
    let (filters, (before, limit)) = both(filters, page).map_err(RecordsError::Invalid)?;
    let query = query.ok_or_else(|| RecordsError::store("hash filters", "there are none"))?;
    Ok(Asked { filters, query, before, limit })
}

/// First byte of a token: what it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Patients = b'p' as isize,
    Search = b'f' as isize,
    Reports = b's' as isize,
    Links = b'l' as isize,
    Notes = b'n' as isize,
}

const CHANGES: u8 = b'c';

/// One list with everything it was asked for but the page: a token goes on with that list only.
pub(super) struct Query {
    list: List,
    hash: [u8; QUERY_BYTES],
}

impl Query {
    /// Returns the query of a list with these filters, of one hospital.
    fn new(
        list: List,
        hospital_id: &HospitalId,
        filters: &impl Serialize,
    ) -> Result<Self, RecordsError> {
        let filters = serde_json::to_vec(&(hospital_id.as_str(), filters))
            .map_err(|error| RecordsError::store("hash filters", error))?;
        let digest = Sha256::digest(filters);
        let mut hash = [0; QUERY_BYTES];
        hash.copy_from_slice(&digest[..QUERY_BYTES]);
        Ok(Self { list, hash })
    }

    /// Returns the id after which the page begins; none for the first.
    fn read(&self, text: &str) -> Result<Option<Uuid>, FieldViolation> {
        last(self.list, Some(&self.hash), text)
    }

    /// Returns the token of the page after `last`; empty if there is none.
    pub(super) fn next(&self, last: Option<Uuid>) -> String {
        let Some(last) = last else { return String::new() };
        let bytes = [&[self.list as u8], self.hash.as_slice(), last.as_bytes()].concat();
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// Returns the id in a token of `list`, for filters with this hash if they are known; none if the text is empty.
fn last(
    list: List,
    hash: Option<&[u8; QUERY_BYTES]>,
    text: &str,
) -> Result<Option<Uuid>, FieldViolation> {
    if text.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let id = bytes.as_deref().and_then(|bytes| {
        let (own, id) = bytes.strip_prefix(&[list as u8])?.split_at_checked(QUERY_BYTES)?;
        hash.is_none_or(|hash| own == hash).then_some(id)
    });
    id.and_then(|id| Uuid::from_slice(id).ok()).map(Some).ok_or_else(|| {
        let right =
            "the next_page_token of the page before, unchanged and with the same filters, or empty";
        violation("page_token", right)
    })
}

/// Returns the place that a watch goes on from; none if the text is empty.
pub(super) fn position(text: &str) -> Result<Option<Position>, FieldViolation> {
    if text.is_empty() {
        return Ok(None);
    }
    let refused =
        || violation("resume_token", "a resume_token of this service, unchanged, or empty");
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
    let numbers: [u8; 16] = bytes
        .strip_prefix(&[CHANGES])
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(refused)?;
    let packed = i128::from_be_bytes(numbers);
    let part = |number: i128| i64::try_from(number).map_err(|_| refused());
    let position = Position {
        transaction_id: part(packed >> 64)?,
        sequence: part(packed & i128::from(u64::MAX))?,
    };
    if position.transaction_id < 0 { Err(refused()) } else { Ok(Some(position)) }
}

/// Returns the token of a place.
pub(super) fn resume_token(position: Position) -> String {
    let packed = (i128::from(position.transaction_id) << 64) | i128::from(position.sequence);
    URL_SAFE_NO_PAD.encode([&[CHANGES], packed.to_be_bytes().as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(list: List, hospital: &str, filter: &str) -> Query {
        Query::new(list, &hospital.parse().unwrap(), &filter).unwrap()
    }

    #[test]
    fn a_page_token_fits_its_own_query_only() {
        let last = Uuid::now_v7();
        let own = query(List::Patients, "sample", "a");
        let text = own.next(Some(last));
        assert_eq!(own.read(&text).unwrap(), Some(last));
        assert_eq!(own.read("").unwrap(), None);
        assert_eq!(own.next(None), "");
        let others = [
            ("another list", query(List::Search, "sample", "a")),
            ("another hospital", query(List::Patients, "other", "a")),
            ("another filter", query(List::Patients, "sample", "b")),
        ];
        for (case, other) in others {
            assert!(other.read(&text).is_err(), "case: {case}");
        }
        for text in ["!", "AAAA", &last.to_string(), &format!("{text}A")] {
            assert!(own.read(text).is_err(), "{text}");
            assert!(super::last(List::Patients, None, text).is_err(), "{text}");
        }
        assert_eq!(super::last(List::Patients, None, &text).unwrap(), Some(last));
        assert!(super::last(List::Search, None, &text).is_err());
    }

    #[test]
    fn a_place_is_read_back() {
        for (transaction_id, sequence) in [(0, 0), (0, 7), (812, i64::MAX), (i64::MAX, i64::MAX)] {
            let place = Position { transaction_id, sequence };
            assert_eq!(position(&resume_token(place)).unwrap(), Some(place));
        }
        assert_eq!(position("").unwrap(), None);
        let negative = Position { transaction_id: -1, sequence: 1 };
        for text in [
            "!",
            "Yw",
            &resume_token(negative),
            &query(List::Notes, "s", "").next(Some(Uuid::nil())),
        ] {
            assert!(position(text).is_err(), "{text}");
        }
    }
}
