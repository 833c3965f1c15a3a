//! Many messages in one request. Each is accepted or refused by itself.

use std::collections::BTreeSet;

use domain::access::{Permission, Reach};
use domain::prices::Cost;
use futures_util::future::join_all;

use super::MessageError;
use super::cost::expected_cost;
use super::gather::TenantConfig;
use super::new_message::NewMessage;
use super::send::{Accepted, accept, prepare};
use crate::app::App;
use crate::caller::Caller;

/// Number of messages of a batch that are accepted concurrently.
const MAX_CONCURRENT_SENDS: usize = 16;

/// Accepts each message. The results are in the order of the messages; replays come without their content.
///
/// # Errors
///
/// [`MessageError`]: no message was accepted.
pub async fn send_batch(
    app: &App,
    caller: &Caller,
    messages: &[NewMessage],
) -> Result<Vec<Result<Accepted, MessageError>>, MessageError> {
    caller.authorise(Permission::Send, Reach::Scoped)?;
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

/// The number of messages that can be accepted concurrently: 1 if two have the same idempotency key, because the
/// earlier one comes first.
fn concurrent_sends(messages: &[NewMessage]) -> usize {
    let mut keys = BTreeSet::new();
    let some = messages.iter().take(MAX_CONCURRENT_SENDS);
    some.take_while(|message| message.idempotency_key.as_ref().is_none_or(|key| keys.insert(key.as_str()))).count()
}

/// Checks each message and accepts none. Returns what each is expected to cost, if there is a price.
///
/// # Errors
///
/// As [`send_batch`].
pub async fn check_batch(
    app: &App,
    caller: &Caller,
    messages: &[NewMessage],
) -> Result<Vec<Result<Option<Cost>, MessageError>>, MessageError> {
    caller.authorise(Permission::Send, Reach::Scoped)?;
    let config = TenantConfig::load(app, &caller.principal).await?;
    let mut results = Vec::with_capacity(messages.len());
    for some in messages.chunks(MAX_CONCURRENT_SENDS) {
        let check = async |message| {
            let composed = prepare(app, caller, message, Some(&config)).await?;
            Ok(expected_cost(app, &config.channels, &composed))
        };
        results.extend(join_all(some.iter().map(check)).await);
    }
    Ok(results)
}
