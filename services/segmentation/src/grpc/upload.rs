//! A study and files that arrive in pieces.

use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt as _;
use neurotriage_proto::{
    CHUNK_BYTES_MAX,
    segmentation::v1::{FilePiece, LocaliseRequest, localise_request::Content},
};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::{convert, refuse};
use crate::{
    localise::{LocaliseInput, SentFile},
    segmentation::{MASK_BYTES_MAX, SegmentationError},
};

/// Longest silence of a caller in the middle of an upload.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Longest upload.
const RECEIVE_MAX: Duration = Duration::from_secs(600);

/// Most bytes of one file.
const FILE_BYTES_MAX: usize = MASK_BYTES_MAX;

/// A file of which pieces have arrived.
#[derive(Default)]
struct Arriving {
    name: String,
    data: BytesMut,
}

impl Arriving {
    fn add(&mut self, field: &'static str, piece: &FilePiece) -> Result<(), SegmentationError> {
        if piece.data.len() > CHUNK_BYTES_MAX {
            let text = format!("at most {CHUNK_BYTES_MAX} bytes in one message");
            return Err(SegmentationError::field(field, text));
        }
        if self.data.len() + piece.data.len() > FILE_BYTES_MAX {
            let text = format!("at most {FILE_BYTES_MAX} bytes in all; send a compressed file");
            return Err(SegmentationError::field(field, text));
        }
        if piece.data.is_empty() {
            return Err(SegmentationError::field(field, "a piece must hold at least one byte"));
        }
        if self.name.is_empty() {
            self.name = convert::file_name(&piece.file_name)?;
        }
        self.data.extend_from_slice(&piece.data);
        Ok(())
    }

    /// Returns the whole file; `None` if no piece has arrived.
    fn whole(self, field: &'static str) -> Option<SentFile> {
        let name = if self.name.is_empty() { format!("{field}.nii.gz") } else { self.name };
        (!self.data.is_empty()).then(|| SentFile { name, data: self.data.freeze() })
    }
}

/// Receives what to localise.
pub(super) async fn receive(stream: Streaming<LocaliseRequest>) -> Result<LocaliseInput, Status> {
    timeout(RECEIVE_MAX, receive_all(stream)).await.unwrap_or_else(|_| {
        let text = format!("not complete after {} s", RECEIVE_MAX.as_secs());
        Err(refuse(SegmentationError::field("content", text)))
    })
}

async fn receive_all(mut stream: Streaming<LocaliseRequest>) -> Result<LocaliseInput, Status> {
    let mut study_id = None;
    let (mut mask, mut image) = (Arriving::default(), Arriving::default());
    loop {
        let message = match timeout(IDLE_MAX, stream.next()).await {
            Ok(message) => message.transpose()?,
            Err(_) => {
                let text = format!("nothing arrived for {} s", IDLE_MAX.as_secs());
                return Err(refuse(SegmentationError::field("content", text)));
            }
        };
        let Some(message) = message else { break };
        let taken = match message.content {
            Some(Content::StudyId(text)) => match study_id {
                None => convert::study_id(&text).map(|id| study_id = Some(id)),
                Some(_) => Err(SegmentationError::field("study_id", "send one study at most")),
            },
            Some(Content::Mask(piece)) => mask.add("mask", &piece),
            Some(Content::Image(piece)) => image.add("image", &piece),
            None => Err(SegmentationError::field("content", "each message must carry something")),
        };
        taken.map_err(refuse)?;
    }
    Ok(LocaliseInput { study_id, mask: mask.whole("mask"), image: image.whole("image") })
}
