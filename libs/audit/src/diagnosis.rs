//! What was done to a chain, from the first row that does not follow and some rows after it.

use super::{
    Hash,
    chain::{Head, Row},
    verify::{Break, Part},
};

/// How far a row may have been renumbered for that to be told from an alteration.
const RENUMBERED_MAX: i64 = 1024;

/// Returns what is wrong, where a row `expected` after `previous` should stand and `rows`, of
/// which there is one at least, stand.
pub(super) fn diagnose(expected: i64, previous: &Hash, rows: &[Row], head: Option<&Head>) -> Break {
    let Some((row, later)) = rows.split_first() else {
        return Break::Removed { first: expected, last: expected };
    };
    // The row that belongs here, further on: with its number or another.
    let belongs = |row: &Row| row.hash == row.hash_at(previous, expected);
    let comes_later = later.iter().position(belongs);
    if row.sequence > expected {
        let last = row.sequence - 1;
        return match comes_later {
            Some(_) => Break::Reordered { sequence: expected, found: row.sequence },
            None => Break::Removed { first: expected, last },
        };
    }
    if row.sequence < expected {
        return Break::Inserted { first: row.sequence, last: row.sequence };
    }
    // What the row after it, or the head, takes this row's hash to be.
    let next = match later.first() {
        Some(next) => Some(next.previous_hash.as_slice()),
        None => head.filter(|head| head.sequence == expected).map(|head| head.hash.as_slice()),
    };
    if row.is_whole() {
        // It was made after another row than the one before it: one of the two is false.
        let genuine = expected > 1 && next == Some(row.hash.as_slice());
        return Break::Replaced { sequence: if genuine { expected - 1 } else { expected } };
    }
    if let Some(written_as) = written_as(row) {
        if written_as < expected {
            return Break::Inserted { first: written_as, last: expected - 1 };
        }
        return match comes_later {
            Some(_) => Break::Reordered { sequence: expected, found: written_as },
            None => Break::Removed { first: expected, last: written_as - 1 },
        };
    }
    if let Some(inserted) = comes_later {
        let last = later.get(inserted).map_or(expected, |row| row.sequence - 1);
        return Break::Inserted { first: expected, last };
    }
    let part = altered_part(expected, previous, row, next);
    Break::Altered { sequence: expected, part }
}

/// Returns the number that a row was written with, if it has another now.
fn written_as(row: &Row) -> Option<i64> {
    let near = (1..=RENUMBERED_MAX)
        .flat_map(|far| [row.sequence.checked_sub(far), row.sequence.checked_add(far)]);
    near.flatten()
        .filter(|&number| number > 0)
        .find(|&number| row.hash == row.hash_at(&row.previous_hash, number))
}

fn altered_part(expected: i64, previous: &Hash, row: &Row, next: Option<&[u8]>) -> Part {
    let right = row.hash_at(previous, expected);
    if row.hash == right {
        Part::PreviousHash
    } else if row.previous_hash == previous && next == Some(right.as_slice()) {
        Part::Hash
    } else {
        Part::Content
    }
}
