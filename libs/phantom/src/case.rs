//! Whole cases: four sequences and the truth on the BraTS grid.

use std::{fs, path::Path};

use ndarray::Array3;
use neurotriage_domain::Modality;
use neurotriage_imaging::{
    Affine, CropBox, Image, Mask,
    nifti::{write_atomically, write_image_gz, write_mask_gz},
};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    PhantomError,
    appearance::Appearance,
    field::{FastNoise, SmoothField, uniform},
    patch::{AIR, Look, Patch, Placement, Push},
    template::{Rendering, Template, templates},
    tumour::{TUMOUR_ML_RANGE, TumourShape, procedural},
    warp::{Warp, rotation, scaled},
};

/// The BraTS grid.
const GRID: [usize; 3] = [240, 240, 155];

/// Furthest that a template is bent beyond its box, in voxels.
const BEND_MARGIN: usize = 6;

/// Longest case name.
const NAME_CHARS_MAX: usize = 64;

/// Which phantom to make; the same spec gives the same phantom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhantomSpec {
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Where the tumour's middle lies, RAS+ millimetres of the BraTS affine; `None` draws a place.
    pub centre_mm: Option<[f32; 3]>,
    /// Size of the whole tumour in millilitres, 5 to 200; `None` draws one. What falls outside the
    /// brain or in the ventricles is lost.
    pub size_ml: Option<f32>,
}

impl PhantomSpec {
    /// Returns the spec that draws everything from the seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, centre_mm: None, size_ml: None }
    }
}

/// A phantom: what a scanner might show, and what is there.
#[derive(Clone, Debug)]
pub struct PhantomCase {
    /// Whole-numbered intensities in `0..=32767`, 0 outside the brain; in the order of
    /// [`Modality::ALL`].
    pub images: [Image; 4],
    /// Labels 0, 1, 2 and 4.
    pub truth: Mask,
}

/// Generator of phantoms.
#[derive(Clone, Copy, Debug)]
pub struct Phantom;

impl Phantom {
    /// Makes a case on the BraTS grid, 240 x 240 x 155 voxels of 1 mm in LPS order.
    ///
    /// # Errors
    /// [`PhantomError::Size`] and [`PhantomError::Outside`] for a spec that cannot be met,
    /// [`PhantomError::Template`] if the program was built from damaged templates.
    pub fn generate(spec: &PhantomSpec) -> Result<PhantomCase, PhantomError> {
        let [size_ml_min, size_ml_max] = TUMOUR_ML_RANGE;
        if let Some(size_ml) = spec.size_ml.filter(|&ml| !(size_ml_min..=size_ml_max).contains(&ml))
        {
            return Err(PhantomError::Size { size_ml, size_ml_min, size_ml_max });
        }
        let mut rng = ChaCha8Rng::seed_from_u64(spec.seed);
        let templates = templates()?;
        let template = &templates[rng.random_range(0..templates.len())];
        let (patch, start) = draw_head(&mut rng, template, spec)?;
        Ok(finish(&mut rng, patch, start))
    }
}

/// Draws brain and tumour; returns the z-scored patch and its place in the grid.
fn draw_head(
    rng: &mut ChaCha8Rng,
    template: &Template,
    spec: &PhantomSpec,
) -> Result<(Patch, [usize; 3]), PhantomError> {
    let (mut warp, start) = bend(rng, template.crop);
    let size_ml = spec.size_ml.unwrap_or_else(|| random_size_ml(rng));
    let centre = match spec.centre_mm {
        Some(centre_mm) => {
            let [x, y, z] = centre_mm;
            let grid = [-x, 239.0 - y, z];
            let place = [0, 1, 2].map(|axis: usize| grid[axis] - template.crop.start[axis] as f32);
            let inside = crate::warp::nearest(template.tissues.shape(), place)
                .is_some_and(|voxel| template.labels[voxel] != AIR);
            if !inside {
                return Err(PhantomError::Outside { centre_mm });
            }
            // The tumour must come out where it was asked for.
            warp.matrix = crate::warp::IDENTITY;
            warp.displacement = None;
            place
        }
        None => random_centre(rng, template),
    };
    let shape = grow(rng, template, centre, size_ml);
    let push = Push {
        centre,
        reach: 2.5 * shape.core_radius_mm() + 12.0,
        strength: uniform(rng, 0.0, 0.3),
    };
    let mut patch = Patch::gather(&template.tissues, &template.labels, &warp, Some(&push));
    Rendering::random(rng, template, 0.12).apply(&mut patch, rng);
    let look = Look::Drawn(Box::new(Appearance::random(rng, shape.enhancing_share())));
    patch.implant(rng, &warp, &shape, &Placement::at(centre), &look);
    Ok((patch, start))
}

/// Returns a slightly turned, scaled and bent view of a template and its place in the grid.
fn bend(rng: &mut ChaCha8Rng, crop: CropBox) -> (Warp, [usize; 3]) {
    let start = crop.start.map(|first| first.saturating_sub(BEND_MARGIN));
    let shape = [0, 1, 2].map(|axis: usize| {
        (crop.start[axis] + crop.shape[axis] + BEND_MARGIN).min(GRID[axis]) - start[axis]
    });
    let angles = [0; 3].map(|_: i32| uniform(rng, -0.05, 0.05));
    let scale = [0; 3].map(|_: i32| uniform(rng, 0.96, 1.05));
    let centre = [0, 1, 2].map(|axis: usize| {
        (shape[axis] as f32 - 1.0) / 2.0 + start[axis] as f32 - crop.start[axis] as f32
    });
    let matrix = scaled(&rotation(angles), scale);
    let mut warp = Warp { shape, centre, matrix, displacement: None };
    warp.displace(rng, 28.0, 2.0);
    (warp, start)
}

/// Returns a size that is as likely to lie between 10 and 20 ml as between 50 and 100.
pub fn random_size_ml(rng: &mut impl RngCore) -> f32 {
    let [least, most] = TUMOUR_ML_RANGE;
    uniform(rng, least.ln(), most.ln()).exp()
}

/// Returns a place in the brain that is mostly white matter, or any of grey and white matter.
pub fn random_centre(rng: &mut impl RngCore, template: &Template) -> [f32; 3] {
    /// Draws before any place in the box is taken; each succeeds with a chance of about .2.
    const DRAWS_MAX: usize = 500;
    let [width, depth, height] = template.tissues.shape();
    let white_only = rng.random_bool(0.7);
    let mut place = [width, depth, height].map(|side| side / 2);
    for _ in 0..DRAWS_MAX {
        place = [width, depth, height].map(|side| rng.random_range(0..side));
        let voxel = (place[0] * depth + place[1]) * height + place[2];
        let [grey, white, ..] = template.tissues.voxels()[voxel];
        // The brain stem and cerebellum, the lowest third, seldom bear gliomas.
        let low = place[2] * 3 < height && rng.random_bool(0.7);
        if !low && (white > 0.7 || (!white_only && grey > 0.7)) {
            break;
        }
    }
    place.map(|at| at as f32)
}

/// Makes a tumour whose oedema follows the white matter about `centre` and keeps out of fluid.
pub fn grow(
    rng: &mut impl RngCore,
    template: &Template,
    centre: [f32; 3],
    size_ml: f32,
) -> TumourShape {
    procedural(rng, size_ml, |offset_mm| {
        let place = [0, 1, 2].map(|axis: usize| centre[axis] + offset_mm[axis]);
        let [grey, white, fluid, _] = template.tissues.at(place);
        if grey + white + fluid < 0.5 { -6.0 } else { white - 2.5 * (fluid - 0.4).max(0.0) }
    })
}

/// Adds bias and noise, and brings the sequences to whole numbers on the full grid.
fn finish(rng: &mut ChaCha8Rng, patch: Patch, start: [usize; 3]) -> PhantomCase {
    let shape = patch.shape;
    let crop = CropBox { start, shape };
    let labels: Vec<u8> = patch.labels.iter().map(|&l| if l == AIR { 0 } else { l }).collect();
    let mut images =
        [(); 4].map(|()| Image { voxels: Array3::zeros(GRID), affine: Affine::brats() });
    let count = patch.count();
    for (channel, image) in images.iter_mut().enumerate() {
        let bias_deviation = uniform(rng, 0.0, 0.06);
        let bias = SmoothField::random(rng, shape, 55.0, bias_deviation);
        let noise_deviation = uniform(rng, 0.02, 0.12);
        // Brain mean and deviation as in the files of BraTS: a mean of 3 to 5 deviations.
        let scale = uniform(rng, 80.0, 500.0);
        let level = uniform(rng, 3.2, 5.0);
        let mut noise = FastNoise::new(rng.next_u64());
        let mut row_bias = vec![0.0; shape[2]];
        let mut voxels = Vec::with_capacity(count);
        for row in 0..count / shape[2] {
            bias.fill_row(row / shape[1], row % shape[1], &mut row_bias);
            for (z, bias) in row_bias.iter().enumerate() {
                let voxel = row * shape[2] + z;
                if patch.labels[voxel] == AIR {
                    voxels.push(0.0);
                    continue;
                }
                let signal = (patch.image[channel * count + voxel] + level).max(0.0) * bias.exp();
                let (real, imaginary) =
                    (noise.normal() * noise_deviation, noise.normal() * noise_deviation);
                let magnitude = (signal + real).hypot(imaginary);
                voxels.push((magnitude * scale).round().clamp(1.0, 32_767.0));
            }
        }
        paste(crop, shape, voxels, &mut image.voxels);
    }
    let mut truth = Mask { voxels: Array3::zeros(GRID), affine: Affine::brats() };
    paste(crop, shape, labels, &mut truth.voxels);
    PhantomCase { images, truth }
}

fn paste<T: Copy + Default>(crop: CropBox, shape: [usize; 3], voxels: Vec<T>, out: &mut Array3<T>) {
    // Both fit: the crop was cut from this grid, and there is a value for each of its voxels.
    if let Ok(voxels) = Array3::from_shape_vec(shape, voxels)
        && let Some(full) = crop.paste(&voxels, GRID)
    {
        *out = full;
    }
}

impl PhantomCase {
    /// Writes `<dir>/<id>/<id>_{flair,t1,t1ce,t2,seg}.nii.gz`; the truth comes last, so that a case
    /// with a truth is whole.
    ///
    /// # Errors
    /// [`PhantomError::Name`], [`PhantomError::Folder`] or [`PhantomError::Write`].
    pub fn write_case(&self, dir: &Path, id: &str) -> Result<(), PhantomError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if id.is_empty() || id.len() > NAME_CHARS_MAX || !id.chars().all(plain) {
            return Err(PhantomError::Name { id: id.to_owned() });
        }
        let folder = dir.join(id);
        fs::create_dir_all(&folder)
            .map_err(|source| PhantomError::Folder { path: folder.clone(), source })?;
        for (modality, image) in Modality::ALL.into_iter().zip(&self.images) {
            let path = folder.join(format!("{id}_{modality}.nii.gz"));
            write_atomically(&path, &write_image_gz(image)?)?;
        }
        write_atomically(&folder.join(format!("{id}_seg.nii.gz")), &write_mask_gz(&self.truth)?)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_spec_gives_the_same_case_and_another_seed_another() {
        let first = Phantom::generate(&PhantomSpec::new(5)).unwrap();
        let again = Phantom::generate(&PhantomSpec::new(5)).unwrap();
        let other = Phantom::generate(&PhantomSpec::new(6)).unwrap();
        assert_eq!(first.truth, again.truth);
        assert_eq!(first.images, again.images);
        assert_ne!(first.truth, other.truth);
        for image in &first.images {
            assert_eq!(image.voxels.dim(), (240, 240, 155));
            assert!(image.voxels.iter().all(|v| (0.0..=32_767.0).contains(v) && v.fract() == 0.0));
        }
        assert!(first.truth.voxels.iter().all(|label| matches!(label, 0 | 1 | 2 | 4)));
    }

    #[test]
    fn the_tumour_is_where_and_as_large_as_asked_for() {
        // Left frontal white matter: left is negative x in RAS.
        let centre_mm = [-150.0, 160.0, 85.0];
        let spec = PhantomSpec { seed: 2, centre_mm: Some(centre_mm), size_ml: Some(30.0) };
        let truth = Phantom::generate(&spec).unwrap().truth.voxels;
        let (mut sum, mut count) = ([0.0_f32; 3], 0.0_f32);
        for ((x, y, z), _) in truth.indexed_iter().filter(|(_, label)| **label != 0) {
            for (total, at) in sum.iter_mut().zip([x, y, z]) {
                *total += at as f32;
            }
            count += 1.0;
        }
        assert!((15_000.0..34_000.0).contains(&count), "{count} voxels");
        let expected = [150.0, 79.0, 85.0];
        for axis in 0..3 {
            let middle = sum[axis] / count;
            assert!((middle - expected[axis]).abs() < 15.0, "axis {axis}: {middle}");
        }
    }

    #[test]
    fn specs_that_cannot_be_met_are_refused() {
        let outside = PhantomSpec { centre_mm: Some([0.0, 0.0, 0.0]), ..PhantomSpec::new(1) };
        assert!(matches!(Phantom::generate(&outside), Err(PhantomError::Outside { .. })));
        for size_ml in [0.0, 4.9, 201.0, f32::NAN] {
            let spec = PhantomSpec { size_ml: Some(size_ml), ..PhantomSpec::new(1) };
            assert!(matches!(Phantom::generate(&spec), Err(PhantomError::Size { .. })));
        }
    }

    #[test]
    fn a_written_case_reads_back_as_a_study() {
        let case = Phantom::generate(&PhantomSpec::new(9)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        case.write_case(folder.path(), "phantom_9").unwrap();
        let files = neurotriage_imaging::CaseFiles::find(&folder.path().join("phantom_9")).unwrap();
        let study = files.read_study().unwrap();
        assert_eq!(study.images()[2].voxels, case.images[2].voxels);
        let truth = study.align_mask(files.read_truth().unwrap().unwrap(), "truth").unwrap();
        assert_eq!(truth.voxels, case.truth.voxels);
        for id in ["", "../x", "a b"] {
            let refused = case.write_case(folder.path(), id);
            assert!(matches!(refused, Err(PhantomError::Name { .. })), "{id:?}");
        }
    }
}
