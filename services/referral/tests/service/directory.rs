//! The directory of hospitals over a real socket, with a real database.

use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::{
    records::v1::Coordinates,
    referral::v1::{
        DirectoryForm, ExportHospitalsRequest, GetHospitalRequest, ImportHospitalsHeader,
        ImportHospitalsRequest, ImportHospitalsResponse, ImportMode, ListHospitalsRequest,
        SearchHospitalsRequest, hospital_directory_service_client::HospitalDirectoryServiceClient,
        import_hospitals_request::Content,
    },
};
use neurotriage_referral::{
    directory::{DirectoryStore as _, Written},
    hospital,
    store::SqlReferralStore,
};
use neurotriage_testkit::{TestDb, databases};
use sea_orm_migration::MigratorTrait as _;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::support::{self, Served, keys::ledger};

type Client = HospitalDirectoryServiceClient<Channel>;

struct Harness {
    client: Client,
    db: TestDb,
    served: Served,
}

async fn start(db: TestDb) -> anyhow::Result<Harness> {
    let served = support::serve(support::dependencies(db.service.clone(), None)?).await?;
    let client = Client::connect(served.endpoint.clone()).await?;
    Ok(Harness { client, db, served })
}

impl Harness {
    async fn stop(self) -> anyhow::Result<()> {
        drop(self.client);
        self.served.stop().await?;
        self.db.drop().await
    }

    async fn import(&mut self, file: File<'_>) -> Result<ImportHospitalsResponse, Status> {
        let header = ImportHospitalsHeader {
            form: file.form.into(),
            mode: file.mode.into(),
            dry_run: file.dry_run,
        };
        let mut contents = vec![Content::Header(header)];
        contents.extend(file.text.as_bytes().chunks(700).map(|part| Content::Piece(part.to_vec())));
        self.send(contents).await
    }

    async fn send(&mut self, contents: Vec<Content>) -> Result<ImportHospitalsResponse, Status> {
        let messages = contents
            .into_iter()
            .map(|content| ImportHospitalsRequest { content: Some(content) })
            .collect::<Vec<_>>();
        Ok(self.client.import_hospitals(tokio_stream::iter(messages)).await?.into_inner())
    }

    async fn export(&mut self, form: DirectoryForm) -> anyhow::Result<String> {
        let request = ExportHospitalsRequest { form: form.into() };
        let mut stream = self.client.export_hospitals(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(message) = stream.message().await? {
            bytes.extend(message.piece);
        }
        Ok(String::from_utf8(bytes)?)
    }

    async fn accepts(&mut self, hospital_id: &str) -> anyhow::Result<bool> {
        let request = GetHospitalRequest { hospital_id: hospital_id.to_owned() };
        let answer = self.client.get_hospital(request).await?.into_inner();
        Ok(answer.hospital.expect("a hospital").accepts_referrals)
    }
}

struct File<'a> {
    form: DirectoryForm,
    mode: ImportMode,
    dry_run: bool,
    text: &'a str,
}

fn csv(text: &str) -> File<'_> {
    File { form: DirectoryForm::Csv, mode: ImportMode::Merge, dry_run: false, text }
}

const HEADER: &str = "hospital_id,name,city,latitude_degrees,longitude_degrees,capabilities,capacity,\
accepts_referrals,languages\n";
const GOOD: &str =
    "example-1,Example One (fictional),Sampleville,37.6,127.1,neurosurgery;stroke,0.4,true,ko;en\n";
const BAD: &str = "example-2,Example Two (fictional),Sampleville,97.6,127.1,,0.4,true,\n";

#[tokio::test]
async fn hospitals_come_in_pages_by_id() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let mut ids = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListHospitalsRequest { page_size: 4, page_token };
            let page = harness.client.list_hospitals(request).await?.into_inner();
            assert!((1..=4).contains(&page.hospitals.len()));
            ids.extend(page.hospitals.into_iter().map(|hospital| hospital.hospital_id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let mut expected: Vec<String> =
            hospital::sample()?.iter().map(|hospital| hospital.hospital_id.to_string()).collect();
        expected.sort();
        assert_eq!(ids, expected);
        for (case, page_size, page_token) in [("size", 201, ""), ("token", 1, "No Token")] {
            let request = ListHospitalsRequest { page_size, page_token: page_token.to_owned() };
            let status = harness.client.list_hospitals(request).await.expect_err(case);
            assert_eq!(status.code(), Code::InvalidArgument, "case: {case}");
        }
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn only_an_empty_directory_is_filled() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let store = SqlReferralStore::new(ledger(&db.service));
        let sample = hospital::sample()?;
        assert_eq!(store.fill_empty_directory(&sample[..1]).await?, 1);
        assert_eq!(store.fill_empty_directory(&sample).await?, 0);
        let mut harness = start(db).await?;
        let page = harness.client.list_hospitals(ListHospitalsRequest::default()).await?;
        assert_eq!(page.into_inner().hospitals.len(), 1);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_file_is_taken_row_by_row_and_the_same_file_again_changes_nothing() -> anyhow::Result<()>
{
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let text = format!("{HEADER}{GOOD}{BAD}");
        let trial = harness.import(File { dry_run: true, ..csv(&text) }).await?;
        assert_eq!((trial.created, trial.refused_count, trial.written), (1, 1, false));
        let request = GetHospitalRequest { hospital_id: "example-1".to_owned() };
        let status = harness.client.get_hospital(request).await.expect_err("a trial");
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.get_details_error_info().expect("info").reason, "HOSPITAL_NOT_FOUND");

        let report = harness.import(csv(&text)).await?;
        assert_eq!((report.created, report.refused_count, report.written), (1, 1, true));
        assert_eq!(report.revision, trial.revision + 1);
        let refused = &report.refused[0];
        assert_eq!((refused.place.as_str(), refused.hospital_id.as_str()), ("line 3", "example-2"));
        assert_eq!(refused.field, "latitude_degrees");
        assert!(refused.problem.contains("-90 to 90"), "{}", refused.problem);

        let again = harness.import(csv(&text)).await?;
        assert_eq!((again.created, again.updated, again.unchanged), (0, 0, 1));
        assert_eq!(again.revision, report.revision);
        let closed = text.replacen("0.4,true", "0.4,false", 1);
        let changed = harness.import(csv(&closed)).await?;
        assert_eq!((changed.updated, changed.unchanged), (1, 0));
        assert!(!harness.accepts("example-1").await?);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_replacing_file_closes_the_others_unless_a_row_is_refused() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let text = format!("{HEADER}{GOOD}{BAD}");
        let held = harness.import(File { mode: ImportMode::Replace, ..csv(&text) }).await?;
        assert!(!held.written && held.closed > 0);
        assert!(harness.accepts("sample-a").await?);
        let text = format!("{HEADER}{GOOD}");
        let done = harness.import(File { mode: ImportMode::Replace, ..csv(&text) }).await?;
        assert!(done.written);
        assert_eq!((done.created, done.updated, done.closed), (1, 0, held.closed));
        assert!(!harness.accepts("sample-a").await?);
        assert!(harness.accepts("example-1").await?);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_exported_is_taken_back_as_it_was() -> anyhow::Result<()> {
    for form in [DirectoryForm::Csv, DirectoryForm::FhirBundle] {
        let databases = databases::<Migrator>().await?;
        for (db, fresh) in databases.into_iter().zip(self::databases::<Migrator>().await?) {
            let mut from = start(db).await?;
            let mut to = start(fresh).await?;
            let text = from.export(form).await?;
            let unchanged = to.import(File { form, ..csv(&text) }).await?;
            assert_eq!((unchanged.created, unchanged.updated, unchanged.refused_count), (0, 0, 0));
            assert_eq!(unchanged.unchanged, u32::try_from(hospital::sample()?.len())?);
            assert_eq!(to.export(form).await?, text);
            from.stop().await?;
            to.stop().await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_search_finds_the_nearest_that_fit() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        harness.import(csv(&format!("{HEADER}{GOOD}"))).await?;
        let seoul = Coordinates { latitude_degrees: 37.57, longitude_degrees: 126.98 };
        let request = SearchHospitalsRequest {
            from: Some(seoul),
            capabilities: vec!["stroke".to_owned()],
            only_accepting: true,
            ..Default::default()
        };
        let found = harness.client.search_hospitals(request.clone()).await?.into_inner().hospitals;
        assert!(found.len() >= 2);
        assert!(found.windows(2).all(|pair| pair[0].distance_km <= pair[1].distance_km));
        assert!(found.iter().all(|found| {
            let hospital = found.hospital.as_ref().expect("a hospital");
            hospital.accepts_referrals && hospital.capabilities.contains(&"stroke".to_owned())
        }));
        let english = SearchHospitalsRequest {
            language: "en".to_owned(),
            within_km: Some(12.0),
            hospitals_max: 1,
            ..request.clone()
        };
        let found = harness.client.search_hospitals(english).await?.into_inner().hospitals;
        assert_eq!(found.len(), 1);
        assert!(found[0].distance_km <= 12.0);

        let place = |latitude_degrees| Some(Coordinates { latitude_degrees, ..seoul });
        let table = [
            ("no place", SearchHospitalsRequest { from: None, ..request.clone() }, "from"),
            ("off earth", SearchHospitalsRequest { from: place(91.0), ..request.clone() }, "from"),
            (
                "radius",
                SearchHospitalsRequest { within_km: Some(f64::NAN), ..request.clone() },
                "within_km",
            ),
            (
                "capability",
                SearchHospitalsRequest {
                    capabilities: vec!["magic".to_owned()],
                    ..request.clone()
                },
                "capabilities",
            ),
            ("many", SearchHospitalsRequest { hospitals_max: 201, ..request }, "hospitals_max"),
        ];
        for (case, request, field) in table {
            let status = harness.client.search_hospitals(request).await.expect_err(case);
            assert_eq!(status.code(), Code::InvalidArgument, "case: {case}");
            let details = status.get_details_bad_request().expect(case);
            assert_eq!(details.field_violations[0].field, field, "case: {case}");
        }
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_no_directory_is_refused_as_a_whole() -> anyhow::Result<()> {
    let db = TestDb::sqlite::<Migrator>().await?;
    let mut harness = start(db).await?;
    let header = |form: DirectoryForm| {
        Content::Header(ImportHospitalsHeader { form: form.into(), ..Default::default() })
    };
    let piece = |text: &str| Content::Piece(text.as_bytes().to_vec());
    let csv_header = || header(DirectoryForm::Csv);
    // (what the row is for, messages, reason, part of the message)
    let table = [
        ("nothing", vec![], "INVALID_FIELDS", "must carry the header"),
        ("no header", vec![piece(HEADER)], "INVALID_FIELDS", "must carry the header"),
        ("twice", vec![csv_header(), csv_header()], "INVALID_FIELDS", "send the header once"),
        (
            "no form",
            vec![header(DirectoryForm::Unspecified), piece(HEADER)],
            "INVALID_FIELDS",
            "forms of this version",
        ),
        ("empty file", vec![csv_header()], "CSV_UNREADABLE", "file is empty"),
        (
            "column",
            vec![csv_header(), piece("name\n")],
            "CSV_UNREADABLE",
            "`hospital_id` is missing",
        ),
        (
            "no bundle",
            vec![header(DirectoryForm::FhirBundle), piece("{}")],
            "BUNDLE_UNREADABLE",
            "send a Bundle",
        ),
        (
            "piece",
            vec![csv_header(), Content::Piece(vec![b'x'; 1024 * 1024 + 1])],
            "INVALID_FIELDS",
            "1048576 bytes in one message",
        ),
    ];
    for (case, contents, reason, message) in table {
        let status = harness.send(contents).await.expect_err(case);
        assert_eq!(status.code(), Code::InvalidArgument, "case: {case}");
        assert_eq!(status.get_details_error_info().expect(case).reason, reason, "case: {case}");
        assert!(status.message().contains(message), "case: {case}: {}", status.message());
    }
    harness.stop().await
}

#[tokio::test]
async fn a_write_for_an_older_revision_is_refused_and_every_replica_sees_the_newest()
-> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let sample = hospital::sample()?;
        let (one, other) = (
            SqlReferralStore::new(ledger(&db.service)),
            SqlReferralStore::new(ledger(&db.service)),
        );
        let empty = one.snapshot().await?;
        assert_eq!((empty.revision, other.snapshot().await?.hospitals().len()), (0, 0));
        assert_eq!(one.write(0, sample[..2].to_vec()).await?, Written::At(1));
        assert_eq!(other.write(0, sample[2..].to_vec()).await?, Written::Stale);
        let seen = other.snapshot().await?;
        assert_eq!((seen.revision, seen.hospitals()), (1, &sample[..2]));
        drop((one, other));
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn after_a_write_the_directory_is_read_once_for_all_who_wait() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let (one, other) = (
            SqlReferralStore::new(ledger(&db.service)),
            SqlReferralStore::new(ledger(&db.service)),
        );
        one.write(0, hospital::sample()?).await?;
        let waiting: Vec<_> = (0..16)
            .map(|_| {
                let store = other.clone();
                tokio::spawn(async move { store.snapshot().await })
            })
            .collect();
        let mut seen = Vec::new();
        for task in waiting {
            seen.push(task.await??);
        }
        // One copy in memory: every other one would lie elsewhere.
        let first = seen[0].hospitals().as_ptr();
        assert!(seen.iter().all(|snapshot| snapshot.hospitals().as_ptr() == first));
        drop((one, other));
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_schema_goes_down_and_up_again() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        // One connection, as the program has.
        let alone = db.owner().await?;
        Migrator::down(&alone, None).await?;
        Migrator::up(&alone, None).await?;
        let store = SqlReferralStore::new(ledger(&alone));
        assert_eq!(store.snapshot().await?.revision, 0);
        drop(store);
        db.drop().await?;
    }
    Ok(())
}
