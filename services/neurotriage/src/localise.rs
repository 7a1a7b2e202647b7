//! Names the brain regions that a mask touches.

use std::path::Path;

use anyhow::{Context as _, ensure};
use neurotriage_anatomy::{
    Atlas, Localisation, LocaliseOptions, Placement, RegionShare, Tissue, localise,
};
use neurotriage_imaging::{
    AffineMap, Image, Mask, canonicalise,
    nifti::{read_image_file, read_mask_file, write_atomically},
    overlay::{OverlayOptions, RegionKey, RegionPicture, render_regions},
};
use neurotriage_segmentation::{localise::space_rule, placement::place};

use crate::{
    cli::LocaliseArgs,
    output::print,
    report::{from_anatomy, terminal},
};

/// Regions named in a picture at most.
const NAMED_MAX: usize = 8;

/// Largest difference of the affines of image and mask that are one grid.
const GRID_TOLERANCE: f64 = 1e-3;

/// Localises a mask and prints where its lesions lie.
///
/// # Errors
/// If the file is no tumour mask, or the image cannot be placed in space or drawn.
pub fn run(args: &LocaliseArgs) -> anyhow::Result<()> {
    let mask = read_mask_file(&args.mask)?;
    let image = args.image.as_deref().map(read_image_file).transpose()?;
    let localisation = find(args, &mask, image.as_ref())
        .with_context(|| format!("localise {}", args.mask.display()))?;
    // The answer first: a picture that cannot be written takes nothing of it away.
    if args.json {
        print(&(serde_json::to_string_pretty(&localisation)? + "\n"))?;
    } else {
        print(&terminal::render_image(&from_anatomy::image(&localisation)))?;
    }
    let (Some(path), Some(image)) = (&args.picture, image) else { return Ok(()) };
    draw(path, image, mask, &localisation).with_context(|| format!("draw {}", path.display()))
}

fn find(args: &LocaliseArgs, mask: &Mask, image: Option<&Image>) -> anyhow::Result<Localisation> {
    let mut options = LocaliseOptions::default();
    if let Some(image) = image {
        options.space = space_rule(place(image, Some(mask), args.registration, args.device)?);
    }
    Ok(localise(mask, &options)?)
}

/// Draws the image, the mask and the regions through the largest lesion.
fn draw(path: &Path, image: Image, mask: Mask, localisation: &Localisation) -> anyhow::Result<()> {
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
    let (mut key, mut caption) = (Vec::new(), "SPACE UNKNOWN: NO REGION IS NAMED".to_owned());
    let mut label_at: Box<dyn Fn([f64; 3]) -> u8> = Box::new(|_| 0);
    if let Some(Placement { template, template_from_patient, .. }) = localisation.placement {
        let atlas = Atlas::of(template)?;
        let label = |share: &RegionShare| {
            (1..=u8::MAX).find(|&label| atlas.region_of_label(label) == Some(share.region))
        };
        let site = localisation.site.iter();
        for share in site.flat_map(|site| &site.regions).take(NAMED_MAX) {
            if let Some(label) = label(share) {
                let text = format!("{} {:.0} %", share.display_name, 100.0 * share.share);
                key.push(RegionKey { label, text });
            }
        }
        caption = format!("ATLAS {}", atlas.name());
        let template_from_voxel = template_from_patient.after(&AffineMap::from(&image.affine));
        label_at = Box::new(move |voxel| {
            let label = atlas.label_at(template_from_voxel.apply(voxel));
            // Space around the brain is no region.
            if atlas.region_of_label(label).is_some() { label } else { 0 }
        });
    }
    let picture = RegionPicture {
        image: &image,
        mask: &mask,
        at,
        label_at: &*label_at,
        key: &key,
        caption: &caption,
    };
    write_atomically(path, &render_regions(&picture, &OverlayOptions::default())?)?;
    Ok(())
}
