//! `release-server FOLDER`: serves a folder of releases on a free port of loopback, for the demo.
//! Prints its address, and runs until its standard input ends.

#[path = "http_server.rs"]
mod http_server;

use std::io::{self, Write};

fn main() {
    let folder = std::env::args_os().nth(1).expect("usage: release-server FOLDER");
    let server = http_server::Server::folder(folder);
    println!("{}", server.url("/releases.json"));
    io::stdout().flush().expect("somebody reads the address");
    io::copy(&mut io::stdin(), &mut io::sink()).ok();
}
