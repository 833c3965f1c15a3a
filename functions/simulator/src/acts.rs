//! What a person does with a message of the inbox. The provider reports it with real callbacks.

use serde_json::Value;

use crate::inbox::Reply;
use crate::message::Step;
use crate::received::Received;
use crate::simulator::Simulator;

/// What a recipient does, or what a provider finds out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Deliver,
    /// The address does not exist.
    Bounce,
    /// Not delivered this time.
    Fail,
    Open,
    Click,
    Complain,
    /// The recipient replies STOP, or blocks the sender.
    Stop,
    Reply(String),
}

/// Why nothing happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActError {
    /// The inbox has no such message.
    Unknown,
    /// The provider of the message does not report the act.
    NotReported,
}

impl Act {
    /// The names of all acts.
    pub const NAMES: [&'static str; 8] = ["deliver", "bounce", "fail", "open", "click", "complain", "stop", "reply"];

    /// The act of a name. A reply has a text.
    pub fn parse(name: &str, text: Option<String>) -> Option<Act> {
        Some(match name {
            "deliver" => Act::Deliver,
            "bounce" => Act::Bounce,
            "fail" => Act::Fail,
            "open" => Act::Open,
            "click" => Act::Click,
            "complain" => Act::Complain,
            "stop" => Act::Stop,
            "reply" => Act::Reply(text?),
            _ => return None,
        })
    }

    fn step(&self) -> Option<Step> {
        Some(match self {
            Act::Deliver => Step::Delivered,
            Act::Bounce => Step::Bounced,
            Act::Fail => Step::SoftBounced,
            Act::Open => Step::Opened,
            Act::Click => Step::Clicked,
            Act::Complain => Step::Complained,
            Act::Stop => Step::OptedOut,
            Act::Reply(_) => return None,
        })
    }
}

impl Simulator {
    /// Does something with a message of the inbox: its provider sends the callbacks that it would send.
    ///
    /// # Errors
    ///
    /// [`ActError`]: no callback was sent.
    pub async fn act(&self, id: u64, act: Act) -> Result<(), ActError> {
        let Received { provider, message } = self.received(id).ok_or(ActError::Unknown)?;
        let text = match &act {
            Act::Reply(text) => Some(text.as_str()),
            Act::Stop => Some("STOP"),
            _ => None,
        };
        let is_opt_out = text.is_some_and(|text| text.trim().eq_ignore_ascii_case("stop"));
        // A provider that reports opt-outs in its own way does so. With others, STOP is a reply like any other.
        let is_reported = match act.step() {
            Some(step) => self.report(id, provider, &message, step).await,
            None => false,
        };
        let reply = text.filter(|_| !is_reported).and_then(|text| provider.reply(&self.context, &message, text));
        let is_replied = reply.is_some();
        if let Some(callback) = reply {
            self.send(id, callback).await;
        }
        if !is_reported && !is_replied {
            return Err(ActError::NotReported);
        }
        if let Some(text) = text {
            self.inbox.add_reply(id, Reply { text: text.to_owned(), at: self.context.time() });
        }
        if is_opt_out || act == Act::Complain {
            self.opt_out(&message.to);
        }
        Ok(())
    }

    /// The names of the acts that the provider of a message reports.
    pub fn acts(&self, id: u64) -> Vec<&'static str> {
        let Some(Received { provider, message }) = self.received(id) else { return Vec::new() };
        let replies = provider.reply(&self.context, &message, "").is_some();
        let is_reported = |name: &&&'static str| {
            let Some(act) = Act::parse(name, Some(String::new())) else { return false };
            let Some(step) = act.step() else { return replies };
            let batched: Option<Value> = provider.batched_report(&self.context, &message, step);
            let is_reported = batched.is_some() || provider.report(&self.context, &message, step).is_some();
            is_reported || (act == Act::Stop && replies)
        };
        Act::NAMES.iter().filter(is_reported).copied().collect()
    }
}
