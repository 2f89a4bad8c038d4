//! What readers get who have no keys to the place.

use std::io::Read;

use url::Url;

use super::{Check, Point};
use crate::fetch::{HostName, Http, HttpSettings, Reach};
use crate::publish::repo::desk::{limit, published_path};
use crate::publish::repo::place::{PUBLIC, Place};
use crate::tuf::metadata::{RoleType, RoleVersion};

const SERVE: &str =
    "serve the folder `public` to everybody under that address: a web server, or a policy of the bucket";

/// Asks for the timestamp, as nodes do.
pub(super) fn examine(place: &dyn Place, public: &Url) -> Check {
    let path = published_path(RoleType::Timestamp, RoleVersion::FIRST);
    let expected = match place.read(&path, limit(RoleType::Timestamp)) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            let found = "nothing is published here yet, so that nothing could be asked for";
            return Check::warn(Point::Public, found, "ask again after `repo init` has published");
        }
        Err(error) => return Check::refused(Point::Public, &error),
    };
    let name = path.strip_prefix(PUBLIC).unwrap_or_default().trim_start_matches('/');
    let Ok(url) = Url::parse(&format!("{}/{name}", public.as_str().trim_end_matches('/'))) else {
        return Check::fail(Point::Public, format!("{public} is no address"), SERVE);
    };
    match ask(&url) {
        Ok(bytes) if bytes == expected => Check::ok(Point::Public, format!("everybody may read {url}")),
        Ok(_) => Check::warn(
            Point::Public,
            format!("{url} is not the timestamp that lies here"),
            "another place is served there, or a cache keeps what is written anew: let it keep timestamp.json for a \
             minute at most",
        ),
        Err(found) => Check::fail(Point::Public, found, SERVE),
    }
}

fn ask(url: &Url) -> Result<Vec<u8>, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| said(&error))?;
    let settings = HttpSettings { attempts: 2, ..HttpSettings::default() };
    // Whoever typed the address meant that host, also without TLS.
    let plain = url.host_str().and_then(|host| host.parse::<HostName>().ok());
    let reach = Reach::new(url.clone(), Vec::new(), plain.into_iter().collect());
    let mut file = tempfile::tempfile().map_err(|error| said(&error))?;
    let cap = limit(RoleType::Timestamp);
    runtime
        .block_on(Http::new(&settings).download(url, &reach, &mut file, cap, &mut |_, _| ()))
        .map_err(|error| said(&error))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| said(&error))?;
    Ok(bytes)
}
