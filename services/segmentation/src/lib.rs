//! neurotriage-segmentation.
