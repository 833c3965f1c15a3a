//! How a person's preferences came to be: who decided what, when, and on which evidence.

use serde_json::Value;

use super::matrix::{channel_list, quiet_hours};
use crate::time::{Clock, Time};
use crate::words;

/// How many of the newest decisions are shown.
const SHOWN: usize = 12;

/// One decision.
pub struct Step {
    pub tone: &'static str,
    pub time: Option<Time>,
    pub by: &'static str,
    pub icon: &'static str,
    pub heading: String,
    pub source: String,
    pub why: String,
}

/// The newest decisions first, and whether there are more.
pub fn steps(history: &Value, clock: &Clock) -> (Vec<Step>, bool) {
    let events = history["events"].as_array().map_or(&[][..], Vec::as_slice);
    (events.iter().rev().take(SHOWN).map(|event| step(event, clock)).collect(), SHOWN < events.len())
}

fn step(event: &Value, clock: &Clock) -> Step {
    let (data, actor) = (&event["data"], event["actor"].as_str().unwrap_or_default());
    let text = |name: &str| data[name].as_str().filter(|text| *text != "preference page");
    let note = |text: Option<&str>| text.map_or(String::new(), |text| format!("“{text}”"));
    let (tone, icon, heading, why) = match event["type"].as_str().unwrap_or_default() {
        "PreferencesChanged" => ("wait", "s-sent", changes(data).join("; "), String::new()),
        "OptedOut" => ("stop", "s-suppressed", "Opted out of all messages".to_owned(), note(text("reason"))),
        "OptedIn" => ("good", "check", "Opted in".to_owned(), note(text("evidence"))),
        "DoNotContactSet" => ("bad", "s-suppressed", "All messages stopped".to_owned(), note(text("reason"))),
        "DoNotContactLifted" => ("wait", "check", "Messages allowed again".to_owned(), String::new()),
        other => ("wait", "info", words::event_name(other), String::new()),
    };
    let (by, icon) = match actor {
        "preference-page" => ("person", icon),
        actor if actor.starts_with("pages:") => ("person", icon),
        actor if actor.starts_with("webhook:") => ("them", icon),
        _ => ("us", icon),
    };
    Step {
        tone,
        time: event["at"].as_str().and_then(|at| clock.short(at)),
        by,
        icon,
        heading,
        source: format!(", by {}", words::actor(actor)),
        why,
    }
}

/// What a change of preferences changed, as phrases.
fn changes(data: &Value) -> Vec<String> {
    let mut phrases = Vec::new();
    for (channel, is_on) in data["channels"].as_object().into_iter().flatten() {
        phrases.push(format!("{} {}", words::channel(channel), if *is_on == true { "on" } else { "off" }));
    }
    for channel in data["channelsReset"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        phrases.push(format!("{} as by default", words::channel(channel)));
    }
    for (kind, channels) in data["types"].as_object().into_iter().flatten() {
        phrases.push(format!("{}: {}", words::kind(&words::snake_case(kind)), channel_list(channels)));
    }
    if !data["quietHours"].is_null() {
        phrases.push(format!("Quiet hours {}", quiet_hours(&data["quietHours"])));
    }
    if data["quietHoursLifted"] == true {
        phrases.push("No quiet hours of their own".to_owned());
    }
    for channel in data["addresses"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        phrases.push(format!("Preferred address for {} changed", words::channel(channel)));
    }
    if phrases.is_empty() { vec!["Preferences changed".to_owned()] } else { phrases }
}

#[cfg(test)]
mod tests {
    use events::Timestamp;
    use jiff::tz::TimeZone;
    use serde_json::json;

    use super::*;

    #[test]
    fn decisions_say_what_changed_by_whom_and_on_which_evidence() {
        let event =
            |kind: &str, actor: &str, data: Value| json!({ "type": kind, "actor": actor, "at": "", "data": data });
        let history = json!({ "events": [
            event("OptedIn", "key:till", json!({ "evidence": "form 17" })),
            event("PreferencesChanged", "preference-page", json!({
                "channels": { "sms": false }, "types": { "paymentLink": ["email", "sms"] },
            })),
        ] });
        let (steps, has_more) = steps(&history, &Clock { now: Timestamp(0), zone: TimeZone::UTC });
        let shown: Vec<String> =
            steps.iter().map(|step| format!("{} {}{} {}", step.by, step.heading, step.source, step.why)).collect();
        assert_eq!(
            shown,
            [
                "person SMS off; Payment link: Email, then SMS, by the recipient on their preference page ",
                "us Opted in, by API key “till” “form 17”",
            ]
        );
        assert!(!has_more);
    }
}
