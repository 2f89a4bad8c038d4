use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Names one node for ever, whatever it is called on its host: 32 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(String);

/// Why a text is not a [`NodeId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not 32 lower-case hexadecimal digits")]
pub struct NodeIdError;

impl NodeId {
    const LEN: usize = 32;

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == Self::LEN && text.bytes().all(digit) { Ok(Self(text.to_owned())) } else { Err(NodeIdError) }
    }
}

impl TryFrom<String> for NodeId {
    type Error = NodeIdError;

    fn try_from(text: String) -> Result<Self, NodeIdError> {
        text.parse()
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> Self {
        id.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_32_lower_case_digits_name_a_node() {
        let good = "0123456789abcdef".repeat(2);
        assert_eq!(good.parse::<NodeId>().map(|id| id.to_string()), Ok(good.clone()));
        for bad in ["", &good[1..], &good.to_uppercase(), "../../../../../../../../etc/shadow"] {
            assert_eq!(bad.parse::<NodeId>(), Err(NodeIdError), "{bad:?}");
        }
    }
}
