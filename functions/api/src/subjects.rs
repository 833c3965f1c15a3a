//! Everything about one person: shown to whoever asks for it, and erased. Counts stay, for nothing personal is in them.

use application::actions::{self, Action, SubjectRef};
use application::consent::{addresses_key, recipient_key};
use application::execute::history_of;
use application::hash::contact_hash;
use application::messages::fallback_content_keys;
use application::schedules;
use application::suppressions::{address_key, erase_address};
use application::{Caller, CommandContext, Loaded};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::address;
use domain::communication::Command;
use domain::communication_view::project;
use domain::message::MessageContent;
use domain::ports::{AddressKey, CommunicationKey, ContentKey, DocumentKey, ObjectKey, Principal};
use events::{Channel, Mode, Recipient, RecipientType, Timestamp};
use problem::{Problem, ProblemKind};
use serde_json::{Value, json};

use crate::fields::BodyReader;
use crate::read::QueryParams;
use crate::schedules::{present_with_message, problem as schedule_problem};
use crate::{Api, Shared, command_context, json, present, read_body};

/// Contents of one page, and erased between two looks at the list.
const PAGE: usize = 100;
/// Contents erased by one request, at most: what is left is said.
const MAX_ERASED: usize = 1_000;

/// Whom a path names: a partition of the vault; and an address, where that is what it names.
struct DataSubject {
    name: String,
    address: Option<String>,
}

impl DataSubject {
    /// The data subject as the record of actions names it: an address is its hash.
    fn as_recorded(&self, kind: &str, id: &str) -> SubjectRef {
        match self.name.strip_prefix("contact:").filter(|_| self.address.is_some()) {
            Some(hash) => SubjectRef::Address { contact_hash: hash.to_owned() },
            None => SubjectRef::Recipient { subject_type: kind.to_owned(), subject_id: id.to_owned() },
        }
    }
}

impl Api {
    fn subject(&self, caller: &Principal, kind: &str, id: &str) -> Result<DataSubject, Problem> {
        let unknown = || {
            let kinds = RecipientType::names().join(", ");
            Problem::new(ProblemKind::NotFound, format!("A data subject must be a {kinds} or an address."))
        };
        if kind == "address" {
            let normal = Channel::ALL.iter().find_map(|channel| address::normalise(*channel, id, None).ok());
            let address = normal.ok_or_else(unknown)?;
            let hash = contact_hash(&self.app.contact_key, &caller.tenant, &address);
            return Ok(DataSubject { name: format!("contact:{hash}"), address: Some(address) });
        }
        let kind: RecipientType = kind.parse().map_err(|()| unknown())?;
        let recipient = Recipient { kind, id: Some(id.to_owned()).filter(|id| !id.is_empty()) };
        let name = recipient_key(&recipient).ok_or_else(unknown)?;
        Ok(DataSubject { name, address: None })
    }

    /// What somebody wrote to us from this address.
    async fn inbound_from(&self, caller: &Principal, address: &str) -> Result<Vec<(DocumentKey, Value)>, Problem> {
        let (now, documents) = (self.app.host.now(), &self.app.tenant_ports.documents);
        let (mut found, mut before) = (Vec::new(), None::<String>);
        loop {
            let page = documents.list_documents(&caller.tenant, "inbound", before.as_deref(), PAGE, now).await?;
            let is_last = page.len() < PAGE;
            before = page.last().map(|(name, _)| name.clone());
            for (name, body) in page {
                let words: Value = serde_json::from_str(&body).unwrap_or_default();
                if words["from"] == address {
                    found.push((DocumentKey { tenant: caller.tenant.clone(), collection: "inbound", name }, words));
                }
            }
            if is_last {
                return Ok(found);
            }
        }
    }
}

/// A live key reaches everything about a person; a test key what test keys made.
fn is_visible_to(caller: &Principal, loaded: &Loaded) -> bool {
    caller.mode == Mode::Live || loaded.state.requested().is_ok_and(|c| c.request.mode == caller.mode)
}

pub(crate) async fn export(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path((kind, id)): Path<(String, String)>,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let before = query.text("cursor");
    query.finish()?;
    let subject = api.subject(&caller, &kind, &id)?;
    if before.is_none() {
        actions::record(
            &api.app,
            &Caller::new(caller.clone()),
            &Action::SubjectExported(subject.as_recorded(&kind, &id)),
        )
        .await?;
    }
    let now = api.app.host.now();
    let page = api.app.vault.list_for_data_subject(&caller.tenant, &subject.name, before.as_deref(), PAGE, now).await?;
    let next = page.last().filter(|_| page.len() == PAGE).map(|(key, _)| key.path().1);
    let context = command_context(&caller, &headers);
    let mut communications = Vec::new();
    for (key, content) in &page {
        let stream = CommunicationKey { tenant: caller.tenant.clone(), id: key.id };
        let loaded = api.app.executor(&context).load(&stream).await?;
        let records = history_of(&*api.app.store, &stream, &loaded).await?;
        if let Some(folded) = project(key.id, &records).filter(|_| is_visible_to(&caller, &loaded)) {
            communications.push(present::stored(&stream, &folded, Some(content)));
        }
    }
    let written = match &subject.address {
        Some(address) if before.is_none() => api.inbound_from(&caller, address).await?,
        _ => Vec::new(),
    };
    let automation = Caller::new(caller.clone());
    let schedules = match before {
        None => schedules::of_person(&api.app, &automation, &subject.name).await.map_err(schedule_problem)?,
        Some(_) => Vec::new(),
    };
    let now = api.app.host.now();
    let schedules = schedules.iter().map(|(schedule, stored)| present_with_message(schedule, stored.as_ref(), now));
    let preferences = match subject.address {
        None => api.preferences_of(&caller, &subject.name).await?,
        Some(_) => Value::Null,
    };
    let body = json!({
        "subject": { "type": kind, "id": id },
        "communications": communications,
        "inbound": written.into_iter().map(|(_, words)| words).collect::<Vec<_>>(),
        "preferences": preferences,
        "schedules": schedules.collect::<Vec<_>>(),
        "nextCursor": next,
    });
    Ok(json(StatusCode::OK, &body))
}

impl Api {
    /// Files that were for this person, ours and copies of others.
    async fn erase_files(
        &self,
        caller: &Principal,
        words: &ContentKey,
        content: &MessageContent,
    ) -> Result<(), Problem> {
        let stream = CommunicationKey { tenant: caller.tenant.clone(), id: words.id };
        for (place, link) in content.attachments.iter().enumerate() {
            let Some(id) = &link.attachment else {
                self.app.objects.delete(&ObjectKey::fetched(&stream, place)).await?;
                continue;
            };
            let file = application::attachments::find(
                &*self.app.tenant_ports.documents,
                &caller.tenant,
                id,
                self.app.host.now(),
            )
            .await?;
            if file.is_some_and(|file| !file.shared) {
                self.remove_file(caller, id).await?;
            }
        }
        Ok(())
    }

    /// Words without a stream are of a request that was never accepted, or of a channel that had no turn.
    async fn erase_one(
        &self,
        caller: &Principal,
        context: &CommandContext,
        loaded: Loaded,
        words: &ContentKey,
    ) -> Result<(), Problem> {
        if let Ok(communication) = loaded.state.requested() {
            let (tenant, request) = (caller.tenant.clone(), &communication.request);
            let contact_hash = request.contact_hash.clone();
            erase_address(&self.app, &AddressKey { tenant, channel: request.channel, contact_hash }).await?;
            let stream = CommunicationKey { tenant: caller.tenant.clone(), id: words.id };
            let by = caller.actor_id();
            self.app.executor(context).execute_loaded(&stream, loaded, Command::Erase { by }).await?;
        }
        Ok(self.app.vault.erase(words).await?)
    }
}

/// The event first, then the words: a crash between is mended by asking again.
pub(crate) async fn erase(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path((kind, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    BodyReader::parse_optional(&read_body(body).await?)?.finish()?;
    let subject = api.subject(&caller, &kind, &id)?;
    actions::record(&api.app, &Caller::new(caller.clone()), &Action::SubjectErased(subject.as_recorded(&kind, &id)))
        .await?;
    let context = command_context(&caller, &headers);
    // First: a schedule would go on writing to them.
    let schedules = schedules::erase(&api.app, &Caller::new(caller.clone()), &subject.name).await;
    let (mut erased, mut before) = (schedules.map_err(schedule_problem)?, None::<String>);
    loop {
        // What is past its time too: it may lie there for days yet.
        let all = Timestamp(0);
        let page =
            api.app.vault.list_for_data_subject(&caller.tenant, &subject.name, before.as_deref(), PAGE, all).await?;
        before = page.last().map(|(key, _)| key.path().1);
        for (key, content) in &page {
            let stream = CommunicationKey { tenant: caller.tenant.clone(), id: key.id };
            let loaded = api.app.executor(&context).load(&stream).await?;
            if !is_visible_to(&caller, &loaded) {
                continue;
            }
            let others = loaded.state.requested().map_or(vec![], |of| fallback_content_keys(&stream, &of.request));
            for other in others {
                let stream = CommunicationKey { tenant: caller.tenant.clone(), id: other.id };
                let loaded = api.app.executor(&context).load(&stream).await?;
                api.erase_one(&caller, &context, loaded, &other).await?;
            }
            api.erase_files(&caller, key, content).await?;
            // Last: where all of this is found by.
            api.erase_one(&caller, &context, loaded, key).await?;
            erased += 1;
        }
        if page.len() < PAGE {
            break;
        }
        if MAX_ERASED <= erased {
            return Ok(answer(&kind, &id, erased, true));
        }
    }
    if let Some(address) = &subject.address {
        for channel in Channel::ALL {
            erase_address(&api.app, &address_key(&api.app, &caller.tenant, *channel, address)).await?;
        }
        for (key, _) in api.inbound_from(&caller, address).await? {
            api.app.tenant_ports.documents.delete_document(&key).await?;
            erased += 1;
        }
    }
    api.app.tenant_ports.documents.delete_document(&addresses_key(&caller.tenant, &subject.name)).await?;
    Ok(answer(&kind, &id, erased, false))
}

fn answer(kind: &str, id: &str, erased: usize, has_more: bool) -> Response {
    let subject = json!({ "type": kind, "id": id });
    json(StatusCode::OK, &json!({ "subject": subject, "erased": erased, "hasMore": has_more }))
}
