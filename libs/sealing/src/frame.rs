//! Fields put one after the other so that no two lists of fields give the same bytes.

use std::fmt;

/// Length that stands for an absent field; no field is this long.
const ABSENT: u32 = u32::MAX;

/// Bytes of length-prefixed fields: `u32` big-endian length, then the field.
///
/// What is hashed, signed or bound to a value is one, so that no two lists of fields agree by chance.
#[derive(Clone, Default)]
pub struct Frame(Vec<u8>);

/// Shows the length only: what is framed may be what is to be hidden.
impl fmt::Debug for Frame {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Frame({} bytes)", self.0.len())
    }
}

impl Frame {
    /// Starts with `label`, which names what is encoded and in which version.
    pub fn new(label: &'static str) -> Self {
        Self::default().text(label)
    }

    /// Adds bytes.
    pub fn bytes(mut self, field: &[u8]) -> Self {
        // Never taken: what makes fields bounds them far below 4 GiB.
        let length = u32::try_from(field.len()).unwrap_or(ABSENT - 1);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(field);
        self
    }

    /// Adds a text.
    pub fn text(self, field: &str) -> Self {
        self.bytes(field.as_bytes())
    }

    /// Adds an integer: 8 bytes, big-endian.
    pub fn integer(self, field: i64) -> Self {
        self.bytes(&field.to_be_bytes())
    }

    /// Adds bytes, or that there are none.
    pub fn optional(mut self, field: Option<&[u8]>) -> Self {
        if let Some(field) = field {
            return self.bytes(field);
        }
        self.0.extend_from_slice(&ABSENT.to_be_bytes());
        self
    }

    /// Returns all bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_each_other() {
        let one = Frame::new("x").text("ab").text("c");
        let other = Frame::new("x").text("a").text("bc");
        assert_ne!(one.as_slice(), other.as_slice());
        assert_eq!(one.as_slice(), b"\0\0\0\x01x\0\0\0\x02ab\0\0\0\x01c");
    }

    #[test]
    fn absent_is_not_empty() {
        let absent = Frame::new("x").optional(None);
        let empty = Frame::new("x").optional(Some(b""));
        assert_ne!(absent.as_slice(), empty.as_slice());
    }
}
