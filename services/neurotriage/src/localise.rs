//! Names the brain regions that a mask touches.

use anyhow::Context as _;
use neurotriage_anatomy::{Localisation, LocaliseOptions, localise};
use neurotriage_imaging::{
    Image, Mask,
    nifti::{read_image_file, read_mask_file, write_atomically},
    overlay::render_regions,
};
use neurotriage_segmentation::{localise::space_rule, placement::place};

use crate::{
    cli::LocaliseArgs,
    outlines,
    output::print,
    report::{from_anatomy, terminal},
};

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
    let draw = || -> anyhow::Result<()> {
        let picture = outlines::draw(image, mask, &localisation, render_regions)?;
        Ok(write_atomically(path, &picture)?)
    };
    draw().with_context(|| format!("draw {}", path.display()))
}

fn find(args: &LocaliseArgs, mask: &Mask, image: Option<&Image>) -> anyhow::Result<Localisation> {
    let mut options = LocaliseOptions::default();
    if let Some(image) = image {
        options.space = space_rule(place(image, Some(mask), args.registration, args.device)?);
    }
    Ok(localise(mask, &options)?)
}
