//! Attacks on the client over real HTTP: a mirror that replays, mixes, withholds and drips what an honest
//! publisher once signed, and thieves of some of the keys. Each is refused for its reason, leaves nothing
//! behind, loses nothing that was trusted, and is over when the honest repository is back.

mod mirrors;
mod site;
mod thieves;
mod transfer;
