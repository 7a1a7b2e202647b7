//! Weights as safetensors, and files that are whole or not there.

use std::{collections::HashMap, fs, io::Write, path::Path};

use safetensors::{
    Dtype, SafeTensors,
    tensor::{TensorView, serialize},
};
use tch::{Device, Kind, Tensor};

use crate::{
    NetworkError,
    parameters::{ParameterSpec, Parameters},
};

/// How exactly weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    /// 16 bits: enough to run a network, half the size.
    Half,
    /// 32 bits: what training resumes from.
    Full,
}

/// Tensors about to be written.
#[derive(Debug, Default)]
pub(crate) struct Store {
    tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
}

impl Store {
    /// Adds every weight, its name led by `prefix`.
    pub(crate) fn add(
        &mut self,
        prefix: &str,
        specs: &[ParameterSpec],
        parameters: &Parameters,
        precision: Precision,
    ) -> Result<(), NetworkError> {
        let (kind, dtype, bytes_each) = match precision {
            Precision::Half => (Kind::Half, Dtype::F16, 2),
            Precision::Full => (Kind::Float, Dtype::F32, 4),
        };
        for (spec, tensor) in specs.iter().zip(parameters.tensors()) {
            let tensor = tensor.f_detach()?.f_to(Device::Cpu)?.f_to_kind(kind)?.f_contiguous()?;
            let count = tensor.numel();
            let mut bytes = vec![0_u8; count * bytes_each];
            tensor.f_copy_data_u8(&mut bytes, count)?;
            let shape = spec.shape.iter().map(|&side| side.unsigned_abs() as usize).collect();
            self.tensors.push((format!("{prefix}{}", spec.name), dtype, shape, bytes));
        }
        Ok(())
    }

    /// Returns the file's bytes.
    pub(crate) fn into_bytes(
        self,
        metadata: Option<HashMap<String, String>>,
    ) -> Result<Vec<u8>, NetworkError> {
        let mut views = Vec::with_capacity(self.tensors.len());
        for (name, dtype, shape, bytes) in &self.tensors {
            views.push((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes)?));
        }
        Ok(serialize(views, metadata)?)
    }
}

/// Reads the weights of `specs`, their names led by `prefix`.
///
/// # Errors
/// [`NetworkError::Weights`] if one is missing, has another shape, or is neither f16 nor f32.
pub(crate) fn read(
    file: &SafeTensors<'_>,
    prefix: &str,
    specs: &[ParameterSpec],
    device: Device,
) -> Result<Parameters, NetworkError> {
    let mut tensors = Vec::with_capacity(specs.len());
    for spec in specs {
        let name = format!("{prefix}{}", spec.name);
        let refuse = |problem: String| NetworkError::Weights { problem };
        let view = file.tensor(&name).map_err(|_| refuse(format!("`{name}` is missing")))?;
        let fits = view.shape().len() == spec.shape.len()
            && view
                .shape()
                .iter()
                .zip(&spec.shape)
                .all(|(&got, &want)| i64::try_from(got) == Ok(want));
        if !fits {
            let (got, want) = (view.shape(), &spec.shape);
            return Err(refuse(format!("`{name}` is {got:?}, the architecture needs {want:?}")));
        }
        let kind = if view.dtype() == Dtype::F16 {
            Kind::Half
        } else if view.dtype() == Dtype::F32 {
            Kind::Float
        } else {
            return Err(refuse(format!("`{name}` is {:?}, not f16 or f32", view.dtype())));
        };
        let tensor = Tensor::f_from_data_size(view.data(), &spec.shape, kind)?;
        tensors.push(tensor.f_to_kind(Kind::Float)?.f_to(device)?);
    }
    Ok(Parameters::from_tensors(tensors))
}

/// Writes a file so that a reader sees the old one or the new one, never a part.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), NetworkError> {
    let failed = |source| NetworkError::Io { path: path.to_owned(), source };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".part");
    let written = fs::File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        // A part of a file is of no use, and holds room on a disk that may be full.
        let _ = fs::remove_file(&temporary);
        failed(source)
    })
}
