use reqwest::header::{HeaderMap, LINK};

/// The target of the link with this relation (RFC 8288, section 3), as it is spelled.
///
/// Fields that are not well formed end the search: what follows in them could be read in two ways.
pub(super) fn related(head: &HeaderMap, relation: &str) -> Option<String> {
    head.get_all(LINK).iter().find_map(|field| related_in(field.to_str().ok()?, relation))
}

fn related_in(field: &str, relation: &str) -> Option<String> {
    let mut rest = field.trim_matches([' ', '\t']);
    while !rest.is_empty() {
        let (target, parameters) = rest.strip_prefix('<')?.split_once('>')?;
        let (found, after) = has_relation(parameters, relation)?;
        if found {
            return Some(target.to_owned());
        }
        rest = after;
    }
    None
}

/// Reads `; name=value; name="value"` up to the comma that ends this link: whether its first `rel`
/// names the relation, and what comes behind the comma.
fn has_relation<'a>(parameters: &'a str, relation: &str) -> Option<(bool, &'a str)> {
    let mut rest = parameters;
    let mut found: Option<bool> = None;
    loop {
        rest = blank(rest);
        if rest.is_empty() {
            return Some((found == Some(true), rest));
        }
        if let Some(after) = rest.strip_prefix(',') {
            return Some((found == Some(true), blank(after)));
        }
        rest = blank(rest.strip_prefix(';')?);
        let end = rest.find([';', ',', '=', ' ', '\t']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = blank(after);
        let Some(after) = rest.strip_prefix('=') else { continue };
        let (value, after) = value(blank(after))?;
        rest = after;
        if name.eq_ignore_ascii_case("rel") && found.is_none() {
            found = Some(value.split([' ', '\t']).any(|word| word.eq_ignore_ascii_case(relation)));
        }
    }
}

/// A word, or a quoted text; escapes in it are left as they are, since no relation holds one.
fn value(text: &str) -> Option<(&str, &str)> {
    let Some(inner) = text.strip_prefix('"') else {
        return Some(text.split_at(text.find([';', ',', ' ', '\t']).unwrap_or(text.len())));
    };
    let mut escaped = false;
    let end = inner.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    Some((&inner[..end], &inner[end + 1..]))
}

fn blank(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn next(field: &str) -> Option<String> {
        related_in(field, "next")
    }

    #[test]
    fn the_next_page_is_found_among_its_relatives() {
        let prev = "<https://api.example/r?page=1>; rel=\"prev\"";
        let last = "<https://api.example/r?page=9>; rel=\"last\"";
        let wanted = Some("https://api.example/r?page=3,4;5".to_owned());
        for link in [
            "<https://api.example/r?page=3,4;5>; rel=\"next\"",
            "<https://api.example/r?page=3,4;5>;rel=next",
            "<https://api.example/r?page=3,4;5> ; REL = \"prefetch Next\"",
            "<https://api.example/r?page=3,4;5>; title=\"a, \\\"b\\\"; rel=prev\"; rel=\"next\"",
            "<https://api.example/r?page=3,4;5>; anchored; rel=next; rel=prev",
        ] {
            for field in [link.to_owned(), format!("{prev}, {link}, {last}"), format!("{link},{last}")] {
                assert_eq!(next(&field), wanted, "{field}");
            }
        }
        assert_eq!(next(&format!("{prev}, {last}")), None);
    }

    #[test]
    fn what_is_not_well_formed_leads_nowhere() {
        for bad in [
            "",
            ",",
            "https://api.example; rel=next",
            "<https://api.example",
            "<>",
            "<a> rel=next",
            "<a>; rel=\"next",
            "<a>; rel=\"prev\" <b>; rel=\"next\"",
            "<a>; rel=prev; rel=next",
            "x, <a>; rel=next",
        ] {
            assert_eq!(next(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_fields_never_panic(field in "[<>;,=\"\\\\ a-z]{0,40}") {
            if let Some(target) = next(&field) {
                let spelled = format!("<{target}>");
                prop_assert!(field.contains(&spelled));
            }
        }

        #[test]
        fn an_honest_link_is_found_wherever_it_stands(before in 0usize..4, after in 0usize..4, target in "[a-z:/?=&,;]{1,20}") {
            let other = |n: usize| format!("<o{n}>; rel=\"other\"");
            let links: Vec<String> = (0..before).map(other).chain([format!("<{target}>; rel=\"next\"")]).chain((0..after).map(other)).collect();
            prop_assert_eq!(next(&links.join(", ")), Some(target));
        }
    }
}
