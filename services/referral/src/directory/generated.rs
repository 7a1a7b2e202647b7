//! Hospitals made up for tests, the same at every run.

use crate::hospital::{Capability, Coordinates, Hospital, Identifier};

/// Linear congruential generator with the constants of Knuth's MMIX (TAOCP 2, section 3.3.4).
pub(crate) struct Lcg(pub(crate) u64);

impl Lcg {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 11
    }

    /// In 0..1.
    pub(crate) fn share(&mut self) -> f64 {
        self.bits() as f64 / (1_u64 << 53) as f64
    }

    /// In 0..`count`; the high bits, as the low ones repeat early.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        (self.share() * count as f64) as usize
    }

    /// Evenly spread over the sphere.
    pub(crate) fn place(&mut self) -> Coordinates {
        let latitude = (2.0 * self.share() - 1.0).asin().to_degrees();
        Coordinates::from_degrees(latitude, 360.0 * self.share() - 180.0).unwrap()
    }

    fn text(&mut self) -> String {
        const PIECES: [&str; 22] = [
            ",",
            "\"",
            "\n",
            "\r\n",
            ";",
            "\\",
            "|",
            "'",
            "=",
            "+",
            "-",
            "@",
            "\t",
            "서울대학교",
            "병원",
            "é",
            "🧠",
            " ",
            "a",
            "＝",
            "\r",
            "''=",
        ];
        let mut text = String::new();
        for _ in 0..=self.below(8) {
            text.push_str(PIECES[self.below(PIECES.len())]);
        }
        if text.trim().is_empty() { format!("{text}x") } else { text }
    }

    pub(crate) fn hospital(&mut self, id: &str) -> Hospital {
        let value = |text: String| {
            let text = text.replace(char::is_control, "");
            let text = text.trim();
            if text.is_empty() { "0".to_owned() } else { text.to_owned() }
        };
        Hospital {
            hospital_id: id.parse().unwrap(),
            name: self.text(),
            city: self.text(),
            location: self.place(),
            capabilities: Capability::ALL.iter().copied().filter(|_| self.share() < 0.5).collect(),
            capacity: self.share(),
            accepts_referrals: self.share() < 0.5,
            identifiers: (0..self.below(4))
                .map(|n| Identifier {
                    system: format!("https://example.invalid/a;b'{n}"),
                    value: value(self.text()),
                })
                .collect(),
            languages: ["ko", "en-GB", "zh-Hant-TW", "mn"]
                .into_iter()
                .filter(|_| self.share() < 0.5)
                .map(str::to_owned)
                .collect(),
            beds_free: (self.share() < 0.5).then(|| self.below(500) as u32),
        }
    }
}
