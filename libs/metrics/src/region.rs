//! One value for each region that is scored.

use neurotriage_domain::TumourRegion;
use serde::{Deserialize, Serialize};

/// One value for each of whole tumour, tumour core and enhancing tumour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerRegion<T> {
    /// Whole tumour: labels 1, 2 and 4.
    pub wt: T,
    /// Tumour core: labels 1 and 4.
    pub tc: T,
    /// Enhancing tumour: label 4.
    pub et: T,
}

impl<T> PerRegion<T> {
    /// Returns the values that `of` gives for each region.
    pub fn from_fn(mut of: impl FnMut(TumourRegion) -> T) -> Self {
        Self {
            wt: of(TumourRegion::Whole),
            tc: of(TumourRegion::Core),
            et: of(TumourRegion::Enhancing),
        }
    }

    /// Returns the value of `region`.
    pub fn get(&self, region: TumourRegion) -> &T {
        match region {
            TumourRegion::Whole => &self.wt,
            TumourRegion::Core => &self.tc,
            TumourRegion::Enhancing => &self.et,
        }
    }

    /// Returns `f` of each value.
    pub fn map<U>(&self, mut f: impl FnMut(&T) -> U) -> PerRegion<U> {
        PerRegion { wt: f(&self.wt), tc: f(&self.tc), et: f(&self.et) }
    }
}

impl PerRegion<f64> {
    /// Returns the mean of the three values.
    pub fn mean(&self) -> f64 {
        (self.wt + self.tc + self.et) / 3.0
    }
}
