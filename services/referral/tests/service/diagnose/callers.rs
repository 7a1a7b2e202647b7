//! Whose token goes to the other services, which ask for one here.

use std::collections::BTreeSet;

use neurotriage_testkit::issuer::{Issuer, claims};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{
    harness::{begin, begin_as, read, sqlite_behind, until_segmenting},
    reason,
};

/// What a diagnosis needs in all.
const SCOPES: [&str; 5] = [
    "user/Assessment.cr",
    "user/Patient.r",
    "user/Segmentation.cr",
    "user/Study.r",
    "user/SymptomReport.r",
];

#[tokio::test]
async fn every_call_to_another_service_carries_the_callers_token() -> anyhow::Result<()> {
    let issuer = Issuer::start()?;
    let harness = sqlite_behind(&issuer).await?;
    let request = harness.patient();
    let token = issuer.token(&SCOPES.join(" "))?;
    read(begin_as(&harness.client, &request, &token).await?).await?;
    let tokens = harness.world.tokens.lock().unwrap().clone();
    let called: BTreeSet<&str> = tokens.iter().map(|(method, _)| *method).collect();
    for method in ["GetPatient", "GetSegmentation", "GetStudy", "GetSymptomReport", "SegmentStudy"]
    {
        assert!(called.contains(method), "{method} is not in {called:?}");
    }
    for (method, sent) in tokens {
        assert_eq!(sent, format!("Bearer {token}"), "{method}");
    }
    harness.stop().await
}

#[tokio::test]
async fn a_token_that_lacks_a_scope_is_refused_by_the_service_that_needs_it() -> anyhow::Result<()>
{
    let issuer = Issuer::start()?;
    let harness = sqlite_behind(&issuer).await?;
    let request = harness.patient();
    // (scope that is left out, who refuses)
    let table = [
        ("user/Assessment.cr", None),
        ("user/Patient.r", Some("records")),
        ("user/Segmentation.cr", Some("segmentation")),
        ("user/Study.r", Some("ingestion")),
        ("user/SymptomReport.r", Some("records")),
    ];
    for (left_out, upstream) in table {
        let scopes: Vec<&str> = SCOPES.into_iter().filter(|scope| *scope != left_out).collect();
        let token = issuer.token(&scopes.join(" "))?;
        let status = match begin_as(&harness.client, &request, &token).await {
            Ok(events) => read(events).await.expect_err(left_out),
            Err(status) => status,
        };
        assert_eq!(status.code(), Code::PermissionDenied, "without {left_out}: {status:?}");
        let info = status.get_details_error_info().expect("a reason");
        let Some(upstream) = upstream else {
            assert_eq!(info.reason, "SCOPE_MISSING", "without {left_out}");
            continue;
        };
        assert_eq!(info.reason, "UPSTREAM_PERMISSION_DENIED", "without {left_out}");
        assert_eq!(info.metadata["upstream"], upstream, "without {left_out}");
        assert_eq!(info.metadata["upstreamReason"], "SCOPE_MISSING", "without {left_out}");
        let resource = left_out.split(['/', '.']).nth(1).unwrap();
        assert!(status.message().contains(resource), "{}", status.message());
    }
    harness.stop().await
}

#[tokio::test]
async fn who_takes_over_works_with_a_token_of_its_own() -> anyhow::Result<()> {
    let issuer = Issuer::start()?;
    let harness = sqlite_behind(&issuer).await?;
    let request = harness.patient();
    let token = |subject: &str| -> anyhow::Result<String> {
        let mut claims = claims(&SCOPES.join(" "))?;
        claims["sub"] = subject.into();
        issuer.sign(&claims)
    };
    let (one, two) = (token("one")?, token("two")?);
    harness.hold();
    let mut first = begin_as(&harness.client, &request, &one).await?;
    until_segmenting(&mut first).await?;

    // Nobody watches who may not: neither without a token nor with one that does not allow it.
    let bare = begin(&harness.client, &request).await.expect_err("no token");
    assert_eq!((bare.code(), reason(&bare).as_str()), (Code::Unauthenticated, "TOKEN_MISSING"));
    let poor = issuer.token("user/Study.r user/Assessment.r")?;
    let poor = begin_as(&harness.client, &request, &poor).await.expect_err("no scope");
    assert_eq!((poor.code(), reason(&poor).as_str()), (Code::PermissionDenied, "SCOPE_MISSING"));

    let mut second = begin_as(&harness.client, &request, &two).await?;
    until_segmenting(&mut second).await?;
    let used = || {
        let tokens = harness.world.tokens.lock().unwrap();
        let segmented = tokens.iter().filter(|(method, _)| *method == "SegmentStudy");
        segmented.map(|(_, token)| token.clone()).collect::<Vec<_>>()
    };
    assert_eq!(used(), [format!("Bearer {one}")], "who watches asks nobody");
    drop(first);
    harness.dropped(1).await?;
    harness.release();
    read(second).await?;
    assert_eq!(used(), [format!("Bearer {one}"), format!("Bearer {two}")]);
    harness.stop().await
}
