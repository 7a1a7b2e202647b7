//! The picture of a study with its mask and the outlines of the regions that the tumour touches.

use anyhow::ensure;
use neurotriage_anatomy::{Atlas, Localisation, Placement, RegionShare, Tissue};
use neurotriage_imaging::{
    AffineMap, Image, ImagingError, Mask, canonicalise,
    overlay::{OverlayOptions, RegionKey, RegionPicture},
};

/// Regions named in a picture at most.
const NAMED_MAX: usize = 8;

/// Largest difference of the affines of image and mask that are one grid.
const GRID_TOLERANCE: f64 = 1e-3;

/// How a picture becomes a PNG, with or without its key.
pub(crate) type Render = fn(&RegionPicture<'_>, &OverlayOptions) -> Result<Vec<u8>, ImagingError>;

/// Returns the regions that a picture outlines in colour, in the order of its key; none if the study is
/// in no known space.
pub(crate) fn named(localisation: &Localisation) -> anyhow::Result<Vec<(u8, &RegionShare)>> {
    let Some(Placement { template, .. }) = localisation.placement else { return Ok(Vec::new()) };
    let atlas = Atlas::of(template)?;
    let label = |share: &RegionShare| {
        (1..=u8::MAX).find(|&label| atlas.region_of_label(label) == Some(share.region))
    };
    let shares = localisation.site.iter().flat_map(|site| &site.regions).take(NAMED_MAX);
    Ok(shares.filter_map(|share| Some((label(share)?, share))).collect())
}

/// Draws the image, the mask and the regions through the largest lesion, as PNG.
///
/// # Errors
/// If image and mask are on different grids, or cannot be drawn.
pub(crate) fn draw(
    image: Image,
    mask: Mask,
    localisation: &Localisation,
    render: Render,
) -> anyhow::Result<Vec<u8>> {
    ensure!(
        image.grid().matches(&mask.grid(), GRID_TOLERANCE),
        "image and mask are on different grids: resample one to the other"
    );
    let centre_mm = localisation.lesions.first().and_then(|lesion| {
        let core = lesion.compartment(Tissue::Core).or(lesion.compartment(Tissue::Whole));
        core.map(|core| core.centroid.patient_mm)
    });
    let ((image, _), (mask, _)) = (canonicalise(image), canonicalise(mask));
    let shape = image.shape();
    let at = match centre_mm {
        None => shape.map(|side| side / 2),
        Some(centre_mm) => {
            let voxel = image.affine.voxel_at(centre_mm);
            [0, 1, 2].map(|axis| (voxel[axis].round().max(0.0) as usize).min(shape[axis] - 1))
        }
    };
    let mut caption = "SPACE UNKNOWN: NO REGION IS NAMED".to_owned();
    let mut label_at: Box<dyn Fn([f64; 3]) -> u8> = Box::new(|_| 0);
    if let Some(Placement { template, template_from_patient, .. }) = localisation.placement {
        let atlas = Atlas::of(template)?;
        caption = format!("ATLAS {}", atlas.name());
        let template_from_voxel = template_from_patient.after(&AffineMap::from(&image.affine));
        label_at = Box::new(move |voxel| {
            let label = atlas.label_at(template_from_voxel.apply(voxel));
            // Space around the brain is no region.
            if atlas.region_of_label(label).is_some() { label } else { 0 }
        });
    }
    let key: Vec<RegionKey> = named(localisation)?
        .into_iter()
        .map(|(label, share)| RegionKey {
            label,
            text: format!("{} {:.0} %", share.display_name, 100.0 * share.share),
        })
        .collect();
    let picture = RegionPicture {
        image: &image,
        mask: &mask,
        at,
        label_at: &*label_at,
        key: &key,
        caption: &caption,
    };
    Ok(render(&picture, &OverlayOptions::default())?)
}
