use crate::tuf::fields::{self, Fields, FormatError, Problem};
use crate::tuf::json::{Json, Object};

/// One signature as a file carries it. It says nothing until a key has verified it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Which key is said to have made it.
    pub keyid: String,
    /// The signature in hexadecimal. Any text is kept; what is no signature verifies nothing.
    pub sig: String,
    /// Members that nobody here knows.
    pub unrecognized: Object,
}

impl Signature {
    /// A signature by the key of that keyid.
    #[must_use]
    pub fn new(keyid: impl Into<String>, bytes: &[u8]) -> Self {
        Self { keyid: keyid.into(), sig: hex::encode(bytes), unrecognized: Object::new() }
    }

    fn read(value: Json) -> Result<Self, FormatError> {
        let mut fields = Fields::of(value)?;
        let keyid = fields.read("keyid", fields::string)?;
        let sig = fields.read("sig", fields::string)?;
        Ok(Self { keyid, sig, unrecognized: fields.rest() })
    }

    fn write(&self) -> Json {
        let mut object = self.unrecognized.clone();
        object.insert("keyid".to_owned(), Json::String(self.keyid.clone()));
        object.insert("sig".to_owned(), Json::String(self.sig.clone()));
        Json::Object(object)
    }
}

/// The signatures of a file: one for each keyid, in the file's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signatures(Vec<Signature>);

impl Signatures {
    /// The signature by the key of that keyid.
    #[must_use]
    pub fn get(&self, keyid: &str) -> Option<&Signature> {
        self.0.iter().find(|signature| signature.keyid == keyid)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Signature> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a signature behind the others. One by the same keyid is replaced where it stands.
    pub fn insert(&mut self, signature: Signature) {
        match self.0.iter_mut().find(|known| known.keyid == signature.keyid) {
            Some(known) => *known = signature,
            None => self.0.push(signature),
        }
    }

    /// Removes the signature by the key of that keyid.
    pub fn remove(&mut self, keyid: &str) {
        self.0.retain(|signature| signature.keyid != keyid);
    }

    /// Removes all of them.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn read(value: Json) -> Result<Self, FormatError> {
        let signatures: Vec<_> = fields::array(value)?.into_iter().map(Signature::read).collect::<Result<_, _>>()?;
        fields::unique(signatures.iter().map(|signature| signature.keyid.as_str()))
            .map_err(|keyid| FormatError::new(Problem::RepeatedKeyid(keyid.to_owned())))?;
        Ok(Self(signatures))
    }

    pub(super) fn write(&self) -> Json {
        Json::Array(self.0.iter().map(Signature::write).collect())
    }
}
