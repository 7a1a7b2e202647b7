#!/usr/bin/env python3
"""Compares the scores of `neurotriage evaluate` with those of other programs.

A development tool; nothing at run time needs it. It needs Python 3.10 or newer and

    pip install brats-evaluation nibabel numpy scipy

(`brats-evaluation`, AGPL-3.0, is the package of the BraTS challenges from 2026 on; it computes with
`panoptica`, Apache-2.0, which it brings along). How it is run:

    neurotriage evaluate --cases CASES --json scores.json --masks MASKS
    python tools/compare_evaluation.py --cases CASES --masks MASKS --json scores.json

For each case it reads the expert's mask and the mask that `evaluate` wrote, computes the scores
anew, and prints for each score the largest absolute difference from the JSON file, and where it
is. The exit code is 1 if a difference that should be none is above its tolerance, 2 if a file is
missing.

What is computed by whom
------------------------
package   Dice and HD95 of each region, by `brats_evaluation.evaluate_single_exam` with the bundled
          configuration for glioma (label 4 is relabelled to 3 for it).
scipy     What the package has no number for in our convention: the directed HD95, the average
          surface distance and the lesion-wise scores of BraTS 2023, from `scipy.ndimage` (erosion,
          distance transform, dilation, connected components) by the definitions below.
numpy     Sensitivity, specificity, precision, volume errors, MeanIoU, accuracy, means over cases.

Where conventions differ
------------------------
HD95      Ours (`hd95_mm`) is the larger of the two directed 95th percentiles. The package takes one
          percentile of both directions pooled, which is our `hd95_pooled_mm`. Both interpolate
          linearly between ranks. The BraTS challenges up to 2023 weighed each voxel of the surface
          by the area that it stands for; neither does.
Surface   Both: voxels of the mask with a face neighbour outside it; distances between centres.
Average   Ours is the mean of all distances of both directions together. `panoptica` averages the
          two means; the last part of the report shows how far that is from ours.
Empty     Region in neither mask: ours is Dice 1 and 0 mm; the package gives NaN. Region in one mask
          only: ours is Dice 0 and 374 mm (BraTS 2023); the package gives 0 and infinity, its parser
          makes that 373. Such pairs are brought to our convention before they are compared.
Lesions   Ours follows BraTS 2023: the truth is dilated by three steps (faces and edges) to group
          what lies close; a lesion is compared with all predicted pieces that touch its dilation;
          lesions of up to 50 mm3 are not counted, but excuse what touches them; each lesion missed
          and each false piece is Dice 0 and 374 mm. The package of 2026 groups nothing, pairs each
          true piece with at most one predicted piece, counts pieces of any size, and averages over
          the pairs alone. The last part of the report shows what it would give if its unpaired
          pieces counted as 0 and 374 mm; no tolerance applies there.
"""

import argparse
import contextlib
import io
import json
import sys
import tempfile
import warnings
from pathlib import Path

import nibabel
import numpy
from brats_evaluation import config_path, evaluate_single_exam
from panoptica import Panoptica_Evaluator
from scipy import ndimage

REGIONS = {"wt": (1, 2, 3, 4), "tc": (1, 3, 4), "et": (3, 4)}
ABSENT_MM = 374.0
LESION_IGNORED_MM3 = 50.0
DILATION_STEPS = 3
FACES = ndimage.generate_binary_structure(3, 1)
FACES_EDGES = ndimage.generate_binary_structure(3, 2)
CORNERS = ndimage.generate_binary_structure(3, 3)

# Ratios of voxel counts are the same to rounding. Distances: ours are squared in 32 bits, which
# at 400 mm is 0.00002 mm.
RATIO_TOLERANCE = 1e-9
DISTANCE_TOLERANCE_MM = 1e-4


def read_labels(path):
    """Returns the labels of a mask, with 3 for enhancing, and the voxel size in mm."""
    image = nibabel.load(path)
    labels = numpy.asarray(image.dataobj).round().astype(numpy.uint8)
    labels[labels == 4] = 3
    return labels, tuple(float(edge) for edge in image.header.get_zooms()[:3]), image.affine


def find_truth(cases, case_id):
    """Returns the expert's mask of a case, in a folder of its own or in the folder itself."""
    for separator in "_-":
        for ending in (".nii.gz", ".nii"):
            name = f"{case_id}{separator}seg{ending}"
            for path in [cases / name, *sorted(cases.glob(f"*/{name}"))]:
                if path.exists():
                    return path
    raise FileNotFoundError(f"no truth of case {case_id} in {cases}")


def crop(*masks):
    """Returns the masks within the box of all of them, with room for the dilation."""
    inside = numpy.argwhere(numpy.logical_or.reduce(masks))
    margin = DILATION_STEPS + 1
    low = numpy.maximum(inside.min(axis=0) - margin, 0)
    high = inside.max(axis=0) + margin + 1
    return [mask[tuple(slice(a, b) for a, b in zip(low, high))] for mask in masks]


def directed_distances(truth, predicted, spacing):
    """Returns the distances from each surface voxel to the other surface, both ways, in mm."""
    truth, predicted = crop(truth, predicted)
    surfaces = [mask & ~ndimage.binary_erosion(mask, FACES) for mask in (truth, predicted)]
    # The box has a margin unless it meets the edge of the image, which counts as outside too.
    far = [ndimage.distance_transform_edt(~surface, sampling=spacing) for surface in surfaces]
    return far[1][surfaces[0]], far[0][surfaces[1]]


def distances(truth, predicted, spacing):
    """Returns HD95, pooled HD95, average distance, and the average of the two means, in mm."""
    if not truth.any() or not predicted.any():
        return [ABSENT_MM if truth.any() or predicted.any() else 0.0] * 4
    both = directed_distances(truth, predicted, spacing)
    pooled = numpy.concatenate(both)
    return [
        max(numpy.percentile(each, 95) for each in both),
        numpy.percentile(pooled, 95),
        pooled.mean(),
        numpy.mean([each.mean() for each in both]),
    ]


def dice(truth, predicted):
    total = int(truth.sum()) + int(predicted.sum())
    return 2 * int((truth & predicted).sum()) / total if total else 1.0


def lesion_wise(truth, predicted, spacing):
    """Returns the lesion-wise scores of BraTS 2023 for one region."""
    if not truth.any() and not predicted.any():
        return {"dice": 1.0, "hd95_mm": 0.0, "found": 0, "missed": 0, "false_components": 0}
    truth, predicted = crop(truth, predicted)
    grown = ndimage.binary_dilation(truth, FACES_EDGES, iterations=DILATION_STEPS)
    groups, group_count = ndimage.label(grown, CORNERS)
    pieces, piece_count = ndimage.label(predicted, CORNERS)
    touched, scores, missed = set(), [], 0
    for number in range(1, group_count + 1):
        lesion = truth & (groups == number)
        reach = ndimage.binary_dilation(lesion, FACES_EDGES, iterations=DILATION_STEPS)
        touching = set(numpy.unique(pieces[reach])) - {0}
        touched |= touching
        if lesion.sum() * numpy.prod(spacing) <= LESION_IGNORED_MM3:
            continue
        if not touching:
            missed += 1
            continue
        matched = numpy.isin(pieces, list(touching))
        scores.append((dice(lesion, matched), distances(lesion, matched, spacing)[0]))
    false = piece_count - len(touched)
    count = len(scores) + missed + false
    return {
        "dice": sum(score[0] for score in scores) / count if count else 1.0,
        "hd95_mm": (sum(score[1] for score in scores) + (missed + false) * ABSENT_MM) / count
        if count
        else 0.0,
        "found": len(scores),
        "missed": missed,
        "false_components": false,
    }


def package_scores(truth_path, mask_path, case_id, evaluator):
    """Returns what the package says of each region."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, path in (("truth", truth_path), ("mask", mask_path)):
            labels, _, affine = read_labels(path)
            paths.append(str(Path(folder) / f"{name}.nii.gz"))
            nibabel.save(nibabel.Nifti1Image(labels, affine), paths[-1])
        with contextlib.redirect_stdout(io.StringIO()):
            found = evaluate_single_exam(paths[1], paths[0], case_id, evaluator)
    if "error" in found:
        raise RuntimeError(f"case {case_id}: the package failed: {found['error']}")
    return {region: found[region] for region in REGIONS}


def package_global(found, truth, predicted):
    """Returns Dice and HD95 of the package, absent regions in our convention."""
    if not truth.any() or not predicted.any():
        return (0.0, ABSENT_MM) if truth.any() or predicted.any() else (1.0, 0.0)
    return float(found["global_bin_dsc"]), float(found["global_bin_hd95"])


def package_lesions(found):
    """Returns lesion-wise Dice and HD95 of the package with unpaired pieces as 0 and 374 mm."""
    pairs, unpaired = found["tp"], found["fp"] + found["fn"]
    if pairs + unpaired == 0:
        return 1.0, 0.0
    paired = [found[key] * pairs if pairs else 0.0 for key in ("sq_dsc", "sq_hd95")]
    return paired[0] / (pairs + unpaired), (paired[1] + unpaired * ABSENT_MM) / (pairs + unpaired)


def share(part, whole):
    return part / whole if whole else 1.0


def class_scores(truth, predicted):
    """Returns MeanIoU of the classes present, and accuracy, background included."""
    ious = []
    for label in range(4):
        either = ((truth == label) | (predicted == label)).sum()
        if either:
            ious.append(((truth == label) & (predicted == label)).sum() / either)
    return numpy.mean(ious), (truth == predicted).mean()


class Report:
    """Largest difference of each score, and where it is."""

    def __init__(self):
        self.rows = {}

    def add(self, score, by, tolerance, place, ours, theirs):
        difference = abs(float(ours) - float(theirs))
        row = self.rows.setdefault((score, by), [tolerance, -1.0, "", 0])
        row[3] += 1
        if difference > row[1] or numpy.isnan(difference):
            row[1:3] = difference, f"{place}: {float(ours):.6g} and {float(theirs):.6g}"

    def print(self):
        """Prints the table; returns true if every difference is within its tolerance."""
        good = True
        print(f"{'score':34} {'by':8} {'n':>3} {'largest':>10} {'tolerance':>9}  where: ours and theirs")
        for (score, by), (tolerance, difference, place, count) in self.rows.items():
            bound, verdict = "-", ""
            if tolerance is not None:
                bound = f"{tolerance:.0e}"
                if not difference <= tolerance:
                    good, verdict = False, "  TOO LARGE"
            print(f"{score:34} {by:8} {count:3} {difference:10.2e} {bound:>9}  {place}{verdict}")
        return good


def compare_case(case, args, evaluator, report):
    case_id = case["id"]
    truth_path, mask_path = find_truth(args.cases, case_id), args.masks / f"{case_id}.nii.gz"
    if not mask_path.exists():
        raise FileNotFoundError(f"no mask {mask_path}; run evaluate with --masks")
    (truth, spacing, _), (predicted, _, _) = read_labels(truth_path), read_labels(mask_path)
    package = package_scores(truth_path, mask_path, case_id, evaluator)
    for name, score in zip(("iou_mean", "accuracy"), class_scores(truth, predicted)):
        report.add(name, "numpy", RATIO_TOLERANCE, case_id, case[name], score)
    for region, labels in REGIONS.items():
        place = f"{case_id} {region.upper()}"
        t, p = numpy.isin(truth, labels), numpy.isin(predicted, labels)

        def check(score, by, tolerance, theirs, ours=None):
            ours = case[score][region] if ours is None else ours
            report.add(score, by, tolerance, place, ours, theirs)

        package_dice, package_hd95 = package_global(package[region], t, p)
        check("dice", "package", RATIO_TOLERANCE, package_dice)
        check("hd95_pooled_mm", "package", DISTANCE_TOLERANCE_MM, package_hd95)
        hd95, _, average, average_of_means = distances(t, p, spacing)
        check("hd95_mm", "scipy", DISTANCE_TOLERANCE_MM, hd95)
        check("surface_distance_mm", "scipy", DISTANCE_TOLERANCE_MM, average)
        both, of_truth, of_mask = int((t & p).sum()), int(t.sum()), int(p.sum())
        outside = t.size - of_truth
        voxel_ml = float(numpy.prod(spacing)) / 1000
        check("iou", "numpy", RATIO_TOLERANCE, share(both, of_truth + of_mask - both))
        check("sensitivity", "numpy", RATIO_TOLERANCE, share(both, of_truth))
        check("specificity", "numpy", RATIO_TOLERANCE, share(outside - of_mask + both, outside))
        check("precision", "numpy", RATIO_TOLERANCE, share(both, of_mask))
        # Voxel sizes are stored in 32 bits.
        check("volume_error_ml", "numpy", 1e-3, (of_mask - of_truth) * voxel_ml)
        relative = (of_mask - of_truth) / of_truth if of_truth else min(of_mask, 1)
        check("volume_error_relative", "numpy", RATIO_TOLERANCE, relative)
        lesions = lesion_wise(t, p, spacing)
        for key, theirs in lesions.items():
            tolerance = DISTANCE_TOLERANCE_MM if key == "hd95_mm" else RATIO_TOLERANCE
            ours = case["lesion_wise"][key][region]
            check(f"lesion_wise.{key}", "scipy", tolerance, theirs, ours)
        other = package_lesions(package[region])
        for key, theirs in zip(("dice", "hd95_mm"), other):
            ours = case["lesion_wise"][key][region]
            check(f"lesion_wise.{key}, rules of 2026", "package", None, theirs, ours)
        check("surface_distance_mm, two means", "scipy", None, average_of_means, case["surface_distance_mm"][region])


def compare_means(scores, report):
    for key in ("dice", "hd95_mm", "surface_distance_mm"):
        for region in REGIONS:
            mean = numpy.mean([case[key][region] for case in scores["cases"]])
            report.add(f"mean {key}", "numpy", RATIO_TOLERANCE, region, scores["mean"][key][region], mean)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cases", type=Path, required=True, help="folder that evaluate was given")
    parser.add_argument("--masks", type=Path, required=True, help="folder of evaluate --masks")
    parser.add_argument("--json", type=Path, required=True, help="file of evaluate --json")
    args = parser.parse_args()
    # The package warns of a surface Dice that is not compared here.
    warnings.filterwarnings("ignore", module="panoptica")
    try:
        scores = json.loads(args.json.read_text())
        with contextlib.redirect_stdout(io.StringIO()):
            evaluator = Panoptica_Evaluator.load_from_config(str(config_path("gli")))
        report = Report()
        for case in scores["cases"]:
            compare_case(case, args, evaluator, report)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    compare_means(scores, report)
    print(f"{len(scores['cases'])} cases, model {scores['model']}")
    if not report.print():
        print("some scores differ by more than they should", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
