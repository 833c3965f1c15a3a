//! Messages about what is owed: they are sent only while something is owed, and say what is owed when they are sent.

use application::execute::load;
use domain::aggregate::{AggregateId, AggregateKey};
use domain::business_event::link_variables;
use domain::collect::{
    Calendar, CollectionsState, DebtorState, PAYMENT_LINKS, SETTINGS_STREAM, ToldInvoice, debtor_key, parse_day,
    variables,
};
use domain::communication::Command;
use domain::invoice::{Hold, InvoiceState};
use domain::message::MessageContent;
use domain::ports::StoreError;
use events::{CommunicationRequest, DeferReason, MessageType, StreamId, SuppressReason, TenantId};
use futures_util::future::try_join_all;
use jiff::civil::Date;
use serde_json::{Map, Value};

use crate::DeliverHandler;

/// What a message speaks of. The attempt is claimed only if all of it is still at these versions.
#[derive(Debug, Default)]
pub(crate) struct Debts {
    /// The invoices, by the ids of their streams.
    pub about: Vec<String>,
    pub unmoved: Vec<(StreamId, u64)>,
}

impl Debts {
    /// Reads the invoices that a message speaks of, and writes into its variables what is owed now. Returns what becomes
    /// of the message if there is nothing to say any more, or if reminders do not leave now.
    pub async fn read(
        deliver: &DeliverHandler,
        tenant: &TenantId,
        request: &CommunicationRequest,
        content: &mut MessageContent,
    ) -> Result<Result<Debts, Command>, StoreError> {
        if request.unless_settled.is_empty() {
            return Ok(Ok(Debts::default()));
        }
        let store = &*deliver.store;
        let is_notice = request.kind == MessageType::CollectionNotice;
        let settings = load(store, &AggregateId::<CollectionsState>::new(tenant, SETTINGS_STREAM)).await?.state;
        let mut debts = Debts::default();
        let mut debtor = DebtorState::default();
        if let Some(key) = debtor_key(tenant, &request.recipient) {
            let loaded = load(store, &key).await?;
            debts.unmoved.push((key.stream_id(), loaded.version));
            debtor = loaded.state;
        }
        let rules = settings.settings();
        let invoice = async |id: &String| {
            let key = AggregateId::<InvoiceState>::new(tenant, id);
            Ok::<_, StoreError>((key.stream_id(), load(store, &key).await?))
        };
        let invoices = try_join_all(request.unless_settled.iter().map(invoice)).await?;
        let of_invoice = invoices.first().and_then(|(_, loaded)| loaded.state.facts.time_zone());
        let calendar = Calendar::new(&rules, [debtor.time_zone.as_deref(), of_invoice]);
        let paused = Command::Suppress(SuppressReason::CollectionPaused);
        let now = deliver.host.now();
        let times = calendar.and_then(|calendar| Some((calendar.local(now)?.date(), calendar.open_from(now)?)));
        let Some((today, until)) = times else { return Ok(Err(paused)) };
        let is_off = settings.enabled_from.is_none() || debtor.is_excluded || is_held(&debtor.hold, today);
        if is_notice && is_off {
            return Ok(Err(paused));
        }
        let (mut told, mut is_any_owed) = (Vec::new(), false);
        for (stream, loaded) in invoices {
            is_any_owed |= loaded.state.facts.amounts().is_some_and(|amounts| amounts.owed > 0);
            let can_be_told = match is_notice {
                true => loaded.state.is_collectible() && !is_held(&loaded.state.hold, today),
                // A customer who has promised to pay can be sent the link to do it.
                false => loaded.state.link_refusal().is_none(),
            };
            if can_be_told {
                debts.about.push(stream.id.clone());
                debts.unmoved.push((stream, loaded.version));
                told.push(loaded.state);
            }
        }
        if told.is_empty() {
            return Ok(Err(if is_any_owed { paused } else { Command::Suppress(SuppressReason::Settled) }));
        }
        // The days and hours may have changed since the message was accepted, and a retry may fall on any day.
        if is_notice && now < until {
            return Ok(Err(Command::Defer { until, reason: DeferReason::QuietHours }));
        }
        if let Some(current) = content.variables.as_mut().and_then(Value::as_object_mut) {
            current.extend(match (is_notice, told.as_slice()) {
                (false, [invoice]) => link_variables(invoice).unwrap_or_default(),
                _ => notice_variables(current, &debts.about, &told, (request.unless_settled.len() > 1, today)),
            });
        }
        Ok(Ok(debts))
    }
}

/// What a notice says, with the links that it had when it was accepted.
fn notice_variables(
    accepted: &Map<String, Value>,
    about: &[String],
    told: &[InvoiceState],
    (is_many, today): (bool, Date),
) -> Map<String, Value> {
    let link = |id: &String| accepted.get(PAYMENT_LINKS)?.get(id)?.as_str();
    let told = about.iter().zip(told).map(|(id, state)| ToldInvoice { state, payment_link: link(id) });
    variables(&told.collect::<Vec<_>>(), is_many, today)
}

/// Whether a pause or a promise holds on a day.
fn is_held(hold: &Option<Hold>, today: Date) -> bool {
    hold.as_ref().is_some_and(|hold| hold.through().and_then(parse_day).is_none_or(|through| today <= through))
}
