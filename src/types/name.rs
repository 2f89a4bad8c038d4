use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not a [`Product`] or a [`NodeName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or longer than 32 bytes.
    #[error("must be 1 to {MAX_LEN} bytes long")]
    Length,
    /// A character outside `[a-z0-9-]`, or a leading or trailing hyphen.
    #[error("may hold only a-z, 0-9 and '-', and must not start or end with '-'")]
    Character,
}

const MAX_LEN: usize = 32;

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.len() > MAX_LEN {
        return Err(NameError::Length);
    }
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !text.bytes().all(allowed) || text.starts_with('-') || text.ends_with('-') {
        return Err(NameError::Character);
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name under which a product's releases are signed: 1 to 32 bytes of `[a-z0-9-]`.
    Product
}

name! {
    /// The name of one node on its host: 1 to 32 bytes of `[a-z0-9-]`. It names folders.
    NodeName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_nothing_that_a_path_or_a_context_could_misread() {
        for text in ["", ".", "..", "a/b", "A", "-a", "a-", "a_b", "a b", &"a".repeat(33)] {
            assert!(text.parse::<Product>().is_err(), "{text:?}");
            assert!(text.parse::<NodeName>().is_err(), "{text:?}");
        }
        assert!("a".repeat(32).parse::<Product>().is_ok());
    }
}
