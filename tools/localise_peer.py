#!/usr/bin/env python3
"""Localises a mask as one would by hand with nibabel, numpy and scipy, and times it.

A development tool: `cargo xtask bench localise --peer PYTHON` runs it to have something to measure
against on the same machine. It needs Python 3.10 or newer and

    pip install nibabel numpy scipy

For each mask it does what a script of a research group does, and no more: connected components,
the region of each voxel by looking the place of its centre up in the atlas, the nearest region
within 10 mm for those on none, volumes by region and tissue, the distance to each region within
20 mm, bounding box, centre, and the longest diameter over the corners of the convex hull. It does
not move the study to see which regions change, knows no eloquent areas, satellites or midline, and
measures no diameters in slices.

The atlas is read and its nearest-region map computed once, before the clock starts; each mask is
read before the clock starts too. For each mask a JSON object is printed on a line of its own:
`{"mask", "seconds", "whole_ml", "components", "regions": {name: millilitres}}`.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

NEAREST_MM = 10.0
REACH_MM = 20.0


class Atlas:
    def __init__(self, labels, names):
        image = nibabel.load(labels)
        self.labels = np.asarray(image.dataobj).astype(np.uint8)
        self.voxel_from_mm = np.linalg.inv(image.affine)
        with open(names, encoding="utf-8") as file:
            named = {int(label): name for label, name in json.load(file).items()}
        self.names = {label: name for label, name in named.items() if "csf" not in name}
        known = np.isin(self.labels, list(self.names))
        tissue = known & ~np.isin(
            self.labels, [label for label, name in self.names.items() if "ventricle" in name]
        )
        spacing = nibabel.affines.voxel_sizes(image.affine)
        distance, nearest = ndimage.distance_transform_edt(
            ~tissue, sampling=spacing, return_indices=True
        )
        self.nearest = np.where(distance <= NEAREST_MM, self.labels[tuple(nearest)], 0)
        self.labels = np.where(known, self.labels, 0)

    def look_up(self, points_mm):
        """Label of each point, and whether it comes from the nearest region."""
        index = np.rint(nibabel.affines.apply_affine(self.voxel_from_mm, points_mm)).astype(int)
        inside = np.all((index >= 0) & (index < self.labels.shape), axis=1)
        index = tuple(np.where(inside[:, None], index, 0).T)
        labels = np.where(inside, self.labels[index], 0)
        return np.where(labels == 0, np.where(inside, self.nearest[index], 0), labels)


def localise(mask, affine, atlas):
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000.0
    spacing = nibabel.affines.voxel_sizes(affine)
    inside = np.argwhere(mask)
    if len(inside) == 0:
        return {"whole_ml": 0.0, "components": 0, "regions": {}}
    points_mm = nibabel.affines.apply_affine(affine, inside)
    tissues = mask[tuple(inside.T)]
    labels = atlas.look_up(points_mm)
    regions, by_tissue = {}, {}
    for label in np.unique(labels[labels > 0]):
        regions[atlas.names[label]] = float((labels == label).sum() * voxel_ml)
        for tissue in (1, 2, 4):
            count = ((labels == label) & (tissues == tissue)).sum()
            by_tissue[atlas.names[label], tissue] = float(count * voxel_ml)
    low, high = inside.min(0), inside.max(0) + 1
    components, count = ndimage.label(mask[tuple(map(slice, low, high))] > 0, np.ones((3, 3, 3)))
    # Distances to the regions around it, over the box that the reach covers.
    margin = np.ceil(REACH_MM / spacing).astype(int)
    start = np.maximum(low - margin, 0)
    end = np.minimum(high + margin, mask.shape)
    box = mask[tuple(map(slice, start, end))] > 0
    distance = ndimage.distance_transform_edt(~box, sampling=spacing)
    around = np.argwhere(distance <= REACH_MM)
    there = atlas.look_up(nibabel.affines.apply_affine(affine, around + start))
    near = {
        atlas.names[label]: float(distance[tuple(around[there == label].T)].min())
        for label in np.unique(there[there > 0])
    }
    hull = points_mm
    try:
        hull = points_mm[ConvexHull(points_mm).vertices]
    except QhullError:  # too few points, or all in one plane
        pass
    diameter = float(pdist(hull).max()) if len(hull) > 1 else 0.0
    return {
        "whole_ml": float(len(inside) * voxel_ml),
        "components": int(count),
        "regions": regions,
        "tissues": by_tissue,
        "near_mm": near,
        "centre_mm": points_mm.mean(0).tolist(),
        "box": [low.tolist(), high.tolist()],
        "diameter_mm": diameter,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atlas", type=Path, required=True, help="label map, NIfTI")
    parser.add_argument("--names", type=Path, required=True, help="names of its labels, JSON")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("masks", nargs="+", type=Path, help="masks in the space of the atlas")
    arguments = parser.parse_args()
    atlas = Atlas(arguments.atlas, arguments.names)
    for path in arguments.masks:
        image = nibabel.load(path)
        mask = np.asarray(image.dataobj).astype(np.uint8)
        seconds = []
        for _ in range(arguments.repetitions):
            start = time.perf_counter()
            found = localise(mask, image.affine, atlas)
            seconds.append(time.perf_counter() - start)
        answer = {key: found[key] for key in ("whole_ml", "components", "regions")}
        line = {"mask": path.name, "seconds": statistics.median(seconds), **answer}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
