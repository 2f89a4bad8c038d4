//! Versions, targets, names, digests, limits, windows: what is accepted prints itself, and signature
//! contexts tell any two releases apart.
#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use exuvia::crypto::{Context, Release};
use exuvia::fetch::{HostName, Location, Mirror, Repository};
use exuvia::types::{
    ByteLimit, Channel, KeyId, NodeName, Product, ReleaseId, Sha256Digest, Target, Version, WeeklyWindow,
};
use libfuzzer_sys::fuzz_target;

fn prints_itself<T: FromStr + Display>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text);
    }
}

/// Several spellings, one form.
fn has_one_form<T: FromStr + Display>(text: &str) {
    let Ok(value) = text.parse::<T>() else { return };
    let form = value.to_string();
    let again = form.parse::<T>().unwrap_or_else(|_| panic!("{text:?} prints as {form:?}, which is refused"));
    assert_eq!(again.to_string(), form);
}

fn release(text: &str) -> Option<ReleaseId> {
    let mut words = text.split_ascii_whitespace();
    let mut word = || words.next();
    Some(ReleaseId { product: word()?.parse().ok()?, version: word()?.parse().ok()?, target: word()?.parse().ok()? })
}

fuzz_target!(|text: &str| {
    prints_itself::<Version>(text);
    prints_itself::<Target>(text);
    prints_itself::<Product>(text);
    prints_itself::<NodeName>(text);
    prints_itself::<Sha256Digest>(text);
    prints_itself::<KeyId>(text);
    prints_itself::<Channel>(text);
    prints_itself::<Repository>(text);
    has_one_form::<ByteLimit>(text);
    has_one_form::<WeeklyWindow>(text);
    has_one_form::<HostName>(text);
    let _ = (text.parse::<Location>().map(|at| at.to_string()), text.parse::<Mirror>().map(|at| at.to_string()));
    if let Ok(tag) = Version::from_tag(text) {
        assert!(tag.to_string().len() <= Version::MAX_LEN);
    }

    let (one, other) = text.split_once('\n').unwrap_or((text, text));
    if let (Ok(a), Ok(b)) = (one.parse::<Version>(), other.parse::<Version>()) {
        assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        assert_eq!(a == b, one == other);
    }
    if let (Some(a), Some(b)) = (release(one), release(other)) {
        let contexts: Vec<Vec<u8>> = [&a, &b]
            .iter()
            .flat_map(|id| [Context::<Release>::archive(id), Context::tar(id)])
            .map(|context| context.as_bytes().to_vec())
            .collect();
        assert!(contexts.iter().all(|context| context.len() <= 255 && context.is_ascii()));
        assert_ne!(contexts[0], contexts[1]);
        assert_eq!(contexts[0] == contexts[2], a == b);
        assert_eq!(contexts[1] == contexts[3], a == b);
    }
});
