//! What every RPC needs, and the check that none is forgotten.

#[cfg(test)]
mod page;
mod table;

use std::collections::{HashMap, HashSet};

use neurotriage_domain::HospitalId;
use prost::Message as _;
use prost_types::FileDescriptorSet;

use crate::{
    error::AccessError,
    grant::{Grant, Reach},
    identity::Identity,
    scope::{Context, Permission},
};

/// RPCs that anyone may call: probes and reflection, which give out nothing of any patient or hospital.
const OPEN: [&str; 4] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Whose data an RPC is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Of one patient of a hospital: scopes of every context count. The handler must check the patient by
    /// [`Grant::check_patient`] before it gives anything out.
    Patient,
    /// Of several patients of a hospital, or of none that is known: `patient/` scopes do not count.
    Hospital,
    /// Shared by all hospitals: `patient/` scopes do not count, no hospital is needed, and a change needs a scope
    /// that names the resource.
    Deployment,
}

/// What one RPC needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whose data it is about.
    pub owner: Owner,
    /// What must be allowed, all of it in one context.
    pub needs: &'static [Permission],
}

impl Rule {
    /// Returns how far `identity` may go under the rule.
    ///
    /// The widest context wins: a token with `user/` and `patient/` scopes that both allow the call is
    /// not kept to its patient.
    ///
    /// # Errors
    /// [`AccessError::HospitalMissing`] and [`AccessError::ScopeMissing`].
    pub fn admit(&self, identity: &Identity) -> Result<Grant, AccessError> {
        let wide = [Context::User, Context::System].into_iter();
        let allowed_wide = wide.clone().any(|context| self.is_met_in(context, identity));
        let reach = match self.owner {
            Owner::Deployment if allowed_wide => Reach::Deployment,
            Owner::Hospital | Owner::Patient if allowed_wide => {
                Reach::Hospital(hospital_of(identity)?)
            }
            Owner::Patient if self.is_met_in(Context::Patient, identity) => {
                match identity.patient_id {
                    Some(patient_id) => Reach::Patient(hospital_of(identity)?, patient_id),
                    None => return Err(self.scope_missing()),
                }
            }
            Owner::Deployment | Owner::Hospital | Owner::Patient => {
                return Err(self.scope_missing());
            }
        };
        Ok(Grant::new(reach))
    }

    fn is_met_in(&self, context: Context, identity: &Identity) -> bool {
        // A rule that needs nothing would let everyone in.
        !self.needs.is_empty()
            && self.needs.iter().all(|need| match self.owner {
                Owner::Deployment if !need.action.only_reads() => {
                    identity.scopes.names(&[context], *need)
                }
                Owner::Deployment | Owner::Hospital | Owner::Patient => {
                    identity.scopes.allows(&[context], *need)
                }
            })
    }

    fn scope_missing(&self) -> AccessError {
        let needed: Vec<String> = self.needs.iter().map(|need| format!("user/{need}")).collect();
        AccessError::ScopeMissing { needed: needed.join(" and ") }
    }
}

fn hospital_of(identity: &Identity) -> Result<HospitalId, AccessError> {
    identity.hospital_id.clone().ok_or(AccessError::HospitalMissing)
}

/// The rules of every RPC, by its path such as `/neurotriage.records.v1.RecordsService/GetPatient`.
#[derive(Clone, Debug)]
pub struct Rules {
    by_path: HashMap<String, Rule>,
    twice: Vec<String>,
}

/// What the rules say of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Anyone may call it.
    Open,
    /// Who meets the rule may call it.
    Ruled(Rule),
    /// Nobody may call it.
    Unknown,
}

/// Where rules and RPCs do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gap {
    /// Nobody may call it: no rule says who.
    #[error("RPC {0} has no rule; add it to the table of rules")]
    RpcWithoutRule(String),
    /// The RPC was renamed or removed.
    #[error("rule {0} is of no RPC; take it from the table of rules")]
    RuleWithoutRpc(String),
    /// Two rules, of which the later would win unseen.
    #[error("RPC {0} has two rules; keep one")]
    RuleTwice(String),
    /// A rule that nobody can meet.
    #[error("rule {0} needs nothing; name a permission")]
    RuleWithoutNeed(String),
}

/// The rules of one service: its full name, and owner and needs of each RPC by name.
pub type ServiceRules<'a> = (&'a str, &'a [(&'a str, Owner, &'static [Permission])]);

impl Rules {
    /// Returns the rules of this suite.
    pub fn neurotriage() -> Self {
        Self::new(table::SERVICES)
    }

    /// Returns rules from a table.
    pub fn new(services: &[ServiceRules<'_>]) -> Self {
        let mut by_path = HashMap::new();
        let mut twice = Vec::new();
        for (service, methods) in services {
            for (method, owner, needs) in *methods {
                let path = format!("/{service}/{method}");
                if by_path.insert(path.clone(), Rule { owner: *owner, needs }).is_some() {
                    twice.push(path);
                }
            }
        }
        Self { by_path, twice }
    }

    /// Returns who may call `path`.
    pub fn decide(&self, path: &str) -> Decision {
        if OPEN.contains(&path) {
            return Decision::Open;
        }
        self.by_path.get(path).map_or(Decision::Unknown, |rule| Decision::Ruled(*rule))
    }

    /// Returns where the rules and the RPCs of an encoded `FileDescriptorSet` do not fit together, in order; empty is
    /// right. A test asks this of the set that the servers are generated from.
    ///
    /// # Errors
    /// If the bytes are no `FileDescriptorSet`.
    pub fn check_descriptor(&self, descriptor_set: &[u8]) -> Result<Vec<Gap>, prost::DecodeError> {
        let rpcs = rpcs_of(&FileDescriptorSet::decode(descriptor_set)?);
        let mut gaps: Vec<Gap> = self.twice.iter().cloned().map(Gap::RuleTwice).collect();
        for (path, rule) in &self.by_path {
            if !rpcs.contains(path) {
                gaps.push(Gap::RuleWithoutRpc(path.clone()));
            }
            if rule.needs.is_empty() {
                gaps.push(Gap::RuleWithoutNeed(path.clone()));
            }
        }
        for path in rpcs {
            if self.decide(&path) == Decision::Unknown {
                gaps.push(Gap::RpcWithoutRule(path));
            }
        }
        gaps.sort_by_key(ToString::to_string);
        Ok(gaps)
    }
}

fn rpcs_of(set: &FileDescriptorSet) -> HashSet<String> {
    let mut paths = HashSet::new();
    for file in &set.file {
        for service in &file.service {
            let name = match file.package() {
                "" => service.name().to_owned(),
                package => format!("{package}.{}", service.name()),
            };
            paths.extend(service.method.iter().map(|rpc| format!("/{name}/{}", rpc.name())));
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use prost_types::{FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto};

    use super::*;
    use crate::{
        scope::{Action, Resource, Scopes},
        testing::{HOSPITAL, PATIENT, identity},
    };

    #[test]
    fn every_rpc_has_a_rule_and_every_rule_an_rpc() {
        let gaps = Rules::neurotriage().check_descriptor(neurotriage_proto::FILE_DESCRIPTOR_SET);
        let gaps: Vec<String> = gaps.unwrap().iter().map(ToString::to_string).collect();
        assert!(gaps.is_empty(), "{}", gaps.join("\n"));
    }

    #[test]
    fn probes_and_reflection_are_open_and_nothing_else_is() {
        let sets = [
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut open = HashSet::new();
        for set in sets {
            open.extend(rpcs_of(&FileDescriptorSet::decode(set).unwrap()));
        }
        assert_eq!(open, OPEN.iter().map(|path| (*path).to_owned()).collect());
    }

    const READ_STUDY: &[Permission] =
        &[Permission { resource: Resource::Study, action: Action::Read }];
    const CREATE_AND_READ_STUDY: &[Permission] = &[
        Permission { resource: Resource::Study, action: Action::Create },
        Permission { resource: Resource::Study, action: Action::Read },
    ];
    const READ_MODEL: &[Permission] =
        &[Permission { resource: Resource::Model, action: Action::Read }];
    const UPDATE_MODEL: &[Permission] =
        &[Permission { resource: Resource::Model, action: Action::Update }];

    fn descriptor(rpcs: &[&str]) -> Vec<u8> {
        let method = rpcs
            .iter()
            .map(|name| MethodDescriptorProto {
                name: Some((*name).to_owned()),
                ..MethodDescriptorProto::default()
            })
            .collect();
        let service = ServiceDescriptorProto {
            name: Some("Kept".to_owned()),
            method,
            ..ServiceDescriptorProto::default()
        };
        let file = FileDescriptorProto {
            package: Some("sample.v1".to_owned()),
            service: vec![service],
            ..FileDescriptorProto::default()
        };
        FileDescriptorSet { file: vec![file] }.encode_to_vec()
    }

    #[test]
    fn a_forgotten_rpc_and_a_stale_rule_are_named() {
        let rules = Rules::new(&[(
            "sample.v1.Kept",
            &[
                ("Get", Owner::Hospital, READ_STUDY),
                ("Gone", Owner::Hospital, READ_STUDY),
                ("Double", Owner::Hospital, READ_STUDY),
                ("Double", Owner::Deployment, READ_STUDY),
                ("Bare", Owner::Hospital, &[]),
            ],
        )]);
        let set = descriptor(&["Get", "Double", "Bare", "Fresh"]);
        let mut expected = vec![
            Gap::RpcWithoutRule("/sample.v1.Kept/Fresh".to_owned()),
            Gap::RuleTwice("/sample.v1.Kept/Double".to_owned()),
            Gap::RuleWithoutRpc("/sample.v1.Kept/Gone".to_owned()),
            Gap::RuleWithoutNeed("/sample.v1.Kept/Bare".to_owned()),
        ];
        expected.sort_by_key(ToString::to_string);
        assert_eq!(rules.check_descriptor(&set).unwrap(), expected);
        assert!(rules.check_descriptor(b"not protobuf").is_err());
    }

    #[test]
    fn an_unknown_path_is_not_open() {
        let rules = Rules::neurotriage();
        let get = "/neurotriage.records.v1.RecordsService/GetPatient";
        assert!(matches!(rules.decide(get), Decision::Ruled(_)));
        let table = [
            "",
            "/",
            "/neurotriage.records.v1.RecordsService/getpatient",
            "/neurotriage.records.v1.RecordsService/GetPatient/",
            "//neurotriage.records.v1.RecordsService/GetPatient",
            "/grpc.health.v1.Health/check",
            "/grpc.health.v1.Health/Check/../../neurotriage.records.v1.RecordsService/GetPatient",
        ];
        for path in table {
            assert_eq!(rules.decide(path), Decision::Unknown, "path: {path}");
        }
    }

    #[test]
    fn a_rule_admits_by_scope_and_owner() {
        let hospital = || Reach::Hospital(HOSPITAL.parse().unwrap());
        let patient = || Reach::Patient(HOSPITAL.parse().unwrap(), PATIENT.parse().unwrap());
        let missing = |needed: &str| Err(AccessError::ScopeMissing { needed: needed.to_owned() });
        let study = "user/Study.r";
        use Owner::{Deployment, Hospital, Patient};
        // (what the row is for, owner, needs, scopes, what comes of it)
        let table = [
            ("user", Patient, READ_STUDY, "user/Study.read", Ok(hospital())),
            ("system", Hospital, READ_STUDY, "system/*.read", Ok(hospital())),
            ("patient", Patient, READ_STUDY, "patient/*.read", Ok(patient())),
            ("widest wins", Patient, READ_STUDY, "patient/*.read user/Study.r", Ok(hospital())),
            ("patient alone", Hospital, READ_STUDY, "patient/*.cruds", missing(study)),
            ("no scope", Patient, READ_STUDY, "", missing(study)),
            ("wrong action", Patient, READ_STUDY, "user/Study.cuds", missing(study)),
            ("both", Patient, CREATE_AND_READ_STUDY, "user/Study.cr", Ok(hospital())),
            (
                "one of both",
                Patient,
                CREATE_AND_READ_STUDY,
                "user/Study.c",
                missing("user/Study.c and user/Study.r"),
            ),
            (
                "each in another context",
                Patient,
                CREATE_AND_READ_STUDY,
                "user/Study.c patient/Study.r",
                missing("user/Study.c and user/Study.r"),
            ),
            ("shared, read by *", Deployment, READ_MODEL, "user/*.read", Ok(Reach::Deployment)),
            (
                "shared, changed by *",
                Deployment,
                UPDATE_MODEL,
                "system/*.cruds",
                missing("user/Model.u"),
            ),
            (
                "shared, changed by name",
                Deployment,
                UPDATE_MODEL,
                "system/Model.u",
                Ok(Reach::Deployment),
            ),
            (
                "shared, by patient",
                Deployment,
                READ_MODEL,
                "patient/Model.r",
                missing("user/Model.r"),
            ),
            ("nothing needed", Hospital, &[], "system/*.cruds", missing("")),
        ];
        for (case, owner, needs, scopes, expected) in table {
            let admitted = Rule { owner, needs }.admit(&identity(scopes));
            assert_eq!(admitted.map(|grant| grant.reach().clone()), expected, "case: {case}");
        }
    }

    #[test]
    fn data_of_a_hospital_needs_a_hospital_and_of_a_patient_a_patient() {
        let rule = |owner| Rule { owner, needs: READ_STUDY };
        let mut caller = identity("system/*.read patient/*.read");
        caller.hospital_id = None;
        for owner in [Owner::Patient, Owner::Hospital] {
            assert_eq!(rule(owner).admit(&caller).unwrap_err(), AccessError::HospitalMissing);
        }
        assert_eq!(rule(Owner::Deployment).admit(&caller).unwrap().reach(), &Reach::Deployment);

        let mut caller = identity("");
        caller.scopes = Scopes::parse("patient/*.read");
        caller.patient_id = None;
        let error = rule(Owner::Patient).admit(&caller).unwrap_err();
        assert!(matches!(error, AccessError::ScopeMissing { .. }));
    }
}
