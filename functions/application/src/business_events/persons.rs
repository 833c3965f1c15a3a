//! What is known of people from events of other business systems: their addresses, language and roles.

use std::collections::BTreeMap;

use domain::business_event::{Contact, KnownPerson, Person};
use domain::data_subject;
use domain::ports::{DocumentKey, StoreError};
use events::{Mode, Recipient, RecipientType, TenantId, Timestamp};

use crate::app::App;
use crate::consent;
use crate::document;

const PERSONS: &str = "person";
const ROLES: &str = "role";
/// Maximum number of users with one role that are told of something.
const MAX_WITH_ROLE: usize = 200;
/// How long it is remembered that a person was removed, so that an event from before does not bring them back.
const REMOVED_MS: i64 = super::MAX_AGE_MS;

fn person_key(tenant: &TenantId, mode: Mode, person: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: PERSONS, name: format!("{}#{person}", mode.as_str()) }
}

/// The roles by which users are found. The person says which of them still hold.
fn role_key(tenant: &TenantId, mode: Mode, role: &str, id: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: ROLES, name: format!("{}#{role}#{id}", mode.as_str()) }
}

fn name_of(kind: RecipientType, id: &str) -> String {
    data_subject::of_recipient(&Recipient { kind, id: Some(id.to_owned()) }).unwrap_or_default()
}

/// What is known of a person, by the name of the data subject. Somebody who is not known has no addresses.
///
/// # Errors
///
/// [`StoreError`]
pub async fn find(app: &App, tenant: &TenantId, mode: Mode, person: &str) -> Result<Person, StoreError> {
    let key = person_key(tenant, mode, person);
    let stored = app.tenant_ports.documents.get_document(&key, app.host.now()).await?;
    stored.as_deref().map_or_else(|| Ok(Person::default()), document::decode)
}

/// Changes what is known of a person. Repeating it changes nothing.
pub(super) async fn change(
    app: &App,
    (tenant, mode): (&TenantId, Mode),
    (kind, id): (RecipientType, &str),
    contact: &Contact,
    occurred_at: Timestamp,
) -> Result<(), StoreError> {
    let documents = &*app.tenant_ports.documents;
    for role in contact.roles.iter().flatten().flatten() {
        documents.put_document(&role_key(tenant, mode, role, id), "{}", None).await?;
    }
    let key = person_key(tenant, mode, &name_of(kind, id));
    let apply = |person: &mut Person| person.apply(contact, occurred_at);
    document::update(documents, &*app.host, &key, apply).await
}

/// Forgets a person, and remembers only that they were removed at this time.
pub(super) async fn remove(
    app: &App,
    (tenant, mode): (&TenantId, Mode),
    person: &str,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let (documents, known) = (&*app.tenant_ports.documents, find(app, tenant, mode, person).await?);
    if known == Person::default() || known.is_removed {
        return Ok(false);
    }
    let id = person.split_once(':').map_or(person, |(_, id)| id);
    for role in &known.roles {
        documents.delete_document(&role_key(tenant, mode, role, id)).await?;
    }
    let removed = document::encode(&Person::removed(known.as_of.max(Some(at))))?;
    let until = Some(app.host.now() + REMOVED_MS);
    documents.put_document(&person_key(tenant, mode, person), &removed, until).await?;
    Ok(true)
}

/// Erases what is known of a data subject. Returns whether there was anything.
///
/// # Errors
///
/// [`StoreError`]
pub async fn erase(app: &App, tenant: &TenantId, mode: Mode, person: &str) -> Result<bool, StoreError> {
    remove(app, (tenant, mode), person, app.host.now()).await
}

/// A person as a message's recipient: what the event says, over what is known.
///
/// # Errors
///
/// [`StoreError`]
pub async fn known(
    app: &App,
    (tenant, mode): (&TenantId, Mode),
    kind: RecipientType,
    contact: &Contact,
) -> Result<KnownPerson, StoreError> {
    let recipient = Recipient { kind, id: contact.id.clone() };
    let preferences = app.defaults.for_recipient(&app.tenant_ports, tenant, &recipient).await?;
    let (person, addresses) = match data_subject::of_recipient(&recipient) {
        Some(name) => {
            (find(app, tenant, mode, &name).await?, consent::addresses(&app.tenant_ports, tenant, &name).await?)
        }
        None => (Person::default(), BTreeMap::new()),
    };
    Ok(KnownPerson { id: recipient.id, person: person.with(contact), preferences, addresses })
}

/// The users with a role, at most 200, by their ids in descending order.
pub(super) async fn with_role(
    app: &App,
    (tenant, mode): (&TenantId, Mode),
    role: &str,
) -> Result<Vec<KnownPerson>, StoreError> {
    let prefix = format!("{}#{role}#", mode.as_str());
    // `$` is the character after `#`.
    let before = format!("{}#{role}$", mode.as_str());
    let (documents, now) = (&*app.tenant_ports.documents, app.host.now());
    let page = documents.list_documents(tenant, ROLES, Some(&before), MAX_WITH_ROLE, now).await?;
    let mut users = Vec::new();
    for (name, _) in page {
        let Some(id) = name.strip_prefix(&prefix) else { break };
        let contact = Contact { id: Some(id.to_owned()), ..Contact::default() };
        let user = known(app, (tenant, mode), RecipientType::User, &contact).await?;
        if user.person.roles.iter().any(|own| own == role) {
            users.push(user);
        }
    }
    Ok(users)
}
