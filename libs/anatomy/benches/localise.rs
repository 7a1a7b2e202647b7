//! Times localisation, from the mask in memory to the answer. Called by `cargo xtask bench localise`.
//!
//! The masks are those of the folder given by `--cases`; without it, of six phantoms. With `--peer`,
//! which names a Python with nibabel, numpy and scipy, `tools/localise_peer.py` localises the same
//! masks in the same run.

#![allow(clippy::print_stdout, reason = "a table for people")]
#![allow(clippy::unwrap_used, reason = "a program for developers: it may stop at any error")]

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use neurotriage_anatomy::{Localisation, LocaliseOptions, localise};
use neurotriage_imaging::{CaseFiles, Mask, nifti::write_mask_gz};
use neurotriage_phantom::{Phantom, PhantomSpec};
use serde::Deserialize;

/// Repetitions of each case after a first that reads the atlas and does not count.
const REPETITIONS: usize = 7;

/// What VASARI-auto needs for a case, by its authors.
const VASARI_AUTO_SECONDS: f64 = 3.0;

/// The workspace.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn main() {
    let masks = masks();
    let peer = argument("--peer").map(|python| peer(&python, &masks));
    println!(
        "localise a mask in memory, one thread, median of {REPETITIONS}; VASARI-auto needs \
         {VASARI_AUTO_SECONDS} s a case by its authors (not run here)"
    );
    if peer.is_some() {
        println!(
            "peer: tools/localise_peer.py, which does not move the study to see which regions change, \
             and knows no eloquent areas, satellites, midline or diameters in slices"
        );
    }
    let headings = "  peer, s  as fast  largest difference of a region, ml";
    println!(
        "case                       ml  lesions      s  as fast as 3 s{}",
        if peer.is_some() { headings } else { "" }
    );
    for (number, (name, mask)) in masks.iter().enumerate() {
        let options = LocaliseOptions::default();
        let found = localise(mask, &options).unwrap();
        let mut times: Vec<Duration> = (0..REPETITIONS)
            .map(|_| {
                let start = Instant::now();
                std::hint::black_box(localise(mask, &options).unwrap());
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        let seconds = times[REPETITIONS / 2].as_secs_f64();
        let beside = peer.as_ref().map_or_else(String::new, |peer| {
            let peer = &peer[number];
            format!(
                "  {:>7.3}  {:>7.2}  {:.3}",
                peer.seconds,
                peer.seconds / seconds,
                difference_ml(&found, peer)
            )
        });
        println!(
            "{name:22} {:>6.1}  {:>7}  {seconds:>5.3}  {:>14.0}{beside}",
            found.volumes.whole_ml,
            found.lesions.len(),
            VASARI_AUTO_SECONDS / seconds
        );
    }
}

/// What the peer prints of one mask.
#[derive(Deserialize)]
struct Peer {
    seconds: f64,
    /// Millilitres by name.
    regions: BTreeMap<String, f64>,
}

/// Lets the peer localise the masks.
fn peer(python: &OsStr, masks: &[(String, Mask)]) -> Vec<Peer> {
    let folder = tempfile::tempdir().unwrap();
    let atlas = Path::new(ROOT).join("assets/atlas");
    let mut command = Command::new(python);
    command.arg(Path::new(ROOT).join("tools/localise_peer.py"));
    command.arg("--atlas").arg(atlas.join("brats_grid_lobes.nii.gz"));
    command.arg("--names").arg(atlas.join("brats_grid_lobes_labels.json"));
    command.args(["--repetitions", &REPETITIONS.to_string()]);
    for (number, (_, mask)) in masks.iter().enumerate() {
        let path = folder.path().join(format!("{number}.nii.gz"));
        fs::write(&path, write_mask_gz(mask).unwrap()).unwrap();
        command.arg(path);
    }
    // As many threads as we use.
    let output = command.env("OMP_NUM_THREADS", "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let peers: Vec<Peer> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(peers.len(), masks.len(), "the peer left masks out");
    peers
}

/// Returns the largest difference between the volumes of a region, in millilitres.
fn difference_ml(found: &Localisation, peer: &Peer) -> f64 {
    let site = found.site.iter().flat_map(|site| &site.regions);
    let ours: BTreeMap<String, f64> =
        site.map(|share| (share.region.to_string(), share.volume_ml)).collect();
    let names = ours.keys().chain(peer.regions.keys());
    let of = |map: &BTreeMap<String, f64>, name| map.get(name).copied().unwrap_or(0.0);
    names.map(|name| (of(&ours, name) - of(&peer.regions, name)).abs()).fold(0.0, f64::max)
}

/// Returns what follows a flag.
fn argument(flag: &str) -> Option<OsString> {
    std::env::args_os().skip_while(|argument| argument != flag).nth(1)
}

fn masks() -> Vec<(String, Mask)> {
    if let Some(folder) = argument("--cases") {
        let files = CaseFiles::find_all(Path::new(&folder)).unwrap();
        let read = |files: CaseFiles| Some((files.id.clone(), files.read_truth().unwrap()?));
        return files.into_iter().filter_map(read).collect();
    }
    (1..=6)
        .map(|seed| {
            (format!("phantom {seed}"), Phantom::generate(&PhantomSpec::new(seed)).unwrap().truth)
        })
        .collect()
}
