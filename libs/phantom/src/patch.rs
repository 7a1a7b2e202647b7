//! A patch being drawn: gathered from a volume, with tumours implanted.

use rand::RngCore;

use crate::{
    appearance::Appearance,
    field::{SmoothField, uniform},
    tumour::{Shares, TumourShape},
    warp::{IDENTITY, Interleaved, Matrix, Places, Warp, apply, nearest},
};

/// The label of voxels outside the brain in the volumes that patches are gathered from.
pub const AIR: u8 = 255;

/// Four channels, labels and brain of a box of voxels.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// Voxels along `[x, y, z]`.
    pub shape: [usize; 3],
    /// Intensities, `[channel, x, y, z]`.
    pub image: Vec<f32>,
    /// Labels 0, 1, 2, 4 and [`AIR`], `[x, y, z]`.
    pub labels: Vec<u8>,
}

/// Tissue pushed away from a growing core.
#[derive(Clone, Copy, Debug)]
pub struct Push {
    /// Place that it is pushed from, in voxels of the source.
    pub centre: [f32; 3],
    /// Distance from which on nothing moves.
    pub reach: f32,
    /// Share of its distance that tissue near the centre is moved by, `0..0.5`.
    pub strength: f32,
}

impl Push {
    /// Returns where the tissue at a place comes from.
    #[inline]
    fn source(&self, place: [f32; 3]) -> [f32; 3] {
        let offset = [0, 1, 2].map(|axis: usize| place[axis] - self.centre[axis]);
        let squared =
            offset.iter().map(|part| part * part).sum::<f32>() / (self.reach * self.reach);
        if squared >= 1.0 {
            return place;
        }
        let share = self.strength * (1.0 - squared) * (1.0 - squared);
        [0, 1, 2].map(|axis: usize| place[axis] - offset[axis] * share)
    }
}

/// Where a tumour sits in the source and how it is turned.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Place of the shape's middle, in voxels of the source.
    pub centre: [f32; 3],
    /// From a step in the source to a step in the shape's space, in millimetres.
    pub matrix: Matrix,
    /// Length of the longest step in the source for a millimetre of the shape.
    pub scale_max: f32,
    /// Smooth displacement, in millimetres of the shape, by axis; over the patch.
    pub displacement: Option<[SmoothField; 3]>,
}

impl Placement {
    /// Returns the placement without turning, at a place.
    pub fn at(centre: [f32; 3]) -> Self {
        Self { centre, matrix: IDENTITY, scale_max: 1.0, displacement: None }
    }

    /// Returns the offset in the shape's space of a place.
    #[inline]
    fn offset_mm(&self, place: [f32; 3]) -> [f32; 3] {
        apply(&self.matrix, [0, 1, 2].map(|axis: usize| place[axis] - self.centre[axis]))
    }
}

/// What a tumour looks like.
#[derive(Clone, Debug)]
pub enum Look<'a> {
    /// Drawn from statistics.
    Drawn(Box<Appearance>),
    /// Copied from where the shape was taken.
    Copied {
        /// The volume it was taken from.
        donor: &'a Interleaved,
        /// The place in it of the shape's middle.
        centre: [f32; 3],
        /// Added to the intensities, by part (necrotic core, oedema, enhancing) and sequence.
        shift: [[f32; 4]; 3],
        /// Share of the tissue below that is replaced, `0..=1`: below 1 the tumour is fainter.
        opacity: f32,
    },
}

impl Patch {
    /// Gathers a patch: linear for intensities, nearest for labels.
    ///
    /// `labels` has the shape of `source`, with [`AIR`] outside the brain.
    pub fn gather(source: &Interleaved, labels: &[u8], warp: &Warp, push: Option<&Push>) -> Self {
        let [width, depth, height] = warp.shape;
        let count = width * depth * height;
        let mut image = vec![0.0; 4 * count];
        let mut out_labels = vec![AIR; count];
        let mut places = Places::default();
        let (first, rest) = image.split_at_mut(count);
        let (second, rest) = rest.split_at_mut(count);
        let (third, fourth) = rest.split_at_mut(count);
        let rows = first
            .chunks_exact_mut(height)
            .zip(second.chunks_exact_mut(height))
            .zip(third.chunks_exact_mut(height).zip(fourth.chunks_exact_mut(height)))
            .zip(out_labels.chunks_exact_mut(height))
            .enumerate();
        for (row, (((first, second), (third, fourth)), labels_row)) in rows {
            warp.fill_row(row / depth, row % depth, &mut places);
            for (z, &place) in places.at.iter().enumerate() {
                let label = nearest(source.shape(), place).and_then(|at| labels.get(at).copied());
                let Some(label) = label.filter(|&label| label != AIR) else { continue };
                let from = push.map_or(place, |push| push.source(place));
                [first[z], second[z], third[z], fourth[z]] = source.at(from);
                labels_row[z] = label;
            }
        }
        Self { shape: warp.shape, image, labels: out_labels }
    }

    /// Returns the number of voxels.
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// Returns the four values of one voxel.
    #[inline]
    pub fn values(&self, voxel: usize) -> [f32; 4] {
        let count = self.labels.len();
        [0, 1, 2, 3].map(|channel: usize| self.image[channel * count + voxel])
    }

    #[inline]
    fn set_values(&mut self, voxel: usize, values: [f32; 4]) {
        let count = self.labels.len();
        for (channel, value) in values.into_iter().enumerate() {
            self.image[channel * count + voxel] = value;
        }
    }

    /// Draws a tumour into the brain, intensities and labels.
    ///
    /// `warp` is the one the patch was gathered with.
    pub fn implant(
        &mut self,
        rng: &mut impl RngCore,
        warp: &Warp,
        shape: &TumourShape,
        placement: &Placement,
        look: &Look<'_>,
    ) {
        let [_, depth, height] = self.shape;
        // Three standard deviations of the displacement, at most, and the soft edge.
        let reach = (shape.radius_mm() + 8.0) * placement.scale_max;
        let cells = [uniform(rng, 7.0, 14.0), uniform(rng, 2.5, 4.5), uniform(rng, 16.0, 32.0)];
        let [coarse, fine, broad] =
            cells.map(|cell| SmoothField::random(rng, self.shape, cell, 1.0));
        let mut places = Places::default();
        let mut noise = [(); 3].map(|()| vec![0.0; height]);
        let mut shift = [(); 3].map(|()| vec![0.0; height]);
        for row in 0..self.count() / height.max(1) {
            let (x, y) = (row / depth, row % depth);
            warp.fill_row(x, y, &mut places);
            let near = |place: &[f32; 3]| {
                let squared: f32 =
                    place.iter().zip(&placement.centre).map(|(a, b)| (a - b) * (a - b)).sum();
                squared < reach * reach
            };
            let Some(first) = places.at.iter().position(near) else { continue };
            let last = places.at.iter().rposition(near).unwrap_or(first);
            coarse.fill_row(x, y, &mut noise[0]);
            fine.fill_row(x, y, &mut noise[1]);
            broad.fill_row(x, y, &mut noise[2]);
            if let Some(fields) = &placement.displacement {
                for (field, row) in fields.iter().zip(&mut shift) {
                    field.fill_row(x, y, row);
                }
            }
            for z in first..=last {
                let voxel = row * height + z;
                if self.labels[voxel] == AIR {
                    continue;
                }
                let mut offset_mm = placement.offset_mm(places.at[z]);
                for axis in 0..3 {
                    offset_mm[axis] += shift[axis][z];
                }
                let shares = shape.shares_at(offset_mm);
                if shares == [0.0; 3] {
                    continue;
                }
                self.draw(voxel, shares, offset_mm, [0, 1, 2].map(|n: usize| noise[n][z]), look);
            }
        }
    }

    /// Draws one voxel of a tumour.
    fn draw(
        &mut self,
        voxel: usize,
        mut shares: Shares,
        offset_mm: [f32; 3],
        noise: [f32; 3],
        look: &Look<'_>,
    ) {
        let under = self.values(voxel);
        let values = match look {
            Look::Drawn(appearance) => {
                appearance.spare_fluid(&mut shares, under);
                appearance.draw(under, shares, noise)
            }
            Look::Copied { donor, centre, shift, opacity } => {
                let copied = donor.at([0, 1, 2].map(|axis: usize| centre[axis] + offset_mm[axis]));
                let share = shares.iter().sum::<f32>().min(1.0) * opacity;
                [0, 1, 2, 3].map(|c: usize| {
                    let shifted: f32 =
                        shares.iter().zip(shift).map(|(share, shift)| share * shift[c]).sum();
                    under[c] + (copied[c] - under[c]) * share + shifted
                })
            }
        };
        self.set_values(voxel, values);
        self.labels[voxel] = winner(shares, self.labels[voxel]);
    }
}

/// Returns the label with the largest share; the rest belongs to what was there.
fn winner([necrotic, oedema, enhancing]: Shares, before: u8) -> u8 {
    let rest = 1.0 - necrotic - oedema - enhancing;
    let mut best = (rest, before);
    for candidate in [(oedema, 2), (necrotic, 1), (enhancing, 4)] {
        if candidate.0 > best.0 {
            best = candidate;
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn source() -> (Interleaved, Vec<u8>) {
        let voxels = (0..16 * 16 * 16).map(|i| [i as f32, 1.0, 2.0, 3.0]).collect();
        let mut labels = vec![0; 16 * 16 * 16];
        labels[0] = AIR;
        (Interleaved::new([16; 3], voxels).unwrap(), labels)
    }

    #[test]
    fn an_identity_gather_copies_all_but_the_last_planes() {
        let (volume, labels) = source();
        let patch = Patch::gather(&volume, &labels, &Warp::identity([16; 3]), None);
        assert_eq!(patch.labels, labels);
        assert_eq!(patch.values(300), [300.0, 1.0, 2.0, 3.0]);
        assert_eq!(patch.values(0), [0.0; 4]);
    }

    #[test]
    fn a_push_moves_tissue_outward_and_nothing_beyond_its_reach() {
        let push = Push { centre: [8.0; 3], reach: 6.0, strength: 0.3 };
        assert_eq!(push.source([15.0, 8.0, 8.0]), [15.0, 8.0, 8.0]);
        let [x, y, z] = push.source([10.0, 8.0, 8.0]);
        assert!(x > 8.0 && x < 10.0 && y == 8.0 && z == 8.0);
    }

    #[test]
    fn an_implanted_copy_brings_labels_and_intensities() {
        let (volume, labels) = source();
        let warp = Warp::identity([16; 3]);
        let patch = Patch::gather(&volume, &labels, &warp, None);
        let mut mask = Array3::zeros((5, 5, 5));
        mask.fill(4);
        let shape = TumourShape::from_mask(&mask, [1.0; 3], [0.0; 3]).unwrap();
        let donor = Interleaved::new([16; 3], vec![[9.0; 4]; 16 * 16 * 16]).unwrap();
        let shift = [[0.5; 4]; 3];
        let middle = (8 * 16 + 8) * 16 + 8;
        let below = patch.values(middle);
        for (opacity, expected) in [(1.0, [9.5; 4]), (0.5, below.map(|v| (v + 9.0) / 2.0 + 0.5))] {
            let mut patch = patch.clone();
            let look = Look::Copied { donor: &donor, centre: [8.0; 3], shift, opacity };
            let mut rng = ChaCha8Rng::seed_from_u64(0);
            patch.implant(&mut rng, &warp, &shape, &Placement::at([8.0; 3]), &look);
            assert_eq!(patch.labels.iter().filter(|&&label| label == 4).count(), 125);
            assert_eq!(patch.values(middle), expected, "opacity {opacity}");
        }
    }

    #[test]
    fn the_largest_share_wins() {
        let table = [([0.2, 0.2, 0.2], 0, 0), ([0.0, 0.6, 0.4], 0, 2), ([0.5, 0.1, 0.3], 0, 1)];
        for (shares, before, label) in table {
            assert_eq!(winner(shares, before), label);
        }
    }
}
