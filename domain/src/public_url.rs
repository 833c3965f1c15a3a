//! Addresses that callers choose and we call: only public ones, by https.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// Whether an address is publicly reachable. Loopback, private, link-local, metadata, mapped, documentation and
/// reserved addresses are not.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        // Carrier-grade NAT, protocol assignments, 6to4 relays, benchmarks.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    // Mapped, compatible, NAT64, 6to4 and Teredo addresses all lead to an embedded IPv4 address.
    let embeds_v4 = parts[..5] == [0; 5]
        || (parts[0] == 0x64 && parts[1] == 0xff9b)
        || parts[0] == 0x2002
        || (parts[0] == 0x2001 && parts[1] == 0);
    // Public addresses are global unicast, 2000::/3, except the documentation ranges.
    parts[0] & 0xe000 == 0x2000 && !embeds_v4 && !(parts[0] == 0x2001 && parts[1] == 0xdb8) && parts[0] != 0x3fff
}

/// Checks the text of an address. What its name resolves to is checked when it is called.
///
/// # Errors
///
/// The reason why the address must not be called.
pub fn check(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "it is not a URL")?;
    if url.scheme() != "https" {
        return Err("it is not https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a user or a password");
    }
    if url.port().is_some_and(|port| port != 443 && port != 8443) {
        return Err("its port is neither 443 nor 8443");
    }
    let private = Err("it is not a public address");
    match url.host() {
        None => Err("it names no host"),
        Some(Host::Ipv4(address)) if !is_public(address.into()) => private,
        Some(Host::Ipv6(address)) if !is_public(address.into()) => private,
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let is_local = !name.contains('.')
                || [".localhost", ".local", ".internal", ".lan", ".home.arpa"].iter().any(|end| name.ends_with(end));
            if is_local { private } else { Ok(url) }
        }
        Some(_) => Ok(url),
    }
}

/// Maximum length of the address of a page, in characters.
const MAX_PAGE: usize = 500;

/// Checks the address of a page that a path is appended to, and returns it without a slash at the end.
///
/// # Errors
///
/// The reason why it cannot be used.
pub fn check_page(text: &str) -> Result<String, &'static str> {
    let is_plain = |c: char| c.is_ascii_graphic() && c != '\\';
    if MAX_PAGE < text.len() || !text.chars().all(is_plain) {
        return Err("it is not a URL of at most 500 plain characters");
    }
    let url = check(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it has a query or a fragment");
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_a_public_https_address_that_a_path_can_follow() {
        assert_eq!(check_page("https://pay.example.com"), Ok("https://pay.example.com".to_owned()));
        assert_eq!(check_page("https://PAY.example.com/shop//"), Ok("https://pay.example.com/shop".to_owned()));
        for wrong in [
            "http://pay.example.com",
            "https://10.0.0.1",
            "https://localhost/x",
            "https://pay.example.com/?a=1",
            "https://pay.example.com/#a",
            "https://ada@pay.example.com",
            "https://pay.example.com/a b",
            "https://pay.example.com\\x",
            "pay.example.com",
            "javascript:alert(1)",
            &format!("https://pay.example.com/{}", "x".repeat(500)),
        ] {
            assert!(check_page(wrong).is_err(), "{wrong}");
        }
    }
}
