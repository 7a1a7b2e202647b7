//! One hospital tries to reach another's diagnoses, and one patient another's.

use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::referral::v1::{
    CompareStudiesRequest, DiagnoseRequest, Diagnosis, GetAssessmentRequest, GetDiagnosisRequest,
    Timepoint, diagnosis_service_client::DiagnosisServiceClient,
    referral_service_client::ReferralServiceClient, timepoint::Source,
};
use neurotriage_testkit::{
    databases,
    issuer::{Bearer, Issuer},
};
use tonic::{
    Code, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use super::{
    harness::{read, start},
    reason,
};

const A: &str = "north-lake";
const B: &str = "south-lake";

type Client = DiagnosisServiceClient<InterceptedService<Channel, Bearer>>;

async fn diagnose(client: &mut Client, request: &DiagnoseRequest) -> Result<Diagnosis, Status> {
    Ok(read(client.diagnose(request.clone()).await?.into_inner()).await?.diagnosis)
}

async fn get(client: &mut Client, diagnosis_id: &str) -> Result<Diagnosis, Status> {
    let request = GetDiagnosisRequest { diagnosis_id: diagnosis_id.to_owned() };
    Ok(client.get_diagnosis(request).await?.into_inner().diagnosis.unwrap_or_default())
}

fn refused<T>(result: Result<T, Status>, case: &str) -> (Code, String) {
    let Err(status) = result else { panic!("case: {case}: not refused") };
    (status.code(), reason(&status))
}

fn compared(diagnosis: &Diagnosis) -> Option<Timepoint> {
    let source = Some(Source::DiagnosisId(diagnosis.diagnosis_id.clone()));
    Some(Timepoint { source, ..Timepoint::default() })
}

#[tokio::test]
async fn a_hospital_reaches_nothing_of_another() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = start(db).await?;
        let issuer = Issuer::start()?;
        let replica = harness.replica_for(issuer.access().await?).await?;
        let channel = Endpoint::from_shared(replica.endpoint.clone())?.connect().await?;
        let [as_a, as_b] = [issuer.caller(A, "user/*.cruds")?, issuer.caller(B, "user/*.cruds")?];
        let mut a = DiagnosisServiceClient::with_interceptor(channel.clone(), as_a);
        let mut b = DiagnosisServiceClient::with_interceptor(channel.clone(), as_b.clone());
        let mut b_assessments = ReferralServiceClient::with_interceptor(channel, as_b);

        // Both send one request at one time: neither watches the other's.
        let request = harness.patient();
        let (of_a, of_b) = tokio::join!(diagnose(&mut a, &request), diagnose(&mut b, &request));
        let (of_a, of_b) = (of_a?, of_b?);
        assert_ne!(of_a.diagnosis_id, of_b.diagnosis_id);
        let assessment_of =
            |one: &Diagnosis| one.assessment.clone().unwrap_or_default().assessment_id;
        assert_ne!(assessment_of(&of_a), assessment_of(&of_b));
        assert_eq!(diagnose(&mut a, &request).await?, of_a);
        assert_eq!(diagnose(&mut b, &request).await?, of_b);
        // With other content A's request id is free to B.
        let mut third = harness.patient();
        diagnose(&mut a, &third).await?;
        third.hospitals_max = 1;
        diagnose(&mut b, &third).await?;

        let absent = (Code::NotFound, "DIAGNOSIS_NOT_FOUND".to_owned());
        assert_eq!(refused(get(&mut b, &of_a.diagnosis_id).await, "get"), absent);
        let request = CompareStudiesRequest { earlier: compared(&of_a), later: compared(&of_b) };
        assert_eq!(refused(b.compare_studies(request).await, "compare"), absent);
        let request = GetAssessmentRequest { assessment_id: assessment_of(&of_a) };
        let found = b_assessments.get_assessment(request).await;
        let absent = (Code::NotFound, "ASSESSMENT_NOT_FOUND".to_owned());
        assert_eq!(refused(found, "assessment"), absent);
        assert_eq!(get(&mut a, &of_a.diagnosis_id).await?, of_a);
        drop((a, b, b_assessments));
        replica.stop().await?;
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_token_for_one_patient_reaches_no_other() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = start(db).await?;
        let issuer = Issuer::start()?;
        let replica = harness.replica_for(issuer.access().await?).await?;
        let channel = Endpoint::from_shared(replica.endpoint.clone())?.connect().await?;
        let doctor = issuer.caller(A, "user/*.cruds")?;
        let mut doctor = DiagnosisServiceClient::with_interceptor(channel.clone(), doctor);
        let (mine, other) = (harness.patient(), harness.patient());
        let of_other = diagnose(&mut doctor, &other).await?;
        let patient_id = {
            let reports = harness.world.reports.lock().unwrap();
            reports[&mine.symptom_report_id].patient_id.clone()
        };
        let bearer = issuer.patient(A, &patient_id)?;
        let mut patient = DiagnosisServiceClient::with_interceptor(channel.clone(), bearer.clone());
        let denied = (Code::PermissionDenied, "OTHER_PATIENT".to_owned());
        assert_eq!(refused(get(&mut patient, &of_other.diagnosis_id).await, "get"), denied);
        // A fresh one, and one that is in the store.
        let fresh = DiagnoseRequest { request_id: Uuid::now_v7().to_string(), ..other.clone() };
        assert_eq!(refused(diagnose(&mut patient, &fresh).await, "diagnose"), denied);
        assert_eq!(refused(diagnose(&mut patient, &other).await, "repeat"), denied);
        let mut assessments = ReferralServiceClient::with_interceptor(channel, bearer);
        let assessment_id = of_other.assessment.clone().unwrap_or_default().assessment_id;
        let found = assessments.get_assessment(GetAssessmentRequest { assessment_id }).await;
        assert_eq!(refused(found, "assessment"), denied);
        let assess = neurotriage_proto::referral::v1::AssessRequest {
            request_id: Uuid::now_v7().to_string(),
            symptom_report_id: other.symptom_report_id.clone(),
            segmentation_id: of_other.segmentation_id.clone(),
            hospitals_max: 1,
        };
        assert_eq!(refused(assessments.assess(assess).await, "assess"), denied);

        let of_mine = diagnose(&mut patient, &mine).await?;
        assert_eq!(get(&mut patient, &of_mine.diagnosis_id).await?, of_mine);
        drop((doctor, patient, assessments));
        replica.stop().await?;
        harness.stop().await?;
    }
    Ok(())
}
