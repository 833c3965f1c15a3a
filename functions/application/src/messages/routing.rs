//! Routing by the recipient's preferences: the channel and the address of a message.

use domain::address;
use events::{Channel, MessageType};

use super::known::Known;
use super::new_message::{ChannelChoice, NewContent, NewMessage, NewStep};

/// One channel's part of a message, before it is checked: the message itself or a fallback step, with what it inherits.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    /// `None` means the message itself.
    pub step: Option<usize>,
    pub route: Route,
    pub to: Option<String>,
    pub content: NewContent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    By(Channel),
    /// No channel was given.
    Missing,
    /// The type of the message is invalid, so no channel can be chosen.
    Unknown,
    /// No channel that the recipient wants can reach them, for this reason.
    NoChannel(String),
}

impl Draft {
    pub fn channel(&self) -> Option<Channel> {
        match self.route {
            Route::By(channel) => Some(channel),
            Route::Missing | Route::Unknown | Route::NoChannel(_) => None,
        }
    }
}

/// The parts of a message, each with its channel and its address.
pub(super) fn drafts(message: &NewMessage, known: &Known<'_>) -> Vec<Draft> {
    let (route, to) = choose_route(message.channel, message.to.as_deref(), message.kind, known);
    let first = Draft { step: None, route, to, content: message.content.clone() };
    let channel = first.channel();
    let step = |(index, step): (usize, &NewStep)| {
        let given = step.to.as_deref().or(message.to.as_deref().filter(|_| shares_number(channel, step.channel)));
        let (route, to) = choose_route(step.channel, given, message.kind, known);
        Draft { step: Some(index), route, to, content: step.content.or(&message.content) }
    };
    let steps: Vec<Draft> = message.fallback.iter().enumerate().map(step).collect();
    [first].into_iter().chain(steps).collect()
}

/// Whether a step can use the phone number of the message.
fn shares_number(first: Option<Channel>, step: Option<ChannelChoice>) -> bool {
    let by_number = |channel| matches!(channel, Channel::Sms | Channel::Whatsapp);
    let step = match step {
        Some(ChannelChoice::Fixed(channel)) => Some(channel),
        Some(ChannelChoice::Auto) | None => None,
    };
    first.is_some_and(by_number) && step.is_some_and(by_number)
}

fn choose_route(
    choice: Option<ChannelChoice>,
    given: Option<&str>,
    kind: Option<MessageType>,
    known: &Known<'_>,
) -> (Route, Option<String>) {
    let preferred = |channel: Channel| known.recipient.addresses.get(&channel).cloned();
    let given_text = given.map(str::to_owned);
    match (choice, kind) {
        (None, _) => (Route::Missing, given_text),
        (Some(ChannelChoice::Fixed(channel)), _) => (Route::By(channel), given_text.or_else(|| preferred(channel))),
        (Some(ChannelChoice::Auto), None) => (Route::Unknown, given_text),
        (Some(ChannelChoice::Auto), Some(kind)) => {
            let wanted = known.recipient.preferences.preferred_channels(kind);
            let address = |channel: Channel| match given {
                Some(given) => address::normalise(channel, given, None).ok(),
                None => preferred(channel),
            };
            let available = wanted.iter().copied().filter(|channel| known.available.contains(channel));
            match available.filter_map(|channel| Some((channel, address(channel)?))).next() {
                Some((channel, address)) => (Route::By(channel), Some(address)),
                None => (Route::NoChannel(no_channel(&wanted)), given_text),
            }
        }
    }
}

fn no_channel(wanted: &[Channel]) -> String {
    if wanted.is_empty() {
        return "The recipient accepts no channel for this message type.".to_owned();
    }
    let names = wanted.iter().map(|channel| channel.as_str()).collect::<Vec<_>>().join(", ");
    format!("The recipient accepts {names}, but none of them has both an address and a provider.")
}
