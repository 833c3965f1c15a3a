//! Payment links in the simulation of collections: reminders issue them, people ask for them, open, use and revoke them at
//! any moment. Then an invoice never had two links at once, and no message had a link that was of no use.

use std::collections::BTreeMap;

use application::links::{LinkKeys, payment_token, verify_payment_token};
use application::payment_links::{LinkIssuer, LinkReader};
use application::process::ProcessError;
use application::{App, CommandContext, ExecuteError, invoices};
use domain::aggregate::{AggregateKey, fold};
use domain::invoice::key_of as invoice_key;
use domain::payment_link::{Command, MAX_OPENINGS, PaymentLink, PaymentLinkState, RENEW_MS, key_of};
use events::{
    CommunicationEvent, InvoiceRef, LinkRevokeReason, Mode, PaymentLinkEvent, RecordedEvent, StreamId, StreamKind,
    TenantId,
};
use tests::rng::SeededRng;

use crate::collection_plan::{ACT_MS, Act, DAY_MS, LinkAct, START};
use crate::world::{World, WorldState};

pub const PUBLIC_URL: &str = "https://tidings.test";
/// How long a reminder may be on its way: retries, another channel, and days without reminders.
const ON_ITS_WAY_MS: i64 = 7 * DAY_MS;
/// Number of acts for each invoice.
const ACTS: u64 = 5;

/// What people do, with the times.
pub fn acts(seed: u64, invoices: usize) -> Vec<(i64, Act)> {
    let mut rng = SeededRng::new(seed ^ 0x6c69_6e6b);
    let mut acts = Vec::new();
    for invoice in 0..invoices {
        for n in 0..rng.below(ACTS) {
            let act = match rng.below(6) {
                0 => LinkAct::Issue { valid_ms: None },
                1 => LinkAct::Issue { valid_ms: Some([DAY_MS, 20 * DAY_MS, 100 * DAY_MS][rng.below(3) as usize]) },
                2 | 3 => LinkAct::Open { times: [1, 1, 25][rng.below(3) as usize] },
                4 => LinkAct::Use { payment: format!("by-link-{n}") },
                _ => LinkAct::Revoke,
            };
            let at = START + rng.below(ACT_MS as u64) as i64;
            // Two people may do the same at once.
            for _ in 0..1 + rng.below(2) {
                acts.push((at, Act::Link { invoice, act: act.clone() }));
            }
        }
    }
    acts
}

/// Carries out what a person does.
pub async fn perform(app: &App, tenant: &TenantId, reference: &InvoiceRef, act: LinkAct) -> Result<(), ProcessError> {
    let context = CommandContext::function("api");
    let invoice = invoice_key(tenant, reference).stream_id().id;
    let state = invoices::load(app, tenant, &invoice).await?;
    let command = match act {
        LinkAct::Issue { valid_ms } => {
            let issuer = LinkIssuer::automatic(app, &context, (tenant, Mode::Live)).await?.expect("an address");
            if state.link_refusal().is_none() {
                issuer.issue(&invoice, valid_ms).await?;
            }
            return Ok(());
        }
        LinkAct::Open { times } => {
            let reader = LinkReader { store: &*app.store, host: &*app.host, link_keys: &app.link_keys };
            for _ in 0..times {
                let Some(newest) = &state.link else { return Ok(()) };
                let token = payment_token(&app.link_keys, tenant, Mode::Live, &newest.id).expect("a token");
                reader.open(&context, (tenant, Mode::ALL), &token, true).await?;
            }
            return Ok(());
        }
        LinkAct::Use { payment } => Command::Use { payment },
        LinkAct::Revoke => Command::Revoke { reason: LinkRevokeReason::Requested, by: "person".to_owned() },
    };
    let Some(newest) = state.link else { return Ok(()) };
    match app.executor(&context).execute(&key_of(tenant, &newest.id), command).await {
        Ok(_) | Err(ExecuteError::Rejected(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What happened in the runs. The test asserts on it.
#[derive(Debug, Default)]
pub struct LinkFigures {
    links: usize,
    renewed: usize,
    revoked: usize,
    opened_often: usize,
    told: usize,
}

impl LinkFigures {
    pub fn add(&mut self, other: &LinkFigures) {
        self.links += other.links;
        self.renewed += other.renewed;
        self.revoked += other.revoked;
        self.opened_often += other.opened_often;
        self.told += other.told;
    }

    pub fn covers_everything(&self) -> bool {
        [self.links, self.renewed, self.revoked, self.opened_often, self.told].iter().all(|count| *count > 0)
    }
}

/// I39: an invoice has a new link only once the one before is revoked or has less than two weeks left, and what a message
/// leads to is a link of an invoice that it speaks of, with enough time left.
///
/// # Errors
///
/// What does not hold.
pub fn check(world: &World, link_keys: &LinkKeys) -> Result<LinkFigures, String> {
    let state = world.state();
    let links = links(&state);
    let mut figures = LinkFigures::default();
    let mut of_invoice: BTreeMap<(&TenantId, &str), BTreeMap<u32, &PaymentLink>> = BTreeMap::new();
    for (id, link) in &links {
        figures.links += 1;
        figures.revoked += usize::from(link.revoked.is_some());
        figures.opened_often += usize::from(link.has_more_openings());
        of_invoice.entry((&id.tenant, &link.invoice)).or_default().insert(link.number, link);
        let openings = state.history(id).iter().filter(|line| line.contains("PaymentLinkOpened")).count();
        if MAX_OPENINGS as usize + 1 < openings {
            return Err(format!("I39: {openings} openings of {id} are recorded"));
        }
    }
    for ((tenant, invoice), numbered) in of_invoice {
        for (number, link) in &numbered {
            let Some(before) = number.checked_sub(1).filter(|before| *before > 0) else { continue };
            let Some(before) = numbered.get(&before) else {
                return Err(format!("I39: {invoice} of {tenant} has link {number} and not the one before"));
            };
            figures.renewed += 1;
            let is_revoked = before.revoked.as_ref().is_some_and(|revoked| revoked.at <= link.created_at);
            if !is_revoked && RENEW_MS <= before.expires_at.millis_since(link.created_at) {
                return Err(format!("I39: {invoice} of {tenant} has two links at once: {before:#?} {link:#?}"));
            }
        }
    }
    figures.told = told(&state, &links, link_keys)?;
    Ok(figures)
}

fn links(state: &WorldState) -> BTreeMap<StreamId, PaymentLink> {
    let of_kind = state.streams.keys().filter(|id| id.kind == StreamKind::PAYMENT_LINK);
    let link = |id: &StreamId| {
        let lines = state.history(id);
        let records: Vec<RecordedEvent<PaymentLinkEvent>> =
            lines.iter().map(|line| events::decode(line).expect("an event")).collect();
        Some((id.clone(), fold(PaymentLinkState::default(), &records).link?))
    };
    of_kind.filter_map(link).collect()
}

/// Checks the links in what providers were told to say. Returns how many there were.
fn told(state: &WorldState, links: &BTreeMap<StreamId, PaymentLink>, keys: &LinkKeys) -> Result<usize, String> {
    let mut count = 0;
    for key in state.communications() {
        let lines = state.history(&key.stream_id());
        let CommunicationEvent::CommunicationRequested(request) = events::decode(&lines[0]).expect("an event").event
        else {
            continue;
        };
        for call in state.calls.iter().filter(|call| call.attempt.communication == key.id) {
            for path in call.text.split(&format!("{PUBLIC_URL}/t/{}/pay/", key.tenant)).skip(1) {
                let token: String = path.chars().take(43).collect();
                let fail = |why: &str| Err(format!("I39: {} has a link {why}: {token}", key.id));
                let found = verify_payment_token(keys, &key.tenant, Mode::ALL, &token);
                let Some((Mode::Live, id)) = found else { return fail("that is not signed") };
                let Some(link) = links.get(&StreamId::new(&key.tenant, StreamKind::PAYMENT_LINK, id)) else {
                    return fail("that does not exist");
                };
                if !request.unless_settled.contains(&link.invoice) {
                    return fail("of an invoice that it does not speak of");
                }
                if link.expires_at.0 < call.at + RENEW_MS - ON_ITS_WAY_MS {
                    return fail("that is about to expire");
                }
                count += 1;
            }
        }
        if lines.iter().any(|line| line.contains(PUBLIC_URL)) {
            return Err(format!("I39: the events of {} have an address", key.id));
        }
    }
    Ok(count)
}
