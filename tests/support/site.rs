//! A site of hosts in network namespaces of their own, on one switch with an origin: in a network of the test's own.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::disallowed_methods, reason = "it lays a file over the system's list of hosts")]

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use tempfile::NamedTempFile;

use crate::namespace::{ip, mount, mount_empty};

/// Where the origin is.
pub const ORIGIN: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The name that stands for all hosts, as a site's DNS has it.
pub const ALL: &str = "mirrors.site";
/// Where their mirrors listen.
pub const PORT: u16 = 7651;

/// The hosts, for as long as the value lives.
pub struct Site {
    hosts: usize,
    _names: NamedTempFile,
}

impl Site {
    /// Whether this kernel knows switches and cables. Asked in a network of the test's own.
    pub fn is_possible() -> bool {
        let tried = |words: &[&str]| {
            let added = Command::new("ip").args(["link", "add"]).args(words).output();
            added.is_ok_and(|added| added.status.success())
        };
        let is_possible =
            tried(&["probe0", "type", "bridge"]) && tried(&["probe1", "type", "veth", "peer", "name", "probe2"]);
        for probe in ["probe0", "probe1"] {
            Command::new("ip").args(["link", "del", probe]).output().ok();
        }
        is_possible
    }

    /// A switch with the origin behind it, and a network namespace for each host.
    pub fn of(hosts: usize) -> Self {
        // `ip netns` keeps its names there.
        mount_empty(Path::new("/run"));
        ip(&["link", "add", "switch", "type", "bridge"]);
        ip(&["addr", "add", &format!("{ORIGIN}/24"), "dev", "switch"]);
        ip(&["link", "set", "switch", "up"]);
        for host in 0..hosts {
            let (name, port) = (name(host), port(host));
            ip(&["netns", "add", &name]);
            ip(&["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &name]);
            ip(&["link", "set", &port, "master", "switch", "up"]);
            ip(&["-n", &name, "link", "set", "lo", "up"]);
            ip(&["-n", &name, "link", "set", "eth0", "up"]);
            ip(&["-n", &name, "addr", "add", &format!("{}/24", address(host)), "dev", "eth0"]);
        }
        let names = NamedTempFile::new().unwrap();
        let lines: Vec<String> = (0..hosts).map(|host| format!("{} {ALL}\n", address(host))).collect();
        fs::write(names.path(), format!("127.0.0.1 localhost\n{}", lines.concat())).unwrap();
        mount(&["--bind"], names.path(), Path::new("/etc/hosts"));
        Self { hosts, _names: names }
    }

    /// Takes a host off the switch.
    pub fn cut_off(&self, host: usize) {
        assert!(host < self.hosts);
        ip(&["link", "set", &port(host), "down"]);
    }

    /// Puts it back.
    pub fn mend(&self, host: usize) {
        assert!(host < self.hosts);
        ip(&["link", "set", &port(host), "up"]);
    }

    /// What a node of that host is run by.
    pub fn through(&self, host: usize) -> [String; 4] {
        assert!(host < self.hosts);
        ["ip".to_owned(), "netns".to_owned(), "exec".to_owned(), name(host)]
    }
}

/// The address of a host.
pub fn address(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 10 + u8::try_from(host).unwrap())
}

fn name(host: usize) -> String {
    format!("h{host}")
}

fn port(host: usize) -> String {
    format!("port{host}")
}
