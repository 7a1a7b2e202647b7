//! What the localiser answers.

use neurotriage_domain::{RegionName, Side};
use serde::{Deserialize, Serialize};

/// Coordinate space in which regions were looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// The SRI24 grid of `BraTS`.
    Sri24,
    /// Neither a known template nor registered to one: no region is named.
    Unknown,
}

/// Something a reader of the result should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caution {
    /// No region is named; see `space_reason`.
    SpaceUnknown,
    /// Tumour lies at the edge of the image and may go on outside.
    TouchesImageBorder,
    /// More than a tenth of the tumour lies further from every region than the localiser reaches:
    /// the study may not be registered to the template.
    FarFromRegions,
    /// There were more lesions than are listed.
    LesionsLeftOut,
}

/// Lesions of one mask, and the brain regions they touch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Localisation {
    /// Where regions were looked up.
    pub space: Space,
    /// Why the space is unknown.
    pub space_reason: Option<String>,
    /// Atlas the regions come from, with its version.
    pub atlas: String,
    /// Largest first. Empty if no tumour was found.
    pub lesions: Vec<Lesion>,
    /// Connected components too small or too many to be listed as lesions.
    pub components_ignored: u32,
    /// Volume of those, in millilitres.
    pub ignored_ml: f64,
    /// Volumes of all listed lesions together.
    pub volumes: CompartmentVolumes,
    /// Site of all listed lesions together; absent if the space is unknown or there are none.
    pub site: Option<Site>,
    /// What a reader should know.
    pub cautions: Vec<Caution>,
}

impl Localisation {
    /// Returns true if the mask holds no lesion.
    pub fn is_empty(&self) -> bool {
        self.lesions.is_empty()
    }
}

/// Volumes of a tumour by tissue, in millilitres.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CompartmentVolumes {
    /// Whole tumour.
    pub whole_ml: f64,
    /// Tumour core: necrotic and enhancing.
    pub core_ml: f64,
    /// Necrotic and non-enhancing core.
    pub necrotic_core_ml: f64,
    /// Oedema.
    pub oedema_ml: f64,
    /// Enhancing tumour.
    pub enhancing_ml: f64,
}

/// One lesion: components closer to one another than the gap of the options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lesion {
    /// Volumes by tissue.
    pub volumes: CompartmentVolumes,
    /// Connected components that make up the lesion.
    pub components: u32,
    /// Centre of mass in RAS+ millimetres.
    pub centroid_mm: [f64; 3],
    /// Box around the lesion in RAS+ millimetres.
    pub bounding_box: BoundingBox,
    /// Longest diameter in three dimensions, between outer corners of voxels, in millimetres.
    pub diameter_max_mm: f64,
    /// Largest pair of diameters of the whole lesion in one axial slice.
    pub axial_whole: AxialDiameters,
    /// The same of its core, as response criteria measure it; absent if it has no core.
    pub axial_core: Option<AxialDiameters>,
    /// Where the lesion lies; absent if the space is unknown.
    pub site: Option<Site>,
    /// Regions within reach that the lesion does not overlap, nearest first.
    pub nearby: Vec<RegionDistance>,
}

/// A box along the axes of space.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundingBox {
    /// Right-most, posterior-most, inferior-most corner: the lowest RAS+ coordinates.
    pub min_mm: [f64; 3],
    /// The highest RAS+ coordinates.
    pub max_mm: [f64; 3],
}

/// Two diameters at right angles in one axial slice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AxialDiameters {
    /// The longest diameter of the slice.
    pub longest_mm: f64,
    /// The longest diameter at right angles to it.
    pub perpendicular_mm: f64,
    /// Product of the two, in square millimetres: the largest of any slice.
    pub product_mm2: f64,
    /// Slice of the mask, brought to LPS, counted from the lowest.
    pub slice: u32,
}

/// Where a tumour lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// The region that names the site; ventricles only if there is nothing else.
    pub main_region: Option<RegionName>,
    /// How the tumour lies to the midline.
    pub midline: MidlineShare,
    /// Regions by falling site weight.
    pub regions: Vec<RegionShare>,
    /// Share of the whole tumour that lay on no region and was given to the nearest, 0 to 1.
    pub share_assigned_by_distance: f64,
    /// Share of the whole tumour too far from every region, 0 to 1.
    pub share_outside: f64,
}

impl Site {
    /// Returns the side that holds more of the tumour.
    pub fn side(&self) -> Side {
        self.midline.side
    }

    /// Returns the share of `region`, if the tumour reaches it.
    pub fn region(&self, region: RegionName) -> Option<&RegionShare> {
        self.regions.iter().find(|share| share.region == region)
    }
}

/// How a tumour lies to the plane between the hemispheres.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MidlineShare {
    /// Side that holds more of the tumour; midline if both hold nearly the same.
    pub side: Side,
    /// Volume on the patient's left, in millilitres.
    pub left_ml: f64,
    /// Volume on the patient's right, in millilitres.
    pub right_ml: f64,
    /// Share on the smaller side, 0 to 0.5.
    pub share_across: f64,
    /// True if the smaller side holds enough, by volume and by share.
    pub crosses_midline: bool,
}

/// How much of a tumour lies in one region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionShare {
    /// Stable name, such as `frontal_left`.
    pub region: RegionName,
    /// Plain English, such as `left frontal lobe`.
    pub display_name: String,
    /// Plain Korean, such as `왼쪽 전두엽`.
    pub korean_name: String,
    /// SNOMED CT code of the structure, without side.
    pub snomed_code: Option<String>,
    /// Part of the whole tumour in this region, in millilitres.
    pub volume_ml: f64,
    /// The same as a share of the whole tumour, 0 to 1.
    pub share: f64,
    /// Part of the core in this region, in millilitres.
    pub core_ml: f64,
    /// The same as a share of the core, 0 to 1; 0 if there is no core.
    pub core_share: f64,
    /// Weight in naming the site, 0 to 1; all regions sum to 1.
    pub site_weight: f64,
    /// Share of the region that the tumour overlaps, 0 to 1.
    pub region_occupied_share: f64,
}

/// How far a lesion is from a region that it does not overlap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionDistance {
    /// Stable name, such as `insula_left`.
    pub region: RegionName,
    /// Plain English, such as `left insula`.
    pub display_name: String,
    /// Smallest distance between voxel centres, in millimetres.
    pub distance_mm: f64,
}
