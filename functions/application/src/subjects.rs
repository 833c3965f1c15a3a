//! Use cases of data subjects: exporting and erasing everything about one person. Counters have no personal data and
//! stay.

use std::collections::{BTreeMap, BTreeSet};

use domain::access::{Permission, Reach};
use domain::address;
use domain::business_event::Person;
use domain::communication::Command;
use domain::communication_view::{CommunicationRow, project};
use domain::data_subject;
use domain::message::MessageContent;
use domain::ports::{AddressKey, CommunicationKey, ContentKey, ObjectKey, StoreError};
use domain::preferences::Preferences;
use domain::schedule::Schedule;
use events::{Channel, CommunicationRequest, Mode, PreferenceEvent, Recipient, RecordedEvent, Timestamp};

use crate::actions::{self, Action, SubjectRef};
use crate::app::App;
use crate::attachments;
use crate::business_events::{self, EraseError, StoredEvent};
use crate::caller::{Caller, Forbidden};
use crate::consent::{self, addresses_key};
use crate::exchanges;
use crate::execute::{ExecuteError, Loaded, history_of};
use crate::hash::contact_hash;
use crate::inbound::{self, InboundContent};
use crate::invoices::{self, CustomerInvoices};
use crate::messages::fallback_content_keys;
use crate::people::People;
use crate::schedules::{self, ErasedSchedules, ScheduleError, StoredMessage};
use crate::statements::{self, texts_key};
use crate::suppressions::{address_key, erase_address};

/// Number of messages of one page.
const PAGE: usize = 100;
/// Maximum number of messages that one request erases.
const MAX_ERASED: usize = 1_000;
/// Maximum number of addresses that a preview looks up.
const MAX_ADDRESSES: usize = 50;
/// How often recording the erasure of a message is tried.
const MAX_RECORD_TRIES: usize = 3;

/// Why a use case of data subjects had no effect, or only part of it. It can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    #[error(transparent)]
    Erase(#[from] EraseError),
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A person: a recipient of the tenant, or the owner of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSubject {
    /// The partition of the vault, such as `customer:7` or `contact:` with the hash of the address.
    name: String,
    identity: Identity,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Identity {
    Recipient(Recipient),
    /// Normalised, with its hash.
    Address(String, String),
}

impl DataSubject {
    /// Returns `None` for a recipient without an id.
    pub fn recipient(recipient: Recipient) -> Option<DataSubject> {
        Some(DataSubject { name: data_subject::of_recipient(&recipient)?, identity: Identity::Recipient(recipient) })
    }

    /// Returns `None` for text that is not an address of any channel.
    pub fn address(app: &App, caller: &Caller, text: &str) -> Option<DataSubject> {
        let address = Channel::ALL.iter().find_map(|channel| address::normalise(*channel, text, None).ok())?;
        let hash = contact_hash(&app.contact_key, &caller.principal.tenant, &address);
        Some(DataSubject { name: data_subject::of_address(&hash), identity: Identity::Address(address, hash) })
    }

    /// The subject in the form in which actions record it.
    fn as_recorded(&self) -> SubjectRef {
        match &self.identity {
            Identity::Address(_, hash) => SubjectRef::Address { contact_hash: hash.clone() },
            Identity::Recipient(Recipient { kind, id }) => SubjectRef::Recipient {
                subject_type: kind.as_str().to_owned(),
                subject_id: id.clone().unwrap_or_default(),
            },
        }
    }
}

/// One page of what is known about a data subject. Incoming messages, schedules, business events and invoices
/// are on the first page.
#[derive(Debug, Clone, Default)]
pub struct SubjectPage {
    pub messages: Vec<(CommunicationKey, CommunicationRow, Box<CommunicationRequest>, MessageContent)>,
    /// Messages that were received from the address.
    pub inbound: Vec<InboundContent>,
    /// The preferences of a recipient and their preferred addresses.
    pub preferences: Option<(Preferences, BTreeMap<Channel, String>)>,
    /// How the preferences came to be, with the texts of each change that are stored. On the first page.
    pub preference_history: Vec<RecordedEvent<PreferenceEvent>>,
    pub schedules: Vec<(Schedule, Option<StoredMessage>)>,
    /// What is known of the person from events of other business systems.
    pub person: Option<Person>,
    /// The data of these events, with their ids.
    pub business_events: Vec<(String, StoredEvent)>,
    /// The invoices of a customer.
    pub invoices: CustomerInvoices,
    /// Where the next page begins. `None` means that this is the last page.
    pub next: Option<String>,
}

/// A live caller sees everything about a person, a test caller only what test callers created.
fn is_visible_to(caller: &Caller, loaded: &Loaded) -> bool {
    let mode = caller.principal.mode;
    mode == Mode::Live || loaded.state.requested().is_ok_and(|communication| communication.request.mode == mode)
}

/// Exports one page. The export is recorded.
///
/// # Errors
///
/// [`SubjectError`]
pub async fn export(
    app: &App,
    caller: &Caller,
    subject: &DataSubject,
    before: Option<&str>,
) -> Result<SubjectPage, SubjectError> {
    caller.authorise(Permission::Privacy, Reach::Everything)?;
    let (tenant, now) = (&caller.principal.tenant, app.host.now());
    if before.is_none() {
        actions::record(app, caller, &Action::SubjectExported(subject.as_recorded())).await?;
    }
    let contents = app.vault.list_for_data_subject(tenant, &subject.name, before, PAGE, now).await?;
    let next = contents.last().filter(|_| contents.len() == PAGE).map(|(key, _)| key.path().1);
    let context = caller.context();
    let mut page = SubjectPage { next, ..SubjectPage::default() };
    for (key, content) in contents {
        let stream = CommunicationKey { tenant: tenant.clone(), id: key.id };
        let loaded = app.executor(&context).load(&stream).await?;
        let records = history_of(&*app.store, &stream, &loaded).await?;
        let row = project(key.id, &records).filter(|_| is_visible_to(caller, &loaded));
        if let (Some(row), Ok(communication)) = (row, loaded.state.requested()) {
            page.messages.push((stream, row, Box::new(communication.request.clone()), content));
        }
    }
    if let Identity::Recipient(_) = subject.identity {
        let preferences = consent::preferences_with_texts(&app.tenant_ports, tenant, &subject.name).await?;
        page.preferences = Some((preferences, consent::addresses(&app.tenant_ports, tenant, &subject.name).await?));
    }
    if before.is_some() {
        return Ok(page);
    }
    if let Identity::Address(address, _) = &subject.identity {
        let inbound = inbound::list_from(&*app.tenant_ports.documents, tenant, address, now).await?;
        page.inbound = inbound.into_iter().map(|(_, content)| content).collect();
    }
    if let Identity::Recipient(_) = subject.identity {
        page.preference_history = consent::history(&app.tenant_ports, tenant, &subject.name).await?;
        statements::load(&app.tenant_ports, tenant, &subject.name).await?.fill_in_history(&mut page.preference_history);
    }
    if let Identity::Recipient(customer) = &subject.identity {
        page.invoices = invoices::of_customer(app, caller, customer, invoices::MAX_EXPORTED).await?;
    }
    page.schedules = schedules::of_subject(app, caller, &subject.name).await?;
    (page.person, page.business_events) = business_events::of_subject(app, caller, &subject.name).await?;
    Ok(page)
}

/// The result of an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// Number of messages, schedules, business events and invoices that were erased.
    pub count: usize,
    /// How many of them have no record of the erasure in their history, because it could not be appended.
    pub unrecorded: usize,
    /// Whether there are more messages. Repeat the request to erase them.
    pub has_more: bool,
}

/// What an erasure would do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErasurePreview {
    /// Messages whose name, address and content would be erased.
    pub messages: usize,
    /// Whether there are more messages than one request erases, or more invoices than are counted.
    pub has_more: bool,
    /// Messages that were received from the address.
    pub inbound: usize,
    /// Schedules that would end.
    pub schedules: usize,
    pub business_events: usize,
    pub invoices: usize,
    /// Addresses that stay on the suppression list, as hashes.
    pub suppressed: usize,
}

/// Counts what [`erase`] would erase. Nothing is changed or recorded.
///
/// # Errors
///
/// [`SubjectError`]
pub async fn preview_erasure(
    app: &App,
    caller: &Caller,
    subject: &DataSubject,
) -> Result<ErasurePreview, SubjectError> {
    caller.authorise(Permission::Privacy, Reach::Everything)?;
    let (tenant, now, context) = (&caller.principal.tenant, app.host.now(), caller.context());
    let mut preview = ErasurePreview::default();
    let mut addresses = BTreeSet::new();
    let mut before = None::<String>;
    loop {
        let page =
            app.vault.list_for_data_subject(tenant, &subject.name, before.as_deref(), PAGE, Timestamp(0)).await?;
        before = page.last().map(|(key, _)| key.path().1);
        let is_last = page.len() < PAGE;
        for (key, content) in page {
            let stream = CommunicationKey { tenant: tenant.clone(), id: key.id };
            // A live caller sees everything, so it needs no look at each stream.
            if caller.principal.mode == Mode::Live
                || is_visible_to(caller, &app.executor(&context).load(&stream).await?)
            {
                preview.messages += 1;
                addresses.insert(content.recipient_contact);
            }
        }
        if is_last || MAX_ERASED <= preview.messages {
            preview.has_more = !is_last;
            break;
        }
    }
    match &subject.identity {
        Identity::Address(address, _) => {
            preview.inbound = inbound::list_from(&*app.tenant_ports.documents, tenant, address, now).await?.len();
            addresses.insert(address.clone());
        }
        Identity::Recipient(customer) => {
            let found = invoices::of_customer(app, caller, customer, invoices::MAX_EXPORTED).await?;
            preview.invoices = found.invoices.len();
            preview.has_more |= found.has_more;
            addresses.extend(consent::addresses(&app.tenant_ports, tenant, &subject.name).await?.into_values());
        }
    }
    preview.schedules = schedules::of_subject(app, caller, &subject.name).await?.len();
    preview.business_events = business_events::of_subject(app, caller, &subject.name).await?.1.len();
    for address in addresses.iter().take(MAX_ADDRESSES) {
        for channel in address::channels_of(address) {
            let reason = app.store.suppression(&address_key(app, tenant, channel, address)).await?;
            preview.suppressed += usize::from(reason.is_some());
        }
    }
    Ok(preview)
}

/// Erases a data subject. A crash in between is repaired by repeating the request.
///
/// # Errors
///
/// [`SubjectError`]
pub async fn erase(app: &App, caller: &Caller, subject: &DataSubject) -> Result<Erased, SubjectError> {
    caller.authorise(Permission::Privacy, Reach::Everything)?;
    let tenant = &caller.principal.tenant;
    actions::record(app, caller, &Action::SubjectErased(subject.as_recorded())).await?;
    if let Identity::Recipient(_) = subject.identity
        && consent::preferences(&app.tenant_ports, tenant, &subject.name).await?.restrict()
    {
        // What the person decided still holds for their addresses, of which only hashes stay.
        let people = People { tenant_ports: &app.tenant_ports, vault: &*app.vault, contact_key: &app.contact_key };
        people.link_all(tenant, &subject.name).await?;
    }
    // First, because a schedule would go on sending to them.
    let ErasedSchedules { mut count, mut unrecorded } = schedules::erase(app, caller, &subject.name).await?;
    let (events, without_record) = business_events::erase(app, caller, &subject.name).await?;
    count += events;
    unrecorded += without_record;
    if let Identity::Recipient(customer) = &subject.identity {
        let (invoices, without_record) = invoices::erase(app, caller, customer).await?;
        count += invoices;
        unrecorded += without_record;
    }
    let mut before = None::<String>;
    loop {
        // Expired contents too: the store can keep them for days.
        let page =
            app.vault.list_for_data_subject(tenant, &subject.name, before.as_deref(), PAGE, Timestamp(0)).await?;
        before = page.last().map(|(key, _)| key.path().1);
        for (key, content) in &page {
            let Some(is_recorded) = erase_message(app, caller, key, content).await? else { continue };
            count += 1;
            unrecorded += usize::from(!is_recorded);
        }
        if page.len() < PAGE {
            break;
        }
        if MAX_ERASED <= count {
            return Ok(Erased { count, unrecorded, has_more: true });
        }
    }
    let documents = &*app.tenant_ports.documents;
    if let Identity::Address(address, _) = &subject.identity {
        for channel in Channel::ALL {
            erase_address(app, &address_key(app, tenant, *channel, address)).await?;
        }
        for (key, _) in inbound::list_from(documents, tenant, address, app.host.now()).await? {
            documents.delete_document(&key).await?;
            count += 1;
        }
    }
    documents.delete_document(&addresses_key(tenant, &subject.name)).await?;
    documents.delete_document(&texts_key(tenant, &subject.name)).await?;
    Ok(Erased { count, unrecorded, has_more: false })
}

/// Erases a message, its fallback steps and its files. Returns whether that is recorded, and `None` if the caller may not
/// see the message.
async fn erase_message(
    app: &App,
    caller: &Caller,
    key: &ContentKey,
    content: &MessageContent,
) -> Result<Option<bool>, SubjectError> {
    let context = caller.context();
    let stream = CommunicationKey { tenant: caller.principal.tenant.clone(), id: key.id };
    let loaded = app.executor(&context).load(&stream).await?;
    if !is_visible_to(caller, &loaded) {
        return Ok(None);
    }
    let steps = loaded.state.requested().map_or(Vec::new(), |of| fallback_content_keys(&stream, &of.request));
    let mut is_recorded = true;
    for step in steps {
        let stream = CommunicationKey { tenant: stream.tenant.clone(), id: step.id };
        let loaded = app.executor(&context).load(&stream).await?;
        is_recorded &= erase_content(app, caller, loaded, &step).await?;
    }
    erase_files(app, caller, &stream, content).await?;
    // Last, because the rest is found by it.
    is_recorded &= erase_content(app, caller, loaded, key).await?;
    Ok(Some(is_recorded))
}

/// The event comes before the content, but the content is erased even if the event cannot be appended. Returns whether
/// it was. Content without a stream belongs to a request that was not accepted, or to a fallback step that was not
/// needed.
async fn erase_content(app: &App, caller: &Caller, loaded: Loaded, key: &ContentKey) -> Result<bool, SubjectError> {
    let mut is_recorded = true;
    if let Ok(communication) = loaded.state.requested() {
        let (tenant, request) = (caller.principal.tenant.clone(), &communication.request);
        let (channel, contact_hash) = (request.channel, request.contact_hash.clone());
        erase_address(app, &AddressKey { tenant: tenant.clone(), channel, contact_hash }).await?;
        let stream = CommunicationKey { tenant, id: key.id };
        let attempts = 1..=communication.attempts;
        is_recorded = record_erasure(app, caller, &stream, loaded).await;
        exchanges::erase(&*app.tenant_ports.documents, &stream, attempts).await?;
    }
    app.vault.erase(key).await?;
    Ok(is_recorded)
}

/// Appends that a message is about to be erased. Returns false if that fails repeatedly.
async fn record_erasure(app: &App, caller: &Caller, stream: &CommunicationKey, loaded: Loaded) -> bool {
    let context = caller.context();
    let command = || Command::Erase { by: caller.principal.actor_id() };
    let mut recorded = app.executor(&context).execute_loaded(stream, loaded, command()).await;
    for _ in 1..MAX_RECORD_TRIES {
        if !matches!(
            recorded,
            Err(ExecuteError::Store(StoreError::Unavailable(_))
                | ExecuteError::OutcomeUnknown(_)
                | ExecuteError::Contended)
        ) {
            break;
        }
        recorded = app.executor(&context).execute(stream, command()).await;
    }
    if let Err(error) = &recorded {
        tracing::error!(tenant = %stream.tenant, id = %stream.id, %error, "an erasure has no record in the history");
    }
    recorded.is_ok()
}

/// Erases the files that belong to this person alone: uploaded ones, and copies of fetched ones.
async fn erase_files(
    app: &App,
    caller: &Caller,
    stream: &CommunicationKey,
    content: &MessageContent,
) -> Result<(), SubjectError> {
    for (index, link) in content.attachments.iter().enumerate() {
        match &link.attachment {
            Some(id) => attachments::erase_unshared(app, &caller.principal.tenant, id).await?,
            None => app.objects.delete(&ObjectKey::fetched(stream, index)).await?,
        }
    }
    Ok(())
}
