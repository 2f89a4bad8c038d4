use crate::crypto;
use crate::tuf::fields::{self, Fields, FormatError};
use crate::tuf::json::{Json, Object};

use super::scheme::{KeyPolicy, Material};
use super::signature::Signature;

/// A public key as metadata lists it.
///
/// A key of an unknown type, or one that cannot be read, is kept as it is: it never verifies anything,
/// and it never makes the file that lists it unreadable.
#[derive(Clone, Debug)]
pub struct Key {
    keyid: String,
    keytype: String,
    scheme: String,
    keyval: Object,
    unrecognized: Object,
    material: Option<Material>,
}

impl Key {
    /// An ML-DSA-65 key under a keyid of the caller's choice. A keyid is a name, unique within the
    /// file that lists it, and nothing more (TAP 12).
    #[must_use]
    pub fn ml_dsa(keyid: impl Into<String>, key: &crypto::PublicKey<crypto::ReleaseMetadata>) -> Self {
        let keyval = Object::from([("public".to_owned(), Json::String(key.to_pem()))]);
        Self::new(keyid.into(), "ml-dsa".to_owned(), "ml-dsa-65/1".to_owned(), keyval, Object::new())
    }

    fn new(keyid: String, keytype: String, scheme: String, keyval: Object, unrecognized: Object) -> Self {
        let public = match keyval.get("public") {
            Some(Json::String(public)) => Some(public.as_str()),
            _ => None,
        };
        let material = public.and_then(|public| Material::read(&keytype, &scheme, public));
        Self { keyid, keytype, scheme, keyval, unrecognized, material }
    }

    /// Its name in the file that lists it. Never recomputed from the key.
    #[must_use]
    pub fn keyid(&self) -> &str {
        &self.keyid
    }

    /// The kind of key, such as `ml-dsa`.
    #[must_use]
    pub fn keytype(&self) -> &str {
        &self.keytype
    }

    /// The kind of signature, such as `ml-dsa-65/1`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The members of `keyval`.
    #[must_use]
    pub fn keyval(&self) -> &Object {
        &self.keyval
    }

    /// Members that nobody here knows.
    #[must_use]
    pub fn unrecognized(&self) -> &Object {
        &self.unrecognized
    }

    /// Whether a signature by this key can count under `policy`: its type and scheme are known and
    /// allowed, and the key itself can be read.
    #[must_use]
    pub fn is_usable(&self, policy: KeyPolicy) -> bool {
        self.material.as_ref().is_some_and(|material| policy.admits(material))
    }

    /// Whether both are the same key, under whatever keyid, type name or spelling.
    #[must_use]
    pub fn is_same_material(&self, other: &Self) -> bool {
        self.material.is_some() && self.material == other.material
    }

    /// Whether this key, allowed by `policy`, made `signature` over `payload`. Whatever is wrong with
    /// either, the answer is no.
    #[must_use]
    pub fn verifies(&self, policy: KeyPolicy, payload: &[u8], signature: &Signature) -> bool {
        let Some(material) = self.material.as_ref().filter(|material| policy.admits(material)) else { return false };
        signature.keyid == self.keyid
            && hex::decode(&signature.sig).is_ok_and(|bytes| material.verifies(payload, &bytes))
    }

    pub(super) fn read(keyid: &str, value: Json) -> Result<Self, FormatError> {
        let mut fields = Fields::of(value)?;
        let keytype = fields.read("keytype", fields::string)?;
        let scheme = fields.read("scheme", fields::string)?;
        let keyval = fields.read("keyval", fields::object)?;
        Ok(Self::new(keyid.to_owned(), keytype, scheme, keyval, fields.rest()))
    }

    pub(super) fn write(&self) -> Json {
        let mut object = self.unrecognized.clone();
        object.insert("keytype".to_owned(), Json::String(self.keytype.clone()));
        object.insert("scheme".to_owned(), Json::String(self.scheme.clone()));
        object.insert("keyval".to_owned(), Json::Object(self.keyval.clone()));
        Json::Object(object)
    }
}

impl PartialEq for Key {
    // What was read from the other members need not be compared again.
    fn eq(&self, other: &Self) -> bool {
        self.keyid == other.keyid
            && self.keytype == other.keytype
            && self.scheme == other.scheme
            && self.keyval == other.keyval
            && self.unrecognized == other.unrecognized
    }
}

impl Eq for Key {}
