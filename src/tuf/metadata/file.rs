use crate::sys::{Dir, SysError};
use crate::tuf::fields::{self, Fields, FormatError, Problem};
use crate::tuf::json::{Json, Object};
use crate::tuf::text;
use crate::types::ByteLimit;

use super::head::Head;
use super::signature::{Signature, Signatures};
use super::signer::{Signer, SignerError};
use super::{RoleType, Root, Signed, Snapshot, Targets, Timestamp};

/// A metadata file: its signed part and the signatures over it.
///
/// What is read and written again verifies as before, but need not be the same bytes: whoever stores a
/// file, or states its digest, uses the bytes that were received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata<T> {
    /// What is signed.
    pub signed: T,
    /// By whom, as the file claims.
    pub signatures: Signatures,
    /// Members beside those two. Nobody signs them.
    pub unrecognized: Object,
}

/// A metadata file of whichever type it says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the four types")]
pub enum AnyMetadata {
    Root(Metadata<Root>),
    Timestamp(Metadata<Timestamp>),
    Snapshot(Metadata<Snapshot>),
    Targets(Metadata<Targets>),
}

/// Why metadata was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It would not be read again: something was put into it that metadata may not hold.
    #[error("the metadata was not written, because nobody could read it: {0}")]
    Unreadable(#[source] FormatError),
    /// It would be read as something else.
    #[error("the metadata was not written, because it would be read as something else")]
    Changes,
    /// The file cannot be written.
    #[error(transparent)]
    Storage(#[from] SysError),
}

/// Why no metadata was read from a file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error(transparent)]
    Storage(#[from] SysError),
    /// The file is not metadata.
    #[error("{0:?} is not metadata: {1}")]
    Format(String, #[source] FormatError),
}

impl<T: Signed> Metadata<T> {
    /// An unsigned file.
    #[must_use]
    pub fn new(signed: T) -> Self {
        Self { signed, signatures: Signatures::default(), unrecognized: Object::new() }
    }

    /// Reads a whole file of at most `limit` bytes. Nothing is verified by that.
    pub fn from_bytes(bytes: &[u8], limit: ByteLimit) -> Result<Self, FormatError> {
        Self::with_payload(bytes, limit).map(|(metadata, _)| metadata)
    }

    /// As [`Self::from_bytes`], with the canonical bytes of the signed part as they were received.
    pub(in crate::tuf) fn with_payload(bytes: &[u8], limit: ByteLimit) -> Result<(Self, Vec<u8>), FormatError> {
        Self::read(parse(bytes, limit)?)
    }

    /// Reads the file `name`.
    pub fn read_file(dir: &Dir, name: &str, limit: ByteLimit) -> Result<Self, ReadError> {
        Self::from_bytes(&dir.read(name, limit)?, limit).map_err(|error| ReadError::Format(name.to_owned(), error))
    }

    fn read(mut fields: Fields) -> Result<(Self, Vec<u8>), FormatError> {
        let (signed, payload) = fields.read("signed", |value| {
            let payload = text::canonical(&value);
            let mut fields = Fields::of(value)?;
            fields.read("_type", |value| match fields::string(value)? {
                text if text == T::TYPE.as_str() => Ok(()),
                _ => Err(FormatError::new(Problem::Type)),
            })?;
            Ok((T::read(Head::read(&mut fields)?, fields)?, payload))
        })?;
        let signatures = fields.read("signatures", Signatures::read)?;
        Ok((Self { signed, signatures, unrecognized: fields.rest() }, payload))
    }

    fn signed_object(&self) -> Object {
        let mut object = self.signed.write();
        object.insert("_type".to_owned(), Json::from(T::TYPE.as_str()));
        object
    }

    /// What signatures are made over: the canonical form of the signed part.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        text::canonical_object(&self.signed_object())
    }

    fn object(&self) -> Object {
        let mut object = self.unrecognized.clone();
        object.insert("signed".to_owned(), Json::Object(self.signed_object()));
        object.insert("signatures".to_owned(), self.signatures.write());
        object
    }

    /// The file: ASCII, members in order, no white space. Reads back as the same, or is not written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WriteError> {
        self.checked(text::compact(&self.object()))
    }

    /// As [`Self::to_bytes`], a member a line, for people.
    pub fn to_indented_bytes(&self) -> Result<Vec<u8>, WriteError> {
        self.checked(text::indented(&self.object()))
    }

    fn checked(&self, bytes: Vec<u8>) -> Result<Vec<u8>, WriteError> {
        let read = Self::from_bytes(&bytes, ByteLimit::bytes(1 << 62)).map_err(WriteError::Unreadable)?;
        if read == *self { Ok(bytes) } else { Err(WriteError::Changes) }
    }

    /// Writes the file `name` (0644), atomically and durably.
    pub fn write_file(&self, dir: &Dir, name: &str) -> Result<(), WriteError> {
        Ok(dir.replace(name, &self.to_bytes()?, 0o644)?)
    }

    /// Signs anew: this signature takes the place of all there were. A failure leaves them.
    pub fn sign(&mut self, signer: &dyn Signer) -> Result<&Signature, SignerError> {
        let signature = signer.sign(&self.signed_bytes())?;
        self.signatures.clear();
        Ok(self.put(signature))
    }

    /// Signs in addition: behind the other signatures, or in place of this signer's earlier one.
    pub fn add_signature(&mut self, signer: &dyn Signer) -> Result<&Signature, SignerError> {
        let signature = signer.sign(&self.signed_bytes())?;
        Ok(self.put(signature))
    }

    fn put(&mut self, signature: Signature) -> &Signature {
        let keyid = signature.keyid.clone();
        self.signatures.insert(signature);
        self.signatures.get(&keyid).expect("it was just put there")
    }
}

impl AnyMetadata {
    /// Reads a whole file of at most `limit` bytes, of the type that it states.
    pub fn from_bytes(bytes: &[u8], limit: ByteLimit) -> Result<Self, FormatError> {
        let fields = parse(bytes, limit)?;
        match fields.stated_type() {
            Some(RoleType::Root) => Metadata::read(fields).map(|(metadata, _)| Self::Root(metadata)),
            Some(RoleType::Timestamp) => Metadata::read(fields).map(|(metadata, _)| Self::Timestamp(metadata)),
            Some(RoleType::Snapshot) => Metadata::read(fields).map(|(metadata, _)| Self::Snapshot(metadata)),
            Some(RoleType::Targets) => Metadata::read(fields).map(|(metadata, _)| Self::Targets(metadata)),
            None => Err(FormatError::at("_type", Problem::Type).under("signed")),
        }
    }

    /// Its type.
    #[must_use]
    pub fn role_type(&self) -> RoleType {
        match self {
            Self::Root(_) => RoleType::Root,
            Self::Timestamp(_) => RoleType::Timestamp,
            Self::Snapshot(_) => RoleType::Snapshot,
            Self::Targets(_) => RoleType::Targets,
        }
    }
}

impl Fields {
    fn stated_type(&self) -> Option<RoleType> {
        let Some(Json::Object(signed)) = self.peek("signed") else { return None };
        let Some(Json::String(stated)) = signed.get("_type") else { return None };
        RoleType::ALL.into_iter().find(|kind| kind.as_str() == stated)
    }
}

fn parse(bytes: &[u8], limit: ByteLimit) -> Result<Fields, FormatError> {
    if !limit.admits(bytes.len() as u64) {
        return Err(FormatError::new(Problem::TooLong(limit.get())));
    }
    Fields::of(Json::parse(bytes).map_err(FormatError::new)?)
}
