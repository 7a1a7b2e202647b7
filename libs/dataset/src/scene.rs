//! What one sample shows: a brain, perhaps a tumour put into it, and where the patch lies.

use neurotriage_phantom::{
    appearance::Appearance,
    field::{SmoothField, normal, uniform},
    grow,
    patch::{AIR, Look, Placement, Push},
    random_centre, random_size_ml,
    template::{Rendering, Template},
    tumour::TumourShape,
    warp::{IDENTITY, Interleaved, Matrix, apply, nearest, product, rotation, scaled},
};
use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use crate::{CachedCase, MaskShapes, MixConfig};

/// First index of the plane between the hemispheres in the BraTS grid.
const MIDLINE: f32 = 119.5;

/// Draws of a place in the brain for a shape's middle before any voxel of the brain is taken.
const PLACE_DRAWS_MAX: usize = 12;

/// Edge of the cells of a shape's deformation, voxels of the patch.
const DEFORM_CELL_VOXELS: f32 = 12.0;

/// A tumour to be put into a brain.
pub(crate) struct Implant<'a> {
    pub(crate) shape: TumourShape,
    pub(crate) placement: Placement,
    pub(crate) look: Look<'a>,
    pub(crate) push: Option<Push>,
}

/// What one sample shows.
pub(crate) struct Scene<'a> {
    pub(crate) origin: &'static str,
    pub(crate) source: &'a Interleaved,
    pub(crate) labels: &'a [u8],
    /// How tissues become sequences, for templates.
    pub(crate) rendering: Option<Rendering>,
    pub(crate) implant: Option<Implant<'a>>,
    /// Z-scored voxels that stand for the whole brain, without the implant.
    pub(crate) reference: Vec<[f32; 4]>,
    pub(crate) brain_count: usize,
    /// Place that the patch is to show.
    pub(crate) focus: [f32; 3],
}

pub(crate) struct Painter<'a> {
    pub(crate) config: &'a MixConfig,
    pub(crate) cases: &'a [CachedCase],
    pub(crate) shapes: &'a MaskShapes,
    pub(crate) templates: &'a [Template],
}

impl<'a> Painter<'a> {
    /// Returns a real case as it is.
    pub(crate) fn real(&self, rng: &mut ChaCha8Rng) -> Option<Scene<'a>> {
        let case = self.cases.choose(rng)?;
        let home = case.shape.as_ref().and_then(|shape| Some((shape, shape.home()?)));
        let faded = home.is_some() && rng.random_bool(self.config.fade);
        let mut scene = if faded {
            self.brain_of(case, "real", &case.healed, &case.brain, rng)
        } else {
            self.brain_of(case, "real", &case.volume, &case.labels, rng)
        };
        if rng.random_bool(self.config.foreground) {
            let classes: Vec<&Vec<usize>> =
                case.tumour_voxels.iter().filter(|voxels| !voxels.is_empty()).collect();
            if let Some(&voxel) = classes.choose(rng).and_then(|voxels| voxels.choose(rng)) {
                scene.focus = case.place(voxel);
            }
        }
        let recoloured = rng.random_bool(self.config.recolour);
        if let Some((shape, home)) = home
            && (recoloured || faded)
        {
            // The tumour is copied over itself, or over the healed brain.
            let centre = [0, 1, 2].map(|axis: usize| home[axis] - case.origin[axis]);
            let shift = if recoloured { self.shift(rng) } else { [[0.0; 4]; 3] };
            let opacity = if faded { self.opacity(rng) } else { 1.0 };
            let look = Look::Copied { donor: &case.volume, centre, shift, opacity };
            let placement = Placement::at(centre);
            scene.implant = Some(Implant { shape: shape.clone(), placement, look, push: None });
            scene.reference =
                case.brain_voxels.iter().map(|&voxel| case.healed.voxels()[voxel]).collect();
        }
        Some(scene)
    }

    /// Draws how much of a faded tumour stays.
    fn opacity(&self, rng: &mut ChaCha8Rng) -> f32 {
        uniform(rng, self.config.fade_opacity_min, 1.0)
    }

    /// Draws a change of brightness by part and sequence.
    fn shift(&self, rng: &mut ChaCha8Rng) -> [[f32; 4]; 3] {
        let deviation = self.config.recolour_deviation;
        [[(); 4]; 3].map(|part| part.map(|()| normal(rng) * deviation))
    }

    /// Returns a real brain without its tumour.
    pub(crate) fn healed(&self, rng: &mut ChaCha8Rng) -> Option<Scene<'a>> {
        let case = self.cases.choose(rng)?;
        Some(self.brain_of(case, "healthy", &case.healed, &case.brain, rng))
    }

    fn brain_of(
        &self,
        case: &'a CachedCase,
        origin: &'static str,
        source: &'a Interleaved,
        labels: &'a [u8],
        rng: &mut ChaCha8Rng,
    ) -> Scene<'a> {
        let reference = case.brain_voxels.iter().map(|&voxel| source.voxels()[voxel]).collect();
        let focus = case.brain_voxels.choose(rng).map_or([0.0; 3], |&voxel| case.place(voxel));
        let brain_count = case.brain_count;
        Scene {
            origin,
            source,
            labels,
            rendering: None,
            implant: None,
            reference,
            brain_count,
            focus,
        }
    }

    /// Returns a real brain with a drawn tumour in place of its own.
    pub(crate) fn transplant(&self, rng: &mut ChaCha8Rng) -> Option<Scene<'a>> {
        let case = self.cases.choose(rng)?;
        let mut scene = self.brain_of(case, "transplant", &case.healed, &case.brain, rng);
        let made = self.shapes.as_slice().is_empty() || rng.random_bool(self.config.made_shape);
        let (shape, placement) = if made {
            let size_ml = random_size_ml(rng);
            let shape = neurotriage_phantom::tumour::procedural(rng, size_ml, |_| 0.0);
            let placement = self.place(&shape, &scene, case.origin, rng);
            (shape, placement)
        } else {
            let shape = self.shapes.as_slice().choose(rng)?.clone();
            let placement = self.place(&shape, &scene, case.origin, rng);
            (shape, placement)
        };
        let look = Look::Drawn(Box::new(self.appearance(&shape, rng)));
        self.put(&mut scene, shape, placement, look, rng);
        Some(scene)
    }

    /// Returns a real brain with the tumour of another real case in place of its own.
    pub(crate) fn paste(&self, rng: &mut ChaCha8Rng) -> Option<Scene<'a>> {
        let case = self.cases.choose(rng)?;
        let others: Vec<&CachedCase> = self
            .cases
            .iter()
            .filter(|other| other.shape.is_some() && !std::ptr::eq(*other, case))
            .collect();
        let donor = *others.choose(rng)?;
        let shape = donor.shape.clone()?;
        let mut scene = self.brain_of(case, "paste", &case.healed, &case.brain, rng);
        let placement = self.place(&shape, &scene, case.origin, rng);
        let home = shape.home()?;
        let centre = [0, 1, 2].map(|axis: usize| home[axis] - donor.origin[axis]);
        let shift =
            if rng.random_bool(self.config.recolour) { self.shift(rng) } else { [[0.0; 4]; 3] };
        let opacity = if rng.random_bool(self.config.fade) { self.opacity(rng) } else { 1.0 };
        let look = Look::Copied { donor: &donor.volume, centre, shift, opacity };
        self.put(&mut scene, shape, placement, look, rng);
        Some(scene)
    }

    /// Returns a phantom, with a tumour.
    pub(crate) fn phantom(&self, rng: &mut ChaCha8Rng) -> Option<Scene<'a>> {
        let template = self.templates.choose(rng)?;
        let mut scene = self.healthy_phantom(template, rng);
        scene.origin = "phantom";
        let made = self.shapes.as_slice().is_empty() || rng.random_bool(self.config.made_shape);
        let origin = template.crop.start.map(|start| start as f32);
        let (shape, placement) = if made {
            let centre = random_centre(rng, template);
            let size_ml = random_size_ml(rng);
            (grow(rng, template, centre, size_ml), Placement::at(centre))
        } else {
            let shape = self.shapes.as_slice().choose(rng)?.clone();
            let placement = self.place(&shape, &scene, origin, rng);
            (shape, placement)
        };
        let look = Look::Drawn(Box::new(self.appearance(&shape, rng)));
        self.put(&mut scene, shape, placement, look, rng);
        Some(scene)
    }

    /// Returns a phantom without tumour, of any template.
    pub(crate) fn healthy(&self, rng: &mut ChaCha8Rng) -> Option<Scene<'a>> {
        let template = self.templates.choose(rng)?;
        Some(self.healthy_phantom(template, rng))
    }

    fn healthy_phantom(&self, template: &'a Template, rng: &mut ChaCha8Rng) -> Scene<'a> {
        let rendering = Rendering::random(rng, template, self.config.contrast_deviation);
        let reference = rendering.reference(template, rng);
        Scene {
            origin: "healthy",
            source: &template.tissues,
            labels: &template.labels,
            rendering: Some(rendering),
            implant: None,
            reference,
            brain_count: template.labels.iter().filter(|&&label| label != AIR).count(),
            focus: random_centre(rng, template),
        }
    }

    /// Draws what a tumour looks like.
    fn appearance(&self, shape: &TumourShape, rng: &mut ChaCha8Rng) -> Appearance {
        if Appearance::is_low_grade(rng, shape.enhancing_share()) {
            let mut appearance = Appearance::low_grade(rng);
            appearance.jitter(rng, 0.35);
            return appearance;
        }
        let mut appearance = Appearance::high_grade(rng);
        if rng.random_bool(self.config.real_appearance)
            && let Some(case) = self.cases.choose(rng)
        {
            let (mut mean, mut spread) = (appearance.mean, appearance.spread);
            for (part, statistics) in case.statistics.iter().enumerate() {
                let Some(statistics) = statistics else { continue };
                mean[part] = statistics.map(|[mean, _]| mean);
                // The tissue below adds variance of its own.
                spread[part] = statistics.map(|[_, deviation]| deviation * 0.85);
            }
            appearance = Appearance::from_statistics(rng, mean, spread);
        }
        appearance.jitter(rng, 0.35);
        appearance
    }

    /// Draws where a shape lies: most often near where it was in its own brain, or the mirror image
    /// of that, else anywhere.
    fn place(
        &self,
        shape: &TumourShape,
        scene: &Scene<'_>,
        origin: [f32; 3],
        rng: &mut ChaCha8Rng,
    ) -> Placement {
        let home = shape.home().filter(|_| rng.random_bool(0.7));
        let mirrored = rng.random_bool(0.5);
        let turn = if home.is_some() { 0.3 } else { std::f32::consts::PI };
        let volume = scene.source.shape();
        let mut centre = scene.focus;
        for _ in 0..PLACE_DRAWS_MAX {
            let candidate = match home {
                Some([x, y, z]) => {
                    let x = if mirrored { 2.0 * MIDLINE - x } else { x };
                    let shift = [0; 3].map(|_: i32| uniform(rng, -12.0, 12.0));
                    [x - origin[0] + shift[0], y - origin[1] + shift[1], z - origin[2] + shift[2]]
                }
                None => volume.map(|side| uniform(rng, 0.0, side as f32)),
            };
            if nearest(volume, candidate).is_some_and(|voxel| scene.labels[voxel] != AIR) {
                centre = candidate;
                break;
            }
        }
        let angles = [0; 3].map(|_: i32| uniform(rng, -turn, turn));
        let size = uniform(rng, 0.7, 1.3);
        let scale = [0; 3].map(|_: i32| size * uniform(rng, 0.88, 1.14));
        let flip = [if mirrored { -1.0 } else { 1.0 }, 1.0, 1.0];
        let mirror: Matrix = scaled(&IDENTITY, flip);
        let matrix = product(
            &product(&mirror, &rotation(angles)),
            &scaled(&IDENTITY, scale.map(f32::recip)),
        );
        let scale_max = scale.iter().copied().fold(0.0, f32::max);
        let deviation = uniform(rng, 0.0, 2.2);
        let mut axis =
            || SmoothField::random(rng, self.config.patch, DEFORM_CELL_VOXELS, deviation);
        let displacement = (deviation > 0.2).then(|| [axis(), axis(), axis()]);
        Placement { centre, matrix, scale_max, displacement }
    }

    /// Puts the tumour into the scene and, most often, points the patch at it.
    fn put(
        &self,
        scene: &mut Scene<'a>,
        shape: TumourShape,
        placement: Placement,
        look: Look<'a>,
        rng: &mut ChaCha8Rng,
    ) {
        if rng.random_bool(self.config.foreground) {
            let reach = 0.35 * shape.radius_mm();
            let shift = [0; 3].map(|_: i32| uniform(rng, -reach, reach));
            scene.focus = [0, 1, 2].map(|axis: usize| placement.centre[axis] + shift[axis]);
        }
        let push = rng.random_bool(self.config.push).then(|| Push {
            centre: placement.centre,
            reach: 2.5 * shape.core_radius_mm() * placement.scale_max + 12.0,
            strength: uniform(rng, 0.0, 0.3),
        });
        scene.implant = Some(Implant { shape, placement, look, push });
    }
}

/// Returns the step in the source for a step in the patch, with flips.
pub(crate) fn draw_matrix(config: &MixConfig, rng: &mut ChaCha8Rng) -> Matrix {
    let augment = &config.augment;
    let mut matrix = IDENTITY;
    let mut scale = [config.voxel_mm; 3];
    if rng.random_bool(augment.affine) {
        let most = augment.rotation_degrees.to_radians();
        matrix = rotation([0; 3].map(|_: i32| uniform(rng, -most, most)));
        let [low, high] = augment.scale;
        let size = uniform(rng, low.ln(), high.ln()).exp();
        // Brains differ in proportions too, by less.
        scale = scale.map(|voxel| voxel / (size * uniform(rng, low.powf(0.25), high.powf(0.25))));
    }
    for (axis, chance) in
        [augment.flip_x, augment.flip_other, augment.flip_other].into_iter().enumerate()
    {
        if rng.random_bool(chance) {
            scale[axis] = -scale[axis];
        }
    }
    scaled(&matrix, scale)
}

/// Returns the centre of a patch that shows `focus`, somewhere, and little air.
pub(crate) fn draw_centre(
    config: &MixConfig,
    focus: [f32; 3],
    matrix: &Matrix,
    volume: [usize; 3],
    rng: &mut ChaCha8Rng,
) -> [f32; 3] {
    /// The focus lies within this share of the patch about its middle.
    const FOCUS_SHARE: f32 = 0.25;
    let offset = config.patch.map(|side| uniform(rng, -FOCUS_SHARE, FOCUS_SHARE) * side as f32);
    let shift = apply(matrix, offset);
    [0, 1, 2].map(|axis: usize| {
        let reach: f32 = matrix[axis].iter().map(|part| part * part).sum::<f32>().sqrt();
        let half = reach * config.patch[axis] as f32 / 2.0 * 0.85;
        let side = volume[axis] as f32 - 1.0;
        let place = focus[axis] + shift[axis];
        // Not further into the air than the patch's own size asks for.
        if side <= 2.0 * half { side / 2.0 } else { place.clamp(half, side - half) }
    })
}
