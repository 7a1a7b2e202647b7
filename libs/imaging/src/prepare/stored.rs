//! Prepared volumes as bytes: a safetensors file.

use std::collections::HashMap;

use half::{f16, slice::HalfFloatSliceExt};
use ndarray::Array4;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::{PROFILE, PROFILE_VERSION, Prepared};
use crate::{Affine, CropBox, Grid, ImagingError, Reorientation, nifti::VOXELS_MAX};

/// Key of the description in the file's metadata.
const METADATA_KEY: &str = "neurotriage.prepared";

const CHANNELS: &str = "channels";
const GRID_AFFINE: &str = "grid_affine";
const SOURCE_AFFINE: &str = "source_affine";

/// Channels of the profile `whole`.
const CHANNEL_COUNT: usize = 4;

/// Everything but numbers that must survive to the last bit; those are tensors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    profile: String,
    version: u32,
    crop: CropBox,
    grid_shape: [usize; 3],
    source_shape: [usize; 3],
    source_orientation: String,
}

impl Prepared {
    /// Returns a safetensors file: `channels` as float16 `[channel, x, y, z]`, the affines of grid
    /// and source as float64 `[4, 4]`, and the rest as JSON in the metadata.
    ///
    /// # Errors
    /// [`ImagingError::Prepared`] if the volume does not fit the format.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ImagingError> {
        let source = self.reorientation.source();
        let description = Description {
            profile: PROFILE.to_owned(),
            version: PROFILE_VERSION,
            crop: self.crop,
            grid_shape: self.grid.shape,
            source_shape: source.shape,
            source_orientation: source.affine.orientation().to_string(),
        };
        let metadata = HashMap::from([(
            METADATA_KEY.to_owned(),
            serde_json::to_string(&description).map_err(unusable)?,
        )]);
        let channels = half_bytes(&self.channels);
        let grid_affine = affine_bytes(&self.grid.affine);
        let source_affine = affine_bytes(&source.affine);
        let view = |dtype, shape: &[usize], bytes| {
            TensorView::new(dtype, shape.to_vec(), bytes).map_err(unusable)
        };
        let tensors = [
            (CHANNELS, view(Dtype::F16, self.channels.shape(), &channels)?),
            (GRID_AFFINE, view(Dtype::F64, &[4, 4], &grid_affine)?),
            (SOURCE_AFFINE, view(Dtype::F64, &[4, 4], &source_affine)?),
        ];
        safetensors::serialize(tensors, Some(metadata)).map_err(unusable)
    }

    /// Returns what [`Prepared::to_bytes`] wrote; intensities are those of float16.
    ///
    /// # Errors
    /// [`ImagingError::Prepared`] if the bytes are damaged or of another profile or version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ImagingError> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(unusable)?;
        let text = metadata
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get(METADATA_KEY))
            .ok_or_else(|| unusable("it has no description"))?;
        let description: Description = serde_json::from_str(text).map_err(unusable)?;
        if (description.profile.as_str(), description.version) != (PROFILE, PROFILE_VERSION) {
            return Err(unusable(format!(
                "it follows profile {} version {}, this program {PROFILE} version {PROFILE_VERSION}",
                description.profile, description.version
            )));
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(unusable)?;
        let grid = read_grid(&tensors, GRID_AFFINE, description.grid_shape)?;
        let source = read_grid(&tensors, SOURCE_AFFINE, description.source_shape)?;
        let crop = description.crop;
        if !crop.fits(grid.shape) {
            return Err(unusable("its crop lies outside its grid"));
        }
        let [width, depth, height] = crop.shape;
        let shape = [CHANNEL_COUNT, width, depth, height];
        let channels = tensors.tensor(CHANNELS).map_err(unusable)?;
        if channels.dtype() != Dtype::F16 || channels.shape() != shape {
            return Err(unusable("its channels do not fill its crop"));
        }
        let channels =
            Array4::from_shape_vec(shape, half_values(channels.data())).map_err(unusable)?;
        if channels.iter().any(|value| !value.is_finite()) {
            return Err(unusable("its channels are not finite"));
        }
        Ok(Self { channels, crop, grid, reorientation: Reorientation::of(source) })
    }
}

fn unusable(detail: impl ToString) -> ImagingError {
    ImagingError::Prepared { detail: detail.to_string() }
}

fn read_grid(
    tensors: &SafeTensors<'_>,
    name: &str,
    shape: [usize; 3],
) -> Result<Grid, ImagingError> {
    let voxels = shape.iter().try_fold(1_u64, |product, &side| product.checked_mul(side as u64));
    if !voxels.is_some_and(|voxels| (1..=VOXELS_MAX).contains(&voxels)) {
        return Err(unusable(format!("its {name} has shape {shape:?}")));
    }
    let tensor = tensors.tensor(name).map_err(unusable)?;
    if tensor.dtype() != Dtype::F64 || tensor.shape() != [4, 4] {
        return Err(unusable(format!("its {name} is no matrix")));
    }
    let mut rows = [[0.0; 4]; 4];
    let (numbers, _) = tensor.data().as_chunks::<8>();
    for (value, bytes) in rows.as_flattened_mut().iter_mut().zip(numbers) {
        *value = f64::from_le_bytes(*bytes);
    }
    Ok(Grid { shape, affine: Affine::from_rows(rows).map_err(unusable)? })
}

fn affine_bytes(affine: &Affine) -> Vec<u8> {
    affine.rows().as_flattened().iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn half_bytes(channels: &Array4<f32>) -> Vec<u8> {
    let values = channels.as_standard_layout();
    let mut halves = vec![f16::ZERO; values.len()];
    if let Some(values) = values.as_slice() {
        halves.convert_from_f32_slice(values);
    }
    halves.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn half_values(bytes: &[u8]) -> Vec<f32> {
    let (pairs, _) = bytes.as_chunks::<2>();
    let halves: Vec<f16> = pairs.iter().map(|pair| f16::from_le_bytes(*pair)).collect();
    halves.to_f32_vec()
}
