//! Draws samples ahead of their use, in order.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread::{self, JoinHandle},
};

use neurotriage_dataset::{DatasetError, Sample, SampleSource};

use crate::NetworkError;

/// Samples that each thread holds ready: one in use hides the drawing of the next; a sample of
/// 128³ voxels and 4 channels takes 36 MB.
pub(crate) const READY_PER_THREAD: usize = 2;

/// Threads that draw the samples `first, first + 1, ...` ahead of their use.
///
/// Thread `k` of `n` draws every `n`-th sample into a queue of its own, and the queues are emptied
/// in turn: the order is that of the indices, whatever the threads' speed.
#[derive(Debug)]
pub(crate) struct Loader {
    queues: Vec<Receiver<Result<Sample, DatasetError>>>,
    threads: Vec<JoinHandle<()>>,
    first: u64,
    next: u64,
}

impl Loader {
    pub(crate) fn start(
        source: &Arc<dyn SampleSource>,
        first: u64,
        threads: usize,
    ) -> Result<Self, NetworkError> {
        let threads_count = threads.max(1);
        let mut loader = Self { queues: Vec::new(), threads: Vec::new(), first, next: first };
        for thread in 0..threads_count {
            let (sender, receiver) = sync_channel(READY_PER_THREAD);
            let source = Arc::clone(source);
            let draw = move || {
                let mut index = first + thread as u64;
                // Ends when the loader, and so the receiver, is dropped.
                while sender.send(source.sample(index)).is_ok() {
                    index += threads_count as u64;
                }
            };
            let handle = thread::Builder::new()
                .name(format!("samples-{thread}"))
                .spawn(draw)
                .map_err(|source| NetworkError::Io { path: "thread".into(), source })?;
            loader.queues.push(receiver);
            loader.threads.push(handle);
        }
        Ok(loader)
    }

    /// Returns the next sample.
    pub(crate) fn next(&mut self) -> Result<Sample, NetworkError> {
        let index = self.next;
        self.next += 1;
        let turn = (index - self.first) % self.queues.len() as u64;
        let queue = usize::try_from(turn).ok().and_then(|turn| self.queues.get(turn));
        let drawn = queue.and_then(|queue| queue.recv().ok()).ok_or(NetworkError::LoaderStopped)?;
        drawn.map_err(|source| NetworkError::Sample { index, source })
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.queues.clear();
        for thread in self.threads.drain(..) {
            // A panic there was reported as `LoaderStopped`.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, Array4};

    use super::*;

    struct Counting;

    impl SampleSource for Counting {
        fn sample(&self, index: u64) -> Result<Sample, DatasetError> {
            if index == 12 {
                return Err(DatasetError::Empty);
            }
            Ok(Sample {
                image: Array4::from_elem((1, 1, 1, 1), index as f32),
                labels: Array3::zeros((1, 1, 1)),
                origin: "test",
            })
        }
    }

    #[test]
    fn samples_come_in_order_and_errors_name_their_index() {
        for threads in [1, 2, 3] {
            let source: Arc<dyn SampleSource> = Arc::new(Counting);
            let mut loader = Loader::start(&source, 5, threads).unwrap();
            for expected in 5..12 {
                assert_eq!(loader.next().unwrap().image[[0, 0, 0, 0]], expected as f32);
            }
            assert!(matches!(loader.next(), Err(NetworkError::Sample { index: 12, .. })));
        }
    }
}
