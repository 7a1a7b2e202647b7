//! Pictures of the cases for the page.

use neurotriage_imaging::{
    ImagingError, Mask, Study,
    overlay::{OverlayOptions, Plane, busiest_slice, render_comparison, worst_slice},
};

/// Most cases with pictures on a page; those that scored worst are kept. A case takes about 1 MB.
pub(super) const PICTURED_CASES_MAX: usize = 40;

/// Large enough to see single voxels, small enough for four panels side by side.
const OPTIONS: OverlayOptions = OverlayOptions { pixels_per_mm: 2.0, fill_opacity: 0.4 };

/// One slice, drawn.
#[derive(Debug)]
pub(super) struct Picture {
    /// Why this slice was chosen.
    pub(super) reason: &'static str,
    /// Index along z in LPS order, from 0.
    pub(super) index: usize,
    /// Slices there are.
    pub(super) count: usize,
    pub(super) png: Vec<u8>,
}

/// The pictures of one case.
#[derive(Debug)]
pub(super) struct CasePictures {
    pub(super) id: String,
    dice_mean: f64,
    pub(super) slices: Vec<Picture>,
}

/// The pictures kept so far.
#[derive(Debug)]
pub(super) struct Gallery {
    wanted: bool,
    kept: Vec<CasePictures>,
}

impl Gallery {
    pub(super) fn new(wanted: bool) -> Self {
        Self { wanted, kept: Vec::new() }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Keeps the pictures of a case, and if they are too many lets those of the best one go.
    pub(super) fn add(&mut self, id: &str, dice_mean: f64, slices: Vec<Picture>) {
        self.kept.push(CasePictures { id: id.to_owned(), dice_mean, slices });
        if self.kept.len() <= PICTURED_CASES_MAX {
            return;
        }
        let dice = |at: usize| self.kept[at].dice_mean;
        let best = (0..self.kept.len()).max_by(|&a, &b| dice(a).total_cmp(&dice(b)));
        if let Some(best) = best {
            self.kept.remove(best);
        }
    }

    pub(super) fn pictures(&self) -> &[CasePictures] {
        &self.kept
    }
}

/// Draws the axial slice with most tumour and the one where the masks differ most.
pub(super) fn draw(
    study: &Study,
    truth: &Mask,
    predicted: &Mask,
) -> Result<Vec<Picture>, ImagingError> {
    let count = study.shape()[2];
    let [of_truth, of_prediction] =
        [truth, predicted].map(|mask| busiest_slice(mask, Plane::Axial));
    let busiest = match (of_truth, of_prediction) {
        (Some(index), _) => (index, "most tumour"),
        (None, Some(index)) => (index, "most tumour by the model; the expert marked none"),
        (None, None) => (count / 2, "middle slice; neither mask holds tumour"),
    };
    let mut chosen = vec![busiest];
    match worst_slice(truth, predicted) {
        Some(index) if index == busiest.0 => {
            chosen[0].1 = "most tumour, and largest disagreement";
        }
        Some(index) => chosen.push((index, "largest disagreement")),
        None => {}
    }
    let picture = |(index, reason)| {
        let png = render_comparison(study, [truth, predicted], index, &OPTIONS)?;
        Ok(Picture { reason, index, count, png })
    };
    chosen.into_iter().map(picture).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_gallery_lets_the_best_case_go() {
        let mut gallery = Gallery::new(true);
        for number in 0..PICTURED_CASES_MAX + 2 {
            // The third case is the best, the second one the next.
            let dice_mean = match number {
                2 => 0.99,
                1 => 0.98,
                _ => 0.5,
            };
            gallery.add(&number.to_string(), dice_mean, Vec::new());
        }
        let ids: Vec<&str> = gallery.pictures().iter().map(|case| case.id.as_str()).collect();
        assert_eq!(ids.len(), PICTURED_CASES_MAX);
        assert!(!ids.contains(&"1") && !ids.contains(&"2") && ids.contains(&"0"));
    }
}
