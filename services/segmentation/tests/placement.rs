//! Where studies lie in the space of a template.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop the test")]
#![allow(clippy::print_stdout, reason = "says what was skipped and what was reached")]

use std::path::Path;

use ndarray::Array3;
use neurotriage_anatomy::{
    Localisation, LocaliseOptions, PlacedBy, Space, SpaceRule, Template, localise,
};
use neurotriage_domain::{Modality, Side};
use neurotriage_imaging::{Affine, AffineMap, CaseFiles, Image, Mask, Volume};
use neurotriage_network::DeviceChoice;
use neurotriage_phantom::{Phantom, PhantomSpec};
use neurotriage_segmentation::placement::{Place, RegistrationRule, place};

fn placed(image: &Image, lesion: Option<&Mask>, rule: RegistrationRule) -> Place {
    // Tests run side by side: each computes with one thread.
    neurotriage_network::set_compute_threads(1);
    place(image, lesion, rule, DeviceChoice::Cpu).unwrap()
}

fn located(mask: &Mask, place: Place) -> Localisation {
    let space = match place {
        Ok(placement) => SpaceRule::Placed(placement),
        Err(reason) => SpaceRule::Unknown { reason },
    };
    localise(mask, &LocaliseOptions { space, ..LocaliseOptions::default() }).unwrap()
}

fn main_region(found: &Localisation) -> String {
    found.site.as_ref().unwrap().main_region.unwrap().to_string()
}

/// The same voxels, said to lie elsewhere: turned about the left-right axis and shifted.
fn scanner<T: Clone>(volume: &Volume<T>, degrees: f64, shift_mm: [f64; 3]) -> Volume<T> {
    let turn = AffineMap::rotation([-120.0, 120.0, 75.0], [degrees.to_radians(), 0.0, 0.0]);
    let map = AffineMap::shift([0.0; 3], shift_mm).after(&turn).after(&(&volume.affine).into());
    let [x, y, z] = map.rows;
    let affine = Affine::from_rows([x, y, z, [0.0, 0.0, 0.0, 1.0]]).unwrap();
    Volume { voxels: volume.voxels.clone(), affine }
}

#[test]
fn a_study_in_the_coordinates_of_a_scanner_gets_the_regions_that_it_has() {
    let spec = PhantomSpec { centre_mm: Some([-155.0, 150.0, 95.0]), ..PhantomSpec::new(5) };
    let case = Phantom::generate(&spec).unwrap();
    let image = &case.images[Modality::T1 as usize];
    let expected = main_region(&located(
        &case.truth,
        Ok(placed(image, None, RegistrationRule::Never).unwrap()),
    ));
    let (turned, lesion) = (
        scanner(image, 9.0, [118.0, -131.0, -60.0]),
        scanner(&case.truth, 9.0, [118.0, -131.0, -60.0]),
    );
    let unknown = located(&lesion, placed(&turned, Some(&lesion), RegistrationRule::Never));
    assert_eq!((unknown.space, unknown.site.is_none()), (Space::Unknown, true));
    assert!(unknown.space_reason.unwrap().contains("tilted"));
    let found = located(&lesion, placed(&turned, Some(&lesion), RegistrationRule::Unknown));
    assert_eq!(found.space, Space::Sri24);
    let placement = found.placement.unwrap();
    assert_eq!(placement.placed_by, PlacedBy::Registration);
    assert_eq!(placement.registration.unwrap().moved_mm, None);
    assert_eq!(main_region(&found), expected);
}

/// The symmetric brain of MNI152, as of a scanner: it is registered to SRI24, which is another one.
#[test]
fn a_symmetric_brain_has_no_midline_shift() {
    let image = scanner(&*Template::Mni152.t1().unwrap(), 9.0, [30.0, -20.0, 15.0]);
    let found = placed(&image, None, RegistrationRule::Always).unwrap();
    assert_eq!(found.template, Template::Sri24);
    let shift = found.midline_shift.unwrap();
    assert_eq!(shift.side(), Side::Midline, "{shift:?}");
}

/// A mask of every other plane leaves nothing to compare: no shift is made up.
#[test]
fn a_mask_all_over_the_brain_leaves_the_shift_unknown() {
    let case = Phantom::generate(&PhantomSpec::new(3)).unwrap();
    let image = &case.images[Modality::T1 as usize];
    let stripes = Array3::from_shape_fn(image.voxels.dim(), |(_, _, z)| u8::from(z % 2 == 0) * 2);
    let stripes = Mask { voxels: stripes, affine: image.affine };
    let found = placed(image, Some(&stripes), RegistrationRule::Always).unwrap();
    assert_eq!(found.midline_shift, None, "{:?}", found.placed_by);
}

#[test]
fn a_study_that_fits_nowhere_keeps_its_header_or_is_unknown() {
    let noise = Array3::from_shape_fn([240, 240, 155], |(x, y, z)| {
        let place =
            [(x as f64 - 120.0) / 65.0, (y as f64 - 120.0) / 80.0, (z as f64 - 75.0) / 60.0];
        let inside = place.iter().map(|part| part * part).sum::<f64>() < 1.0;
        let mixed = (x * 73_856_093) ^ (y * 19_349_663) ^ (z * 83_492_791);
        if inside { 1.0 + (mixed % 1000) as f32 / 1000.0 } else { 0.0 }
    });
    let noise = Volume { voxels: noise, affine: Affine::brats() };
    let by_header = placed(&noise, None, RegistrationRule::Always).unwrap();
    assert_eq!((by_header.template, by_header.placed_by), (Template::Sri24, PlacedBy::Header));
    let nowhere = scanner(&noise, 9.0, [118.0, -131.0, -60.0]);
    let reason = placed(&nowhere, None, RegistrationRule::Always).unwrap_err();
    assert!(
        reason.contains("tilted") && reason.contains("registration to SRI24 failed"),
        "{reason}"
    );
    let thin = Volume {
        voxels: Array3::from_shape_fn([120, 120, 12], |(x, y, z)| (x * y * z) as f32),
        affine: Affine::brats(),
    };
    let reason = placed(&thin, None, RegistrationRule::Always).unwrap_err();
    assert!(reason.contains("a head needs"), "{reason}");
}

/// Of the six real studies at hand, in SRI24 by their headers: registration leaves fewer voxels of
/// the tumour on no region of the atlas.
#[test]
fn registered_real_studies_fit_the_atlas_better() {
    let Some(folder) = std::env::var_os("NEUROTRIAGE_CASES") else {
        println!("skipped: set NEUROTRIAGE_CASES");
        return;
    };
    let (mut before, mut after, mut shifted) = (0.0, 0.0, 0);
    for files in CaseFiles::find_all(Path::new(&folder)).unwrap() {
        let (study, truth) = (files.read_study().unwrap(), files.read_truth().unwrap().unwrap());
        let image = study.image(Modality::T1);
        let of = |rule| located(&truth, placed(image, Some(&truth), rule));
        let (header, registered) = (of(RegistrationRule::Never), of(RegistrationRule::Always));
        assert_eq!(main_region(&header), main_region(&registered), "{}", files.id);
        let off = |found: &Localisation| {
            let site = found.site.as_ref().unwrap();
            site.share_assigned_by_distance + site.share_outside
        };
        let placement = registered.placement.unwrap();
        let shift = placement.midline_shift.unwrap();
        println!(
            "{}: {} of the tumour on no region by the header {:.3}, registered {:.3}; midline shift \
             {:.1} mm; {:?}",
            files.id,
            main_region(&registered),
            off(&header),
            off(&registered),
            shift.right_mm,
            placement.registration.unwrap()
        );
        assert_eq!(header.placement.unwrap().midline_shift, None);
        // A tumour pushes, it does not pull.
        let side = registered.site.as_ref().unwrap().side();
        assert!(shift.side() != side || shift.right_mm.abs() < 4.0, "{}: {shift:?}", files.id);
        shifted += u32::from(shift.side() != Side::Midline);
        before += off(&header);
        after += off(&registered);
    }
    assert!(after < 0.75 * before, "{before} {after}");
    assert!(shifted >= 3, "{shifted}");
}
