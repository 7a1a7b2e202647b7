//! What the localiser answers.

use neurotriage_domain::{RegionName, Side};
use neurotriage_imaging::AffineMap;
use serde::{Deserialize, Serialize};

use crate::{MidlineShift, Template};

/// Coordinate space in which regions were looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// The SRI24 grid of `BraTS`.
    Sri24,
    /// MNI152.
    Mni152,
    /// Neither a known template nor registered to one: no region is named.
    Unknown,
}

impl From<Template> for Space {
    fn from(template: Template) -> Self {
        match template {
            Template::Sri24 => Self::Sri24,
            Template::Mni152 => Self::Mni152,
        }
    }
}

/// How the place of a study in a template's space is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlacedBy {
    /// From where the field of view lies by the header: as good as the registration that somebody
    /// else did before.
    Header,
    /// By registration of the study's image to the template.
    Registration,
}

/// Where a study lies in a template's space.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// Whose space.
    pub template: Template,
    /// How that is known.
    pub placed_by: PlacedBy,
    /// From the patient's RAS+ millimetres to those of the template.
    pub template_from_patient: AffineMap,
    /// How good the registration was; absent without one.
    pub registration: Option<RegistrationQuality>,
    /// How far the middle of the brain is pushed to one side; absent without registration, or if it
    /// could not be measured.
    #[serde(default)]
    pub midline_shift: Option<MidlineShift>,
}

impl Placement {
    /// Returns the placement of a study whose millimetres are those of the template.
    pub fn by_header(template: Template) -> Self {
        Self {
            template,
            placed_by: PlacedBy::Header,
            template_from_patient: AffineMap::IDENTITY,
            registration: None,
            midline_shift: None,
        }
    }
}

/// How good a registration was.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegistrationQuality {
    /// Normalised mutual information inside the brain, 1 (none) to 2.
    pub mutual_information: f64,
    /// Dice of the brain and the template's; absent if the skull is in the image.
    pub brain_overlap: Option<f64>,
    /// Mean distance over the brain between where the header places a voxel and where the
    /// registration does, in millimetres; absent if the header names no template.
    pub moved_mm: Option<f64>,
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
    /// The main region is another one if the study is placed a few millimetres or degrees off.
    RegionUncertain,
}

/// Lesions of one mask, and the brain regions they touch.
///
/// Stored as JSON: fields are added with a default, never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Localisation {
    /// Where regions were looked up.
    pub space: Space,
    /// Why the space is unknown.
    pub space_reason: Option<String>,
    /// How the study lies in that space; absent if it is unknown.
    #[serde(default)]
    pub placement: Option<Placement>,
    /// Atlas the regions come from, with its version.
    pub atlas: String,
    /// Largest first. Empty if no tumour was found.
    pub lesions: Vec<Lesion>,
    /// How many places the tumour grows in.
    #[serde(default)]
    pub focality: Focality,
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

/// How many places a tumour grows in, by the definitions of VASARI (feature 9), as far as a mask
/// shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Focality {
    /// There is no lesion, or the answer was stored before this was told.
    #[default]
    NoLesion,
    /// One lesion; it may have satellites.
    Solitary,
    /// Several lesions with no signal change between them, all with the same main region, or in an
    /// unknown space.
    Multifocal,
    /// Several lesions with different main regions.
    Multicentric,
}

/// A point in three systems of coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Voxel of the mask as it was given, `[x, y, z]` from 0; whole numbers are voxel centres.
    pub voxel: [f64; 3],
    /// The patient's RAS+ millimetres, by the affine of the mask.
    pub patient_mm: [f64; 3],
    /// RAS+ millimetres of the template; absent if the space is unknown.
    pub atlas_mm: Option<[f64; 3]>,
}

/// Tissues of a tumour that are described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tissue {
    /// All of it: labels 1, 2 and 4.
    Whole,
    /// Tumour core: labels 1 and 4.
    Core,
    /// Necrotic and non-enhancing core: label 1.
    NecroticCore,
    /// Oedema: label 2.
    Oedema,
    /// Enhancing tumour: label 4.
    Enhancing,
}

impl Tissue {
    /// Every tissue, the whole first.
    pub const ALL: [Self; 5] =
        [Self::Whole, Self::Core, Self::NecroticCore, Self::Oedema, Self::Enhancing];

    /// Returns true if a voxel with this label (0, 1, 2, 3 or 4) belongs to the tissue.
    pub fn holds(self, label: u8) -> bool {
        match self {
            Self::Whole => label != 0,
            Self::Core => label != 0 && label != 2,
            Self::NecroticCore => label == 1,
            Self::Oedema => label == 2,
            Self::Enhancing => label > 2,
        }
    }
}

/// One lesion: components closer to one another than the gap of the options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lesion {
    /// Volumes by tissue.
    pub volumes: CompartmentVolumes,
    /// Connected components that make up the lesion.
    pub components: u32,
    /// The tissues that it has, the whole first.
    #[serde(default)]
    pub compartments: Vec<Compartment>,
    /// Pieces of core apart from the largest one, within the lesion, largest first (VASARI, feature
    /// 24).
    #[serde(default)]
    pub satellites: Vec<Satellite>,
    /// Where the lesion lies; absent if the space is unknown.
    pub site: Option<Site>,
    /// Regions within reach that the lesion does not overlap, nearest first.
    pub nearby: Vec<RegionDistance>,
    /// Eloquent areas that it overlaps or that are within reach, nearest first.
    #[serde(default)]
    pub eloquent: Vec<EloquentDistance>,
    /// Whether it reaches the ventricles and the cortex; absent if the space is unknown.
    #[serde(default)]
    pub contacts: Option<Contacts>,
}

impl Lesion {
    /// Returns the description of a tissue; `None` if the lesion has none of it.
    pub fn compartment(&self, tissue: Tissue) -> Option<&Compartment> {
        self.compartments.iter().find(|compartment| compartment.tissue == tissue)
    }

    /// Returns the longest diameter of the whole lesion, in millimetres.
    pub fn diameter_max_mm(&self) -> f64 {
        self.compartment(Tissue::Whole).map_or(0.0, |whole| whole.diameter_max.length_mm)
    }

    /// Returns the centre of mass of the whole lesion, in the patient's RAS+ millimetres; `None` for
    /// what was stored before compartments were described.
    pub fn centroid_mm(&self) -> Option<[f64; 3]> {
        self.compartment(Tissue::Whole).map(|whole| whole.centroid.patient_mm)
    }
}

/// One tissue of a lesion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compartment {
    /// Which tissue.
    pub tissue: Tissue,
    /// Its volume, in millilitres.
    pub volume_ml: f64,
    /// Its centre of mass.
    pub centroid: Position,
    /// The box around it.
    pub bounding_box: BoundingBox,
    /// Its longest diameter in three dimensions, between outer corners of voxels.
    pub diameter_max: Diameter,
    /// Its largest pair of diameters in one axial slice, as response criteria (RANO) measure it.
    pub axial: AxialDiameters,
    /// How it is spread over regions, largest share first; empty if the space is unknown.
    pub regions: Vec<CompartmentRegion>,
}

/// How much of a tissue lies in one region.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompartmentRegion {
    /// Stable name, such as `frontal_left`.
    pub region: RegionName,
    /// In millilitres.
    pub volume_ml: f64,
    /// Share of the tissue, 0 to 1.
    pub share: f64,
}

/// A piece of core apart from the main one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Satellite {
    /// Its volume, in millilitres.
    pub volume_ml: f64,
    /// Its centre of mass.
    pub centroid: Position,
    /// Smallest distance from the main piece, between voxel centres, in millimetres.
    pub distance_mm: f64,
}

/// A box along the axes, of voxels and of space.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundingBox {
    /// First voxel inside, in the mask as it was given.
    pub voxel_start: [usize; 3],
    /// First voxel beyond along each axis.
    pub voxel_end: [usize; 3],
    /// Left-most, posterior-most, inferior-most corner in the patient's RAS+ millimetres.
    pub min_mm: [f64; 3],
    /// The opposite corner.
    pub max_mm: [f64; 3],
    /// The same two corners of the box in the template's millimetres; absent if the space is
    /// unknown.
    pub atlas_mm: Option<[[f64; 3]; 2]>,
}

/// A straight line through a lesion.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diameter {
    /// Its length in the patient, in millimetres.
    pub length_mm: f64,
    /// Where it begins and ends.
    pub ends: [Position; 2],
}

/// Two diameters at right angles in one axial slice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AxialDiameters {
    /// The longest diameter of the slice.
    pub longest: Diameter,
    /// The longest diameter at right angles to it.
    pub perpendicular: Diameter,
    /// Product of the two, in square millimetres: the largest of any slice.
    pub product_mm2: f64,
    /// Slice of the mask, brought to LPS, counted from the lowest.
    pub slice: u32,
}

/// Where a lesion ends at fluid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contacts {
    /// The ventricles.
    pub ventricles: Contact,
    /// The cortex: told by the fluid around the brain, which lies no more than a cortex away.
    pub cortex: Contact,
}

/// Whether a lesion reaches something.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    /// True if it does.
    pub touches: bool,
    /// Smallest distance between voxel centres, in millimetres, 0 if they overlap; absent beyond the
    /// reach of the localiser.
    pub distance_mm: Option<f64>,
}

/// How far a lesion is from an area whose injury costs a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EloquentDistance {
    /// Stable name, such as `primary_motor_cortex_left`.
    pub area: String,
    /// Plain English, such as `left primary motor cortex`.
    pub display_name: String,
    /// Plain Korean.
    pub korean_name: String,
    /// What is lost with it.
    pub function: String,
    /// Smallest distance between voxel centres, in millimetres; 0 if they overlap.
    pub distance_mm: f64,
    /// Part of the lesion inside the area, in millilitres.
    pub overlap_ml: f64,
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
    /// How the answer changes if the study is placed a little off.
    #[serde(default)]
    pub stability: Option<Stability>,
}

/// How the regions of a tumour change if the study is placed a little off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stability {
    /// How far it was shifted, along each axis, both ways, in millimetres.
    pub shift_mm: f64,
    /// How far it was turned about each axis, both ways, in degrees.
    pub turn_degrees: f64,
    /// Share of the places tried that give the same main region, 0 to 1.
    pub main_region_share: f64,
    /// Regions that the tumour does not reach, but would if placed a little off, by falling share.
    pub possible: Vec<PossibleRegion>,
}

/// A region that a tumour may reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PossibleRegion {
    /// Stable name.
    pub region: RegionName,
    /// Largest share of the tumour in it at any place tried, 0 to 1.
    pub share_max: f64,
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
    /// Display of that code.
    #[serde(default)]
    pub snomed_display: Option<String>,
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
    /// Smallest and largest share of the whole tumour in this region if the study is placed a little
    /// off, 0 to 1; absent if that was not tried.
    #[serde(default)]
    pub share_range: Option<[f64; 2]>,
    /// False if the share at some place tried is less than half.
    #[serde(default = "yes")]
    pub is_certain: bool,
}

/// How far a lesion is from a region that it does not overlap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionDistance {
    /// Stable name, such as `insula_left`.
    pub region: RegionName,
    /// Plain English, such as `left insula`.
    pub display_name: String,
    /// Plain Korean.
    #[serde(default)]
    pub korean_name: String,
    /// SNOMED CT code of the structure, without side.
    #[serde(default)]
    pub snomed_code: Option<String>,
    /// Smallest distance between voxel centres, in millimetres.
    pub distance_mm: f64,
}

/// What was stored before certainty was judged counted as certain.
fn yes() -> bool {
    true
}
