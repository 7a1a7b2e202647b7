//! Requests with a mark in every text that the contracts have, whatever RPCs there are.

use std::collections::BTreeMap;

use prost::{
    DecodeError, Message,
    bytes::{Buf, BufMut},
    encoding::{DecodeContext, WireType, encode_key, encode_varint, skip_field},
};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet, field_descriptor_proto::Type,
};

use crate::marks::Marks;

/// Deepest message in a message that is filled.
const DEPTH_MAX: usize = 6;

/// A message that is encoded already.
#[derive(Clone, Debug, Default)]
pub(crate) struct Encoded(Vec<u8>);

impl Message for Encoded {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        skip_field(wire_type, tag, buf, context)
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// One RPC of the contracts.
pub(crate) struct Rpc {
    /// Such as `records.v1.RecordsService/GetPatient`.
    pub(crate) name: String,
    /// True if the caller sends a stream.
    pub(crate) takes_stream: bool,
    request: String,
}

/// What the contracts say.
pub(crate) struct Contracts {
    pub(crate) rpcs: Vec<Rpc>,
    messages: BTreeMap<String, DescriptorProto>,
}

impl Contracts {
    pub(crate) fn read() -> Self {
        let set = FileDescriptorSet::decode(neurotriage_proto::FILE_DESCRIPTOR_SET).unwrap();
        let (mut rpcs, mut messages) = (Vec::new(), BTreeMap::new());
        for file in &set.file {
            for message in &file.message_type {
                add(&mut messages, &format!(".{}", file.package()), message);
            }
            for service in &file.service {
                let package = file.package().strip_prefix("neurotriage.").unwrap();
                rpcs.extend(service.method.iter().map(|rpc| Rpc {
                    name: format!("{package}.{}/{}", service.name(), rpc.name()),
                    takes_stream: rpc.client_streaming(),
                    request: rpc.input_type().to_owned(),
                }));
            }
        }
        Self { rpcs, messages }
    }

    /// Returns requests of `rpc` with a mark in every text, one for each choice that they leave.
    pub(crate) fn requests(&self, rpc: &Rpc, marks: &mut Marks) -> Vec<Encoded> {
        self.forms(&rpc.request, marks, DEPTH_MAX).into_iter().map(Encoded).collect()
    }

    fn forms(&self, name: &str, marks: &mut Marks, depth: usize) -> Vec<Vec<u8>> {
        let Some(message) = self.messages.get(name) else { panic!("no message {name}") };
        let (mut common, mut choices) = (Vec::new(), Vec::new());
        for field in &message.field {
            let values = self.values(field, marks, depth);
            // An optional field of its own is a choice of one.
            if field.oneof_index.is_some() && !field.proto3_optional() {
                choices.extend(values);
            } else {
                common.extend(values.into_iter().next().unwrap_or_default());
            }
        }
        if choices.is_empty() {
            return vec![common];
        }
        choices.into_iter().map(|choice| [common.clone(), choice].concat()).collect()
    }

    /// Returns the field with each of its values that hold marks.
    fn values(
        &self,
        field: &FieldDescriptorProto,
        marks: &mut Marks,
        depth: usize,
    ) -> Vec<Vec<u8>> {
        let kind = field.r#type();
        let values = if matches!(kind, Type::String | Type::Bytes) {
            vec![marks.text().into_bytes()]
        } else if kind == Type::Message && depth > 0 {
            self.forms(field.type_name(), marks, depth - 1)
        } else {
            Vec::new()
        };
        let tagged = |value: Vec<u8>| {
            let mut bytes = Vec::new();
            encode_key(
                u32::try_from(field.number()).unwrap(),
                WireType::LengthDelimited,
                &mut bytes,
            );
            encode_varint(value.len() as u64, &mut bytes);
            bytes.extend(value);
            bytes
        };
        values.into_iter().map(tagged).collect()
    }
}

fn add(messages: &mut BTreeMap<String, DescriptorProto>, parent: &str, message: &DescriptorProto) {
    let name = format!("{parent}.{}", message.name());
    for nested in &message.nested_type {
        add(messages, &name, nested);
    }
    messages.insert(name, message.clone());
}
