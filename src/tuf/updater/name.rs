use std::fmt::Write as _;

/// The file name of a role's metadata, on a server and on disk: everything but letters, digits and
/// `-._~` is percent-encoded, so that no role's name leads to another place.
#[must_use]
pub fn file_name(role: &str) -> String {
    percent_encoded(role) + ".json"
}

/// A text as one part of an address, or as a file name.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    let mut name = String::with_capacity(text.len() + 5);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => name.push(char::from(byte)),
            _ => write!(name, "%{byte:02X}").expect("a string takes any text"),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t41_no_role_s_name_leads_to_another_place() {
        for (role, file) in [
            ("targets", "targets.json"),
            ("../delegatedrole", "..%2Fdelegatedrole.json"),
            ("/delegatedrole", "%2Fdelegatedrole.json"),
            ("?", "%3F.json"),
            ("#", "%23.json"),
            ("..", "...json"),
            ("a%2Fb", "a%252Fb.json"),
            ("é \0", "%C3%A9%20%00.json"),
        ] {
            assert_eq!(file_name(role), file);
        }
    }
}
