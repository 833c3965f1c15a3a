//! Invoices of a person who is erased: their amounts stay for the books, and there are no more reminders.

use domain::access::{Permission, Reach};
use domain::invoice::{Command, InvoiceRow, InvoiceStage, InvoiceState, customer_range, printed_upload};
use domain::payment_link;
use domain::ports::{StoreError, ViewRow, ViewScope};
use events::{LinkRevokeReason, Mode, Recipient};
use futures_util::future::try_join_all;

use super::{execute, stream};
use crate::app::App;
use crate::attachments;
use crate::business_events::EraseError;
use crate::caller::Caller;
use crate::execute::{self as streams, Loaded};
use crate::process::ProcessError;
use crate::views;

/// Number of invoices of one page.
const PAGE: usize = 100;
/// Number of invoices that are read at the same time.
const CONCURRENT: usize = 20;
/// Maximum number of invoices of an export, of each mode.
pub const MAX_EXPORTED: usize = 5_000;

/// The invoices of one customer.
#[derive(Debug, Clone, Default)]
pub struct CustomerInvoices {
    /// With their ids, the newest 5,000 of each mode.
    pub invoices: Vec<(String, Loaded<InvoiceState>)>,
    /// Whether there are older ones.
    pub has_more: bool,
}

/// The invoices of a customer. A live caller sees those of both modes, a test caller those of its own.
///
/// # Errors
///
/// [`EraseError`]
pub async fn of_customer(
    app: &App,
    caller: &Caller,
    customer: &Recipient,
    most: usize,
) -> Result<CustomerInvoices, EraseError> {
    caller.authorise(Permission::Privacy, Reach::Everything)?;
    let (tenant, own) = (&caller.principal.tenant, caller.principal.mode);
    let Some(range) = customer_range(customer) else { return Ok(CustomerInvoices::default()) };
    let mut found = CustomerInvoices::default();
    for mode in Mode::ALL.iter().filter(|mode| own == Mode::Live || own == **mode) {
        let scope = ViewScope { view: InvoiceRow::VIEW, tenant: tenant.clone(), mode: *mode };
        let (mut left, mut after) = (most, None::<String>);
        loop {
            let ranges = vec![range.clone()];
            // One more row says whether there are more.
            let size = PAGE.min(left + 1);
            let page = views::list(&*app.views, &scope, ranges, after.as_deref(), size, |_: &InvoiceRow| true).await?;
            let rows = &page.rows[..page.rows.len().min(left)];
            for rows in rows.chunks(CONCURRENT) {
                let load = async |row: &InvoiceRow| {
                    let loaded = streams::load(&*app.store, &stream(tenant, &row.id)).await?;
                    Ok::<_, StoreError>((row.id.clone(), loaded))
                };
                found.invoices.extend(try_join_all(rows.iter().map(load)).await?);
            }
            let is_cut = left < page.rows.len();
            found.has_more |= is_cut;
            left -= rows.len();
            after = page.next;
            if after.is_none() || is_cut {
                break;
            }
        }
    }
    Ok(found)
}

/// Erases the invoices of a customer. A live caller erases those of both modes, a test caller those of its own. Returns
/// how many there were, and how many have no record of it.
///
/// # Errors
///
/// [`EraseError`]
pub async fn erase(app: &App, caller: &Caller, customer: &Recipient) -> Result<(usize, usize), EraseError> {
    caller.authorise(Permission::Privacy, Reach::Everything)?;
    let (tenant, own) = (&caller.principal.tenant, caller.principal.mode);
    let Some(range) = customer_range(customer) else { return Ok((0, 0)) };
    let (mut count, mut unrecorded) = (0, 0);
    for mode in Mode::ALL.iter().filter(|mode| own == Mode::Live || own == **mode) {
        let scope = ViewScope { view: InvoiceRow::VIEW, tenant: tenant.clone(), mode: *mode };
        let is_left = |row: &InvoiceRow| row.stage != InvoiceStage::Erased;
        let mut after = None::<String>;
        loop {
            let ranges = vec![range.clone()];
            let page = views::list(&*app.views, &scope, ranges, after.as_deref(), PAGE, is_left).await?;
            for row in &page.rows {
                count += 1;
                if let Err(error) = erase_one(app, caller, &row.id).await {
                    tracing::error!(invoice = row.id, %error, "the erasure of an invoice has no record in its history");
                    unrecorded += 1;
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok((count, unrecorded))
}

/// Erases an invoice, and then revokes its link. A link of an erased invoice shows nothing, revoked or not.
async fn erase_one(app: &App, caller: &Caller, id: &str) -> Result<(), ProcessError> {
    let (tenant, by) = (&caller.principal.tenant, caller.principal.actor_id());
    // What was printed for requests that wait belongs to no message yet.
    let waiting = super::load(app, tenant, id).await?.sendings;
    for request in waiting.waiting() {
        attachments::erase(app, tenant, &printed_upload(tenant, &request.id)).await?;
    }
    let command = Command::Erase { by: by.clone() };
    let erased = execute(app, &caller.context(), &stream(tenant, id), command).await?;
    if let Some(link) = &erased.state.link {
        let command = payment_link::Command::Revoke { reason: LinkRevokeReason::Erased, by };
        app.executor(&caller.context()).execute(&payment_link::key_of(tenant, &link.id), command).await?;
    }
    Ok(())
}
