//! The command `model`: which models a running segmentation service has, and which one serves.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use neurotriage_network::{CARD_FILE, WEIGHTS_FILE};
use neurotriage_proto::{
    CHUNK_BYTES_MAX,
    segmentation::v1::{
        ImportModelRequest, ListModelsRequest, ListPromotionsRequest, LoadModelRequest, ModelState,
        PromoteModelRequest, Promotion, PromotionKind, RegisteredModel, RollbackModelRequest,
        import_model_request::Content, model_service_client::ModelServiceClient,
    },
};
use tokio::runtime::Runtime;

use crate::{
    combine::{CombineArgs, combine},
    fetch::fetch,
    output::{print, time_text},
    remote::{self, ServiceChannel, TokenArgs},
    services::{CALL_TIMEOUT, SEGMENTATION_ENDPOINT, answer, asking, within},
};

/// How long an upload or the building of a network may take.
const LONG_TIMEOUT: Duration = Duration::from_secs(600);
/// Models of one page.
const PAGE_SIZE: u32 = 200;
/// Most pages that are asked for.
const PAGES_MAX: usize = 50;
/// Most changes that `history` shows.
const HISTORY_MAX: u32 = 50;
/// Digits of a hash that a table shows.
const HASH_DIGITS: usize = 12;

/// What `model` takes.
#[derive(Debug, Args)]
pub struct ModelCommandArgs {
    #[command(subcommand)]
    action: Action,

    /// Where the segmentation service answers.
    #[arg(
        long,
        env = "SEGMENTATION_ENDPOINT",
        global = true,
        default_value = SEGMENTATION_ENDPOINT
    )]
    endpoint: String,

    /// As whom.
    #[command(flatten)]
    token: TokenArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the models; the one that serves is marked with `*`.
    List,
    /// Stores the model in a folder with model.safetensors and card.json.
    Import {
        /// The folder.
        folder: PathBuf,
    },
    /// Writes a model of the service as model.safetensors and card.json.
    Export {
        /// Its id.
        model_id: String,
        /// The folder for it; one with another model in it is refused.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Checks a stored model and gets it into memory, without letting it serve.
    Load {
        /// Its id.
        model_id: String,
    },
    /// Lets a loaded model serve new studies.
    Promote {
        /// Its id.
        model_id: String,
        /// Only if this model serves now; the one that the service names if not given.
        #[arg(long, value_name = "MODEL_ID")]
        expect: Option<String>,
    },
    /// Lets the model serve that served before the last promotion.
    Rollback {
        /// Only if this model serves now; the one that the service names if not given.
        #[arg(long, value_name = "MODEL_ID")]
        expect: Option<String>,
    },
    /// Lists which model served from when on, newest first.
    History,
    /// Makes one model of several trained ones, whose answers it averages; asks no service.
    Combine(CombineArgs),
}

/// Asks the service.
///
/// # Errors
/// If the service does not answer or refuses, or a file can't be read.
pub fn run(runtime: &Runtime, args: ModelCommandArgs) -> anyhow::Result<()> {
    let ModelCommandArgs { action, endpoint, token } = args;
    runtime.block_on(async {
        let mut models = ModelServiceClient::new(remote::connect(&endpoint, &token)?);
        let text = match action {
            Action::List => list(&mut models).await,
            Action::Import { folder } => import(&mut models, folder).await,
            Action::Export { model_id, out } => export(&mut models, &model_id, &out).await,
            Action::Load { model_id } => load(&mut models, model_id).await,
            Action::Promote { model_id, expect } => promote(&mut models, model_id, expect).await,
            Action::Rollback { expect } => roll_back(&mut models, expect).await,
            Action::History => history(&mut models).await,
            Action::Combine(args) => return print(&combine(&args)?),
        };
        print(&text.with_context(|| asking("segmentation", &endpoint))?)
    })
}

type Client = ModelServiceClient<ServiceChannel>;

/// Returns every model, and the id of the one that serves.
async fn all(models: &mut Client) -> anyhow::Result<(Vec<RegisteredModel>, String)> {
    let mut found = Vec::new();
    let mut page_token = String::new();
    for _ in 0..PAGES_MAX {
        let request = within(CALL_TIMEOUT, ListModelsRequest { page_size: PAGE_SIZE, page_token });
        let page = answer("list models", models.list_models(request)).await?;
        found.extend(page.models);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok((found, page.serving_model_id));
        }
    }
    anyhow::bail!("more than {} models; ask the service itself", PAGES_MAX * PAGE_SIZE as usize)
}

async fn list(models: &mut Client) -> anyhow::Result<String> {
    let (found, _) = all(models).await?;
    Ok(found.iter().map(line).collect())
}

async fn import(models: &mut Client, folder: PathBuf) -> anyhow::Result<String> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read(&path).with_context(|| format!("read {}", path.display()))
    };
    let (card, weights) = (read(CARD_FILE)?, read(WEIGHTS_FILE)?);
    ensure!(card.len() <= CHUNK_BYTES_MAX, "{CARD_FILE} is larger than {CHUNK_BYTES_MAX} bytes");
    let of = |content| ImportModelRequest { content: Some(content) };
    let mut messages = vec![of(Content::CardJson(card))];
    messages
        .extend(weights.chunks(CHUNK_BYTES_MAX).map(|piece| of(Content::Weights(piece.to_vec()))));
    let request = within(LONG_TIMEOUT, tokio_stream::iter(messages));
    let response = answer("import model", models.import_model(request)).await?;
    let model = response.model.context("service named no model")?;
    Ok(format!("{}next: neurotriage model load {}\n", line(&model), model.model_id))
}

async fn export(models: &mut Client, model_id: &str, out: &Path) -> anyhow::Result<String> {
    fetch(models, model_id).await?.write(out)?;
    let (weights, card) = (out.join(WEIGHTS_FILE), out.join(CARD_FILE));
    Ok(format!("{}\n{}\n", weights.display(), card.display()))
}

async fn load(models: &mut Client, model_id: String) -> anyhow::Result<String> {
    let request = within(LONG_TIMEOUT, LoadModelRequest { model_id });
    let response = answer("load model", models.load_model(request)).await?;
    let model = response.model.context("service named no model")?;
    let next = if model.state() == ModelState::Serving {
        String::new()
    } else {
        format!("next: neurotriage model promote {}\n", model.model_id)
    };
    Ok(format!("{}loaded in {:.1} s\n{next}", line(&model), response.load_seconds))
}

async fn promote(
    models: &mut Client,
    model_id: String,
    expect: Option<String>,
) -> anyhow::Result<String> {
    let expected_serving_model_id = expected(models, expect).await?;
    let request = within(CALL_TIMEOUT, PromoteModelRequest { model_id, expected_serving_model_id });
    let response = answer("promote model", models.promote_model(request)).await?;
    let model = response.model.context("service named no model")?;
    Ok(format!("{}before: {}\n", line(&model), response.previous_model_id))
}

async fn roll_back(models: &mut Client, expect: Option<String>) -> anyhow::Result<String> {
    let expected_serving_model_id = expected(models, expect).await?;
    let request = within(LONG_TIMEOUT, RollbackModelRequest { expected_serving_model_id });
    let response = answer("roll back model", models.rollback_model(request)).await?;
    let model = response.model.context("service named no model")?;
    Ok(format!("{}before: {}\n", line(&model), response.previous_model_id))
}

/// Returns the model that the caller expects to serve.
async fn expected(models: &mut Client, named: Option<String>) -> anyhow::Result<String> {
    match named {
        Some(named) => Ok(named),
        None => Ok(all(models).await?.1),
    }
}

async fn history(models: &mut Client) -> anyhow::Result<String> {
    let request = ListPromotionsRequest { page_size: HISTORY_MAX, page_token: String::new() };
    let request = within(CALL_TIMEOUT, request);
    let page = answer("list promotions", models.list_promotions(request)).await?;
    if page.promotions.is_empty() {
        return Ok("no model was promoted\n".to_owned());
    }
    Ok(page.promotions.iter().map(change).collect())
}

fn change(promotion: &Promotion) -> String {
    let kind = match promotion.kind() {
        PromotionKind::Unspecified => "?",
        PromotionKind::Promote => "promote",
        PromotionKind::Rollback => "rollback",
    };
    let model = if promotion.model_id.is_empty() {
        "(model of the program)"
    } else {
        promotion.model_id.as_str()
    };
    let at = promotion.created_at.as_ref().map(|at| at.seconds).map_or_else(String::new, time_text);
    format!("{:>5}  {at:20}  {kind:8}  {model}\n", promotion.sequence)
}

fn line(model: &RegisteredModel) -> String {
    let state = match model.state() {
        ModelState::Unspecified => "?",
        ModelState::Imported => "imported",
        ModelState::Verified => "verified",
        ModelState::Loaded => "loaded",
        ModelState::Serving => "serving",
        ModelState::Refused => "refused",
    };
    let mark = if model.state() == ModelState::Serving { '*' } else { ' ' };
    let hash: String = model.weights_sha256.chars().take(HASH_DIGITS).collect();
    let at = if model.built_in {
        "with the program".to_owned()
    } else {
        model.created_at.as_ref().map(|at| at.seconds).map_or_else(String::new, time_text)
    };
    let mib = model.weights_size_bytes as f64 / f64::from(1 << 20);
    format!(
        "{mark} {:32}  {state:8}  {:6}  {hash}  {mib:6.1} MiB  {at}\n",
        model.model_id, model.device
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_that_serves_is_marked() {
        let model = |state: ModelState| RegisteredModel {
            model_id: "glioma-1".to_owned(),
            weights_sha256: "ab".repeat(32),
            weights_size_bytes: 3 << 20,
            state: state.into(),
            built_in: true,
            ..RegisteredModel::default()
        };
        let text = line(&model(ModelState::Serving));
        assert!(text.starts_with("* glioma-1 ") && text.contains("3.0 MiB"), "{text}");
        assert!(!text.contains(&"ab".repeat(7)), "a hash is shortened: {text}");
        assert!(line(&model(ModelState::Loaded)).starts_with("  glioma-1 "));
    }
}
