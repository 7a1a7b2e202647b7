//! How bright the parts of a tumour are in each sequence.

use rand::{Rng, RngCore};

use crate::{
    field::{normal, uniform},
    tumour::Shares,
};

/// Chance of a tumour with little contrast.
const FAINT: f64 = 0.25;

/// Chance of a tumour of one even tissue. About one glioma in five of BraTS 2020 is of low grade
/// (76 of 369).
const LOW_GRADE: f64 = 0.25;

/// Intensities of necrotic core, oedema and enhancing tumour, in this order, over FLAIR, T1, T1ce and
/// T2, in standard deviations from the mean of the brain.
#[derive(Clone, Debug, PartialEq)]
pub struct Appearance {
    /// Mean by part and sequence.
    pub mean: [[f32; 4]; 3],
    /// Standard deviation of the texture by part and sequence.
    pub spread: [[f32; 4]; 3],
    /// Share of the tissue below that the part replaces, `0..=1`.
    pub opacity: [f32; 3],
    /// How coarse and fine noise mix into the texture, by part and sequence.
    pub mix: [[[f32; 2]; 4]; 3],
    /// Share of oedema kept out of fluid, `0..=1`.
    pub sparing: f32,
    /// Share by which oedema wanes in places, `0..=1`: it is densest in some parts of the tumour and
    /// thins out in others, without a border.
    pub waning: f32,
}

impl Appearance {
    /// Draws an appearance from ranges that cover high- and low-grade gliomas.
    ///
    /// One tumour in four is drawn as low-grade ones often look: see [`Self::low_grade`]. Of others:
    ///
    /// Oedema is bright in FLAIR and T2, dull in T1; necrosis is dull in T1ce and T1, bright in T2,
    /// anything in FLAIR; what enhances is bright in T1ce. Dense oedema may be darker in T1 than
    /// necrosis: brightness alone does not tell them apart, the enhancing rim does. One tumour in four
    /// is hardly brighter than grey matter in FLAIR.
    pub fn random(rng: &mut impl RngCore) -> Self {
        if rng.random_bool(LOW_GRADE) {
            return Self::low_grade(rng);
        }
        let faint = rng.random_bool(FAINT);
        let oedema_flair = if faint { uniform(rng, 0.4, 1.1) } else { uniform(rng, 0.8, 3.4) };
        let oedema_t2 = 0.5 * oedema_flair + uniform(rng, -0.8, 0.8);
        let oedema_t1 = uniform(rng, -1.5, 0.5);
        let oedema_t1ce = oedema_t1 + uniform(rng, -0.6, 0.3);
        let oedema = [oedema_flair, oedema_t1, oedema_t1ce, oedema_t2];
        let necrosis = [
            uniform(rng, -0.8, 3.3),
            oedema_t1 + uniform(rng, -0.8, 0.6),
            (oedema_t1ce + uniform(rng, -0.9, 0.9)).max(-2.0),
            oedema_t2 + uniform(rng, -0.4, 2.0),
        ];
        let enhancing = [
            oedema_flair + uniform(rng, -0.9, 0.6),
            oedema_t1 + uniform(rng, -0.3, 0.8),
            uniform(rng, if faint { 0.6 } else { 1.0 }, 4.0),
            oedema_t2 + uniform(rng, -0.7, 0.6),
        ];
        let deviations = [[0.2, 0.9], [0.15, 0.6], [0.2, 0.8]];
        let spread = deviations.map(|[low, high]| [0; 4].map(|_: i32| uniform(rng, low, high)));
        Self::from_statistics(rng, [necrosis, oedema, enhancing], spread)
    }

    /// Draws the appearance of one even tissue that replaces what was there, folds and all.
    ///
    /// It may be no brighter than grey matter in FLAIR, dull or bright in T2 (bright in T2 and dull
    /// in FLAIR is the mismatch of astrocytomas), and its parts differ little; what enhances may do
    /// so faintly.
    pub fn low_grade(rng: &mut impl RngCore) -> Self {
        let oedema = {
            let t1 = uniform(rng, -1.2, 0.2);
            let (flair, t2) = (uniform(rng, 0.2, 1.6), uniform(rng, -0.6, 2.2));
            [flair, t1, t1 + uniform(rng, -0.3, 0.3), t2]
        };
        let near = |rng: &mut _| oedema.map(|mean| mean + uniform(rng, -0.4, 0.4));
        let (necrosis, mut enhancing) = (near(rng), near(rng));
        enhancing[2] = oedema[2] + uniform(rng, 0.5, 2.5);
        let spread = [(); 3].map(|()| [(); 4].map(|()| uniform(rng, 0.08, 0.4)));
        let mut appearance = Self::from_statistics(rng, [necrosis, oedema, enhancing], spread);
        appearance.opacity = [(); 3].map(|()| uniform(rng, 0.85, 1.0));
        appearance.waning *= 0.4;
        appearance
    }

    /// Draws the rest of an appearance with these means and standard deviations.
    pub fn from_statistics(
        rng: &mut impl RngCore,
        mean: [[f32; 4]; 3],
        mut spread: [[f32; 4]; 3],
    ) -> Self {
        // Enhancement is uneven.
        spread[2][2] *= 1.3;
        let mix = [[(); 4]; 3].map(|part| {
            part.map(|()| {
                let (sin, cos) = uniform(rng, -1.2, 1.2).sin_cos();
                [cos, sin]
            })
        });
        let opacity = [uniform(rng, 0.85, 1.0), uniform(rng, 0.55, 0.95), uniform(rng, 0.8, 1.0)];
        let sparing = if rng.random_bool(0.8) { uniform(rng, 0.6, 1.0) } else { 0.0 };
        let waning = if rng.random_bool(0.6) { uniform(rng, 0.1, 0.6) } else { 0.0 };
        Self { mean, spread, opacity, mix, sparing, waning }
    }

    /// Moves every mean by normal noise of standard deviation `deviation`, half of it shared by the
    /// parts of a sequence.
    pub fn jitter(&mut self, rng: &mut impl RngCore, deviation: f32) {
        for channel in 0..4 {
            let shared = normal(rng) * deviation * 0.7;
            for part in &mut self.mean {
                part[channel] += shared + normal(rng) * deviation * 0.7;
            }
        }
    }

    /// Takes oedema away where the tissue below is fluid: bright in T2, not in FLAIR.
    #[inline]
    pub fn spare_fluid(&self, shares: &mut Shares, under: [f32; 4]) {
        let bright = ((under[3] - 1.2) / 1.0).clamp(0.0, 1.0);
        let dark = ((0.6 - under[0]) / 0.8).clamp(0.0, 1.0);
        shares[1] *= 1.0 - self.sparing * bright * dark;
    }

    /// Returns the intensities of a voxel with these shares over the tissue below; `noise` is coarse,
    /// fine and broad, of standard deviation 1.
    #[inline]
    pub fn draw(&self, under: [f32; 4], shares: Shares, noise: [f32; 3]) -> [f32; 4] {
        let mut cover = [0, 1, 2].map(|part: usize| shares[part] * self.opacity[part]);
        cover[1] *= 1.0 - self.waning * (0.5 + 0.5 * noise[2]).clamp(0.0, 1.0);
        let rest = 1.0 - cover.iter().sum::<f32>();
        [0, 1, 2, 3].map(|channel: usize| {
            let mut value = rest * under[channel];
            for (part, cover) in cover.iter().enumerate() {
                let [coarse, fine] = self.mix[part][channel];
                let texture = coarse * noise[0] + fine * noise[1];
                value += cover * (self.mean[part][channel] + self.spread[part][channel] * texture);
            }
            value
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn a_full_opaque_part_shows_its_mean_and_none_shows_what_is_below() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut appearance = Appearance::random(&mut rng);
        appearance.opacity = [1.0; 3];
        appearance.waning = 0.0;
        assert_eq!(appearance.draw([7.0; 4], [0.0, 1.0, 0.0], [0.0; 3]), appearance.mean[1]);
        assert_eq!(appearance.draw([7.0; 4], [0.0; 3], [1.0; 3]), [7.0; 4]);
    }

    #[test]
    fn oedema_wanes_in_places_and_the_core_does_not() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut appearance = Appearance::random(&mut rng);
        (appearance.opacity, appearance.waning) = ([1.0; 3], 0.5);
        appearance.mean = [[2.0; 4]; 3];
        let drawn = |shares, broad| appearance.draw([0.0; 4], shares, [0.0, 0.0, broad])[0];
        // (broad noise, brightness of oedema)
        for (broad, expected) in [(-1.0, 2.0), (0.0, 1.5), (1.0, 1.0), (3.0, 1.0)] {
            assert_eq!(drawn([0.0, 1.0, 0.0], broad), expected, "{broad}");
            assert_eq!(drawn([1.0, 0.0, 0.0], broad), 2.0, "{broad}");
        }
    }

    #[test]
    fn a_low_grade_tumour_is_even_and_covers_what_is_below() {
        for seed in 0..50 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let appearance = Appearance::low_grade(&mut rng);
            assert!(appearance.opacity.iter().all(|opacity| *opacity >= 0.85));
            let [necrosis, oedema, enhancing] = appearance.mean;
            for (channel, (a, b)) in necrosis.iter().zip(oedema).enumerate() {
                assert!((a - b).abs() <= 0.4, "seed {seed} channel {channel}");
            }
            assert!(enhancing[2] >= oedema[2] + 0.5, "seed {seed}");
        }
    }

    #[test]
    fn oedema_stays_out_of_fluid() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut appearance = Appearance::random(&mut rng);
        appearance.sparing = 1.0;
        let mut shares = [0.1, 0.8, 0.1];
        appearance.spare_fluid(&mut shares, [-1.5, -1.0, -1.0, 4.0]);
        assert_eq!(shares, [0.1, 0.0, 0.1]);
        let mut shares = [0.0, 1.0, 0.0];
        appearance.spare_fluid(&mut shares, [1.0, 0.0, 0.0, 4.0]);
        assert_eq!(shares, [0.0, 1.0, 0.0]);
    }
}
