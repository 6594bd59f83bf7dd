//! The words of the config: addresses, modes, policies, retention rules, times of day.

use std::net::IpAddr;

use crate::config::quantity::{duration, percent, size};
use crate::config::settings::{Address, Bound, Conflict, Keep, Mode, Network, OwnerRule, PORT, Right};
use crate::rules::filter::FilterBuilder;

/// Returns an address: `HOST:PORT`, `[IPv6]:PORT`, or a host alone, which means port 8730.
///
/// # Errors
/// Says which part is wrong.
pub fn address(text: &str) -> Result<Address, String> {
    let wrong = || {
        format!(
            "`{}` is no address; wanted HOST:PORT, e.g. 10.8.0.1:8730 or [fd00::1]:8730",
            text.escape_debug()
        )
    };
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(Address { host: ip.to_string(), port: PORT });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        Some(_) | None => (text, None),
    };
    let port = match port {
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| format!("`{}` is no port; wanted 1 to 65535", port.escape_debug()))?,
        None => PORT,
    };
    let valid = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_host(host),
    };
    if valid { Ok(Address { host: host.trim_matches(['[', ']']).to_owned(), port }) } else { Err(wrong()) }
}

/// Whether `host` is an IPv4 address or a DNS name (RFC 1123). Four numbers that are no address are no name either.
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    host.len() <= 253
        && host.split('.').all(label)
        && (!numeric || host.parse::<std::net::Ipv4Addr>().is_ok())
}

/// Returns a range of addresses: `10.0.0.0/8`, or one address.
///
/// # Errors
/// The text is none.
pub fn network(text: &str) -> Result<Network, String> {
    let wrong = || format!("`{}` is no network; wanted e.g. 10.0.0.0/8", text.escape_debug());
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().map_err(|_ignored| wrong())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(most), |bits| bits.parse::<u8>().map_err(|_ignored| wrong()))?;
    if bits > most { Err(wrong()) } else { Ok(Network { address, bits }) }
}

/// Returns a mode.
///
/// # Errors
/// Names the modes.
pub fn mode(text: &str) -> Result<Mode, String> {
    Ok(match text {
        "two-way" => Mode::TwoWay,
        "send" => Mode::Send,
        "receive" => Mode::Receive,
        "primary" => Mode::Primary,
        _ => return Err(unknown("mode", text, "two-way, send, receive, primary")),
    })
}

/// Returns a conflict policy.
///
/// # Errors
/// Names the policies.
pub fn conflict(text: &str) -> Result<Conflict, String> {
    Ok(match text {
        "keep-both" => Conflict::KeepBoth,
        "newest" => Conflict::Newest,
        "oldest" => Conflict::Oldest,
        "largest" => Conflict::Largest,
        "smallest" => Conflict::Smallest,
        "merge" => Conflict::Merge,
        "manual" => Conflict::Manual,
        _ => match text.strip_prefix("prefer:") {
            Some(peer) if !peer.is_empty() => Conflict::Prefer(peer.to_owned()),
            Some(_) | None => {
                let known = "keep-both, newest, oldest, largest, smallest, prefer:PEER, merge, manual";
                return Err(unknown("conflict policy", text, known));
            }
        },
    })
}

/// Returns an owner rule.
///
/// # Errors
/// Names the rules.
pub fn owner(text: &str) -> Result<OwnerRule, String> {
    Ok(match text {
        "by-name" => OwnerRule::ByName,
        "numeric" => OwnerRule::Numeric,
        "none" => OwnerRule::None,
        _ if text.split_once(':').is_some_and(|(user, group)| !user.is_empty() && !group.is_empty()) => {
            OwnerRule::Fixed(text.to_owned())
        }
        _ => return Err(unknown("owner rule", text, "by-name, numeric, none, USER:GROUP")),
    })
}

/// Returns a right.
///
/// # Errors
/// Names the rights.
pub fn right(text: &str) -> Result<Right, String> {
    Ok(match text {
        "read" => Right::Read,
        "write" => Right::Write,
        "append" => Right::Append,
        _ => return Err(unknown("right", text, "read, write, append")),
    })
}

/// Returns a share, or what `count` reads.
///
/// # Errors
/// The text is neither.
pub fn size_or_percent(text: &str) -> Result<Bound, String> {
    if text.ends_with('%') {
        return percent(text).map(Bound::Percent).map_err(|error| error.to_string());
    }
    size(text).map(Bound::Count).map_err(|error| error.to_string())
}

/// Returns the rules of a `keep` line: `last=5 daily=14 within=30d`.
///
/// # Errors
/// A rule is unknown or its number wrong, or the rules keep nothing.
pub fn keep(text: &str) -> Result<Vec<Keep>, String> {
    let rules: Vec<Keep> = text.split_whitespace().map(keep_rule).collect::<Result<_, _>>()?;
    if rules.is_empty() {
        return Err("this keeps no version; write e.g. \"last=5 daily=14\", or versions = false".to_owned());
    }
    Ok(rules)
}

fn keep_rule(text: &str) -> Result<Keep, String> {
    let wrong = || {
        unknown(
            "rule of retention",
            text,
            "last=N, hourly=N, daily=N, weekly=N, monthly=N, yearly=N, within=DURATION",
        )
    };
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    if name == "within" {
        return duration(value).map(Keep::Within).map_err(|error| error.to_string());
    }
    let make = match name {
        "last" => Keep::Last,
        "hourly" => Keep::Hourly,
        "daily" => Keep::Daily,
        "weekly" => Keep::Weekly,
        "monthly" => Keep::Monthly,
        "yearly" => Keep::Yearly,
        _ => return Err(wrong()),
    };
    let count = value.parse::<u32>().ok().filter(|count| (1..=100_000).contains(count));
    count.map(make).ok_or_else(|| format!("`{}`: wanted a number from 1 to 100000", text.escape_debug()))
}

/// Returns the minutes after midnight that `HH:MM` means.
///
/// # Errors
/// The text is no time of day.
pub fn time_of_day(text: &str) -> Result<u16, String> {
    let wrong = || format!("`{}` is no time of day; wanted HH:MM, 00:00 to 24:00", text.escape_debug());
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    let part = |part: &str| {
        if part.len() == 2 { part.parse::<u16>().ok() } else { None }
    };
    let (hours, minutes) = part(hours).zip(part(minutes)).ok_or_else(wrong)?;
    let total = hours * 60 + minutes;
    if minutes < 60 && total <= 24 * 60 { Ok(total) } else { Err(wrong()) }
}

/// Checks a name of a node, folder or job.
///
/// # Errors
/// Says what a name may be.
pub fn name(text: &str) -> Result<(), String> {
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !text.starts_with(['-', '.']);
    if fits {
        Ok(())
    } else {
        Err(format!("`{}` is no name; wanted 1 to 64 of a-z A-Z 0-9 - _ .", text.escape_debug()))
    }
}

/// Checks a filter rule and returns whether it leaves out everything.
///
/// A bracket that is not closed is a pattern that never matches on the command line, as in rsync; in a config that
/// many nodes share it is an error.
///
/// # Errors
/// The rule has no meaning, or a bracket is not closed; says where.
pub fn rule(text: &str) -> Result<bool, String> {
    let mut open = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' if open.is_none() => open = Some(at),
            ']' if open.is_some_and(|start| at > start + 1) => open = None,
            _ => {}
        }
    }
    if let Some(at) = open {
        let column = text[..at].chars().count() + 1;
        return Err(format!("the `[` at character {column} of the rule has no `]`"));
    }
    FilterBuilder::new(false).rule(text.as_bytes()).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|source| format!(": {source}"));
        format!("{error}{}", cause.unwrap_or_default())
    })?;
    Ok(matches!(text.trim(), "- *" | "- **" | "- /**" | "- /*" | "- /***" | "exclude *" | "exclude **"))
}

fn unknown(what: &str, text: &str, known: &str) -> String {
    format!("unknown {what} `{}`; wanted one of {known}", text.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, host, port) in [
            ("10.8.0.1:8731", "10.8.0.1", 8731),
            ("10.8.0.1", "10.8.0.1", PORT),
            ("web1.example.org:1", "web1.example.org", 1),
            ("[fd00::1]:65535", "fd00::1", 65535),
            ("fd00::1", "fd00::1", PORT),
            ("[fd00::1]", "fd00::1", PORT),
            ("web1", "web1", PORT),
        ] {
            assert_eq!(address(text), Ok(Address { host: host.to_owned(), port }), "{text}");
        }
        for text in
            ["", ":1", "a:0", "a:70000", "a:abc", "a:", "a b:1", "10.8.0.300:1", "[fd00::1:1", "-a:1", "a..b"]
        {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rules_of_retention_and_times() {
        assert_eq!(keep("last=5 daily=14"), Ok(vec![Keep::Last(5), Keep::Daily(14)]));
        for text in ["", "last=0", "last", "fortnightly=2", "within=soon", "last=-1"] {
            assert!(keep(text).is_err(), "{text}");
        }
        assert_eq!(time_of_day("08:30"), Ok(510));
        for text in ["8:30", "24:01", "12:60", "noon", "65535:65535"] {
            assert!(time_of_day(text).is_err(), "{text}");
        }
        assert!(network("10.0.0.0/8").is_ok() && network("10.0.0.0/33").is_err());
    }

    #[test]
    fn brackets_of_rules() {
        assert_eq!(rule("- [a-"), Err("the `[` at character 3 of the rule has no `]`".to_owned()));
        assert_eq!(rule("- []]"), Ok(false));
        assert_eq!(rule("- \\["), Ok(false));
        assert_eq!(rule("- *"), Ok(true));
        for text in ["- *.o", ": .csync-filter", "- /cache/", "P x", "+ */"] {
            assert_eq!(rule(text), Ok(false), "{text}");
        }
        assert!(rule("? what").is_err());
    }
}
