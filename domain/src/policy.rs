//! The numbers of delivery, each with its source in ARCHITECTURE.md section 4.

use events::{Channel, InDoubtPolicy, MessageType, RateLimit, Timestamp};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Waits after the first, second, … counted attempt.
pub const RETRY_DELAYS_MS: [i64; 4] = [MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS];
/// So that all four waits are used.
pub const MAX_ATTEMPTS: u8 = RETRY_DELAYS_MS.len() as u8 + 1;
/// How long a callback is awaited before doubt is settled by policy.
pub const EVIDENCE_WAIT_MS: i64 = 120_000;
/// A queue message not seen to work by then is sent again.
pub const REPAIR_DELAY_MS: i64 = MINUTE_MS;
/// Between repairs of one stream, at most.
pub const MAX_REPAIR_DELAY_MS: i64 = 15 * MINUTE_MS;
/// What a lease outlives its invocation by.
pub const LEASE_MARGIN_MS: i64 = 5_000;
/// No claim is made with less time left than this.
pub const MIN_TIME_TO_CLAIM_MS: i64 = 15_000;
/// Without a word from the provider: the wait after a 429 or 503.
pub const DEFAULT_RETRY_AFTER_MS: i64 = MINUTE_MS;
/// What a provider's Retry-After is held to, from below and above.
pub const RETRY_AFTER_RANGE_MS: (i64, i64) = (1_000, HOUR_MS);
/// The wait while credentials or the balance are refused.
pub const ACCOUNT_HOLD_MS: i64 = 15 * MINUTE_MS;
/// The wait before another provider is tried instead.
pub const FAILOVER_DELAY_MS: i64 = 1_000;
/// How long a provider that cannot be asked about a doubt is asked again, after the evidence was awaited.
pub const QUERY_WINDOW_MS: i64 = 10 * MINUTE_MS;
/// Between two such questions.
pub const QUERY_INTERVAL_MS: i64 = MINUTE_MS;
/// The wait when the limits cannot be reached, and as much again by chance: deferred, never let through.
pub const LIMITER_OUTAGE_DELAY_MS: i64 = 5_000;

/// The wait before the next attempt after `counted` counted ones, ±20 % by `chance`.
pub fn backoff_ms(counted: u16, chance: u64) -> i64 {
    let step = usize::from(counted.max(1) - 1).min(RETRY_DELAYS_MS.len() - 1);
    let base = RETRY_DELAYS_MS[step];
    let per_mille = (chance % 401) as i64 - 200;
    base + base * per_mille / 1_000
}

/// How long a provider that asks us to wait is left alone.
pub fn retry_after_ms(asked: Option<i64>) -> i64 {
    asked.unwrap_or(DEFAULT_RETRY_AFTER_MS).clamp(RETRY_AFTER_RANGE_MS.0, RETRY_AFTER_RANGE_MS.1)
}

/// When a repair follows the `hints`-th one in vain.
pub fn repair_ms(hints: u32) -> i64 {
    (REPAIR_DELAY_MS << hints.min(8)).min(MAX_REPAIR_DELAY_MS)
}

/// What a provider is called at, unless it is configured otherwise. The source documents' numbers, far below the
/// providers' own ceilings (SendGrid 600 a second, Twilio 100 SMS and 80 WhatsApp).
pub fn default_rate_limit(provider: &str, channel: Channel) -> RateLimit {
    let (burst, per_second) = match (provider, channel) {
        ("sendgrid", Channel::Email) => (100, 10),
        ("twilio", Channel::Sms) => (50, 5),
        ("twilio", Channel::Whatsapp | Channel::Messenger) => (40, 4),
        _ => (10, 1),
    };
    RateLimit { burst, per_second }
}

/// When a message of this type is too old to be worth sending: measured from its due time.
pub fn default_expiry(kind: MessageType, due: Timestamp) -> Timestamp {
    let hours = match kind {
        MessageType::LowStockAlert => 12,
        MessageType::PaymentLink
        | MessageType::PaymentReminder
        | MessageType::CollectionNotice
        | MessageType::InvoiceReminder => 24,
        MessageType::Invoice
        | MessageType::PaymentConfirmation
        | MessageType::UserInvitation
        | MessageType::GeneralNotification => 72,
    };
    due + hours * HOUR_MS
}

/// A second reminder annoys, a lost invoice costs.
pub fn in_doubt_policy(kind: MessageType) -> InDoubtPolicy {
    match kind {
        MessageType::CollectionNotice | MessageType::InvoiceReminder | MessageType::PaymentReminder => {
            InDoubtPolicy::Hold
        }
        MessageType::Invoice
        | MessageType::PaymentConfirmation
        | MessageType::PaymentLink
        | MessageType::LowStockAlert
        | MessageType::UserInvitation
        | MessageType::GeneralNotification => InDoubtPolicy::Resend,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_is_climbed_within_a_fifth() {
        for (counted, base) in [(1, 60_000), (2, 300_000), (3, 900_000), (4, 3_600_000)] {
            assert_eq!(backoff_ms(counted, 200), base);
            assert_eq!(backoff_ms(counted, 0), base - base / 5);
            assert_eq!(backoff_ms(counted, 400), base + base / 5);
        }
    }

    #[test]
    fn repairs_slow_down_and_stay_bounded() {
        assert_eq!(repair_ms(0), REPAIR_DELAY_MS);
        assert_eq!(repair_ms(1), 2 * REPAIR_DELAY_MS);
        assert_eq!(repair_ms(60), MAX_REPAIR_DELAY_MS);
    }
}
