//! Random numbers of libtorch, which has one generator for all threads.

use std::sync::{Mutex, PoisonError};

/// Held by who draws.
static GENERATOR: Mutex<()> = Mutex::new(());

/// Seeds libtorch's generator for `draw`, and keeps other threads that seed it away meanwhile: what
/// is drawn depends on `seed` alone.
pub(crate) fn seeded<T>(seed: i64, draw: impl FnOnce() -> T) -> T {
    // No state of ours is behind the lock: a panic while drawing spoils nothing.
    let _held = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed);
    draw()
}

/// Returns numbers of the normal distribution.
#[cfg(test)]
pub(crate) fn normal(seed: i64, sides: &[i64]) -> tch::Tensor {
    seeded(seed, || tch::Tensor::f_randn(sides, (tch::Kind::Float, tch::Device::Cpu))).unwrap()
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn threads_that_draw_at_once_get_what_their_seeds_give() {
        let draw = |seed| {
            seeded(seed, || {
                let parts = (0..50).map(|_| Tensor::f_randn([7], (Kind::Float, Device::Cpu)));
                let parts: Vec<Tensor> = parts.collect::<Result<_, _>>().unwrap();
                Vec::<f32>::try_from(&Tensor::f_cat(&parts, 0).unwrap()).unwrap()
            })
        };
        let alone: Vec<Vec<f32>> = (0..4).map(draw).collect();
        for _ in 0..20 {
            let together: Vec<Vec<f32>> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || draw(seed))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(together, alone);
        }
    }
}
