//! Issues the links of invoices. An invoice has one link at a time: the newest, until too little of its time is left.

use domain::aggregate::AggregateId;
use domain::business_event::AutomationState;
use domain::invoice::{Command as InvoiceCommand, NewestLink, Rejection};
use domain::payment_link::{Command, DEFAULT_VALID_MS, PaymentLink, PaymentLinkState, key_of, stream_name};
use domain::ports::StoreError;
use events::{AutomationSettings, Channel, CommunicationId, MessageType, Mode, TenantId};

use crate::app::App;
use crate::execute::{self, CommandContext, ExecuteError, Loaded};
use crate::invoices;
use crate::links::payment_token;
use crate::process::ProcessError;

/// How many links in a row may be found that cannot be sent any more, beyond the one that the invoice knows.
const MAX_STALE: usize = 8;

/// Issues the links of a tenant's invoices.
pub struct LinkIssuer<'a> {
    app: &'a App,
    context: &'a CommandContext,
    tenant: &'a TenantId,
    mode: Mode,
    /// The address before the token.
    page: String,
}

/// A link that can be sent.
#[derive(Debug, Clone)]
pub struct IssuedLink {
    pub id: String,
    /// With the token.
    pub url: String,
    pub link: PaymentLink,
}

/// The tenant's settings of payment links.
pub(super) async fn settings_of(app: &App, tenant: &TenantId) -> Result<AutomationSettings, StoreError> {
    let key = AggregateId::<AutomationState>::new(tenant, MessageType::PaymentLink.as_str());
    Ok(execute::load(&*app.store, &key).await?.state.settings)
}

/// The address before the token: a page of the tenant, or of the deployment, or the one that we serve.
fn page_of(app: &App, tenant: &TenantId, settings: &AutomationSettings) -> Option<String> {
    let own = settings.payment_url.as_ref().or(app.payment_url.as_ref()).map(|url| format!("{url}/pay"));
    let public = Some(&app.tenant_ports.public_url).filter(|url| !url.is_empty());
    own.or_else(|| Some(format!("{}/t/{tenant}/pay", public?)))
}

/// The same error of the stream of an invoice.
fn of_link(error: ExecuteError<domain::payment_link::Rejection>) -> ExecuteError<Rejection> {
    error.map_rejection(|_| Rejection::Unknown)
}

impl<'a> LinkIssuer<'a> {
    /// `None` if there is no address that a link could lead to.
    pub fn new(
        app: &'a App,
        context: &'a CommandContext,
        (tenant, mode): (&'a TenantId, Mode),
        settings: &AutomationSettings,
    ) -> Option<LinkIssuer<'a>> {
        Some(LinkIssuer { app, context, tenant, mode, page: page_of(app, tenant, settings)? })
    }

    /// For the links of messages that nobody asked for. `None` as well if the tenant wants none.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn automatic(
        app: &'a App,
        context: &'a CommandContext,
        of: (&'a TenantId, Mode),
    ) -> Result<Option<LinkIssuer<'a>>, StoreError> {
        let settings = settings_of(app, of.0).await?;
        Ok(LinkIssuer::new(app, context, of, &settings).filter(|_| settings.enabled))
    }

    /// The link of an invoice, by its stream: the newest, or a new one if that has too little time left. Repeating it
    /// returns the same link.
    ///
    /// # Errors
    ///
    /// [`ExecuteError`]
    pub async fn issue(&self, invoice: &str, valid_ms: Option<i64>) -> Result<IssuedLink, ExecuteError<Rejection>> {
        let executor = self.app.executor(self.context);
        let key = invoices::stream(self.tenant, invoice);
        let loaded = executor.load(&key).await?;
        let newest = loaded.state.link.as_ref().map_or(1, |newest| newest.number);
        let valid_ms = valid_ms.unwrap_or(DEFAULT_VALID_MS);
        for number in (newest..).take(MAX_STALE) {
            let id = stream_name(self.tenant, invoice, number);
            let Some(link) = self.sendable(&id, (invoice, number), valid_ms).await? else { continue };
            if loaded.state.link.as_ref().is_none_or(|newest| newest.number < number) {
                let command = InvoiceCommand::AddLink(NewestLink { id: id.clone(), number });
                invoices::execute(self.app, self.context, &key, command).await?;
            }
            let token = payment_token(&self.app.link_keys, self.tenant, self.mode, &id);
            let url = format!("{}/{}", self.page, token.ok_or(ExecuteError::Rejected(Rejection::Unknown))?);
            return Ok(IssuedLink { id, url, link });
        }
        Err(ExecuteError::Contended)
    }

    /// The link of this number, which is created if there is none. `None` if it cannot be sent any more.
    async fn sendable(
        &self,
        id: &str,
        (invoice, number): (&str, u32),
        valid_ms: i64,
    ) -> Result<Option<PaymentLink>, ExecuteError<Rejection>> {
        let executor = self.app.executor(self.context);
        let key = key_of(self.tenant, id);
        let mut loaded: Loaded<PaymentLinkState> = executor.load(&key).await?;
        if loaded.state.link.is_none() {
            let expires_at = self.app.host.now() + valid_ms;
            let command = Command::Create { mode: self.mode, invoice: invoice.to_owned(), number, expires_at };
            loaded = executor.execute_loaded(&key, loaded, command).await.map_err(of_link)?;
        }
        Ok(loaded.state.link.filter(|link| link.is_sendable(valid_ms, self.app.host.now())))
    }

    /// The link by which an invoice can be paid, if something is owed. A link that cannot be stored is left out of its
    /// message.
    ///
    /// # Errors
    ///
    /// [`ProcessError`]: another try may succeed.
    pub async fn link_of(&self, invoice: &str) -> Result<Option<IssuedLink>, ProcessError> {
        let state = invoices::load(self.app, self.tenant, invoice).await?;
        if state.link_refusal().is_some() {
            return Ok(None);
        }
        match self.issue(invoice, None).await {
            Ok(issued) => Ok(Some(issued)),
            Err(error @ (ExecuteError::Rejected(_) | ExecuteError::StreamFull)) => {
                tracing::warn!(invoice, %error, "an invoice has no payment link");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Records the message that takes a link to the customer.
    ///
    /// # Errors
    ///
    /// [`ProcessError`]
    pub async fn record_sending(
        &self,
        id: &str,
        channel: Channel,
        communication: CommunicationId,
    ) -> Result<(), ProcessError> {
        let command = Command::RecordSending { channel, communication };
        match self.app.executor(self.context).execute(&key_of(self.tenant, id), command).await {
            Ok(_) | Err(ExecuteError::Rejected(_) | ExecuteError::StreamFull) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
