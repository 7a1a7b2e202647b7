//! Hospitals, on a map and in a list.

use super::super::{
    super::{Hospital, Referral, map, text::escape},
    Page, bar,
};

impl Page {
    pub(in super::super) fn hospitals(&mut self, referral: &Referral) {
        let labels = self.labels;
        self.put(&format!("<h2>{}</h2>\n", escape(labels.hospitals_heading)));
        let reason = self.words.hospitals_reason(referral);
        if !reason.is_empty() {
            self.put(&format!("<p>{}</p>\n", escape(&reason)));
        }
        self.called_for(referral);
        if let Some(drawing) = map::render(referral, self.words) {
            let caption = if referral.home.is_some() {
                labels.map.caption_home
            } else {
                labels.map.caption_no_home
            };
            self.put(&format!(
                "<figure class=\"drawn\">{drawing}<figcaption>{}</figcaption></figure>\n",
                escape(caption)
            ));
        }
        for (rank, hospital) in referral.hospitals.iter().enumerate() {
            self.hospital(rank + 1, hospital, referral);
        }
    }

    /// Writes what the patient calls for, and kinds of tumour worth thinking of.
    fn called_for(&mut self, referral: &Referral) {
        let (words, labels) = (self.words, self.labels);
        let requirements = referral.requirements.iter().map(|requirement| {
            let told = words.requirement(requirement);
            if requirement.essential { format!("{told} [{}]", labels.essential) } else { told }
        });
        let requirements: Vec<String> = requirements.collect();
        if !requirements.is_empty() {
            self.put(&format!(
                "<p>{} {}.</p>\n",
                escape(labels.requirements),
                escape(&requirements.join("; "))
            ));
        }
        let hints: Vec<String> = referral
            .tumour_hints
            .iter()
            .map(|hint| words.tumour_hint(hint))
            .filter(|hint| !hint.is_empty())
            .collect();
        if !hints.is_empty() {
            self.put(&format!("<p>{}</p>", escape(labels.tumour_hints)));
            self.list(&hints);
        }
    }

    fn hospital(&mut self, rank: usize, hospital: &Hospital, referral: &Referral) {
        let words = self.words;
        let distance = hospital.distance_km.map_or_else(String::new, |km| format!(", {km:.0} km"));
        // The explanations of the factors say the same, each beside its bar.
        let reason = if hospital.factors.is_empty() {
            format!("<p>{}</p>", escape(&words.hospital_reason(hospital, referral)))
        } else {
            String::new()
        };
        self.put(&format!(
            "<article class=\"hospital\"><div class=\"top\"><h3><span class=\"rank\">{rank}</span>{} \
             <span class=\"muted\">{}{distance}</span></h3><span class=\"score\">{}</span></div>\
             {reason}<table>",
            escape(&hospital.name),
            escape(&hospital.city),
            escape(&words.score(hospital.score)),
        ));
        for factor in &hospital.factors {
            self.put(&format!(
                "<tr><td>{}</td><td>{}</td><td class=\"number\">{:.2} &times; {:.2}</td><td>{}</td></tr>",
                escape(&words.factor(&factor.name)),
                bar("score", factor.value),
                factor.value,
                factor.weight,
                escape(&words.factor_explanation(factor, hospital, referral)),
            ));
        }
        self.put("</table><div class=\"tags\">");
        for capability in &hospital.capabilities {
            self.put(&format!("<span>{}</span>", escape(&words.capability(capability))));
        }
        self.put("</div></article>\n");
    }
}
