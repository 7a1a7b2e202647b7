//! How bright the parts of a tumour are in each sequence.

use rand::{Rng, RngCore};

use crate::{
    field::{normal, uniform},
    tumour::Shares,
};

/// Chance of a tumour with little contrast.
const FAINT: f64 = 0.25;

/// Share of the core that enhances below which a tumour is taken for one of low grade: one in six of
/// 366 masks of BraTS 2020, where 76 of 369 are.
const DULL_SHARE_MAX: f32 = 0.1;

/// Chance of even tissues for tumours whose core does not enhance, and for others.
const LOW_GRADE: [f64; 2] = [0.7, 0.2];

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
    /// `enhancing_share` is that of its core, `[0, 1]`: tumours whose core hardly enhances are mostly
    /// drawn as [`Self::low_grade`], others as [`Self::high_grade`].
    pub fn random(rng: &mut impl RngCore, enhancing_share: f32) -> Self {
        if Self::is_low_grade(rng, enhancing_share) {
            return Self::low_grade(rng);
        }
        Self::high_grade(rng)
    }

    /// Draws whether a tumour with such a share of enhancing tissue in its core, `[0, 1]`, is of even
    /// tissues.
    pub fn is_low_grade(rng: &mut impl RngCore, enhancing_share: f32) -> bool {
        rng.random_bool(LOW_GRADE[usize::from(enhancing_share >= DULL_SHARE_MAX)])
    }

    /// Draws an appearance as high-grade gliomas have it.
    ///
    /// Oedema is bright in FLAIR and T2, dull in T1; necrosis is dull in T1ce, most often duller than
    /// oedema in T1 and brighter in T2, anything in FLAIR; what enhances is bright in T1ce. Dense
    /// oedema may be as dark in T1 as necrosis: brightness alone does not tell them apart, the
    /// enhancing rim does. One tumour in four is hardly brighter than grey matter in FLAIR.
    pub fn high_grade(rng: &mut impl RngCore) -> Self {
        let faint = rng.random_bool(FAINT);
        let oedema_flair = if faint { uniform(rng, 0.4, 1.1) } else { uniform(rng, 0.8, 3.4) };
        let oedema_t2 = 0.5 * oedema_flair + uniform(rng, -0.8, 0.8);
        let oedema_t1 = uniform(rng, -1.5, 0.5);
        let oedema_t1ce = oedema_t1 + uniform(rng, -0.6, 0.3);
        let oedema = [oedema_flair, oedema_t1, oedema_t1ce, oedema_t2];
        let necrosis = [
            uniform(rng, -0.8, 3.3),
            oedema_t1 + uniform(rng, -1.1, 0.25),
            (oedema_t1ce + uniform(rng, -0.9, 0.9)).max(-2.0),
            oedema_t2 + uniform(rng, -0.1, 2.4),
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

    /// Draws the appearance of even tissues that replace what was there, folds and all.
    ///
    /// They may be no brighter than grey matter in FLAIR, dull or bright in T2 (bright in T2 and dull
    /// in FLAIR is the mismatch of astrocytomas). The solid core, which takes the place of necrosis,
    /// is a little darker in T1 and brighter in T2 than what surrounds it, as solid tumour is beside
    /// tissue that it infiltrates: a border that no sequence shows could not be learned. What
    /// enhances may do so faintly.
    pub fn low_grade(rng: &mut impl RngCore) -> Self {
        let oedema = {
            let t1 = uniform(rng, -1.2, 0.2);
            let (flair, t2) = (uniform(rng, 0.2, 1.6), uniform(rng, -0.6, 2.2));
            [flair, t1, t1 + uniform(rng, -0.3, 0.3), t2]
        };
        let near = |rng: &mut _| oedema.map(|mean| mean + uniform(rng, -0.4, 0.4));
        let (mut core, mut enhancing) = (near(rng), near(rng));
        core[1] = oedema[1] - uniform(rng, 0.1, 0.8);
        core[2] = oedema[2] - uniform(rng, 0.1, 0.8);
        core[3] = oedema[3] + uniform(rng, 0.1, 0.9);
        enhancing[2] = oedema[2] + uniform(rng, 0.5, 2.5);
        let spread = [(); 3].map(|()| [(); 4].map(|()| uniform(rng, 0.08, 0.4)));
        let mut appearance = Self::from_statistics(rng, [core, oedema, enhancing], spread);
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
        let mut appearance = Appearance::random(&mut rng, 0.5);
        appearance.opacity = [1.0; 3];
        appearance.waning = 0.0;
        assert_eq!(appearance.draw([7.0; 4], [0.0, 1.0, 0.0], [0.0; 3]), appearance.mean[1]);
        assert_eq!(appearance.draw([7.0; 4], [0.0; 3], [1.0; 3]), [7.0; 4]);
    }

    #[test]
    fn oedema_wanes_in_places_and_the_core_does_not() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut appearance = Appearance::random(&mut rng, 0.5);
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
    fn a_low_grade_tumour_covers_what_is_below_and_its_core_shows() {
        for seed in 0..50 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let appearance = Appearance::low_grade(&mut rng);
            assert!(appearance.opacity.iter().all(|opacity| *opacity >= 0.85));
            let [core, oedema, enhancing] = appearance.mean;
            for (channel, (a, b)) in core.iter().zip(oedema).enumerate() {
                assert!((a - b).abs() <= 0.9, "seed {seed} channel {channel}");
            }
            assert!(core[1] < oedema[1] && core[3] > oedema[3], "seed {seed}: no border to see");
            assert!(enhancing[2] >= oedema[2] + 0.5, "seed {seed}");
        }
    }

    #[test]
    fn tumours_whose_core_does_not_enhance_are_mostly_of_low_grade() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut count =
            |share| (0..400).filter(|_| Appearance::is_low_grade(&mut rng, share)).count();
        assert!((240..320).contains(&count(0.0)), "70 % of 400");
        assert!((50..115).contains(&count(DULL_SHARE_MAX)), "20 % of 400");
    }

    #[test]
    fn oedema_stays_out_of_fluid() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut appearance = Appearance::random(&mut rng, 0.5);
        appearance.sparing = 1.0;
        let mut shares = [0.1, 0.8, 0.1];
        appearance.spare_fluid(&mut shares, [-1.5, -1.0, -1.0, 4.0]);
        assert_eq!(shares, [0.1, 0.0, 0.1]);
        let mut shares = [0.0, 1.0, 0.0];
        appearance.spare_fluid(&mut shares, [1.0, 0.0, 0.0, 4.0]);
        assert_eq!(shares, [0.0, 1.0, 0.0]);
    }
}
