//! The pictures of the marked slices.

use std::path::Path;

use neurotriage_anatomy::Localisation;
use neurotriage_domain::Modality;
use neurotriage_imaging::{
    CaseFiles, Mask, Study,
    nifti::read_mask_file,
    overlay::{
        OverlayOptions, region_rgb, render_overlay, render_overlay_panels, render_region_panels,
    },
};

use crate::{
    outlines,
    report::html::{OutlinedRegion, Outlines, Pictures},
};

/// The pictures of one case.
pub(super) struct Drawn {
    /// FLAIR and T1ce with the mask, through the slices with most tumour, with a legend: PNG.
    pub(super) overlay_png: Vec<u8>,
    /// The same and the outlines of the regions, for a page.
    pub(super) for_page: Pictures,
}

/// Draws the pictures of a case; `localisation` is what the localiser knows.
pub(super) fn render(
    case: &CaseFiles,
    mask: &Path,
    localisation: Option<&Localisation>,
) -> anyhow::Result<Drawn> {
    let study = case.read_study()?;
    let mask = study.align_mask(read_mask_file(mask)?, "mask")?;
    let options = OverlayOptions::default();
    let outlines = match localisation {
        Some(known) => outlines(&study, &mask, known)?,
        None => None,
    };
    Ok(Drawn {
        overlay_png: render_overlay(&study, &mask, &options)?,
        for_page: Pictures {
            slices_png: Some(render_overlay_panels(&study, &mask, &options)?),
            outlines,
        },
    })
}

/// Draws the outlines of the regions on T1ce; `None` if no region is known.
fn outlines(
    study: &Study,
    mask: &Mask,
    localisation: &Localisation,
) -> anyhow::Result<Option<Outlines>> {
    let named = outlines::named(localisation)?;
    if named.is_empty() {
        return Ok(None);
    }
    let image = study.image(Modality::T1ce).clone();
    let png = outlines::draw(image, mask.clone(), localisation, render_region_panels)?;
    let regions = named.into_iter().enumerate().map(|(number, (_, share))| OutlinedRegion {
        region: share.region.to_string(),
        display_name: share.display_name.clone(),
        share: share.share,
        rgb: region_rgb(number),
    });
    Ok(Some(Outlines { png, regions: regions.collect() }))
}
