//! What a model must say of itself before it is kept.

use neurotriage_domain::{BlobDigest, Modality};
use neurotriage_imaging::prepare::{PROFILE, PROFILE_VERSION};
use neurotriage_network::{CARD_VERSION, ModelCard, NetworkError};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{ModelId, Problem, RegistryError};

/// Longest piece of a refused id that an error repeats.
const ECHO_CHARS: usize = 64;

/// A card that passed.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) model_id: ModelId,
    pub(super) card: ModelCard,
    pub(super) card_json: String,
}

/// Checks a card and the weights that were sent with it.
pub(super) fn sent(card_json: &[u8], weights: &[u8]) -> Result<Checked, Problem> {
    let card = card(card_json)?;
    let model_id = card
        .provenance
        .name
        .parse()
        .map_err(|_| Problem::Name { name: echo(&card.provenance.name) })?;
    let got = BlobDigest::from_bytes(Sha256::digest(weights).into());
    if got != card.weights_sha256 {
        let expected = card.weights_sha256.to_string();
        return Err(Problem::WeightsHash { expected, got: got.to_string() });
    }
    let card_json = String::from_utf8_lossy(card_json).into_owned();
    Ok(Checked { model_id, card, card_json })
}

/// Reads a card and checks that studies of this system suit it.
pub(super) fn card(card_json: &[u8]) -> Result<ModelCard, Problem> {
    /// Read first: a card of a later version may have other fields.
    #[derive(Deserialize)]
    struct Version {
        card_version: u32,
    }
    let unreadable = |error: &dyn std::error::Error| Problem::CardUnreadable {
        detail: error.to_string().chars().take(200).collect(),
    };
    let version: Version = serde_json::from_slice(card_json).map_err(|error| unreadable(&error))?;
    if version.card_version > CARD_VERSION || version.card_version == 0 {
        return Err(Problem::CardVersion { found: version.card_version, known: CARD_VERSION });
    }
    let card = ModelCard::from_json(card_json).map_err(|error| {
        if let NetworkError::Json { source, .. } = &error {
            return unreadable(source);
        }
        unreadable(&error)
    })?;
    if card.provenance.licence.trim().is_empty() {
        return Err(Problem::NoLicence);
    }
    if card.intended_use.trim().is_empty() {
        return Err(Problem::NoIntendedUse);
    }
    if card.channels != Modality::ALL {
        return Err(Problem::Channels {
            found: names(&card.channels),
            given: names(&Modality::ALL),
        });
    }
    let profile = format!("{PROFILE}/{PROFILE_VERSION}");
    if card.profile != profile {
        return Err(Problem::Profile { found: echo(&card.profile), given: profile });
    }
    Ok(card)
}

fn names(channels: &[Modality]) -> String {
    channels.iter().map(|modality| modality.as_str()).collect::<Vec<_>>().join(", ")
}

/// Returns what an error may repeat of a text that was sent.
pub(super) fn echo(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(ECHO_CHARS).collect()
}

pub(super) fn card_json(card: &ModelCard) -> Result<String, RegistryError> {
    serde_json::to_string(card).map_err(|source| RegistryError::Store {
        operation: "encode model card",
        source: source.into(),
    })
}

#[cfg(test)]
mod tests {
    use neurotriage_network::NetworkConfig;
    use serde_json::{Value, json};

    use super::*;

    fn good() -> Value {
        let network = NetworkConfig::residual(&[4, 8]);
        let mut card = ModelCard::untrained(network, Modality::ALL.to_vec(), [32; 3]);
        card.provenance.name = "tiny-1".to_owned();
        card.provenance.licence = "CC0".to_owned();
        card.weights_sha256 = BlobDigest::from_bytes(Sha256::digest(b"weights").into());
        serde_json::to_value(card).unwrap()
    }

    #[test]
    fn a_card_that_cannot_serve_is_refused_with_the_reason() {
        // (what the row is for, where, what, reason)
        let table = [
            ("later version", "/card_version", json!(99), "CARD_VERSION_UNKNOWN"),
            ("no licence", "/provenance/licence", json!(" "), "LICENCE_MISSING"),
            ("no use", "/intended_use", json!(""), "INTENDED_USE_MISSING"),
            ("path as a name", "/provenance/name", json!("../a"), "MODEL_NAME_INVALID"),
            ("no name", "/provenance/name", json!(""), "MODEL_NAME_INVALID"),
            ("other preprocessing", "/profile", json!("seed/1"), "PROFILE_UNAVAILABLE"),
            ("unknown channel", "/channels/0", json!("pet"), "CARD_UNREADABLE"),
            ("channel missing", "/channels", json!(["t1"]), "CARD_UNREADABLE"),
            (
                "other order",
                "/channels",
                json!(["t1", "flair", "t1ce", "t2"]),
                "CHANNELS_UNAVAILABLE",
            ),
            ("other hash", "/weights_sha256", json!("00".repeat(32)), "WEIGHTS_HASH_MISMATCH"),
            ("no hash", "/weights_sha256", json!("abc"), "CARD_UNREADABLE"),
        ];
        for (case, path, value, reason) in table {
            let mut card = good();
            *card.pointer_mut(path).unwrap() = value;
            let problem = sent(card.to_string().as_bytes(), b"weights").unwrap_err();
            assert_eq!(problem.reason(), reason, "case: {case}: {problem}");
        }
        assert_eq!(sent(b"{}", b"weights").unwrap_err().reason(), "CARD_UNREADABLE");
        let checked = sent(good().to_string().as_bytes(), b"weights").unwrap();
        assert_eq!(checked.model_id.as_str(), "tiny-1");
    }
}
