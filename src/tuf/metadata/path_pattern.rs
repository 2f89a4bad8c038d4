/// Whether a target's path matches a pattern: part by part between slashes, each as `fnmatch` does it.
/// A `*` never crosses a slash, case counts everywhere, and a leading dot is a character like others.
#[must_use]
pub fn matches_pattern(path: &str, pattern: &str) -> bool {
    let (mut path, mut pattern) = (path.split('/'), pattern.split('/'));
    loop {
        match (path.next(), pattern.next()) {
            (None, None) => return true,
            (Some(part), Some(pattern)) if matches_part(part, pattern) => {}
            _ => return false,
        }
    }
}

enum Token {
    Any,
    One,
    Literal(char),
    Class { ranges: Vec<(char, char)>, negated: bool },
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Literal(literal) => *literal == c,
            Self::Class { ranges, negated } => ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated,
        }
    }
}

/// Looks back to the last `*` alone, so that time is at most the product of both lengths.
fn matches_part(part: &str, pattern: &str) -> bool {
    let tokens = tokens(&pattern.chars().collect::<Vec<_>>());
    let part: Vec<char> = part.chars().collect();
    let (mut at, mut token) = (0, 0);
    let mut star = None;
    while at < part.len() {
        match tokens.get(token) {
            Some(Token::Any) => {
                star = Some((at, token));
                token += 1;
            }
            Some(known) if known.takes(part[at]) => {
                at += 1;
                token += 1;
            }
            _ => {
                let Some((from, any)) = star else { return false };
                star = Some((from + 1, any));
                at = from + 1;
                token = any + 1;
            }
        }
    }
    tokens[token..].iter().all(|token| matches!(token, Token::Any))
}

fn tokens(pattern: &[char]) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&c) = pattern.get(at) {
        at += 1;
        tokens.push(match c {
            '*' => Token::Any,
            '?' => Token::One,
            '[' => match class(&pattern[at..]) {
                Some((class, length)) => {
                    at += length;
                    class
                }
                // Never closed: a character like others.
                None => Token::Literal('['),
            },
            c => Token::Literal(c),
        });
    }
    tokens
}

/// What stands behind a `[`, and how many characters it takes. A `]` right at the beginning is a member.
fn class(pattern: &[char]) -> Option<(Token, usize)> {
    let negated = pattern.first() == Some(&'!');
    let start = usize::from(negated);
    let end = start + 1 + pattern.get(start + 1..)?.iter().position(|c| *c == ']')?;
    let mut ranges = Vec::new();
    let mut members = &pattern[start..end];
    while let [first, rest @ ..] = members {
        if let ['-', last, rest @ ..] = rest {
            // From high to low there is nothing between.
            ranges.push((*first, *last));
            members = rest;
        } else {
            ranges.push((*first, *first));
            members = rest;
        }
    }
    Some((Token::Class { ranges, negated }, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t44_patterns_match_part_by_part_and_never_across_a_slash() {
        for (path, pattern) in [
            ("a", "*"),
            ("a", "?"),
            ("", "*"),
            ("a/b", "*/*"),
            ("a/b", "a/b"),
            ("a/.b", "a/*"),
            ("a.tgz", "*.tgz"),
            ("x/a-1.tgz", "x/a-[0-9].tgz"),
            ("b", "[!a]"),
            ("]", "[]]"),
            ("a", "[!]]"),
            ("-", "[a-]"),
            ("-", "[-a]"),
            ("[a", "[a"),
            ("[", "["),
            ("[]", "[]"),
            ("{a,b}", "{a,b}"),
            ("\\a", "\\a"),
            ("é", "?"),
            ("a//b", "a//b"),
            ("a/", "a/"),
            ("^", "[^]"),
            ("aXbXc", "a*b*c"),
            ("[!", "[!"),
            ("[!]", "[!]"),
            ("^", "[^a]"),
            ("a", "[^a]"),
        ] {
            assert!(matches_pattern(path, pattern), "{path:?} {pattern:?}");
        }
        for (path, pattern) in [
            ("a/b", "*"),
            ("a/b", "a*b"),
            ("a/b", "a?b"),
            ("a/b", "a[/]b"),
            ("a/b/c", "*/*"),
            ("a", "*/*"),
            ("/a", "a"),
            ("A", "a"),
            ("a", "A"),
            ("a", ""),
            ("", "?"),
            ("ab", "?"),
            ("a", "[!a]"),
            ("]", "[!]]"),
            ("b", "[z-a]"),
            ("a", "{a,b}"),
            ("*", "\\*"),
            ("a/b", "a//b"),
            ("a", "a/"),
            ("a/", "a"),
            ("b", "[^a]"),
            ("a\n", "a"),
        ] {
            assert!(!matches_pattern(path, pattern), "{path:?} {pattern:?}");
        }
    }

    #[test]
    fn a_pattern_made_to_take_long_does_not() {
        let pattern = "a*".repeat(2000);
        assert!(!matches_pattern(&"a".repeat(5000), &(pattern.clone() + "b")));
        assert!(matches_pattern(&"a".repeat(5000), &pattern));
    }
}
