//! Many messages at once, each by itself: one that is refused does not hold up the others.

use std::collections::BTreeSet;

use domain::access::Permission;
use futures_util::future::join_all;

use super::MessageError;
use super::gather::TenantConfig;
use super::new_message::NewMessage;
use super::send::{Accepted, accept, prepare};
use crate::app::App;
use crate::caller::Caller;

/// Messages of a batch that are accepted side by side.
const MAX_CONCURRENT_SENDS: usize = 16;

/// Accepts each message. The results are in the order of the messages; replays come without their content.
///
/// # Errors
///
/// [`MessageError`]: none was looked at.
pub async fn send_batch(
    app: &App,
    caller: &Caller,
    messages: &[NewMessage],
) -> Result<Vec<Result<Accepted, MessageError>>, MessageError> {
    caller.authorise(Permission::Send)?;
    let config = TenantConfig::load(app, &caller.principal).await?;
    let mut results = Vec::with_capacity(messages.len());
    let mut rest = messages;
    while !rest.is_empty() {
        let (some, others) = rest.split_at(concurrent_sends(rest));
        results.extend(join_all(some.iter().map(|message| accept(app, caller, message, Some(&config)))).await);
        rest = others;
    }
    Ok(results)
}

/// How many of the messages can be accepted side by side. Of two with the same idempotency key, the earlier one comes first.
fn concurrent_sends(messages: &[NewMessage]) -> usize {
    let mut keys = BTreeSet::new();
    let some = messages.iter().take(MAX_CONCURRENT_SENDS);
    some.take_while(|message| message.idempotency_key.as_ref().is_none_or(|key| keys.insert(key.as_str()))).count()
}

/// Checks each message and accepts none.
///
/// # Errors
///
/// As [`send_batch`].
pub async fn check_batch(
    app: &App,
    caller: &Caller,
    messages: &[NewMessage],
) -> Result<Vec<Result<(), MessageError>>, MessageError> {
    caller.authorise(Permission::Send)?;
    let config = TenantConfig::load(app, &caller.principal).await?;
    let mut results = Vec::with_capacity(messages.len());
    for some in messages.chunks(MAX_CONCURRENT_SENDS) {
        let checked = join_all(some.iter().map(|message| prepare(app, caller, message, Some(&config)))).await;
        results.extend(checked.into_iter().map(|composed| composed.map(|_| ())));
    }
    Ok(results)
}
