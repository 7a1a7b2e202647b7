//! The hospitals of a bundle.

use std::collections::HashMap;

use neurotriage_fhir::{Problem, import::Refusal};
use serde_json::Value;

use super::{ImportRequest, Outcome};
use crate::{
    directory::{self, DirectoryStore, ImportMode, ReadFile, fhir_form},
    fhir::FhirError,
    hospital::Hospital,
};

/// Said of an organization that is no hospital to refer to.
const A_PARTY: &str =
    "no Location and no HealthcareService come with it: no hospital of a directory";

/// Brings in hospitals, by the rules of the directory; what became of each entry, by its place.
///
/// `refused` are entries of the directory that were refused before: no hospital is written without them.
pub(super) async fn bring_in<S: DirectoryStore>(
    store: &S,
    request: &ImportRequest,
    entries: &[(usize, Value)],
    refused: Vec<(usize, Value)>,
) -> Result<Vec<(usize, Outcome)>, FhirError> {
    let kind = |entry: &Value| {
        let kind = entry.pointer("/resource/resourceType").and_then(Value::as_str);
        kind.unwrap_or_default().to_owned()
    };
    if entries.iter().chain(&refused).all(|(_, entry)| kind(entry) == "Organization") {
        let places = entries.iter().map(|(place, _)| *place);
        return Ok(places.map(|place| (place, Outcome::PassedOver(A_PARTY))).collect());
    }
    if !request.may_change_hospitals {
        let outcome = |place: usize| {
            let path = format!("entry[{place}].resource");
            let text =
                "needs a token with user/Hospital.cu: the directory is shared by all hospitals";
            Outcome::Refused("SCOPE_MISSING".to_owned(), vec![Problem::new(path, text)])
        };
        return Ok(entries.iter().map(|(place, _)| (*place, outcome(*place))).collect());
    }
    let read = fhir_form::import_entries(entries.iter().cloned(), refused);
    let mut outcomes: HashMap<usize, Outcome> = HashMap::new();
    for passed in &read.passed_over {
        outcomes.insert(passed.index, Outcome::PassedOver(passed.reason));
    }
    for refused in &read.refused {
        let path = path(refused.index, refused.field);
        let problem = Problem::new(path, refused.problem.clone());
        let reason = match refused.depends_on {
            Some(_) => Refusal::DependsOnRefused,
            None => Refusal::ElementsWrong,
        };
        let reason = reason.as_str().to_owned();
        outcomes.insert(refused.index, Outcome::Refused(reason, vec![problem]));
    }
    let before = store.snapshot().await?;
    let outcome_of = |hospital: &Hospital| {
        let hospital_id = hospital.hospital_id.to_string();
        match before.find(&hospital.hospital_id) {
            None => Outcome::Created(Some(hospital_id)),
            Some(known) if known == hospital => Outcome::Unchanged(hospital_id),
            Some(_) => Outcome::Updated(hospital_id),
        }
    };
    for (hospital, places) in read.hospitals.iter().zip(&read.places) {
        for place in places {
            outcomes.entry(*place).or_insert_with(|| outcome_of(hospital));
        }
    }
    let file = ReadFile { hospitals: read.hospitals, refused: Vec::new(), passed_over: Vec::new() };
    directory::import(store, file, ImportMode::Merge, request.dry_run).await?;
    let rest = |place: usize| {
        let text = "belongs to a hospital that was refused or passed over";
        let problem = Problem::new(format!("entry[{place}].resource"), text);
        Outcome::Refused(Refusal::DependsOnRefused.as_str().to_owned(), vec![problem])
    };
    let places = entries.iter().map(|(place, _)| *place);
    Ok(places
        .map(|place| (place, outcomes.remove(&place).unwrap_or_else(|| rest(place))))
        .collect())
}

/// Returns the path of a field such as `Location.position` or `entry.fullUrl`.
fn path(place: usize, field: &str) -> String {
    match field.split_once('.') {
        Some(("entry", rest)) => format!("entry[{place}].{rest}"),
        Some((_, rest)) => format!("entry[{place}].resource.{rest}"),
        None => format!("entry[{place}].resource"),
    }
}
