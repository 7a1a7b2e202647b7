//! Tests of the search: every answer is compared with one that looks at every hospital.

use super::*;
use crate::{directory::generated::Lcg, hospital::Capability};

fn place(latitude: f64, longitude: f64) -> Coordinates {
    Coordinates::from_degrees(latitude, longitude).unwrap()
}

fn hospitals(count: usize, lcg: &mut Lcg) -> Vec<Hospital> {
    (0..count)
        .map(|n| {
            // Ids in another order than the indices; some on the date line, at the poles, in one spot.
            let id = format!("h-{:05}", (n * 7919) % count);
            let location = match n % 50 {
                0 => place(180.0 * lcg.share() - 90.0, 180.0),
                1 => place(180.0 * lcg.share() - 90.0, -180.0),
                2 => place(90.0, 360.0 * lcg.share() - 180.0),
                3 => place(-90.0, 360.0 * lcg.share() - 180.0),
                4 => place(37.5, 127.0),
                5..10 => place(33.0 + 5.0 * lcg.share(), 126.0 + 4.0 * lcg.share()),
                _ => lcg.place(),
            };
            Hospital { location, ..lcg.hospital(&id) }
        })
        .collect()
}

fn by_hand(
    hospitals: &[Hospital],
    from: Coordinates,
    within_km: Option<f64>,
    max: usize,
    filter: impl Fn(&Hospital) -> bool,
) -> Vec<(usize, f64)> {
    let mut found = hospitals
        .iter()
        .enumerate()
        .filter(|(_, hospital)| filter(hospital))
        .map(|(index, hospital)| (index, from.distance_km(hospital.location)))
        .filter(|(_, distance_km)| within_km.is_none_or(|within_km| *distance_km <= within_km))
        .collect::<Vec<_>>();
    found.sort_by(|a, b| {
        a.1.total_cmp(&b.1)
            .then_with(|| hospitals[a.0].hospital_id.cmp(&hospitals[b.0].hospital_id))
    });
    found.truncate(max);
    found
}

#[test]
fn the_index_finds_what_a_full_scan_finds() {
    let mut lcg = Lcg(42);
    let hospitals = hospitals(20_000, &mut lcg);
    let index = GeoIndex::new(&hospitals[..]);
    let mut places = vec![
        place(90.0, 0.0),
        place(90.0, -180.0),
        place(-90.0, 33.0),
        place(89.999_999, 170.0),
        place(-89.9, -1.0),
        place(86.0, 10.0),
        place(-86.0, -100.0),
        place(0.0, 180.0),
        place(0.0, -180.0),
        place(66.0, 179.99),
        place(-17.0, -179.999),
        place(37.5, 127.0),
        place(-37.5, -53.0),
        place(0.0, 0.0),
    ];
    places.extend((0..60).map(|_| lcg.place()));
    let offers =
        |hospital: &Hospital| hospital.accepts_referrals && hospital.offers(Capability::Stroke);
    let rare = |hospital: &Hospital| hospital.hospital_id.as_str().ends_with("777");
    for (query, from) in places.into_iter().enumerate() {
        let within_km =
            [None, Some(0.0), Some(50.0), Some(1500.0), Some(12_000.0), Some(1e9)][query % 6];
        for (within_km, max) in
            [(within_km, 1), (within_km, 500), (None, 1), (None, 10), (None, 500), (None, 1200)]
        {
            assert_eq!(
                index.nearest(from, within_km, max, |_| true),
                by_hand(&hospitals, from, within_km, max, |_| true),
                "query {query}: {from:?}, {within_km:?}, {max}"
            );
            assert_eq!(
                index.nearest(from, within_km, max, offers),
                by_hand(&hospitals, from, within_km, max, offers),
                "query {query}, offers"
            );
        }
        assert_eq!(
            index.nearest(from, None, 50, rare),
            by_hand(&hospitals, from, None, 50, rare),
            "query {query}, rare"
        );
    }
}

#[test]
fn hospitals_at_one_distance_come_by_id() {
    let mut lcg = Lcg(1);
    let at =
        |id: &str, location: Coordinates, lcg: &mut Lcg| Hospital { location, ..lcg.hospital(id) };
    let hospitals = vec![
        at("c", place(0.0, 180.0), &mut lcg),
        at("a", place(0.0, -180.0), &mut lcg),
        at("b", place(0.0, 180.0), &mut lcg),
        at("d", place(1.0, 180.0), &mut lcg),
    ];
    let index = GeoIndex::new(hospitals);
    let near = index.nearest(place(0.0, 180.0), Some(1.0), 2, |_| true);
    let ids =
        near.iter().map(|&(n, _)| index.hospitals()[n].hospital_id.as_str()).collect::<Vec<_>>();
    assert_eq!(ids, ["a", "b"]);
}

#[test]
fn a_search_without_sense_finds_nothing() {
    let index = GeoIndex::new(vec![Lcg(1).hospital("a")]);
    let here = index.hospitals()[0].location;
    for (case, within_km, max, found) in [
        ("none wanted", None, 0, 0),
        ("negative", Some(-1.0), 5, 0),
        ("not a number", Some(f64::NAN), 5, 0),
        ("the spot itself", Some(0.0), 5, 1),
        ("infinite", Some(f64::INFINITY), usize::MAX, 1),
    ] {
        assert_eq!(index.nearest(here, within_km, max, |_| true).len(), found, "case: {case}");
    }
    assert_eq!(GeoIndex::new(Vec::new()).nearest(here, None, 5, |_| true), []);
}
