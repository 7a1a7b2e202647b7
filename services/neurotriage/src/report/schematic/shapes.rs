//! The outlines of the schematic brain: this project's own drawing, in pixels of each view.
//!
//! Sides: the lateral view is of the left hemisphere, the face to the left; the right one is its mirror
//! image. The deep view is axial in radiological convention, so that the patient's left is on its right:
//! paired shapes are drawn there and mirrored for the other side.

use neurotriage_domain::Structure;

/// Width of every view; the axis of mirror images is its middle.
pub(super) const WIDTH: f64 = 270.0;

/// A structure in one view.
pub(super) struct Shape {
    /// Which.
    pub(super) structure: Structure,
    /// Its outline.
    pub(super) path: &'static str,
    /// Where its name or abbreviation stands.
    pub(super) name_at: [f64; 2],
    /// Middle of its first row of numbers.
    pub(super) tags_at: [f64; 2],
    /// Numbers in one row.
    pub(super) tags_in_row: usize,
    /// What is written at `name_at`.
    pub(super) name: Name,
}

/// What is written on a shape.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// The name with the share of the tumour.
    Full,
    /// The name with the share below it, in small letters.
    Stacked,
    /// The name with the share, in small letters.
    Small,
    /// A short sign, explained below the view.
    Sign(&'static str),
    /// Nothing: the shape is named in another view.
    Elsewhere,
}

/// The lateral view of the left hemisphere, from back to front.
pub(super) const LATERAL: &[Shape] = &[
    Shape {
        structure: Structure::BrainStem,
        path: "M138 150 C146 156 164 156 170 150 C167 160 168 170 171 178 C173 188 174 198 174 207 \
               L158 207 C158 196 155 186 149 181 C136 177 130 164 138 150 Z",
        name_at: [0.0, 0.0],
        tags_at: [0.0, 0.0],
        tags_in_row: 1,
        name: Name::Elsewhere,
    },
    Shape {
        structure: Structure::Cerebellum,
        path: "M172 153 C194 148 224 142 240 142 C251 154 239 182 214 190 C196 194 180 187 172 175 \
               C167 166 167 158 172 153 Z",
        name_at: [212.0, 162.0],
        tags_at: [212.0, 176.0],
        tags_in_row: 3,
        name: Name::Full,
    },
    Shape {
        structure: Structure::Temporal,
        path: "M66 122 C84 113 96 104 112 98 C130 92 148 86 166 83 C182 90 196 95 212 96 \
               C209 111 207 124 206 140 C184 148 154 153 128 153 C100 153 72 148 65 135 C62 130 62 126 66 122 Z",
        name_at: [140.0, 131.0],
        tags_at: [140.0, 144.0],
        tags_in_row: 5,
        name: Name::Full,
    },
    Shape {
        structure: Structure::Occipital,
        path: "M219 52 C238 72 251 96 249 116 C247 132 228 139 206 140 C207 124 209 111 212 96 \
               C215 81 217 67 219 52 Z",
        name_at: [232.0, 84.0],
        tags_at: [230.0, 112.0],
        tags_in_row: 2,
        name: Name::Stacked,
    },
    Shape {
        structure: Structure::Parietal,
        path: "M140 15 C172 14 202 28 219 52 C217 67 215 81 212 96 C196 95 182 90 166 83 \
               C148 86 130 92 112 98 C121 82 119 64 127 48 C131 36 136 26 140 15 Z",
        name_at: [172.0, 46.0],
        tags_at: [172.0, 66.0],
        tags_in_row: 4,
        name: Name::Full,
    },
    Shape {
        structure: Structure::Frontal,
        path: "M140 15 C100 13 56 28 34 58 C20 77 13 97 22 109 C34 119 52 117 66 122 \
               C84 113 96 104 112 98 C121 82 119 64 127 48 C131 36 136 26 140 15 Z",
        name_at: [76.0, 60.0],
        tags_at: [72.0, 80.0],
        tags_in_row: 4,
        name: Name::Full,
    },
    Shape {
        structure: Structure::Insula,
        path: "M92 114 C100 102 124 92 150 89 C156 89 156 94 151 98 C136 106 112 114 96 118 C90 119 90 117 92 114 Z",
        name_at: [120.0, 108.0],
        tags_at: [143.0, 98.0],
        tags_in_row: 2,
        name: Name::Small,
    },
    Shape {
        structure: Structure::CerebellopontineAngle,
        path: "M167 160 C172 162 174 170 172 178 C168 182 163 180 162 172 C162 166 164 161 167 160 Z",
        name_at: [204.0, 221.0],
        tags_at: [204.0, 202.0],
        tags_in_row: 4,
        name: Name::Small,
    },
];

/// Sulci and folia of the lateral view: no borders of structures.
pub(super) const LATERAL_LINES: &[&str] = &[
    "M106 27 C98 44 104 60 96 78",
    "M70 34 C66 42 66 46 60 52",
    "M34 84 C48 88 58 98 76 100",
    "M150 28 C142 46 146 62 138 78",
    "M184 34 C192 44 190 52 198 58",
    "M92 130 C120 128 160 122 196 116",
    "M232 78 C238 84 236 88 242 92",
    "M172 177 L188 196",
    "M180 160 C200 155 226 150 243 153",
    "M178 170 C200 172 224 168 242 166",
];

/// Paired shapes of the deep view, drawn for the patient's left, from back to front.
pub(super) const DEEP_PAIRED: &[Shape] = &[
    shape(
        Structure::Frontal,
        "M135 8.8 C180.9 8.8 222.3 37.4 233.1 83.6 L201.6 91.3 C184.5 62.7 161.1 51.7 135 51.7 Z",
        [189.9, 39.6],
        Name::Sign("F"),
    ),
    shape(
        Structure::Temporal,
        "M233.1 83.6 C243.9 114.4 243 156.2 226.8 187 L182.7 183.7 C198.9 162.8 210.6 123.2 201.6 91.3 Z",
        [226.8, 136.4],
        Name::Sign("T"),
    ),
    shape(
        Structure::Occipital,
        "M226.8 187 C211.5 220 170.1 232.1 135 232.1 L135 202.4 C154.8 202.4 171 194.7 182.7 183.7 Z",
        [175.5, 220.0],
        Name::Sign("O"),
    ),
    shape(
        Structure::Insula,
        "M199.4 88.7 C218.1 112.4 215.7 146.7 197 167.9 C204 141.5 206.4 115.1 199.4 88.7 Z",
        [201.5, 128.0],
        Name::Sign("In"),
    ),
    deep(
        Structure::Putamen,
        "M178.3 80.7 C199.4 96.6 202.9 138.8 185.3 162.6 C173.6 146.7 167.8 101.9 178.3 80.7 Z",
        [185.3, 112.4],
        [185.3, 129.6],
        "Pu",
    ),
    deep(
        Structure::GlobusPallidus,
        "M167.8 101.9 C174.8 117.7 177.1 138.8 178.3 156 C166.6 148.1 157.2 133.5 154.9 120.3 C157.2 112.4 161.9 105.8 167.8 101.9 Z",
        [167.2, 124.3],
        [168.4, 140.1],
        "GP",
    ),
    deep(
        Structure::InternalCapsule,
        "M167.8 75.5 L175.9 80.7 L158.4 119 L185.3 170.5 L175.9 175.8 L147.9 120.3 Z",
        [181.8, 184.4],
        [173.6, 167.9],
        "IC",
    ),
    deep(
        Structure::Caudate,
        "M147.9 63.6 C161.9 58.3 172.4 68.9 167.8 84.7 C163.1 97.9 152.6 100.5 149 90 C145.5 80.7 144.4 71.5 147.9 63.6 Z",
        [158.4, 74.1],
        [157.2, 88.7],
        "Cd",
    ),
    deep(
        Structure::Thalamus,
        "M144.4 128.3 C154.9 123 166.6 144.1 167.8 162.6 C166.6 177.1 152.6 181.1 144.4 170.5 C138.5 157.3 138.5 136.2 144.4 128.3 Z",
        [151.4, 144.1],
        [153.2, 161.3],
        "Th",
    ),
    deep(
        Structure::SubthalamicNucleus,
        "M154.9 183.7 C159.6 178.4 168.9 178.4 171.3 183.7 C168.9 189 159.6 190.3 154.9 183.7 Z",
        [163.1, 181.0],
        [163.1, 195.0],
        "STN",
    ),
    deep(
        Structure::LateralVentricle,
        "M138.5 62.3 C142 58.3 145.5 62.3 144.4 71.5 C143.2 84.7 143.2 96.6 138.5 104.5 C137.3 91.3 137.3 75.5 138.5 62.3 Z M186.3 185.9 C196.2 183.7 205.2 193.6 202.5 205.7 C196.2 210.1 186.3 201.3 186.3 185.9 Z",
        [195.3, 199.7],
        [195.3, 196.9],
        "LV",
    ),
    deep(
        Structure::Fornix,
        "M137.3 108.5 C140.8 107.1 144.4 111.1 143.2 116.4 C140.8 120.3 137.3 119 137.3 108.5 Z",
        [149.0, 112.4],
        [145.5, 113.7],
        "Fx",
    ),
];

/// Unpaired shapes of the deep view.
pub(super) const DEEP_MIDDLE: &[Shape] = &[
    shape(
        Structure::CorpusCallosum,
        "M98.7 59.6 C112.8 41.1 157.2 41.1 171.3 59.6 C157.2 53 112.8 53 98.7 59.6 Z M94 202.2 C115.1 181.1 154.9 181.1 175.9 202.2 C154.9 192.9 115.1 192.9 94 202.2 Z",
        [0.0, 0.0],
        Name::Elsewhere,
    ),
    shape(
        Structure::ThirdVentricle,
        "M131.5 123 L138.5 123 L139.1 173.1 L130.9 173.1 Z",
        [0.0, 0.0],
        Name::Elsewhere,
    ),
];

/// The cut through the middle, the face to the left: unpaired structures only.
pub(super) const MIDDLE: &[Shape] = &[
    Shape {
        structure: Structure::CorpusCallosum,
        path: "M88 110 C72 108 63 94 70 80 C80 60 110 51 134 53 C162 55 184 72 188 92 C188 102 176 104 171 97 \
               C165 82 150 71 132 69 C110 67 92 74 86 87 C83 96 86 102 93 105 Z",
        name_at: [128.0, 47.0],
        tags_at: [129.0, 61.0],
        tags_in_row: 4,
        name: Name::Full,
    },
    Shape {
        structure: Structure::ThirdVentricle,
        path: "M108 112 C112 98 150 94 160 106 C156 118 138 122 122 127 C114 126 109 120 108 112 Z",
        name_at: [132.0, 107.0],
        tags_at: [132.0, 114.0],
        tags_in_row: 3,
        name: Name::Small,
    },
    Shape {
        structure: Structure::Hypothalamus,
        path: "M104 117 C108 114 112 122 122 127 C119 134 112 138 108 144 C112 148 110 155 104 155 C98 155 96 148 100 144 \
               C104 136 100 126 104 117 Z",
        name_at: [56.0, 137.0],
        tags_at: [107.0, 132.0],
        tags_in_row: 1,
        name: Name::Small,
    },
    Shape {
        structure: Structure::BrainStem,
        path: "M140 124 C150 117 164 116 168 124 C166 136 168 148 171 158 C174 174 177 190 179 207 L160 207 \
               C158 192 153 182 147 177 C130 168 126 150 139 138 C136 132 136 128 140 124 Z",
        name_at: [92.0, 188.0],
        tags_at: [152.0, 154.0],
        tags_in_row: 2,
        name: Name::Full,
    },
    Shape {
        structure: Structure::FourthVentricle,
        path: "M169 138 C177 144 183 152 176 168 C171 160 168 150 169 138 Z",
        name_at: [212.0, 199.0],
        tags_at: [188.0, 184.0],
        tags_in_row: 2,
        name: Name::Small,
    },
];

/// What surrounds them in the cut: no region of the drawing.
pub(super) const MIDDLE_GROUND: &[&str] = &[
    "M24 110 C12 92 28 50 70 28 C112 8 182 10 218 48 C246 78 253 112 242 128 C232 138 214 136 200 132 \
     C188 128 178 122 168 120 C160 116 150 116 140 122 C128 128 118 128 104 118 C84 122 44 124 24 110 Z",
    "M178 140 C194 130 228 134 238 146 C246 164 226 188 202 190 C188 190 178 180 178 168 C184 160 184 150 178 140 Z",
];

/// Thin lines of the cut.
pub(super) const MIDDLE_LINES: &[&str] = &[
    "M58 96 C60 68 96 42 134 42 C170 42 196 60 202 90",
    "M214 56 C206 72 204 88 210 104",
    "M203 164 C212 154 224 150 236 152",
    "M203 164 C212 166 226 168 236 166",
    "M184 160 C192 158 198 160 203 164",
];

/// Returns a shape that only gives the place.
const fn shape(structure: Structure, path: &'static str, name_at: [f64; 2], name: Name) -> Shape {
    Shape { structure, path, name_at, tags_at: name_at, tags_in_row: 1, name }
}

/// Returns a small shape with a sign.
const fn deep(
    structure: Structure,
    path: &'static str,
    name_at: [f64; 2],
    tags_at: [f64; 2],
    sign: &'static str,
) -> Shape {
    Shape { structure, path, name_at, tags_at, tags_in_row: 1, name: Name::Sign(sign) }
}
