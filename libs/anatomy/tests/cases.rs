//! Real masks, from the folder that `NEUROTRIAGE_CASES` names.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop the test")]
#![allow(clippy::print_stdout, reason = "says what was skipped and how long it took")]

use std::{path::PathBuf, time::Instant};

use neurotriage_anatomy::{
    Localisation, LocaliseOptions, Space, Template, brain_overlap, localise, recognise_image,
};
use neurotriage_domain::{Modality, Side, Structure};
use neurotriage_imaging::{Affine, AffineMap, CaseFiles, Volume};

/// Reads `<case>_seg.nii.gz`; `None` if there is no folder of cases or no such case in it.
fn find(case: &str) -> Option<Localisation> {
    let Some(folder) = std::env::var_os("NEUROTRIAGE_CASES") else {
        println!("skipped: set NEUROTRIAGE_CASES");
        return None;
    };
    let path = PathBuf::from(folder).join(case).join(format!("{case}_seg.nii.gz"));
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    let mask = neurotriage_imaging::nifti::read_mask_file(&path).unwrap();
    // The first call reads the atlas.
    let options = LocaliseOptions::default();
    localise(&mask, &options).unwrap();
    let start = Instant::now();
    let found = localise(&mask, &options).unwrap();
    let site = found.site.as_ref().unwrap();
    println!("{case}: {:.0} ms, {:?}", start.elapsed().as_secs_f64() * 1e3, site.midline);
    println!(
        "  {} lesions, {} ignored, assigned {:.3}, outside {:.3}, {:?}",
        found.lesions.len(),
        found.components_ignored,
        site.share_assigned_by_distance,
        site.share_outside,
        found.cautions
    );
    Some(found)
}

#[test]
fn real_tumours_lie_where_a_reader_of_the_images_puts_them() {
    const LOBES: [Structure; 4] =
        [Structure::Frontal, Structure::Temporal, Structure::Parietal, Structure::Occipital];
    // (case, lobes of the site, heaviest first, side, crosses the midline)
    let table: [(&str, &[&str], Side, bool); 6] = [
        ("BraTS2021_00000", &["frontal_left"], Side::Left, false),
        ("BraTS2021_00006", &["frontal_left", "frontal_right"], Side::Left, true),
        ("BraTS2021_00014", &["temporal_left"], Side::Left, false),
        ("BraTS2021_00024", &["temporal_left"], Side::Left, false),
        ("Brats18_TCIA05_396_1", &["temporal_right", "frontal_right"], Side::Right, false),
        ("brats_2013_pat0001_1", &["temporal_right"], Side::Right, false),
    ];
    for (case, regions, side, crosses) in table {
        let Some(found) = find(case) else {
            continue;
        };
        assert_eq!(found.space, Space::Sri24, "{case}");
        let site = found.site.unwrap();
        let lobes = site.regions.iter().filter(|share| LOBES.contains(&share.region.structure));
        let heaviest: Vec<String> =
            lobes.take(regions.len()).map(|share| share.region.to_string()).collect();
        assert_eq!(heaviest, regions, "{case}");
        assert_eq!(site.main_region.unwrap().to_string(), regions[0], "{case}");
        assert_eq!((site.side(), site.midline.crosses_midline), (side, crosses), "{case}");
        assert!(site.share_outside < 0.1, "{case}: {}", site.share_outside);
        assert!(site.share_assigned_by_distance < 0.6, "{case}");
    }
}

/// The brains of the real studies cover those of the templates well enough to be recognised.
#[test]
fn real_studies_lie_in_the_space_that_their_header_names() {
    let Some(folder) = std::env::var_os("NEUROTRIAGE_CASES") else {
        println!("skipped: set NEUROTRIAGE_CASES");
        return;
    };
    for files in CaseFiles::find_all(&PathBuf::from(folder)).unwrap() {
        let image = files.read_study().unwrap().image(Modality::T1).clone();
        let overlap =
            |template| brain_overlap(&image, template, &AffineMap::IDENTITY).unwrap().unwrap();
        println!("{}: overlap {:.3}", files.id, overlap(Template::Sri24));
        assert_eq!(recognise_image(&image).unwrap(), Ok(Template::Sri24), "{}", files.id);
        // The same voxels 40 mm higher: the field of view is another.
        let mut rows = *image.affine.rows();
        rows[2][3] += 40.0;
        let affine = Affine::from_rows(rows).unwrap();
        assert!(recognise_image(&Volume { voxels: image.voxels, affine }).unwrap().is_err());
    }
}
