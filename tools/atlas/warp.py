"""The warp between two pictures of the same template: affine, then demons.

The ICBM 2009a T1 and that same T1 as it was warped into the SRI24 grid hold the same grey values in
other places, so the squared difference is the measure and the fit is well posed. One thread, no random
samples: the same input gives the same warp.
"""

import numpy
import SimpleITK
from numpy.typing import NDArray

from grids import Grid, box_around

# Coarse to fine: shrink factor, iterations of the demons.
LEVELS = ((4, 120), (2, 100), (1, 60))
FIELD_SMOOTHING_VOXELS = 1.0
MARGIN_VOXELS = 8


def to_itk(voxels: NDArray, grid: Grid) -> SimpleITK.Image:
    """Returns an ITK image whose world is RAS+ millimetres."""
    image = SimpleITK.GetImageFromArray(numpy.ascontiguousarray(voxels.transpose(2, 1, 0)))
    image.SetOrigin(grid.origin_mm)
    image.SetSpacing(grid.spacing_mm)
    return image


def from_itk(image: SimpleITK.Image) -> NDArray:
    """Returns the voxels as `[x, y, z]`."""
    return SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)


def scaled(voxels: NDArray) -> NDArray:
    """Returns the grey values with the 99th percentile of the brain at 1."""
    voxels = voxels.astype(numpy.float32)
    return voxels / numpy.percentile(voxels[voxels > 0], 99)


def fit_affine(fixed: SimpleITK.Image, moving: SimpleITK.Image) -> SimpleITK.Transform:
    """Returns the affine that takes points of `fixed` to points of `moving`."""
    start = SimpleITK.CenteredTransformInitializer(
        fixed,
        moving,
        SimpleITK.AffineTransform(3),
        SimpleITK.CenteredTransformInitializerFilter.MOMENTS,
    )
    method = SimpleITK.ImageRegistrationMethod()
    method.SetMetricAsMeanSquares()
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(SimpleITK.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2])
    method.SetSmoothingSigmasPerLevel([2.0, 1.0])
    method.SetInitialTransform(start, inPlace=False)
    return method.Execute(fixed, moving)


def fit_warp(
    fixed_voxels: NDArray, fixed_grid: Grid, moving_voxels: NDArray, moving_grid: Grid
) -> SimpleITK.Transform:
    """Returns the transform that takes points of the fixed grid to points of the moving one.

    Both pictures show the brain only, 0 outside.
    """
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    box = box_around(fixed_voxels > 0, MARGIN_VOXELS)
    fixed = to_itk(scaled(fixed_voxels)[box], fixed_grid.crop(box))
    moving = to_itk(scaled(moving_voxels), moving_grid)
    affine = fit_affine(fixed, moving)
    near = SimpleITK.Resample(moving, fixed, affine, SimpleITK.sitkLinear, 0.0)
    field = None
    for shrink, iterations in LEVELS:
        sigma = 0.5 * shrink if shrink > 1 else 0.0
        level_fixed, level_near = (
            SimpleITK.Shrink(SimpleITK.SmoothingRecursiveGaussian(image, sigma) if sigma else image,
                             [shrink] * 3)
            for image in (fixed, near)
        )
        demons = SimpleITK.FastSymmetricForcesDemonsRegistrationFilter()
        demons.SetNumberOfIterations(iterations)
        demons.SetSmoothDisplacementField(True)
        demons.SetStandardDeviations(FIELD_SMOOTHING_VOXELS)
        if field is None:
            field = demons.Execute(level_fixed, level_near)
        else:
            start = SimpleITK.Resample(
                field, level_fixed, SimpleITK.Transform(), SimpleITK.sitkLinear
            )
            field = demons.Execute(level_fixed, level_near, start)
    displacement = SimpleITK.DisplacementFieldTransform(
        SimpleITK.Cast(field, SimpleITK.sitkVectorFloat64)
    )
    # The transform added last acts first.
    return SimpleITK.CompositeTransform([affine, displacement])


def pull_nearest(
    warp: SimpleITK.Transform, labels: NDArray, grid: Grid, onto: Grid
) -> NDArray:
    """Returns labels of the moving grid on the fixed grid `onto`: the nearest voxel's label."""
    reference = to_itk(numpy.zeros(onto.shape, numpy.uint8), onto)
    image = to_itk(labels.astype(numpy.uint16), grid)
    return from_itk(
        SimpleITK.Resample(image, reference, warp, SimpleITK.sitkNearestNeighbor, 0)
    )


def pull_linear(
    warp: SimpleITK.Transform, voxels: NDArray, grid: Grid, onto: Grid
) -> NDArray:
    """Returns grey values of the moving grid on the fixed grid `onto`, 0 outside."""
    reference = to_itk(numpy.zeros(onto.shape, numpy.uint8), onto)
    image = to_itk(voxels.astype(numpy.float32), grid)
    return from_itk(SimpleITK.Resample(image, reference, warp, SimpleITK.sitkLinear, 0.0))
