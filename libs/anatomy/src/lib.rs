//! Where a tumour lies: lesions, brain regions, side, sizes and distances, from a mask alone.
//!
//! [`localise`] takes a mask in any orientation and spacing, works through its affine in RAS+
//! millimetres, and returns a [`Localisation`]. Regions come from [`Atlas::of`] the space that the
//! mask lies in, SRI24 or MNI152, or was registered to. A mask in any other space is measured but
//! no region is named: a missing answer is better than a wrong lobe.
//!
//! The result is decision support for research use. It is no diagnosis, and this is no medical
//! device.

mod atlas;
mod describe;
mod diameter;
mod distribution;
mod eloquent;
mod frame;
mod grid;
mod label_map;
mod lesion;
mod localisation;
mod localise;
mod midline;
mod midline_shift;
mod reach;
mod stability;
mod template;
mod terms;

pub use atlas::{Atlas, NEAREST_MM_MAX};
pub use eloquent::korean_eloquent_name;
pub use localisation::{
    AxialDiameters, BoundingBox, Caution, Compartment, CompartmentRegion, CompartmentVolumes,
    Contact, Contacts, Diameter, EloquentDistance, Focality, Lesion, Localisation, MidlineShare,
    PlacedBy, Placement, Position, PossibleRegion, RegionDistance, RegionShare,
    RegistrationQuality, Satellite, Site, Space, Stability, Tissue,
};
pub use localise::{LESIONS_MAX, LocaliseOptions, SpaceRule, lesion_numbers, localise};
pub use midline_shift::MidlineShift;
pub use reach::REACH_MM_MAX;
pub use template::{Template, brain_overlap, recognise_image};
pub use terms::{SnomedConcept, korean_name, korean_region_name, snomed_concept};

/// Why a mask could not be localised.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AnatomyError {
    /// A voxel holds no tumour class.
    #[error("label {value} is not a tumour class; relabel to 0, 1, 2 and 4 (or 3) first")]
    Label {
        /// The value found.
        value: u8,
    },
    /// The grid holds no voxel.
    #[error("the mask has no voxels; give a mask of at least one voxel")]
    NoVoxels,
    /// The affine does not map the grid into space.
    #[error("the affine of the mask cannot be used ({reason}); repair its sform or qform")]
    Geometry {
        /// What is wrong with it.
        reason: String,
    },
    /// An atlas is not what it should be.
    #[error("the atlas cannot be used ({reason}); restore its files")]
    Atlas {
        /// What is wrong with it.
        reason: String,
    },
}
