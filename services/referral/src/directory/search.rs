//! Finds the hospitals nearest to a place. No I/O.
//!
//! Hospitals are kept in bands of latitude, each band sorted by longitude. A search looks at the box
//! around a circle, and doubles the circle until it holds enough hospitals; a search for what few
//! hospitals offer ends soon with a look at each of them in turn.

#[cfg(test)]
mod tests;

use std::{cmp::Ordering, sync::Arc};

use crate::hospital::{Coordinates, EARTH_RADIUS_KM, Hospital};

/// Height of a band: 28 km, near the radius that a search among many hospitals ends with.
const BANDS_PER_DEGREE: f64 = 4.0;

/// Bands from pole to pole.
const BANDS: usize = 720;

/// First radius of a search, in kilometres: a city.
const FIRST_RADIUS_KM: f64 = 8.0;

/// Half of the earth's circumference, in kilometres: nothing is farther away.
const FARTHEST_KM: f64 = std::f64::consts::PI * EARTH_RADIUS_KM;

/// Share of the hospitals, one in so many, that a search looks at in boxes before it looks at all of
/// them in the directory's order, which the processor reads ahead: measured with `examples/time.rs`.
const BOXED_SHARE: usize = 16;

/// How much larger a box is than its circle, in radians (0.6 m): far above the rounding of the
/// haversine formula, which near the antipode is the square root of machine precision.
const BOX_SLACK_RADIANS: f64 = 1e-7;

/// A hospital's place in the directory.
#[derive(Clone, Copy, Debug)]
struct Spot {
    latitude_degrees: f64,
    longitude_degrees: f64,
    index: usize,
}

/// Hospitals, ordered for searches by distance. Cheap to clone and to share between threads.
#[derive(Clone, Debug)]
pub struct GeoIndex {
    hospitals: Arc<[Hospital]>,
    bands: Arc<[Vec<Spot>]>,
}

impl GeoIndex {
    /// Returns the index of `hospitals`: a slice, which is copied, or a `Vec` or `Arc`, which is not.
    pub fn new(hospitals: impl Into<Arc<[Hospital]>>) -> Self {
        let hospitals = hospitals.into();
        let mut bands = vec![Vec::new(); BANDS];
        for (index, hospital) in hospitals.iter().enumerate() {
            let latitude_degrees = hospital.location.latitude_degrees();
            let longitude_degrees = hospital.location.longitude_degrees();
            if let Some(band) = bands.get_mut(band_of(latitude_degrees)) {
                band.push(Spot { latitude_degrees, longitude_degrees, index });
            }
        }
        for band in &mut bands {
            band.sort_by(|a, b| a.longitude_degrees.total_cmp(&b.longitude_degrees));
        }
        Self { hospitals, bands: bands.into() }
    }

    /// Returns the hospitals, in the order that [`GeoIndex::nearest`] counts them.
    pub fn hospitals(&self) -> &[Hospital] {
        &self.hospitals
    }

    /// Returns the index and the great-circle distance, in kilometres, of the at most `max` nearest
    /// hospitals that `filter` lets pass and that lie within `within_km` (included), nearest first.
    ///
    /// Hospitals at the same distance come in the order of their ids. A negative or undefined
    /// `within_km` gives none. `filter` may see a hospital twice.
    ///
    /// The distance is that of [`Coordinates::distance_km`]; the result is the same as if every
    /// hospital had been looked at.
    ///
    /// # Source
    /// The box: Matuschek, "Finding Points Within a Distance of a Latitude/Longitude Using Bounding
    /// Coordinates", sections 3.3 and 3.4. The doubling and the bands are ours.
    pub fn nearest(
        &self,
        from: Coordinates,
        within_km: Option<f64>,
        max: usize,
        filter: impl Fn(&Hospital) -> bool,
    ) -> Vec<(usize, f64)> {
        let limit_km = within_km.unwrap_or(f64::INFINITY);
        // Also false for NaN.
        let sensible = limit_km >= 0.0;
        if max == 0 || !sensible {
            return Vec::new();
        }
        let mut radius_km = FIRST_RADIUS_KM.min(limit_km);
        let mut previous = None;
        let mut found = Vec::new();
        let mut seen = 0;
        loop {
            if radius_km >= FARTHEST_KM || seen > self.hospitals.len() / BOXED_SHARE {
                return self.nearest_of_all(from, limit_km, max, filter);
            }
            let area = BoundingBox::around(from, radius_km);
            self.visit(&area, previous.as_ref(), |index, hospital| {
                seen += 1;
                if filter(hospital) {
                    found.push((index, from.distance_km(hospital.location)));
                }
            });
            let inside = |(_, distance_km): &(usize, f64)| *distance_km <= radius_km;
            if radius_km >= limit_km || found.iter().filter(|one| inside(one)).count() >= max {
                found.retain(inside);
                self.keep_nearest(&mut found, max);
                return found;
            }
            radius_km = (2.0 * radius_km).min(limit_km);
            previous = Some(area);
        }
    }

    fn nearest_of_all(
        &self,
        from: Coordinates,
        limit_km: f64,
        max: usize,
        filter: impl Fn(&Hospital) -> bool,
    ) -> Vec<(usize, f64)> {
        let mut found = Vec::new();
        for (index, hospital) in self.hospitals.iter().enumerate() {
            if filter(hospital) {
                let distance_km = from.distance_km(hospital.location);
                if distance_km <= limit_km {
                    found.push((index, distance_km));
                }
            }
        }
        self.keep_nearest(&mut found, max);
        found
    }

    /// Calls `visitor` with every hospital in `area` but those in `previous`, in no particular order.
    fn visit(
        &self,
        area: &BoundingBox,
        previous: Option<&BoundingBox>,
        mut visitor: impl FnMut(usize, &Hospital),
    ) {
        let bands = band_of(area.south_degrees)..=band_of(area.north_degrees);
        for band in self.bands.get(bands).unwrap_or_default() {
            for (west, east) in area.longitudes_degrees.into_iter().flatten() {
                let start = band.partition_point(|spot| spot.longitude_degrees < west);
                for spot in band.get(start..).unwrap_or_default() {
                    if spot.longitude_degrees > east {
                        break;
                    }
                    if !area.holds_latitude(spot) || previous.is_some_and(|area| area.holds(spot)) {
                        continue;
                    }
                    if let Some(hospital) = self.hospitals.get(spot.index) {
                        visitor(spot.index, hospital);
                    }
                }
            }
        }
    }

    fn keep_nearest(&self, found: &mut Vec<(usize, f64)>, max: usize) {
        let order = |a: &(usize, f64), b: &(usize, f64)| self.by_distance(a, b);
        if found.len() > max {
            found.select_nth_unstable_by(max, order);
            found.truncate(max);
        }
        found.sort_unstable_by(order);
    }

    fn by_distance(&self, a: &(usize, f64), b: &(usize, f64)) -> Ordering {
        let id = |index: usize| self.hospitals.get(index).map(|hospital| &hospital.hospital_id);
        a.1.total_cmp(&b.1).then_with(|| id(a.0).cmp(&id(b.0))).then(a.0.cmp(&b.0))
    }
}

fn band_of(latitude_degrees: f64) -> usize {
    let band = ((latitude_degrees + 90.0) * BANDS_PER_DEGREE).floor();
    // The cast saturates at 0 below; 90 degrees north belongs to the last band.
    (band as usize).min(BANDS - 1)
}

/// Smallest box of latitudes and longitudes around a circle, made larger by [`BOX_SLACK_RADIANS`].
struct BoundingBox {
    south_degrees: f64,
    north_degrees: f64,
    /// From west to east; two pieces if the box crosses the date line.
    longitudes_degrees: [Option<(f64, f64)>; 2],
}

impl BoundingBox {
    fn around(center: Coordinates, radius_km: f64) -> Self {
        let everywhere = [Some((-180.0, 180.0)), None];
        let latitude = center.latitude_degrees().to_radians();
        let radius = radius_km / EARTH_RADIUS_KM + BOX_SLACK_RADIANS;
        let quarter = std::f64::consts::FRAC_PI_2;
        let (south, north) = (latitude - radius, latitude + radius);
        let south_degrees = south.max(-quarter).to_degrees();
        let north_degrees = north.min(quarter).to_degrees();
        // A circle around a pole touches every meridian.
        if south <= -quarter || north >= quarter {
            return Self { south_degrees, north_degrees, longitudes_degrees: everywhere };
        }
        let ratio = radius.sin() / latitude.cos();
        let half_degrees = ratio.min(1.0).asin().to_degrees() + BOX_SLACK_RADIANS.to_degrees();
        let (west, east) =
            (center.longitude_degrees() - half_degrees, center.longitude_degrees() + half_degrees);
        let longitudes_degrees = if west < -180.0 {
            [Some((west + 360.0, 180.0)), Some((-180.0, east))]
        } else if east > 180.0 {
            [Some((west, 180.0)), Some((-180.0, east - 360.0))]
        } else {
            [Some((west, east)), None]
        };
        Self { south_degrees, north_degrees, longitudes_degrees }
    }

    fn holds_latitude(&self, spot: &Spot) -> bool {
        (self.south_degrees..=self.north_degrees).contains(&spot.latitude_degrees)
    }

    fn holds(&self, spot: &Spot) -> bool {
        let holds = |(west, east): &(f64, f64)| (*west..=*east).contains(&spot.longitude_degrees);
        self.holds_latitude(spot) && self.longitudes_degrees.iter().flatten().any(holds)
    }
}
