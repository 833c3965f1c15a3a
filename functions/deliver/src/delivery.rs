use std::sync::Arc;

use application::directory::{ProviderSetupError, last_inbound_key, provider_message_key};
use application::execute::history_of;
use application::process::{Progress, advance};
use application::suppression::{Entry, List};
use application::{CommandContext, CommandExecutor, ExecuteError, Loaded};
use domain::aggregate::Aggregate;
use domain::communication::{
    AttemptOutcome, Command, Communication, DeliveryReport, Lifecycle, Readiness, Rejection, readiness,
};
use domain::message::{AttachmentLink, MessageContent};
use domain::ports::{
    AddressKey, CommunicationKey, ContentKey, Hint, ObjectKey, OutboundMessage, Provider, QueryResult, SendResult,
    StoreError,
};
use domain::provider::EmailAttachment;
use domain::render::render_request;
use domain::{policy, quiet_hours};
use events::{
    AttemptId, Channel, CommunicationEvent, CommunicationRequest, DeferReason, FailReason, Priority, RecordedEvent,
    ReportedStatus, Resolution, ResolvedBy, SuppressReason, Timestamp,
};
use futures_util::future::{join, join_all, join3};

use crate::fallback::FallbackRun;
use crate::gates::{Admission, BatchThrottle};
use crate::{Deadline, DeliverError, DeliverHandler};

/// Decisions taken for one hint, at most: a doubt settled, an expiry, an attempt, and races between them.
const MAX_DECISIONS: usize = 8;
/// Tries to store what became of an attempt; each is the SDK's own three.
const MAX_RECORD_TRIES: usize = 3;
/// What is due this soon gets its hint at once, for the exact second; the sweep takes care of the rest.
const IMMEDIATE_HINT_MS: i64 = 60_000;

/// One hint at work.
pub(crate) struct DeliveryRun<'a> {
    pub deliver: &'a DeliverHandler,
    pub gates: &'a BatchThrottle<'a>,
    pub key: &'a CommunicationKey,
    pub deadline: Deadline,
}

impl DeliveryRun<'_> {
    /// Brings one communication as far as it can go now.
    pub async fn process(&self) -> Result<(), DeliverError> {
        let DeliveryRun { deliver, gates, key, .. } = self;
        let origin = CommandContext::function("deliver");
        let executor = CommandExecutor { store: &*deliver.store, host: &*deliver.host, origin: &origin };
        let mut loaded = executor.load(key).await?;
        for _ in 0..MAX_DECISIONS {
            let now = self.deliver.host.now();
            let Ok(communication) = loaded.state.requested() else {
                tracing::warn!(id = %key.id, "a hint without its stream");
                return Ok(());
            };
            let next = match readiness(communication, now) {
                Readiness::Finished => return Ok(()),
                Readiness::NotBefore(until) => return self.schedule_hint(&loaded, until).await,
                Readiness::DeadlineReached(_) => self.query_provider(&loaded).await?,
                Readiness::Ready => self.prepare(communication).await?,
                Readiness::FallbackDue | Readiness::FallbackRequestPending => {
                    match advance(&executor, *key, loaded, &FallbackRun { deliver, key }).await? {
                        Progress::Advanced(after) => loaded = after,
                        Progress::Waits { .. } | Progress::Done => return Ok(()),
                    }
                    continue;
                }
            };
            let command = match next {
                NextStep::Do(command) => command,
                NextStep::Wait(until) => return self.set_wait(&loaded, until).await,
                NextStep::Send(outbound, provider) => match self.claim(&executor, &loaded, &provider).await? {
                    Some(claimed) => {
                        return self.send(&executor, claimed, *outbound, provider).await;
                    }
                    None => {
                        gates.release_token(&provider.config().id).await;
                        loaded = executor.load(key).await?;
                        continue;
                    }
                },
            };
            loaded = match executor.attempt(key, &loaded, command).await? {
                Some(after) => after,
                None => executor.load(key).await?,
            };
        }
        Err(DeliverError::Contended)
    }

    /// Early by a little: the same hint at the exact second. Early by more: the timer will send one.
    async fn schedule_hint(&self, loaded: &Loaded, until: Timestamp) -> Result<(), DeliverError> {
        let communication = loaded.state.requested().map_err(ExecuteError::from)?;
        let waits = matches!(communication.lifecycle, Lifecycle::Pending | Lifecycle::RetryWait { .. });
        let wait_ms = until.millis_since(self.deliver.host.now());
        if waits && wait_ms <= IMMEDIATE_HINT_MS { self.hint(loaded, wait_ms).await } else { Ok(()) }
    }

    /// The same hint again, in whole seconds, never too soon.
    async fn hint(&self, loaded: &Loaded, wait_ms: i64) -> Result<(), DeliverError> {
        let seconds = (wait_ms.max(0) + 999).div_euclid(1_000) as u32;
        Ok(self
            .deliver
            .queue
            .send(&[(Hint { queue: loaded.state.queue(), stream: self.key.stream_id() }, seconds)])
            .await?)
    }

    /// A wait that is no event: it sets the timer, and burns nothing.
    async fn set_wait(&self, loaded: &Loaded, until: Timestamp) -> Result<(), DeliverError> {
        let communication = loaded.state.requested().map_err(ExecuteError::from)?;
        let Some(from) = loaded.wake else { return Ok(()) };
        let now = self.deliver.host.now();
        // What would expire meanwhile is looked at in time.
        let until = if now < communication.expires_at { until.min(communication.expires_at) } else { until };
        let wait_ms = until.millis_since(now).max(0);
        if IMMEDIATE_HINT_MS < wait_ms {
            // The sweep sends the hint, to the second.
            return Ok(self.deliver.store.reschedule_timer(&self.key.stream_id(), from, until, 0).await?);
        }
        self.deliver.store.reschedule_timer(&self.key.stream_id(), from, until + policy::REPAIR_DELAY_MS, 1).await?;
        self.hint(loaded, wait_ms).await
    }

    /// A doubt whose evidence has not come: the provider is asked, where it can be. Then time has its effect.
    async fn query_provider(&self, loaded: &Loaded) -> Result<NextStep, DeliverError> {
        let now = self.deliver.host.now();
        let communication = loaded.state.requested().map_err(ExecuteError::from)?;
        let advance = NextStep::Do(Command::ApplyDeadlines { now });
        let Lifecycle::InDoubt { attempt, evidence_until } = communication.lifecycle else { return Ok(advance) };
        let provider =
            self.provider_of_last_attempt(communication).await?.filter(|provider| provider.capabilities().query);
        let Some(provider) = provider else { return Ok(advance) };
        let records = history_of(&*self.deliver.store, self.key, loaded).await?;
        let Some((since, until)) = attempt_window(&records, attempt) else { return Ok(advance) };
        let Some(content) = self.deliver.vault.get(&content_key(self.key, communication), now).await? else {
            return Ok(advance);
        };
        let Ok(outbound) = self.outbound(communication, attempt, content).await? else { return Ok(advance) };
        let left = self.deadline.millis_since(now).max(1_000) as u64;
        let found = provider.query_delivery(&outbound, since, until, self.deliver.provider_timeout_ms.min(left)).await;
        tracing::info!(tenant = %self.key.tenant, id = %self.key.id, config = provider.config().id, ?found, "a provider was asked");
        let settle = |outcome, provider_message_id| {
            NextStep::Do(Command::ResolveInDoubt { outcome, by: ResolvedBy::Query, provider_message_id })
        };
        Ok(match found {
            QueryResult::Accepted(id) => settle(Resolution::Accepted, Some(id)),
            QueryResult::NotAccepted => settle(Resolution::NotAccepted, None),
            QueryResult::NoResponse if now.millis_since(evidence_until) < policy::QUERY_WINDOW_MS => {
                NextStep::Wait(now + policy::QUERY_INTERVAL_MS)
            }
            QueryResult::NoResponse | QueryResult::Unsupported => advance,
        })
    }

    /// The one that the last attempt was made with; none where it is gone.
    async fn provider_of_last_attempt(
        &self,
        communication: &Communication,
    ) -> Result<Option<Arc<dyn Provider>>, DeliverError> {
        let DeliverHandler { cache, tenant_ports, providers, .. } = self.deliver;
        let Some(config) = &communication.last_config_id else { return Ok(None) };
        let named = (config.as_str(), communication.request.mode);
        match cache.directory.find(tenant_ports, &self.key.tenant, named, providers).await {
            Ok(found) => Ok(found),
            Err(ProviderSetupError::Store(error)) => Err(error.into()),
            Err(error) => {
                tracing::error!(config, %error, "a provider cannot be asked");
                Ok(None)
            }
        }
    }

    /// Everything that may say no before an attempt is made of it.
    async fn prepare(&self, communication: &Communication) -> Result<NextStep, DeliverError> {
        let now = self.deliver.host.now();
        if self.deadline.millis_since(now) < policy::MIN_TIME_TO_CLAIM_MS {
            return Err(DeliverError::NoTime);
        }
        let request = &communication.request;
        let DeliverHandler { cache, tenant_ports, .. } = self.deliver;
        let (suppressed, content, preferences) = join3(
            self.deliver.store.is_suppressed(&contact_key(self.key, request)),
            self.deliver.vault.get(&content_key(self.key, communication), now),
            cache.defaults.for_recipient(tenant_ports, &self.key.tenant, &request.recipient),
        )
        .await;
        if suppressed? {
            return Ok(NextStep::Do(Command::Suppress(SuppressReason::SuppressionList)));
        }
        // What was wanted when it was accepted may no longer be.
        if let Some(why) = preferences?.and_then(|theirs| theirs.refuses(request.channel, request.kind)) {
            return Ok(NextStep::Do(Command::Suppress(why)));
        }
        let Some(content) = content? else {
            return Ok(NextStep::Do(Command::Suppress(SuppressReason::Erased)));
        };
        if let Some(until) = quiet_hours::release_time(request, now) {
            return Ok(NextStep::Do(Command::Defer { until, reason: DeferReason::QuietHours }));
        }
        let outbound = match self.outbound(communication, communication.attempts + 1, content).await? {
            Ok(outbound) => outbound,
            Err(kind) => {
                tracing::warn!(id = %self.key.id, kind, "cannot be rendered");
                return Ok(NextStep::Do(Command::FailPermanently(FailReason::Unrenderable)));
            }
        };
        Ok(match self.gates.pass(&self.key.tenant, communication).await {
            Admission::Through(provider) => NextStep::Send(Box::new(outbound), provider),
            Admission::Wait(until) => NextStep::Wait(until),
            Admission::NoProvider => {
                tracing::error!(id = %self.key.id, channel = request.channel.as_str(), mode = request.mode.as_str(), "no provider");
                NextStep::Do(Command::FailPermanently(FailReason::NoProvider))
            }
        })
    }

    /// The append is the lock. None: somebody else was first.
    async fn claim(
        &self,
        executor: &CommandExecutor<'_>,
        loaded: &Loaded,
        provider: &Arc<dyn Provider>,
    ) -> Result<Option<Loaded>, DeliverError> {
        let begin = Command::BeginAttempt {
            now: self.deliver.host.now(),
            lease_until: self.deadline + policy::LEASE_MARGIN_MS,
            config: provider.config().id.clone(),
            provider: provider.config().provider.clone(),
        };
        match executor.attempt(self.key, loaded, begin).await {
            Ok(claimed) => Ok(claimed),
            Err(ExecuteError::Rejected(Rejection::NotDue(_) | Rejection::AttemptInFlight(_) | Rejection::Finished)) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Calls the provider once, then records what is known of it.
    async fn send(
        &self,
        executor: &CommandExecutor<'_>,
        claimed: Loaded,
        outbound: OutboundMessage,
        provider: Arc<dyn Provider>,
    ) -> Result<(), DeliverError> {
        let left = self.deadline.millis_since(self.deliver.host.now()).max(1_000) as u64;
        let SendResult { answer, opted_out, facts } =
            provider.send(&outbound, self.deliver.provider_timeout_ms.min(left)).await;
        let communication = claimed.state.requested().map_err(ExecuteError::from)?;
        let contact = contact_key(self.key, &communication.request);
        if let AttemptOutcome::Accepted { provider_message_id, .. } = &answer {
            self.store_provider_message_id(&*provider, &outbound, provider_message_id).await;
        }
        let failover = self.gates.note(&self.key.tenant, communication, &*provider, &answer).await;
        let outcome = Command::RecordOutcome {
            attempt: outbound.attempt.number,
            now: self.deliver.host.now(),
            chance: self.deliver.host.random() as u64,
            outcome: answer,
            failover,
        };
        let mut after = record(executor, self.key, claimed, outcome).await?;
        log(self.key, &provider, &after);
        if !facts.is_empty() {
            after = executor.execute_loaded(self.key, after, Command::Report(self.reports(&outbound, facts))).await?;
        }
        // After the outcome: were it lost here, the provider says so again next time.
        if opted_out && let Err(error) = self.suppress(&contact, &outbound.to).await {
            tracing::error!(id = %self.key.id, %error, "an opt-out was not stored");
        }
        let ended = after.state.requested().map_err(ExecuteError::from)?;
        match ended.lifecycle {
            _ if ended.is_fallback_due(self.deliver.host.now()) => self.hint(&after, 0).await,
            Lifecycle::RetryWait { until } => {
                self.schedule_hint(&after, until.at().unwrap_or(self.deliver.host.now())).await
            }
            _ => Ok(()),
        }
    }
}

impl DeliveryRun<'_> {
    /// A message as the provider gets it; else the kind of error alone, for the error itself may quote variables.
    async fn outbound(
        &self,
        communication: &Communication,
        attempt: u16,
        mut content: MessageContent,
    ) -> Result<Result<OutboundMessage, &'static str>, StoreError> {
        let request = &communication.request;
        let files = self.files(communication, &mut content).await?;
        let DeliverHandler { cache, tenant_ports, .. } = self.deliver;
        let text =
            cache.library.compiled(tenant_ports, &self.key.tenant, request.channel, request.template.as_ref()).await?;
        let mut message = match render_request(request, &content, text.as_deref()) {
            Ok(message) => message,
            Err(error) => return Ok(Err(error.kind())),
        };
        // Words are what was meant; a template stands in for them where they are not allowed.
        if message.template.is_some() && !message.text.is_empty() && self.is_within_service_window(request).await? {
            message.template = None;
        }
        Ok(Ok(OutboundMessage {
            tenant: self.key.tenant.clone(),
            attempt: AttemptId { communication: self.key.id, number: attempt },
            to: content.recipient_contact,
            to_name: content.recipient_name,
            message,
            files,
            unsubscribe_url: self.unsubscribe_url(request),
        }))
    }

    /// An email's files as bytes; those that cannot be had stay links. Other channels are given addresses to read from.
    async fn files(
        &self,
        communication: &Communication,
        content: &mut MessageContent,
    ) -> Result<Vec<EmailAttachment>, StoreError> {
        let request = &communication.request;
        if content.attachments.is_empty() {
            return Ok(Vec::new());
        }
        match request.channel {
            Channel::Email => (),
            // A person opens the link, some day.
            Channel::Sms => return Ok(Vec::new()),
            Channel::Whatsapp | Channel::Messenger | Channel::Telegram => {
                for (place, link) in content.attachments.iter_mut().enumerate() {
                    let Some(id) = &link.attachment else { continue };
                    let mime = request.attachments.get(place).and_then(|file| file.mime.as_deref());
                    let (object, until) =
                        (ObjectKey::upload(&self.key.tenant, id), self.deliver.host.now() + FILE_LINK_TTL_MS);
                    let mime = mime.unwrap_or(OCTET_STREAM);
                    link.file_url = self.deliver.objects.download_from(&object, &link.filename, mime, until).await?;
                }
                return Ok(Vec::new());
            }
        }
        let most = MAX_FILES / content.attachments.len();
        let had = async |(place, link): (usize, &AttachmentLink)| {
            let known = request.attachments.get(place);
            let found = match &link.attachment {
                Some(id) => {
                    let object = ObjectKey::upload(&self.key.tenant, id);
                    let bytes = self.deliver.objects.read(&object, most).await.ok().flatten();
                    let mime = known.and_then(|file| file.mime.clone()).unwrap_or_else(|| OCTET_STREAM.to_owned());
                    bytes.map(|bytes| (bytes, mime))
                }
                None => self.fetch_and_cache(communication.attempts > 0, place, link, most).await,
            };
            found.map(|(bytes, mime)| EmailAttachment { name: link.filename.clone(), mime, bytes })
        };
        let had = join_all(content.attachments.iter().enumerate().map(had)).await;
        let mut is_link = had.iter().map(Option::is_none).collect::<Vec<_>>().into_iter();
        content.attachments.retain(|_| is_link.next().unwrap_or(true));
        Ok(had.into_iter().flatten().collect())
    }

    /// What a caller links to is fetched for the first attempt; the others have a copy of it.
    async fn fetch_and_cache(
        &self,
        is_again: bool,
        place: usize,
        link: &AttachmentLink,
        most: usize,
    ) -> Option<(Vec<u8>, String)> {
        let object = ObjectKey::fetched(self.key, place);
        if is_again && let Ok(Some(copy)) = self.deliver.objects.read(&object, most + MAX_TYPE).await {
            // The type is its first line.
            let end = copy.iter().position(|byte| *byte == b'\n')?;
            return Some((copy[end + 1..].to_vec(), String::from_utf8_lossy(&copy[..end]).into_owned()));
        }
        let fetched = self.deliver.files.fetch(&link.file_url, most).await;
        let fetched = fetched.inspect_err(|error| tracing::warn!(id = %self.key.id, %error, "a file stays a link"));
        let (bytes, mime) = fetched.ok()?;
        let copy = [mime.as_bytes(), b"\n", &bytes].concat();
        if let Err(error) = self.deliver.objects.write(&object, copy, OCTET_STREAM).await {
            tracing::warn!(id = %self.key.id, %error, "a file would be fetched once more");
        }
        Some((bytes, mime))
    }

    /// WhatsApp takes words for 24 hours after the person's last one.
    async fn is_within_service_window(&self, request: &CommunicationRequest) -> Result<bool, StoreError> {
        if request.channel != Channel::Whatsapp {
            return Ok(false);
        }
        let key = last_inbound_key(&contact_key(self.key, request));
        Ok(self.deliver.documents.get_document(&key, self.deliver.host.now()).await?.is_some())
    }

    /// Not for what somebody waits for: a code, an alarm.
    fn unsubscribe_url(&self, request: &CommunicationRequest) -> Option<String> {
        let DeliverHandler { contact_key, tenant_ports, .. } = self.deliver;
        let has_one = request.channel == Channel::Email && request.priority != Priority::Urgent;
        let token = || application::hash::unsubscribe_token(contact_key, self.key);
        let is_set = !contact_key.is_empty() && !tenant_ports.public_url.is_empty();
        (has_one && is_set).then(|| format!("{}/unsubscribe/{}", tenant_ports.public_url, token()))
    }

    async fn suppress(&self, contact: &AddressKey, address: &str) -> Result<(), StoreError> {
        let entry = Entry {
            channel: contact.channel,
            contact: Some(address.to_owned()),
            reason: "provider_opt_out".to_owned(),
            at: self.deliver.host.now(),
            by: "function:deliver".to_owned(),
            communication: Some(self.key.id),
        };
        List { store: &*self.deliver.store, documents: &*self.deliver.documents }.add(contact, &entry).await
    }

    /// Before its outcome is stored: a callback that comes in between is evidence already. Only where the provider echoes
    /// nothing of ours. Best effort: without it a callback finds no message, and the outcome stands all the same.
    async fn store_provider_message_id(&self, provider: &dyn Provider, outbound: &OutboundMessage, id: &str) {
        let can = provider.capabilities();
        if can.echoes_our_id || !can.receipts || id.is_empty() {
            return;
        }
        let (config, attempt) = (&provider.config().id, outbound.attempt.to_string());
        let until = Some(self.deliver.host.now() + PROVIDER_MESSAGE_ID_TTL_MS);
        let put = async |name: &str| {
            let key = provider_message_key(&self.key.tenant, config, name);
            if let Err(error) = self.deliver.documents.put_document(&key, &attempt, until).await {
                tracing::error!(id = %self.key.id, %error, "a provider's id was not kept");
            }
        };
        match can.names_person {
            true => drop(join(put(id), put(&outbound.to)).await),
            false => put(id).await,
        }
    }

    fn reports(&self, outbound: &OutboundMessage, facts: Vec<ReportedStatus>) -> Vec<DeliveryReport> {
        let at = self.deliver.host.now();
        let attempt = Some(outbound.attempt.number);
        facts.into_iter().map(|fact| DeliveryReport { attempt, fact, event_id: None, at, code: None }).collect()
    }
}

/// Bytes of an email's files, at most: several emails are in cache at once.
const MAX_FILES: usize = 4 * 1024 * 1024;
/// Bytes of the name of a type, at most.
const MAX_TYPE: usize = 256;
const OCTET_STREAM: &str = "application/octet-stream";
/// How long providers may read a file from where they are told, in milliseconds.
const FILE_LINK_TTL_MS: i64 = 3_600_000;
/// How long callbacks may name a provider's own id, in milliseconds.
const PROVIDER_MESSAGE_ID_TTL_MS: i64 = 30 * 24 * 3_600_000;

/// What a communication needs next.
enum NextStep {
    Do(Command),
    Wait(Timestamp),
    Send(Box<OutboundMessage>, Arc<dyn Provider>),
}

/// When an attempt was made: from its claim to the end of its lease.
fn attempt_window(records: &[RecordedEvent], attempt: u16) -> Option<(Timestamp, Timestamp)> {
    records.iter().rev().find_map(|record| match record.event {
        CommunicationEvent::DeliveryAttemptStarted { attempt: made, lease_until, .. } if made == attempt => {
            Some((record.meta.at, lease_until))
        }
        _ => None,
    })
}

fn content_key(key: &CommunicationKey, communication: &Communication) -> ContentKey {
    ContentKey::for_request(key, &communication.request, &communication.content_id)
}

/// An outcome that cannot be stored becomes a doubt, and a doubt may become a second send: worth more than one try.
async fn record(
    executor: &CommandExecutor<'_>,
    key: &CommunicationKey,
    claimed: Loaded,
    outcome: Command,
) -> Result<Loaded, ExecuteError> {
    let mut recorded = executor.execute_loaded(key, claimed, outcome.clone()).await;
    for _ in 1..MAX_RECORD_TRIES {
        match recorded {
            Err(ExecuteError::Store(StoreError::Unavailable(_)) | ExecuteError::OutcomeUnknown(_)) => {
                recorded = executor.execute(key, outcome.clone()).await;
            }
            done => return done,
        }
    }
    recorded
}

fn contact_key(key: &CommunicationKey, request: &CommunicationRequest) -> AddressKey {
    AddressKey { tenant: key.tenant.clone(), channel: request.channel, contact_hash: request.contact_hash.clone() }
}

fn log(key: &CommunicationKey, provider: &Arc<dyn Provider>, after: &Loaded) {
    for record in after.records.iter().rev().take(after.appended) {
        let event = record.event.name();
        tracing::info!(tenant = %key.tenant, id = %key.id, config = provider.config().id, event, "attempt ended");
    }
}
