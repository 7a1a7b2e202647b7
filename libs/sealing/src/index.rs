//! Keyed hashes of values, to find rows by what can't be read.
//!
//! A token is `i1.<key id>.<base64url of an HMAC-SHA-256, cut short>` over the normal form of the
//! value. The HMAC's key is derived by HKDF-SHA-256 from the index key for one table, column,
//! kind of search and scope (a tenant), so tokens of different columns or tenants can't be
//! compared.
//!
//! Equal values have equal tokens: whoever reads the database sees which rows agree and how often
//! a value occurs, and may guess common ones from that. Prefix tokens show more: which names begin
//! alike. The limits on prefixes, and hashes cut so short that values share them, blur both.

use std::{collections::BTreeSet, fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{
    keyring::{KEY_BYTES, Key, KeyId, KeyUse, Keyring, KeyringError, Keys},
    name::{FoldedName, least},
    normal::Normal,
};
use crate::frame::Frame;

/// Shortest hash of a token.
pub const TOKEN_BYTES_MIN: usize = 2;
/// Longest hash of a token.
pub const TOKEN_BYTES_MAX: usize = 32;
/// Most characters of an indexed prefix: beyond, a prefix is the name.
pub const PREFIX_CHARS_MAX: usize = 8;
/// Most words that are searched for.
pub const PREFIX_WORDS_MAX: usize = 8;
/// Most words of a name, and pieces of them, that are indexed.
pub const PREFIX_STARTS_MAX: usize = 16;

const VERSION: &str = "i1";

/// A column that is searched for whole values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexColumn {
    /// Table.
    pub table: &'static str,
    /// Column.
    pub column: &'static str,
    /// How values are brought to one spelling.
    pub normal: Normal,
    /// Length of the hash, 2 to 32 bytes. 16 or more where tokens must be unique; less makes
    /// values share tokens, and the reader compares what it opened.
    pub token_bytes: usize,
}

/// A column of names that is searched for how their words begin, by the rules of [`FoldedName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixColumn {
    /// Table.
    pub table: &'static str,
    /// Column.
    pub column: &'static str,
    /// Length of the hash, 2 to 32 bytes.
    pub token_bytes: usize,
    /// Fewest characters that can be searched for, from 1; one is enough in Hangul, Chinese characters and kana.
    pub chars_min: usize,
    /// Most characters that are indexed, up to [`PREFIX_CHARS_MAX`].
    pub chars_max: usize,
}

/// Why no token can be made. No variant holds a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The limits of a column contradict themselves.
    #[error("index of {table}.{column} has limits that can't be met")]
    Limits {
        /// Table.
        table: &'static str,
        /// Column.
        column: &'static str,
    },
    /// Nothing is left of the value in its normal form.
    #[error("value has nothing to search for")]
    Nothing,
    /// Every word is too short to search for.
    #[error("a word must have at least {chars_min} characters, or be Hangul, Chinese or kana")]
    Short {
        /// Fewest characters.
        chars_min: usize,
    },
    /// There are too many words to search for.
    #[error("at most {PREFIX_WORDS_MAX} words can be searched for")]
    ManyWords,
}

/// A keyed hash as it is stored and compared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(String);

impl Token {
    /// Returns the text to store or compare.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the text to store or compare.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.0.rsplit_once('.').map_or("", |(start, _)| start);
        write!(formatter, "Token({named})")
    }
}

/// Makes tokens: with the active key to store, with every key to search.
#[derive(Clone, Debug)]
pub struct Indexer {
    keys: Arc<Keys>,
}

impl Indexer {
    /// Makes tokens with the keys for it in `keyring`.
    ///
    /// # Errors
    /// [`KeyringError::NoActive`] if there is none.
    pub fn new(keyring: &Keyring) -> Result<Self, KeyringError> {
        Ok(Self { keys: keyring.keys(KeyUse::Index)? })
    }

    /// Returns whether rows may hold tokens of several keys.
    pub fn is_rotating(&self) -> bool {
        self.keys.all().nth(1).is_some()
    }

    /// Returns the token to store for `value`. `scope` is the tenant.
    ///
    /// # Errors
    /// [`IndexError::Nothing`], [`IndexError::Limits`].
    pub fn token(
        &self,
        column: &IndexColumn,
        scope: &str,
        value: &str,
    ) -> Result<Token, IndexError> {
        exact(self.keys.active(), column, scope, value)
    }

    /// Returns the tokens that a row with `value` may have, that of the active key first.
    ///
    /// # Errors
    /// As [`Indexer::token`].
    pub fn candidates(
        &self,
        column: &IndexColumn,
        scope: &str,
        value: &str,
    ) -> Result<Vec<Token>, IndexError> {
        self.keys.all().map(|key| exact(key, column, scope, value)).collect()
    }

    /// Returns the tokens to store for how the words of the name `value` begin, sorted, so that their order
    /// tells nothing. Words and pieces after the sixteenth, and those shorter than the least prefix, have none.
    ///
    /// # Errors
    /// [`IndexError::Limits`].
    pub fn prefix_tokens(
        &self,
        column: &PrefixColumn,
        scope: &str,
        value: &str,
    ) -> Result<Vec<Token>, IndexError> {
        check(column)?;
        let mut tokens = BTreeSet::new();
        let hasher = Hasher::prefix(self.keys.active(), column, scope);
        for start in FoldedName::read(value).starts().take(PREFIX_STARTS_MAX) {
            let ends = start.char_indices().map(|(at, letter)| at + letter.len_utf8());
            let ends: Vec<usize> = ends.take(column.chars_max).collect();
            for &end in ends.iter().skip(least(&start, column.chars_min) - 1) {
                tokens.insert(hasher.token(&start[..end]));
            }
        }
        Ok(tokens.into_iter().collect())
    }

    /// Returns, for each word of `typed` that is long enough, the tokens of which a row must have one. A word
    /// longer than what is indexed is cut: the reader compares what it opened, by [`FoldedName::begins_like`].
    ///
    /// Among them is the token of the word as it is written, accents, hyphens and all: rows that were indexed before
    /// these were left out have that one alone, until they are indexed again.
    ///
    /// # Errors
    /// [`IndexError`], each variant.
    pub fn prefix_candidates(
        &self,
        column: &PrefixColumn,
        scope: &str,
        typed: &str,
    ) -> Result<Vec<Vec<Token>>, IndexError> {
        check(column)?;
        let typed = searchable(typed, column.chars_min)?;
        let hashers: Vec<Hasher<'_>> =
            self.keys.all().map(|key| Hasher::prefix(key, column, scope)).collect();
        let candidates = typed.words().iter().filter_map(|word| {
            let mut tokens = BTreeSet::new();
            for spelling in word.spellings(column.chars_min) {
                let prefix: Zeroizing<String> =
                    Zeroizing::new(spelling.chars().take(column.chars_max).collect());
                tokens.extend(hashers.iter().map(|hasher| hasher.token(&prefix)));
            }
            (!tokens.is_empty()).then(|| tokens.into_iter().collect())
        });
        Ok(candidates.collect())
    }

    /// Returns whether a stored token is of another key than the active one.
    pub fn needs_rotation(&self, stored: &str) -> bool {
        let key_id = self.keys.active().id();
        let named = stored.rsplit_once('.').map(|(start, _)| start);
        named.and_then(|start| start.strip_prefix("i1.")) != Some(key_id.as_str())
    }
}

/// Checks that `typed` can be searched for in a column with this least number of characters.
///
/// # Errors
/// [`IndexError::Nothing`], [`IndexError::Short`], [`IndexError::ManyWords`].
pub fn check_prefix(typed: &str, chars_min: usize) -> Result<(), IndexError> {
    searchable(typed, chars_min).map(drop)
}

fn searchable(typed: &str, chars_min: usize) -> Result<FoldedName, IndexError> {
    let typed = FoldedName::read(typed);
    if typed.spaced() == 0 {
        return Err(IndexError::Nothing);
    }
    if typed.spaced() > PREFIX_WORDS_MAX {
        return Err(IndexError::ManyWords);
    }
    if !typed.is_searchable(chars_min) {
        return Err(IndexError::Short { chars_min });
    }
    Ok(typed)
}

fn check(column: &PrefixColumn) -> Result<(), IndexError> {
    let PrefixColumn { table, column, token_bytes, chars_min, chars_max } = *column;
    let right = (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token_bytes)
        && (1..=chars_max).contains(&chars_min)
        && chars_max <= PREFIX_CHARS_MAX;
    if right { Ok(()) } else { Err(IndexError::Limits { table, column }) }
}

fn exact(key: &Key, column: &IndexColumn, scope: &str, value: &str) -> Result<Token, IndexError> {
    let IndexColumn { table, column, normal, token_bytes } = *column;
    if !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token_bytes) {
        return Err(IndexError::Limits { table, column });
    }
    let normal = normal.apply(value);
    if normal.is_empty() {
        return Err(IndexError::Nothing);
    }
    let info =
        Frame::new("neurotriage.index.v1").text("exact").text(table).text(column).text(scope);
    Ok(Hasher::new(key, &info, token_bytes).token(&normal))
}

struct Hasher<'a> {
    key_id: &'a KeyId,
    mac: Hmac<Sha256>,
    token_bytes: usize,
}

impl<'a> Hasher<'a> {
    fn prefix(key: &'a Key, column: &PrefixColumn, scope: &str) -> Self {
        let info = Frame::new("neurotriage.index.v1")
            .text("prefix")
            .text(column.table)
            .text(column.column)
            .text(scope);
        Self::new(key, &info, column.token_bytes)
    }

    #[expect(clippy::expect_used, reason = "lengths are constants that the functions allow")]
    fn new(key: &'a Key, info: &Frame, token_bytes: usize) -> Self {
        let mut derived = Zeroizing::new([0; KEY_BYTES]);
        Hkdf::<Sha256>::new(None, key.secret())
            .expand(info.as_slice(), derived.as_mut_slice())
            .expect("32 bytes are less than 255 hashes");
        let mac = Hmac::new_from_slice(derived.as_slice()).expect("an HMAC takes any key");
        Self { key_id: key.id(), mac, token_bytes }
    }

    fn token(&self, normal: &str) -> Token {
        let hash = self.mac.clone().chain_update(normal.as_bytes()).finalize().into_bytes();
        let hash = hash.get(..self.token_bytes).unwrap_or(&hash);
        Token(format!("{VERSION}.{}.{}", self.key_id, URL_SAFE_NO_PAD.encode(hash)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NUMBER: IndexColumn = IndexColumn {
        table: "patient",
        column: "medical_record_number",
        normal: Normal::Text,
        token_bytes: 16,
    };
    const NAME: PrefixColumn = PrefixColumn {
        table: "patient",
        column: "name",
        token_bytes: 8,
        chars_min: 2,
        chars_max: 5,
    };
    const OLD: &str = "index:a:STATE:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
    const NEW: &str = "index:b:active:ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A=";

    fn before() -> Indexer {
        Indexer::new(&Keyring::parse(&OLD.replace("STATE", "active")).unwrap()).unwrap()
    }

    fn after() -> Indexer {
        let text = format!("{}\n{NEW}", OLD.replace("STATE", "retired"));
        Indexer::new(&Keyring::parse(&text).unwrap()).unwrap()
    }

    /// Whether a search for `typed` finds a row named `name`.
    fn found(name: &str, typed: &str) -> bool {
        let stored = before().prefix_tokens(&NAME, "t", name).unwrap();
        let wanted = before().prefix_candidates(&NAME, "t", typed).unwrap();
        wanted.iter().all(|any| any.iter().any(|token| stored.contains(token)))
    }

    /// The value is that of `tools/sealing_vectors.py`.
    #[test]
    fn the_stored_form_is_fixed() {
        let token = before().token(&NUMBER, "sample", " 12-34A ").unwrap();
        assert_eq!(token.as_str(), "i1.a.4f_K5Pm0YDvpde7Hr4-x1A");
        assert_eq!(format!("{token:?}"), "Token(i1.a)");
    }

    #[test]
    fn tokens_tell_columns_scopes_and_searches_apart() {
        let indexer = before();
        let token = indexer.token(&NUMBER, "t", "12").unwrap();
        assert_eq!(token, indexer.token(&NUMBER, "t", "１２ ").unwrap());
        let others = [
            indexer.token(&NUMBER, "t", "13").unwrap(),
            indexer.token(&NUMBER, "u", "12").unwrap(),
            indexer.token(&IndexColumn { column: "name", ..NUMBER }, "t", "12").unwrap(),
            indexer.token(&IndexColumn { table: "person", ..NUMBER }, "t", "12").unwrap(),
        ];
        for other in &others {
            assert_ne!(&token, other);
        }
        let exact = IndexColumn { column: "name", token_bytes: 8, ..NUMBER };
        let whole = indexer.token(&exact, "t", "kim").unwrap();
        assert!(!indexer.prefix_tokens(&NAME, "t", "kim").unwrap().contains(&whole));
    }

    #[test]
    fn a_search_finds_rows_of_retired_keys() {
        let (before, after) = (before(), after());
        let old = before.token(&NUMBER, "t", "12").unwrap();
        assert_eq!(after.candidates(&NUMBER, "t", "12").unwrap()[1], old);
        assert!(after.needs_rotation(old.as_str()) && !before.needs_rotation(old.as_str()));
        assert!(after.needs_rotation("") && after.needs_rotation("12"));
        let new = after.token(&NUMBER, "t", "12").unwrap();
        assert!(!after.needs_rotation(new.as_str()));
        assert_eq!(after.prefix_candidates(&NAME, "t", "ki").unwrap()[0].len(), 2);
    }

    #[test]
    fn names_are_found_by_how_their_words_begin() {
        let table = [
            ("first letters", "Ada Sample", "sa", true),
            ("both words, other order", "Ada Sample", "samp ad", true),
            ("longer than what is indexed", "Ada Sample", "sample", true),
            ("differs after what is indexed", "Ada Sample", "sampling", true),
            ("one word differs", "Ada Sample", "ada x1", false),
            ("middle of a word", "Ada Sample", "mple", false),
            ("Hangul", "김하나", "김하", true),
            ("family name", "김하나", "김", true),
            ("with a space that is not there", "김하나", "김 하나", true),
            ("without the space", "김 하나", "김하나", true),
            ("hyphen left out", "Kim Ha-neul", "haneul", true),
            ("hyphen as a space", "Kim Ha-neul", "ha neul", true),
            ("a hyphen more", "Kim Haneul", "ha-neul", true),
            ("apostrophe as a space", "O'Brien", "o brien", true),
            ("no accents", "Jürgen", "jurgen", true),
            ("accents", "Jurgen", "jürgen", true),
            ("too short to be looked for", "Ada Sample", "sample x", true),
        ];
        for (case, name, typed, expected) in table {
            assert_eq!(found(name, typed), expected, "case: {case}");
        }
        let tokens = |name: &str| before().prefix_tokens(&NAME, "t", name).unwrap().len();
        assert_eq!((tokens("Ada Sample"), tokens("A"), tokens("")), (2 + 4, 0, 0));
        // From each piece on, and not from each letter.
        assert_eq!((tokens("Ha-neul"), tokens("김하늘"), tokens("김 하늘")), (4 + 3, 3, 3 + 2));
        assert_eq!(tokens(&"ab cd ef gh ij kl mn op qr ".repeat(2)), 9);
        let many: String = ('a'..='t').map(|letter| format!("{letter}x ")).collect();
        assert_eq!(tokens(&many), PREFIX_STARTS_MAX);
    }

    #[test]
    fn what_can_not_be_searched_for_is_refused() {
        let indexer = before();
        let prefix = |typed: &str| indexer.prefix_candidates(&NAME, "t", typed).unwrap_err();
        assert_eq!(indexer.token(&NUMBER, "t", " \u{feff}").unwrap_err(), IndexError::Nothing);
        assert_eq!(prefix(" "), IndexError::Nothing);
        assert_eq!(prefix("a s"), IndexError::Short { chars_min: 2 });
        assert_eq!(prefix("-"), IndexError::Nothing);
        assert_eq!(prefix(&"ab ".repeat(9)), IndexError::ManyWords);
        for (chars_min, chars_max, token_bytes) in [(0, 5, 8), (6, 5, 8), (2, 9, 8), (2, 5, 1)] {
            let column = PrefixColumn { chars_min, chars_max, token_bytes, ..NAME };
            let error = indexer.prefix_tokens(&column, "t", "ada").unwrap_err();
            assert!(matches!(error, IndexError::Limits { .. }), "{error}");
        }
        let column = IndexColumn { token_bytes: 33, ..NUMBER };
        assert!(matches!(indexer.token(&column, "t", "1"), Err(IndexError::Limits { .. })));
    }

    /// The tokens of a name as they were before pieces were told apart and accents left out.
    fn tokens_of_before(name: &str) -> BTreeSet<Token> {
        let (normal, indexer) = (Normal::Text.apply(name), before());
        let hasher = Hasher::prefix(indexer.keys.active(), &NAME, "t");
        let prefixes = |word: &str| {
            let chars: Vec<char> = word.chars().collect();
            (2..=chars.len().min(5)).map(move |end| chars[..end].iter().collect::<String>())
        };
        normal.split(' ').flat_map(prefixes).map(|prefix| hasher.token(&prefix)).collect()
    }

    #[test]
    fn rows_that_were_indexed_before_are_found_as_before() {
        let found = |name: &str, typed: &str| {
            let stored = tokens_of_before(name);
            let wanted = before().prefix_candidates(&NAME, "t", typed).unwrap();
            wanted.iter().all(|any| any.iter().any(|token| stored.contains(token)))
        };
        for (name, typed, expected) in [
            ("Kim Ha-neul", "ha-neul", true),
            ("Kim Ha-neul", "ha", true),
            ("O'Brien", "o'brien", true),
            ("Jürgen", "jürgen", true),
            ("Jurgen", "jürgen", true),
            ("남궁 하나", "남궁 하나", true),
            ("남궁 하나", "하나", true),
            // Not before they are indexed again.
            ("Jürgen", "jurgen", false),
            ("김하나", "김", false),
        ] {
            assert_eq!(found(name, typed), expected, "{typed} for {name}");
        }
    }

    #[test]
    fn a_piece_that_is_long_enough_finds_what_is_written_apart() {
        assert!(found("a 가", "가-a") && found("a 가", "a-가"));
    }

    proptest! {
        #[test]
        fn what_begins_like_a_name_is_found_by_its_tokens(
            name in "[abü가나'\\- ]{1,12}",
            typed in "[abü가나'\\- ]{1,7}",
        ) {
            let begins = FoldedName::read(&name).begins_like(&FoldedName::read(&typed));
            let is_short = |word: &str| {
                let mut pieces = word.split(['-', '\'']).filter(|piece| !piece.is_empty()).peekable();
                pieces.peek().is_some() && pieces.all(|piece| ["a", "b", "ü"].contains(&piece))
            };
            // Of such pieces none is indexed.
            let begins = begins && !typed.split(' ').any(is_short);
            if begins && check_prefix(&typed, NAME.chars_min).is_ok() {
                prop_assert!(found(&name, &typed));
            }
        }

        #[test]
        fn every_long_enough_prefix_finds_its_name(
            name in "[a-zA-Z가-힣ß-ÿ]{2,12}( [a-zA-Z가-힣]{2,12}){0,3}",
            word: prop::sample::Index,
            chars in 2..12_usize,
        ) {
            let normal = Normal::Text.apply(&name);
            let words: Vec<&str> = normal.split(' ').collect();
            let typed: String = words[word.index(words.len())].chars().take(chars).collect();
            prop_assert!(found(&name, &typed));
        }
    }
}
