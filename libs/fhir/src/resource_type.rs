//! The names of resources of R4.

/// Every resource of FHIR R4 (4.0.1), in order.
const NAMES: &str = "\
Account ActivityDefinition AdverseEvent AllergyIntolerance Appointment AppointmentResponse \
AuditEvent Basic Binary BiologicallyDerivedProduct BodyStructure Bundle CapabilityStatement \
CarePlan CareTeam CatalogEntry ChargeItem ChargeItemDefinition Claim ClaimResponse \
ClinicalImpression CodeSystem Communication CommunicationRequest CompartmentDefinition \
Composition ConceptMap Condition Consent Contract Coverage CoverageEligibilityRequest \
CoverageEligibilityResponse DetectedIssue Device DeviceDefinition DeviceMetric DeviceRequest \
DeviceUseStatement DiagnosticReport DocumentManifest DocumentReference \
EffectEvidenceSynthesis Encounter Endpoint EnrollmentRequest EnrollmentResponse \
EpisodeOfCare EventDefinition Evidence EvidenceVariable ExampleScenario ExplanationOfBenefit \
FamilyMemberHistory Flag Goal GraphDefinition Group GuidanceResponse HealthcareService \
ImagingStudy Immunization ImmunizationEvaluation ImmunizationRecommendation \
ImplementationGuide InsurancePlan Invoice Library Linkage List Location Measure \
MeasureReport Media Medication MedicationAdministration MedicationDispense \
MedicationKnowledge MedicationRequest MedicationStatement MedicinalProduct \
MedicinalProductAuthorization MedicinalProductContraindication MedicinalProductIndication \
MedicinalProductIngredient MedicinalProductInteraction MedicinalProductManufactured \
MedicinalProductPackaged MedicinalProductPharmaceutical MedicinalProductUndesirableEffect \
MessageDefinition MessageHeader MolecularSequence NamingSystem NutritionOrder Observation \
ObservationDefinition OperationDefinition OperationOutcome Organization \
OrganizationAffiliation Parameters Patient PaymentNotice PaymentReconciliation Person \
PlanDefinition Practitioner PractitionerRole Procedure Provenance Questionnaire \
QuestionnaireResponse RelatedPerson RequestGroup ResearchDefinition \
ResearchElementDefinition ResearchStudy ResearchSubject RiskAssessment RiskEvidenceSynthesis \
Schedule SearchParameter ServiceRequest Slot Specimen SpecimenDefinition StructureDefinition \
StructureMap Subscription Substance SubstanceNucleicAcid SubstancePolymer SubstanceProtein \
SubstanceReferenceInformation SubstanceSourceMaterial SubstanceSpecification SupplyDelivery \
SupplyRequest Task TerminologyCapabilities TestReport TestScript ValueSet VerificationResult \
VisionPrescription \
";

/// Returns the name as it is known here, if it is one of R4: what else was sent is never repeated.
pub(crate) fn known(name: &str) -> Option<&'static str> {
    NAMES.split_ascii_whitespace().find(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_of_r4_are_known_and_those_of_r5_are_not() {
        assert_eq!(NAMES.split_ascii_whitespace().count(), 146);
        for name in ["Account", "Patient", "ServiceRequest", "VisionPrescription"] {
            assert_eq!(known(name), Some(name));
        }
        // Of R5: `SubscriptionTopic` is of R4B too.
        for name in ["", "patient", "ImagingSelection", "DeviceUsage", "SubscriptionTopic"] {
            assert_eq!(known(name), None, "{name}");
        }
    }
}
