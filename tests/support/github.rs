//! A GitHub on loopback: its API, its web site and the store that both redirect to, each a server of
//! its own, so that a test can see who was told what. It plays the answers of tests/vectors/github.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]
#![allow(clippy::disallowed_methods, reason = "tests read vectors")]

use std::fs;
use std::net::TcpStream;
use std::path::Path;

use exuvia::fetch::{GitHubReleases, HttpSettings, Token};
use exuvia::sys::PrivateDir;

use crate::http_server::{Request, Server, redirect, reply};

/// As long as the listing says that archives are.
pub const ARCHIVE: &[u8] = b"an archive of twenty-six b";
pub const SIGNATURE: &[u8] = b"a signature of 20 by";
/// A throw-away name, and no token of anybody.
pub const TOKEN: &str = "ghp_0throwaway0throwaway0throwaway000000";
pub const REPOSITORY: &str = "example-crabs/molting";
const ETAG: &str = "W/\"5e1c3a2b9f\"";
const FIRST: &str = "/repos/example-crabs/molting/releases?per_page=100";
const SECOND: &str = "/repositories/4711/releases?per_page=100&page=2";
const ASSETS: &str = "/repos/example-crabs/molting/releases/assets/";

pub struct GitHub {
    pub api: Server,
    pub web: Server,
    pub store: Server,
}

pub fn vector(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/github").join(name)).unwrap()
}

/// The budget that GitHub tells with each answer.
pub fn budget(remaining: &'static str, reset: &str) -> Vec<(&'static str, String)> {
    vec![
        ("X-RateLimit-Limit", "60".to_owned()),
        ("X-RateLimit-Remaining", remaining.to_owned()),
        ("X-RateLimit-Reset", reset.to_owned()),
        ("X-RateLimit-Used", "1".to_owned()),
        ("X-RateLimit-Resource", "core".to_owned()),
    ]
}

pub fn send(stream: &mut TcpStream, status: u16, fields: &[(&'static str, String)], body: &[u8]) {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    reply(stream, status, &fields, body);
}

impl GitHub {
    /// As it is; the API lies below `path`, which is empty for github.com.
    pub fn start(path: &'static str) -> Self {
        Self::with(path, |_, _| false)
    }

    /// The API's `other` answer comes first, when it returns true.
    pub fn with(path: &'static str, other: impl Fn(&Request, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let store = Server::start(|request, stream| {
            let body = if request.path.contains("sig") { SIGNATURE } else { ARCHIVE };
            reply(stream, 200, &[("Content-Type", "application/octet-stream")], body);
        });
        let to = store.url("");
        let web = Server::start(move |request, stream| {
            let (_, name) = request.path.rsplit_once('/').unwrap();
            redirect(stream, &format!("{to}/production-release-asset/{name}?se=2026&token=of-the-store"));
        });
        let (site, to) = (web.url(""), store.url(""));
        let api = Server::start(move |request, stream| {
            if !other(request, stream) {
                let host = format!("http://{}{path}", request.header("host").unwrap());
                answer(request, stream, path, &host, &site, &to);
            }
        });
        Self { api, web, store }
    }

    /// A source that follows it.
    pub fn source(
        &self,
        path: &str,
        token: bool,
        settings: &HttpSettings,
        shared: Option<PrivateDir>,
    ) -> GitHubReleases {
        let hosts = [&self.web, &self.store].map(|server| server.addr().to_string().parse().unwrap());
        let settings = HttpSettings { asset_hosts: hosts.to_vec(), ..settings.clone() };
        let token = token.then(|| Token::new(TOKEN).unwrap());
        let api = self.api.url(path).parse().unwrap();
        GitHubReleases::new(api, REPOSITORY.parse().unwrap(), token, &settings, shared)
    }

    /// Every request to the three, the token taken as what it is.
    pub fn tokens(&self) -> [Vec<Option<String>>; 3] {
        [&self.api, &self.web, &self.store].map(|server| {
            let requests = server.requests();
            requests.iter().map(|request| request.header("authorization").map(str::to_owned)).collect()
        })
    }
}

fn answer(request: &Request, stream: &mut TcpStream, path: &str, host: &str, site: &str, store: &str) {
    let refuse =
        |stream: &mut TcpStream| send(stream, 404, &budget("58", "1799999999"), vector("not-found.json").as_bytes());
    let Some(asked) = request.path.strip_prefix(path) else { return refuse(stream) };
    let page = |name: &str| vector(name).replace("https://api.github.com", host).replace("https://github.com", site);
    let mut fields = budget("58", "1799999999");
    fields.push(("Content-Type", "application/json; charset=utf-8".to_owned()));
    fields.push(("Cache-Control", "public, max-age=60, s-maxage=60".to_owned()));
    fields.push(("X-GitHub-Media-Type", "github.v3; format=json".to_owned()));
    match asked {
        FIRST if request.header("if-none-match") == Some(ETAG) => send(stream, 304, &fields, b""),
        FIRST => {
            fields.push(("ETag", ETAG.to_owned()));
            fields.push(("Link", format!("<{host}{SECOND}>; rel=\"next\", <{host}{SECOND}>; rel=\"last\"")));
            send(stream, 200, &fields, page("releases-page-1.json").as_bytes());
        }
        SECOND => {
            let first = format!("{host}/repositories/4711/releases?per_page=100&page=1");
            fields.push(("Link", format!("<{first}>; rel=\"prev\", <{first}>; rel=\"first\"")));
            send(stream, 200, &fields, page("releases-page-2.json").as_bytes());
        }
        asset if asset.starts_with(ASSETS) && request.header("accept") == Some("application/octet-stream") => {
            let id: u32 = asset[ASSETS.len()..].parse().unwrap();
            let name = if id % 10 == 2 { "x.tar.zst.sig" } else { "x.tar.zst" };
            redirect(stream, &format!("{store}/production-release-asset/{name}?se=2026&token=of-the-store"));
        }
        _ => refuse(stream),
    }
}
