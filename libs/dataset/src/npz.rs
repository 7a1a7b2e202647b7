//! Reads numpy's .npz files of uint8 volumes: a zip of .npy files, stored or deflated.

use std::io::Read;

use flate2::read::DeflateDecoder;
use ndarray::Array3;

/// Most volumes in one file.
const ENTRIES_MAX: usize = 10_000;

/// Most voxels of one volume.
const VOXELS_MAX: usize = 64 << 20;

/// Longest header of a .npy file that is read.
const HEADER_MAX: usize = 4096;

const END_SIGNATURE: [u8; 4] = *b"PK\x05\x06";
const ENTRY_SIGNATURE: [u8; 4] = *b"PK\x01\x02";
const LOCAL_SIGNATURE: [u8; 4] = *b"PK\x03\x04";

/// Lengths of the fixed parts of the zip records.
const END_BYTES: usize = 22;
const ENTRY_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;

/// Calls `visit` with each volume of a file, in order.
///
/// Returns what is wrong with the file, if anything.
pub(crate) fn for_each_volume(
    bytes: &[u8],
    mut visit: impl FnMut(Array3<u8>),
) -> Result<(), String> {
    let end = (bytes.len().saturating_sub(END_BYTES + 0xFFFF)
        ..=bytes.len().saturating_sub(END_BYTES))
        .rev()
        .find(|&at| bytes.get(at..at + 4) == Some(&END_SIGNATURE))
        .ok_or("no zip directory")?;
    let count = usize::from(u16_at(bytes, end + 10)?);
    if count > ENTRIES_MAX {
        return Err(format!("{count} entries, at most {ENTRIES_MAX} are read"));
    }
    let mut at = u32_at(bytes, end + 16)?;
    for _ in 0..count {
        if bytes.get(at..at + 4) != Some(&ENTRY_SIGNATURE) {
            return Err("damaged zip directory".to_owned());
        }
        let method = u16_at(bytes, at + 10)?;
        let packed = u32_at(bytes, at + 20)?;
        let local = u32_at(bytes, at + 42)?;
        let lengths = [28, 30, 32].map(|field| u16_at(bytes, at + field).map(usize::from));
        let [name, extra, comment] = lengths;
        at += ENTRY_BYTES + name? + extra? + comment?;
        visit(volume(data(bytes, local, packed)?, method)?);
    }
    Ok(())
}

fn data(bytes: &[u8], local: usize, packed: usize) -> Result<&[u8], String> {
    if bytes.get(local..local + 4) != Some(&LOCAL_SIGNATURE) {
        return Err("damaged zip entry".to_owned());
    }
    let name = usize::from(u16_at(bytes, local + 26)?);
    let extra = usize::from(u16_at(bytes, local + 28)?);
    let start = local + LOCAL_BYTES + name + extra;
    bytes.get(start..start + packed).ok_or_else(|| "file is cut short".to_owned())
}

fn volume(data: &[u8], method: u16) -> Result<Array3<u8>, String> {
    let limit = (VOXELS_MAX + HEADER_MAX) as u64;
    let mut npy = Vec::new();
    let read = match method {
        0 => data.take(limit).read_to_end(&mut npy),
        8 => DeflateDecoder::new(data).take(limit).read_to_end(&mut npy),
        other => {
            return Err(format!("compression method {other}; save with numpy.savez_compressed"));
        }
    };
    read.map_err(|error| error.to_string())?;
    if !npy.starts_with(b"\x93NUMPY") {
        return Err("an entry is no .npy file".to_owned());
    }
    let (length, start) = match npy.get(6) {
        Some(1) => (usize::from(u16_at(&npy, 8)?), 10),
        _ => (u32_at(&npy, 8)?, 12),
    };
    let end = start + length.min(HEADER_MAX);
    let header = npy.get(start..end).ok_or("an entry is cut short")?;
    let header = String::from_utf8_lossy(header);
    if !(header.contains("'|u1'") || header.contains("'u1'")) || header.contains("True") {
        return Err("volumes must be uint8 in C order".to_owned());
    }
    let shape = shape(&header).ok_or("volumes must have three axes")?;
    let voxels = shape.iter().try_fold(1_usize, |count, &side| count.checked_mul(side));
    let voxels = voxels.filter(|&count| count <= VOXELS_MAX).ok_or("a volume is too large")?;
    let values = npy.get(end..end + voxels).ok_or("an entry is cut short")?.to_vec();
    Array3::from_shape_vec(shape, values).map_err(|error| error.to_string())
}

/// Returns the three numbers between the brackets after `'shape'`.
fn shape(header: &str) -> Option<[usize; 3]> {
    let rest = header.split("'shape'").nth(1)?;
    let inside = rest.split('(').nth(1)?.split(')').next()?;
    let sides: Vec<usize> = inside
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(|text| text.parse().ok())
        .collect::<Option<_>>()?;
    sides.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, String> {
    match bytes.get(at..at + 2) {
        Some(&[low, high]) => Ok(u16::from_le_bytes([low, high])),
        _ => Err("file is cut short".to_owned()),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Result<usize, String> {
    match bytes.get(at..at + 4) {
        Some(&[a, b, c, d]) => Ok(u32::from_le_bytes([a, b, c, d]) as usize),
        _ => Err("file is cut short".to_owned()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns a zip with one stored .npy file of a volume.
    pub(crate) fn npz(voxels: &Array3<u8>) -> Vec<u8> {
        let (x, y, z) = voxels.dim();
        let header =
            format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({x}, {y}, {z}), }}\n");
        let mut npy = b"\x93NUMPY\x01\x00".to_vec();
        npy.extend((header.len() as u16).to_le_bytes());
        npy.extend(header.as_bytes());
        npy.extend(voxels.iter());
        let size = (npy.len() as u32).to_le_bytes();
        let mut bytes = LOCAL_SIGNATURE.to_vec();
        bytes.extend([0; 14]);
        bytes.extend(size);
        bytes.extend(size);
        bytes.extend([1, 0, 0, 0]);
        bytes.push(b'a');
        bytes.extend(&npy);
        let directory = bytes.len() as u32;
        bytes.extend(ENTRY_SIGNATURE);
        bytes.extend([0; 16]);
        bytes.extend(size);
        bytes.extend(size);
        bytes.extend([1, 0]);
        bytes.extend([0; 16]);
        bytes.push(b'a');
        bytes.extend(END_SIGNATURE);
        bytes.extend([0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0]);
        bytes.extend(directory.to_le_bytes());
        bytes.extend([0, 0]);
        bytes
    }

    #[test]
    fn a_stored_volume_reads_back() {
        let voxels = Array3::from_shape_fn((3, 4, 5), |(x, y, z)| (x * 20 + y * 5 + z) as u8);
        let mut read = Vec::new();
        for_each_volume(&npz(&voxels), |volume| read.push(volume)).unwrap();
        assert_eq!(read, [voxels]);
    }

    #[test]
    fn cut_files_are_refused_wherever_they_end() {
        let bytes = npz(&Array3::zeros((2, 2, 2)));
        for length in 0..bytes.len() {
            assert!(for_each_volume(&bytes[..length], |_| ()).is_err(), "length {length}");
        }
    }
}
