#!/usr/bin/env python3
"""Makes the T1 templates that studies are compared with: brain only, 2 mm, 8 bits.

A development tool; nothing at run time needs it. It needs Python 3.10 or newer and

    pip install nibabel numpy scipy

The T1 is set to 0 outside the brain and cut to it; each voxel of 2 mm is the mean of the 8
voxels of 1 mm inside it; the 99.9th percentile of the brain becomes 255. How it is run is in README.md
beside it. The exit code is 2 if a file is missing or does not fit.
"""

import argparse
from pathlib import Path

import numpy

from grids import CODE_MNI, CODE_SCANNER, Grid, box_around, fail, read, require_same_grid, write

CODES = {"sri24": CODE_SCANNER, "mni152": CODE_MNI}
FACTOR = 2
MARGIN_VOXELS = 4
WHITE_PERCENTILE = 99.9


def parse_arguments() -> argparse.Namespace:
    """Returns the arguments of the command line."""
    parser = argparse.ArgumentParser(description="Makes a T1 template.")
    parser.add_argument("--t1", type=Path, required=True, help="T1 of the template, 1 mm")
    parser.add_argument("--space", choices=CODES, required=True, help="whose millimetres")
    parser.add_argument("--mask", type=Path, required=True, help="mask of the brain")
    parser.add_argument("--out", type=Path, required=True, help="template to write (.nii.gz)")
    return parser.parse_args()


def main() -> int:
    """Runs the program; returns its exit code."""
    arguments = parse_arguments()
    t1, t1_grid = read(arguments.t1, "--t1")
    mask, mask_grid = read(arguments.mask, "--mask")
    grid = require_same_grid({"--t1": t1_grid, "--mask": mask_grid})
    brain = mask > 0.5
    if not brain.any():
        fail("--mask: no voxel is inside the brain")
    # An even number of voxels on each axis.
    box = tuple(
        slice(part.start, part.stop - (part.stop - part.start) % FACTOR)
        for part in box_around(brain, MARGIN_VOXELS)
    )
    fine, fine_grid = numpy.where(brain, t1, 0.0)[box], grid.crop(box)
    shape = tuple(count // FACTOR for count in fine.shape)
    blocks = fine.reshape(shape[0], FACTOR, shape[1], FACTOR, shape[2], FACTOR)
    coarse = blocks.mean(axis=(1, 3, 5))
    white = numpy.percentile(t1[brain], WHITE_PERCENTILE)
    voxels = numpy.clip(numpy.rint(coarse * (255.0 / white)), 0, 255)
    coarse_grid = Grid(
        shape,
        tuple(o + s * (FACTOR - 1) / 2 for o, s in zip(fine_grid.origin_mm, fine_grid.spacing_mm)),
        tuple(s * FACTOR for s in fine_grid.spacing_mm),
    )
    write(arguments.out, voxels, coarse_grid, "RAS", CODES[arguments.space])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
