//! The picture of the marked slices.

use std::path::Path;

use neurotriage_imaging::{
    CaseFiles,
    nifti::read_mask_file,
    overlay::{OverlayOptions, render_overlay},
};

/// Returns a PNG of FLAIR and T1ce with the mask, through the slices with most tumour.
pub(super) fn render(case: &CaseFiles, mask: &Path) -> anyhow::Result<Vec<u8>> {
    let study = case.read_study()?;
    let mask = study.align_mask(read_mask_file(mask)?, "mask")?;
    Ok(render_overlay(&study, &mask, &OverlayOptions::default())?)
}
