//! Identifiers of SNOMED CT.

/// Fewest and most digits of an identifier.
const DIGITS: std::ops::RangeInclusive<usize> = 6..=18;
/// Verhoeff's permutation, which each place from the right applies once more.
const PERMUTATION: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];

/// Returns whether `text` is an identifier of SNOMED CT by its length and check digit; not whether anything has it.
///
/// # Source
/// SNOMED International, "SCTID" (6 to 18 digits, no leading zero), with Verhoeff's dihedral check digit.
pub fn is_sctid(text: &str) -> bool {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if !is_number || !DIGITS.contains(&text.len()) {
        return false;
    }
    let check = text.bytes().rev().enumerate().fold(0, |check, (place, digit)| {
        let mut digit = digit - b'0';
        for _ in 0..place % 8 {
            digit = PERMUTATION.get(usize::from(digit)).copied().unwrap_or_default();
        }
        product(check, digit)
    });
    check == 0
}

/// The product of two elements of the dihedral group of order ten, each 0 to 9.
fn product(a: u8, b: u8) -> u8 {
    match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + b - 5) % 5 + 5,
        (false, true) => (a + 5 - b) % 5 + 5,
        (false, false) => (a + 5 - b) % 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_has_its_check_digit() {
        for right in ["83251001", "25064002", "7771000", "51440002"] {
            assert!(is_sctid(right), "{right}");
        }
        for wrong in ["", "83251002", "82351001", "083251001", "8325100x", "1234567890123456789"] {
            assert!(!is_sctid(wrong), "{wrong}");
        }
    }
}
