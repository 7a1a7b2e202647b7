//! Names the brain regions that a mask touches.

use anyhow::Context as _;
use neurotriage_anatomy::{Localisation, LocaliseOptions, localise};
use neurotriage_imaging::{Mask, nifti::read_image_file, nifti::read_mask_file};
use neurotriage_segmentation::{localise::space_rule, placement::place};

use crate::{
    cli::LocaliseArgs,
    output::print,
    report::{from_anatomy, terminal},
};

/// Localises a mask and prints where its lesions lie.
///
/// # Errors
/// If the file is no tumour mask, or the image cannot be placed in space.
pub fn run(args: &LocaliseArgs) -> anyhow::Result<()> {
    let mask = read_mask_file(&args.mask)?;
    let localisation =
        find(args, &mask).with_context(|| format!("localise {}", args.mask.display()))?;
    if args.json {
        return print(&(serde_json::to_string_pretty(&localisation)? + "\n"));
    }
    print(&terminal::render_image(&from_anatomy::image(&localisation)))
}

fn find(args: &LocaliseArgs, mask: &Mask) -> anyhow::Result<Localisation> {
    let mut options = LocaliseOptions::default();
    if let Some(path) = &args.image {
        let image = read_image_file(path)?;
        let place = place(&image, Some(mask), args.registration, args.device)?;
        options.space = space_rule(place);
    }
    Ok(localise(mask, &options)?)
}
