//! A model on its way to a caller, a piece at a time.

use std::{iter, time::Duration};

use neurotriage_proto::{
    CHUNK_BYTES_MAX,
    segmentation::v1::{ExportModelResponse, export_model_response::Content},
};
use tokio::{sync::mpsc::Sender, time::timeout};
use tonic::Status;

use super::refuse;
use crate::registry::RegistryError;

/// Messages that wait for the caller: one piece, and room for the word that it read too slowly.
pub(super) const MESSAGES_WAITING_MAX: usize = 2;

/// Sends a card and weights as fast as they are read; ends when the caller goes away, or with an
/// error when it reads nothing for `idle_max`.
pub(super) async fn send(
    card_json: &str,
    weights: &[u8],
    messages: Sender<Result<ExportModelResponse, Status>>,
    idle_max: Duration,
) {
    // Kept free, so that a caller that comes back late does not take a part for the whole.
    let Ok(last) = messages.clone().reserve_owned().await else { return };
    let card = Content::CardJson(card_json.as_bytes().to_vec());
    let weights = weights.chunks(CHUNK_BYTES_MAX);
    let pieces = iter::once(card).chain(weights.map(|piece| Content::Weights(piece.to_vec())));
    for content in pieces {
        let message = Ok(ExportModelResponse { content: Some(content) });
        match timeout(idle_max, messages.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                tracing::info!("caller went away before the model was sent");
                return;
            }
            Err(_) => {
                last.send(Err(refuse(RegistryError::ReadTooSlowly { idle: idle_max })));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::sync::mpsc;
    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn a_caller_that_reads_nothing_is_told_so_in_place_of_the_rest() {
        let (messages, mut receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
        send("{}", &[1; 3], messages, Duration::from_millis(1)).await;
        let card = receiver.recv().await.unwrap().unwrap();
        assert_eq!(card.content, Some(Content::CardJson(b"{}".to_vec())));
        let status = receiver.recv().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert!(receiver.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_ends_the_sending() {
        let (messages, receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
        drop(receiver);
        let (began, idle_max) = (Instant::now(), Duration::from_secs(60));
        send("{}", &[1; 3], messages, idle_max).await;
        assert!(began.elapsed() < idle_max);
    }

    #[tokio::test]
    async fn weights_are_sent_in_order_and_in_pieces() {
        let (messages, mut receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
        let weights: Vec<u8> = (0..CHUNK_BYTES_MAX * 2 + 1).map(|at| (at % 251) as u8).collect();
        let sent = weights.clone();
        let task = tokio::spawn(async move {
            send("{}", &sent, messages, Duration::from_secs(60)).await;
        });
        let (mut sizes, mut received) = (Vec::new(), Vec::new());
        while let Some(message) = receiver.recv().await {
            if let Some(Content::Weights(piece)) = message.unwrap().content {
                sizes.push(piece.len());
                received.extend(piece);
            }
        }
        task.await.unwrap();
        assert_eq!(sizes, [CHUNK_BYTES_MAX, CHUNK_BYTES_MAX, 1]);
        assert!(received == weights);
    }
}
