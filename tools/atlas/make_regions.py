#!/usr/bin/env python3
"""Makes the map of 36 brain regions from a map of lobes and tissue probabilities.

A development tool; nothing at run time needs it. It needs Python 3.10 or newer and

    pip install nibabel numpy scipy

Labels 1 to 28 are those of the lobe map. Labels 29 to 36 are regions that a lobe map lacks and that
symptoms point to: they follow from the labels and from the white matter by the rules below. How it is
run, and on what files, is in README.md beside it. With `--check FILE` it compares its result with an
atlas made before: labels 1 to 28 have to be the same wherever neither map has a label from 29 on, and
each label from 29 on has to reach `--dice-min`. The exit code is 1 if one does not, 2 if a file is
missing or does not fit.

Rules
-----
All lengths are millimetres of SRI24. An affine takes MNI152 millimetres to them, so that the same
rules serve both templates; it also tilts the axes, because the two heads are held differently.
"White" is a white matter probability of at least one half, "lateral" the distance from the midline
plane, "unlabelled" a voxel without a label in the lobe map.

29, 30  insula     voxels of the lobes or unlabelled, 29.5 to 43 lateral, level with the putamen
                   forwards and upwards, within 12 of the putamen and 8 of the cistern of the
                   lateral fissure, not lateral of that cistern where it is in the same row
31      corpus     the largest white piece in the midsagittal plane, widened by 1, and all that is
        callosum   white in the same rows up to 12 lateral
32, 33  internal   unlabelled and white, within 12 of caudate or thalamus and 12 of putamen or
        capsule    pallidum, medial of both latter in the same row; largest piece
34      hypo-      brain stem or unlabelled within 9 of the third ventricle, in front of the mammillary
        thalamus   bodies, 10.5 lateral at most; and the unlabelled or fluid space below it, 18 wide,
                   down to the floor of the sella
35, 36  cerebello- unlabelled or fluid, 12 to 36 lateral, within 12 of the brain stem and 10 of the
        pontine    cerebellum, at the height of the pons; largest piece
        angle

A later label overwrites an earlier one. The rules were found by fitting an atlas whose program was
lost; they are approximations and were not drawn by an anatomist.
"""

import argparse
import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy
from numpy.typing import NDArray
from scipy import ndimage

from grids import (
    CODE_MNI,
    CODE_SCANNER,
    Grid,
    box_around,
    dice,
    fail,
    largest_piece,
    read,
    read_labels,
    require_same_grid,
    write,
)

LABEL_BY_NAME = {
    name: label
    for label, name in enumerate(
        """frontal_left frontal_right temporal_left temporal_right parietal_left parietal_right
        occipital_left occipital_right cerebellum_left cerebellum_right brain_stem
        lateral_ventricle_left lateral_ventricle_right 3rd_ventricle 4th_ventricle extracerebral_csf
        caudate_left caudate_right putamen_left putamen_right thalamus_left thalamus_right
        subthalamic_nucleus_left subthalamic_nucleus_right globus_pallidus_left globus_pallidus_right
        fornix_left fornix_right insula_left insula_right corpus_callosum internal_capsule_left
        internal_capsule_right hypothalamus cerebellopontine_angle_left
        cerebellopontine_angle_right""".split(),
        start=1,
    )
}
LOBE_LABEL_MAX = LABEL_BY_NAME["fornix_right"]
LOBES = ("frontal", "temporal", "parietal", "occipital")

# Planes of SRI24 in mm: the middle of the ventricles, and of the sella, half a voxel beside it.
MIDLINE_X_MM = -119.0
SELLA_X_MM = -118.5
# Back and front of the putamen, its floor and top.
PUTAMEN_Y_MM = (105.0, 149.0)
PUTAMEN_Z_MM = (58.0, 84.0)
# Mammillary bodies, the front of the chiasm, the back of the sella; top of the hypothalamus, its floor,
# the top of the space below it, the floor of the sella.
MAMMILLARY_Y_MM = 117.0
CHIASM_Y_MM = 141.0
SELLA_BACK_Y_MM = 120.0
HYPOTHALAMUS_TOP_Z_MM = 70.0
HYPOTHALAMUS_FLOOR_Z_MM = 54.0
SELLA_TOP_Z_MM = 57.0
SELLA_FLOOR_Z_MM = 42.0
# Lower and upper edge of the pons beside which the angle lies.
PONS_Z_MM = (22.0, 46.0)

# From MNI152 to SRI24 millimetres: least squares over all voxels of the brain of a non-linear warp
# between the templates (warp.py); it is left with .8, .8 and 1.0 mm on x, y and z.
SRI24_FROM_MNI152 = numpy.array(
    [
        [0.9242, 0.0, 0.0, -119.0],
        [0.0, 0.9373, -0.1785, 125.22],
        [0.0, 0.1891, 0.8367, 71.44],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


@dataclass(frozen=True)
class Space:
    """What differs between the templates."""

    to_sri24: NDArray
    orientation: str
    code: int
    cropped: bool


SPACES = {
    "sri24": Space(numpy.eye(4), "LPS", CODE_SCANNER, cropped=False),
    "mni152": Space(SRI24_FROM_MNI152, "RAS", CODE_MNI, cropped=True),
}
CROP_MARGIN_VOXELS = 4


class Anatomy:
    """Lobe map and white matter of one template, with coordinates and distances in SRI24 mm."""

    def __init__(self, lobes: NDArray, white: NDArray, grid: Grid, space: Space) -> None:
        self.lobes = lobes
        self.white = white
        matrix = space.to_sri24
        x, y, z = grid.centres_mm()
        self.x, self.y, self.z = (
            (row[0] * x + row[1] * y + row[2] * z + row[3]).astype(numpy.float32)
            for row in matrix[:3]
        )
        self.spacing = numpy.linalg.norm(matrix[:3, :3], axis=0) * grid.spacing_mm
        self.lateral = numpy.broadcast_to(numpy.abs(self.x - MIDLINE_X_MM), lobes.shape)

    def of(self, *names: str) -> NDArray:
        """Returns the voxels of these structures."""
        return numpy.isin(self.lobes, [LABEL_BY_NAME[name] for name in names])

    def unlabelled(self) -> NDArray:
        """Returns the voxels without a label."""
        return self.lobes == 0

    def on(self, side: str) -> NDArray:
        """Returns the voxels of a side; those in the midline plane are on both."""
        offset = numpy.broadcast_to(self.x - MIDLINE_X_MM, self.lobes.shape)
        return offset <= 0 if side == "left" else offset >= 0

    def within(self, distance_mm: float, mask: NDArray) -> NDArray:
        """Returns the voxels up to `distance_mm` from `mask`."""
        if not mask.any():
            fail("the lobe map lacks a structure that a rule needs")
        away = ndimage.distance_transform_edt(~mask, sampling=self.spacing)
        # Half a micrometre, so that rounding moves no voxel across the border.
        return away <= distance_mm + 5e-4


def between(values: NDArray, ends: tuple[float, float]) -> NDArray:
    """Returns where `values` lie from the first to the second end."""
    return (values >= ends[0]) & (values <= ends[1])


def insula(anatomy: Anatomy, side: str) -> NDArray:
    """Returns the insula of a side."""
    lateral = anatomy.lateral
    putamen = anatomy.of(f"putamen_{side}")
    zone = (
        anatomy.on(side)
        & (lateral >= 29.5)
        & (lateral <= 43.0)
        & between(anatomy.y, PUTAMEN_Y_MM)
        & between(anatomy.z, PUTAMEN_Z_MM)
    )
    cistern = zone & anatomy.of("extracerebral_csf")
    # Rows run from left to right; the outermost fluid of each is the border.
    outermost = numpy.where(cistern, lateral, -1.0).max(axis=0)
    border = numpy.where(outermost < 0, numpy.inf, outermost)
    cortex = anatomy.unlabelled() | anatomy.of(*(f"{lobe}_{side}" for lobe in LOBES))
    return (
        zone
        & cortex
        & anatomy.within(12.0, putamen)
        & anatomy.within(8.0, cistern)
        & (lateral <= border[None])
    )


def corpus_callosum(anatomy: Anatomy) -> NDArray:
    """Returns the corpus callosum up to 12 mm lateral."""
    middle = int(numpy.abs(anatomy.x[:, 0, 0] - MIDLINE_X_MM).argmin())
    profile = largest_piece(anatomy.white[middle] & ~anatomy.of("brain_stem")[middle])
    away = ndimage.distance_transform_edt(~profile, sampling=anatomy.spacing[1:])
    cerebrum = anatomy.unlabelled() | anatomy.of(
        *(f"{lobe}_{side}" for lobe in LOBES for side in ("left", "right"))
    )
    return (away <= 1.0 + 5e-4)[None] & anatomy.white & cerebrum & (anatomy.lateral <= 12.0)


def internal_capsule(anatomy: Anatomy, side: str) -> NDArray:
    """Returns the internal capsule of a side."""
    outer = anatomy.of(f"putamen_{side}", f"globus_pallidus_{side}")
    inner = anatomy.of(f"caudate_{side}", f"thalamus_{side}")
    border = numpy.where(outer, anatomy.lateral, numpy.inf).min(axis=0)
    return largest_piece(
        anatomy.unlabelled()
        & anatomy.white
        & anatomy.on(side)
        & anatomy.within(12.0, inner)
        & anatomy.within(12.0, outer)
        & (anatomy.lateral < border[None])
    )


def hypothalamus(anatomy: Anatomy) -> NDArray:
    """Returns the hypothalamus with the pituitary area below it."""
    y, z = anatomy.y, anatomy.z
    walls = (
        (anatomy.unlabelled() | anatomy.of("brain_stem"))
        & anatomy.within(9.0, anatomy.of("3rd_ventricle"))
        & (anatomy.lateral <= 10.5)
        & between(y, (MAMMILLARY_Y_MM, CHIASM_Y_MM))
        & between(z, (HYPOTHALAMUS_FLOOR_Z_MM, HYPOTHALAMUS_TOP_Z_MM))
    )
    below = (
        (anatomy.unlabelled() | anatomy.of("extracerebral_csf"))
        & (numpy.abs(anatomy.x - SELLA_X_MM) <= 9.0)
        & between(y, (SELLA_BACK_Y_MM, CHIASM_Y_MM))
        & between(z, (SELLA_FLOOR_Z_MM, SELLA_TOP_Z_MM))
    )
    return largest_piece(walls | below)


def cerebellopontine_angle(anatomy: Anatomy, side: str) -> NDArray:
    """Returns the cerebellopontine angle of a side."""
    return largest_piece(
        (anatomy.unlabelled() | anatomy.of("extracerebral_csf"))
        & anatomy.on(side)
        & (anatomy.lateral >= 12.0)
        & (anatomy.lateral <= 36.0)
        & anatomy.within(12.0, anatomy.of("brain_stem"))
        & anatomy.within(10.0, anatomy.of(f"cerebellum_{side}"))
        & between(anatomy.z, PONS_Z_MM)
    )


def add_regions(anatomy: Anatomy) -> NDArray:
    """Returns the lobe map with labels 29 to 36 added."""
    regions = anatomy.lobes.copy()
    for side in ("left", "right"):
        regions[insula(anatomy, side)] = LABEL_BY_NAME[f"insula_{side}"]
    regions[corpus_callosum(anatomy)] = LABEL_BY_NAME["corpus_callosum"]
    for side in ("left", "right"):
        regions[internal_capsule(anatomy, side)] = LABEL_BY_NAME[f"internal_capsule_{side}"]
    regions[hypothalamus(anatomy)] = LABEL_BY_NAME["hypothalamus"]
    for side in ("left", "right"):
        angle = cerebellopontine_angle(anatomy, side)
        regions[angle] = LABEL_BY_NAME[f"cerebellopontine_angle_{side}"]
    return regions


def read_native_table(path: Path) -> dict[int, int]:
    """Returns our label of each label of the native map, which tells grey from white matter."""
    if not path.is_file():
        fail(f"--native-table: no file {path}")
    table = {}
    with path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            if not (row.get("Region") or "").strip():
                continue
            side = row["Laterality"].strip().lower()
            name = row["Region"].strip().lower().replace(" ", "_")
            name = name if side == "none" else f"{name}_{side}"
            if name not in LABEL_BY_NAME:
                fail(f"--native-table: {name} is not a region of this atlas")
            table[int(row["Label"])] = LABEL_BY_NAME[name]
    return table


def read_lobes(path: Path, native_table: Path | None) -> tuple[NDArray, Grid]:
    """Returns the lobe map with labels 1 to 28, and its grid."""
    lobes, grid = read_labels(path, "--lobes")
    if native_table is not None:
        table = read_native_table(native_table)
        unknown = sorted(set(numpy.unique(lobes).tolist()) - set(table) - {0})
        if unknown:
            fail(f"--lobes: labels {unknown} are not in {native_table}")
        lookup = numpy.zeros(int(lobes.max()) + 1, numpy.uint16)
        for native, label in table.items():
            if native < len(lookup):
                lookup[native] = label
        lobes = lookup[lobes]
    if lobes.max() > LOBE_LABEL_MAX:
        fail(f"--lobes: label {lobes.max()} is above {LOBE_LABEL_MAX}: not a lobe map")
    return lobes.astype(numpy.uint8), grid


def read_white(path: Path, grey_path: Path) -> tuple[NDArray, Grid]:
    """Returns the voxels where white matter is at least as probable as not."""
    white, white_grid = read(path, "--white")
    grey, grey_grid = read(grey_path, "--grey")
    grid = require_same_grid({"--white": white_grid, "--grey": grey_grid})
    for name, voxels in (("--white", white), ("--grey", grey)):
        if voxels.min() < 0 or not 1.5 < voxels.max() <= 255.5:
            fail(f"{name}: probabilities have to run from 0 to 255")
    return (white >= 128) & (white > grey), grid


def check(regions: NDArray, grid: Grid, path: Path, names: dict[int, str], dice_min: float) -> bool:
    """Prints how `regions` compares with the atlas in `path`; returns whether it is close enough."""
    other, other_grid = read_labels(path, "--check")
    require_same_grid({"the result": grid, "--check": other_grid})
    derived = (regions > LOBE_LABEL_MAX) | (other > LOBE_LABEL_MAX)
    differing = int(((regions != other) & ~derived).sum())
    print(f"voxels of labels 1 to {LOBE_LABEL_MAX} that differ: {differing}")
    passed = differing == 0
    print(f"{'label':>5}  {'region':<30} {'here':>7} {'there':>7}  Dice")
    for label, name in names.items():
        here, there = regions == label, other == label
        overlap = dice(here, there)
        low = label > LOBE_LABEL_MAX and overlap < dice_min
        passed &= not low
        note = f"  below {dice_min}" if low else ""
        print(f"{label:>5}  {name:<30} {here.sum():>7} {there.sum():>7}  {overlap:.4f}{note}")
    return passed


def parse_arguments() -> argparse.Namespace:
    """Returns the arguments of the command line."""
    parser = argparse.ArgumentParser(description="Makes the map of 36 brain regions.")
    parser.add_argument("--space", choices=sorted(SPACES), required=True)
    parser.add_argument("--lobes", type=Path, required=True, help="map of lobes")
    parser.add_argument(
        "--native-table",
        type=Path,
        help="CSV of the native map (Region, Laterality, Label): renumbers its labels to 1 to 28",
    )
    parser.add_argument("--white", type=Path, required=True, help="white matter, 0 to 255")
    parser.add_argument("--grey", type=Path, required=True, help="grey matter, 0 to 255")
    parser.add_argument("--out", type=Path, help="atlas to write (.nii.gz)")
    parser.add_argument("--names", type=Path, help="table of names to write (.json)")
    parser.add_argument("--check", type=Path, help="atlas to compare the result with")
    parser.add_argument("--dice-min", type=float, default=0.9, help="least overlap for --check")
    return parser.parse_args()


def main() -> int:
    """Runs the program; returns its exit code."""
    arguments = parse_arguments()
    space = SPACES[arguments.space]
    lobes, lobes_grid = read_lobes(arguments.lobes, arguments.native_table)
    white, white_grid = read_white(arguments.white, arguments.grey)
    grid = require_same_grid({"--lobes": lobes_grid, "--white": white_grid})
    regions = add_regions(Anatomy(lobes, white, grid, space))
    if space.cropped:
        box = box_around(regions > 0, CROP_MARGIN_VOXELS)
        regions, grid = regions[box], grid.crop(box)
    names = {label: name for name, label in LABEL_BY_NAME.items()}
    if arguments.out:
        write(arguments.out, regions, grid, space.orientation, space.code)
    if arguments.names:
        arguments.names.write_text(json.dumps(names, indent=1) + "\n")
        print(f"wrote {arguments.names}")
    if arguments.check:
        return 0 if check(regions, grid, arguments.check, names, arguments.dice_min) else 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
