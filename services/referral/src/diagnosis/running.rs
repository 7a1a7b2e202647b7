//! Which diagnoses run in this process, and whose turn it is to work on each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use neurotriage_domain::HospitalId;
use tokio::sync::{MutexGuard, watch};
use uuid::Uuid;

use super::Progress;

/// The diagnoses that run, by hospital and request: no call joins that of another hospital. An entry lives as long as somebody sits at it.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// Never locked across an await.
    entries: Arc<Mutex<HashMap<Key, Weak<Entry>>>>,
}

/// Whose request, and which.
type Key = (HospitalId, Uuid);

#[derive(Debug)]
struct Entry {
    /// Held by the one that works.
    turn: tokio::sync::Mutex<()>,
    /// What it told last.
    told: watch::Sender<Option<Progress>>,
}

/// A place at one diagnosis: of the one that works, or of one that watches.
#[derive(Debug)]
pub(super) struct Seat {
    key: Key,
    entry: Arc<Entry>,
    entries: Arc<Mutex<HashMap<Key, Weak<Entry>>>>,
}

impl Running {
    /// Sits down at the diagnosis of a hospital's request.
    pub(super) fn join(&self, hospital_id: &HospitalId, request_id: Uuid) -> Seat {
        let key = (hospital_id.clone(), request_id);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let known = entries.get(&key).and_then(Weak::upgrade);
        let entry = known.unwrap_or_else(|| {
            let entry = Entry { turn: tokio::sync::Mutex::new(()), told: watch::Sender::new(None) };
            Arc::new(entry)
        });
        entries.insert(key.clone(), Arc::downgrade(&entry));
        Seat { key, entry, entries: Arc::clone(&self.entries) }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody can sit down meanwhile: this one is the last.
        if Arc::strong_count(&self.entry) == 1 {
            entries.remove(&self.key);
        }
    }
}

impl Seat {
    /// Waits for the turn to work, and passes on what the one that works tells. In the order of asking.
    pub(super) async fn turn(
        &self,
        watch: &(dyn Fn(Progress) + Send + Sync),
    ) -> MutexGuard<'_, ()> {
        let mut told = self.entry.told.subscribe();
        told.mark_changed();
        let turn = self.entry.turn.lock();
        tokio::pin!(turn);
        loop {
            tokio::select! {
                biased;
                turn = &mut turn => return turn,
                Ok(()) = told.changed() => {
                    let progress = *told.borrow_and_update();
                    if let Some(progress) = progress {
                        watch(progress);
                    }
                }
            }
        }
    }

    /// Tells those who watch.
    pub(super) fn tell(&self, progress: Progress) {
        self.entry.told.send_replace(Some(progress));
    }
}

#[cfg(test)]
mod tests {
    use neurotriage_domain::DiagnosisId;

    use super::*;
    use crate::diagnosis::{Step, StepProgress};

    fn progress(done: u64) -> Progress {
        let at = StepProgress { step: Step::Segment, done, total: 3 };
        Progress { diagnosis_id: DiagnosisId::from(Uuid::nil()), at }
    }

    #[tokio::test]
    async fn who_waits_sees_the_last_progress_and_gets_the_turn_when_it_is_free() {
        let running = Running::default();
        let hospital_id: HospitalId = "north-lake".parse().unwrap();
        let request_id = Uuid::now_v7();
        let first = running.join(&hospital_id, request_id);
        let turn = first.turn(&|_| {}).await;
        first.tell(progress(1));
        let second = running.join(&hospital_id, request_id);
        let seen = Mutex::new(Vec::new());
        let watch = |progress: Progress| seen.lock().unwrap().push(progress.at.done);
        {
            let mut waiting = std::pin::pin!(second.turn(&watch));
            let pending = tokio::time::timeout(std::time::Duration::ZERO, &mut waiting).await;
            assert!(pending.is_err());
            assert_eq!(*seen.lock().unwrap(), [1]);
            first.tell(progress(2));
            let pending = tokio::time::timeout(std::time::Duration::ZERO, &mut waiting).await;
            assert!(pending.is_err());
            drop(turn);
            drop(first);
            let _turn = waiting.await;
        }
        assert_eq!(*seen.lock().unwrap(), [1, 2]);
        // Others are not concerned, and nothing is left behind.
        let other = running.join(&"south-lake".parse().unwrap(), request_id);
        let _turn = other.turn(&watch).await;
        assert_eq!(running.entries.lock().unwrap().len(), 2);
        drop(second);
        assert_eq!(running.entries.lock().unwrap().len(), 1);
    }
}
