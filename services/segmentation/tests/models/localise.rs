//! Localising on demand, through the service's socket.

use neurotriage_domain::StudyId;
use neurotriage_imaging::nifti::{write_image_gz, write_mask_gz};
use neurotriage_phantom::{Phantom, PhantomSpec};
use neurotriage_proto::segmentation::v1::{
    FilePiece, Localisation, LocaliseRequest, PlacedBy, Space, localise_request::Content,
};
use neurotriage_segmentation::placement::RegistrationRule;
use neurotriage_testkit::databases;
use tonic::Status;

use super::harness::{Files, Ground, Running, reason};

async fn localise(running: &mut Running, contents: Vec<Content>) -> Result<Localisation, Status> {
    let messages = contents.into_iter().map(|content| LocaliseRequest { content: Some(content) });
    let messages: Vec<LocaliseRequest> = messages.collect();
    let answer = running.segmentation.localise(tokio_stream::iter(messages)).await?.into_inner();
    answer.localisation.ok_or_else(|| Status::internal("no localisation"))
}

/// A file in pieces, the name on the first.
fn pieces(name: &str, bytes: &[u8], content: impl Fn(FilePiece) -> Content) -> Vec<Content> {
    let mut pieces: Vec<FilePiece> = bytes
        .chunks(100_000)
        .map(|data| FilePiece { file_name: String::new(), data: data.to_vec() })
        .collect();
    pieces[0].file_name = name.to_owned();
    pieces.into_iter().map(content).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mask_is_localised_alone_and_better_with_its_image() -> anyhow::Result<()> {
    let spec = PhantomSpec { centre_mm: Some([-155.0, 150.0, 95.0]), ..PhantomSpec::new(5) };
    let case = Phantom::generate(&spec)?;
    let mask = pieces("mask.nii.gz", &write_mask_gz(&case.truth)?, Content::Mask);
    // T1 is the second sequence.
    let image = pieces("t1.nii.gz", &write_image_gz(&case.images[1])?, Content::Image);
    for db in databases::<neurotriage_migrations::segmentation::Migrator>().await? {
        let mut ground = Ground::new().await?;
        ground.registration = RegistrationRule::Always;
        let mut running = ground.serve(&db.service, Files::tiny("first", 1).start()).await?;
        let alone = localise(&mut running, mask.clone()).await?;
        assert_eq!(alone.space(), Space::Sri24);
        assert_eq!(alone.lesions[0].main_region, "frontal_left");
        assert_eq!(alone.placement.unwrap_or_default().placed_by(), PlacedBy::Header);
        let both = [mask.clone(), image.clone()].concat();
        let placed = localise(&mut running, both).await?;
        assert_eq!(placed.lesions[0].main_region, "frontal_left");
        let placement = placed.placement.unwrap_or_default();
        assert_eq!(placement.placed_by(), PlacedBy::Registration);
        assert!(placement.moved_mm.is_some_and(|mm| mm < 15.0), "{placement:?}");
        assert!(!placed.lesions[0].eloquent.is_empty());
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_too_many_is_refused_and_each_frees_its_place() -> anyhow::Result<()> {
    let case = Phantom::generate(&PhantomSpec::new(5))?;
    let mask = pieces("mask.nii.gz", &write_mask_gz(&case.truth)?, Content::Mask);
    let broken = pieces("mask.nii.gz", b"no mask", Content::Mask);
    for db in databases::<neurotriage_migrations::segmentation::Migrator>().await? {
        let mut ground = Ground::new().await?;
        for uploads_max in [0, 1] {
            ground.uploads_max = uploads_max;
            let mut running = ground.serve(&db.service, Files::tiny("first", 1).start()).await?;
            let mut answers = Vec::new();
            for contents in [&broken, &mask, &mask] {
                let answer = localise(&mut running, contents.clone()).await;
                answers.push(answer.map_err(|refused| reason(&refused)).map(|_| ()));
            }
            let expected: [Result<(), &str>; 3] = match uploads_max {
                0 => [Err("UPLOADS_BUSY"); 3],
                _ => [Err("INVALID_IMAGE"), Ok(()), Ok(())],
            };
            assert_eq!(answers, expected.map(|answer| answer.map_err(str::to_owned)));
            running.stop().await?;
        }
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mask_of_a_study_is_localised_once_it_is_segmented() -> anyhow::Result<()> {
    for db in databases::<neurotriage_migrations::segmentation::Migrator>().await? {
        let ground = Ground::new().await?;
        let mut running = ground.serve(&db.service, Files::tiny("first", 1).start()).await?;
        let study = StudyId::generate().to_string();
        let of_study = || vec![Content::StudyId(study.clone())];
        let refused = localise(&mut running, of_study()).await.expect_err("no mask yet");
        assert_eq!(reason(&refused), "STUDY_NOT_SEGMENTED");
        let stored = running.segment(&study).await?;
        let found = localise(&mut running, of_study()).await?;
        let stored = stored.localisation.unwrap_or_default();
        // What the network knew of its marking is not known of a mask.
        let mut lesions = stored.lesions;
        for lesion in &mut lesions {
            (lesion.uncertainty, lesion.mirror_spread, lesion.confidence) = (None, None, None);
        }
        assert_eq!(found.lesions, lesions);
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_localised_is_named() -> anyhow::Result<()> {
    for db in databases::<neurotriage_migrations::segmentation::Migrator>().await? {
        let ground = Ground::new().await?;
        let mut running = ground.serve(&db.service, Files::tiny("first", 1).start()).await?;
        let study = StudyId::generate().to_string();
        let piece =
            |name: &str, data: &[u8]| FilePiece { file_name: name.to_owned(), data: data.to_vec() };
        // (what is sent, reason, part of the message)
        let table = [
            (vec![], "INVALID_FIELDS", "invalid fields"),
            (vec![Content::StudyId("7".to_owned())], "INVALID_FIELDS", "invalid fields"),
            (
                vec![Content::StudyId(study.clone()), Content::StudyId(study.clone())],
                "INVALID_FIELDS",
                "invalid fields",
            ),
            (
                vec![
                    Content::StudyId(study.clone()),
                    Content::Mask(piece("mask.nii", b"x")),
                    Content::Image(piece("t1.nii", b"x")),
                ],
                "INVALID_IMAGE",
                "mask: ",
            ),
            (vec![Content::Image(piece("t1.nii", b"x"))], "INVALID_FIELDS", "invalid fields"),
            (vec![Content::Mask(piece("../mask.nii", b"x"))], "INVALID_FIELDS", "invalid fields"),
            (vec![Content::Mask(piece("page.nii.gz", b"<html>"))], "INVALID_IMAGE", "mask: "),
            (
                vec![Content::Mask(piece("big.nii", &vec![0; 1_048_577]))],
                "INVALID_FIELDS",
                "invalid fields",
            ),
        ];
        for (contents, expected, part) in table {
            let case = format!("{:?}", contents.len());
            let refused = localise(&mut running, contents).await.expect_err(&case);
            assert_eq!(reason(&refused), expected, "{refused:?}");
            assert!(refused.message().contains(part), "{part}: {refused:?}");
            assert!(!refused.message().contains(".nii"), "{refused:?}");
        }
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}
