#!/usr/bin/env python3
"""Makes the maps of eloquent areas: cortex whose injury costs movement, feeling, speech or sight.

A development tool; nothing at run time needs it. It needs Python 3.10 or newer and

    pip install nibabel numpy scipy SimpleITK

It draws the areas on the ICBM 2009a template (MNI152, symmetric) and carries them to the SRI24 grid of
BraTS by a warp that it finds between the ICBM T1 and the same T1 as already warped there. How it is
run, and on what files, is in README.md beside it. The exit code is 1 if a check fails, 2 if a file is
missing or does not fit.

Sources
-------
Cortex     The 400 parcels of Schaefer et al. 2018 (Cerebral Cortex 28, 3095), by number in the order
           of the 7 networks. The table of names that comes with the package raidionicsrads is that of
           the 17 networks and does not fit its picture, so no names are used here; the centre of each
           hemisphere's parcels is checked instead.
Sulci      The central and the calcarine sulcus were traced on the ICBM T1, where both are seen, on
           axial and coronal slices 2 to 8 mm apart. The template is symmetric: one trace serves both
           sides.
Landmarks  Published centres, which have to lie in or near their area (`LANDMARKS`).

Rules, in millimetres of MNI152
-------------------------------
primary motor          the listed parcels in front of the central sulcus, up to 14 from it; of the
                       parcels of the precentral sulcus only what is up to 7 from it; above z = 10; on
                       the medial face above z = 50 and behind y = -17
primary somatosensory  the same behind the central sulcus, up to 12 and 7
Broca                  left: the parcels of pars opercularis and triangularis up to 20 from the line
                       between the centres of areas 44 and 45, and those around them up to 12; from
                       y = 7, z from -2 to 30, 38 lateral or more
Wernicke               left: the parcels of the posterior superior temporal gyrus up to 20 from its
                       axis, and those around them, supramarginal and angular, up to 13
primary visual         the parcels of the calcarine sulcus up to 12 from its trace, and those around
                       it up to 8; behind y = -56

The largest piece of each is widened by 3 into the white matter, as gyri have a core, gaps narrower
than 4 are closed, and what is outside the brain is left out.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy
from numpy.typing import NDArray
from scipy import ndimage

import warp
from grids import (
    CODE_MNI,
    CODE_SCANNER,
    Grid,
    box_around,
    dice,
    distance_mm,
    fail,
    largest_piece,
    read,
    read_labels,
    require_same_grid,
    write,
)
from make_regions import CROP_MARGIN_VOXELS, read_lobes

NAMES = (
    "primary_motor_cortex_left",
    "primary_motor_cortex_right",
    "primary_somatosensory_cortex_left",
    "primary_somatosensory_cortex_right",
    "broca_area_left",
    "wernicke_area_left",
    "primary_visual_cortex_left",
    "primary_visual_cortex_right",
)
LABEL_BY_NAME = {name: label for label, name in enumerate(NAMES, start=1)}

PARCEL_COUNT = 400
LEFT_PARCEL_MAX = 200
CORE_MM = 3.0
GAP_MM = 2.0

# Central sulcus: at each height z, points (distance from the midline, y) from the medial face outwards.
CENTRAL_SULCUS = {
    78: ((0, -34), (6, -33), (12, -30), (18, -27), (24, -27)),
    76: ((0, -36), (3, -36), (8, -34), (13, -30), (18, -27), (24, -25.5), (30, -26)),
    74: ((0, -39), (6, -37), (11, -33), (16, -28.5), (22, -27), (30, -26), (36, -26)),
    72: ((0, -39), (7, -38), (13, -31), (18, -27.5), (25, -26), (33, -25), (40, -25)),
    70: ((0, -38), (9, -36), (13, -31.5), (17, -28), (22, -27), (30, -25.5), (37, -25), (44, -24)),
    68: ((0, -37), (10, -35), (14, -31), (19, -28), (25, -27), (33, -26), (40, -25), (46, -23)),
    65: ((0, -37), (14, -32), (19, -28), (26, -27.5), (30, -26), (35, -27), (40, -25), (46, -21)),
    60: ((0, -36), (18, -30), (24, -28), (27, -24.5), (32, -27), (37, -27), (41, -24), (44, -19),
         (46, -15), (50, -12)),
    55: ((0, -36), (22, -29), (26, -24.5), (31, -27.5), (36, -27), (40, -24), (42.5, -20), (43, -16),
         (48, -14), (53, -11), (60, -10)),
    50: ((0, -36), (20, -28), (28, -25), (33, -27), (38, -25.5), (41, -21), (41.5, -17), (43, -14),
         (50, -13), (57, -11), (64, -9)),
    45: ((0, -36), (20, -26), (34, -19), (36, -17.5), (40, -15), (45, -16), (50, -16), (54, -13),
         (61, -9), (66, -7)),
    40: ((0, -36), (33, -17), (38, -17), (42, -17.5), (47, -14), (52, -9.5), (57, -7), (62, -5.5),
         (68, -4)),
    35: ((0, -36), (33, -18), (39, -16.5), (43, -13), (48, -11), (54, -9.5), (59, -7), (64, -3.5),
         (70, -3)),
    30: ((0, -36), (40, -12), (46, -10), (50, -9.5), (55, -7.5), (60, -4), (65, -2), (72, -1)),
    25: ((0, -36), (40, -10), (52, -7), (55, -5.5), (60, -3.5), (66, -1), (72, 0)),
    20: ((0, -36), (40, -9), (61, -6), (66, -1.5), (72, 0)),
    15: ((0, -36), (40, -9), (61, -5), (65, -4.5), (72, -4)),
}
# Calcarine sulcus: its deepest line, (distance from the midline, y, z) from the front to the pole.
CALCARINE_SULCUS = (
    (20, -56, 5),
    (18, -62, 7),
    (14, -70, 9),
    (10, -78, 8),
    (9, -86, 3),
    (9, -94, -3),
    (11, -101, -5),
)

# Axes of the speech areas: pairs of centres that the areas lie around.
BROCA_AXIS = ((-52, 14, 18), (-50, 28, 12))
WERNICKE_AXIS = ((-60, -32, 10), (-56, -50, 20))


@dataclass(frozen=True)
class Parcels:
    """Numbers of parcels: those of the area, and those that it shares with its neighbours."""

    inner: tuple[int, ...]
    outer: tuple[int, ...]


SENSORIMOTOR = {
    "left": Parcels(
        (43, 44, 45, 46, 47, 48, 50, 51, 52, 53, 54, 55, 57, 59, 62, 63, 64, 66, 67, 68),
        (40, 42, 60, 61, 65, 74, 76, 79, 86, 88, 94),
    ),
    "right": Parcels(
        (246, 247, 248, 249, 251, 252, 253, 255, 256, 257, 259, 260, 262, 263, 264, 265, 268, 269,
         270),
        (242, 244, 245, 258, 261, 276, 278, 279, 283, 290, 291, 316, 319),
    ),
}
BROCA = Parcels((105, 175), (90, 103, 136, 140, 172))
WERNICKE = Parcels((37, 159), (92, 93, 96, 157, 158, 160, 163))
VISUAL = {
    "left": Parcels((18, 21, 22), (11, 15, 16, 24, 25)),
    "right": Parcels((215, 219, 220), (211, 212, 223, 225)),
}

MOTOR_REACH_MM = 14.0
SOMATOSENSORY_REACH_MM = 12.0
SENSORIMOTOR_OUTER_REACH_MM = 7.0
# The lower end of the precentral and postcentral gyrus, above the lateral fissure.
SENSORIMOTOR_Z_MM_MIN = 10.0
# On the medial face the paracentral lobule ends above the cingulate sulcus.
PARACENTRAL_Z_MM_MIN = 50.0
MEDIAL_LATERAL_MM_MAX = 25.0
# On the medial face the supplementary motor area begins in front of this plane.
PARACENTRAL_Y_MM_MAX = -17.0
PARACENTRAL_LATERAL_MM_MAX = 10.0
BROCA_INNER_REACH_MM = 20.0
BROCA_OUTER_REACH_MM = 12.0
# In front of the inferior precentral sulcus, between the lateral fissure and the inferior frontal
# sulcus, lateral of the insula.
BROCA_Y_MM_MIN = 7.0
BROCA_Z_MM = (-2.0, 30.0)
BROCA_LATERAL_MM_MIN = 38.0
WERNICKE_INNER_REACH_MM = 20.0
WERNICKE_OUTER_REACH_MM = 13.0
VISUAL_INNER_REACH_MM = 12.0
VISUAL_OUTER_REACH_MM = 8.0
# Where the calcarine sulcus ends, in front of its junction with the parieto-occipital sulcus.
VISUAL_Y_MM_MAX = -56.0

# Points that have to lie in their area or at most this far from it.
LANDMARK_MM_MAX = 5.0
LANDMARKS = (
    ("primary_motor_cortex_left", (-37, -21, 58), "M1, Mayka et al. 2006, NeuroImage 31, 1453"),
    ("primary_motor_cortex_right", (37, -21, 58), "M1, Mayka et al. 2006, mirrored"),
    ("broca_area_left", (-52, 14, 18), "area 44, after Amunts et al. 1999, J Comp Neurol 412, 319"),
    ("broca_area_left", (-50, 28, 12), "area 45, after Amunts et al. 1999"),
    ("wernicke_area_left", (-56, -31, 13), "hearing words, Phil Trans R Soc B 369 (2014), 20130297, table 2"),
)
# Least Dice of lobes, cerebellum and brain stem in the check of the warp.
WARP_LOBE_DICE_MIN = 0.95
WARP_LOBE_LABELS = range(1, 12)


class Cortex:
    """The parcels on the MNI152 grid, with coordinates in mm."""

    def __init__(self, parcels: NDArray, white: NDArray, brain: NDArray, grid: Grid) -> None:
        self.parcels = parcels
        self.white = white
        self.brain = brain
        self.grid = grid
        self.x, self.y, self.z = grid.centres_mm()
        self.lateral = numpy.abs(self.x)

    def side(self, side: str) -> NDArray:
        """Returns the voxels of a side, without those in the midline plane."""
        return numpy.broadcast_to(self.x < 0 if side == "left" else self.x > 0, self.grid.shape)

    def of(self, numbers: tuple[int, ...]) -> NDArray:
        """Returns the voxels of these parcels."""
        return numpy.isin(self.parcels, numbers)

    def near(self, area: Parcels, away_mm: NDArray, inner_mm: float, outer_mm: float) -> NDArray:
        """Returns the inner parcels up to `inner_mm` and the outer ones up to `outer_mm` away."""
        return (self.of(area.inner) & (away_mm <= inner_mm)) | (
            self.of(area.outer) & (away_mm <= outer_mm)
        )

    def from_line(self, points: tuple[tuple[float, float, float], ...], side: str) -> NDArray:
        """Returns the distance of each voxel from a line of points with x on the given side."""
        sign = -1.0 if side == "left" else 1.0
        nodes = numpy.array([(sign * abs(x), y, z) for x, y, z in points], dtype=float)
        shortest = numpy.full(self.grid.shape, numpy.inf)
        for start, end in zip(nodes, nodes[1:]):
            along = end - start
            offset = [axis - s for axis, s in zip((self.x, self.y, self.z), start)]
            part = sum(o * a for o, a in zip(offset, along)) / float(along @ along)
            part = numpy.clip(part, 0.0, 1.0)
            square = sum((o - part * a) ** 2 for o, a in zip(offset, along))
            shortest = numpy.minimum(shortest, numpy.sqrt(square))
        return shortest


def central_sulcus_y_mm(cortex: Cortex) -> NDArray:
    """Returns y of the central sulcus for each x and z of the grid, as `[x, 1, z]`."""
    heights = sorted(CENTRAL_SULCUS)
    lateral = cortex.lateral[:, 0, 0]
    at_height = numpy.array(
        [numpy.interp(lateral, *zip(*CENTRAL_SULCUS[height])) for height in heights]
    )
    z = cortex.z[0, 0, :]
    surface = numpy.array(
        [numpy.interp(z, heights, at_height[:, column]) for column in range(len(lateral))]
    )
    return surface[:, None, :]


def sensorimotor(cortex: Cortex, side: str) -> tuple[NDArray, NDArray]:
    """Returns the primary motor and the primary somatosensory cortex of a side."""
    sulcus = numpy.broadcast_to(central_sulcus_y_mm(cortex), cortex.grid.shape)
    y = numpy.broadcast_to(cortex.y, cortex.grid.shape)
    front = (y > sulcus) & cortex.side(side)
    behind = (y <= sulcus) & cortex.side(side)
    reach = (cortex.z >= PARACENTRAL_Z_MM_MIN) | (
        (cortex.z >= SENSORIMOTOR_Z_MM_MIN) & (cortex.lateral > MEDIAL_LATERAL_MM_MAX)
    )
    motor = cortex.near(
        SENSORIMOTOR[side], distance_mm(behind, cortex.grid), MOTOR_REACH_MM,
        SENSORIMOTOR_OUTER_REACH_MM,
    )
    medial = (cortex.lateral <= PARACENTRAL_LATERAL_MM_MAX) & (y > PARACENTRAL_Y_MM_MAX)
    somatosensory = cortex.near(
        SENSORIMOTOR[side], distance_mm(front, cortex.grid), SOMATOSENSORY_REACH_MM,
        SENSORIMOTOR_OUTER_REACH_MM,
    )
    return motor & front & reach & ~medial, somatosensory & behind & reach


def broca(cortex: Cortex) -> NDArray:
    """Returns the area of Broca, on the left."""
    away = cortex.from_line(BROCA_AXIS, "left")
    area = cortex.near(BROCA, away, BROCA_INNER_REACH_MM, BROCA_OUTER_REACH_MM)
    return (
        area
        & (cortex.y >= BROCA_Y_MM_MIN)
        & (cortex.z >= BROCA_Z_MM[0])
        & (cortex.z <= BROCA_Z_MM[1])
        & (cortex.lateral >= BROCA_LATERAL_MM_MIN)
    )


def wernicke(cortex: Cortex) -> NDArray:
    """Returns the area of Wernicke, on the left."""
    away = cortex.from_line(WERNICKE_AXIS, "left")
    return cortex.near(WERNICKE, away, WERNICKE_INNER_REACH_MM, WERNICKE_OUTER_REACH_MM)


def visual(cortex: Cortex, side: str) -> NDArray:
    """Returns the primary visual cortex of a side."""
    away = cortex.from_line(CALCARINE_SULCUS, side)
    area = cortex.near(VISUAL[side], away, VISUAL_INNER_REACH_MM, VISUAL_OUTER_REACH_MM)
    return area & cortex.side(side) & (cortex.y <= VISUAL_Y_MM_MAX)


def draw(cortex: Cortex) -> NDArray:
    """Returns the labels of all areas on the MNI152 grid."""
    masks: dict[str, NDArray] = {
        "broca_area_left": broca(cortex),
        "wernicke_area_left": wernicke(cortex),
    }
    for side in ("left", "right"):
        motor, somatosensory = sensorimotor(cortex, side)
        masks[f"primary_motor_cortex_{side}"] = motor
        masks[f"primary_somatosensory_cortex_{side}"] = somatosensory
        masks[f"primary_visual_cortex_{side}"] = visual(cortex, side)
    labels = numpy.zeros(cortex.grid.shape, numpy.uint8)
    for name, label in LABEL_BY_NAME.items():
        labels[largest_piece(masks[name] & cortex.brain)] = label
    return close_gaps(widen(labels, cortex), cortex)


def close_gaps(labels: NDArray, cortex: Cortex) -> NDArray:
    """Returns the labels with the gaps in each area closed that are narrower than twice `GAP_MM`."""
    closed = labels.copy()
    for name, label in LABEL_BY_NAME.items():
        grown = distance_mm(labels == label, cortex.grid) <= GAP_MM
        filled = distance_mm(~grown, cortex.grid) > GAP_MM
        side = "left" if name.endswith("_left") else "right"
        closed[filled & (labels == 0) & (closed == 0) & cortex.brain & cortex.side(side)] = label
    return closed


def widen(labels: NDArray, cortex: Cortex) -> NDArray:
    """Returns the labels grown by `CORE_MM` into white matter; each voxel goes to the nearest area."""
    away, nearest = ndimage.distance_transform_edt(
        labels == 0, sampling=cortex.grid.spacing_mm, return_indices=True
    )
    grown = labels[tuple(nearest)]
    # No area grows across the midline.
    left_labels = [label for name, label in LABEL_BY_NAME.items() if name.endswith("_left")]
    grown_side = numpy.isin(grown, left_labels)
    same_side = numpy.where(grown_side, cortex.x < 0, cortex.x > 0)
    core = (labels == 0) & (away <= CORE_MM) & cortex.white & cortex.brain & same_side
    return numpy.where(core, grown, labels)


def carry(labels: NDArray, grid: Grid, found: warp.SimpleITK.Transform, onto: Grid) -> NDArray:
    """Returns the labels on the grid `onto`: of each voxel the area with the largest share, if half."""
    best = numpy.full(onto.shape, 0.5, numpy.float32)
    carried = numpy.zeros(onto.shape, numpy.uint8)
    for label in LABEL_BY_NAME.values():
        share = warp.pull_linear(found, labels == label, grid, onto)
        carried[share >= best] = label
        best = numpy.maximum(best, share)
    return carried


def check_parcels(parcels: NDArray, grid: Grid) -> None:
    """Ends the program if the parcels are not 400 with the first half on the left."""
    found = numpy.unique(parcels)
    if found.tolist() != list(range(PARCEL_COUNT + 1)):
        fail(f"--parcels: {len(found) - 1} parcels, not {PARCEL_COUNT}")
    x = numpy.broadcast_to(grid.centres_mm()[0], grid.shape)
    left = x[(parcels > 0) & (parcels <= LEFT_PARCEL_MAX)].mean()
    right = x[parcels > LEFT_PARCEL_MAX].mean()
    if not left < -10.0 < 10.0 < right:
        fail(f"--parcels: centres at x {left:.1f} and {right:.1f} mm, not left and right")


def check_landmarks(labels: NDArray, grid: Grid) -> bool:
    """Prints how far each landmark is from its area; returns whether all are near."""
    passed = True
    for name, point, source in LANDMARKS:
        index = tuple(
            round((p - o) / s) for p, o, s in zip(point, grid.origin_mm, grid.spacing_mm)
        )
        away = float(distance_mm(labels == LABEL_BY_NAME[name], grid)[index])
        passed &= away <= LANDMARK_MM_MAX
        print(f"{name:<36} {point!s:<16} {away:4.1f} mm  {source}")
    return passed


def check_lobes(labels: NDArray, lobes: NDArray, title: str) -> None:
    """Prints, for each area, its size and the lobes that it lies in."""
    lobe_names = ("frontal", "temporal", "parietal", "occipital")
    print(f"{title}: area, ml, share of its labelled voxels in each lobe")
    for name, label in LABEL_BY_NAME.items():
        inside = lobes[labels == label]
        counts = [int(numpy.isin(inside, (2 * i + 1, 2 * i + 2)).sum()) for i in range(4)]
        total = max(sum(counts), 1)
        side = 1 if name.endswith("_left") else 0
        wrong = int((numpy.isin(inside, range(1, 9)) & (inside % 2 != side)).sum())
        shares = ", ".join(
            f"{lobe} {count / total:.2f}" for lobe, count in zip(lobe_names, counts) if count
        )
        volume = (labels == label).sum() / 1000
        print(f"{label:>3}  {name:<36} {volume:5.1f}  {shares}; other side {wrong}")


def check_warp(carried: NDArray, lobes: NDArray) -> bool:
    """Prints the Dice of the warped native lobe map; returns whether the lobes agree."""
    scores = {
        int(label): dice(carried == label, lobes == label)
        for label in numpy.unique(lobes)
        if label
    }
    print("warp, Dice of the native lobe map with that in the SRI24 grid:")
    print(" ".join(f"{label}:{score:.3f}" for label, score in scores.items()))
    print(f"mean {numpy.mean(list(scores.values())):.3f}")
    return all(scores[label] >= WARP_LOBE_DICE_MIN for label in WARP_LOBE_LABELS)


def parse_arguments() -> argparse.Namespace:
    """Returns the arguments of the command line."""
    parser = argparse.ArgumentParser(description="Makes the maps of eloquent areas.")
    native = parser.add_argument_group("on the native ICBM 2009a grid")
    native.add_argument("--parcels", type=Path, required=True, help="400 parcels")
    native.add_argument("--t1", type=Path, required=True, help="T1")
    native.add_argument("--mask", type=Path, required=True, help="mask of the brain")
    native.add_argument("--white", type=Path, required=True, help="white matter, 0 to 255")
    native.add_argument("--lobes", type=Path, required=True, help="native lobe map")
    native.add_argument("--native-table", type=Path, required=True, help="its table of labels")
    native.add_argument("--out-mni152", type=Path, help="map to write")
    sri24 = parser.add_argument_group("on the SRI24 grid of BraTS; without --sri24-t1 left out")
    sri24.add_argument("--sri24-t1", type=Path, help="the same T1 warped there")
    sri24.add_argument("--sri24-lobes", type=Path, help="lobe map there, labels 1 to 28")
    sri24.add_argument("--out-sri24", type=Path, help="map to write")
    parser.add_argument("--names", type=Path, help="table of names to write (.json)")
    arguments = parser.parse_args()
    if (arguments.sri24_t1 is None) != (arguments.sri24_lobes is None):
        parser.error("--sri24-t1 and --sri24-lobes go together")
    if arguments.out_sri24 and arguments.sri24_t1 is None:
        parser.error("--out-sri24 needs --sri24-t1")
    return arguments


def make_sri24(
    arguments: argparse.Namespace, labels: NDArray, t1: NDArray, lobes: NDArray, grid: Grid
) -> bool:
    """Makes the map on the SRI24 grid; returns whether the warp passes its check."""
    there_t1, there_t1_grid = read(arguments.sri24_t1, "--sri24-t1")
    there_lobes, there_lobes_grid = read_lobes(arguments.sri24_lobes, None)
    there = require_same_grid({"--sri24-t1": there_t1_grid, "--sri24-lobes": there_lobes_grid})
    found = warp.fit_warp(there_t1, there, t1, grid)
    passed = check_warp(warp.pull_nearest(found, lobes, grid, there), there_lobes)
    carried = carry(labels, grid, found, there)
    carried[there_t1 <= 0] = 0
    check_lobes(carried, there_lobes, "SRI24")
    if arguments.out_sri24:
        write(arguments.out_sri24, carried, there, "LPS", CODE_SCANNER)
    return passed


def main() -> int:
    """Runs the program; returns its exit code."""
    arguments = parse_arguments()
    parcels, parcels_grid = read_labels(arguments.parcels, "--parcels")
    t1, t1_grid = read(arguments.t1, "--t1")
    mask, mask_grid = read(arguments.mask, "--mask")
    white, white_grid = read(arguments.white, "--white")
    lobes, lobes_grid = read_lobes(arguments.lobes, arguments.native_table)
    grid = require_same_grid(
        {
            "--parcels": parcels_grid,
            "--t1": t1_grid,
            "--mask": mask_grid,
            "--white": white_grid,
            "--lobes": lobes_grid,
        }
    )
    check_parcels(parcels, grid)
    brain = mask > 0.5
    labels = draw(Cortex(parcels, white >= 128, brain, grid))
    passed = check_landmarks(labels, grid)
    check_lobes(labels, lobes, "MNI152")
    if arguments.out_mni152:
        # The grid of the map of regions.
        box = box_around(lobes > 0, CROP_MARGIN_VOXELS)
        write(arguments.out_mni152, labels[box], grid.crop(box), "RAS", CODE_MNI)
    if arguments.names:
        names = {label: name for name, label in LABEL_BY_NAME.items()}
        arguments.names.write_text(json.dumps(names, indent=1) + "\n")
        print(f"wrote {arguments.names}")
    if arguments.sri24_t1:
        passed &= make_sri24(arguments, labels, numpy.where(brain, t1, 0.0), lobes, grid)
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
