//! Four images of one head, checked to belong together.

use neurotriage_domain::{Modality, VoxelSpacing};

use crate::{Affine, Grid, Image, ImagingError, Mask, Reorientation, canonicalise};

/// Largest relative difference between the affines of one study, as [`Affine::difference`] counts.
pub const AFFINE_TOLERANCE: f64 = 1e-3;

/// Fewest voxels along an axis.
pub const SIDE_MIN: usize = 8;

/// An image and the name that errors call it by.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedImage {
    /// Name of the file.
    pub name: String,
    /// The image as read.
    pub image: Image,
}

/// The four sequences of one study in LPS order on one grid.
///
/// Invariant: the same shape, affines that differ by rounding only, no constant image, at least 8
/// voxels a side.
#[derive(Clone, Debug)]
pub struct Study {
    images: [Image; 4],
    reorientation: Reorientation,
}

impl Study {
    /// Brings four images, in the order of [`Modality::ALL`], to LPS and checks them.
    ///
    /// The images may be stored in different index orders. [`Study::reorientation`] is that of the
    /// first one: masks are written in its geometry.
    ///
    /// # Errors
    /// [`ImagingError::TooSmall`], [`ImagingError::Constant`], [`ImagingError::ShapesDiffer`] and
    /// [`ImagingError::AffinesDiffer`] name the files and the values.
    pub fn from_images(images: [NamedImage; 4]) -> Result<Self, ImagingError> {
        for NamedImage { name, image } in &images {
            check_alone(name, image)?;
        }
        let names = [0, 1, 2, 3].map(|channel: usize| images[channel].name.clone());
        let [(flair, reorientation), (t1, _), (t1ce, _), (t2, _)] =
            images.map(|named| canonicalise(named.image));
        let study = Self { images: [flair, t1, t1ce, t2], reorientation };
        for channel in 1..4 {
            same_grid((&names[0], study.grid()), (&names[channel], study.images[channel].grid()))?;
        }
        Ok(study)
    }

    /// Returns the image of one sequence, in LPS order.
    pub fn image(&self, modality: Modality) -> &Image {
        &self.images[modality.channel()]
    }

    /// Returns the images in the order of [`Modality::ALL`], in LPS order.
    pub fn images(&self) -> &[Image; 4] {
        &self.images
    }

    /// Returns shape and affine of the images, in LPS order.
    pub fn grid(&self) -> Grid {
        self.images[0].grid()
    }

    /// Returns the number of voxels along `[x, y, z]`, in LPS order.
    pub fn shape(&self) -> [usize; 3] {
        self.images[0].shape()
    }

    /// Returns the affine of the images, in LPS order.
    pub fn affine(&self) -> &Affine {
        &self.images[0].affine
    }

    /// Returns the distance between voxel centres along `[x, y, z]`, in LPS order.
    pub fn spacing(&self) -> VoxelSpacing {
        self.images[0].spacing()
    }

    /// Returns the way from the input files to LPS order and back.
    pub fn reorientation(&self) -> &Reorientation {
        &self.reorientation
    }

    /// Returns shape and affine of the input files.
    pub fn source(&self) -> Grid {
        self.reorientation.source()
    }

    /// Brings a mask, in any index order, to the LPS grid of this study.
    ///
    /// # Errors
    /// [`ImagingError::ShapesDiffer`] or [`ImagingError::AffinesDiffer`] if it lies elsewhere;
    /// `name` is what the error calls it.
    pub fn align_mask(&self, mask: Mask, name: &str) -> Result<Mask, ImagingError> {
        let (mut mask, _) = canonicalise(mask);
        same_grid(("study", self.grid()), (name, mask.grid()))?;
        mask.affine = *self.affine();
        Ok(mask)
    }
}

fn check_alone(name: &str, image: &Image) -> Result<(), ImagingError> {
    let shape = image.shape();
    if shape.iter().any(|&side| side < SIDE_MIN) {
        return Err(ImagingError::TooSmall { name: name.to_owned(), shape, side_min: SIDE_MIN });
    }
    let mut values = image.voxels.iter();
    let value = values.next().copied().unwrap_or_default();
    if values.all(|&other| other == value) {
        return Err(ImagingError::Constant { name: name.to_owned(), value });
    }
    Ok(())
}

fn same_grid(first: (&str, Grid), second: (&str, Grid)) -> Result<(), ImagingError> {
    if first.1.shape != second.1.shape {
        return Err(ImagingError::ShapesDiffer {
            first: first.0.to_owned(),
            first_shape: first.1.shape,
            second: second.0.to_owned(),
            second_shape: second.1.shape,
        });
    }
    if first.1.affine.difference(&second.1.affine) > AFFINE_TOLERANCE {
        return Err(ImagingError::AffinesDiffer {
            first: first.0.to_owned(),
            first_affine: first.1.affine.to_string(),
            second: second.0.to_owned(),
            second_affine: second.1.affine.to_string(),
        });
    }
    Ok(())
}
