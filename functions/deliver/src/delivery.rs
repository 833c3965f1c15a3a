use std::sync::Arc;

use domain::communication::{Answer, Command, Communication, Lifecycle, Readiness, Rejection, Report, readiness};
use domain::ports::{
    ContactKey, Content, ContentKey, Found, Hint, ObjectKey, Outbound, Provider, Sent, StoreError, StoredLink,
    StreamKey,
};
use domain::provider::File;
use domain::render::words;
use domain::{policy, quiet};
use events::{
    AttemptId, Channel, CommunicationId, DeferReason, Event, Fact, FailReason, Outcome, Priority, Requested,
    ResolvedBy, SuppressReason, Timestamp,
};
use futures_util::future::{join, join_all, join3};
use shell::directory::{ConnectError, last_word_key, message_key};
use shell::suppression::{Entry, List};
use shell::{ExecuteError, Loaded, Origin, Shell};

use crate::gates::{Gates, Passage};
use crate::{Deadline, Deliver, DeliverError};

/// Decisions taken for one hint, at most: a doubt settled, an expiry, an attempt, and races between them.
const MAX_STEPS: usize = 8;
/// Tries to store what became of an attempt; each is the SDK's own three.
const RECORD_TRIES: usize = 3;
/// What is due this soon gets its hint at once, for the exact second; the sweep takes care of the rest.
const SOON_MS: i64 = 60_000;

/// One hint at work.
pub(crate) struct Delivery<'a> {
    pub deliver: &'a Deliver,
    pub gates: &'a Gates<'a>,
    pub key: &'a StreamKey,
    pub deadline: Deadline,
}

impl Delivery<'_> {
    /// Brings one communication as far as it can go now.
    pub async fn bring_on(&self) -> Result<(), DeliverError> {
        let Delivery { deliver, gates, key, .. } = self;
        let origin = Origin::function("deliver");
        let shell = Shell { store: &*deliver.store, host: &*deliver.host, origin: &origin };
        let mut loaded = shell.load(key).await?;
        for _ in 0..MAX_STEPS {
            let now = self.deliver.host.now();
            let Ok(communication) = loaded.state.requested() else {
                tracing::warn!(id = %key.id, "a hint without its stream");
                return Ok(());
            };
            let next = match readiness(communication, now) {
                Readiness::Finished => return Ok(()),
                Readiness::NotBefore(until) => return self.come_again(&loaded, until).await,
                Readiness::Due => self.ask_provider(&loaded).await?,
                Readiness::Ready => self.prepare(communication).await?,
                Readiness::FallsBack => Next::Do(Command::FallBack { now }),
                Readiness::HandsOver => self.hand_over(&loaded).await?,
            };
            let command = match next {
                Next::Do(command) => command,
                Next::Wait(until) => return self.wait(&loaded, until).await,
                Next::Send(outbound, provider) => match self.claim(&shell, &loaded, &provider).await? {
                    Some(claimed) => {
                        return self.send(&shell, claimed, *outbound, provider).await;
                    }
                    None => {
                        gates.give_back(&provider.account().config).await;
                        loaded = shell.load(key).await?;
                        continue;
                    }
                },
            };
            loaded = match shell.attempt(key, &loaded, command).await? {
                Some(after) => after,
                None => shell.load(key).await?,
            };
        }
        Err(DeliverError::Contended)
    }

    /// Early by a little: the same hint at the exact second. Early by more: the timer will send one.
    async fn come_again(&self, loaded: &Loaded, until: Timestamp) -> Result<(), DeliverError> {
        let communication = loaded.state.requested().map_err(ExecuteError::from)?;
        let waits = matches!(communication.lifecycle, Lifecycle::Waiting | Lifecycle::RetryWait { .. });
        let wait_ms = until.since(self.deliver.host.now());
        if waits && wait_ms <= SOON_MS { self.hint(loaded, wait_ms).await } else { Ok(()) }
    }

    /// The same hint again, in whole seconds, never too soon.
    async fn hint(&self, loaded: &Loaded, wait_ms: i64) -> Result<(), DeliverError> {
        self.hint_for(self.key, loaded, wait_ms).await
    }

    async fn hint_for(&self, key: &StreamKey, loaded: &Loaded, wait_ms: i64) -> Result<(), DeliverError> {
        let Some(lane) = shell::lane(&loaded.state) else { return Ok(()) };
        let seconds = (wait_ms.max(0) + 999).div_euclid(1_000) as u32;
        Ok(self.deliver.queue.send(&[(Hint { lane, key: key.clone() }, seconds)]).await?)
    }

    /// The next channel's communication; its words were accepted with this one. Repeated, it is the same one.
    async fn hand_over(&self, loaded: &Loaded) -> Result<Next, DeliverError> {
        let Delivery { deliver, key, .. } = self;
        let communication = loaded.state.requested().map_err(ExecuteError::from)?;
        let next = StreamKey { id: CommunicationId::in_place_of(&key.tenant, key.id), tenant: key.tenant.clone() };
        if let Some(request) = communication.successor(key.id, deliver.host.now()) {
            let asked = loaded.records.first().map(|record| &record.meta);
            let origin = Origin {
                causation: Some(key.id.to_string()),
                correlation: asked.and_then(|meta| meta.correlation.clone()),
                traceparent: asked.and_then(|meta| meta.traceparent.clone()),
                ..Origin::function("deliver")
            };
            let shell = Shell { store: &*deliver.store, host: &*deliver.host, origin: &origin };
            let after = shell.execute(&next, Command::Request(Box::new(request))).await?;
            self.hint_for(&next, &after, 0).await?;
        }
        Ok(Next::Do(Command::HandOver(next.id)))
    }

    /// A wait that is no event: it sets the timer, and burns nothing.
    async fn wait(&self, loaded: &Loaded, until: Timestamp) -> Result<(), DeliverError> {
        let communication = loaded.state.requested().map_err(ExecuteError::from)?;
        let Some(from) = loaded.wake else { return Ok(()) };
        let now = self.deliver.host.now();
        // What would expire meanwhile is looked at in time.
        let until = if now < communication.expires_at { until.min(communication.expires_at) } else { until };
        let wait_ms = until.since(now).max(0);
        if SOON_MS < wait_ms {
            // The sweep sends the hint, to the second.
            return Ok(self.deliver.store.rearm(self.key, from, until, 0).await?);
        }
        self.deliver.store.rearm(self.key, from, until + policy::REPAIR_MS, 1).await?;
        self.hint(loaded, wait_ms).await
    }

    /// A doubt whose evidence has not come: the provider is asked, where it can be. Then time has its effect.
    async fn ask_provider(&self, loaded: &Loaded) -> Result<Next, DeliverError> {
        let now = self.deliver.host.now();
        let communication = loaded.state.requested().map_err(ExecuteError::from)?;
        let advance = Next::Do(Command::Advance { now });
        let Lifecycle::InDoubt { attempt, evidence_until } = communication.lifecycle else { return Ok(advance) };
        let provider = self.provider_of(communication).await?.filter(|provider| provider.can().query);
        let Some(provider) = provider else { return Ok(advance) };
        let Some((since, until)) = span(loaded, attempt) else { return Ok(advance) };
        let Some(content) = self.deliver.vault.get(&content_key(self.key, communication), now).await? else {
            return Ok(advance);
        };
        let Ok(outbound) = self.outbound(communication, attempt, content).await? else { return Ok(advance) };
        let left = self.deadline.since(now).max(1_000) as u64;
        let found = provider.query(&outbound, since, until, self.deliver.provider_timeout_ms.min(left)).await;
        tracing::info!(tenant = %self.key.tenant, id = %self.key.id, config = provider.account().config, ?found, "a provider was asked");
        let settle = |outcome, provider_message_id| {
            Next::Do(Command::Resolve { outcome, by: ResolvedBy::Query, provider_message_id })
        };
        Ok(match found {
            Found::Taken(id) => settle(Outcome::Accepted, Some(id)),
            Found::NotTaken => settle(Outcome::NotAccepted, None),
            Found::NoAnswer if now.since(evidence_until) < policy::QUERY_PATIENCE_MS => {
                Next::Wait(now + policy::QUERY_AGAIN_MS)
            }
            Found::NoAnswer | Found::CannotSay => advance,
        })
    }

    /// The one that the last attempt was made with; none where it is gone.
    async fn provider_of(&self, communication: &Communication) -> Result<Option<Arc<dyn Provider>>, DeliverError> {
        let Deliver { memory, own, providers, .. } = self.deliver;
        let Some(config) = &communication.config else { return Ok(None) };
        let named = (config.as_str(), communication.request.mode);
        match memory.directory.find(own, &self.key.tenant, named, providers).await {
            Ok(found) => Ok(found),
            Err(ConnectError::Store(error)) => Err(error.into()),
            Err(error) => {
                tracing::error!(config, %error, "a provider cannot be asked");
                Ok(None)
            }
        }
    }

    /// Everything that may say no before an attempt is made of it.
    async fn prepare(&self, communication: &Communication) -> Result<Next, DeliverError> {
        let now = self.deliver.host.now();
        if self.deadline.since(now) < policy::CLAIM_NEEDS_MS {
            return Err(DeliverError::NoTime);
        }
        let request = &communication.request;
        let Deliver { memory, own, .. } = self.deliver;
        let (suppressed, content, preferences) = join3(
            self.deliver.store.is_suppressed(&contact_key(self.key, request)),
            self.deliver.vault.get(&content_key(self.key, communication), now),
            memory.defaults.of_recipient(own, &self.key.tenant, &request.recipient),
        )
        .await;
        if suppressed? {
            return Ok(Next::Do(Command::Suppress(SuppressReason::SuppressionList)));
        }
        // What was wanted when it was accepted may no longer be.
        if let Some(why) = preferences?.and_then(|theirs| theirs.refuses(request.channel, request.kind)) {
            return Ok(Next::Do(Command::Suppress(why)));
        }
        let Some(content) = content? else {
            return Ok(Next::Do(Command::Suppress(SuppressReason::Erased)));
        };
        if let Some(until) = quiet::held_until(request, now) {
            return Ok(Next::Do(Command::Defer { until, reason: DeferReason::QuietHours }));
        }
        let outbound = match self.outbound(communication, communication.attempts + 1, content).await? {
            Ok(outbound) => outbound,
            Err(kind) => {
                tracing::warn!(id = %self.key.id, kind, "cannot be rendered");
                return Ok(Next::Do(Command::Abandon(FailReason::Unrenderable)));
            }
        };
        Ok(match self.gates.pass(&self.key.tenant, communication).await {
            Passage::Through(provider) => Next::Send(Box::new(outbound), provider),
            Passage::Wait(until) => Next::Wait(until),
            Passage::NoProvider => {
                tracing::error!(id = %self.key.id, channel = request.channel.as_str(), mode = request.mode.as_str(), "no provider");
                Next::Do(Command::Abandon(FailReason::NoProvider))
            }
        })
    }

    /// The append is the lock. None: somebody else was first.
    async fn claim(
        &self,
        shell: &Shell<'_>,
        loaded: &Loaded,
        provider: &Arc<dyn Provider>,
    ) -> Result<Option<Loaded>, DeliverError> {
        let begin = Command::BeginAttempt {
            now: self.deliver.host.now(),
            lease_until: self.deadline + policy::LEASE_MARGIN_MS,
            config: provider.account().config.clone(),
            provider: provider.account().provider.clone(),
        };
        match shell.attempt(self.key, loaded, begin).await {
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
        shell: &Shell<'_>,
        claimed: Loaded,
        outbound: Outbound,
        provider: Arc<dyn Provider>,
    ) -> Result<(), DeliverError> {
        let left = self.deadline.since(self.deliver.host.now()).max(1_000) as u64;
        let Sent { answer, opted_out, facts } =
            provider.send(&outbound, self.deliver.provider_timeout_ms.min(left)).await;
        let communication = claimed.state.requested().map_err(ExecuteError::from)?;
        let contact = contact_key(self.key, &communication.request);
        if let Answer::Accepted { provider_message_id, .. } = &answer {
            self.remember(&*provider, &outbound, provider_message_id).await;
        }
        let failover = self.gates.note(&self.key.tenant, communication, &*provider, &answer).await;
        let outcome = Command::RecordOutcome {
            attempt: outbound.attempt.number,
            now: self.deliver.host.now(),
            chance: self.deliver.host.random() as u64,
            outcome: answer,
            failover,
        };
        let mut after = record(shell, self.key, claimed, outcome).await?;
        log(self.key, &provider, &after);
        if !facts.is_empty() {
            after = shell.execute_on(self.key, after, Command::Report(self.reports(&outbound, facts))).await?;
        }
        // After the outcome: were it lost here, the provider says so again next time.
        if opted_out && let Err(error) = self.suppress(&contact, &outbound.to).await {
            tracing::error!(id = %self.key.id, %error, "an opt-out was not stored");
        }
        let ended = after.state.requested().map_err(ExecuteError::from)?;
        match ended.lifecycle {
            _ if ended.falls_back_at().is_some_and(|at| at <= self.deliver.host.now()) => self.hint(&after, 0).await,
            Lifecycle::RetryWait { until } => self.come_again(&after, until).await,
            _ => Ok(()),
        }
    }
}

impl Delivery<'_> {
    /// A message as the provider gets it; else the kind of error alone, for the error itself may quote variables.
    async fn outbound(
        &self,
        communication: &Communication,
        attempt: u16,
        mut content: Content,
    ) -> Result<Result<Outbound, &'static str>, StoreError> {
        let request = &communication.request;
        let files = self.files(communication, &mut content).await?;
        let Deliver { memory, own, .. } = self.deliver;
        let text = memory.library.words(own, &self.key.tenant, request.channel, request.template.as_ref()).await?;
        let mut message = match words(request, &content, text.as_deref()) {
            Ok(message) => message,
            Err(error) => return Ok(Err(error.kind())),
        };
        // Words are what was meant; a template stands in for them where they are not allowed.
        if message.template.is_some() && !message.text.is_empty() && self.may_speak_freely(request).await? {
            message.template = None;
        }
        Ok(Ok(Outbound {
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
    async fn files(&self, communication: &Communication, content: &mut Content) -> Result<Vec<File>, StoreError> {
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
                    let (object, until) = (ObjectKey::upload(&self.key.tenant, id), self.deliver.host.now() + READ_MS);
                    let mime = mime.unwrap_or(ANY_TYPE);
                    link.file_url = self.deliver.objects.download_from(&object, &link.filename, mime, until).await?;
                }
                return Ok(Vec::new());
            }
        }
        let most = MAX_FILES / content.attachments.len();
        let had = async |(place, link): (usize, &StoredLink)| {
            let known = request.attachments.get(place);
            let found = match &link.attachment {
                Some(id) => {
                    let object = ObjectKey::upload(&self.key.tenant, id);
                    let bytes = self.deliver.objects.read(&object, most).await.ok().flatten();
                    let mime = known.and_then(|file| file.mime.clone()).unwrap_or_else(|| ANY_TYPE.to_owned());
                    bytes.map(|bytes| (bytes, mime))
                }
                None => self.fetched_once(communication.attempts > 0, place, link, most).await,
            };
            found.map(|(bytes, mime)| File { name: link.filename.clone(), mime, bytes })
        };
        let had = join_all(content.attachments.iter().enumerate().map(had)).await;
        let mut is_link = had.iter().map(Option::is_none).collect::<Vec<_>>().into_iter();
        content.attachments.retain(|_| is_link.next().unwrap_or(true));
        Ok(had.into_iter().flatten().collect())
    }

    /// What a caller links to is fetched for the first attempt; the others have a copy of it.
    async fn fetched_once(
        &self,
        is_again: bool,
        place: usize,
        link: &StoredLink,
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
        if let Err(error) = self.deliver.objects.write(&object, copy, ANY_TYPE).await {
            tracing::warn!(id = %self.key.id, %error, "a file would be fetched once more");
        }
        Some((bytes, mime))
    }

    /// WhatsApp takes words for 24 hours after the person's last one.
    async fn may_speak_freely(&self, request: &Requested) -> Result<bool, StoreError> {
        if request.channel != Channel::Whatsapp {
            return Ok(false);
        }
        let key = last_word_key(&contact_key(self.key, request));
        Ok(self.deliver.documents.document(&key, self.deliver.host.now()).await?.is_some())
    }

    /// Not for what somebody waits for: a code, an alarm.
    fn unsubscribe_url(&self, request: &Requested) -> Option<String> {
        let Deliver { contact_key, own, .. } = self.deliver;
        let has_one = request.channel == Channel::Email && request.priority != Priority::Urgent;
        let token = || shell::hash::unsubscribe_token(contact_key, self.key);
        let is_set = !contact_key.is_empty() && !own.public_url.is_empty();
        (has_one && is_set).then(|| format!("{}/unsubscribe/{}", own.public_url, token()))
    }

    async fn suppress(&self, contact: &ContactKey, address: &str) -> Result<(), StoreError> {
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
    async fn remember(&self, provider: &dyn Provider, outbound: &Outbound, id: &str) {
        let can = provider.can();
        if can.echoes_our_id || !can.receipts || id.is_empty() {
            return;
        }
        let (config, attempt) = (&provider.account().config, outbound.attempt.to_string());
        let until = Some(self.deliver.host.now() + MESSAGE_IDS_MS);
        let put = async |name: &str| {
            let key = message_key(&self.key.tenant, config, name);
            if let Err(error) = self.deliver.documents.put_document(&key, &attempt, until).await {
                tracing::error!(id = %self.key.id, %error, "a provider's id was not kept");
            }
        };
        match can.names_person {
            true => drop(join(put(id), put(&outbound.to)).await),
            false => put(id).await,
        }
    }

    fn reports(&self, outbound: &Outbound, facts: Vec<Fact>) -> Vec<Report> {
        let at = self.deliver.host.now();
        let attempt = Some(outbound.attempt.number);
        facts.into_iter().map(|fact| Report { attempt, fact, event_id: None, at, code: None }).collect()
    }
}

/// Bytes of an email's files, at most: several emails are in memory at once.
const MAX_FILES: usize = 4 * 1024 * 1024;
/// Bytes of the name of a type, at most.
const MAX_TYPE: usize = 256;
const ANY_TYPE: &str = "application/octet-stream";
/// How long providers may read a file from where they are told, in milliseconds.
const READ_MS: i64 = 3_600_000;
/// How long callbacks may name a provider's own id, in milliseconds.
const MESSAGE_IDS_MS: i64 = 30 * 24 * 3_600_000;

/// What a communication needs next.
enum Next {
    Do(Command),
    Wait(Timestamp),
    Send(Box<Outbound>, Arc<dyn Provider>),
}

/// When an attempt was made: from its claim to the end of its lease.
fn span(loaded: &Loaded, attempt: u16) -> Option<(Timestamp, Timestamp)> {
    loaded.records.iter().rev().find_map(|record| match record.event {
        Event::DeliveryAttemptStarted { attempt: made, lease_until, .. } if made == attempt => {
            Some((record.meta.at, lease_until))
        }
        _ => None,
    })
}

fn content_key(key: &StreamKey, communication: &Communication) -> ContentKey {
    ContentKey::of(key, &communication.request, &communication.content)
}

/// An outcome that cannot be stored becomes a doubt, and a doubt may become a second send: worth more than one try.
async fn record(shell: &Shell<'_>, key: &StreamKey, claimed: Loaded, outcome: Command) -> Result<Loaded, ExecuteError> {
    let mut recorded = shell.execute_on(key, claimed, outcome.clone()).await;
    for _ in 1..RECORD_TRIES {
        match recorded {
            Err(ExecuteError::Store(StoreError::Unavailable(_)) | ExecuteError::Unknown(_)) => {
                recorded = shell.execute(key, outcome.clone()).await;
            }
            done => return done,
        }
    }
    recorded
}

fn contact_key(key: &StreamKey, request: &Requested) -> ContactKey {
    ContactKey { tenant: key.tenant.clone(), channel: request.channel, contact_hash: request.contact_hash.clone() }
}

fn log(key: &StreamKey, provider: &Arc<dyn Provider>, after: &Loaded) {
    for record in after.records.iter().rev().take(after.appended) {
        let event = record.event.name();
        tracing::info!(tenant = %key.tenant, id = %key.id, config = provider.account().config, event, "attempt ended");
    }
}
