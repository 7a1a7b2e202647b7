//! What samples are mixed from and how strongly they are changed.

use serde::{Deserialize, Serialize};

use crate::DatasetError;

/// Lowest and highest value of a uniform draw.
pub type Range = [f32; 2];

/// Voxels along an axis of a patch that are accepted.
const PATCH_RANGE: [usize; 2] = [8, 256];

/// How samples are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MixConfig {
    /// Seed of all samples.
    pub seed: u64,
    /// Voxels of a sample along `[x, y, z]`.
    pub patch: [usize; 3],
    /// Edge of a sample's voxels in millimetres: 1 for the network that works at full resolution, 2
    /// for one that sees the whole brain coarsely.
    pub voxel_mm: f32,
    /// How often each kind of sample is drawn.
    pub shares: Shares,
    /// Chance that a patch is centred on tumour.
    pub foreground: f64,
    /// Chance that an implanted tumour's shape is made rather than taken from a mask.
    pub made_shape: f64,
    /// Chance that an implanted tumour's brightness is drawn about that of a real one rather than
    /// from wide ranges.
    pub real_appearance: f64,
    /// Chance that the parts of a real or copied tumour are made brighter or darker.
    pub recolour: f64,
    /// Standard deviation of that change.
    pub recolour_deviation: f32,
    /// Chance that a real or copied tumour is made fainter: blended with the tissue below it.
    pub fade: f64,
    /// Least share of it that stays then; the largest is 1.
    pub fade_opacity_min: f32,
    /// Chance that tissue is pushed aside by an implanted tumour.
    pub push: f64,
    /// Standard deviation by which tissue contrasts of phantoms differ from typical ones.
    pub contrast_deviation: f32,
    /// Changes made to every sample.
    pub augment: AugmentConfig,
}

/// Relative frequency of each kind of sample; kinds that cannot be drawn are left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shares {
    /// A real case.
    pub real: f64,
    /// A real brain, its tumour replaced by a drawn one.
    pub transplant: f64,
    /// A real brain, its tumour replaced by that of another real case.
    pub paste: f64,
    /// A phantom drawn from templates.
    pub phantom: f64,
    /// A real brain or phantom without tumour.
    pub healthy: f64,
}

/// Changes made to every sample. All at strength 0 leave it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// Largest turn about each axis, degrees.
    pub rotation_degrees: f32,
    /// Chance that a sample is turned and scaled.
    pub affine: f64,
    /// Size of the sample relative to the source.
    pub scale: Range,
    /// Chance that a sample is bent.
    pub elastic: f64,
    /// Standard deviation of the bending, millimetres.
    pub elastic_mm: Range,
    /// Chance of a left-right flip.
    pub flip_x: f64,
    /// Chance of a flip of each other axis.
    pub flip_other: f64,
    /// Chance of a gamma change, by channel.
    pub gamma: f64,
    /// Exponents of gamma changes; drawn on a log scale.
    pub gamma_range: Range,
    /// Chance of a monotone change of the histogram, by channel.
    pub histogram: f64,
    /// Strength of that change, `0..1`: by how much slopes differ from 1.
    pub histogram_strength: f32,
    /// Chance of a change of brightness and contrast after normalisation, by channel.
    pub linear: f64,
    /// Largest shift, standard deviations.
    pub brightness: f32,
    /// Largest relative change of contrast.
    pub contrast: f32,
    /// Chance of a bias field, by sample.
    pub bias: f64,
    /// Largest standard deviation of the bias field, in the logarithm.
    pub bias_strength: f32,
    /// Chance of noise, by channel.
    pub noise: f64,
    /// Largest standard deviation of the noise.
    pub noise_deviation: f32,
    /// Chance of blur, by channel.
    pub blur: f64,
    /// Standard deviation of the blur, voxels.
    pub blur_voxels: Range,
    /// Chance that one axis of a channel is made coarse.
    pub coarse: f64,
    /// Thickness of the slices then, voxels.
    pub coarse_voxels: Range,
    /// Chance that one of the four modalities is missing.
    pub dropout: f64,
}

impl Default for MixConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            patch: [128; 3],
            voxel_mm: 1.0,
            shares: Shares::default(),
            foreground: 2.0 / 3.0,
            made_shape: 0.15,
            real_appearance: 0.5,
            recolour: 0.2,
            recolour_deviation: 0.35,
            fade: 0.15,
            fade_opacity_min: 0.35,
            push: 0.6,
            contrast_deviation: 0.25,
            augment: AugmentConfig::default(),
        }
    }
}

impl Default for Shares {
    fn default() -> Self {
        Self { real: 0.4, transplant: 0.3, paste: 0.1, phantom: 0.15, healthy: 0.05 }
    }
}

impl Default for AugmentConfig {
    fn default() -> Self {
        Self {
            rotation_degrees: 20.0,
            affine: 0.35,
            scale: [0.8, 1.25],
            elastic: 0.2,
            elastic_mm: [0.5, 3.5],
            flip_x: 0.5,
            flip_other: 0.03,
            gamma: 0.2,
            gamma_range: [0.65, 1.5],
            histogram: 0.2,
            histogram_strength: 0.5,
            linear: 0.3,
            brightness: 0.2,
            contrast: 0.15,
            bias: 0.15,
            bias_strength: 0.12,
            noise: 0.15,
            noise_deviation: 0.2,
            blur: 0.06,
            blur_voxels: [0.4, 1.1],
            coarse: 0.06,
            coarse_voxels: [2.0, 5.0],
            dropout: 0.05,
        }
    }
}

impl AugmentConfig {
    /// Returns the settings that change nothing.
    pub fn none() -> Self {
        Self {
            rotation_degrees: 0.0,
            affine: 0.0,
            scale: [1.0, 1.0],
            elastic: 0.0,
            elastic_mm: [0.0, 0.0],
            flip_x: 0.0,
            flip_other: 0.0,
            gamma: 0.0,
            gamma_range: [1.0, 1.0],
            histogram: 0.0,
            histogram_strength: 0.0,
            linear: 0.0,
            brightness: 0.0,
            contrast: 0.0,
            bias: 0.0,
            bias_strength: 0.0,
            noise: 0.0,
            noise_deviation: 0.0,
            blur: 0.0,
            blur_voxels: [0.0, 0.0],
            coarse: 0.0,
            coarse_voxels: [1.0, 1.0],
            dropout: 0.0,
        }
    }

    fn chances(&self) -> [(&'static str, f64); 12] {
        [
            ("augment.affine", self.affine),
            ("augment.elastic", self.elastic),
            ("augment.flip_x", self.flip_x),
            ("augment.flip_other", self.flip_other),
            ("augment.gamma", self.gamma),
            ("augment.histogram", self.histogram),
            ("augment.linear", self.linear),
            ("augment.bias", self.bias),
            ("augment.noise", self.noise),
            ("augment.blur", self.blur),
            ("augment.coarse", self.coarse),
            ("augment.dropout", self.dropout),
        ]
    }

    /// Returns name, value, smallest and largest of every strength.
    fn strengths(&self) -> [(&'static str, f32, Range); 16] {
        [
            ("augment.rotation_degrees", self.rotation_degrees, [0.0, 180.0]),
            ("augment.scale[0]", self.scale[0], [0.25, 4.0]),
            ("augment.scale[1]", self.scale[1], [0.25, 4.0]),
            ("augment.elastic_mm[0]", self.elastic_mm[0], [0.0, 10.0]),
            ("augment.elastic_mm[1]", self.elastic_mm[1], [0.0, 10.0]),
            ("augment.gamma_range[0]", self.gamma_range[0], [0.1, 10.0]),
            ("augment.gamma_range[1]", self.gamma_range[1], [0.1, 10.0]),
            ("augment.histogram_strength", self.histogram_strength, [0.0, 0.95]),
            ("augment.brightness", self.brightness, [0.0, 3.0]),
            ("augment.contrast", self.contrast, [0.0, 0.9]),
            ("augment.bias_strength", self.bias_strength, [0.0, 1.0]),
            ("augment.noise_deviation", self.noise_deviation, [0.0, 3.0]),
            ("augment.blur_voxels[0]", self.blur_voxels[0], [0.0, 4.0]),
            ("augment.blur_voxels[1]", self.blur_voxels[1], [0.0, 4.0]),
            ("augment.coarse_voxels[0]", self.coarse_voxels[0], [1.0, 16.0]),
            ("augment.coarse_voxels[1]", self.coarse_voxels[1], [1.0, 16.0]),
        ]
    }
}

impl MixConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`DatasetError::Setting`] for the first one that is out of range.
    pub fn check(&self) -> Result<(), DatasetError> {
        let setting = |name, value, expected| Err(DatasetError::Setting { name, value, expected });
        let [side_min, side_max] = PATCH_RANGE;
        if let Some(side) = self.patch.iter().find(|&&side| side < side_min || side > side_max) {
            return setting("patch", *side as f64, "8 to 256 voxels a side");
        }
        if !(0.5..=4.0).contains(&self.voxel_mm) {
            return setting("voxel_mm", f64::from(self.voxel_mm), "0.5 to 4");
        }
        if !(0.0..=2.0).contains(&self.contrast_deviation) {
            return setting("contrast_deviation", f64::from(self.contrast_deviation), "0 to 2");
        }
        if !(0.0..=2.0).contains(&self.recolour_deviation) {
            return setting("recolour_deviation", f64::from(self.recolour_deviation), "0 to 2");
        }
        if !(0.0..=1.0).contains(&self.fade_opacity_min) {
            return setting("fade_opacity_min", f64::from(self.fade_opacity_min), "0 to 1");
        }
        for (name, value) in [
            ("foreground", self.foreground),
            ("made_shape", self.made_shape),
            ("real_appearance", self.real_appearance),
            ("fade", self.fade),
            ("recolour", self.recolour),
            ("push", self.push),
        ]
        .into_iter()
        .chain(self.augment.chances())
        {
            if !(0.0..=1.0).contains(&value) {
                return setting(name, value, "0 to 1");
            }
        }
        for (name, value, [low, high]) in self.augment.strengths() {
            if !(low..=high).contains(&value) {
                return setting(
                    name,
                    f64::from(value),
                    "in the range that its documentation names",
                );
            }
        }
        let Shares { real, transplant, paste, phantom, healthy } = self.shares;
        let shares = [real, transplant, paste, phantom, healthy];
        if let Some(share) = shares.iter().find(|share| !(0.0..=1e6).contains(*share)) {
            return setting("shares", *share, "0 or more");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_in_range_and_wrong_settings_are_named() {
        MixConfig::default().check().unwrap();
        MixConfig { augment: AugmentConfig::none(), ..MixConfig::default() }.check().unwrap();
        type Spoil = fn(&mut MixConfig);
        let table: [(&str, Spoil); 5] = [
            ("patch", |config| config.patch = [128, 4, 128]),
            ("foreground", |config| config.foreground = 1.5),
            ("shares", |config| config.shares.paste = -0.1),
            ("augment.noise", |config| config.augment.noise = f64::NAN),
            ("augment.scale[0]", |config| config.augment.scale[0] = 0.0),
        ];
        for (expected, spoil) in table {
            let mut config = MixConfig::default();
            spoil(&mut config);
            let Err(DatasetError::Setting { name, .. }) = config.check() else {
                panic!("{expected} was accepted");
            };
            assert_eq!(name, expected);
        }
    }
}
