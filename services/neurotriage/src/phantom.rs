//! Writes synthetic cases with known truth.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use neurotriage_anatomy::{Atlas, Template};
use neurotriage_domain::RegionName;
use neurotriage_phantom::{Phantom, PhantomSpec};

use crate::{cli::PhantomArgs, output::print, progress::Progress};

/// Where the tumour of the default phantom lies.
const DEFAULT_REGION: &str = "frontal_left";
/// Size of the tumour of the default phantom, in millilitres: that of a usual glioblastoma.
const DEFAULT_SIZE_ML: f32 = 60.0;
/// Seed of the default phantom.
const DEFAULT_SEED: u64 = 7;
/// Folder of the default phantom, and the start of its file names.
const DEFAULT_ID: &str = "case";

/// Symptoms of a patient with the default phantom's tumour; one of them it does not explain.
pub const DEFAULT_SYMPTOMS: &str = "For six weeks my right arm and leg have been getting weaker, \
and I have trouble getting words out. Two weeks ago I had a seizure with jerking of the right hand. \
Headaches in the morning. There is ringing in my left ear. No trouble with vision.";

/// Step of the search for the middle of a region, in millimetres.
const SEARCH_STEP_MM: f64 = 2.0;
/// Lowest and highest RAS+ coordinates of the BraTS grid, in millimetres.
const GRID_MM: [[f64; 2]; 3] = [[-239.0, 0.0], [0.0, 239.0], [0.0, 154.0]];

/// Writes the phantoms asked for and prints their folders.
///
/// # Errors
/// If the place is not in the brain or the folder can't be written.
pub fn run(args: &PhantomArgs) -> anyhow::Result<()> {
    let centre_mm = args.at.as_deref().map(place).transpose()?;
    let mut progress = Progress::on_stderr();
    progress.step("phantom");
    for number in 0..args.count {
        let seed = args.seed.wrapping_add(u64::from(number));
        let id = format!("phantom-{seed:04}");
        progress.update(u64::from(number), u64::from(args.count));
        progress.message(&id);
        write(&args.out, &id, &PhantomSpec { seed, centre_mm, size_ml: None })?;
        print(&format!("{}\n", args.out.join(&id).display()))?;
    }
    progress.finish();
    Ok(())
}

/// Writes the phantom that `diagnose` takes without a case into the folder `case` under `folder`,
/// and returns that folder.
///
/// # Errors
/// If the folder can't be written.
pub fn write_default(folder: &Path) -> anyhow::Result<PathBuf> {
    let centre_mm = Some(place(DEFAULT_REGION)?);
    let spec = PhantomSpec { seed: DEFAULT_SEED, centre_mm, size_ml: Some(DEFAULT_SIZE_ML) };
    write(folder, DEFAULT_ID, &spec)?;
    Ok(folder.join(DEFAULT_ID))
}

fn write(folder: &Path, id: &str, spec: &PhantomSpec) -> anyhow::Result<()> {
    let case = Phantom::generate(spec)?;
    case.write_case(folder, id).with_context(|| format!("write {}", folder.join(id).display()))
}

/// Returns a place in RAS+ millimetres: three numbers, or the middle of a region.
fn place(text: &str) -> anyhow::Result<[f32; 3]> {
    let numbers: Result<Vec<f32>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    if let Ok(numbers) = numbers {
        let Ok(place) = <[f32; 3]>::try_from(numbers) else {
            bail!("`{text}` is no place; give x,y,z in RAS+ millimetres or a region");
        };
        return Ok(place);
    }
    let region: RegionName = text
        .parse()
        .with_context(|| "give --at a region such as frontal_left, or x,y,z in RAS+ millimetres")?;
    middle(region)
}

/// Returns the place in the region that is nearest to its centre of mass.
fn middle(region: RegionName) -> anyhow::Result<[f32; 3]> {
    let atlas = Atlas::of(Template::Sri24)?;
    let steps = |[first, last]: [f64; 2]| {
        let count = ((last - first) / SEARCH_STEP_MM).floor() as usize;
        (0..=count).map(move |step| first + step as f64 * SEARCH_STEP_MM)
    };
    let mut inside: Vec<[f64; 3]> = Vec::new();
    for x in steps(GRID_MM[0]) {
        for y in steps(GRID_MM[1]) {
            for z in steps(GRID_MM[2]) {
                if atlas.region_at([x, y, z]) == Some(region) {
                    inside.push([x, y, z]);
                }
            }
        }
    }
    let mean = [0, 1, 2].map(|axis: usize| {
        inside.iter().map(|place| place[axis]).sum::<f64>() / inside.len() as f64
    });
    let squared_distance =
        |place: &[f64; 3]| -> f64 { (0..3).map(|axis| (place[axis] - mean[axis]).powi(2)).sum() };
    let nearest = inside.iter().min_by(|a, b| squared_distance(a).total_cmp(&squared_distance(b)));
    let Some(nearest) = nearest else {
        let known: Vec<String> = atlas.regions().map(|region| region.to_string()).collect();
        bail!("the atlas has no region {region}; it has {}", known.join(", "));
    };
    Ok(nearest.map(|mm| mm as f32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_three_numbers_or_the_middle_of_a_region() {
        assert_eq!(place("-90, 120.5,80").unwrap(), [-90.0, 120.5, 80.0]);
        let left = place("frontal_left").unwrap();
        let atlas = Atlas::of(Template::Sri24).unwrap();
        let region = atlas.region_at(left.map(f64::from)).unwrap();
        assert_eq!(region.to_string(), "frontal_left");
        for (text, expected) in
            [("1,2", "no place"), ("elbow_left", "frontal_left"), ("", "frontal_left")]
        {
            let error = format!("{:#}", place(text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
