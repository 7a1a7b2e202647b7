//! Korean denials: behind what they deny ("없", "않", "안 하다"), or right before a predicate ("안").
//!
//! A denial reaches back over what says nothing to the findings of its clause. It stops at a
//! subject that is not understood, which it is of ("두통 때문에 식욕이 없다").

use super::{
    super::{
        korean::{closes_clause, ends_in_l, ends_in_n, is_but},
        leftover::{is_filler, is_unknown},
        matches::Match,
        token::{Break, Script, Text, Token},
    },
    bare_list, owned,
};
use crate::lexicon::{KoreanWords, Lexicon, Says};

/// Farthest that a denial reaches back, in words.
const REACH_MAX: usize = 24;
/// Stem of a denial that is only of its own clause.
const NORMAL: &str = "정상";

/// "머리가 안 아프다", "팔에 힘이 안빠져요": the denial stands between the words of the finding.
pub(super) fn inside(text: &Text, found: &mut [Match], lexicon: &Lexicon) {
    let tokens = text.tokens();
    for one in found.iter_mut() {
        let words = one.own.iter().chain(&one.shared);
        let denied = words.clone().find_map(|word| {
            let at = tokens.partition_point(|token| token.span.end <= word.start);
            let token = tokens.get(at).filter(|token| token.script == Script::Hangul)?;
            // The letters of its word before it, or else the word before.
            let joined = text.slice(token.span.start..word.start);
            let before = at.checked_sub(1).and_then(|at| tokens.get(at));
            let apart = before
                .filter(|_| joined.is_empty() && token.before == Break::None)
                .filter(|before| lexicon.korean_words.deny_before.contains(&before.word));
            let by = |place: usize| !words.clone().any(|other| other.contains(&place));
            if joined == "안" && by(token.span.start) {
                return Some(at);
            }
            apart.filter(|before| !before.neutral && by(before.span.start)).and(at.checked_sub(1))
        });
        if let Some(place) = denied {
            one.present = false;
            one.unsure |= is_partly(tokens, place, lexicon);
        }
    }
}

/// "별로 안 아프다", "많이 아프지 않다": the word before says that the denial is only of how bad or
/// how often it is; not "심한 두통은 없다".
fn is_partly(tokens: &[Token], at: usize, lexicon: &Lexicon) -> bool {
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    let joined = tokens.get(at).is_some_and(|token| token.before == Break::None);
    before.filter(|before| joined && !closes_clause(before, lexicon)).is_some_and(|before| {
        begins(&before.word, &lexicon.korean_words.partly) && !ends_in_n(&before.word)
    })
}

/// Returns true if nothing before the word says what it is of: "얼굴 위약".
pub(super) fn is_bare(tokens: &[Token], at: usize, found: &[Match], lexicon: &Lexicon) -> bool {
    let token = tokens.get(at).filter(|token| token.before == Break::None);
    let before = token.and(at.checked_sub(1)).and_then(|before| tokens.get(before));
    before.is_none_or(|before| {
        before.side.is_some()
            || owned(before, found)
            || closes_clause(before, lexicon)
            || is_filler(&before.word, &lexicon.korean_words.filler)
            || lexicon.korean_words.attributes.joins.contains(&before.word)
    })
}

/// Marks the findings of a sentence that its Korean words deny.
pub(super) fn sentence(text: &Text, sentence: &[Token], found: &mut [Match], lexicon: &Lexicon) {
    let words = &lexicon.korean_words;
    let mut from = 0;
    for (at, token) in sentence.iter().enumerate() {
        let joins = token.before != Break::Clause
            || at.checked_sub(1).is_some_and(|last| bare_list(sentence, last, found, lexicon));
        if !joins || token.aside {
            from = from.max(at);
        }
        if token.mark.is_some() {
            from = at + 1;
        }
        if token.script != Script::Hangul || token.neutral || token.mark.is_some() {
            continue;
        }
        let rest = rest(text, token, found, words);
        let comes = is_to_come(sentence, at, found, words);
        match if comes { Reading::Unsure } else { read(rest, sentence, at, words) } {
            Reading::Denies => {
                let hit = Walk { text, sentence, from, at, lexicon }.deny(found);
                if comes_back(sentence, at, found, words) {
                    hit.iter().for_each(|&index| found[index].present = true);
                }
                // "없지는 …", "없다고는 …" may be denied in turn.
                if !is_open(&token.word) {
                    from = at + 1;
                }
            }
            Reading::Unsure => {
                Walk { text, sentence, from, at, lexicon }.give_up(found);
                from = at + 1;
            }
            Reading::Ends => from = at + 1,
            Reading::Nothing => {}
        }
        if told(text, token, found, words) {
            let of = |one: &&mut Match| one.owns(&token.span);
            found.iter_mut().filter(of).for_each(|one| one.unsure = true);
        }
        if closes_clause(token, lexicon) {
            from = at + 1;
        }
    }
}

/// "없는 증상: 구토, 경련": denies what such a heading names, to the end of its sentence or up to a slash.
pub(super) fn headings(text: &Text, found: &mut [Match]) {
    let tokens = text.tokens();
    let heads = ["없는", "부인하는", "음성", "않은", "않는"];
    for at in 1..tokens.len() {
        let (head, noun) = (&tokens[at - 1], &tokens[at]);
        let named = heads.contains(&head.word.as_str())
            && ["증상", "소견", "증세"].contains(&noun.word.as_str())
            && noun.before == Break::None;
        let Some(next) = tokens.get(at + 1).filter(|_| named) else { continue };
        if !text.slice(noun.span.end..next.span.start).contains([':', '：', '-']) {
            continue;
        }
        let ends = |at: usize| {
            let between = text.slice(tokens[at - 1].span.end..tokens[at].span.start);
            tokens[at].before == Break::Sentence || between.contains(['/', '|'])
        };
        let end = (at + 2..tokens.len()).find(|&at| ends(at)).unwrap_or(tokens.len());
        for one in found.iter_mut() {
            let listed =
                one.span.start >= next.span.start && tokens[end - 1].span.end >= one.span.end;
            let before = at >= 2 && one.owns(&tokens[at - 2].span);
            one.present = if listed { false } else { one.present || before };
        }
    }
}

/// What a word does to the findings before it in its clause.
enum Reading {
    Denies,
    Unsure,
    /// It says that they are there, or takes them out of a denial.
    Ends,
    Nothing,
}

/// Returns what of a word stands behind the finding that ends in it, without particles: "없음" of
/// "두통은없음".
fn rest<'a>(text: &'a Text, token: &'a Token, found: &[Match], words: &KoreanWords) -> &'a str {
    let own = found.iter().flat_map(|one| &one.own);
    let ends = own.filter(|word| word.start < token.span.end && token.span.start < word.end);
    let Some(end) = ends.map(|word| word.end).max() else { return &token.word };
    let mut rest = text.slice(end.min(token.span.end)..token.span.end);
    while !begins(rest, &words.deny)
        && let Some(shorter) =
            words.particles.iter().find_map(|particle| rest.strip_prefix(particle.as_str()))
    {
        rest = shorter;
    }
    rest
}

fn begins(word: &str, stems: &[String]) -> bool {
    stems.iter().any(|stem| word.starts_with(stem.as_str()))
}

fn read(rest: &str, sentence: &[Token], at: usize, words: &KoreanWords) -> Reading {
    let next = sentence.get(at + 1).filter(|next| next.before == Break::None);
    let next = next.map(|next| next.word.as_str()).unwrap_or_default();
    if words.except.iter().any(|word| word == rest) {
        return Reading::Ends;
    }
    if begins(rest, &words.unsure) {
        return Reading::Unsure;
    }
    // "아닐 수도 있다", "없을 수도".
    let maybe = next == "수도" && rest.ends_with(['닐', '을', '를']);
    if maybe {
        return Reading::Unsure;
    }
    if begins(rest, &words.deny) && !begins(rest, &words.not_deny) {
        return Reading::Denies;
    }
    // "안 하다", "안함": the verb says no more than that it is so.
    let light = |word: &str| begins(word, &words.light);
    let joined = rest.strip_prefix('안').is_some_and(light);
    let apart = words.deny_before.iter().any(|word| word == rest) && light(next);
    if joined || apart {
        return Reading::Denies;
    }
    let denied_next = begins(next, &words.deny) || next.starts_with('안');
    let noun = ["적", "일", "것", "건", "게"].iter().any(|noun| next.starts_with(noun));
    // "호소하지 않다", "있었던 적이 없다".
    let to_be_denied = ["지", "지는", "지도", "진", "질"].iter().any(|end| rest.ends_with(end))
        || (noun && ends_in_n(rest));
    if begins(rest, &words.assert) && !denied_next && !to_be_denied {
        return Reading::Ends;
    }
    Reading::Nothing
}

/// "올 것 같다", "쓰러질 뻔했다", "생길까 봐": it has not come. "터질 것 같다" says how it is.
fn is_to_come(sentence: &[Token], at: usize, found: &[Match], words: &KoreanWords) -> bool {
    let word = &sentence[at].word;
    if begins(word, &words.as_if) {
        return false;
    }
    let next = sentence.get(at + 1).filter(|next| next.before == Break::None);
    next.is_some_and(|next| {
        let seems = ["것", "거", "뻔"].iter().any(|noun| next.word.starts_with(noun));
        let fears = word.strip_suffix('까').is_some_and(ends_in_l)
            && ["봐", "싶", "걱정", "두려"].iter().any(|verb| next.word.starts_with(verb));
        (ends_in_l(word) && seems && !owned(next, found)) || fears
    })
}

/// Returns true for a Korean word that may be a noun by itself: no verb, and none that says something of others.
pub(super) fn is_noun(token: &Token, lexicon: &Lexicon) -> bool {
    let words = &lexicon.korean_words;
    let ends = [
        "다", "요", "음", "함", "임", "됨", "고", "며", "지", "서", "데", "만", "나", "면", "로",
        "에", "시",
    ];
    token.script == Script::Hangul
        && !token.aside
        && token.side.is_none()
        && token.mark.is_none()
        && !ends.iter().any(|end| token.word.ends_with(end))
        && !words.subject.iter().any(|end| token.word.ends_with(end.as_str()))
        && !begins(&token.word, &words.deny)
        && !begins(&token.word, &words.assert)
        && !closes_clause(token, lexicon)
        && is_unknown(token, &[], &[], lexicon)
}

/// "아침에는", "먹으면": it is said of then.
fn is_then(word: &str) -> bool {
    const TIMES: [&str; 7] = ["아침", "저녁", "밤", "낮", "새벽", "오전", "오후"];
    let time = word.ends_with("에는") && TIMES.iter().any(|time| word.starts_with(time));
    let condition =
        word.ends_with("면") && word.chars().nth(1).is_some() && !word.ends_with("측면");
    time || condition
}

/// Returns where the clause of a word begins.
fn clause_start(sentence: &[Token], at: usize) -> usize {
    (1..=at).rev().find(|&at| sentence[at].before != Break::None).unwrap_or_default()
}

/// "없는", "없지", "없다고는", "아닌": more of the sentence hangs on it.
fn is_open(word: &str) -> bool {
    ["지", "지는", "지도", "진", "다고", "다고는", "라고", "라고는"]
        .iter()
        .any(|end| word.ends_with(end))
        || ends_in_n(word)
}

/// "물을 많이 마시라고": it is only told to come.
fn told(text: &Text, token: &Token, found: &[Match], words: &KoreanWords) -> bool {
    let own = found.iter().flat_map(|one| &one.own);
    let end = own.filter(|word| token.span.contains(&word.start)).map(|word| word.end).max();
    end.is_some_and(|end| begins(text.slice(end..token.span.end), &words.told))
}

/// "없다가 생겼다", "없었는데 시작됐다": what was not there has come.
fn comes_back(sentence: &[Token], at: usize, found: &[Match], words: &KoreanWords) -> bool {
    let word = &sentence[at].word;
    let was = word.contains('었') && !word.ends_with(['다', '요', '음']);
    if !was && !word.ends_with("다가") {
        return false;
    }
    let rest = sentence.get(at + 1..).unwrap_or_default();
    let rest = rest.iter().take_while(|token| !owned(token, found));
    rest.take(REACH_MAX)
        .take_while(|token| !begins(&token.word, &words.deny))
        .any(|token| begins(&token.word, &words.assert))
}

/// What a denial is of.
struct Reach {
    /// Findings, the nearest first.
    hit: Vec<usize>,
    /// It is only of how often or how bad they are: "자주 있지는 않다".
    partly: bool,
    /// It is of something that is not understood.
    of_other: bool,
}

/// The words of a clause before a denial.
struct Walk<'a> {
    text: &'a Text,
    sentence: &'a [Token],
    from: usize,
    at: usize,
    lexicon: &'a Lexicon,
}

impl Walk<'_> {
    /// Denies the findings that the denial is of; affirms those that are denied already. Returns
    /// which.
    fn deny(&self, found: &mut [Match]) -> Vec<usize> {
        let Reach { hit, partly, of_other } = self.findings(found);
        if hit.is_empty() && !of_other {
            self.end_what_was(found);
        }
        let again =
            hit.first().is_some_and(|&index| found.get(index).is_some_and(|one| !one.present));
        for &index in &hit {
            if let Some(one) = found.get_mut(index) {
                one.present = again;
                one.unsure |= partly;
            }
        }
        hit
    }

    fn give_up(&self, found: &mut [Match]) {
        for index in self.findings(found).hit {
            if let Some(one) = found.get_mut(index) {
                one.unsure = true;
            }
        }
    }

    /// "두통이 있었지만 지금은 없어요": what was there in the clause before is not now.
    fn end_what_was(&self, found: &mut [Match]) {
        let past = self.from.checked_sub(1).and_then(|last| self.sentence.get(last));
        if !past.is_some_and(|last| {
            last.script == Script::Hangul
                && last.word.contains(['었', '았', '했', '였', '렸', '졌'])
        }) {
            return;
        }
        for token in self.sentence[..self.from].iter().rev() {
            let mut any = false;
            for one in found.iter_mut().filter(|one| one.owns(&token.span)) {
                one.unsure |= one.present;
                any = true;
            }
            if any || begins(&token.word, &self.lexicon.korean_words.deny) {
                return;
            }
        }
    }

    /// Returns what the denial is of, the nearest first.
    fn findings(&self, found: &[Match]) -> Reach {
        let words = &self.lexicon.korean_words;
        let mut hit: Vec<usize> = Vec::new();
        let (mut partly, mut of_other) = (false, false);
        // "반사 정상": only what its own clause is about is normal.
        let normal = self.sentence.get(self.at).is_some_and(|one| one.word.starts_with(NORMAL));
        let first =
            if normal { self.from.max(clause_start(self.sentence, self.at)) } else { self.from };
        for at in (first..=self.at).rev().take(REACH_MAX) {
            let Some(token) = self.sentence.get(at) else { break };
            // "근력 정상, 복시 없음": it says itself that it is not there, unless it is denied in turn.
            let said = |one: &Match| one.says == Says::Absent && one.owns(&token.span);
            if at + 1 < self.at && found.iter().any(said) {
                break;
            }
            // "의식은 기면이나 경련은 없음".
            if at < self.at && !hit.is_empty() && self.is_copula_but(at) {
                break;
            }
            let here = found.iter().enumerate().filter(|(_, one)| one.owns(&token.span));
            let here: Vec<usize> = here.map(|(index, _)| index).collect();
            let rest = rest(self.text, token, found, words);
            let apart = words.apart.iter().any(|word| word == rest);
            if !hit.is_empty() && at < self.at && apart {
                // "약 먹을 때는 두통이 없다".
                partly |= ["때는", "때에는", "때엔"].contains(&rest);
                break;
            }
            if !here.is_empty() {
                partly |= hit.is_empty() && is_partly(self.sentence, at, self.lexicon);
                hit.extend(
                    here.iter().filter(|index| !hit.contains(index)).copied().collect::<Vec<_>>(),
                );
                continue;
            }
            if at == self.at || token.particle {
                continue;
            }
            // "두통 호전 없음", "더 심해지지 않았어요": the denial is of that; "새로운 위약은 없음" of more of it.
            if begins(&token.word, &words.deny_only) {
                of_other |= hit.is_empty();
                partly |= !hit.is_empty();
                break;
            }
            let again = begins(&token.word, &words.deny) || words.deny_before.contains(&token.word);
            let ended = again || begins(&token.word, &words.assert);
            if !hit.is_empty() && ended {
                break;
            }
            // "두통은 아침에는 없고", "약을 먹으면 두통이 없는데".
            partly |= is_then(&token.word);
            partly |= hit.is_empty() && begins(&token.word, &words.partly);
            let subject = words.subject.iter().any(|end| token.word.ends_with(end.as_str()));
            // "자발적 발화 및 행동 거의 없음": a noun right before it.
            let right_before = self.sentence[at + 1..self.at]
                .iter()
                .all(|token| is_filler(&token.word, &words.filler));
            let verb = ["지", "진", "질"].iter().any(|end| token.word.ends_with(end))
                || ends_in_n(&token.word)
                || ends_in_l(&token.word);
            let adverb = ["에서", "으로", "상"].iter().any(|end| token.word.ends_with(end));
            let noun = token.script == Script::Hangul && right_before && !verb && !adverb;
            let unknown = (subject || noun) && is_unknown(token, found, &[], self.lexicon);
            if hit.is_empty() && unknown && !self.is_joined(at, found) {
                of_other = true;
                break;
            }
        }
        // "아침 외에는 두통이 없습니다": then it is there.
        let except = self.from.checked_sub(1).and_then(|at| self.sentence.get(at));
        let of_time = self.from.checked_sub(2).and_then(|at| self.sentence.get(at));
        partly |= except.is_some_and(|one| words.except.contains(&one.word))
            && of_time.is_some_and(|one| !owned(one, found) && is_filler(&one.word, &words.filler));
        Reach { hit, partly, of_other }
    }

    /// "의식은 기면이나": with a subject before it, "이나" is "is, but".
    fn is_copula_but(&self, at: usize) -> bool {
        let words = &self.lexicon.korean_words;
        let start = clause_start(self.sentence, at).max(self.from);
        let mut before = self.sentence.get(start..at).unwrap_or_default().iter();
        self.sentence[at].word.ends_with("이나")
            && before.any(|token| {
                let subject = ["은", "는", "이", "가"].iter().any(|end| token.word.ends_with(end));
                subject && !token.particle && !words.aside.patient.contains(&token.word)
            })
    }

    /// "두통이나 열이 없다", "두통도 열도": the word goes on with a list that a finding begins.
    fn is_joined(&self, at: usize, found: &[Match]) -> bool {
        let joins = &self.lexicon.korean_words.attributes.joins;
        let word = |at: usize| at.checked_sub(1).and_then(|before| self.sentence.get(before));
        // "수두증이나 정중선 편위는 없음": over the first word of what is not understood.
        let at = match word(at) {
            Some(first)
                if self.sentence[at].before == Break::None
                    && !owned(first, found)
                    && is_noun(first, self.lexicon) =>
            {
                at - 1
            }
            _ => at,
        };
        let before = word(at);
        // "감각이상 및 마비".
        if before.is_some_and(|before| joins.contains(&before.word)) {
            return word(at - 1).is_some_and(|before| owned(before, found));
        }
        // "의식소실, 혀 깨물기는 없었음".
        let start = clause_start(self.sentence, at);
        let listed = start > 0
            && self.sentence[start].before == Break::Clause
            && bare_list(self.sentence, start - 1, found, self.lexicon);
        listed
            || before.is_some_and(|before| {
                let both = before.word.ends_with('도') && self.sentence[at].word.ends_with('도');
                let or = before.word.ends_with('나') && !is_but(&before.word);
                let and = both
                    || or
                    || joins.iter().any(|end| before.word.ends_with(end.as_str()))
                    || self.sentence[at].before == Break::Clause;
                owned(before, found) && and
            })
    }
}
