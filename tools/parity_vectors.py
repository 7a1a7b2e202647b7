"""Writes the numbers that the losses and metrics of the original must give.

Needs: Python 3.9 or later and numpy (`pip install numpy`). A development tool: nothing needs it
at run time.

Run from anywhere, without arguments; the seed is fixed, so a second run writes the same bytes:

    python3 tools/parity_vectors.py            # writes libs/network/tests/vectors/original.json
    python3 tools/parity_vectors.py --check    # fails if the file differs from what would be written

Everything is computed in float64 from the published formulas, with plain loops where a loop is as
clear, and shares nothing with the Rust code. With g the one-hot truth, p the softmax of the
logits, both [batch, class, x, y, z], sums over the whole batch and all voxels, s = 1e-5:

    tp = sum(g p)    fp = sum(p) - tp    fn = sum(g) - tp                   for each class c
    F_c   = (2 tp + s) / (2 tp + fn + fp + s)
    IoU_c = (tp + s) / (sum(g + p) - tp + s)
    dice  = 1 - mean_c(w_c F_c)        seed: w_c = 0.25; normalised: 1 - sum(w_c F_c) / sum(w_c)
    focal = mean over batch, class and voxels of -g 0.25 (1 - q)^2 ln q, q = clip(p, 1e-7, 1 - 1e-7)
    total = dice + focal
    scores at 0.5: F and IoU with p replaced by 1 where p > 0.5, strictly, else 0
    accuracy = share of voxels whose class of largest p (the first, if equal) is the true one
    mean IoU = from one confusion matrix of those classes, no smoothing; classes that occur in
               neither truth nor prediction are left out

The loss of the nested regions WT = {1, 2, 4}, TC = {1, 4}, ET = {4} is this project's own: with p
the sigmoid of three logits and g membership,

    region = mean_r(1 - (2 sum(p g) + 10) / (sum(p) + sum(g) + 10)) + mean(binary cross-entropy)

Gradients are central differences of the loss by each logit.
"""

import argparse
import json
import math
import pathlib
import sys

import numpy as np

SEED = 20200613
SMOOTH = 1e-5
REGION_SMOOTH = 10.0
WEIGHT = 0.25
ALPHA, GAMMA, CLIP = 0.25, 2.0, 1e-7
THRESHOLD = 0.5
CLASSES = 4
STEP = 1e-5
GRID = (2, 3, 4)
# Sure enough that every other class has probability below the clip of the focal loss.
SURE = 40.0
# So far below 0 that the exponential is exactly 0.
NEVER = -1000.0

TARGET = pathlib.Path(__file__).resolve().parent.parent / "libs/network/tests/vectors/original.json"


def one_hot(labels):
    """[batch, x, y, z] of 0, 1, 2, 3, 4 -> [batch, class, x, y, z]; 3 and 4 are one class."""
    hot = np.zeros((labels.shape[0], CLASSES) + labels.shape[1:])
    for index, label in np.ndenumerate(labels):
        hot[(index[0], min(int(label), 3)) + index[1:]] = 1.0
    return hot


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def counts(g, p):
    """Yields tp, fp, fn of each class."""
    for c in range(CLASSES):
        tp = float((g[:, c] * p[:, c]).sum())
        yield tp, float(p[:, c].sum()) - tp, float(g[:, c].sum()) - tp


def f_per_class(g, p):
    return [(2 * tp + SMOOTH) / (2 * tp + fn + fp + SMOOTH) for tp, fp, fn in counts(g, p)]


def iou_per_class(g, p):
    return [(tp + SMOOTH) / (tp + fp + fn + SMOOTH) for tp, fp, fn in counts(g, p)]


def dice_loss(g, p, normalised):
    weights = [WEIGHT] * CLASSES
    weighted = sum(w * f for w, f in zip(weights, f_per_class(g, p)))
    return 1.0 - (weighted / sum(weights) if normalised else weighted / CLASSES)


def focal_loss(g, p):
    total = 0.0
    for index, truth in np.ndenumerate(g):
        if truth == 1.0:
            q = min(max(float(p[index]), CLIP), 1.0 - CLIP)
            total -= ALPHA * (1.0 - q) ** GAMMA * math.log(q)
    return total / g.size


def total_loss(labels, normalised):
    g = one_hot(labels)

    def of(logits):
        p = softmax(logits)
        return dice_loss(g, p, normalised) + focal_loss(g, p)

    return of


def region_loss(labels):
    members = np.stack([labels != 0, (labels != 0) & (labels != 2), labels > 2], axis=1)
    g = members.astype(np.float64)

    def of(logits):
        p = 1.0 / (1.0 + np.exp(-logits))
        dice = 0.0
        for r in range(3):
            overlap, extent = (p[:, r] * g[:, r]).sum(), p[:, r].sum() + g[:, r].sum()
            dice += 1.0 - (2.0 * overlap + REGION_SMOOTH) / (extent + REGION_SMOOTH)
        # ln(1 + e^z) - g z, written so that nothing overflows
        entropy = np.logaddexp(0.0, logits) - g * logits
        return float(dice / 3.0 + entropy.mean())

    return of


def gradient(loss, logits):
    found = np.zeros_like(logits)
    for index in np.ndindex(logits.shape):
        moved = logits.copy()
        moved[index] = logits[index] + STEP
        above = loss(moved)
        moved[index] = logits[index] - STEP
        found[index] = (above - loss(moved)) / (2.0 * STEP)
    return found


def argmax(p):
    """Class of largest probability; the first of equals."""
    best = np.zeros((p.shape[0],) + p.shape[2:], dtype=int)
    for index in np.ndindex(best.shape):
        values = [p[(index[0], c) + index[1:]] for c in range(CLASSES)]
        best[index] = values.index(max(values))
    return best


def confusion(labels, predicted):
    matrix = [[0] * CLASSES for _ in range(CLASSES)]
    for truth, guess in zip(labels.ravel(), predicted.ravel()):
        matrix[min(int(truth), 3)][int(guess)] += 1
    return matrix


def ious_of(matrix):
    """IoU of each class; None where neither truth nor prediction has it."""
    found = []
    for c in range(CLASSES):
        row, column = sum(matrix[c]), sum(matrix[t][c] for t in range(CLASSES))
        union = row + column - matrix[c][c]
        found.append(matrix[c][c] / union if union else None)
    return found


def numbers(array, digits):
    return [float(f"{value:.{digits}g}") + 0.0 for value in np.asarray(array).ravel()]


def case(name, labels, logits, region_logits):
    g, p = one_hot(labels), softmax(logits)
    cut = (p > THRESHOLD).astype(np.float64)
    predicted = argmax(p)
    matrix = confusion(labels, predicted)
    ious = ious_of(matrix)
    present = [iou for iou in ious if iou is not None]
    dice = {kind: dice_loss(g, p, kind == "normalised") for kind in ("seed", "normalised")}
    focal = focal_loss(g, p)
    totals = {kind: dice[kind] + focal for kind in dice}
    gradients = {
        kind: numbers(gradient(total_loss(labels, kind == "normalised"), logits), 12)
        for kind in totals
    }
    region = region_loss(labels)
    return {
        "name": name,
        "batch": labels.shape[0],
        "grid": list(labels.shape[1:]),
        "labels": [int(label) for label in labels.ravel()],
        "logits": numbers(logits, 17),
        "probabilities": numbers(p, 17),
        "dice_loss": dice,
        "focal_loss": focal,
        "total_loss": totals,
        "gradient": gradients,
        "f_soft": f_per_class(g, p),
        "iou_soft": iou_per_class(g, p),
        "f_classes": f_per_class(g, cut),
        "f_score": sum(f_per_class(g, cut)) / CLASSES,
        "iou_classes": iou_per_class(g, cut),
        "iou_score": sum(iou_per_class(g, cut)) / CLASSES,
        "accuracy": float((predicted == np.minimum(labels, 3)).mean()),
        "confusion": matrix,
        "mean_iou_classes": ious,
        "mean_iou": sum(present) / len(present),
        "region_logits": numbers(region_logits, 17),
        "region_loss": region(region_logits),
        "region_gradient": numbers(gradient(region, region_logits), 12),
    }


def sure_of(labels):
    return one_hot(labels) * SURE


def cases():
    draw = np.random.default_rng(SEED)

    def random_labels(batch, values):
        return draw.choice(values, size=(batch,) + GRID)

    def random_logits(batch, channels=CLASSES, width=1.5):
        return np.round(draw.normal(0.0, width, size=(batch, channels) + GRID), 3)

    def add(name, labels, logits):
        region_logits = random_logits(labels.shape[0], channels=3)
        return case(name, labels, logits, region_logits)

    full = [0, 1, 2, 4]
    yield add("random, batch of 1", random_labels(1, full), random_logits(1))
    yield add("random, batch of 2", random_labels(2, full), random_logits(2))
    yield add("random, batch of 3, label 3", random_labels(3, [0, 1, 2, 3]), random_logits(3))

    labels = random_labels(2, full)
    labels[1] = 0
    yield add("batch of 2, one without tumour", labels, random_logits(2))

    labels, logits = random_labels(1, [0, 1, 4]), random_logits(1)
    logits[:, 2] = NEVER
    yield add("class absent from truth and prediction", labels, logits)

    labels = random_labels(1, [0, 2, 4])
    guess = labels.copy()
    guess.ravel()[[1, 6, 11, 16, 21]] = 1
    yield add("class absent from truth, predicted in 5 voxels", labels, sure_of(guess))

    labels, logits = random_labels(1, full), np.full((1, CLASSES) + GRID, NEVER)
    for index in np.ndindex((1,) + GRID):
        for c in draw.choice(CLASSES, size=2, replace=False):
            logits[(index[0], c) + index[1:]] = 0.0
    yield add("two classes at exactly one half", labels, logits)

    labels, logits = random_labels(1, full), random_logits(1)
    for place, index in enumerate(np.ndindex((1,) + GRID)):
        column = (index[0], slice(None)) + index[1:]
        tied = draw.choice(CLASSES, size=2 + place % 3, replace=False)
        logits[column] = np.minimum(logits[column], 0.5)
        for c in tied:
            logits[(index[0], c) + index[1:]] = 0.75
    yield add("two, three or four classes tie for the largest", labels, logits)

    labels = random_labels(2, full)
    yield add("perfect", labels, sure_of(labels))

    labels = np.zeros((1,) + GRID, dtype=int)
    yield add("all background, perfect", labels, sure_of(labels))
    yield add("all background, random prediction", labels, random_logits(1))

    labels = random_labels(1, full)
    yield add("tumour, all background predicted", labels, sure_of(np.zeros_like(labels)))


def text():
    rows = []
    for found in cases():
        fields = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in found.items())
        rows.append("{\n" + ",\n".join(fields) + "\n}")
    head = f'{{\n"written_by": "tools/parity_vectors.py",\n"seed": {SEED},\n"cases": [\n'
    return head + ",\n".join(rows) + "\n]\n}\n"


def main():
    parser = argparse.ArgumentParser(description="Writes the vectors of the original's formulas.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    arguments = parser.parse_args()
    written = text()
    if arguments.check:
        if TARGET.read_text() != written:
            sys.exit(f"{TARGET} differs from what this tool writes; run it without --check")
        return
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(written)
    print(f"{TARGET}: {len(written)} bytes")


if __name__ == "__main__":
    main()
