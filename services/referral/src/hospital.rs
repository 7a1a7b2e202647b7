//! Hospitals of the directory. No I/O.

mod rules;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, str::FromStr};

use neurotriage_domain::HospitalId;
use serde::{Deserialize, Serialize};

pub use rules::{
    BEDS_FREE_MAX, Field, FieldProblem, IDENTIFIER_CHARS_MAX, IDENTIFIERS_MAX, LANGUAGES_MAX,
    RESERVED_SYSTEM, TEXT_CHARS_MAX,
};

/// The directory that fills an empty database: every hospital in it is invented.
const SAMPLE: &str = include_str!("../../../assets/hospitals/sample.toml");

/// Mean radius of the earth, in kilometres (IUGG).
pub(crate) const EARTH_RADIUS_KM: f64 = 6371.0088;

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
    ///
    /// # Source
    /// Sinnott, "Virtues of the Haversine", Sky and Telescope 68(2), 1984, p. 159. The radius is the
    /// mean radius of the earth, 6371.0088 km (Moritz, "Geodetic Reference System 1980").
    pub fn distance_km(self, other: Self) -> f64 {
        let (from, to) = (self.latitude_degrees.to_radians(), other.latitude_degrees.to_radians());
        let half_latitude = (to - from) / 2.0;
        // The short way round, so that 180 and -180 degrees are one meridian without rounding.
        let apart_degrees = (other.longitude_degrees - self.longitude_degrees).abs();
        let half_longitude = apart_degrees.min(360.0 - apart_degrees).to_radians() / 2.0;
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
    /// Treatment of stroke.
    Stroke = "stroke", "stroke care";
    /// Operations on the brain at any hour.
    EmergencyNeurosurgery = "emergency_neurosurgery", "emergency neurosurgery";
}

/// Text that names no capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability; expected one of Capability::ALL in snake_case")]
pub struct UnknownCapability;

impl FromStr for Capability {
    type Err = UnknownCapability;

    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        let named = |capability: &Self| capability.as_str() == text;
        Self::ALL.iter().copied().find(named).ok_or(UnknownCapability)
    }
}

/// A name that another register gave the hospital, as FHIR's `Identifier`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identifier {
    /// Whose name it is: an absolute URI, such as `urn:oid:1.2.410.100110`.
    pub system: String,
    /// The name, unique within `system`.
    pub value: String,
}

/// One hospital of the directory.
///
/// [`Hospital::check`] holds the rules of its fields; every form of the directory calls it.
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
    /// Names that other registers gave it. Absent in assessments stored before it was added.
    #[serde(default)]
    pub identifiers: Vec<Identifier>,
    /// Languages that patients are spoken to in, as BCP 47 tags such as `ko`.
    #[serde(default)]
    pub languages: Vec<String>,
    /// Beds free now; `None` if it was not told.
    #[serde(default)]
    pub beds_free: Option<u32>,
}

impl Hospital {
    /// Returns true if the hospital offers `capability`.
    pub fn offers(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }

    /// Returns true if the hospital speaks `language`, a BCP 47 tag: `en` is met by `en-GB`, but
    /// `en-GB` is not met by `en`.
    ///
    /// # Source
    /// RFC 4647, section 3.3.1, basic filtering.
    pub fn speaks(&self, language: &str) -> bool {
        self.languages.iter().any(|tag| {
            tag.get(..language.len()).is_some_and(|start| start.eq_ignore_ascii_case(language))
                && matches!(tag.as_bytes().get(language.len()), None | Some(b'-'))
        })
    }
}

/// Why a directory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Not TOML, or not the shape of a directory.
    #[error("hospital directory is malformed; correct it: {0}")]
    Syntax(String),
    /// A hospital is placed off the earth.
    #[error("hospital {hospital_id} has impossible coordinates; correct them")]
    Coordinates {
        /// Which hospital.
        hospital_id: HospitalId,
    },
    /// A field breaks its rule.
    #[error("hospital {hospital_id} has a wrong {source}")]
    Field {
        /// Which hospital.
        hospital_id: HospitalId,
        /// Which field, and what would be right.
        source: FieldProblem,
    },
    /// Two hospitals have one identifier.
    #[error("hospital {hospital_id} is listed twice; remove one of the two")]
    Repeated {
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
    #[serde(default)]
    identifiers: Vec<Identifier>,
    #[serde(default)]
    languages: Vec<String>,
    beds_free: Option<u32>,
}

/// Returns the invented hospitals that are compiled in.
///
/// # Errors
/// As [`directory`].
pub fn sample() -> Result<Vec<Hospital>, ListError> {
    directory(SAMPLE)
}

/// Returns the hospitals written in `text`, a TOML list named `hospital`.
///
/// # Errors
/// [`ListError`] names the first hospital that is wrong.
pub fn directory(text: &str) -> Result<Vec<Hospital>, ListError> {
    let raw: RawDirectory =
        toml::from_str(text).map_err(|error| ListError::Syntax(error.message().to_owned()))?;
    let mut hospitals = Vec::with_capacity(raw.hospital.len());
    let mut seen = HashSet::with_capacity(raw.hospital.len());
    for raw in raw.hospital {
        let hospital_id = raw.hospital_id;
        let location = Coordinates::from_degrees(raw.latitude_degrees, raw.longitude_degrees)
            .map_err(|_| ListError::Coordinates { hospital_id: hospital_id.clone() })?;
        if !seen.insert(hospital_id.clone()) {
            return Err(ListError::Repeated { hospital_id });
        }
        let hospital = Hospital {
            hospital_id,
            name: raw.name,
            city: raw.city,
            location,
            capabilities: raw.capabilities,
            capacity: raw.capacity,
            accepts_referrals: raw.accepts_referrals,
            identifiers: raw.identifiers,
            languages: raw.languages,
            beds_free: raw.beds_free,
        };
        hospital.check().map_err(|source| ListError::Field {
            hospital_id: hospital.hospital_id.clone(),
            source,
        })?;
        hospitals.push(hospital);
    }
    Ok(hospitals)
}
