//! Names the brain regions that a mask touches.

use anyhow::Context as _;
use neurotriage_anatomy::{LocaliseOptions, localise};
use neurotriage_imaging::nifti::read_mask_file;

use crate::{
    cli::LocaliseArgs,
    output::print,
    report::{from_anatomy, terminal},
};

/// Localises a mask and prints where its lesions lie.
///
/// # Errors
/// If the file is no tumour mask.
pub fn run(args: &LocaliseArgs) -> anyhow::Result<()> {
    let mask = read_mask_file(&args.mask)?;
    let localisation = localise(&mask, &LocaliseOptions::default())
        .with_context(|| format!("localise {}", args.mask.display()))?;
    if args.json {
        return print(&(serde_json::to_string_pretty(&localisation)? + "\n"));
    }
    print(&terminal::render_image(&from_anatomy::image(&localisation)))
}
