//! Personal data of schedules: the messages in the vault, found and deleted.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use domain::access::{Permission, Reach};
use domain::data_subject;
use domain::ports::DocumentKey;
use domain::schedule::{Command, Schedule, ScheduleState};
use events::{Mode, ScheduleEndReason, ScheduledMessage};

use super::message::{ErasableMessage, StoredMessage, message_of};
use super::{ScheduleError, end, stream};
use crate::app::App;
use crate::attachments;
use crate::caller::Caller;
use crate::execute;

/// The schedules and the stored messages that concern a data subject.
struct Found {
    /// The schedules that write to the subject, also those that have ended.
    schedules: Vec<Schedule>,
    /// The messages that are about the subject. They can include one that a crash left behind when its schedule was
    /// changed.
    messages: Vec<(DocumentKey, ErasableMessage)>,
}

/// The result of the erasure of a data subject from schedules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErasedSchedules {
    /// Number of schedules that write to the data subject.
    pub count: usize,
    /// How many of them could not be ended. They have no message any more, so they send nothing.
    pub unrecorded: usize,
}

/// Erases a data subject from schedules: one with an id such as `customer:7`, or an address by its hash (`contact:…`).
/// The schedules that write to it end. A live caller ends those of both modes, a test caller those of its own. Returns
/// how many schedules there were.
///
/// # Errors
///
/// [`ScheduleError`]
pub async fn erase(app: &App, caller: &Caller, subject: &str) -> Result<ErasedSchedules, ScheduleError> {
    caller.authorise(Permission::Privacy, Reach::Everything)?;
    let Found { schedules, messages } = find(app, caller, subject).await?;
    for (_, message) in &messages {
        for id in message.uploaded() {
            attachments::erase_unshared(app, &caller.principal.tenant, id).await?;
        }
    }
    let mut unrecorded = 0;
    for schedule in &schedules {
        if let Err(error) = end(app, caller, &schedule.id, Command::End(ScheduleEndReason::Erased)).await {
            tracing::error!(schedule = schedule.id, %error, "a schedule was not ended; its message is erased");
            unrecorded += 1;
        }
    }
    for (key, _) in &messages {
        app.tenant_ports.documents.delete_document(key).await?;
    }
    Ok(ErasedSchedules { count: schedules.len(), unrecorded })
}

/// The schedules that write to a data subject, with their messages.
///
/// # Errors
///
/// [`ScheduleError`]
pub async fn of_subject(
    app: &App,
    caller: &Caller,
    subject: &str,
) -> Result<Vec<(Schedule, Option<StoredMessage>)>, ScheduleError> {
    caller.authorise(Permission::Privacy, Reach::Everything)?;
    let mut found = Vec::new();
    for schedule in find(app, caller, subject).await?.schedules {
        let message = message_of(&app.tenant_ports, &caller.principal.tenant, &schedule).await?;
        found.push((schedule, message));
    }
    Ok(found)
}

async fn find(app: &App, caller: &Caller, subject: &str) -> Result<Found, ScheduleError> {
    let (tenant, now) = (&caller.principal.tenant, app.host.now());
    let mut states: BTreeMap<String, ScheduleState> =
        execute::list::<ScheduleState>(&*app.store, tenant).await?.into_iter().collect();
    let (mut named, mut messages) = (BTreeSet::<(String, String)>::new(), Vec::new());
    let mut before: Option<String> = None;
    loop {
        let page = app.tenant_ports.documents.list_documents(tenant, "schedule", before.as_deref(), 100, now).await?;
        let Some((last, _)) = page.last() else { break };
        before = Some(last.clone());
        for (name, body) in page {
            let Some((id, content)) = name.split_once('#') else { continue };
            if let Entry::Vacant(unlisted) = states.entry(id.to_owned()) {
                // It has ended, and its message is not deleted yet.
                let loaded = execute::load(&*app.store, &stream(tenant, unlisted.key())).await?;
                unlisted.insert(loaded.state);
            }
            let Ok(stored) = serde_json::from_str::<ErasableMessage>(&body) else {
                // An unreadable message must not prevent the erasure of the others.
                tracing::error!(name, "a message of a schedule cannot be read, and is not searched for a data subject");
                continue;
            };
            let is_visible = states[id].schedule.as_ref().is_none_or(|schedule| is_visible_to(caller, schedule));
            if is_visible && stored.subjects.contains(subject) {
                named.insert((id.to_owned(), content.to_owned()));
                messages.push((DocumentKey { tenant: tenant.clone(), collection: "schedule", name }, stored));
            }
        }
    }
    let is_for = |schedule: &Schedule| {
        let is_named = named.contains(&(schedule.id.clone(), schedule.message.content.clone()));
        is_visible_to(caller, schedule) && (is_named || is_sent_to(&schedule.message, subject))
    };
    let schedules = states.into_values().filter_map(|state| state.schedule).filter(is_for).collect();
    Ok(Found { schedules, messages })
}

fn is_visible_to(caller: &Caller, schedule: &Schedule) -> bool {
    caller.principal.mode == Mode::Live || schedule.author.mode == caller.principal.mode
}

fn is_sent_to(ScheduledMessage { recipient, contact_hash, .. }: &ScheduledMessage, subject: &str) -> bool {
    recipient.as_ref().and_then(data_subject::of_recipient).is_some_and(|key| key == subject)
        || contact_hash.as_ref().is_some_and(|hash| subject == data_subject::of_address(hash))
}
