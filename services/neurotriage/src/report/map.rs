//! A map of the ranked hospitals: places, distances and directions, drawn without tiles or coastlines.
//!
//! Pure: makes inline SVG from a [`Referral`]. Equirectangular, true to scale at the mean latitude;
//! longitudes are counted from the first place, so that the date line is no border.

#[cfg(test)]
mod tests;

use super::{
    Place, Referral,
    language::Wording,
    svg::{Anchor, Rect, Svg, shortened_to, text_width},
    text::plain,
};

/// Size of the picture.
const SIZE: [f64; 2] = [880.0, 380.0];
/// Room between the frame and the places.
const MARGIN: f64 = 46.0;
/// Mean radius of the earth, in kilometres (IUGG).
const EARTH_RADIUS_KM: f64 = 6371.0088;
/// Kilometres of one degree of latitude on a sphere of that radius.
const KM_PER_DEGREE: f64 = EARTH_RADIUS_KM * std::f64::consts::PI / 180.0;
/// Least width and height of the land shown, in kilometres: places that coincide are drawn too.
const EXTENT_KM_MIN: f64 = 4.0;
/// Least cosine of the mean latitude: at the poles the projection has no scale.
const COSINE_MIN: f64 = 0.02;
/// Hospitals drawn at most.
const HOSPITALS_MAX: usize = 50;
/// Half the size of a mark.
const MARK_HALF: f64 = 10.0;
/// Size of the names, and the length at which they are cut.
const NAME_SIZE: f64 = 11.5;
const NAME_WIDTH_MAX: f64 = 260.0;
/// Rings of distance drawn at most.
const RINGS_MAX: usize = 4;
/// Sides of the polygon that stands for a ring.
const RING_SIDES: u32 = 120;
/// Places on a ring that are tried for its label.
const RING_LABEL_TRIES: u32 = 24;
/// Longest scale bar, as part of the width.
const SCALE_BAR_PART: f64 = 0.16;
/// Turns and steps of the spiral on which a mark that would hide another is put.
const SPIRAL_STEPS: u32 = 400;

/// Returns the map; `None` if no hospital has a place.
pub(super) fn render(referral: &Referral, wording: &dyn Wording) -> Option<String> {
    Layout::of(referral, wording).map(|layout| layout.draw(wording))
}

/// Where places lie in the picture.
#[derive(Clone, Copy, Debug)]
struct Projection {
    middle: Place,
    cosine: f64,
    pixels_per_km: f64,
}

impl Projection {
    /// Returns the projection that shows all places.
    fn of(places: &[Place]) -> Option<Self> {
        let first = places.first()?;
        let count = places.len() as f64;
        let mean_latitude = places.iter().map(|place| place.latitude_degrees).sum::<f64>() / count;
        let cosine = mean_latitude.to_radians().cos().max(COSINE_MIN);
        let east = |place: &Place| turned(place.longitude_degrees - first.longitude_degrees);
        let span = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            })
        };
        let (west, far_east) = span(&mut places.iter().map(east));
        let (south, north) = span(&mut places.iter().map(|place| place.latitude_degrees));
        let width_km = ((far_east - west) * KM_PER_DEGREE * cosine).max(EXTENT_KM_MIN);
        let height_km = ((north - south) * KM_PER_DEGREE).max(EXTENT_KM_MIN);
        let pixels_per_km =
            ((SIZE[0] - 2.0 * MARGIN) / width_km).min((SIZE[1] - 2.0 * MARGIN) / height_km);
        let middle = Place {
            latitude_degrees: f64::midpoint(south, north),
            longitude_degrees: turned(first.longitude_degrees + f64::midpoint(west, far_east)),
        };
        Some(Self { middle, cosine, pixels_per_km })
    }

    fn at(&self, place: Place) -> [f64; 2] {
        let east = turned(place.longitude_degrees - self.middle.longitude_degrees);
        let north = place.latitude_degrees - self.middle.latitude_degrees;
        let scale = KM_PER_DEGREE * self.pixels_per_km;
        [SIZE[0] / 2.0 + east * self.cosine * scale, SIZE[1] / 2.0 - north * scale]
    }
}

/// Returns a difference of longitudes between -180 and 180 degrees.
fn turned(degrees: f64) -> f64 {
    (degrees + 180.0).rem_euclid(360.0) - 180.0
}

/// Returns the place at a great-circle distance in a direction, in degrees east of north.
fn destination(from: Place, distance_km: f64, bearing_degrees: f64) -> Place {
    let (latitude, angle) = (from.latitude_degrees.to_radians(), distance_km / EARTH_RADIUS_KM);
    let bearing = bearing_degrees.to_radians();
    let sine = latitude.sin() * angle.cos() + latitude.cos() * angle.sin() * bearing.cos();
    let there = sine.clamp(-1.0, 1.0).asin();
    let east = (bearing.sin() * angle.sin() * latitude.cos())
        .atan2(angle.cos() - latitude.sin() * there.sin());
    Place {
        latitude_degrees: there.to_degrees(),
        longitude_degrees: turned(from.longitude_degrees + east.to_degrees()),
    }
}

/// Returns the greatest of 1, 2 and 5 times a power of ten that is at most `limit`.
fn round_below(limit: f64) -> f64 {
    let power = 10_f64.powf(limit.max(f64::MIN_POSITIVE).log10().floor());
    let fits = |factor: &f64| factor * power <= limit * (1.0 + 1e-9);
    [5.0, 2.0, 1.0].into_iter().find(fits).unwrap_or(1.0) * power
}

/// Returns a distance as text: `5 km`, `0.5 km`.
fn km_text(km: f64) -> String {
    if km < 1.0 { format!("{km:.1} km") } else { format!("{km:.0} km") }
}

/// A hospital in the picture.
#[derive(Debug)]
struct Mark {
    number: usize,
    /// Where the hospital is.
    true_at: [f64; 2],
    /// Where its mark stands: beside it, if another is there.
    at: [f64; 2],
    /// Its name and where it stands, if there is room.
    name: Option<(String, [f64; 2], Anchor)>,
}

/// A ring of equal distance from the home.
#[derive(Debug)]
struct Ring {
    points: Vec<[f64; 2]>,
    label: String,
    label_at: Option<[f64; 2]>,
}

/// Everything in its place.
#[derive(Debug)]
struct Layout {
    projection: Projection,
    home: Option<[f64; 2]>,
    home_name_at: Option<[f64; 2]>,
    marks: Vec<Mark>,
    rings: Vec<Ring>,
    taken: Vec<Rect>,
}

impl Layout {
    fn of(referral: &Referral, wording: &dyn Wording) -> Option<Self> {
        let hospitals: Vec<(usize, &str, Place)> = referral
            .hospitals
            .iter()
            .enumerate()
            .filter_map(|(at, hospital)| Some((at + 1, hospital.name.as_str(), hospital.location?)))
            .take(HOSPITALS_MAX)
            .collect();
        if hospitals.is_empty() {
            return None;
        }
        let places: Vec<Place> =
            referral.home.into_iter().chain(hospitals.iter().map(|(_, _, place)| *place)).collect();
        let projection = Projection::of(&places)?;
        let home = referral.home.map(|home| projection.at(home));
        let mut layout = Self {
            projection,
            home,
            home_name_at: None,
            marks: Vec::new(),
            rings: Vec::new(),
            taken: vec![scale_bar_room(), north_room()],
        };
        layout.taken.extend(home.map(|at| Rect::around(at, MARK_HALF)));
        for (number, _, place) in &hospitals {
            layout.put_mark(*number, projection.at(*place));
        }
        layout.name_home(wording.labels().map.home);
        for (at, (_, name, _)) in hospitals.iter().enumerate() {
            layout.name_mark(at, name);
        }
        if let Some(home) = referral.home {
            layout.put_rings(home, &hospitals);
        }
        Some(layout)
    }

    /// True if nothing stands there yet, and it is in the picture.
    fn is_free(&self, rect: &Rect) -> bool {
        frame().contains(rect) && !self.taken.iter().any(|other| other.overlaps(rect))
    }

    /// Puts a mark at its place, or as near to it as nothing else stands.
    fn put_mark(&mut self, number: usize, true_at: [f64; 2]) {
        let spiral = (0..SPIRAL_STEPS).map(|step| {
            let turn = 0.5 * f64::from(step);
            let radius = 1.6 * f64::from(step);
            [true_at[0] + radius * turn.cos(), true_at[1] + radius * turn.sin()]
        });
        let at = spiral
            .into_iter()
            .find(|at| self.is_free(&Rect::around(*at, MARK_HALF)))
            .unwrap_or(true_at);
        self.taken.push(Rect::around(at, MARK_HALF));
        self.marks.push(Mark { number, true_at, at, name: None });
    }

    fn name_home(&mut self, name: &str) {
        let Some([x, y]) = self.home else { return };
        let width = text_width(name, NAME_SIZE);
        let beside = MARK_HALF + width / 2.0 + 5.0;
        let tries = [
            [x, y + MARK_HALF + 13.0],
            [x, y - MARK_HALF - 5.0],
            [x - beside, y + 4.0],
            [x + beside, y + 4.0],
        ];
        for place in tries {
            let rect = Rect {
                left: place[0] - width / 2.0,
                top: place[1] - 11.0,
                right: place[0] + width / 2.0,
                bottom: place[1] + 3.0,
            };
            if self.is_free(&rect) {
                self.taken.push(rect);
                self.home_name_at = Some(place);
                return;
            }
        }
    }

    /// Writes a name beside its mark: right, left, below or above; not at all if there is no room.
    fn name_mark(&mut self, at: usize, name: &str) {
        let name = shortened_to(&plain(name), NAME_SIZE, NAME_WIDTH_MAX);
        let width = text_width(&name, NAME_SIZE);
        let Some(mark) = self.marks.get(at) else { return };
        let [x, y] = mark.at;
        let beside = MARK_HALF + 5.0;
        let tries = [
            ([x + beside, y + 4.0], Anchor::Start, x + beside),
            ([x - beside, y + 4.0], Anchor::End, x - beside - width),
            ([x, y + MARK_HALF + 13.0], Anchor::Middle, x - width / 2.0),
            ([x, y - MARK_HALF - 5.0], Anchor::Middle, x - width / 2.0),
            ([x + beside - 4.0, y + MARK_HALF + 11.0], Anchor::Start, x + beside - 4.0),
            ([x + beside - 4.0, y - MARK_HALF - 3.0], Anchor::Start, x + beside - 4.0),
            ([x - beside + 4.0, y + MARK_HALF + 11.0], Anchor::End, x - beside + 4.0 - width),
            ([x - beside + 4.0, y - MARK_HALF - 3.0], Anchor::End, x - beside + 4.0 - width),
        ];
        for (place, anchor, left) in tries {
            let rect =
                Rect { left, top: place[1] - 10.0, right: left + width, bottom: place[1] + 3.0 };
            if self.is_free(&rect) {
                self.taken.push(rect);
                if let Some(mark) = self.marks.get_mut(at) {
                    mark.name = Some((name, place, anchor));
                }
                return;
            }
        }
    }

    fn put_rings(&mut self, home: Place, hospitals: &[(usize, &str, Place)]) {
        let farthest = hospitals
            .iter()
            .map(|(_, _, place)| distance_km(home, *place))
            .fold(EXTENT_KM_MIN / 2.0, f64::max);
        let step = round_below(farthest / 2.0);
        let count = ((farthest * 1.15 / step).floor() as usize).clamp(1, RINGS_MAX);
        for number in 1..=count {
            let km = step * number as f64;
            let point = |part: u32, of: u32| {
                let bearing = 360.0 * f64::from(part) / f64::from(of);
                self.projection.at(destination(home, km, bearing))
            };
            let points: Vec<[f64; 2]> =
                (0..RING_SIDES).map(|part| point(part, RING_SIDES)).collect();
            let label = km_text(km);
            let half = text_width(&label, 10.0) / 2.0 + 2.0;
            // To the north-east first.
            let tries = (0..RING_LABEL_TRIES).map(|part| {
                point((part + RING_LABEL_TRIES / 8) % RING_LABEL_TRIES, RING_LABEL_TRIES)
            });
            let free = tries.into_iter().find_map(|[x, y]| {
                let rect = Rect { left: x - half, top: y - 7.0, right: x + half, bottom: y + 6.0 };
                self.is_free(&rect).then_some((rect, [x, y]))
            });
            self.taken.extend(free.map(|(rect, _)| rect));
            self.rings.push(Ring { points, label, label_at: free.map(|(_, at)| at) });
        }
    }

    fn draw(&self, wording: &dyn Wording) -> String {
        let words = &wording.labels().map;
        let caption = if self.home.is_some() { words.caption_home } else { words.caption_no_home };
        let mut svg = Svg::new("map", SIZE, words.title, caption);
        let [width, height] = SIZE;
        svg.put(&format!(
            "<defs><clipPath id=\"map-frame\"><rect width=\"{width}\" height=\"{height}\" rx=\"8\"/></clipPath></defs>\
             <rect width=\"{width}\" height=\"{height}\" rx=\"8\" class=\"map-ground\"/>\
             <g clip-path=\"url(#map-frame)\">"
        ));
        for ring in &self.rings {
            let points: Vec<String> =
                ring.points.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
            svg.put(&format!("<polygon points=\"{}\" class=\"ring\"/>", points.join(" ")));
        }
        svg.put("</g>");
        for ring in &self.rings {
            if let Some([x, y]) = ring.label_at {
                svg.text([x, y + 3.5], Anchor::Middle, "ring-label", &ring.label);
            }
        }
        for mark in &self.marks {
            let ([x, y], [true_x, true_y]) = (mark.at, mark.true_at);
            if (x - true_x).hypot(y - true_y) > 0.5 {
                svg.put(&format!(
                    "<path d=\"M{x:.1} {y:.1} L{true_x:.1} {true_y:.1}\" class=\"displaced\"/>\
                     <circle cx=\"{true_x:.1}\" cy=\"{true_y:.1}\" r=\"2.5\" class=\"true-place\"/>"
                ));
            }
        }
        if let Some(at) = self.home {
            draw_home(&mut svg, at);
        }
        if let Some(at) = self.home_name_at {
            svg.text(at, Anchor::Middle, "map-name home-name", words.home);
        }
        for mark in &self.marks {
            let [x, y] = mark.at;
            svg.put(&format!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{MARK_HALF}\" class=\"hospital-mark\"/>"
            ));
            svg.text([x, y + 4.0], Anchor::Middle, "hospital-number", &mark.number.to_string());
            if let Some((name, at, anchor)) = &mark.name {
                svg.text(*at, *anchor, "map-name", name);
            }
        }
        self.draw_scale_bar(&mut svg);
        draw_north(&mut svg, words.north);
        svg.finish()
    }

    fn draw_scale_bar(&self, svg: &mut Svg) {
        let km = round_below(SIZE[0] * SCALE_BAR_PART / self.projection.pixels_per_km);
        let length = km * self.projection.pixels_per_km;
        let [left, y] = [16.0, SIZE[1] - 16.0];
        svg.put(&format!(
            "<path d=\"M{left} {} V{y} H{:.1} V{}\" class=\"scale-bar\"/>",
            y - 5.0,
            left + length,
            y - 5.0
        ));
        svg.text([left, y - 9.0], Anchor::Start, "map-small", &km_text(km));
    }
}

fn frame() -> Rect {
    Rect { left: 4.0, top: 4.0, right: SIZE[0] - 4.0, bottom: SIZE[1] - 4.0 }
}

fn scale_bar_room() -> Rect {
    Rect { left: 0.0, top: SIZE[1] - 40.0, right: 24.0 + SIZE[0] * SCALE_BAR_PART, bottom: SIZE[1] }
}

fn north_room() -> Rect {
    Rect { left: SIZE[0] - 40.0, top: 0.0, right: SIZE[0], bottom: 52.0 }
}

/// Returns the great-circle distance by the haversine formula.
fn distance_km(from: Place, to: Place) -> f64 {
    let (here, there) = (from.latitude_degrees.to_radians(), to.latitude_degrees.to_radians());
    let half_latitude = (there - here) / 2.0;
    let half_longitude = (to.longitude_degrees - from.longitude_degrees).to_radians() / 2.0;
    let haversine =
        half_latitude.sin().powi(2) + here.cos() * there.cos() * half_longitude.sin().powi(2);
    2.0 * EARTH_RADIUS_KM * haversine.clamp(0.0, 1.0).sqrt().asin()
}

fn draw_home(svg: &mut Svg, [x, y]: [f64; 2]) {
    svg.put(&format!(
        "<path d=\"M{:.1} {:.1} l10 -9 l10 9 h-3 v9 h-14 v-9 Z\" class=\"home\"/>",
        x - 10.0,
        y
    ));
}

fn draw_north(svg: &mut Svg, letter: &str) {
    let [x, top] = [SIZE[0] - 22.0, 12.0];
    svg.put(&format!("<path d=\"M{x} {top} l6 16 l-6 -4 l-6 4 Z\" class=\"north\"/>"));
    svg.text([x, top + 31.0], Anchor::Middle, "map-small", letter);
}
