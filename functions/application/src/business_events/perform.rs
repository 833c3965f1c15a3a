//! Carries out what an event asks for. Repeating it changes nothing, because everything is named by business names.

use domain::business_event::{
    Act, Contact, EventData, InvoiceFacts, Known, KnownPerson, PaymentData, PersonAct, STOCK_QUIET_MS, STOCK_ROLE,
    WantedChannels, confirm, plan,
};
use domain::collect::CollectionsState;
use domain::data_subject;
use domain::ports::{DocumentKey, StoreError};
use domain::preferences::{Command, PreferenceChange};
use events::{ActOutcome, Channel, MessageType, Recipient, RecipientType};

use super::facts::Origin;
use super::handling::{Handling, UNKNOWN_INVOICE, outcome, skipped};
use super::links::PaidBy;
use super::{persons, settings};
use crate::collections::checks;
use crate::consent;
use crate::execute::ExecuteError;
use crate::hash::hash_of;
use crate::invoices;
use crate::people::People;
use crate::process::ProcessError;

impl Handling<'_> {
    /// Plans what the event asks for, and carries it out. Returns what became of each act, or `None` if an invoice must
    /// be printed and this function has no printer.
    pub async fn perform(&self, mut data: EventData) -> Result<Option<Vec<ActOutcome>>, ProcessError> {
        let people = self.people(&data).await?;
        if let EventData::Statement { as_of, .. } = &data {
            checks::record_statement(self.app, (self.tenant, self.mode()), &self.namespace, *as_of).await?;
        }
        let settings = settings::automations(self.app, self.tenant).await?;
        let paid_by = match &mut data {
            EventData::PaymentReceived(payment) => self.paid_by(payment).await?,
            _ => PaidBy::Nothing,
        };
        let mut known = Known {
            event_id: &self.event.received.event_id,
            source: &self.event.received.source,
            namespace: &self.namespace,
            business_name: self.tenant.as_str(),
            now: self.app.host.now(),
            settings: &settings,
            people: &people,
            link_channel: paid_by.channel(),
            is_repeated_alert: false,
        };
        let mut acts = plan(&data, &known);
        if let EventData::LowStock(stock) = &data
            && acts.iter().any(|act| matches!(act, Act::Send(_)))
            && self.is_repeated_alert(&stock.location, &stock.alert).await?
        {
            known.is_repeated_alert = true;
            acts = plan(&data, &known);
        }
        if self.app.printer.is_none() && acts.iter().any(Act::prints) {
            return Ok(None);
        }
        // A statement has facts about many invoices.
        let collections = match acts.iter().any(|act| matches!(act, Act::Facts(_))) {
            true => invoices::collections_of(self.app, self.tenant).await?,
            false => CollectionsState::default(),
        };
        let time_zone = people.first().and_then(|customer| customer.person.time_zone.as_deref());
        let mut outcomes = Vec::new();
        for act in acts {
            match act {
                Act::Send(send) => outcomes.push(self.send_with_link(*send).await?),
                Act::Facts(facts) => outcomes.push(self.record(&facts, time_zone, &paid_by, &collections).await?),
                Act::Confirm(payment) => {
                    outcomes.extend(self.record_use(&paid_by, &payment.id).await?);
                    self.confirm((&payment, &paid_by), known.clone(), &mut outcomes).await?;
                }
                Act::Link(request) => outcomes.push(self.send_link(&request, known.clone()).await?),
                Act::Person(person) => self.change_person(*person, &mut outcomes).await?,
                Act::Skip { act, recipient, channel, reason } => {
                    if reason == "nobody_has_role" {
                        tracing::warn!(event = self.id, metric = "NobodyHasRole", "nobody is told of low stock");
                    }
                    outcomes.push(skipped(act, recipient, channel, reason));
                }
            }
        }
        Ok(Some(outcomes))
    }

    /// The people whom messages of the event may go to.
    async fn people(&self, data: &EventData) -> Result<Vec<KnownPerson>, StoreError> {
        let of = (self.tenant, self.mode());
        Ok(match data {
            EventData::LowStock(_) => persons::with_role(self.app, of, STOCK_ROLE).await?,
            EventData::UserInvited(invitation) => {
                vec![persons::known(self.app, of, RecipientType::User, &invitation.user).await?]
            }
            EventData::InvoiceIssued(invoice) => self.customer(&invoice.customer).await?,
            EventData::PaymentReceived(payment) => self.customer(&payment.customer).await?,
            _ => Vec::new(),
        })
    }

    /// Whether another alert about this location was sent within the last hours. If not, this one is recorded.
    async fn is_repeated_alert(&self, location: &str, alert: &str) -> Result<bool, StoreError> {
        let documents = &*self.app.tenant_ports.documents;
        let name = format!("{}#{}", self.mode().as_str(), hash_of(&location)?);
        let key = DocumentKey { tenant: self.tenant.clone(), collection: "low-stock", name };
        let now = self.app.host.now();
        let until = Some(now + STOCK_QUIET_MS);
        if documents.replace_document(&key, None, alert, until, now).await? {
            return Ok(false);
        }
        let last = documents.get_document(&key, now).await?;
        Ok(last.is_some_and(|last| last != alert))
    }

    /// Records what the event says about an invoice.
    async fn record(
        &self,
        facts: &InvoiceFacts,
        time_zone: Option<&str>,
        paid_by: &PaidBy,
        collections: &CollectionsState,
    ) -> Result<ActOutcome, ProcessError> {
        let (event, occurred_at) = (self.id, self.event.received.occurred_at);
        let origin = Origin { event, occurred_at, link: paid_by.invoice_and_link(), time_zone };
        let (invoice, recorded) = origin.facts(facts);
        let (reference, context) = (self.paid_invoice(paid_by, &invoice), self.sender("SYSTEM_events").context());
        let done = ActOutcome {
            reference: Some(domain::invoice::stream_name(self.tenant, &reference)),
            ..outcome(facts.act(), None)
        };
        match invoices::record_by(self.app, &context, self.tenant, &reference, recorded, collections).await {
            Ok(_) => Ok(done),
            Err(ExecuteError::Rejected(rejection)) => {
                tracing::warn!(event = self.id, %rejection, "a fact about an invoice was refused");
                Ok(ActOutcome { skipped: Some("too_many_payments".to_owned()), ..done })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Confirms a payment, once its invoices are known: they say whom it is from, and what remains.
    async fn confirm(
        &self,
        (payment, paid_by): (&PaymentData, &PaidBy),
        mut known: Known<'_>,
        outcomes: &mut Vec<ActOutcome>,
    ) -> Result<(), ProcessError> {
        let mut paid = Vec::new();
        for (invoice, _) in &payment.allocations {
            let name = domain::invoice::stream_name(self.tenant, &self.paid_invoice(paid_by, invoice));
            paid.push(invoices::load(self.app, self.tenant, &name).await?);
        }
        let act = MessageType::PaymentConfirmation.as_str();
        if paid.iter().any(|invoice| !invoice.facts.is_issued) {
            outcomes.push(skipped(act, None, None, UNKNOWN_INVOICE.to_owned()));
            return Ok(());
        }
        if let Some(reference) = paid.first().and_then(|invoice| invoice.reference.as_ref()) {
            known.namespace = &reference.namespace;
        }
        let customer = paid.iter().find_map(|invoice| invoice.facts.customer()?.id.clone());
        let people = match customer.filter(|_| known.people.is_empty()) {
            Some(id) => self.customer(&Some(Contact { id: Some(id), ..Contact::default() })).await?,
            None => Vec::new(),
        };
        if known.people.is_empty() {
            known.people = &people;
        }
        for act in confirm(payment, &paid, &known) {
            match act {
                Act::Send(send) => outcomes.push(self.send(&send).await?),
                Act::Skip { act, recipient, channel, reason } => {
                    outcomes.push(skipped(act, recipient, channel, reason));
                }
                Act::Facts(_) | Act::Person(_) | Act::Confirm(_) | Act::Link(_) => (),
            }
        }
        Ok(())
    }

    async fn change_person(&self, act: PersonAct, outcomes: &mut Vec<ActOutcome>) -> Result<(), ProcessError> {
        let (of, at) = ((self.tenant, self.mode()), self.event.received.occurred_at);
        let named = |kind, id: &str| data_subject::of_recipient(&Recipient { kind, id: Some(id.to_owned()) });
        match act {
            PersonAct::Created { kind, id, contact, preferences } => {
                persons::change(self.app, of, (kind, &id), &contact, at).await?;
                let person = named(kind, &id);
                outcomes.push(outcome("person", person.clone()));
                outcomes.push(self.set_preferences(person.unwrap_or_default(), preferences).await?);
            }
            PersonAct::Changed { kind, id, contact } => {
                persons::change(self.app, of, (kind, &id), &contact, at).await?;
                outcomes.push(outcome("person", named(kind, &id)));
            }
            PersonAct::Removed { kind, id } => {
                let person = named(kind, &id);
                persons::remove(self.app, of, person.as_deref().unwrap_or_default(), at).await?;
                outcomes.push(outcome("person", person));
            }
        }
        Ok(())
    }

    /// The preferences of a new person. Without any, the tenant's defaults apply. Those that a person has already are
    /// not changed.
    async fn set_preferences(&self, person: String, wanted: WantedChannels) -> Result<ActOutcome, ProcessError> {
        let done = outcome("default_preferences", Some(person.clone()));
        let skipped = |reason: &str| ActOutcome { skipped: Some(reason.to_owned()), ..done.clone() };
        if wanted.is_empty() {
            return Ok(done);
        }
        let current = consent::preferences(&self.app.tenant_ports, self.tenant, &person).await?;
        if current.created_at.is_some() {
            return Ok(if current.types == wanted { done } else { skipped("has_preferences") });
        }
        let types = wanted.into_iter().map(|(kind, channels): (_, Vec<Channel>)| (kind, Some(channels))).collect();
        let change = PreferenceChange { types, ..PreferenceChange::default() };
        let people = People {
            tenant_ports: &self.app.tenant_ports,
            vault: &*self.app.vault,
            contact_key: &self.app.contact_key,
        };
        let context = self.sender("SYSTEM_events").context();
        people.change(&context, self.tenant, &person, Command::Change(Box::new(change))).await?;
        Ok(done)
    }
}
