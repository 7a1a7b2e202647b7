//! Where tensors live: the CPU or a CUDA device, chosen at run time.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use tch::{Cuda, Device};

/// Where to compute. Written `auto`, `cpu` or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The first CUDA device if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A CUDA device, counted from 0.
    Cuda(usize),
}

impl DeviceChoice {
    /// Returns the device.
    ///
    /// # Errors
    /// [`MissingDevice`] if the CUDA device asked for is not there.
    pub fn resolve(self) -> Result<Device, MissingDevice> {
        match self {
            Self::Auto => Ok(Device::cuda_if_available()),
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(index) => {
                let cuda_devices = if Cuda::is_available() { Cuda::device_count() } else { 0 };
                if i64::try_from(index).is_ok_and(|index| index < cuda_devices) {
                    return Ok(Device::Cuda(index));
                }
                Err(MissingDevice { device: self, cuda_devices })
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// A CUDA device that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "device `{device}` is not available: libtorch sees {cuda_devices} CUDA devices, counted from 0; use one of them, `cpu` or `auto`"
)]
pub struct MissingDevice {
    /// The device asked for.
    pub device: DeviceChoice,
    /// CUDA devices that libtorch sees.
    pub cuda_devices: i64,
}

/// Text that names no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown device; expected auto, cpu or cuda:N")]
pub struct UnknownDevice;

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            _ => {
                let index = text.strip_prefix("cuda:").ok_or(UnknownDevice)?;
                index.parse().map(Self::Cuda).map_err(|_| UnknownDevice)
            }
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = UnknownDevice;

    fn try_from(text: String) -> Result<Self, UnknownDevice> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(device: DeviceChoice) -> Self {
        device.to_string()
    }
}

/// Sets how many threads libtorch computes with on the CPU; 0 is taken as 1. Call it before the
/// first computation.
pub fn set_compute_threads(threads: usize) {
    tch::set_num_threads(i32::try_from(threads.max(1)).unwrap_or(i32::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_survive_text() {
        for device in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(3)] {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        for text in ["", "gpu", "cuda", "cuda:", "cuda:-1"] {
            assert_eq!(text.parse::<DeviceChoice>(), Err(UnknownDevice), "{text}");
        }
    }

    #[test]
    fn a_missing_cuda_device_is_an_error() {
        let far = DeviceChoice::Cuda(1000);
        let error = far.resolve().unwrap_err().to_string();
        assert!(error.contains("cuda:1000") && error.contains("cpu"), "{error}");
    }
}
