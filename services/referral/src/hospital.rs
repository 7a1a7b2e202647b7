//! Hospitals of the directory. No I/O.

use neurotriage_domain::HospitalId;
use serde::{Deserialize, Serialize};

/// The directory that fills an empty database: every hospital in it is invented.
const SAMPLE: &str = include_str!("../../../assets/hospitals/sample.toml");

/// Mean radius of the earth, in kilometres (IUGG).
const EARTH_RADIUS_KM: f64 = 6371.0088;

/// A place on earth, WGS 84.
///
/// Invariant: latitude in -90..=90, longitude in -180..=180, both finite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coordinates {
    latitude_degrees: f64,
    longitude_degrees: f64,
}

/// A place that is not on earth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("coordinates are not on earth; latitude must lie in -90..=90 and longitude in -180..=180")]
pub struct InvalidCoordinates;

impl Coordinates {
    /// Returns the place, in degrees north and east.
    ///
    /// # Errors
    /// [`InvalidCoordinates`] outside -90..=90 or -180..=180.
    pub fn from_degrees(latitude: f64, longitude: f64) -> Result<Self, InvalidCoordinates> {
        if !(latitude.abs() <= 90.0 && longitude.abs() <= 180.0) {
            return Err(InvalidCoordinates);
        }
        Ok(Self { latitude_degrees: latitude, longitude_degrees: longitude })
    }

    /// Returns degrees north.
    pub fn latitude_degrees(self) -> f64 {
        self.latitude_degrees
    }

    /// Returns degrees east.
    pub fn longitude_degrees(self) -> f64 {
        self.longitude_degrees
    }

    /// Returns the great-circle distance, in kilometres, by the haversine formula on a sphere.
    pub fn distance_km(self, other: Self) -> f64 {
        let (from, to) = (self.latitude_degrees.to_radians(), other.latitude_degrees.to_radians());
        let half_latitude = (to - from) / 2.0;
        let half_longitude = (other.longitude_degrees - self.longitude_degrees).to_radians() / 2.0;
        let haversine =
            half_latitude.sin().powi(2) + from.cos() * to.cos() * half_longitude.sin().powi(2);
        2.0 * EARTH_RADIUS_KM * haversine.clamp(0.0, 1.0).sqrt().asin()
    }
}

macro_rules! capabilities {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $display:literal;)*) => {
        /// What a hospital offers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Capability {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Capability {
            /// Every capability.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the stable name in `snake_case`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the plain English name.
            pub fn display_name(self) -> &'static str {
                match self { $(Self::$variant => $display,)* }
            }
        }
    };
}

capabilities! {
    /// Operations on the brain.
    Neurosurgery = "neurosurgery", "neurosurgery";
    /// Mapping of language and movement in the awake patient.
    AwakeMapping = "awake_mapping", "awake mapping";
    /// Surgery of the skull base.
    SkullBase = "skull_base", "skull base surgery";
    /// Brain tumours of children.
    PaediatricNeuroOncology = "paediatric_neuro_oncology", "paediatric neuro-oncology";
    /// Biopsy guided by images.
    StereotacticBiopsy = "stereotactic_biopsy", "stereotactic biopsy";
    /// Focused radiation in few sessions.
    Radiosurgery = "radiosurgery", "radiosurgery";
    /// Radiation with protons.
    ProtonTherapy = "proton_therapy", "proton therapy";
    /// Eye disease of the nervous system.
    NeuroOphthalmology = "neuro_ophthalmology", "neuro-ophthalmology";
    /// Surgery of epilepsy.
    EpilepsySurgery = "epilepsy_surgery", "epilepsy surgery";
    /// Operations on the brain at any hour.
    EmergencyNeurosurgery = "emergency_neurosurgery", "emergency neurosurgery";
}

/// One hospital of the directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hospital {
    /// Its identifier.
    pub hospital_id: HospitalId,
    /// Its name.
    pub name: String,
    /// Its city.
    pub city: String,
    /// Where it is.
    pub location: Coordinates,
    /// What it offers.
    pub capabilities: Vec<Capability>,
    /// Share of referrals that it can take now, 0 to 1.
    pub capacity: f64,
    /// False if it takes no referrals at present.
    pub accepts_referrals: bool,
}

impl Hospital {
    /// Returns true if the hospital offers `capability`.
    pub fn offers(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}

/// Why a directory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// Not TOML, or not the shape of a directory.
    #[error("hospital directory is malformed; correct it: {0}")]
    Syntax(String),
    /// A hospital is placed off the earth.
    #[error("hospital {hospital_id} has impossible coordinates; correct them")]
    Coordinates {
        /// Which hospital.
        hospital_id: HospitalId,
    },
    /// A capacity is no share.
    #[error("hospital {hospital_id} has a capacity outside 0 to 1; correct it")]
    Capacity {
        /// Which hospital.
        hospital_id: HospitalId,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDirectory {
    hospital: Vec<RawHospital>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHospital {
    hospital_id: HospitalId,
    name: String,
    city: String,
    latitude_degrees: f64,
    longitude_degrees: f64,
    capabilities: Vec<Capability>,
    capacity: f64,
    accepts_referrals: bool,
}

/// Returns the invented hospitals that are compiled in.
///
/// # Errors
/// As [`directory`].
pub fn sample() -> Result<Vec<Hospital>, DirectoryError> {
    directory(SAMPLE)
}

/// Returns the hospitals written in `text`, a TOML list named `hospital`.
///
/// # Errors
/// [`DirectoryError`] names the first hospital that is wrong.
pub fn directory(text: &str) -> Result<Vec<Hospital>, DirectoryError> {
    let raw: RawDirectory =
        toml::from_str(text).map_err(|error| DirectoryError::Syntax(error.message().to_owned()))?;
    let mut hospitals = Vec::with_capacity(raw.hospital.len());
    for hospital in raw.hospital {
        let hospital_id = hospital.hospital_id;
        let location =
            Coordinates::from_degrees(hospital.latitude_degrees, hospital.longitude_degrees)
                .map_err(|_| DirectoryError::Coordinates { hospital_id: hospital_id.clone() })?;
        if !(0.0..=1.0).contains(&hospital.capacity) {
            return Err(DirectoryError::Capacity { hospital_id });
        }
        hospitals.push(Hospital {
            hospital_id,
            name: hospital.name,
            city: hospital.city,
            location,
            capabilities: hospital.capabilities,
            capacity: hospital.capacity,
            accepts_referrals: hospital.accepts_referrals,
        });
    }
    Ok(hospitals)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(latitude: f64, longitude: f64) -> Coordinates {
        Coordinates::from_degrees(latitude, longitude).unwrap()
    }

    #[test]
    fn every_sample_hospital_says_that_it_is_invented() {
        let hospitals = sample().unwrap();
        assert!(hospitals.len() >= 14);
        assert!(hospitals.iter().all(|hospital| hospital.name.contains("(fictional)")));
        for &capability in Capability::ALL {
            assert!(hospitals.iter().any(|hospital| hospital.offers(capability)), "{capability:?}");
        }
    }

    #[test]
    fn mistakes_of_a_directory_are_named() {
        let table = [
            ("syntax", "[[hospital]]", "[[hospitals]]", "malformed"),
            (
                "latitude",
                "latitude_degrees = 37.55",
                "latitude_degrees = 137.55",
                "sample-a has impossible",
            ),
            ("capacity", "capacity = 0.35", "capacity = 1.35", "sample-a has a capacity"),
            ("capability", "\"awake_mapping\"", "\"magic\"", "malformed"),
        ];
        for (case, find, replace, message) in table {
            let error = directory(&SAMPLE.replacen(find, replace, 1)).unwrap_err().to_string();
            assert!(error.contains(message), "case: {case}: {error}");
        }
    }

    #[test]
    fn distances_have_their_closed_forms() {
        let quarter = std::f64::consts::FRAC_PI_2 * EARTH_RADIUS_KM;
        // (what the row is for, from, to, kilometres)
        let table = [
            ("itself", place(37.0, 127.0), place(37.0, 127.0), 0.0),
            ("pole to equator", place(90.0, 0.0), place(0.0, 77.0), quarter),
            ("antipodes", place(0.0, -90.0), place(0.0, 90.0), 2.0 * quarter),
            ("across the date line", place(0.0, 179.5), place(0.0, -179.5), quarter / 90.0),
        ];
        for (case, from, to, km) in table {
            assert!((from.distance_km(to) - km).abs() < 1e-6, "case: {case}");
            assert!((to.distance_km(from) - km).abs() < 1e-6, "case: {case}");
        }
        for (latitude, longitude) in
            [(90.1, 0.0), (0.0, -180.1), (f64::NAN, 0.0), (0.0, f64::INFINITY)]
        {
            assert_eq!(Coordinates::from_degrees(latitude, longitude), Err(InvalidCoordinates));
        }
    }
}
