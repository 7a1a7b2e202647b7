//! What people wrote about patients lies nowhere readable, and is read by those who may.

use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::referral::v1::{ListReferralsRequest, ReferralMove};
use neurotriage_testkit::databases;

use super::{
    harness::{HOSPITAL, NOT_UNDERSTOOD, SENDER, move_of, start_with},
    stored,
};
use crate::{lifecycle::receiver::Receiver, support::keys::keyring};

/// What a hospital wrote, with what looks like a sealed text at its beginning.
pub(crate) const REASON: &str = "v1.s1.mark-reason 김하나, no bed free";

#[tokio::test]
async fn texts_are_sealed_and_read_by_both_hospitals() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let endpoint = Receiver::start(Vec::new()).await?;
        let service = start_with(db, keyring(), endpoint.events(20)?).await?;
        let case = service.case();
        let (mut sender, mut receiver) = (service.doctor(SENDER)?, service.doctor(HOSPITAL)?);
        let diagnosed = sender.diagnose(&case.diagnose()).await?;
        let sent = sender.sent(&case).await?;
        let decline = move_of(&sent, ReferralMove::Decline, REASON);
        let declined = receiver.make(&decline).await?;
        assert_eq!(declined.reason, REASON);
        let withdrawn = sender.sent(&case).await?;
        let cancelled = sender.make(&move_of(&withdrawn, ReferralMove::Cancel, REASON)).await?;

        // What was made is read as it was made, in lists and when it is repeated too.
        assert_eq!(receiver.make(&decline).await?, declined);
        for clients in [&mut sender, &mut receiver] {
            assert_eq!(clients.referral(&sent.referral_id).await?, declined);
            let request = ListReferralsRequest {
                patient_id: case.patient_id.clone(),
                ..ListReferralsRequest::default()
            };
            let listed = clients.referrals.list_referrals(request).await?.into_inner().referrals;
            assert_eq!(listed, [cancelled.clone(), declined.clone()]);
            assert_eq!(clients.events(&sent.referral_id).await?.len(), 3);
        }
        let assessment = diagnosed.assessment.unwrap_or_default();
        assert_eq!(assessment.not_understood, [NOT_UNDERSTOOD]);
        assert_eq!(sender.assessment(&assessment.assessment_id).await?, assessment);

        let dump = stored::dump(&service.db.db).await?;
        for mark in ["mark-", "김하나", "no bed"] {
            assert!(!dump.contains(mark), "{mark} in {dump}");
        }
        // Of each referral two events concern the hospital.
        for received in endpoint.received(4).await? {
            assert!(!received.body.contains("mark"), "{}", received.body);
        }
        drop((sender, receiver));
        service.stop().await?;
    }
    Ok(())
}
