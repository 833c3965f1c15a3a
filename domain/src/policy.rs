//! The constants and defaults of delivery.

use events::{Channel, InDoubtPolicy, MessageType, RateLimit, Timestamp};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Delay after the first, second, … counted attempt, in milliseconds.
pub const RETRY_DELAYS_MS: [i64; 4] = [MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS];
/// Maximum number of counted attempts. It is one more than there are delays, so that each delay is used.
pub const MAX_ATTEMPTS: u8 = RETRY_DELAYS_MS.len() as u8 + 1;
/// How long evidence is awaited before the policy resolves a doubt, in milliseconds.
pub const EVIDENCE_WAIT_MS: i64 = 120_000;
/// How often the time and the content of one message can be changed, each counted for itself.
pub const MAX_CHANGES: u16 = 100;
/// How many events of one person the preference page can append in a day. Beyond that, it only takes choices that forbid
/// messages.
pub const MAX_PAGE_EVENTS_PER_DAY: u16 = 40;
/// A hint that had no effect after this time is sent again, in milliseconds.
pub const REPAIR_DELAY_MS: i64 = MINUTE_MS;
/// Maximum time between two such hints for one stream, in milliseconds.
pub const MAX_REPAIR_DELAY_MS: i64 = 15 * MINUTE_MS;
/// How long a lease outlives the invocation that holds it, in milliseconds.
pub const LEASE_MARGIN_MS: i64 = 5_000;
/// An invocation with less time left than this makes no claim, in milliseconds.
pub const MIN_TIME_TO_CLAIM_MS: i64 = 15_000;
/// Delay after a 429 or 503 without Retry-After, in milliseconds.
pub const DEFAULT_RETRY_AFTER_MS: i64 = MINUTE_MS;
/// The range to which a provider's Retry-After is limited, in milliseconds.
pub const RETRY_AFTER_RANGE_MS: (i64, i64) = (1_000, HOUR_MS);
/// Delay while a provider rejects our credentials or the account is empty, in milliseconds.
pub const ACCOUNT_HOLD_MS: i64 = 15 * MINUTE_MS;
/// How long a message of a paused channel waits until it is looked at again, in milliseconds. A resumed channel sends
/// hints itself; this is for those that it does not reach.
pub const PAUSE_HOLD_RANGE_MS: (i64, i64) = (2 * MINUTE_MS, 10 * MINUTE_MS);
/// How long a pause that was read may be believed, in milliseconds, so that a resumed channel sends at once.
pub const PAUSE_RECHECK_MS: i64 = 1_000;
/// Delay before the next provider is tried, in milliseconds.
pub const FAILOVER_DELAY_MS: i64 = 1_000;
/// How long the query about an attempt in doubt is repeated while the provider does not answer, in milliseconds.
pub const QUERY_WINDOW_MS: i64 = 10 * MINUTE_MS;
/// Time between two such queries, in milliseconds.
pub const QUERY_INTERVAL_MS: i64 = MINUTE_MS;
/// Delay when the rate limiter cannot be reached, plus up to as much jitter, in milliseconds. Such messages are
/// deferred, because sending them could exceed the limit.
pub const LIMITER_OUTAGE_DELAY_MS: i64 = 5_000;

/// How long a file that does not answer is waited for before it counts as missing, in milliseconds.
pub const FILE_WAIT_MS: i64 = 15 * MINUTE_MS;
/// Time between two tries to fetch such a file, in milliseconds.
pub const FILE_RETRY_MS: i64 = MINUTE_MS;

/// How long a message waits for a missing file until it is looked for again, after it has waited for `waited_ms`. The
/// time doubles, so that a message that waits for weeks adds few events.
pub fn missing_file_delay_ms(waited_ms: i64) -> i64 {
    waited_ms.clamp(FILE_RETRY_MS, 6 * HOUR_MS)
}

/// The delay before the next attempt after `counted` counted ones, with a jitter of ±20 % that `chance` decides.
pub fn backoff_ms(counted: u16, chance: u64) -> i64 {
    let step = usize::from(counted.max(1) - 1).min(RETRY_DELAYS_MS.len() - 1);
    let base = RETRY_DELAYS_MS[step];
    let per_mille = (chance % 401) as i64 - 200;
    base + base * per_mille / 1_000
}

/// The delay after a provider asked us to wait.
pub fn retry_after_ms(requested: Option<i64>) -> i64 {
    requested.unwrap_or(DEFAULT_RETRY_AFTER_MS).clamp(RETRY_AFTER_RANGE_MS.0, RETRY_AFTER_RANGE_MS.1)
}

/// How long a message waits for a channel that has been paused for `paused_ms`.
pub fn pause_hold_ms(paused_ms: i64) -> i64 {
    (paused_ms / 4).clamp(PAUSE_HOLD_RANGE_MS.0, PAUSE_HOLD_RANGE_MS.1)
}

/// The delay of the next repair after `hints` hints had no effect.
pub fn repair_ms(hints: u32) -> i64 {
    (REPAIR_DELAY_MS << hints.min(8)).min(MAX_REPAIR_DELAY_MS)
}

/// The rate limit of a provider that is configured without one. It is far below the providers' own limits (SendGrid 600
/// per second, Twilio 100 SMS and 80 WhatsApp messages).
pub fn default_rate_limit(provider: &str, channel: Channel) -> RateLimit {
    let (burst, per_second) = match (provider, channel) {
        ("sendgrid", Channel::Email) => (100, 10),
        ("twilio", Channel::Sms) => (50, 5),
        ("twilio", Channel::Whatsapp | Channel::Messenger) => (40, 4),
        _ => (10, 1),
    };
    RateLimit { burst, per_second }
}

/// When a message of this type expires, counted from its due time.
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

/// The default policy for attempts in doubt. Reminders are held, because duplicates annoy. Other messages are sent
/// again, because losing an invoice costs money.
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
    fn retry_delays_have_a_jitter_of_a_fifth() {
        for (counted, base) in [(1, 60_000), (2, 300_000), (3, 900_000), (4, 3_600_000)] {
            assert_eq!(backoff_ms(counted, 200), base);
            assert_eq!(backoff_ms(counted, 0), base - base / 5);
            assert_eq!(backoff_ms(counted, 400), base + base / 5);
        }
    }

    #[test]
    fn repair_delays_double_up_to_the_maximum() {
        assert_eq!(repair_ms(0), REPAIR_DELAY_MS);
        assert_eq!(repair_ms(1), 2 * REPAIR_DELAY_MS);
        assert_eq!(repair_ms(60), MAX_REPAIR_DELAY_MS);
    }
}
