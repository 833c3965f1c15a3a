//! People send invoices while their events are handled: over HTTP, by a function without a printer.

use std::collections::BTreeMap;

use application::Caller;
use application::messages::{IdempotencyKey, id_of};
use axum::body::Body;
use axum::http::Request;
use domain::aggregate::{AggregateKey, fold};
use domain::invoice::{InvoiceState, key_of, request_id};
use domain::ports::{CommunicationKey, Principal};
use events::{CommunicationId, InvoiceEvent, InvoiceRef, InvoiceSending, Mode, RecordedEvent, TenantId};

use crate::world::{TENANTS, WorldState};

/// A person's request to send the invoice of a sale by email.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManualSend {
    pub sale: usize,
    pub key: String,
}

impl ManualSend {
    pub fn request(&self) -> Request<Body> {
        let path = format!("/api/invoices/{}/send?namespace=erp", self.sale);
        let request = Request::post(path).header("authorization", format!("Bearer {}", TENANTS[0].0));
        let request = request.header("idempotency-key", &self.key).header("content-type", "application/json");
        request.body(Body::from(r#"{"channel":"email"}"#)).expect("a request")
    }

    fn invoice(&self) -> InvoiceRef {
        InvoiceRef { mode: Mode::Live, namespace: "erp".to_owned(), id: self.sale.to_string() }
    }

    /// The message that it leads to.
    fn message(&self, tenant: &TenantId) -> CommunicationId {
        let invoice = key_of(tenant, &self.invoice()).stream_id().id;
        let request = request_id(tenant, &invoice, &self.key);
        let caller = Caller::new(Principal::admin(tenant.clone(), "person", Mode::Live));
        id_of(&caller, &IdempotencyKey::derived(&["manual invoice", &request, "email"]))
    }
}

/// I41: a person's request to send an invoice that was acknowledged has ended, with its one message. Returns the messages
/// of all requests, and how many had to wait for a printer.
///
/// # Errors
///
/// The first request for which that does not hold.
pub fn check(
    state: &WorldState,
    tenant: &TenantId,
    acknowledged: impl Iterator<Item = ManualSend>,
) -> Result<(BTreeMap<CommunicationId, usize>, usize), String> {
    let (mut messages, mut waited) = (BTreeMap::new(), 0);
    for sent in acknowledged {
        let id = key_of(tenant, &sent.invoice()).stream_id();
        let records: Vec<RecordedEvent<InvoiceEvent>> =
            state.history(&id).iter().map(|line| events::decode(line).expect("an event")).collect();
        let invoice = fold(InvoiceState::default(), &records);
        let message = sent.message(tenant);
        let is_sent = |record: &&RecordedEvent<InvoiceEvent>| {
            let InvoiceEvent::InvoiceSent { communication, how } = &record.event else { return false };
            *communication == message && *how == InvoiceSending::Manual
        };
        let is_request = |record: &&RecordedEvent<InvoiceEvent>| {
            matches!(record.event, InvoiceEvent::InvoiceSendingRequested { .. })
        };
        if invoice.sendings.waiting().next().is_some() {
            return Err(format!("I41: a request to send {id} still waits: {:?}", invoice.sendings));
        }
        let key = CommunicationKey { tenant: tenant.clone(), id: message };
        if state.history(&key.stream_id()).is_empty() || !records.iter().any(|record| is_sent(&record)) {
            return Err(format!("I41: {sent:?} was acknowledged, and {message} was not sent: {records:#?}"));
        }
        waited = waited.max(records.iter().filter(is_request).count());
        *messages.entry(message).or_default() += 1;
    }
    Ok((messages, waited))
}
