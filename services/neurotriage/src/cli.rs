//! The command line: what can be asked, and which module answers.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use neurotriage_network::DeviceChoice;
use neurotriage_segmentation::{config::TrainingConfig, placement::RegistrationRule};
use neurotriage_service_kit::telemetry::{self, TelemetryConfig};

use crate::{
    fhir_command::{self, FhirCommandArgs},
    hospitals_command::{self, HospitalsCommandArgs},
    model_command::{self, ModelCommandArgs},
    operator_command::{self, OperatorCommandArgs, Service},
    remote::TokenArgs,
    report::Language,
    services::SEGMENTATION_ENDPOINT,
    training_command::{self, TrainingCommandArgs},
};

/// Marks a brain tumour in MRI, names the regions it touches, compares them with the symptoms and
/// ranks hospitals.
///
/// Decision support for research use. Not a medical device, not a diagnosis.
#[derive(Parser)]
#[command(name = "neurotriage", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    /// What is logged to stderr, such as `info` or `warn,neurotriage_segmentation=debug`.
    #[arg(long, env = "LOG_FILTER", global = true, default_value = LOG_FILTER)]
    log_filter: String,

    /// Collector of traces, such as `http://localhost:4317`; none are sent if not given.
    #[arg(long, env = "OTLP_ENDPOINT", global = true)]
    otlp_endpoint: Option<String>,
}

/// Warnings but for two: of the invented hospitals of a fresh directory, which the report names, and that
/// loopback asks for no tokens, which is what the command is for.
const LOG_FILTER: &str = "warn,neurotriage_access=error,neurotriage_referral=error";

#[derive(Subcommand)]
enum Command {
    /// Takes one case through the whole system and writes its report.
    Diagnose(DiagnoseArgs),
    /// Runs the four services on loopback until Ctrl-C.
    Up(UpArgs),
    /// Writes synthetic cases with known truth.
    Phantom(PhantomArgs),
    /// Trains a model as a TOML file says.
    Train(TrainArgs),
    /// Scores a model on cases with known truth.
    Evaluate(EvaluateArgs),
    /// Names the brain regions that a mask touches.
    Localise(LocaliseArgs),
    /// Lists, stores, fetches, loads and promotes the models of a running service.
    Model(ModelCommandArgs),
    /// Lists, shows, watches, cancels and resumes the training runs of a running service.
    Training(TrainingCommandArgs),
    /// Checks, imports, exports, shows and searches the hospitals of a running service.
    Hospitals(HospitalsCommandArgs),
    /// Makes keys for the ingestion service, seals and signs with new ones, and verifies the audit in its database.
    Ingestion(OperatorCommandArgs),
    /// Makes keys for the segmentation service, signs with new ones, and verifies the audit in its database.
    Segmentation(OperatorCommandArgs),
    /// Makes keys for the records service, seals and signs with new ones, and verifies the audit in its database.
    Records(OperatorCommandArgs),
    /// Makes keys for the referral service, seals and signs with new ones, and verifies the audit in its database.
    Referral(OperatorCommandArgs),
    /// Exports a patient as a FHIR R4 bundle, and imports bundles, of a running service.
    Fhir(FhirCommandArgs),
}

/// What `diagnose` takes.
#[derive(Args)]
pub struct DiagnoseArgs {
    /// Folder with one NIfTI file for each of FLAIR, T1, T1ce and T2; a phantom if not given.
    #[arg(long)]
    pub case: Option<PathBuf>,

    /// The symptoms in English or Korean, or a text file that holds them; those of the phantom if
    /// neither case nor symptoms are given.
    #[arg(long, value_name = "TEXT_OR_FILE")]
    pub symptoms: Option<String>,

    /// Folder for report.json, report.html, report.fhir.json, overlay.png and mask.nii.gz; default
    /// `./out/CASE-TIME`.
    #[arg(long)]
    pub out: Option<PathBuf>,

    /// Language of report.html and of the texts in report.fhir.json: en or ko.
    #[arg(long, default_value_t)]
    pub language: Language,

    /// Write the report as JSON to stdout, and nothing else there.
    #[arg(long)]
    pub json: bool,

    /// Folder in which the services keep patients, studies and masks; forgotten afterwards if not
    /// given.
    #[arg(long)]
    pub data: Option<PathBuf>,

    /// Hand the patient writes with: hints at the side of language.
    #[arg(long, value_enum)]
    pub handedness: Option<HandednessArg>,

    /// Where the patient lives, for distances to hospitals: degrees north and east, such as
    /// 37.57,126.98.
    #[arg(long, value_name = "LATITUDE,LONGITUDE", value_parser = coordinates, allow_hyphen_values = true)]
    pub home: Option<(f64, f64)>,

    /// Most hospitals to rank.
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u32).range(1..=50))]
    pub hospitals: u32,

    /// Which model runs, and where.
    #[command(flatten)]
    pub model: ModelArgs,
}

/// Hand the patient writes with.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum HandednessArg {
    /// Right-handed.
    Right,
    /// Left-handed.
    Left,
    /// Uses both hands.
    Both,
}

/// Which model runs, and where.
#[derive(Args)]
pub struct ModelArgs {
    /// Folder with model.safetensors and card.json; the built-in model if not given.
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,

    /// Device of the network: auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
}

/// Which model is scored, and where it runs.
#[derive(Args)]
pub struct ScoredModelArgs {
    /// Folder with model.safetensors and card.json, or, where there is no such folder, the id of a
    /// model in the segmentation service; the built-in model if not given.
    #[arg(long, value_name = "DIR_OR_ID")]
    pub model: Option<PathBuf>,

    /// Where the segmentation service answers that has the model.
    #[arg(long, env = "SEGMENTATION_ENDPOINT", value_name = "URL", default_value = SEGMENTATION_ENDPOINT)]
    pub endpoint: String,

    /// As whom the service is asked.
    #[command(flatten)]
    pub token: TokenArgs,

    /// Device of the network: auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
}

/// What `up` takes.
#[derive(Args)]
pub struct UpArgs {
    /// Folder in which the services keep what they store; forgotten afterwards if not given.
    #[arg(long)]
    pub data: Option<PathBuf>,

    /// First of four ports in a row: ingestion, segmentation, records, referral.
    #[arg(long, default_value = "50051")]
    pub port_base: u16,

    /// Which model runs, and where.
    #[command(flatten)]
    pub model: ModelArgs,

    /// Training in the segmentation service.
    #[command(flatten)]
    pub training: TrainingConfig,
}

/// What `phantom` takes.
#[derive(Args)]
pub struct PhantomArgs {
    /// Folder for the cases: one folder each, in BraTS layout.
    #[arg(long)]
    pub out: PathBuf,

    /// How many cases.
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub count: u32,

    /// The same seed makes the same cases.
    #[arg(long, default_value = "1")]
    pub seed: u64,

    /// Where the tumour lies: a region such as frontal_left, or x,y,z in RAS+ millimetres.
    #[arg(long, value_name = "REGION_OR_MM", allow_hyphen_values = true)]
    pub at: Option<String>,
}

/// What `train` takes.
#[derive(Args)]
pub struct TrainArgs {
    /// TOML file that says what to train, on which cases, and where to put the model.
    #[arg(long)]
    pub config: PathBuf,

    /// Go on from the last checkpoint in the output folder.
    #[arg(long)]
    pub resume: bool,

    /// Divide the cases into so many parts and hold one out; as many as there are cases: each alone.
    #[arg(long, value_name = "COUNT", conflicts_with = "endpoint")]
    pub folds: Option<usize>,

    /// Which part is held out, from 0; its model goes into a folder fold-INDEX.
    #[arg(long, value_name = "INDEX", requires = "folds")]
    pub fold: Option<usize>,

    /// Train every fold, one after another: finished ones are passed over, a broken one goes on. The
    /// count is that of --folds or of the file.
    #[arg(long, conflicts_with_all = ["fold", "resume", "endpoint"])]
    pub all_folds: bool,

    /// Have the segmentation service at this address train, and watch.
    #[arg(long, value_name = "URL", conflicts_with = "resume")]
    pub endpoint: Option<String>,

    /// As whom the service is asked.
    #[command(flatten)]
    pub token: TokenArgs,
}

/// What `evaluate` takes.
#[derive(Args)]
pub struct EvaluateArgs {
    /// Folder of case folders, each with the four sequences and a `seg` file.
    #[arg(long, value_name = "DIR", required_unless_present = "truth")]
    pub cases: Option<PathBuf>,

    /// Compare two masks instead, without a model: the expert's mask.
    #[arg(
        long,
        value_name = "FILE",
        requires = "prediction",
        conflicts_with_all = ["cases", "only", "html", "masks", "keep_going", "model"]
    )]
    pub truth: Option<PathBuf>,

    /// The mask to score against that of --truth.
    #[arg(
        long,
        value_name = "FILE",
        requires = "truth",
        conflicts_with_all = ["cases", "only", "html", "masks", "keep_going", "model"]
    )]
    pub prediction: Option<PathBuf>,

    /// Where to write the scores as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Where to write a page with the scores and, for each case, pictures of image, truth, marking
    /// and errors.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Folder for the masks of the model: ID.nii.gz in the geometry of the case.
    #[arg(long, value_name = "DIR")]
    pub masks: Option<PathBuf>,

    /// Only these cases, by folder name.
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    pub only: Vec<String>,

    /// Go on when a case can't be scored, list it, and end with an error.
    #[arg(long)]
    pub keep_going: bool,

    /// Which model is scored, and where it runs.
    #[command(flatten)]
    pub model: ScoredModelArgs,
}

/// What `localise` takes.
#[derive(Args)]
pub struct LocaliseArgs {
    /// Mask with labels 0, 1, 2 and 4 (or 3), as `.nii` or `.nii.gz`.
    #[arg(long)]
    pub mask: PathBuf,

    /// An image of the same study, T1 best, as `.nii` or `.nii.gz`: it is registered to a template, so
    /// that regions are named in any space, and better.
    #[arg(long)]
    pub image: Option<PathBuf>,

    /// Which images are registered: `always`, `unknown` (those whose header names no template) or
    /// `never`.
    #[arg(long, default_value = "always", requires = "image")]
    pub registration: RegistrationRule,

    /// Where to register: `auto`, `cpu` or `cuda:N`.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,

    /// Draws the image with the mask and the outlines of the regions, in three planes through the
    /// largest lesion, as PNG into this file.
    #[arg(long, value_name = "FILE", requires = "image")]
    pub picture: Option<PathBuf>,

    /// Write everything that is known as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

pub(crate) fn coordinates(text: &str) -> Result<(f64, f64), String> {
    let wrong = || "expected degrees north and east, such as 37.57,126.98".to_owned();
    let (latitude, longitude) = text.split_once(',').ok_or_else(wrong)?;
    let parse = |part: &str| part.trim().parse::<f64>().map_err(|_| wrong());
    let (latitude, longitude) = (parse(latitude)?, parse(longitude)?);
    if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
        return Err(wrong());
    }
    Ok((latitude, longitude))
}

/// Does what was asked.
///
/// # Errors
/// Why it could not be done, for a person to read.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("start runtime")?;
    let telemetry =
        TelemetryConfig { otlp_endpoint: cli.otlp_endpoint, log_filter: cli.log_filter };
    let guard = {
        let _entered = runtime.enter();
        telemetry::init_command("neurotriage", &telemetry)?
    };
    let outcome = match cli.command {
        Command::Diagnose(args) => crate::case::run(&runtime, args),
        Command::Up(args) => crate::up::run(&runtime, &args),
        Command::Phantom(args) => crate::phantom::run(&args),
        Command::Train(args) => match &args.endpoint {
            Some(endpoint) => crate::train_remote::run(&runtime, &args, endpoint),
            None => crate::train::run(&runtime, &args),
        },
        Command::Evaluate(args) => crate::evaluate::run(&runtime, &args),
        Command::Localise(args) => crate::localise::run(&args),
        Command::Model(args) => model_command::run(&runtime, args),
        Command::Training(args) => training_command::run(&runtime, args),
        Command::Hospitals(args) => hospitals_command::run(&runtime, args),
        Command::Ingestion(args) => operator_command::run(&runtime, Service::Ingestion, args),
        Command::Segmentation(args) => operator_command::run(&runtime, Service::Segmentation, args),
        Command::Records(args) => operator_command::run(&runtime, Service::Records, args),
        Command::Referral(args) => operator_command::run(&runtime, Service::Referral, args),
        Command::Fhir(args) => fhir_command::run(&runtime, args),
    };
    outcome.and(guard.shutdown())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn evaluate_takes_cases_or_two_masks() {
        let parses = |line: &str| Cli::try_parse_from(line.split_whitespace()).is_ok();
        for line in ["--cases c", "--cases c --model m --only a,b", "--truth t --prediction p"] {
            assert!(parses(&format!("neurotriage evaluate {line}")), "{line}");
        }
        let wrong = [
            "",
            "--truth t",
            "--prediction p",
            "--cases c --prediction p",
            "--cases c --truth t --prediction p",
            "--truth t --prediction p --model m",
            "--truth t --prediction p --html h",
        ];
        for line in wrong {
            assert!(!parses(&format!("neurotriage evaluate {line}")), "{line}");
        }
    }

    #[test]
    fn the_commands_that_are_told_can_be_given() {
        for action in ["show", "watch", "cancel", "resume"] {
            let line = crate::train_remote::command(action, "0190", "http://127.0.0.1:1");
            assert!(Cli::try_parse_from(line.split_whitespace()).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_home_is_two_numbers_on_earth() {
        assert_eq!(coordinates("37.57,126.98"), Ok((37.57, 126.98)));
        assert_eq!(coordinates("-33.9, 18.4"), Ok((-33.9, 18.4)));
        for text in ["", "1", "91,0", "0,181", "a,b", "NaN,0"] {
            assert!(coordinates(text).is_err(), "{text}");
        }
    }
}
