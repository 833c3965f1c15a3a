//! What would happen to a message, without accepting it. Nothing is stored, counted or sent.

use domain::access::{Permission, Reach};
use domain::communication::Rejection;
use domain::message::RenderedMessage;
use domain::ports::{AddressKey, ProviderConfig};
use domain::prices::Cost;
use domain::quiet_hours;
use domain::tenant_limits::Pause;
use events::{Channel, CommunicationId, SuppressReason, TemplateRef, Timestamp};

use super::MessageError;
use super::compose::Composed;
use super::cost::{candidates, first_config};
use super::estimate::after_backlog;
use super::new_message::{Fault, NewMessage};
use super::send::{IdempotencyCheck, check_idempotency, prepare};
use crate::ExecuteError;
use crate::app::App;
use crate::caller::Caller;
use crate::pauses;
use crate::spend::decimal;
use crate::templates::RenderingError;
use crate::throttle_store::throttle_key;
use crate::time::show_time;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// The message would be sent later because of it.
    Delayed,
    /// The message would not be accepted because of it, or would change nothing.
    Failed,
}

/// One check.
#[derive(Debug, Clone)]
pub struct DryCheck {
    pub name: &'static str,
    pub outcome: Outcome,
    /// The code of the reason, unless it passed.
    pub reason: Option<String>,
    pub detail: String,
}

/// What would happen to a message.
#[derive(Debug, Default)]
pub struct DryRun {
    pub checks: Vec<DryCheck>,
    /// Everything that is wrong with the request.
    pub faults: Vec<Fault>,
    /// The message that was accepted with the same idempotency key.
    pub replay_of: Option<CommunicationId>,
    pub channel: Option<Channel>,
    pub template: Option<TemplateRef>,
    pub config: Option<String>,
    pub send_at: Option<Timestamp>,
    pub cost: Option<Cost>,
    pub rendered: Option<RenderedMessage>,
}

impl DryRun {
    /// Whether a message would be accepted and sent.
    pub fn would_send(&self) -> bool {
        self.checks.iter().all(|check| check.outcome != Outcome::Failed)
    }

    fn add(&mut self, name: &'static str, outcome: Outcome, reason: Option<&str>, detail: impl Into<String>) {
        let reason = reason.map(str::to_owned);
        self.checks.push(DryCheck { name, outcome, reason, detail: detail.into() });
    }

    fn pass(&mut self, name: &'static str, detail: impl Into<String>) {
        self.add(name, Outcome::Passed, None, detail);
    }

    fn fail(&mut self, name: &'static str, reason: &str, detail: impl Into<String>) {
        self.add(name, Outcome::Failed, Some(reason), detail);
    }

    fn delay(&mut self, name: &'static str, reason: &str, detail: impl Into<String>) {
        self.add(name, Outcome::Delayed, Some(reason), detail);
    }
}

/// Says what [`send`](super::send) would do now. Later it may be something else.
///
/// # Errors
///
/// [`MessageError::Invalid`]: the request is not complete. [`MessageError::Forbidden`], [`MessageError::Busy`] and errors
/// of the stores. Any other refusal is a result.
pub async fn dry_run(app: &App, caller: &Caller, message: &NewMessage) -> Result<DryRun, MessageError> {
    caller.authorise(Permission::Send, Reach::Scoped)?;
    let mut run = DryRun::default();
    check_duplicate(app, caller, message, &mut run).await?;
    let composed = match prepare(app, caller, message, None).await {
        Ok(composed) => composed,
        // A request that is not complete is refused as a send of it is: there is nothing to say about it yet.
        Err(MessageError::Invalid(faults)) if !message.faults.is_empty() || faults.iter().any(is_missing) => {
            return Err(MessageError::Invalid(faults));
        }
        Err(MessageError::Invalid(faults)) => {
            for fault in &faults {
                run.fail("message", fault.code, fault.detail.clone());
            }
            run.faults = faults;
            return Ok(run);
        }
        Err(error) => return Err(error),
    };
    run.pass("message", "The message is complete.");
    check_content(app, caller, &composed, &mut run).await?;
    check_recipient(app, caller, composed, &mut run).await?;
    Ok(run)
}

fn is_missing(fault: &Fault) -> bool {
    fault.code == "required"
}

async fn check_duplicate(
    app: &App,
    caller: &Caller,
    message: &NewMessage,
    run: &mut DryRun,
) -> Result<(), MessageError> {
    let Some(idempotency_key) = message.idempotency_key.as_ref() else { return Ok(()) };
    match check_idempotency(app, caller, Some(idempotency_key), &message.fingerprint).await {
        Ok(IdempotencyCheck::First(..)) => run.pass("duplicates", "The idempotency key was not used before."),
        Ok(IdempotencyCheck::Replay(key, _)) => {
            let detail = format!("The same message was accepted before as {}. It is not sent twice.", key.id);
            run.fail("duplicates", "already_accepted", detail);
            run.replay_of = Some(key.id);
        }
        Err(MessageError::Execute(ExecuteError::Rejected(Rejection::IdempotencyKeyReused))) => {
            let detail = "The idempotency key was used before, for another message.";
            run.fail("duplicates", "idempotency_key_reused", detail);
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

async fn check_content(app: &App, caller: &Caller, composed: &Composed, run: &mut DryRun) -> Result<(), MessageError> {
    let Composed { request, content, .. } = composed;
    run.channel = Some(request.channel);
    run.template = request.template.clone();
    let rendered = app.library.render(&app.tenant_ports, &caller.principal.tenant, request, content).await;
    match rendered {
        Ok(rendered) => {
            let detail = match &rendered.segments {
                Some(segments) => {
                    let (count, encoding) = (segments.count, segments.encoding.as_str());
                    let noun = if count == 1 { "segment" } else { "segments" };
                    format!("It is sent as {count} SMS {noun} ({encoding}).")
                }
                None if request.template.is_some() => "All template variables have a value.".to_owned(),
                None => "The content can be rendered.".to_owned(),
            };
            run.pass("content", detail);
            run.rendered = Some(rendered);
        }
        Err(RenderingError::Render(error)) => run.fail("content", error.kind(), format!("{error}.")),
        Err(RenderingError::Busy(busy)) => return Err(busy.into()),
        Err(RenderingError::Store(error)) => return Err(error.into()),
    }
    Ok(())
}

/// Checks everything about the recipient, the route and the time.
async fn check_recipient(app: &App, caller: &Caller, composed: Composed, run: &mut DryRun) -> Result<(), MessageError> {
    let tenant = &caller.principal.tenant;
    let configs = app.directory.channels(&app.tenant_ports, tenant).await?;
    let Composed { mut request, content, segments, .. } = composed;
    let address =
        AddressKey { tenant: tenant.clone(), channel: request.channel, contact_hash: request.contact_hash.clone() };
    let consent = app.defaults.consent(&app.tenant_ports, &address, &request.recipient, request.kind).await?;
    // As when it is sent: another channel may still reach them.
    let has_fallback = request.fallback.is_some();
    match (consent.is_suppressed, has_fallback) {
        (false, _) => run.pass("suppression", "The address is not on the suppression list."),
        (true, true) => run.delay(
            "suppression",
            "suppression_list",
            "The address is on the suppression list. The fallback would be used.",
        ),
        (true, false) => run.fail("suppression", "suppression_list", "The address is on the suppression list."),
    }
    match consent.refusal {
        None => run.pass("preferences", "The recipient accepts this type of message on this channel."),
        Some(reason) if has_fallback && is_of_channel(reason) => {
            run.delay("preferences", reason.as_str(), format!("{} The fallback would be used.", refusal(reason)));
        }
        Some(reason) => run.fail("preferences", reason.as_str(), refusal(reason)),
    }
    let config = first_config(app, &request, &configs);
    check_route(config.as_ref(), run);
    check_breakers(app, &candidates(app, &request, &configs), run).await?;
    let pause = pauses::of_channel(app, tenant, request.channel).await?;
    check_pause(request.channel, pause.as_ref(), run);
    let now = app.host.now();
    let due = request.scheduled_at.unwrap_or(now).max(now);
    request.quiet_hours = request.quiet_hours.take().or(consent.quiet_hours);
    let mut send_at = due;
    match quiet_hours::release_time(&request, due) {
        Some(released) => {
            send_at = released;
            let detail = format!("It is held until {}, the end of the recipient's quiet hours.", show_time(released));
            run.delay("quietHours", "quiet_hours", detail);
        }
        None => run.pass("quietHours", "It is not sent in quiet hours."),
    }
    if send_at <= now {
        let free = after_backlog(app, tenant, &request).await?;
        match now < free {
            true => {
                let detail = format!("Messages before it use the rate limit until {}.", show_time(free));
                run.delay("rate", "rate_limit", detail);
                send_at = free;
            }
            false => run.pass("rate", "No rate limit delays it."),
        }
    }
    if request.expires_at <= send_at {
        let detail = format!("It expires at {}, before it would be sent.", show_time(request.expires_at));
        run.fail("expiry", "expired", detail);
    }
    // Nobody knows when a paused channel is resumed.
    run.send_at = Some(send_at).filter(|_| pause.is_none());
    run.cost = config.and_then(|config| config.estimate_cost(&content.recipient_contact, segments));
    check_spend(app, caller, run).await
}

fn is_of_channel(reason: SuppressReason) -> bool {
    matches!(reason, SuppressReason::ChannelDisabled | SuppressReason::TypeDisabled)
}

fn refusal(reason: SuppressReason) -> &'static str {
    match reason {
        SuppressReason::ChannelDisabled => "The recipient does not want this channel.",
        SuppressReason::TypeDisabled => "The recipient does not want messages of this type on this channel.",
        SuppressReason::DoNotContact => "The recipient is not to be contacted.",
        _ => "The recipient opted out.",
    }
}

fn check_route(config: Option<&ProviderConfig>, run: &mut DryRun) {
    match config {
        Some(config) => {
            run.config = Some(config.id.clone());
            run.pass("route", format!("{} is tried first.", config.id));
        }
        None => run.fail("route", "no_provider", "No provider serves its channel."),
    }
}

/// Whether one of the accounts takes messages now.
async fn check_breakers(app: &App, accounts: &[ProviderConfig], run: &mut DryRun) -> Result<(), MessageError> {
    let now = app.host.now();
    for account in accounts {
        let throttle =
            app.directory.recent_throttle(&*app.limits, throttle_key(&account.id), account.rate, now).await?;
        if throttle.state(now) != "open" {
            run.pass("breaker", format!("{} takes messages.", account.id));
            return Ok(());
        }
    }
    if !accounts.is_empty() {
        let names = accounts.iter().map(|account| account.id.as_str()).collect::<Vec<_>>().join(", ");
        let detail = format!("It waits until an account answers again. Paused after repeated failures: {names}.");
        run.delay("breaker", "providers_shut", detail);
    }
    Ok(())
}

fn check_pause(channel: Channel, pause: Option<&Pause>, run: &mut DryRun) {
    let Some(Pause { since, by, reason }) = pause else { return run.pass("pause", "Its channel is not paused.") };
    let (name, since) = (channel.as_str(), show_time(*since));
    run.delay("pause", "channel_paused", format!("It waits: {name} is paused since {since} by {by} ({reason})."));
}

async fn check_spend(app: &App, caller: &Caller, run: &mut DryRun) -> Result<(), MessageError> {
    let tenant = &caller.principal.tenant;
    let Some(cost) = run.cost.clone() else { return Ok(()) };
    let configs = app.directory.channels(&app.tenant_ports, tenant).await?;
    let Some(cap) = configs.limits.daily_spend_caps.get(&cost.currency).copied() else {
        run.pass("spendCap", format!("No spend cap is set in {}.", cost.currency));
        return Ok(());
    };
    let spent = app.daily_spend(tenant, caller.principal.mode).spent(std::slice::from_ref(&cost.currency)).await?;
    let spent = spent.first().copied().unwrap_or(0);
    let left = cap.saturating_sub(spent);
    match cost.micros <= left {
        true => run.pass("spendCap", format!("{} {} of today's cap are left.", decimal(left), cost.currency)),
        false => {
            let detail = format!("Only {} {} of today's cap are left.", decimal(left.max(0)), cost.currency);
            run.fail("spendCap", "spend_cap_reached", detail);
        }
    }
    Ok(())
}
