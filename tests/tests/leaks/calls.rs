//! Calls of any RPC by its path, and what was refused.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use neurotriage_service_kit::client;
use neurotriage_tests::deployment::{Ground, SERVICES};
use prost::Message;
use tokio::time::timeout;
use tonic::{
    Request, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use tonic_prost::ProstCodec;

/// Longest call: a study on a slow CPU.
const CALL_MAX: Duration = Duration::from_secs(300);
/// Most answers of a stream that ends by itself.
const ANSWERS_MAX: usize = 10_000;

/// Makes calls as one caller.
pub(crate) struct Calls {
    channels: HashMap<&'static str, Channel>,
    authorization: MetadataValue<Ascii>,
    /// What was called and answered, such as `records.v1.RecordsService/GetPatient`.
    pub(crate) answered: BTreeSet<String>,
    /// What was refused, and with what.
    pub(crate) refusals: Vec<(String, Status)>,
}

impl Calls {
    pub(crate) fn new(ground: &Ground, token: &str) -> Self {
        let channel = |service| client::channel(ground.endpoint(service).unwrap()).unwrap();
        let channels = SERVICES.map(|(service, _, _)| (service, channel(service))).into();
        let authorization = format!("Bearer {token}").parse().unwrap();
        Self { channels, authorization, answered: BTreeSet::new(), refusals: Vec::new() }
    }

    /// Makes the calls that follow with another token, and returns the one before.
    pub(crate) fn act_as(&mut self, token: &str) -> MetadataValue<Ascii> {
        let authorization = format!("Bearer {token}").parse().unwrap();
        std::mem::replace(&mut self.authorization, authorization)
    }

    /// Makes the calls that follow with the token of before.
    pub(crate) fn act_again_as(&mut self, authorization: MetadataValue<Ascii>) {
        self.authorization = authorization;
    }

    /// Calls `rpc`, such as `records.v1.RecordsService/GetPatient`, and returns at most `answers_max` answers.
    pub(crate) async fn call<M, A>(
        &self,
        rpc: &str,
        messages: Vec<M>,
        answers_max: usize,
    ) -> Result<Vec<A>, Status>
    where
        M: Message + 'static,
        A: Message + Default + 'static,
    {
        let package = rpc.split('.').next().unwrap();
        // FHIR is spoken by the referral service.
        let of = if package == "fhir" { "referral" } else { package };
        let mut grpc = Grpc::new(self.channels[of].clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::try_from(format!("/neurotriage.{rpc}")).unwrap();
        let mut request = Request::new(tokio_stream::iter(messages));
        request.metadata_mut().insert("authorization", self.authorization.clone());
        let work = async {
            let codec = ProstCodec::<M, A>::default();
            // On the wire a single message is a stream of one.
            let mut stream = grpc.streaming(request, path, codec).await?.into_inner();
            let mut answers = Vec::new();
            while answers.len() < answers_max {
                let Some(answer) = stream.message().await? else { break };
                answers.push(answer);
            }
            Ok(answers)
        };
        timeout(CALL_MAX, work).await.unwrap_or_else(|_| panic!("{rpc} is not answered"))
    }

    /// Makes a call that is right, and returns the first answers.
    pub(crate) async fn answers<M, A>(
        &mut self,
        rpc: &str,
        messages: Vec<M>,
        answers_max: usize,
    ) -> Vec<A>
    where
        M: Message + 'static,
        A: Message + Default + 'static,
    {
        let answers = self.call(rpc, messages, answers_max).await;
        let answers = answers.unwrap_or_else(|status| panic!("{rpc}: {status:?}"));
        self.answered.insert(rpc.to_owned());
        answers
    }

    /// Makes a call of one message that is right, and returns the last answer.
    pub(crate) async fn right<M, A>(&mut self, rpc: &str, message: M) -> A
    where
        M: Message + 'static,
        A: Message + Default + 'static,
    {
        self.right_stream(rpc, vec![message]).await
    }

    /// As [`Calls::right`], with several messages.
    pub(crate) async fn right_stream<M, A>(&mut self, rpc: &str, messages: Vec<M>) -> A
    where
        M: Message + 'static,
        A: Message + Default + 'static,
    {
        self.answers(rpc, messages, ANSWERS_MAX).await.pop().unwrap_or_else(|| panic!("{rpc}"))
    }

    /// Makes a call of one message that is to be refused.
    pub(crate) async fn wrong<M: Message + 'static>(&mut self, rpc: &str, message: M) {
        self.wrong_stream(rpc, vec![message]).await;
    }

    /// As [`Calls::wrong`], with several messages.
    pub(crate) async fn wrong_stream<M: Message + 'static>(&mut self, rpc: &str, messages: Vec<M>) {
        assert!(self.any(rpc, messages).await, "{rpc} was not refused");
    }

    /// Makes a call that may be refused, and returns whether it was.
    pub(crate) async fn any<M: Message + 'static>(&mut self, rpc: &str, messages: Vec<M>) -> bool {
        let refused = self.call::<M, ()>(rpc, messages, ANSWERS_MAX).await.err();
        let is_refused = refused.is_some();
        self.refusals.extend(refused.map(|status| (rpc.to_owned(), status)));
        is_refused
    }

    /// Returns everything that a refusal tells.
    pub(crate) fn said(status: &Status) -> Vec<u8> {
        let mut bytes = status.message().as_bytes().to_vec();
        bytes.extend_from_slice(status.details());
        bytes.extend_from_slice(format!("{:?}", status.metadata()).as_bytes());
        bytes
    }
}
