//! JSON with limits: no deeper, larger or more ambiguous than a bundle has reason to be.

use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Deepest nesting; resources of R4 stay below 20.
pub const DEPTH_MAX: usize = 48;

/// Longest message of the JSON reader that is repeated, in characters.
const MESSAGE_CHARS_MAX: usize = 160;

/// Text that cannot be used as JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is too large.
    #[error("{bytes} bytes are too many; send at most {bytes_max}")]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        bytes_max: usize,
    },
    /// It is no JSON, or breaks a limit.
    #[error("{0}")]
    Syntax(String),
}

/// Reads a value of at most `bytes_max` bytes and `values_max` values; an object that names a member twice
/// is refused, because readers differ in which of the two they take.
///
/// # Errors
/// [`JsonError`]. Messages name what is wrong and where, and hold no values.
pub fn parse(bytes: &[u8], bytes_max: usize, values_max: usize) -> Result<Value, JsonError> {
    if bytes.len() > bytes_max {
        return Err(JsonError::TooLarge { bytes: bytes.len(), bytes_max });
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let left = Cell::new(values_max);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = Limited { left: &left, depth: 0 }.deserialize(&mut reader);
    let read = read.and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| JsonError::Syntax(message(&error)))
}

fn message(error: &serde_json::Error) -> String {
    error.to_string().chars().take(MESSAGE_CHARS_MAX).collect()
}

#[derive(Clone, Copy)]
struct Limited<'a> {
    left: &'a Cell<usize>,
    depth: usize,
}

impl Limited<'_> {
    fn count<E: serde::de::Error>(self) -> Result<(), E> {
        let Some(left) = self.left.get().checked_sub(1) else {
            return Err(E::custom("too many values; send fewer entries"));
        };
        self.left.set(left);
        Ok(())
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom(format_args!("nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Limited<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Limited<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("no finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("an object names a member twice"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(text.as_bytes(), 1_000, 100).unwrap_err().to_string()
    }

    #[test]
    fn json_is_read_as_it_is() {
        let text = "\u{feff}{\"a\":[1,-2,0.5,true,null,\"한\"],\"b\":{}}";
        let read = parse(text.as_bytes(), 1_000, 100).unwrap();
        assert_eq!(read, serde_json::json!({"a": [1, -2, 0.5, true, null, "한"], "b": {}}));
    }

    #[test]
    fn what_breaks_a_limit_is_refused() {
        // (what the row is for, text, part of the message)
        let deep = format!("{}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1));
        let many = format!("[{}1]", "1,".repeat(120));
        let table = [
            ("empty", "", "EOF"),
            ("truncated", "{\"a\":", "EOF"),
            ("not a number", "{\"a\":NaN}", "expected value"),
            ("infinite", "[1e999]", "number out of range"),
            ("two values", "{} {}", "trailing characters"),
            ("twice", "{\"a\":1,\"a\":2}", "names a member twice"),
            ("deep", &deep, "nested deeper than 48"),
            ("many", &many, "too many values"),
            ("half a character", "\"\\ud800\"", "escape"),
        ];
        for (case, text, message) in table {
            let told = refused(text);
            assert!(told.contains(message), "case: {case}: {told}");
        }
        let endless = "[".repeat(900);
        assert!(refused(&endless).contains("nested deeper"));
        let large = parse(&[b' '; 1_001], 1_000, 100);
        assert_eq!(large, Err(JsonError::TooLarge { bytes: 1_001, bytes_max: 1_000 }));
    }
}
