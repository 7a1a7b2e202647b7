//! Times the search for hospitals and the ranking among 20,000. Called by `cargo xtask bench
//! hospitals`.
//!
//! Beside the index stands what one would write without it: the distance of every hospital, sorted. A
//! call is one over a socket of this machine, against the service with SQLite.

#![allow(clippy::print_stdout, reason = "a table for people")]
#![allow(clippy::unwrap_used, reason = "a program for developers: it may stop at any error")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use neurotriage_proto::{
    records::v1 as records,
    referral::v1::{
        SearchHospitalsRequest, hospital_directory_service_client::HospitalDirectoryServiceClient,
    },
};
use neurotriage_referral::{
    Dependencies, Events,
    diagnosis::DiagnosisLimits,
    directory::{DirectoryStore as _, Search, Snapshot, Written, nearest},
    evidence::Urgency,
    hospital::{Capability, Coordinates, Hospital},
    ranking::{Need, RankingRules, rank},
    store::{Ledger, SqlReferralStore},
};
use neurotriage_sealing::{KeyId, Keyring};
use neurotriage_service_kit::{access::Access, client};
use neurotriage_testkit::TestDb;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot};

const HOSPITALS: usize = 20_000;
const QUERIES: usize = 500;
const FOUND: u32 = 10;

fn main() {
    let mut random = ChaCha8Rng::seed_from_u64(20_261_126);
    println!(
        "{FOUND} nearest of {HOSPITALS} hospitals, {QUERIES} places, milliseconds; one thread"
    );
    println!(
        "hospitals     offering         p50    p99  every one, p50  as fast  call, p50  call, p99"
    );
    for (spread, area) in [("a country", Area::Country), ("the earth", Area::Earth)] {
        let hospitals: Vec<Hospital> =
            (0..HOSPITALS).map(|number| hospital(&mut random, number, area)).collect();
        let places: Vec<Coordinates> = (0..QUERIES).map(|_| place(&mut random, area)).collect();
        let snapshot = Snapshot::new(1, hospitals.clone());
        let runtime = Runtime::new().unwrap();
        let served = runtime.block_on(Served::start(hospitals));
        for (offering, capabilities) in [
            ("anything", vec![]),
            ("neurosurgery", vec![Capability::Neurosurgery]),
            ("protons", vec![Capability::ProtonTherapy]),
        ] {
            let search = |from| Search {
                from,
                within_km: None,
                capabilities: capabilities.clone(),
                only_accepting: true,
                language: None,
                hospitals_max: FOUND,
            };
            let index = times(&places, |from| nearest(&snapshot, &search(from)).unwrap().len());
            let scan = times(&places, |from| every_one(snapshot.hospitals(), &search(from)));
            let calls = runtime.block_on(served.times(&places, &capabilities));
            println!(
                "{spread:<13} {offering:<13} {:>6.3} {:>6.3} {:>15.3} {:>8.1} {:>10.3} {:>10.3}",
                index.p50,
                index.p99,
                scan.p50,
                scan.p50 / index.p50,
                calls.p50,
                calls.p99
            );
        }
        let rules = RankingRules::builtin().unwrap();
        let ranked = times(&places, |home| {
            let need = need(home);
            rank(&rules, &need, snapshot.hospitals(), 5).hospitals.len()
        });
        println!("{spread:<13} ranked        {:>6.3} {:>6.3}", ranked.p50, ranked.p99);
        runtime.block_on(served.stop());
    }
}

#[derive(Clone, Copy)]
enum Area {
    /// Five degrees by four.
    Country,
    Earth,
}

fn place(random: &mut ChaCha8Rng, area: Area) -> Coordinates {
    let (u, v): (f64, f64) = (random.random(), random.random());
    let (latitude, longitude) = match area {
        Area::Country => (33.0 + 5.0 * u, 126.0 + 4.0 * v),
        Area::Earth => ((2.0 * u - 1.0).asin().to_degrees(), 360.0 * v - 180.0),
    };
    Coordinates::from_degrees(latitude, longitude).unwrap()
}

fn hospital(random: &mut ChaCha8Rng, number: usize, area: Area) -> Hospital {
    let mut capabilities = Vec::new();
    for (capability, share) in [
        (Capability::Neurosurgery, 0.3),
        (Capability::AwakeMapping, 0.05),
        (Capability::ProtonTherapy, 0.005),
    ] {
        if random.random::<f64>() < share {
            capabilities.push(capability);
        }
    }
    Hospital {
        hospital_id: format!("made-{number:05}").parse().unwrap(),
        name: format!("Made hospital {number} (fictional)"),
        city: "Sampleville".to_owned(),
        location: place(random, area),
        capabilities,
        capacity: random.random(),
        accepts_referrals: random.random::<f64>() < 0.8,
        identifiers: Vec::new(),
        languages: vec!["ko".to_owned()],
        beds_free: None,
    }
}

fn need(home: Coordinates) -> Need {
    Need {
        site: "temporal_left".parse().ok(),
        lesions: Vec::new(),
        language_left: 0.95,
        urgency: Urgency::Routine,
        is_child: false,
        has_seizures: false,
        has_visual_signs: false,
        home: Some(home),
    }
}

/// What one would write without an index.
fn every_one(hospitals: &[Hospital], search: &Search) -> usize {
    let mut found: Vec<(f64, &Hospital)> = hospitals
        .iter()
        .filter(|hospital| {
            hospital.accepts_referrals
                && search.capabilities.iter().all(|&capability| hospital.offers(capability))
        })
        .map(|hospital| (search.from.distance_km(hospital.location), hospital))
        .collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found.truncate(usize::try_from(search.hospitals_max).unwrap());
    found.len()
}

struct Quantiles {
    p50: f64,
    p99: f64,
}

fn quantiles(mut times: Vec<Duration>) -> Quantiles {
    times.sort();
    let at = |share: f64| {
        let place = (times.len() as f64 * share) as usize;
        1_000.0 * times[place.min(times.len() - 1)].as_secs_f64()
    };
    Quantiles { p50: at(0.5), p99: at(0.99) }
}

fn times(places: &[Coordinates], work: impl Fn(Coordinates) -> usize) -> Quantiles {
    let timed = places.iter().map(|&place| {
        let start = Instant::now();
        black_box(work(black_box(place)));
        start.elapsed()
    });
    quantiles(timed.collect())
}

/// The service on a socket.
struct Served {
    client: HospitalDirectoryServiceClient<tonic::transport::Channel>,
    stop: oneshot::Sender<()>,
    server: tokio::task::JoinHandle<anyhow::Result<()>>,
    db: TestDb,
}

impl Served {
    async fn start(hospitals: Vec<Hospital>) -> Self {
        let db = TestDb::sqlite::<neurotriage_migrations::referral::Migrator>().await.unwrap();
        let keyring =
            Keyring::parse(&Keyring::generate(&KeyId::parse("bench").unwrap()).unwrap()).unwrap();
        let store = SqlReferralStore::new(Ledger::new(db.db.clone(), &keyring).unwrap());
        let revision = store.snapshot().await.unwrap().revision;
        assert!(matches!(store.write(revision, hospitals).await.unwrap(), Written::At(_)));
        let nobody = client::channel("http://127.0.0.1:9").unwrap();
        let dependencies = Dependencies {
            access: Access::development(([127, 0, 0, 1], 0).into()).unwrap(),
            db: db.db.clone(),
            keyring,
            records: nobody.clone(),
            segmentation: nobody.clone(),
            ingestion: nobody,
            ranking: RankingRules::builtin().unwrap(),
            diagnoses: DiagnosisLimits::default(),
            events: Events::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(neurotriage_referral::run(
            listener,
            dependencies,
            Duration::from_secs(5),
            async move {
                let _ = stopped.await;
            },
        ));
        let client = HospitalDirectoryServiceClient::connect(format!("http://{address}")).await;
        Self { client: client.unwrap(), stop, server, db }
    }

    async fn times(&self, places: &[Coordinates], capabilities: &[Capability]) -> Quantiles {
        let mut client = self.client.clone();
        let mut times = Vec::with_capacity(places.len());
        for place in places {
            let request = SearchHospitalsRequest {
                from: Some(records::Coordinates {
                    latitude_degrees: place.latitude_degrees(),
                    longitude_degrees: place.longitude_degrees(),
                }),
                capabilities: capabilities.iter().map(|name| name.as_str().to_owned()).collect(),
                only_accepting: true,
                hospitals_max: FOUND,
                ..Default::default()
            };
            let start = Instant::now();
            black_box(client.search_hospitals(request).await.unwrap());
            times.push(start.elapsed());
        }
        quantiles(times)
    }

    async fn stop(self) {
        drop(self.client);
        let _ = self.stop.send(());
        self.server.await.unwrap().unwrap();
        self.db.drop().await.unwrap();
    }
}
