//! The clock, ids, signing key and HTTP client that the simulated providers share.

use std::sync::Arc;
use std::time::Duration;

use p256::ecdsa::SigningKey;

use crate::callback::Callback;
use crate::clock::SimulationClock;
use crate::subscriptions::Subscriptions;

/// The state and tools that a provider needs to report on messages.
pub struct SimulationContext {
    pub subscriptions: Subscriptions,
    pub clock: Arc<dyn SimulationClock>,
    /// Signs SendGrid's callbacks.
    pub signing_key: SigningKey,
    pub client: reqwest::Client,
}

impl SimulationContext {
    /// Creates an id of 32 hexadecimal digits.
    pub fn unique_id(&self) -> String {
        format!("{:032x}", self.clock.random())
    }

    /// The time in Unix seconds.
    pub fn seconds(&self) -> i64 {
        self.clock.now().0.div_euclid(1_000)
    }

    /// The time in RFC 3339, with milliseconds.
    pub fn time(&self) -> String {
        let time = jiff::Timestamp::from_millisecond(self.clock.now().0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }

    /// Sends a callback. Tries at most three times.
    pub async fn post(&self, callback: Callback) {
        for wait_ms in [100, 500, 2_000] {
            let request = self.client.post(&callback.url).body(callback.body.clone());
            let request = callback.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
            if request.send().await.is_ok_and(|response| response.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }
}
