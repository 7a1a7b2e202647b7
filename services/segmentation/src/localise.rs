//! Localising a mask on demand: of a study, or of files.

use std::sync::Arc;

use bytes::Bytes;
use neurotriage_anatomy::{Localisation, LocaliseOptions, SpaceRule, localise};
use neurotriage_domain::{Modality, StudyId};
use neurotriage_imaging::{Image, Mask, nifti};
use neurotriage_service_kit::audit::Call;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    engine::ToPlace,
    placement::Place,
    segmentation::{Part, SegmentationError, SegmentationStore, Segmenter, StudySource, blocking},
};

/// A file that was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentFile {
    /// Its name without the folder: its ending says whether it is compressed. Errors call the file by what it is, since
    /// its name may be a patient's.
    pub name: String,
    /// Its bytes.
    pub data: Bytes,
}

/// What to localise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocaliseInput {
    /// A stored study: its image places it, and its mask is localised if none is sent.
    pub study_id: Option<StudyId>,
    /// A mask.
    pub mask: Option<SentFile>,
    /// An image that places the mask; not beside a study, which has its own.
    pub image: Option<SentFile>,
}

impl<S: SegmentationStore, I: StudySource> Segmenter<S, I> {
    /// Localises a mask.
    ///
    /// What was sent is of nobody whom the service knows, and is not stored: the audit notes the reading of a stored
    /// mask only, as soon as it is read.
    ///
    /// `slot` is freed when what was sent is out of memory: at the answer, or, if the caller goes away
    /// before, when the network's thread has come to the image.
    ///
    /// # Errors
    /// [`SegmentationError::Invalid`] if there is nothing to localise or too much,
    /// [`SegmentationError::NotSegmented`] if the mask of a study is asked for that has none by the
    /// model that serves, [`SegmentationError::Image`] if a file is no mask or image,
    /// [`SegmentationError::Anatomy`] if it cannot be localised,
    /// [`SegmentationError::QueueFull`], or a failure of a store.
    pub async fn localise(
        &self,
        call: &Call,
        input: LocaliseInput,
        slot: OwnedSemaphorePermit,
    ) -> Result<Localisation, SegmentationError> {
        let slot = Arc::new(slot);
        let LocaliseInput { study_id, mask, image } = input;
        let mask = match (mask, study_id) {
            (Some(file), _) => read_mask(file).await?,
            (None, Some(study_id)) => self.mask_of(call, study_id).await?,
            (None, None) => {
                return Err(SegmentationError::field("content", "send a study_id, a mask or both"));
            }
        };
        let image = match (image, study_id) {
            (Some(_), Some(_)) => {
                let text = "send no image beside a study_id: the study has its own";
                return Err(SegmentationError::field("image", text));
            }
            (Some(file), None) => Some(read_image(file).await?),
            (None, Some(study_id)) => {
                let prepared = self.prepared(study_id).await?;
                Some(blocking("read image", move || Ok(prepared.image(Modality::T1))).await?)
            }
            (None, None) => None,
        };
        let place = match image {
            None => None,
            Some(image) => {
                let lesion = Some(mask.clone());
                let slot = Some(Arc::clone(&slot));
                let to_place = ToPlace { image, lesion, rule: self.registration, slot };
                Some(self.engine.place(to_place).await?)
            }
        };
        blocking("localise", move || {
            let space = place.map_or(SpaceRule::Recognise, space_rule);
            Ok(localise(&mask, &LocaliseOptions { space, ..LocaliseOptions::default() })?)
        })
        .await
    }

    /// Returns the stored mask of a study by the model that serves.
    async fn mask_of(&self, call: &Call, study_id: StudyId) -> Result<Mask, SegmentationError> {
        let weights_sha256 = self.engine.serving().card().weights_sha256.to_string();
        let part = Part::Localisation;
        let known = self.store.read_of_study(call, study_id, &weights_sha256, part).await?;
        let data = self.mask(call, &known).await?;
        read_mask(SentFile { name: "mask.nii.gz".to_owned(), data }).await
    }
}

/// Returns a place as the localiser takes it.
pub fn space_rule(place: Place) -> SpaceRule {
    match place {
        Ok(placement) => SpaceRule::Placed(placement),
        Err(reason) => SpaceRule::Unknown { reason },
    }
}

async fn read_mask(file: SentFile) -> Result<Mask, SegmentationError> {
    let read = move || {
        let mask = nifti::read_mask(&file.data, &file.name);
        mask.map_err(|error| error.called("mask").into())
    };
    blocking("read mask", read).await
}

async fn read_image(file: SentFile) -> Result<Image, SegmentationError> {
    let read = move || {
        let image = nifti::read_image(&file.data, &file.name);
        image.map_err(|error| error.called("image").into())
    };
    blocking("read image", read).await
}
