//! Mixed precision: what is computed in 16 bits, and how gradients are kept in their range.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

use crate::NetworkError;

/// Scale of a fresh run: 2^16, as is usual for 16-bit floats whose smallest normal value is 2^-14.
const SCALE_FIRST: f64 = 65_536.0;

/// Smallest and largest scale.
const SCALE_RANGE: [f64; 2] = [1.0, 16_777_216.0];

/// Steps in a row without overflow after which the scale doubles.
const GROWTH_STEPS: u32 = 2_000;

/// In what a step is computed. Weights, loss, gradients and moments are 32 bits always.
///
/// On a CPU, 16 bits are `bf16` on processors with instructions for it (AVX-512 BF16), where a step
/// takes about half the time; others refuse it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainPrecision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits with the range of 32: needs no scaling.
    Bf16,
    /// 16 bits with a small range: the loss is scaled, and a step that overflows is skipped.
    F16,
    /// `bf16` where the device computes in it, else `f32`; chosen once, at the start.
    Auto,
}

/// Returns whether the CPU multiplies in `bf16`: without, libtorch converts at every step.
pub(crate) fn cpu_computes_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

impl TrainPrecision {
    /// Returns the kind of activations; call it on what [`Self::resolve`] returned.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::F32 | Self::Auto => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
            Self::F16 => Kind::Half,
        }
    }

    /// Returns the precision to use on a device: `auto` decided, others as they are.
    ///
    /// # Errors
    /// [`NetworkError::Config`] for 16 bits on a CPU that does not compute in them.
    pub(crate) fn resolve(self, device: Device) -> Result<Self, NetworkError> {
        let bf16 = matches!(device, Device::Cuda(_)) || cpu_computes_bf16();
        let problem = match self {
            Self::Auto => return Ok(if bf16 { Self::Bf16 } else { Self::F32 }),
            Self::Bf16 if !bf16 => {
                "bf16 needs a CUDA device or a processor with AVX-512 BF16; use f32 or auto"
            }
            Self::F16 if !matches!(device, Device::Cuda(_)) => {
                "f16 needs a CUDA device; use f32, or auto for bf16 where the processor has it"
            }
            Self::F32 | Self::Bf16 | Self::F16 => return Ok(self),
        };
        Err(NetworkError::Config { setting: "precision", problem: problem.to_owned() })
    }

    /// Returns the scale that a fresh run starts with; `None` where none is needed.
    pub(crate) fn first_scale(self) -> Option<LossScale> {
        match self {
            Self::F32 | Self::Bf16 | Self::Auto => None,
            Self::F16 => Some(LossScale::first()),
        }
    }
}

/// What the loss is multiplied by, so that small gradients do not vanish in 16 bits.
///
/// It halves when a gradient overflows and doubles after [`GROWTH_STEPS`] steps without.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LossScale {
    /// The factor, a power of two.
    pub(crate) value: f64,
    /// Steps in a row without overflow.
    good_steps: u32,
}

impl LossScale {
    fn first() -> Self {
        Self { value: SCALE_FIRST, good_steps: 0 }
    }

    /// Returns the scale after a step that was or was not finite.
    pub(crate) fn after(self, step: StepEnd) -> Self {
        let [low, high] = SCALE_RANGE;
        match step {
            StepEnd::Overflowed => Self { value: (self.value / 2.0).max(low), good_steps: 0 },
            StepEnd::Finite if self.good_steps + 1 >= GROWTH_STEPS => {
                Self { value: (self.value * 2.0).min(high), good_steps: 0 }
            }
            StepEnd::Finite => Self { good_steps: self.good_steps + 1, ..self },
        }
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepEnd {
    /// Loss and gradient were finite; the weights have moved.
    Finite,
    /// They were not; the step was skipped.
    Overflowed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_halves_on_overflow_and_doubles_after_many_good_steps() {
        let first = LossScale::first();
        let halved = first.after(StepEnd::Overflowed);
        assert_eq!(halved.value, 32_768.0);
        let mut scale = halved;
        for _ in 0..GROWTH_STEPS - 1 {
            scale = scale.after(StepEnd::Finite);
            assert_eq!(scale.value, halved.value);
        }
        assert_eq!(scale.after(StepEnd::Finite), first);
        // An overflow starts the count again.
        let again = scale.after(StepEnd::Overflowed).after(StepEnd::Finite);
        assert_eq!((again.value, again.good_steps), (16_384.0, 1));
    }

    #[test]
    fn the_scale_stays_in_its_range() {
        let (mut low, mut high) = (LossScale::first(), LossScale::first());
        for _ in 0..100 {
            low = low.after(StepEnd::Overflowed);
        }
        for _ in 0..20 * GROWTH_STEPS {
            high = high.after(StepEnd::Finite);
        }
        assert_eq!([low.value, high.value], SCALE_RANGE);
    }

    #[test]
    fn sixteen_bits_are_refused_where_nothing_computes_in_them() {
        let resolved = |precision: TrainPrecision, device| precision.resolve(device);
        assert_eq!(resolved(TrainPrecision::F32, Device::Cpu).unwrap(), TrainPrecision::F32);
        for precision in [TrainPrecision::Bf16, TrainPrecision::F16] {
            assert_eq!(resolved(precision, Device::Cuda(0)).unwrap(), precision);
        }
        assert_eq!(resolved(TrainPrecision::Auto, Device::Cuda(0)).unwrap(), TrainPrecision::Bf16);
        let error = resolved(TrainPrecision::F16, Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("needs a CUDA device"), "{error}");
        let bf16 = resolved(TrainPrecision::Bf16, Device::Cpu);
        let auto = resolved(TrainPrecision::Auto, Device::Cpu).unwrap();
        if cpu_computes_bf16() {
            assert_eq!((bf16.unwrap(), auto), (TrainPrecision::Bf16, TrainPrecision::Bf16));
        } else {
            assert!(bf16.unwrap_err().to_string().contains("use f32 or auto"));
            assert_eq!(auto, TrainPrecision::F32);
        }
        assert!(TrainPrecision::F16.first_scale().is_some());
        assert!(TrainPrecision::Bf16.first_scale().is_none());
    }
}
