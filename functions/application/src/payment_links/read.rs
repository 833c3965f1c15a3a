//! Reads links: by their tokens for customers and payment pages, and by their ids for the tenant.

use domain::access::{Permission, Reach};
use domain::invoice::InvoiceState;
use domain::payment_link::{Command, PaymentLink, PaymentLinkStatus, key_of};
use domain::ports::{ClockAndRng, EventStore, StoreError};
use events::{LinkRevokeReason, Mode, TenantId};

use super::PaymentLinkError;
use crate::actions::{self, Action};
use crate::app::App;
use crate::caller::Caller;
use crate::execute::{CommandContext, CommandExecutor, load};
use crate::invoices;
use crate::links::{LinkKeys, verify_payment_token};

/// A link, and what can be paid by it.
#[derive(Debug, Clone)]
pub struct ReadLink {
    pub id: String,
    pub link: PaymentLink,
    pub status: PaymentLinkStatus,
    pub invoice: InvoiceState,
}

impl ReadLink {
    /// What can be paid, in minor units, and its currency. `None` unless the link is open.
    pub fn owed(&self) -> Option<(i64, String)> {
        let is_open = self.status == PaymentLinkStatus::Open;
        let (owed, currency) = (self.invoice.facts.amounts()?.owed, self.invoice.facts.terms().currency?);
        is_open.then_some((owed, currency))
    }
}

/// Reads links by their tokens.
pub struct LinkReader<'a> {
    pub store: &'a dyn EventStore,
    pub host: &'a dyn ClockAndRng,
    pub link_keys: &'a LinkKeys,
}

impl LinkReader<'_> {
    /// The link of a token. `None` if the token is not valid in any of `modes`, which takes no read, or if the customer's
    /// data was erased. `is_opening` counts it as opened.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn open(
        &self,
        context: &CommandContext,
        (tenant, modes): (&TenantId, &[Mode]),
        token: &str,
        is_opening: bool,
    ) -> Result<Option<ReadLink>, StoreError> {
        let Some((mode, id)) = verify_payment_token(self.link_keys, tenant, modes, token) else { return Ok(None) };
        let key = key_of(tenant, &id);
        let mut loaded = load(self.store, &key).await?;
        let Some(link) = loaded.state.link.clone().filter(|link| link.mode == mode) else { return Ok(None) };
        let invoice = load(self.store, &invoices::stream(tenant, &link.invoice)).await?.state;
        let Some(status) = link.status(&invoice, self.host.now()) else { return Ok(None) };
        if is_opening {
            let executor = CommandExecutor { store: self.store, host: self.host, origin: context };
            match executor.execute_loaded(&key, loaded.clone(), Command::Open).await {
                Ok(opened) => loaded = opened,
                Err(error) => tracing::warn!(link = id, %error, "the opening of a payment link was not counted"),
            }
        }
        let link = loaded.state.link.unwrap_or(link);
        Ok(Some(ReadLink { id, link, status, invoice }))
    }
}

/// The link of a token of the caller's mode, for the tenant's payment page. It counts as opened.
///
/// # Errors
///
/// [`PaymentLinkError`]
pub async fn resolve(app: &App, caller: &Caller, token: &str) -> Result<ReadLink, PaymentLinkError> {
    caller.authorise(Permission::Integrate, Reach::Everything)?;
    let reader = LinkReader { store: &*app.store, host: &*app.host, link_keys: &app.link_keys };
    let of = (&caller.principal.tenant, &[caller.principal.mode][..]);
    reader.open(&caller.context(), of, token, true).await?.ok_or(PaymentLinkError::NotFound)
}

pub(super) async fn read(app: &App, caller: &Caller, id: &str) -> Result<ReadLink, PaymentLinkError> {
    let tenant = &caller.principal.tenant;
    let link = load(&*app.store, &key_of(tenant, id)).await?.state.link;
    let link = link.filter(|link| link.mode == caller.principal.mode).ok_or(PaymentLinkError::NotFound)?;
    let invoice = invoices::load(app, tenant, &link.invoice).await?;
    let status = link.status(&invoice, app.host.now()).unwrap_or(PaymentLinkStatus::Revoked);
    Ok(ReadLink { id: id.to_owned(), link, status, invoice })
}

/// One link of the caller's mode.
///
/// # Errors
///
/// [`PaymentLinkError`]
pub async fn find(app: &App, caller: &Caller, id: &str) -> Result<ReadLink, PaymentLinkError> {
    caller.authorise(Permission::View, Reach::Everything)?;
    read(app, caller, id).await
}

/// Revokes a link: from now on nothing can be paid by it. The next message gets a new one.
///
/// # Errors
///
/// [`PaymentLinkError`]
pub async fn revoke(app: &App, caller: &Caller, id: &str) -> Result<(), PaymentLinkError> {
    caller.authorise(Permission::Send, Reach::Everything)?;
    let found = read(app, caller, id).await?;
    let action = Action::InvoiceChanged { invoice: found.link.invoice, act: "payment_link_revoked".to_owned() };
    actions::record(app, caller, &action).await?;
    let command = Command::Revoke { reason: LinkRevokeReason::Requested, by: caller.actor().name() };
    app.executor(&caller.context()).execute(&key_of(&caller.principal.tenant, id), command).await?;
    Ok(())
}
