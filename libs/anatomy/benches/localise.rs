//! Times localisation, from the mask in memory to the answer. Called by `cargo xtask bench localise`.
//!
//! The masks are those of the folder given by `--cases`; without it, of six phantoms.

#![allow(clippy::print_stdout, reason = "a table for people")]
#![allow(clippy::unwrap_used, reason = "a program for developers: it may stop at any error")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use neurotriage_anatomy::{LocaliseOptions, localise};
use neurotriage_imaging::{CaseFiles, Mask};
use neurotriage_phantom::{Phantom, PhantomSpec};

/// Repetitions of each case after a first that reads the atlas and does not count.
const REPETITIONS: usize = 7;

/// What VASARI-auto needs for a case, by its authors.
const VASARI_AUTO_SECONDS: f64 = 3.0;

fn main() {
    let masks = masks();
    println!(
        "localise a mask in memory, one thread, median of {REPETITIONS}; VASARI-auto needs \
         {VASARI_AUTO_SECONDS} s a case by its authors (not run here)"
    );
    println!("case                       ml  lesions      s  as fast as 3 s");
    for (name, mask) in &masks {
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
        println!(
            "{name:22} {:>6.1}  {:>7}  {seconds:>5.3}  {:>14.0}",
            found.volumes.whole_ml,
            found.lesions.len(),
            VASARI_AUTO_SECONDS / seconds
        );
    }
}

fn masks() -> Vec<(String, Mask)> {
    if let Some(folder) = std::env::args_os().skip_while(|argument| argument != "--cases").nth(1) {
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
