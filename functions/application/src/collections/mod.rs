//! Collections: the processes that remind customers of what they owe.

mod backfill;
pub mod checks;
mod debtors;
mod invoice;
mod notice;
mod preview;
mod remind;
mod settings;
mod status;
mod words;

use domain::collect::{Calendar, CollectionsState, DebtorState, debtor_key, parse_day};
use domain::invoice::InvoiceState;
use domain::ports::StoreError;
use events::{CollectionSettings, Recipient, TenantId, Timestamp};
use jiff::civil::Date;

use crate::app::App;
use crate::execute;

pub use backfill::{BackfillError, FoundBackfill, NewBackfill, confirm, run as run_backfill, stop};
pub use debtors::{DebtorError, change as change_debtor, get as debtor};
pub use invoice::run as run_invoice;
pub use notice::run as run_notice;
pub use preview::{OldInvoice, Preview, PreviewError, PreviewGroup, preview, preview_days};
pub use remind::{ReminderError, remind};
pub use settings::{CollectionsError, Enabled, change, disable, enable, get, today};
pub use status::{CollectionsStatus, status};

/// What decides about the reminders of one customer, beside the invoice.
pub struct Rules {
    pub collections: CollectionsState,
    pub settings: CollectionSettings,
    pub debtor: DebtorState,
}

impl Rules {
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn load(app: &App, tenant: &TenantId, customer: Option<&Recipient>) -> Result<Rules, StoreError> {
        let collections = crate::invoices::collections_of(app, tenant).await?;
        let debtor = match customer.and_then(|customer| debtor_key(tenant, customer)) {
            Some(key) => execute::load(&*app.store, &key).await?.state,
            None => DebtorState::default(),
        };
        Ok(Rules { settings: collections.settings(), collections, debtor })
    }

    /// The days and times of the customer. `None` if this version cannot read the settings.
    pub fn calendar(&self, invoice: Option<&InvoiceState>) -> Option<Calendar<'_>> {
        let of_invoice = invoice.and_then(|invoice| invoice.facts.time_zone());
        Calendar::new(&self.settings, [self.debtor.time_zone.as_deref(), of_invoice])
    }

    /// A day, and when its reminders leave.
    fn day(&self, invoice: &InvoiceState, day: &str) -> Option<(Date, Timestamp)> {
        let day = parse_day(day)?;
        Some((day, self.calendar(Some(invoice))?.start_of(day)?))
    }
}
