//! What a tenant's messages cost on one day (UTC), and the caps on it. Live and test messages are counted apart.

use domain::ports::{Addition, AlertSink, CoordinationStore, StoreError};
use domain::prices::Cost;
use domain::stats::utc_day;
use events::{Mode, TenantId, Timestamp};

use crate::time::show_time;

const DAY_MS: i64 = 24 * 3_600_000;
/// How long a day's counters are kept after its end, in milliseconds.
const COUNTER_TTL_MS: i64 = 2 * DAY_MS;
/// The percentages of a cap that raise an alert, each once a day.
const ALERT_PERCENTAGES: [i64; 2] = [80, 100];

/// A message would pass the cap of the day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the spend cap of the day is reached: {spent_micros} of {cap_micros} {currency} micros")]
pub struct SpendCapReached {
    pub currency: String,
    pub cap_micros: i64,
    pub spent_micros: i64,
    /// What the message is expected to cost.
    pub cost_micros: i64,
    /// When the next day begins.
    pub resets_at: Timestamp,
}

/// Why a message was not counted.
#[derive(Debug, thiserror::Error)]
pub enum SpendError {
    #[error(transparent)]
    CapReached(#[from] SpendCapReached),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The counters of one tenant and mode on the day of `now`.
#[derive(Clone, Copy)]
pub struct DailySpend<'a> {
    pub limits: &'a dyn CoordinationStore,
    pub alerts: &'a dyn AlertSink,
    pub tenant: &'a TenantId,
    pub mode: Mode,
    pub now: Timestamp,
}

impl DailySpend<'_> {
    /// When the day ends.
    pub fn resets_at(&self) -> Timestamp {
        Timestamp((self.now.0.div_euclid(DAY_MS) + 1) * DAY_MS)
    }

    fn counter(&self, currency: &str) -> String {
        let DailySpend { tenant, mode, now, .. } = self;
        format!("spend#{tenant}#{}#{}#{currency}", mode.as_str(), utc_day(*now))
    }

    async fn add(&self, name: &str, amount: i64, most: i64) -> Result<Addition, StoreError> {
        self.limits.add_within(name, amount, most, self.resets_at() + COUNTER_TTL_MS).await
    }

    /// What was spent so far, in the order of the currencies.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn spent(&self, currencies: &[String]) -> Result<Vec<i64>, StoreError> {
        let names: Vec<String> = currencies.iter().map(|currency| self.counter(currency)).collect();
        self.limits.read_counters(&names).await
    }

    /// Counts what a message is expected to cost, unless that would pass the cap.
    ///
    /// # Errors
    ///
    /// [`SpendError`]: nothing was counted.
    pub async fn charge(&self, cost: &Cost, cap: Option<i64>) -> Result<(), SpendError> {
        match self.add(&self.counter(&cost.currency), cost.micros, cap.unwrap_or(i64::MAX)).await? {
            Addition::Added(spent) => {
                self.alert_if_near(cost, cap, spent - cost.micros, spent).await;
                Ok(())
            }
            Addition::Refused(spent_micros) => {
                let cap_micros = cap.unwrap_or(i64::MAX);
                self.alert(&cost.currency, cap_micros, spent_micros, 100).await;
                Err(SpendError::CapReached(SpendCapReached {
                    currency: cost.currency.clone(),
                    cap_micros,
                    spent_micros,
                    cost_micros: cost.micros,
                    resets_at: self.resets_at(),
                }))
            }
        }
    }

    /// Takes back what was counted for a message that was not accepted. Best effort.
    pub async fn refund(&self, cost: &Cost) {
        if let Err(error) = self.add(&self.counter(&cost.currency), -cost.micros, i64::MAX).await {
            tracing::warn!(tenant = %self.tenant, %error, "the cost of a refused message was not taken back");
        }
    }

    async fn alert_if_near(&self, cost: &Cost, cap: Option<i64>, before: i64, spent: i64) {
        let Some(cap) = cap else { return };
        for percentage in ALERT_PERCENTAGES {
            let share = (i128::from(cap) * i128::from(percentage) + 99) / 100;
            if i128::from(before) < share && share <= i128::from(spent) {
                self.alert(&cost.currency, cap, spent, percentage).await;
            }
        }
    }

    /// Raises an alert, unless one was raised today. Best effort.
    async fn alert(&self, currency: &str, cap: i64, spent: i64, percentage: i64) {
        let marker = format!("{}#{percentage}", self.counter(currency));
        let raised = match self.add(&marker, 1, 1).await {
            Ok(Addition::Added(_)) => {
                let tenant = self.tenant;
                let (spent, cap, resets_at) = (decimal(spent), decimal(cap), show_time(self.resets_at()));
                let subject = format!("{tenant} has used {percentage} % of its daily spend cap in {currency}");
                let text = format!(
                    "The {} messages of {tenant} have cost {spent} {currency} of {cap} today. Messages that would pass the \
                     cap are refused until {resets_at}. PATCH /api/limits changes it.",
                    self.mode.as_str()
                );
                self.alerts.raise(&subject, &text).await
            }
            Ok(Addition::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = raised {
            tracing::error!(tenant = %self.tenant, %error, "an alert could not be raised");
        }
    }
}

/// An amount in millionths as a decimal number.
pub fn decimal(micros: i64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let short = text.trim_end_matches('0');
    let digits = short.len().max(text.len() - 4);
    text[..digits].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_two_decimals_or_as_many_as_they_need() {
        assert_eq!([1_500_000, 399, 0, 12_345_678].map(decimal), ["1.50", "0.000399", "0.00", "12.345678"]);
    }
}
