//! Which node an address means, and what to write into the config where it means none.

use std::net::IpAddr;

use crate::cli::failure::{Exit, Failure, Number};
use crate::cli::operand::Host;
use crate::config::settings::{Address, Config};
use crate::model::key::PublicKey;

/// A node that can be called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its name in the config.
    pub name: String,
    /// Its pinned key.
    pub key: PublicKey,
    /// Where it is reached.
    pub addresses: Vec<Address>,
}

/// Returns the peer that `host` means: the one of that name, else the only one with that address, reached there.
///
/// An address decides where to call, never whom to trust: a key comes from the config alone.
///
/// # Errors
/// No peer is meant, or several.
pub fn find(host: &Host, config: &Config) -> Result<Peer, Failure> {
    let named = config.peers.get(&host.name).filter(|_| host.port.is_none());
    if let Some(peer) = named {
        return Ok(Peer { name: host.name.clone(), key: peer.key, addresses: peer.addresses.clone() });
    }
    let meant = |address: &&Address| {
        same_host(&address.host, &host.name) && host.port.is_none_or(|port| port == address.port)
    };
    let mut found: Vec<Peer> = config
        .peers
        .iter()
        .map(|(name, peer)| Peer {
            name: name.clone(),
            key: peer.key,
            addresses: peer.addresses.iter().filter(meant).cloned().collect(),
        })
        .filter(|peer| !peer.addresses.is_empty())
        .collect();
    match (found.pop(), found.pop()) {
        (Some(peer), None) => Ok(peer),
        (Some(two), Some(one)) => {
            let message = format!("{} is an address of the peers {} and {}", shown(host), one.name, two.name);
            Err(Failure::usage(Number::Peer, message)
                .fix(format!("name the one you mean: {}::FOLDER", one.name)))
        }
        (None, _) => Err(unpaired(host)),
    }
}

/// Whether two hosts are one: the same IP address, or the same DNS name.
fn same_host(one: &str, two: &str) -> bool {
    match (one.parse::<IpAddr>(), two.parse::<IpAddr>()) {
        (Ok(one), Ok(two)) => one == two,
        _ => one.eq_ignore_ascii_case(two),
    }
}

fn shown(host: &Host) -> String {
    match host.port {
        Some(port) => Address { host: host.name.clone(), port }.to_string(),
        None => host.name.clone(),
    }
}

fn unpaired(host: &Host) -> Failure {
    let name = if host.name.parse::<IpAddr>().is_ok() || host.port.is_some() { "NAME" } else { &host.name };
    let address = if name == "NAME" { shown(host) } else { format!("{}:PORT", host.name) };
    let message = format!("{} is neither a peer of the config nor an address of one", shown(host));
    Failure::new(Exit::Refused, Number::Peer, message).fix(format!(
        "add what csync id --toml prints there, with an address: [peer.{name}] key = \"csk1:…\" addr = [\"{address}\"]"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings;

    fn config() -> Config {
        let address = |text: &str| crate::config::values::address(text).unwrap();
        let peer = |key, addresses: &[&str]| settings::Peer {
            key: PublicKey([key; 32]),
            addresses: addresses.iter().map(|text| address(text)).collect(),
        };
        let peers = [
            ("web1", peer(1, &["10.8.0.1", "web1.example.org:9000"])),
            ("web2", peer(2, &["10.8.0.2:1", "10.8.0.2:2", "[fd00::2]:7"])),
            ("nat3", peer(3, &["10.8.0.9:3"])),
            ("nat4", peer(4, &["10.8.0.9:4"])),
        ];
        Config {
            peers: peers.into_iter().map(|(name, peer)| (name.to_owned(), peer)).collect(),
            ..Config::default()
        }
    }

    #[test]
    fn a_name_or_an_address_means_one_peer() {
        for (case, name, port, peer, ports) in [
            ("by name", "web1", None, "web1", &[8730, 9000][..]),
            ("by address", "10.8.0.1", None, "web1", &[8730]),
            ("all ports of an address", "10.8.0.2", None, "web2", &[1, 2]),
            ("by address and port", "10.8.0.2", Some(2), "web2", &[2]),
            ("by DNS name", "WEB1.example.org", None, "web1", &[9000]),
            ("IPv6, spelt in another way", "fd00:0::2", None, "web2", &[7]),
            ("one address, two ports", "10.8.0.9", Some(4), "nat4", &[4]),
        ] {
            let found = find(&Host { name: name.to_owned(), port }, &config()).unwrap();
            let found_ports: Vec<u16> = found.addresses.iter().map(|address| address.port).collect();
            assert_eq!((found.name.as_str(), found_ports.as_slice()), (peer, ports), "{case}");
        }
    }

    #[test]
    fn a_stranger_is_never_called() {
        for (case, name, port, exit, words) in [
            ("no such peer", "web9", None, 5, "[peer.web9]"),
            ("no such address", "10.8.0.7", Some(8730), 5, "10.8.0.7:8730"),
            ("another port", "10.8.0.1", Some(9), 5, "[peer.NAME]"),
            ("two peers", "10.8.0.9", None, 1, "nat3::FOLDER"),
        ] {
            let failure = find(&Host { name: name.to_owned(), port }, &config()).unwrap_err();
            assert!(failure.to_string().contains(words), "{case}: {failure}");
            assert_eq!(failure.exit.code(), exit, "{case}");
        }
    }
}
