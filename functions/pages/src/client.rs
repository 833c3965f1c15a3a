//! The limit of requests from one address to pages that anybody with a link can open.

use std::net::IpAddr;

use application::hash::contact_hash;
use domain::ports::Addition;
use events::TenantId;
use problem::{Problem, ProblemKind};

use crate::PagesHandler;

/// The most requests of one address in a minute. A shop or an office shares one.
const MAX_REQUESTS: i64 = 60;
const MINUTE_MS: i64 = 60_000;

impl PagesHandler {
    /// Counts a request of an address. The address is not stored, only a keyed hash of it, for two minutes. If that cannot
    /// be counted, the request is allowed.
    ///
    /// # Errors
    ///
    /// [`ProblemKind::TooManyRequests`]
    pub(crate) async fn limit(&self, tenant: &TenantId, client: Option<IpAddr>) -> Result<(), Problem> {
        let Some(client) = client else { return Ok(()) };
        let now = self.host.now();
        let minute = now.0.div_euclid(MINUTE_MS);
        let name = format!("page#{}#{minute}", contact_hash(&self.contact_key, tenant, &network(client)));
        match self.limits.add_within(&name, 1, MAX_REQUESTS, now + 2 * MINUTE_MS).await {
            Ok(Addition::Added(_)) => Ok(()),
            Ok(Addition::Refused(_)) => {
                let left_ms = MINUTE_MS - now.0.rem_euclid(MINUTE_MS);
                let wait_s = u32::try_from(left_ms).unwrap_or(u32::MAX).div_ceil(1_000);
                let detail = "Too many requests came from this address. Try again in a minute.";
                Err(Problem { retry_after_s: Some(wait_s), ..Problem::new(ProblemKind::TooManyRequests, detail) })
            }
            Err(error) => {
                tracing::warn!(%error, "could not count the requests of an address");
                Ok(())
            }
        }
    }
}

/// What one subscriber has: an address, or the first half of an IPv6 address.
fn network(client: IpAddr) -> String {
    match client.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_subscriber_is_one_network() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
