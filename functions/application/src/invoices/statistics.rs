//! What sending and reminding brought in.

use domain::access::{Permission, Reach};
use domain::communication_view::CommunicationRow;
use domain::invoice::InvoiceRow;
use domain::payment_link::PaymentLinkRow;
use domain::ports::{StoreError, ViewRow, ViewScope};
use domain::stats::utc_day;
use events::Timestamp;
use futures_util::future::try_join3;

use super::InvoiceError;
use crate::app::App;
use crate::caller::Caller;
use crate::messages::Statistics;

/// The counters of invoices by the day on which they were first heard of, and of links and messages by the day on which
/// they were created.
#[derive(Debug, Clone)]
pub struct BusinessStatistics {
    pub invoices: Statistics,
    pub links: Statistics,
    pub messages: Statistics,
}

/// # Errors
///
/// [`InvoiceError`]
pub async fn statistics(
    app: &App,
    caller: &Caller,
    from: Timestamp,
    to: Timestamp,
) -> Result<BusinessStatistics, InvoiceError> {
    caller.authorise(Permission::Stats, Reach::Tenant)?;
    let days = (utc_day(from), utc_day(to));
    let (invoices, links, messages) = try_join3(
        counters::<InvoiceRow>(app, caller, &days),
        counters::<PaymentLinkRow>(app, caller, &days),
        counters::<CommunicationRow>(app, caller, &days),
    )
    .await?;
    Ok(BusinessStatistics { invoices, links, messages })
}

async fn counters<R: ViewRow>(
    app: &App,
    caller: &Caller,
    (from, to): &(String, String),
) -> Result<Statistics, StoreError> {
    let scope = ViewScope { view: R::VIEW, ..caller.scope() };
    Ok(Statistics::of(app.views.daily_counters(&scope, from, to).await?))
}
