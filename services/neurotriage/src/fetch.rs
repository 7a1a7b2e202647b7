//! A model of a running segmentation service: fetched whole, checked, and written or run.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, bail, ensure};
use neurotriage_blobs::BLOB_BYTES_MAX;
use neurotriage_imaging::nifti::write_atomically;
use neurotriage_network::{CARD_FILE, DeviceChoice, Model, ModelCard, WEIGHTS_FILE};
use neurotriage_proto::segmentation::v1::{
    ExportModelRequest, export_model_response::Content, model_service_client::ModelServiceClient,
};
use tokio::time::timeout;

use crate::{
    remote::ServiceChannel,
    services::{answer, refused, within},
};

/// How long a model may take to arrive.
const FETCH_TIMEOUT: Duration = Duration::from_secs(600);

/// A model as a service sent it; its weights are those of its card.
#[derive(Debug)]
pub(crate) struct FetchedModel {
    card: ModelCard,
    card_json: Vec<u8>,
    weights: Vec<u8>,
}

/// Fetches a model and checks that it is whole and the one that was asked for.
///
/// # Errors
/// If the service does not answer or has no such model, or something else arrives.
pub(crate) async fn fetch(
    models: &mut ModelServiceClient<ServiceChannel>,
    model_id: &str,
) -> anyhow::Result<FetchedModel> {
    let (card_json, weights) = timeout(FETCH_TIMEOUT, receive(models, model_id))
        .await
        .with_context(|| format!("model did not arrive in {} s", FETCH_TIMEOUT.as_secs()))??;
    FetchedModel::checked(model_id, card_json, weights)
}

/// Returns card and weights as they arrive.
async fn receive(
    models: &mut ModelServiceClient<ServiceChannel>,
    model_id: &str,
) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    const ACTION: &str = "export model";
    let request = within(FETCH_TIMEOUT, ExportModelRequest { model_id: model_id.to_owned() });
    let mut stream = answer(ACTION, models.export_model(request)).await?;
    let (mut card_json, mut weights) = (None, Vec::new());
    while let Some(message) = stream.message().await.map_err(|status| refused(ACTION, &status))? {
        match message.content {
            Some(Content::CardJson(json)) if card_json.is_none() => card_json = Some(json),
            Some(Content::Weights(piece)) if card_json.is_some() => {
                let size_bytes = (weights.len() + piece.len()) as u64;
                ensure!(size_bytes <= BLOB_BYTES_MAX, "weights exceed {BLOB_BYTES_MAX} bytes");
                weights.extend(piece);
            }
            Some(Content::CardJson(_) | Content::Weights(_)) | None => {
                bail!("the service sent something else than one card and then weights")
            }
        }
    }
    Ok((card_json.context("the service sent no card")?, weights))
}

impl FetchedModel {
    fn checked(model_id: &str, card_json: Vec<u8>, weights: Vec<u8>) -> anyhow::Result<Self> {
        let card = ModelCard::from_json(&card_json).context("read the card that arrived")?;
        let name = &card.provenance.name;
        ensure!(name == model_id, "the service sent the model `{name}` in place of `{model_id}`");
        card.check_weights(&weights).context("check the weights that arrived")?;
        Ok(Self { card, card_json, weights })
    }

    /// Builds its network.
    ///
    /// # Errors
    /// If weights and architecture do not fit, or the device is not there.
    pub(crate) fn load(&self, device: DeviceChoice) -> anyhow::Result<Model> {
        Ok(Model::load(&self.weights, &self.card, device)?)
    }

    /// Writes weights and card into a folder, each whole or not at all; the weights first, so that
    /// a card never names weights that are not there.
    ///
    /// # Errors
    /// If the folder holds another model or can't be written.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)
            .with_context(|| format!("create folder {}", folder.display()))?;
        ensure!(
            self.may_go_into(folder),
            "{} holds another model; name another folder with --out",
            folder.display()
        );
        write_atomically(&folder.join(WEIGHTS_FILE), &self.weights)?;
        write_atomically(&folder.join(CARD_FILE), &self.card_json)?;
        Ok(())
    }

    /// Returns whether the folder holds no model, or this one, whole or in part.
    fn may_go_into(&self, folder: &Path) -> bool {
        let (card, weights) = (folder.join(CARD_FILE), folder.join(WEIGHTS_FILE));
        if card.exists() {
            let known = fs::read(card).ok().and_then(|json| ModelCard::from_json(&json).ok());
            return known.is_some_and(|known| known == self.card);
        }
        !weights.exists()
            || fs::read(weights).is_ok_and(|bytes| self.card.check_weights(&bytes).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use neurotriage_domain::Modality;
    use neurotriage_network::NetworkConfig;

    use super::*;

    fn tiny(name: &str, seed: u64) -> (Vec<u8>, Vec<u8>) {
        let network = NetworkConfig::residual(&[4, 8]);
        let mut card = ModelCard::untrained(network, Modality::ALL.to_vec(), [32; 3]);
        card.seed = seed;
        card.provenance.name = name.to_owned();
        let folder = tempfile::tempdir().unwrap();
        Model::untrained(&card, DeviceChoice::Cpu).unwrap().save(folder.path()).unwrap();
        let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
        (read(CARD_FILE), read(WEIGHTS_FILE))
    }

    #[test]
    fn what_is_not_the_model_asked_for_is_refused() {
        let ((card, weights), (_, others)) = (tiny("a", 1), tiny("b", 2));
        let cut = weights[..weights.len() - 1].to_vec();
        // (what the row is for, id asked for, card, weights, phrase of the error)
        let table = [
            ("another name", "b", card.clone(), weights.clone(), "in place of `b`"),
            ("weights of another", "a", card.clone(), others, "sha256"),
            ("cut off", "a", card.clone(), cut, "sha256"),
            ("no weights", "a", card.clone(), Vec::new(), "sha256"),
            ("no card", "a", b"{}".to_vec(), weights.clone(), "read the card"),
        ];
        for (case, model_id, card, weights, phrase) in table {
            let error = FetchedModel::checked(model_id, card, weights).unwrap_err();
            assert!(format!("{error:#}").contains(phrase), "case: {case}: {error:#}");
        }
        assert!(FetchedModel::checked("a", card, weights).is_ok());
    }

    #[test]
    fn a_model_replaces_itself_and_no_other() {
        let model = |name, seed| {
            let (card, weights) = tiny(name, seed);
            FetchedModel::checked(name, card, weights).unwrap()
        };
        let (first, other) = (model("a", 1), model("a", 2));
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("not yet/here");
        let read = |name: &str| fs::read(folder.join(name)).unwrap();
        first.write(&folder).unwrap();
        fs::write(folder.join(WEIGHTS_FILE), b"damage").unwrap();
        first.write(&folder).unwrap();
        assert_eq!((read(CARD_FILE), read(WEIGHTS_FILE)), {
            (first.card_json.clone(), first.weights.clone())
        });
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "no partial file is left");

        let refused = || other.write(&folder).unwrap_err().to_string();
        assert!(refused().contains("holds another model"), "card and weights");
        fs::remove_file(folder.join(CARD_FILE)).unwrap();
        assert!(refused().contains("holds another model"), "weights alone");
        first.write(&folder).unwrap();
        fs::write(folder.join(CARD_FILE), b"no card").unwrap();
        assert!(refused().contains("holds another model"), "a card that can't be read");
        assert_eq!(read(WEIGHTS_FILE), first.weights);
    }
}
