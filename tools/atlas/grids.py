"""Volumes on a grid in millimetres: reading, writing, distances, overlap.

Arrays are `[x, y, z]` in RAS+ order, whatever the order in the file: the first index grows to the
patient's right, the second to the front, the third upwards. Coordinates are RAS+ millimetres.
"""

import gzip
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import nibabel
import numpy
from numpy.typing import NDArray
from scipy import ndimage

# Code of the MNI152 space and of an aligned scanner space in NIfTI-1.
CODE_SCANNER = 1
CODE_MNI = 4
AFFINE_TOLERANCE_MM = 1e-3


def fail(message: str) -> NoReturn:
    """Ends the program with `message` and exit code 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


@dataclass(frozen=True)
class Grid:
    """A grid in RAS+ order with axes along those of the world; `origin_mm` is the first centre."""

    shape: tuple[int, int, int]
    origin_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]

    def centres_mm(self) -> tuple[NDArray, NDArray, NDArray]:
        """Returns x, y and z of the voxel centres, shaped so that they broadcast to the grid."""
        axes = [
            origin + spacing * numpy.arange(count)
            for origin, spacing, count in zip(self.origin_mm, self.spacing_mm, self.shape)
        ]
        return axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]

    def affine(self) -> NDArray:
        """Returns the matrix from index to millimetres."""
        matrix = numpy.diag([*self.spacing_mm, 1.0])
        matrix[:3, 3] = self.origin_mm
        return matrix

    def crop(self, box: tuple[slice, slice, slice]) -> "Grid":
        """Returns the grid of the voxels inside `box`."""
        return Grid(
            tuple(part.stop - part.start for part in box),
            tuple(o + s * part.start for o, s, part in zip(self.origin_mm, self.spacing_mm, box)),
            self.spacing_mm,
        )


def read(path: Path, what: str) -> tuple[NDArray, Grid]:
    """Returns the voxels of a NIfTI file in RAS+ order, and their grid."""
    if not path.is_file():
        fail(f"{what}: no file {path}")
    try:
        image = nibabel.as_closest_canonical(nibabel.load(path))
    except nibabel.filebasedimages.ImageFileError as error:
        fail(f"{what}: {path} is not a NIfTI file ({error})")
    if len(image.shape) != 3:
        fail(f"{what}: {path} has {len(image.shape)} axes, not 3")
    affine = image.affine
    spacing = numpy.diag(affine)[:3]
    if numpy.abs(affine[:3, :3] - numpy.diag(spacing)).max() > AFFINE_TOLERANCE_MM:
        fail(f"{what}: {path} has an oblique grid")
    grid = Grid(
        tuple(int(n) for n in image.shape),
        tuple(float(v) for v in affine[:3, 3]),
        tuple(float(v) for v in spacing),
    )
    return numpy.asanyarray(image.dataobj), grid


def read_labels(path: Path, what: str) -> tuple[NDArray, Grid]:
    """Returns a map of whole numbers from 0 to 65535, and its grid."""
    voxels, grid = read(path, what)
    rounded = numpy.rint(voxels.astype(numpy.float64))
    if not numpy.array_equal(rounded, voxels) or rounded.min() < 0 or rounded.max() > 65535:
        fail(f"{what}: {path} holds values that are not labels")
    return rounded.astype(numpy.uint16), grid


def require_same_grid(grids: dict[str, Grid]) -> Grid:
    """Returns the one grid of all; ends the program if they differ."""
    (first_name, first), *others = grids.items()
    for name, grid in others:
        if grid != first:
            fail(f"{name} lies on another grid than {first_name}: {grid} and {first}")
    return first


def write(path: Path, voxels: NDArray, grid: Grid, orientation: str, code: int) -> None:
    """Writes 8-bit voxels; the same voxels give the same bytes.

    `orientation` is the index order of the file, such as `LPS`. Sform and qform are both set, with
    `code`.
    """
    image = nibabel.Nifti1Image(voxels.astype(numpy.uint8), grid.affine())
    image = image.as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(orientation)
        )
    )
    image.set_sform(image.affine, code)
    image.set_qform(image.affine, code)
    image.header.set_xyzt_units("mm")
    packed = io.BytesIO()
    # No name and no time in the gzip header.
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=9, mtime=0) as stream:
        stream.write(image.to_bytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed.getvalue())
    print(f"wrote {path} ({len(packed.getvalue())} bytes)")


def box_around(mask: NDArray, margin: int) -> tuple[slice, slice, slice]:
    """Returns the smallest box around `mask`, widened by `margin` voxels inside the grid."""
    box = ndimage.find_objects(mask.astype(numpy.uint8))[0]
    return tuple(
        slice(max(part.start - margin, 0), min(part.stop + margin, count))
        for part, count in zip(box, mask.shape)
    )


def distance_mm(mask: NDArray, grid: Grid) -> NDArray:
    """Returns the distance of each voxel centre from the nearest one inside `mask`."""
    if not mask.any():
        fail("distance from a structure that the map lacks")
    return ndimage.distance_transform_edt(~mask, sampling=grid.spacing_mm)


def largest_piece(mask: NDArray) -> NDArray:
    """Returns the largest piece of `mask` whose voxels touch by faces."""
    pieces, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = numpy.bincount(pieces.ravel())
    sizes[0] = 0
    return pieces == sizes.argmax()


def dice(first: NDArray, second: NDArray) -> float:
    """Returns the Dice overlap; 1 if both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 2.0 * int((first & second).sum()) / total if total else 1.0
