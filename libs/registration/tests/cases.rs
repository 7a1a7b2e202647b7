//! Real studies, from the folder that `NEUROTRIAGE_CASES` names, moved by known amounts.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop the test")]
#![allow(clippy::print_stdout, reason = "says what was skipped and what was reached")]

mod support;

use std::{path::Path, time::Instant};

use neurotriage_domain::Modality;
use neurotriage_imaging::{AffineMap, CaseFiles};
use neurotriage_registration::{Patient, RegistrationOptions, Target, Verdict, register};
use support::{Push, error_mm, moved_image, moved_mask, random_move, sri24};

/// Largest mean error over the brain, in millimetres.
const ERROR_MM_MAX: f64 = 3.0;

/// Largest error of a displacement, in millimetres.
const DISPLACEMENT_ERROR_MM_MAX: f64 = 1.5;

/// Between the frontal horns, in SRI24's millimetres.
const SEPTUM_MM: [f64; 3] = [-118.0, 132.0, 80.0];

#[test]
fn moved_studies_come_back() {
    let Some(folder) = std::env::var_os("NEUROTRIAGE_CASES") else {
        println!("skipped: set NEUROTRIAGE_CASES");
        return;
    };
    let target = sri24();
    let options = RegistrationOptions::default();
    for (seed, files) in (1..).zip(CaseFiles::find_all(Path::new(&folder)).unwrap()) {
        let study = files.read_study().unwrap();
        let lesion = files.read_truth().unwrap().unwrap();
        let image = study.image(Modality::T1);
        let by = random_move(seed, target.centre_mm());
        let (moved, lesion_moved) = (moved_image(image, &by), moved_mask(&lesion, &by));
        let still = Patient { image, lesion: Some(&lesion) };
        let patient = Patient { image: &moved, lesion: Some(&lesion_moved) };
        // To the template: where the study came to lie before it was moved.
        let first = register(&target, &still, &options).unwrap();
        let start = Instant::now();
        let again = register(&target, &patient, &options).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        let back = first.target_from_patient.inverse().unwrap().after(&again.target_from_patient);
        let to_template_mm = error_mm(image, &by, &back);
        // To the study as it was: where it lay is known exactly. Two of them, to save time.
        let to_itself_mm = (seed <= 2).then(|| {
            let found = register(&Target::new(image).unwrap(), &patient, &options).unwrap();
            error_mm(image, &by, &found.target_from_patient)
        });
        let off_mm = error_mm(image, &AffineMap::IDENTITY, &first.target_from_patient);
        println!(
            "{}: {to_template_mm:.2} mm by the template, {to_itself_mm:.2?} mm by itself; unmoved it \
             lay {off_mm:.1} mm from the template; {seconds:.1} s, {:?}",
            files.id, again.quality
        );
        assert!(to_template_mm < ERROR_MM_MAX, "{}: {to_template_mm}", files.id);
        assert!(to_itself_mm.is_none_or(|mm| mm < ERROR_MM_MAX), "{}: {to_itself_mm:?}", files.id);
        assert_eq!(first.quality.verdict, Verdict::Good, "{}", files.id);
        assert_eq!(again.quality.verdict, Verdict::Good, "{}", files.id);
    }
}

#[test]
fn a_push_of_the_middle_of_the_brain_is_found() {
    let Some(folder) = std::env::var_os("NEUROTRIAGE_CASES") else {
        println!("skipped: set NEUROTRIAGE_CASES");
        return;
    };
    let target = sri24();
    let options = RegistrationOptions { deform: true, ..RegistrationOptions::default() };
    let pushes_mm = [10.0_f64, -5.0, 5.0, -10.0];
    let all = CaseFiles::find_all(Path::new(&folder)).unwrap();
    for (files, push_mm) in all.iter().zip(pushes_mm.into_iter().cycle()) {
        let study = files.read_study().unwrap();
        let lesion = files.read_truth().unwrap().unwrap();
        let image = study.image(Modality::T1);
        let find = |image, lesion| {
            let patient = Patient { image, lesion: Some(lesion) };
            let start = Instant::now();
            let found = register(&target, &patient, &options).unwrap();
            (found, start.elapsed().as_secs_f64())
        };
        let (still, _) = find(image, &lesion);
        // The point of the template that shows the septum, where that lies in the study, and where
        // the affine map of a study places it.
        let back = still.target_from_patient.inverse().unwrap();
        let there_mm = |found: &neurotriage_registration::Registration| {
            let by_mm = found.deformation.as_ref().unwrap().displacement_mm(SEPTUM_MM);
            let place = [0, 1, 2].map(|axis| SEPTUM_MM[axis] + by_mm[axis]);
            found.target_from_patient.inverse().unwrap().apply(place)
        };
        let before_mm = there_mm(&still);
        // No brain is pushed aside by much more than 15 mm: one that lies off already is pushed back.
        let off_mm = before_mm[0] - back.apply(SEPTUM_MM)[0];
        let right_mm = if off_mm.abs() > 5.0 { -push_mm.abs() * off_mm.signum() } else { push_mm };
        let push = Push { centre_mm: before_mm, right_mm };
        let (found, seconds) = find(&push.image(image), &push.mask(&lesion));
        let pushed_mm = there_mm(&found)[0] - before_mm[0];
        println!(
            "{}: pushed by {right_mm} mm, found {pushed_mm:.2}; unpushed it lay {off_mm:.2} mm off; \
             {seconds:.1} s",
            files.id
        );
        let error_mm = (pushed_mm - right_mm).abs();
        assert!(error_mm < DISPLACEMENT_ERROR_MM_MAX, "{}: {error_mm}", files.id);
    }
}
