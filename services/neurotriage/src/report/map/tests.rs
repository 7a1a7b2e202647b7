use super::{
    super::{Hospital, Language, Place, Referral, tests::report},
    Layout, Rect, destination, distance_km, frame, render, round_below, turned,
};

fn place(latitude_degrees: f64, longitude_degrees: f64) -> Place {
    Place { latitude_degrees, longitude_degrees }
}

fn referral(home: Option<Place>, places: &[Place]) -> Referral {
    let first = report().referral.hospitals.remove(0);
    let hospitals = places.iter().enumerate().map(|(number, place)| Hospital {
        name: format!("Sample University Hospital {number} (fictional)"),
        location: Some(*place),
        ..first.clone()
    });
    Referral { hospitals: hospitals.collect(), reason: String::new(), home, ..report().referral }
}

fn layout(referral: &Referral) -> Layout {
    Layout::of(referral, Language::English.wording()).unwrap()
}

#[test]
fn nothing_overlaps_and_all_stay_in_the_frame() {
    let seoul = place(37.57, 126.98);
    let spread = [
        place(37.55, 127.0),
        place(37.49, 127.09),
        place(37.66, 126.79),
        place(36.35, 127.38),
        place(33.49, 126.5),
    ];
    let date_line = [place(-17.7, 178.0), place(-13.8, -171.8), place(-21.1, -175.2)];
    // (case, home, hospitals)
    let table = [
        ("a city and a country", Some(seoul), spread.to_vec()),
        ("one", Some(seoul), vec![place(35.0, 129.0)]),
        ("one at home", Some(seoul), vec![seoul]),
        ("all at one point", Some(seoul), vec![place(37.5, 127.0); 12]),
        ("all at one point, no home", None, vec![seoul; 50]),
        ("no home", None, spread.to_vec()),
        ("across the date line", Some(place(-18.1, 178.4)), date_line.to_vec()),
        ("around the pole", Some(place(89.9, 0.0)), vec![place(89.9, 179.0), place(90.0, 0.0)]),
        ("the whole earth", Some(place(0.0, 0.0)), vec![place(80.0, -179.0), place(-80.0, 179.0)]),
    ];
    for (case, home, places) in table {
        let layout = layout(&referral(home, &places));
        assert_eq!(layout.marks.len(), places.len(), "{case}");
        for (at, rect) in layout.taken.iter().enumerate().skip(2) {
            assert!(frame().contains(rect), "{case}: {rect:?}");
            for other in &layout.taken[at + 1..] {
                assert!(!rect.overlaps(other), "{case}: {rect:?} {other:?}");
            }
        }
        assert_eq!(layout.rings.is_empty(), home.is_none(), "{case}");
        let drawing = render(&referral(home, &places), Language::Korean.wording()).unwrap();
        assert!(!drawing.contains("NaN") && !drawing.contains("inf"), "{case}");
    }
}

#[test]
fn north_is_up_east_is_right_and_the_date_line_is_no_border() {
    let fiji = place(-18.1, 178.4);
    let layout = layout(&referral(Some(fiji), &[place(-13.8, -171.8)]));
    let (home, samoa) = (layout.home.unwrap(), layout.marks[0].true_at);
    assert!(samoa[0] > home[0] && samoa[1] < home[1], "{home:?} {samoa:?}");
    let km = distance_km(fiji, place(-13.8, -171.8));
    let pixels = (samoa[0] - home[0]).hypot(samoa[1] - home[1]);
    // True to scale at the mean latitude: within a few per cent over a thousand kilometres.
    assert!((pixels / layout.projection.pixels_per_km / km - 1.0).abs() < 0.03);
}

#[test]
fn rings_lie_at_their_distance() {
    let home = place(37.57, 126.98);
    for bearing in [0.0, 45.0, 90.0, 200.0] {
        for km in [1.0, 100.0, 5_000.0] {
            let there = destination(home, km, bearing);
            assert!((distance_km(home, there) - km).abs() < 1e-6 * km.max(1.0));
        }
    }
    let east = destination(home, 100.0, 90.0);
    assert!(east.longitude_degrees > home.longitude_degrees);
}

#[test]
fn distances_are_round() {
    let table = [
        (0.7, 0.5),
        (1.0, 1.0),
        (1.9, 1.0),
        (2.0, 2.0),
        (49.0, 20.0),
        (50.0, 50.0),
        (730.0, 500.0),
    ];
    for (limit, expected) in table {
        assert!((round_below(limit) - expected).abs() < 1e-9, "{limit}: {}", round_below(limit));
    }
    assert!((turned(190.0) + 170.0).abs() < 1e-9);
}

#[test]
fn a_directory_without_places_has_no_map() {
    let mut referral = referral(Some(place(37.57, 126.98)), &[place(37.5, 127.0)]);
    referral.hospitals[0].location = None;
    assert!(render(&referral, Language::English.wording()).is_none());
    assert!(Rect::around([0.0, 0.0], 1.0).overlaps(&Rect::around([1.0, 1.0], 1.0)));
}
