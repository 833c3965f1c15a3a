//! Which types of messages a person takes, by which channel: as it is shown, and what a form changes in it.

use serde_json::{Map, Value, json};

use crate::form::Fields;
use crate::words::{self, CHANNELS, TYPES};

/// The channels with the API's fields for whether they are wanted, and for the preferred address.
pub const FIELDS: [(&str, &str, &str); 5] = [
    ("email", "emailEnabled", "preferredEmail"),
    ("sms", "smsEnabled", "preferredPhone"),
    ("whatsapp", "whatsappEnabled", "preferredWhatsapp"),
    ("messenger", "messengerEnabled", "preferredMessengerId"),
    ("telegram", "telegramEnabled", "preferredTelegramId"),
];

/// A channel in the first row: whether it is used at all.
pub struct ChannelCell {
    pub id: &'static str,
    pub name: &'static str,
    pub is_on: bool,
}

/// The channels that one type may come by.
pub struct TypeRow {
    pub id: &'static str,
    pub name: &'static str,
    pub cells: Vec<ChannelCell>,
    /// As it is shown, best first: what a form is compared with.
    pub was: String,
    /// Whether the person, and not the business's defaults, decides.
    pub is_own: bool,
    /// The order, if several channels are chosen.
    pub order: String,
}

pub fn channel_cells(effective: &Value) -> Vec<ChannelCell> {
    let cell = |(id, enabled, _): &(&'static str, &'static str, &str)| ChannelCell {
        id,
        name: words::channel(id),
        is_on: effective[*enabled] == true,
    };
    FIELDS.iter().map(cell).collect()
}

pub fn type_rows(own: &Value, effective: &Value) -> Vec<TypeRow> {
    let row = |(id, name): &(&'static str, &'static str)| {
        let listed = effective["preferences"][*id].as_array();
        let listed: Option<Vec<&str>> = listed.map(|all| all.iter().filter_map(Value::as_str).collect());
        // Where nothing is listed, every channel may be used.
        let allowed = listed.clone().unwrap_or_else(|| CHANNELS.iter().map(|(id, _)| *id).collect());
        let cell = |(channel, name): &(&'static str, &'static str)| ChannelCell {
            id: channel,
            name,
            is_on: allowed.contains(channel),
        };
        let order = listed.filter(|all| 1 < all.len()).unwrap_or_default();
        let order: Vec<&str> = order.into_iter().map(words::channel).collect();
        TypeRow {
            id,
            name,
            cells: CHANNELS.iter().map(cell).collect(),
            was: allowed.join(","),
            is_own: !own["preferences"][*id].is_null(),
            order: order.join(", then "),
        }
    };
    TYPES.iter().map(row).collect()
}

/// The body of the API's request: only what the form changes.
pub fn change(form: &Fields) -> Map<String, Value> {
    let mut body = Map::new();
    let was_on: Vec<&str> = form.get("was").split(',').collect();
    for (channel, enabled, _) in FIELDS {
        let is_on = form.has(&format!("c.{channel}"));
        if is_on != was_on.contains(&channel) {
            body.insert(enabled.to_owned(), json!(is_on));
        }
    }
    let mut types = Map::new();
    for (kind, _) in TYPES {
        let was: Vec<&str> = form.get(&format!("was.{kind}")).split(',').filter(|name| !name.is_empty()).collect();
        let is_ticked = |channel: &str| form.has(&format!("t.{kind}.{channel}"));
        // What was chosen before keeps its order.
        let kept = was.iter().copied().filter(|channel| is_ticked(channel));
        let added = CHANNELS.iter().map(|(id, _)| *id).filter(|channel| is_ticked(channel) && !was.contains(channel));
        let now: Vec<&str> = kept.chain(added).collect();
        if form.has(&format!("d.{kind}")) {
            types.insert(kind.to_owned(), Value::Null);
        } else if now != was {
            types.insert(kind.to_owned(), json!(now));
        }
    }
    if !types.is_empty() {
        body.insert("preferences".to_owned(), Value::Object(types));
    }
    body
}

/// What a body would change, one sentence for each part.
pub fn explain(body: &Map<String, Value>) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, value) in body {
        let channel = FIELDS.iter().find(|(_, enabled, _)| enabled == name);
        let address = FIELDS.iter().find(|(.., preferred)| preferred == name);
        let text = value.as_str().unwrap_or_default();
        match (channel, address, name.as_str()) {
            (Some((channel, ..)), ..) => {
                lines.push(format!("{} {}", words::channel(channel), if *value == true { "on" } else { "off" }));
            }
            (_, Some((channel, ..)), _) if value.is_null() => {
                lines.push(format!("No preferred address for {}", words::channel(channel)));
            }
            (_, Some((channel, ..)), _) => lines.push(format!("Address for {}: {text}", words::channel(channel))),
            (.., "preferences") => {
                let types = value.as_object().into_iter().flatten();
                lines
                    .extend(types.map(|(kind, channels)| format!("{}: {}", words::kind(kind), channel_list(channels))));
            }
            (.., "quietHours") if value.is_null() => lines.push("No quiet hours of their own".to_owned()),
            (.., "quietHours") => lines.push(format!("Quiet hours {}", quiet_hours(value))),
            (.., "optedOut") => lines.push(if *value == true { "Opted out" } else { "Opted in" }.to_owned()),
            (.., "doNotContact") => {
                lines.push(if *value == true { "Not to be contacted" } else { "May be contacted" }.to_owned());
            }
            _ if !text.is_empty() => lines.push(format!("Note: {text}")),
            _ => (),
        }
    }
    lines
}

/// `["email", "sms"]` is Email, then SMS.
pub fn channel_list(channels: &Value) -> String {
    match channels.as_array() {
        None => "as by default".to_owned(),
        Some(all) if all.is_empty() => "not wanted".to_owned(),
        Some(all) => all.iter().filter_map(Value::as_str).map(words::channel).collect::<Vec<_>>().join(", then "),
    }
}

pub fn quiet_hours(value: &Value) -> String {
    let text = |name: &str| value[name].as_str().unwrap_or_default();
    let zone = value["timeZone"].as_str().or_else(|| value["time_zone"].as_str()).unwrap_or_default();
    format!("{} to {}, {}", text("start"), text("end"), zone.replace('_', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Fields {
        Fields::of_query(Some(text))
    }

    #[test]
    fn only_what_differs_is_changed_and_keeps_its_order() {
        let shown = "was=email,sms&c.email=on&c.sms=on&was.invoice=whatsapp,email&was.payment_link=";
        assert_eq!(change(&form(&format!("{shown}&t.invoice.email=on&t.invoice.whatsapp=on"))), Map::new());
        let changed = change(&form(&format!(
            "{}&t.invoice.email=on&t.invoice.whatsapp=on&t.invoice.sms=on",
            shown.replace("&c.sms=on", "")
        )));
        assert_eq!(
            Value::Object(changed),
            json!({ "smsEnabled": false, "preferences": { "invoice": ["whatsapp", "email", "sms"] } })
        );
        let reset = change(&form(&format!("{shown}&d.invoice=on")));
        assert_eq!(Value::Object(reset), json!({ "preferences": { "invoice": null } }));
    }

    #[test]
    fn a_row_shows_what_applies_and_who_decided() {
        let own = json!({ "preferences": { "invoice": ["sms", "email"] } });
        let effective = json!({ "preferences": { "invoice": ["sms", "email"], "payment_link": [] } });
        let rows = type_rows(&own, &effective);
        let row = |id: &str| rows.iter().find(|row| row.id == id).expect("a row");
        let on = |id: &str| row(id).cells.iter().filter(|cell| cell.is_on).count();
        assert_eq!((on("invoice"), on("payment_link"), on("low_stock_alert")), (2, 0, 5));
        assert_eq!((row("invoice").order.as_str(), row("invoice").is_own), ("SMS, then Email", true));
        assert!(!row("payment_link").is_own);
    }

    #[test]
    fn a_change_is_explained_in_words() {
        let body = json!({
            "smsEnabled": false, "preferences": { "invoice": ["email"], "payment_link": null },
            "quietHours": { "start": "21:00", "end": "08:00", "timeZone": "Africa/Nairobi" }, "preferredEmail": null,
        });
        let lines = explain(body.as_object().expect("an object"));
        for line in [
            "SMS off",
            "Invoice: Email",
            "Payment link: as by default",
            "Quiet hours 21:00 to 08:00, Africa/Nairobi",
            "No preferred address for Email",
        ] {
            assert!(lines.iter().any(|shown| shown == line), "{line}: {lines:?}");
        }
    }
}
