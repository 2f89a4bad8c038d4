use sha2::{Digest, Sha256};

use crate::tuf::fields::{self, Fields, FormatError, Problem};
use crate::tuf::json::{Json, Object};

use super::role::Role;

/// Many bins described as one (TAP 15): each target belongs to the bin that the first bits of its path's
/// SHA-256 digest number, and the same keys sign for all bins.
///
/// A search ends with the bin. The text of TAP 15 says otherwise, and no client that supports bins
/// follows it there; as no second delegation can stand beside bins, only the ancestors' siblings differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuccinctRoles {
    /// Who signs for every bin.
    pub role: Role,
    bit_length: u32,
    name_prefix: String,
}

impl SuccinctRoles {
    /// `2^bit_length` bins whose names begin with `name_prefix` and a hyphen. `None` unless
    /// `bit_length` is between 1 and 32.
    #[must_use]
    pub fn new(role: Role, bit_length: u32, name_prefix: impl Into<String>) -> Option<Self> {
        (1..=32).contains(&bit_length).then(|| Self { role, bit_length, name_prefix: name_prefix.into() })
    }

    /// How many bits of a digest number a bin.
    #[must_use]
    pub fn bit_length(&self) -> u32 {
        self.bit_length
    }

    /// What the names of all bins begin with.
    #[must_use]
    pub fn name_prefix(&self) -> &str {
        &self.name_prefix
    }

    /// How many bins there are: up to 2^32.
    #[must_use]
    pub fn number_of_bins(&self) -> u64 {
        1 << self.bit_length
    }

    /// How many hexadecimal digits number a bin.
    #[must_use]
    pub fn suffix_len(&self) -> usize {
        self.bit_length.div_ceil(4) as usize
    }

    /// The bin of a target.
    #[must_use]
    pub fn role_for_target(&self, path: &str) -> String {
        let digest = Sha256::digest(path.as_bytes());
        let first = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        self.name_of(u64::from(first >> (32 - self.bit_length)))
    }

    /// The names of all bins.
    pub fn roles(&self) -> impl Iterator<Item = String> {
        (0..self.number_of_bins()).map(|number| self.name_of(number))
    }

    /// Whether a bin has exactly that name.
    #[must_use]
    pub fn is_delegated_role(&self, name: &str) -> bool {
        let suffix = name.strip_prefix(self.name_prefix.as_str()).and_then(|rest| rest.strip_prefix('-'));
        let number = suffix.and_then(|suffix| u64::from_str_radix(suffix, 16).ok());
        // Written again it must be the same: neither a sign nor capitals nor another width.
        number.is_some_and(|number| number < self.number_of_bins() && self.name_of(number) == name)
    }

    fn name_of(&self, number: u64) -> String {
        format!("{}-{number:0width$x}", self.name_prefix, width = self.suffix_len())
    }

    pub(super) fn read(value: Json) -> Result<Self, FormatError> {
        let mut fields = Fields::of(value)?;
        let mut role = Role::read_from(&mut fields)?;
        let bit_length = fields.read("bit_length", |value| {
            let bits = fields::positive(value)?.get();
            u32::try_from(bits).ok().filter(|bits| *bits <= 32).ok_or_else(|| FormatError::new(Problem::BitLength))
        })?;
        let name_prefix = fields.read("name_prefix", fields::string)?;
        role.unrecognized = fields.rest();
        Ok(Self { role, bit_length, name_prefix })
    }

    pub(super) fn write(&self) -> Json {
        let mut object: Object = self.role.write();
        object.insert("bit_length".to_owned(), Json::from(u64::from(self.bit_length)));
        object.insert("name_prefix".to_owned(), Json::String(self.name_prefix.clone()));
        Json::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bins(bit_length: u32) -> SuccinctRoles {
        SuccinctRoles::new(Role::one_of(["k"]), bit_length, "bin").unwrap()
    }

    #[test]
    fn t54_a_bin_is_numbered_by_the_first_bits_in_as_many_digits_as_the_last_bin_needs() {
        // SHA-256 of "test" begins with 9f86d081.
        let named = [(1, "1"), (2, "2"), (4, "9"), (5, "13"), (8, "9f"), (10, "27e"), (16, "9f86"), (32, "9f86d081")];
        for (bits, suffix) in named {
            assert_eq!(bins(bits).role_for_target("test"), format!("bin-{suffix}"));
        }
        assert_eq!(bins(5).roles().last().unwrap(), "bin-1f");
        assert_eq!(bins(5).roles().count(), 32);
        assert_eq!(bins(32).number_of_bins(), 1 << 32);
        assert!(SuccinctRoles::new(Role::one_of(["k"]), 0, "b").is_none());
        assert!(SuccinctRoles::new(Role::one_of(["k"]), 33, "b").is_none());
    }

    #[test]
    fn t54_only_the_exact_name_of_a_bin_is_delegated() {
        let ten = bins(10);
        for name in ["bin-000", "bin-3ff", "bin-0ab"] {
            assert!(ten.is_delegated_role(name), "{name}");
        }
        for name in [
            "bin-400", "bin-00", "bin-0000", "bin-0AB", "bin-+01", "bin-0_1", "bin--01", "bin000", "bi-000", "", "bin-",
        ] {
            assert!(!ten.is_delegated_role(name), "{name}");
        }
        assert!(bins(32).is_delegated_role("bin-ffffffff"));
    }
}
