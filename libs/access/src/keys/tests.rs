use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::{sync::Semaphore, time::advance};

use super::*;

const TIMES: KeyTimes = KeyTimes {
    refresh_after: Duration::from_secs(300),
    stale_max: Duration::from_secs(3600),
    attempt_gap: Duration::from_secs(10),
    fetch_timeout: Duration::from_secs(5),
};

/// An issuer whose answer can be changed and held back.
#[derive(Debug)]
struct Issuer {
    /// Ids of its keys; `None` is an answer that is no document.
    key_ids: Mutex<Option<Vec<&'static str>>>,
    fetches: AtomicUsize,
    /// A fetch waits for a permit of it.
    open: Semaphore,
}

impl Issuer {
    fn with(key_ids: &[&'static str]) -> Arc<Self> {
        Arc::new(Self {
            key_ids: Mutex::new(Some(key_ids.to_vec())),
            fetches: AtomicUsize::new(0),
            open: Semaphore::new(1000),
        })
    }

    fn set(&self, key_ids: Option<&[&'static str]>) {
        *self.key_ids.lock().unwrap() = key_ids.map(<[_]>::to_vec);
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

impl FetchDocument for Issuer {
    fn fetch<'a>(
        &'a self,
        url: &'a str,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Vec<u8>, FetchError>> {
        assert_eq!((url, bytes_max), ("https://issuer.example/keys", DOCUMENT_BYTES_MAX));
        Box::pin(async move {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            self.open.acquire().await?.forget();
            let key_ids = self.key_ids.lock().unwrap().clone();
            Ok(key_ids.map_or_else(|| b"<html>busy</html>".to_vec(), |ids| document(&ids)))
        })
    }
}

fn document(key_ids: &[&str]) -> Vec<u8> {
    // The zero key: these tests find keys and check nothing with them.
    let x = "A".repeat(43);
    let key = |id: &&str| json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": x});
    json!({"keys": key_ids.iter().map(key).collect::<Vec<_>>()}).to_string().into_bytes()
}

fn keys_of(issuer: &Arc<Issuer>) -> Keys {
    let fetcher: Arc<dyn FetchDocument> = Arc::<Issuer>::clone(issuer);
    Keys::new(KeySource::Url("https://issuer.example/keys".to_owned(), fetcher), TIMES)
}

async fn find(keys: &Keys, key_id: &str) -> Result<(), AccessError> {
    keys.find(Some(key_id), SignatureAlgorithm::EdDsa).await.map(drop)
}

/// Lets tasks beside the test run until nothing is left to do.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_known_key_asks_nobody() {
    let issuer = Issuer::with(&["a"]);
    let keys = keys_of(&issuer);
    keys.read().await.unwrap();
    for _ in 0..5 {
        find(&keys, "a").await.unwrap();
    }
    let other = keys.find(Some("a"), SignatureAlgorithm::Rs256).await;
    assert_eq!(other.unwrap_err(), AccessError::AlgorithmRefused);
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_fetched_when_its_first_token_comes() {
    let issuer = Issuer::with(&["a"]);
    let keys = keys_of(&issuer);
    keys.read().await.unwrap();
    advance(TIMES.attempt_gap).await;
    issuer.set(Some(&["a", "b"]));
    find(&keys, "b").await.unwrap();
    find(&keys, "a").await.unwrap();
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn made_up_key_ids_cause_one_fetch_in_a_while() {
    let issuer = Issuer::with(&["a"]);
    let keys = keys_of(&issuer);
    keys.read().await.unwrap();
    for id in ["x", "y", "z"] {
        assert_eq!(find(&keys, id).await, Err(AccessError::KeyUnknown));
    }
    assert_eq!(issuer.fetches(), 1, "the gap after the first reading");
    advance(TIMES.attempt_gap).await;
    for id in ["x", "y", "z"] {
        assert_eq!(find(&keys, id).await, Err(AccessError::KeyUnknown));
    }
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_a_key_share_one_fetch() {
    let issuer = Issuer::with(&["a"]);
    let keys = keys_of(&issuer);
    keys.read().await.unwrap();
    advance(TIMES.attempt_gap).await;
    issuer.set(Some(&["a", "b"]));
    issuer.open.forget_permits(1000);
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let keys = keys.clone();
            tokio::spawn(async move { find(&keys, "b").await })
        })
        .collect();
    settle().await;
    // Known keys do not wait with them.
    find(&keys, "a").await.unwrap();
    issuer.open.add_permits(1000);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_does_not_end_the_fetch() {
    let issuer = Issuer::with(&["a"]);
    let keys = keys_of(&issuer);
    keys.read().await.unwrap();
    advance(TIMES.attempt_gap).await;
    issuer.set(Some(&["a", "b"]));
    issuer.open.forget_permits(1000);
    let call = {
        let keys = keys.clone();
        tokio::spawn(async move { find(&keys, "b").await })
    };
    settle().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    issuer.open.add_permits(1000);
    settle().await;
    find(&keys, "b").await.unwrap();
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn old_keys_are_fetched_again_beside_the_calls() {
    let issuer = Issuer::with(&["a"]);
    let keys = keys_of(&issuer);
    keys.read().await.unwrap();
    advance(TIMES.refresh_after + Duration::from_secs(1)).await;
    issuer.set(Some(&["b"]));
    find(&keys, "a").await.expect("goes on with what is there");
    settle().await;
    assert_eq!(issuer.fetches(), 2);
    find(&keys, "b").await.unwrap();
    assert_eq!(find(&keys, "a").await, Err(AccessError::KeyUnknown), "it was taken back");
}

#[tokio::test(start_paused = true)]
async fn keys_that_nobody_used_for_long_are_read_before_they_are_used() {
    let issuer = Issuer::with(&["a"]);
    let keys = keys_of(&issuer);
    keys.read().await.unwrap();
    issuer.set(Some(&["b"]));
    advance(2 * TIMES.refresh_after + Duration::from_secs(1)).await;
    assert_eq!(find(&keys, "a").await, Err(AccessError::KeyUnknown), "it was taken back");
    find(&keys, "b").await.unwrap();
    assert_eq!(issuer.fetches(), 2);

    // With the issuer away the first call finds out; none waits after it.
    issuer.set(None);
    advance(2 * TIMES.refresh_after + Duration::from_secs(1)).await;
    find(&keys, "b").await.unwrap();
    issuer.open.forget_permits(1000);
    advance(TIMES.attempt_gap).await;
    find(&keys, "b").await.unwrap();
    settle().await;
    assert_eq!(issuer.fetches(), 4);
}

#[tokio::test(start_paused = true)]
async fn keys_outlive_failed_fetches_up_to_the_limit() {
    let issuer = Issuer::with(&["a"]);
    let keys = keys_of(&issuer);
    keys.read().await.unwrap();
    issuer.set(None);
    let mut age = Duration::ZERO;
    while age + TIMES.refresh_after <= TIMES.stale_max {
        advance(TIMES.refresh_after).await;
        age += TIMES.refresh_after;
        find(&keys, "a").await.unwrap();
        settle().await;
    }
    assert!(issuer.fetches() > 5, "it is tried again and again: {}", issuer.fetches());
    assert_eq!(find(&keys, "new").await, Err(AccessError::KeysUnavailable));
    advance(TIMES.attempt_gap).await;
    assert_eq!(find(&keys, "a").await, Err(AccessError::KeysUnavailable));

    advance(TIMES.attempt_gap).await;
    issuer.set(Some(&["a"]));
    find(&keys, "a").await.expect("the issuer is back");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_away_at_the_start_may_come_later() {
    let issuer = Issuer::with(&["a"]);
    issuer.set(None);
    let keys = keys_of(&issuer);
    assert!(matches!(keys.read().await, Err(ReadError::Document(_))));
    assert_eq!(find(&keys, "a").await, Err(AccessError::KeysUnavailable));
    assert_eq!(issuer.fetches(), 1);
    issuer.set(Some(&["a"]));
    advance(TIMES.attempt_gap).await;
    find(&keys, "a").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_takes_back_every_key_is_believed() {
    let issuer = Issuer::with(&["a"]);
    let keys = keys_of(&issuer);
    keys.read().await.unwrap();
    issuer.set(Some(&[]));
    advance(TIMES.refresh_after + Duration::from_secs(1)).await;
    find(&keys, "a").await.unwrap();
    settle().await;
    assert_eq!(find(&keys, "a").await, Err(AccessError::KeyUnknown));
    assert!(matches!(keys_of(&issuer).read().await, Err(ReadError::Empty)));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_hangs_is_given_up() {
    let issuer = Issuer::with(&["a"]);
    issuer.open.forget_permits(1000);
    let keys = keys_of(&issuer);
    let error = keys.read().await.unwrap_err();
    assert!(matches!(error, ReadError::Fetch(_)), "{error:?}");
}

#[tokio::test]
async fn a_file_is_read_again_when_it_was_exchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    std::fs::write(&path, document(&["a"])).unwrap();
    let times = KeyTimes { attempt_gap: Duration::ZERO, ..TIMES };
    let keys = Keys::new(KeySource::File(path.clone()), times);
    keys.read().await.unwrap();
    std::fs::write(&path, document(&["b"])).unwrap();
    find(&keys, "b").await.unwrap();
    assert_eq!(find(&keys, "a").await, Err(AccessError::KeyUnknown));

    std::fs::write(&path, vec![b' '; DOCUMENT_BYTES_MAX + 1]).unwrap();
    assert!(matches!(keys.read().await, Err(ReadError::Document(DocumentError::TooLarge))));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(keys.read().await, Err(ReadError::Fetch(_))));
}
