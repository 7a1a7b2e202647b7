//! What made the report, and what it is for.

use super::super::{
    super::{
        Report, Space,
        text::{bytes, escape},
    },
    Page,
};

impl Page {
    /// Writes the sentences of the services that the catalogue has no words for.
    pub(in super::super) fn untold(&mut self, report: &Report) {
        let untold = self.words.untold(report);
        if untold.is_empty() {
            return;
        }
        let label = escape(self.labels.original);
        self.put(&format!(
            "<details class=\"original\"><summary>{label}</summary><div lang=\"en\">"
        ));
        self.list(&untold);
        self.put("</div></details>\n");
    }

    pub(in super::super) fn footer(&mut self, report: &Report) {
        let (words, labels) = (self.words, self.labels);
        let (study, model, run) = (&report.study, &report.model, &report.run);
        let shape: Vec<String> = study.shape.iter().map(u32::to_string).collect();
        let spacing: Vec<String> = study.spacing_mm.iter().map(|mm| format!("{mm:.2}")).collect();
        let steps: Vec<String> = run
            .steps
            .iter()
            .map(|step| format!("{} {}", words.step(step.name), words.seconds(step.seconds)))
            .collect();
        let memory = run
            .peak_memory_bytes
            .map_or_else(String::new, |peak| format!("; {} {}", labels.peak_memory, bytes(peak)));
        let files: Vec<&str> = study.files.iter().map(|file| file.file_name.as_str()).collect();
        let space = match report.image.space {
            Space::Sri24 => "SRI24",
            Space::Mni152 => "MNI152",
            Space::Unknown => labels.space_unknown,
        };
        let rows = [
            (labels.software, format!("{} {}", report.software.name, report.software.version)),
            (labels.model, format!("{} ({})", model.model_id, model.device)),
            (labels.weights, model.weights_sha256.clone()),
            (labels.preprocessing, format!("{} {}", model.profile, model.profile_version)),
            (labels.atlas, report.image.atlas.clone()),
            (labels.space, space.to_owned()),
            (labels.evidence, report.assessment.evidence_version.clone()),
            (labels.lexicon, report.symptoms.lexicon_version.clone()),
            (labels.ranking, report.referral.ranking_version.clone()),
            (labels.files, files.join(", ")),
            (
                labels.grid,
                format!(
                    "{} {}, {} mm, {}",
                    shape.join(" x "),
                    labels.voxels,
                    spacing.join(" x "),
                    study.orientation
                ),
            ),
            (labels.patient, study.patient_id.clone()),
            (labels.assessment, study.assessment_id.clone()),
            (labels.segmentation, study.segmentation_id.clone()),
            (
                labels.time,
                format!("{} ({}){memory}", words.seconds(run.total_seconds), steps.join(", ")),
            ),
        ];
        let heading = escape(labels.provenance_heading);
        self.put(&format!(
            "<section class=\"short\"><h2>{heading}</h2>\n<table class=\"provenance\">"
        ));
        for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
            self.put(&format!("<tr><td>{}</td><td>{}</td></tr>", escape(name), escape(&value)));
        }
        let notice = escape(labels.notice);
        self.put(&format!("</table></section>\n<footer>{notice}</footer>\n"));
    }
}
