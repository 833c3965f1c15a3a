//! The events of a message as steps that name their witness.

use serde_json::Value;

use crate::time::{Clock, Time, duration};
use crate::words::{self, StatusWord};

/// A gap this long is shown, in milliseconds.
const GAP_MS: i64 = 10 * 60_000;

/// A step: when, who says so, what, and why.
pub struct Moment {
    pub tone: &'static str,
    pub icon: &'static str,
    /// `us`, `them` or `person`.
    pub by: &'static str,
    pub time: Option<Time>,
    pub heading: String,
    /// The source, where the heading does not name it.
    pub source: String,
    pub why: String,
    /// The time without activity before it.
    pub gap: Option<String>,
}

/// A delivery attempt.
pub struct Attempt {
    pub number: u64,
    pub at: Option<Time>,
    pub provider: String,
    pub response: String,
    pub outcome: StatusWord,
    pub took: String,
    /// What was said to the provider, where it failed.
    pub exchange: String,
}

struct Told {
    tone: &'static str,
    icon: &'static str,
    by: &'static str,
    heading: String,
    source: String,
    why: String,
}

fn us(tone: &'static str, icon: &'static str, heading: impl Into<String>, why: impl Into<String>) -> Told {
    Told { tone, icon, by: "us", heading: heading.into(), source: ", by Tidings".to_owned(), why: why.into() }
}

fn them(tone: &'static str, icon: &'static str, heading: impl Into<String>, why: impl Into<String>) -> Told {
    Told { tone, icon, by: "them", heading: heading.into(), source: String::new(), why: why.into() }
}

/// The steps, the first one first.
pub fn timeline(events: &[Value], clock: &Clock) -> Vec<Moment> {
    let mut before: Option<i64> = None;
    let mut provider = String::from("the provider");
    let show = |event: &Value| {
        if let Some(config) = event["data"]["config"].as_str() {
            provider = words::account(config, event["data"]["provider"].as_str().unwrap_or_default());
        }
        let Told { tone, icon, by, heading, source, why } = tell(event, &provider, clock);
        let at = event["at"].as_str().unwrap_or_default();
        let instant = at.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond);
        let gap = before.map(|before| instant - before).filter(|gap| GAP_MS <= *gap).map(duration);
        before = Some(instant);
        Moment { tone, icon, by, time: clock.precise(at), heading, source, why, gap }
    };
    events.iter().map(show).collect()
}

fn tell(event: &Value, provider: &str, clock: &Clock) -> Told {
    let data = &event["data"];
    let text = |name: &str| data[name].as_str().unwrap_or_default();
    let at = |name: &str| clock.short(text(name)).map_or_else(|| "later".to_owned(), |time| time.text);
    let attempt = data["attempt"].as_u64().unwrap_or(0);
    let by = || words::actor(event["actor"].as_str().unwrap_or_default());
    match event["type"].as_str().unwrap_or_default() {
        "CommunicationRequested" => {
            let about =
                data.pointer("/entity/id").and_then(Value::as_str).map_or(String::new(), |id| format!(" about {id}"));
            let policy = match text("inDoubt") {
                "hold" => "If delivery is uncertain, it is held rather than sent twice.",
                _ => "If delivery is uncertain, it is sent again.",
            };
            let what = format!("{} by {}{about}.", words::kind(text("type")), words::channel(text("channel")));
            us("wait", "us", format!("Accepted from {}", by()), format!("{what} Expires {}. {policy}", at("expiresAt")))
        }
        "CommunicationRescheduled" => {
            us("wait", "s-scheduled", format!("Rescheduled for {}", at("scheduledAt")), format!("Changed by {}.", by()))
        }
        "CommunicationContentChanged" => us("wait", "us", "Content changed", format!("Changed by {}.", by())),
        "CommunicationSuppressed" => {
            let reason = words::explain_reason(&format!("suppressed:{}", text("reason")), None);
            us("stop", "s-suppressed", "Suppressed", format!("{reason}, so it was not sent."))
        }
        "CommunicationDeferred" if text("reason") == "quiet_hours" => {
            us("wait", "moon", format!("Held until {} (quiet hours)", at("until")), "It is the recipient’s night.")
        }
        "CommunicationDeferred" => {
            us("warn", "pause", format!("Held until {}", at("until")), "A file of it is missing.")
        }
        "DeliveryAttemptStarted" => {
            let why = format!("Locked to this attempt until {}, so that it cannot be sent twice.", at("leaseUntil"));
            us("move", "s-sending", format!("Attempt {attempt} via {provider}"), why)
        }
        "DeliveryAttemptAccepted" => {
            let took = data["latencyMs"].as_i64().map_or(String::new(), |ms| format!(" after {}", duration(ms)));
            let id = format!("Provider message ID: {}.", text("providerMessageId"));
            them("move", "s-sent", format!("{provider} accepted it{took}"), id)
        }
        "DeliveryAttemptRefused" => {
            let reason = words::explain_reason(&format!("{}:{}", text("class"), text("code")), None);
            let next = if data["failover"] == true {
                " The next account is tried at once.".to_owned()
            } else if data["retryAt"].is_string() {
                format!(" The next attempt is at {}.", at("retryAt"))
            } else {
                String::new()
            };
            let counts = if data["counted"] == true {
                format!("This counts as attempt {attempt}.")
            } else {
                "This does not count as an attempt.".to_owned()
            };
            let reason = reason.replacen("The provider", provider, 1);
            them("warn", "s-retry", reason, format!("{counts}{next}"))
        }
        "DeliveryAttemptInDoubt" => {
            let why = format!(
                "{provider} may or may not have accepted it. Tidings waits for a callback until {}.",
                at("evidenceUntil")
            );
            us("warn", "s-doubt", "No answer: delivery uncertain", why)
        }
        "DeliveryAttemptResolved" => {
            let how = match text("by") {
                "callback" => "confirmed by callback",
                "query" => "was asked",
                _ => "was decided by a person",
            };
            let (tone, icon, outcome) = match text("outcome") {
                "accepted" => ("good", "s-sent", "it was accepted"),
                _ => ("warn", "s-retry", "it was not accepted"),
            };
            them(
                tone,
                icon,
                format!("{provider} {how}: {outcome}"),
                format!("Delivery of attempt {attempt} is no longer uncertain."),
            )
        }
        "DeliveryReported" => reported(text("fact"), text("code"), provider),
        "CancellationRequested" => us(
            "stop",
            "s-cancelled",
            "Cancellation requested",
            format!("By {}. No further attempt follows.", words::actor(text("by"))),
        ),
        "CommunicationCancelled" => {
            us("stop", "s-cancelled", "Cancelled", format!("By {}, before anything was sent.", by()))
        }
        "CommunicationFailed" => {
            us("bad", "s-failed", "Failed", format!("{}.", words::explain_reason(text("reason"), None)))
        }
        "CommunicationDeadLettered" => {
            let why = format!("{}. Someone decides what happens next.", words::explain_reason(text("reason"), None));
            us("bad", "s-failed", "Dead letter", why)
        }
        "RetryRequested" => us("wait", "s-retry", "Retry requested", format!("By {}.", by())),
        "CommunicationErased" => {
            us("stop", "s-suppressed", "Content erased", "Address, name and content are gone. What happened stays.")
        }
        "FallbackTriggered" => us(
            "move",
            "right",
            format!("Next channel: {}", words::channel(text("channel"))),
            format!("{}.", words::sentence_case(text("reason"))),
        ),
        "FallbackRequested" => us("move", "right", "Message on the next channel accepted", ""),
        "FallbackAbandoned" => us(
            "stop",
            "s-cancelled",
            "No message on the next channel",
            format!("{}.", words::sentence_case(text("reason"))),
        ),
        other => us("wait", "us", words::sentence_case(other), ""),
    }
}

fn reported(fact: &str, code: &str, provider: &str) -> Told {
    let (tone, icon, by, heading, why) = match fact {
        "delivered" => ("good", "s-delivered", "them", "Delivered", "The receiving side accepted it."),
        "opened" => (
            "good",
            "s-seen",
            "person",
            "Opened",
            "An image in the email was loaded, by the recipient or by an email app loading images automatically.",
        ),
        "read" => ("good", "s-seen", "person", "Read", "The recipient’s app says so."),
        "clicked" => (
            "good",
            "s-clicked",
            "person",
            "Clicked",
            "A link was opened, by the recipient or by a scanner that follows links.",
        ),
        "bounced" => (
            "bad",
            "s-bounced",
            "them",
            "Bounced",
            "The address does not take mail. It was added to the suppression list if the bounce is permanent.",
        ),
        "undelivered" => ("bad", "s-failed", "them", "Not delivered", ""),
        "dropped" => ("bad", "s-failed", "them", "Dropped after it was accepted", ""),
        "complained" => {
            ("bad", "s-bounced", "person", "Marked as spam", "The address was added to the suppression list.")
        }
        "unsubscribed" => ("stop", "s-suppressed", "person", "Unsubscribed", "The recipient opted out."),
        "deferred" => {
            ("warn", "s-retry", "them", "Postponed by the receiving side", "The provider tries again by itself.")
        }
        "accepted" | "sent" => ("move", "s-sent", "them", "Accepted", ""),
        _ => ("wait", "provider", "them", "Another status", "This status is recorded and changes nothing."),
    };
    let code = if code.is_empty() { String::new() } else { format!(" Code {code}.") };
    Told {
        tone,
        icon,
        by,
        heading: heading.to_owned(),
        source: format!(", reported by {provider}"),
        why: format!("{why}{code}").trim().to_owned(),
    }
}

/// The attempts with their outcomes.
pub fn attempts(events: &[Value], clock: &Clock) -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut began: i64 = 0;
    for event in events {
        let data = &event["data"];
        let text = |name: &str| data[name].as_str().unwrap_or_default();
        let at = event["at"].as_str().unwrap_or_default();
        let instant = at.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond);
        let word = |tone, icon, word: &str| StatusWord { tone, icon, word: word.to_owned() };
        let kind = event["type"].as_str().unwrap_or_default();
        if kind == "DeliveryAttemptStarted" {
            began = instant;
            attempts.push(Attempt {
                number: data["attempt"].as_u64().unwrap_or(0),
                at: clock.precise(at),
                provider: words::account(text("config"), text("provider")),
                response: "Waiting for an answer".to_owned(),
                outcome: word("move", "s-sending", "Sending"),
                took: String::new(),
                exchange: String::new(),
            });
            continue;
        }
        let Some(attempt) = attempts.last_mut().filter(|attempt| data["attempt"].as_u64() == Some(attempt.number))
        else {
            continue;
        };
        match kind {
            "DeliveryAttemptAccepted" => {
                attempt.response = text("providerMessageId").to_owned();
                attempt.outcome = word("good", "s-sent", "Accepted");
            }
            "DeliveryAttemptRefused" => {
                attempt.response = text("code").to_owned();
                let counts = if data["counted"] == true { "Refused" } else { "Refused, not counted" };
                attempt.outcome = word("warn", "s-retry", counts);
            }
            "DeliveryAttemptInDoubt" => {
                attempt.response = "No answer".to_owned();
                attempt.outcome = word("warn", "s-doubt", "Uncertain");
            }
            "DeliveryAttemptResolved" => {
                let accepted = text("outcome") == "accepted";
                attempt.outcome = match accepted {
                    true => word("good", "s-sent", &format!("Accepted, by {}", text("by"))),
                    false => word("warn", "s-retry", &format!("Not accepted, by {}", text("by"))),
                };
            }
            _ => continue,
        }
        let took = data["latencyMs"].as_i64().unwrap_or(instant - began);
        attempt.took = duration(took);
    }
    attempts
}

#[cfg(test)]
mod tests {
    use events::Timestamp;
    use jiff::tz::TimeZone;
    use serde_json::json;

    use super::*;

    fn clock() -> Clock {
        Clock { now: Timestamp(1_796_000_000_000), zone: TimeZone::UTC }
    }

    fn event(kind: &str, at: &str, data: Value) -> Value {
        json!({ "type": kind, "at": at, "actor": "key:billing", "data": data })
    }

    #[test]
    fn each_step_names_its_witness() {
        let started = json!({ "attempt": 1, "config": "sendgrid-second", "leaseUntil": "2026-11-25T07:00:35Z" });
        let events = [
            event(
                "CommunicationRequested",
                "2026-11-24T22:37:17Z",
                json!({ "type": "invoice", "channel": "email", "inDoubt": "hold" }),
            ),
            event("DeliveryAttemptStarted", "2026-11-25T07:00:00Z", started),
            event(
                "DeliveryAttemptRefused",
                "2026-11-25T07:00:00.084Z",
                json!({ "attempt": 1, "class": "unavailable", "code": "503", "counted": true, "failover": true }),
            ),
            event("DeliveryReported", "2026-11-25T07:00:14Z", json!({ "attempt": 1, "fact": "opened" })),
        ];
        let shown: Vec<String> = timeline(&events, &clock())
            .iter()
            .map(|step| format!("{} {}{}", step.by, step.heading, step.source))
            .collect();
        assert_eq!(
            shown,
            [
                "us Accepted from API key “billing”, by Tidings",
                "us Attempt 1 via SendGrid Second, by Tidings",
                "them SendGrid Second was unavailable (503)",
                "person Opened, reported by SendGrid Second",
            ]
        );
        assert_eq!(timeline(&events, &clock())[1].gap.as_deref(), Some("8 h 22 min"));
        let attempts = attempts(&events, &clock());
        assert_eq!((attempts[0].response.as_str(), attempts[0].took.as_str()), ("503", "84 ms"));
    }

    #[test]
    fn every_event_of_a_message_has_a_heading() {
        for (name, _) in events::CommunicationEvent::TYPES {
            let told = tell(&event(name, "", json!({})), "SendGrid", &clock());
            let is_own = told.heading != words::sentence_case(name);
            assert!(is_own && !told.heading.is_empty(), "{name}");
        }
    }
}
