//! What a token allows: SMART scopes of versions 1 and 2 over this suite's own resources.
//!
//! `patient/SymptomReport.read` (version 1) and `patient/SymptomReport.rs` (version 2) say the same.
//! Whatever is not understood grants nothing.
//!
//! # Source
//! HL7, SMART App Launch 2.2.0, "Scopes and Launch Context". Ours: the resources are this suite's, and
//! `*` does not stand for changes of what all hospitals share (see [`Scopes::names`]).

use std::{fmt, str::FromStr};

/// What a scope may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Patients.
    Patient,
    /// Symptoms as patients wrote them, with their findings.
    SymptomReport,
    /// Notes on patients.
    Note,
    /// MRI studies and their files.
    Study,
    /// Masks and localised lesions.
    Segmentation,
    /// Networks and which of them serves; shared by all hospitals.
    Model,
    /// Training runs; shared by all hospitals.
    Training,
    /// Symptoms and image compared, hospitals ranked.
    Assessment,
    /// The directory of hospitals; shared by all of them.
    Hospital,
    /// Referrals of a patient to a hospital.
    Referral,
    /// Who did what.
    Audit,
}

impl Resource {
    /// Every resource.
    pub const ALL: [Self; 11] = [
        Self::Patient,
        Self::SymptomReport,
        Self::Note,
        Self::Study,
        Self::Segmentation,
        Self::Model,
        Self::Training,
        Self::Assessment,
        Self::Hospital,
        Self::Referral,
        Self::Audit,
    ];

    /// Returns the name as it stands in a scope.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "Patient",
            Self::SymptomReport => "SymptomReport",
            Self::Note => "Note",
            Self::Study => "Study",
            Self::Segmentation => "Segmentation",
            Self::Model => "Model",
            Self::Training => "Training",
            Self::Assessment => "Assessment",
            Self::Hospital => "Hospital",
            Self::Referral => "Referral",
            Self::Audit => "Audit",
        }
    }
}

/// What may be done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Make one.
    Create,
    /// Read one by its id.
    Read,
    /// Change one.
    Update,
    /// Remove one.
    Delete,
    /// List or search.
    Search,
}

impl Action {
    /// In the order in which version 2 writes them.
    const ALL: [Self; 5] = [Self::Create, Self::Read, Self::Update, Self::Delete, Self::Search];

    fn letter(self) -> char {
        match self {
            Self::Create => 'c',
            Self::Read => 'r',
            Self::Update => 'u',
            Self::Delete => 'd',
            Self::Search => 's',
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Create => 1,
            Self::Read => 2,
            Self::Update => 4,
            Self::Delete => 8,
            Self::Search => 16,
        }
    }

    /// Returns whether it leaves everything as it was.
    pub fn only_reads(self) -> bool {
        match self {
            Self::Read | Self::Search => true,
            Self::Create | Self::Update | Self::Delete => false,
        }
    }
}

/// One thing that an RPC needs: an action on a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permission {
    /// What it is done to.
    pub resource: Resource,
    /// What is done.
    pub action: Action,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.resource.as_str(), self.action.letter())
    }
}

/// Whose data a scope opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    /// Of the one patient that the token names.
    Patient,
    /// What the user may see.
    User,
    /// What a program without a user may see.
    System,
}

/// A set of actions; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Actions(u8);

impl Actions {
    fn parse(text: &str) -> Option<Self> {
        let of = |actions: &[Action]| Self(actions.iter().fold(0, |bits, one| bits | one.bit()));
        match text {
            "read" => return Some(of(&[Action::Read, Action::Search])),
            "write" => return Some(of(&[Action::Create, Action::Update, Action::Delete])),
            "*" => return Some(of(&Action::ALL)),
            _ => {}
        }
        let mut rest = text;
        let mut bits = 0;
        for action in Action::ALL {
            if let Some(after) = rest.strip_prefix(action.letter()) {
                bits |= action.bit();
                rest = after;
            }
        }
        (rest.is_empty() && bits != 0).then_some(Self(bits))
    }

    fn contains(self, action: Action) -> bool {
        self.0 & action.bit() != 0
    }
}

/// One scope on resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    context: Context,
    /// `None` is `*`.
    resource: Option<Resource>,
    actions: Actions,
}

/// Text that is no scope on this suite's resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScope {
    /// It is about something else, such as `openid` or `launch/patient`.
    #[error("scope is not of the form context/Resource.actions")]
    Form,
    /// The resource is none of this suite.
    #[error("scope names an unknown resource")]
    Resource,
    /// The actions are neither `read`, `write`, `*` nor letters of `cruds` in that order.
    #[error("scope names unknown actions")]
    Actions,
    /// It holds a search, as in `patient/Study.rs?status=done`, which would have to be honoured.
    #[error("scope is narrowed by a search, which is not supported")]
    Narrowed,
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let (context, rest) = text.split_once('/').ok_or(InvalidScope::Form)?;
        let context = match context {
            "patient" => Context::Patient,
            "user" => Context::User,
            "system" => Context::System,
            _ => return Err(InvalidScope::Form),
        };
        if rest.contains('?') {
            return Err(InvalidScope::Narrowed);
        }
        let (resource, actions) = rest.split_once('.').ok_or(InvalidScope::Form)?;
        let resource = match resource {
            "*" => None,
            name => Some(
                Resource::ALL
                    .into_iter()
                    .find(|known| known.as_str() == name)
                    .ok_or(InvalidScope::Resource)?,
            ),
        };
        let actions = Actions::parse(actions).ok_or(InvalidScope::Actions)?;
        Ok(Self { context, resource, actions })
    }
}

/// Every scope of a token that is about this suite's resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Returns the scopes of a list that is separated by spaces. Those that are not understood are left out:
    /// they grant nothing here.
    pub fn parse(text: &str) -> Self {
        Self(text.split_ascii_whitespace().filter_map(|one| one.parse().ok()).collect())
    }

    /// Returns whether one of the scopes allows `permission` in one of `contexts`, by name or by `*`.
    pub fn allows(&self, contexts: &[Context], permission: Permission) -> bool {
        self.any(contexts, permission, |resource| {
            resource.is_none() || resource == Some(permission.resource)
        })
    }

    /// As [`Scopes::allows`], for scopes that name the resource: `*` does not count.
    ///
    /// A hospital's system that was given `system/*.write` for its own data must not thereby change what
    /// serves every hospital.
    pub fn names(&self, contexts: &[Context], permission: Permission) -> bool {
        self.any(contexts, permission, |resource| resource == Some(permission.resource))
    }

    fn any(
        &self,
        contexts: &[Context],
        permission: Permission,
        is_about: impl Fn(Option<Resource>) -> bool,
    ) -> bool {
        self.0.iter().any(|scope| {
            contexts.contains(&scope.context)
                && is_about(scope.resource)
                && scope.actions.contains(permission.action)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_of_both_versions_are_read() {
        // (what the row is for, scope, context, resource, actions in the letters of version 2)
        let table = [
            ("v1 read", "patient/Study.read", Context::Patient, Some(Resource::Study), "rs"),
            ("v1 write", "system/Study.write", Context::System, Some(Resource::Study), "cud"),
            ("v1 all", "user/Audit.*", Context::User, Some(Resource::Audit), "cruds"),
            ("v1 any resource", "patient/*.read", Context::Patient, None, "rs"),
            ("v1 everything", "system/*.*", Context::System, None, "cruds"),
            ("v2 one", "user/Patient.r", Context::User, Some(Resource::Patient), "r"),
            ("v2 two", "user/Patient.rs", Context::User, Some(Resource::Patient), "rs"),
            ("v2 all", "system/Model.cruds", Context::System, Some(Resource::Model), "cruds"),
            ("v2 gaps", "system/Model.cds", Context::System, Some(Resource::Model), "cds"),
        ];
        for (case, text, context, resource, letters) in table {
            let scope: Scope = text.parse().expect(case);
            assert_eq!((scope.context, scope.resource), (context, resource), "case: {case}");
            for action in Action::ALL {
                let expected = letters.contains(action.letter());
                assert_eq!(scope.actions.contains(action), expected, "case: {case} {action:?}");
            }
        }
    }

    #[test]
    fn every_resource_has_a_scope() {
        for resource in Resource::ALL {
            let scope: Scope = format!("user/{}.r", resource.as_str()).parse().unwrap();
            assert_eq!(scope.resource, Some(resource));
        }
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        // (what the row is for, text, why)
        let table = [
            ("empty", "", InvalidScope::Form),
            ("identity", "openid", InvalidScope::Form),
            ("launch", "launch/patient", InvalidScope::Form),
            ("no actions", "patient/Study", InvalidScope::Form),
            ("context in capitals", "Patient/Study.read", InvalidScope::Form),
            ("any context", "*/Study.read", InvalidScope::Form),
            (
                "resource of FHIR that is not ours",
                "patient/Observation.read",
                InvalidScope::Resource,
            ),
            ("resource in small letters", "patient/study.read", InvalidScope::Resource),
            ("no resource", "patient/.read", InvalidScope::Resource),
            ("part of a resource", "patient/Stud*.read", InvalidScope::Resource),
            ("empty actions", "patient/Study.", InvalidScope::Actions),
            ("letters in another order", "patient/Study.sr", InvalidScope::Actions),
            ("a letter twice", "patient/Study.rr", InvalidScope::Actions),
            ("unknown letter", "patient/Study.rx", InvalidScope::Actions),
            ("word in capitals", "patient/Study.READ", InvalidScope::Actions),
            ("both versions", "patient/Study.read.rs", InvalidScope::Actions),
            ("narrowed", "patient/Study.rs?status=done", InvalidScope::Narrowed),
            ("narrowed any", "patient/*.rs?x=y", InvalidScope::Narrowed),
        ];
        for (case, text, why) in table {
            assert_eq!(text.parse::<Scope>(), Err(why), "case: {case}");
        }
    }

    const READ_STUDY: Permission = Permission { resource: Resource::Study, action: Action::Read };
    const CREATE_MODEL: Permission =
        Permission { resource: Resource::Model, action: Action::Create };

    #[test]
    fn a_scope_allows_its_context_resource_and_actions_only() {
        use Context::{Patient, System, User};
        // (what the row is for, scopes, contexts asked for, permission, whether allowed)
        let table: [(_, _, &[Context], _, _); 10] = [
            ("exact", "user/Study.r", &[User, System], READ_STUDY, true),
            ("by *", "system/*.read", &[User, System], READ_STUDY, true),
            ("other context", "patient/Study.r", &[User, System], READ_STUDY, false),
            ("patient context", "patient/*.read", &[Patient], READ_STUDY, true),
            ("user is no patient", "user/*.read", &[Patient], READ_STUDY, false),
            ("other action", "user/Study.cuds", &[User], READ_STUDY, false),
            ("other resource", "user/Patient.r", &[User], READ_STUDY, false),
            ("one of several", "openid user/Patient.r user/Study.rs", &[User], READ_STUDY, true),
            ("narrowed grants nothing", "user/Study.r?x=y", &[User], READ_STUDY, false),
            ("nothing", "", &[User, System], READ_STUDY, false),
        ];
        for (case, text, contexts, permission, allowed) in table {
            assert_eq!(Scopes::parse(text).allows(contexts, permission), allowed, "case: {case}");
        }
    }

    #[test]
    fn a_star_names_no_resource() {
        let contexts = [Context::User, Context::System];
        let any = Scopes::parse("system/*.cruds");
        assert!(any.allows(&contexts, CREATE_MODEL));
        assert!(!any.names(&contexts, CREATE_MODEL));
        assert!(Scopes::parse("system/Model.write").names(&contexts, CREATE_MODEL));
        assert!(!Scopes::parse("system/Model.read").names(&contexts, CREATE_MODEL));
    }
}
