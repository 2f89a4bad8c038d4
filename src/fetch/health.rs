//! Asks an address of this host how the program behind it is.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use tokio::time::timeout;
use url::Url;

use super::cause::Cause;
use super::http::Http;
use super::reach::{is_loopback, shown};
use super::settings::HttpSettings;
use crate::types::Health;

/// What an address said: how it is, and why, for people.
///
/// 200 is healthy. 429, and 503 with `Retry-After`, say that nobody can tell just now. Everything
/// else is unhealthy, an answer that does not come within `within` included. No redirect is followed,
/// no proxy asked, and an address of another host is not asked at all.
pub async fn ask_health(url: &Url, settings: &HttpSettings, within: Duration) -> (Health, String) {
    let address = shown(url);
    if !is_loopback(url) {
        return (Health::Inconclusive, format!("{address} is not on this host, and was not asked"));
    }
    let http = Http::new(settings);
    let client = match http.client(true) {
        Ok(client) => client,
        Err(error) => return (Health::Inconclusive, error.to_string()),
    };
    match timeout(within, client.get(url.clone()).send()).await {
        Err(_) => (Health::Unhealthy, format!("{address} did not answer within {within:?}")),
        Ok(Err(error)) => (Health::Unhealthy, format!("{address} did not answer: {}", Cause::new(error))),
        Ok(Ok(answer)) => {
            let status = answer.status();
            let comes_back = answer.headers().contains_key(RETRY_AFTER);
            (of_status(status, comes_back), format!("{address} answered {status}"))
        }
    }
}

fn of_status(status: StatusCode, comes_back: bool) -> Health {
    match status {
        StatusCode::OK => Health::Healthy,
        StatusCode::TOO_MANY_REQUESTS => Health::Inconclusive,
        StatusCode::SERVICE_UNAVAILABLE if comes_back => Health::Inconclusive,
        _ => Health::Unhealthy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_mean_what_the_manual_says() {
        for (status, comes_back, health) in [
            (200, false, Health::Healthy),
            (204, false, Health::Unhealthy),
            (302, false, Health::Unhealthy),
            (429, false, Health::Inconclusive),
            (500, true, Health::Unhealthy),
            (503, false, Health::Unhealthy),
            (503, true, Health::Inconclusive),
        ] {
            assert_eq!(of_status(StatusCode::from_u16(status).unwrap(), comes_back), health, "{status}");
        }
    }

    #[tokio::test]
    async fn only_this_host_is_asked() {
        let elsewhere = Url::parse("http://192.0.2.1/healthz").unwrap();
        let (health, why) = ask_health(&elsewhere, &HttpSettings::default(), Duration::from_secs(1)).await;
        assert_eq!(health, Health::Inconclusive);
        assert!(why.contains("not on this host"), "{why}");
    }

    #[tokio::test]
    async fn a_closed_port_and_one_that_says_nothing_are_unhealthy() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for (address, words) in [(silent.local_addr().unwrap(), "within"), (closed, "did not answer")] {
            let url = Url::parse(&format!("http://{address}/healthz?deep=1")).unwrap();
            let (health, why) = ask_health(&url, &HttpSettings::default(), Duration::from_millis(300)).await;
            assert_eq!(health, Health::Unhealthy);
            assert!(why.contains(words) && !why.contains("deep"), "{why}");
        }
    }
}
