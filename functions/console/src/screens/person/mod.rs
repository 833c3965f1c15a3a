//! One person: may I contact them, on which channel, and what is the evidence?

pub mod acts;
pub mod erase;
mod history;
mod matrix;
pub mod paths;

use askama::Template;
use axum::extract::RawQuery;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use futures_util::future::try_join5;
use serde_json::Value;

use crate::api_client::segment;
use crate::form::Fields;
use crate::path::Path;
use crate::refusal::Refusal;
use crate::screens::messages::MessageRow;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show::{self, Icon};
use crate::time::Clock;
use crate::words::{self, StatusWord};
use history::{Step, steps};
use matrix::{ChannelCell, FIELDS, TypeRow, channel_cells, type_rows};
use paths::{page_of, preferences_path};

/// How many of the newest messages the summary is made from, and how many of them are listed.
const SUMMARISED: &str = "50";
const LISTED: usize = 10;

#[derive(Template)]
#[template(path = "person.html")]
struct PersonPage {
    shell: Shell,
    path: String,
    kind: String,
    id: String,
    name: String,
    lede: Vec<String>,
    /// The person must not be contacted, or opted out.
    barred: String,
    done: &'static str,
    link: String,
    faults: Vec<String>,
    /// Changes that were not saved, because somebody else was first.
    stale: Option<Stale>,
    revision: u64,
    changed: String,
    channels: Vec<ChannelCell>,
    types: Vec<TypeRow>,
    quiet: QuietHours,
    opted_out: bool,
    do_not_contact: bool,
    steps: Vec<Step>,
    has_more_steps: bool,
    messages: Vec<MessageRow>,
    messages_path: String,
    send_path: String,
    addresses: Vec<Address>,
    preferred: Vec<Preferred>,
    facts: Vec<(&'static str, String)>,
    api_path: String,
}

impl Page for PersonPage {}

/// What somebody wanted to save.
struct Stale {
    wanted: Vec<String>,
    /// The body of the API's request, to be sent again.
    body: String,
}

#[derive(Default)]
struct QuietHours {
    start: String,
    end: String,
    time_zone: String,
    /// Whether they are the business's and not the person's own.
    is_default: bool,
}

/// An address and whether it can be sent to.
struct Address {
    icon: Icon,
    channel: &'static str,
    contact: String,
    status: StatusWord,
    is_suppressed: bool,
    note: String,
    lookup: String,
}

/// The field of a preferred address.
struct Preferred {
    field: &'static str,
    label: &'static str,
    value: String,
}

/// Everything that the API says of a person.
struct Known {
    own: Value,
    effective: Value,
    person: Value,
    history: Value,
    messages: Value,
}

async fn know(visit: &Visit, kind: &str, id: &str) -> Result<Known, Refusal> {
    let path = preferences_path(kind, id);
    let person = format!("/api/people/{}/{}", segment(kind), segment(id));
    let of = [("recipientType", kind), ("recipientId", id), ("size", SUMMARISED)];
    let messages = async { Ok(visit.api.call(Method::GET, "/api/communications").query(of).send().await?.body) };
    let (own, effective, person, history, messages) = try_join5(
        visit.api.get(path.as_str()),
        visit.api.get(format!("{path}?withDefaults=true")),
        visit.api.get(person),
        visit.api.get(format!("{path}/history")),
        messages,
    )
    .await?;
    Ok(Known { own, effective, person, history, messages })
}

pub async fn show(
    visit: Visit,
    Path((kind, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let mut page = page(&visit, &kind, &id).await?;
    page.done = done(&Fields::of_query(query.as_deref()));
    Ok(page.respond())
}

fn done(query: &Fields) -> &'static str {
    match query.get("done") {
        "preferences" => "Preferences saved.",
        "quiet" => "Quiet hours saved.",
        "addresses" => "Addresses saved.",
        "opt-out" => "Opt-out recorded.",
        "opt-in" => "Opt-in recorded.",
        "stop" => "All messages stopped.",
        "allow" => "Messages allowed again.",
        "erased" => "Personal data erased.",
        _ => "",
    }
}

async fn page(visit: &Visit, kind: &str, id: &str) -> Result<PersonPage, Refusal> {
    let Known { own, effective, person, history, messages } = know(visit, kind, id).await?;
    let clock = visit.clock();
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let name = Some(text(&person, "name")).filter(|name| !name.is_empty()).unwrap_or_else(|| id.to_owned());
    let rows = messages["results"].as_array().map_or(&[][..], Vec::as_slice);
    let (steps, has_more_steps) = steps(&history, &clock);
    let query = |pairs: &[(&str, &str)]| Fields::default().with(pairs);
    let addresses: Vec<Address> = person["addresses"].as_array().into_iter().flatten().map(address).collect();
    let best = person["addresses"].as_array().into_iter().flatten().find(|known| known["suppressedFor"].is_null());
    let best = |field: &str| best.map_or("", |known| known[field].as_str().unwrap_or_default());
    let send = [
        ("recipientContact", best("contact")),
        ("channel", best("channel")),
        ("recipientName", if name == id { "" } else { &name }),
        ("recipientId", id),
        ("recipientType", kind),
    ];
    let preferred = FIELDS.iter().map(|(channel, _, field)| Preferred {
        field,
        label: words::channel(channel),
        value: text(&own, field),
    });
    Ok(PersonPage {
        shell: visit.shell(&name, "people"),
        path: page_of(kind, id),
        kind: words::recipient_type(kind).to_owned(),
        id: id.to_owned(),
        lede: lede(&effective, &person, rows, &clock),
        barred: barred(&own, &clock),
        done: "",
        link: String::new(),
        faults: Vec::new(),
        stale: None,
        revision: own["revision"].as_u64().unwrap_or(0),
        changed: changed(&own, &clock),
        channels: channel_cells(&effective),
        types: type_rows(&own, &effective),
        quiet: quiet_hours(&own, &effective),
        opted_out: own["optedOut"] == true,
        do_not_contact: own["doNotContact"] == true,
        steps,
        has_more_steps,
        messages: rows.iter().take(LISTED).map(|row| MessageRow::of(row, &clock)).collect(),
        messages_path: format!("/messages{}", query(&[("recipientType", kind), ("recipientId", id)])),
        send_path: format!("/send{}", query(&send)),
        addresses,
        preferred: preferred.collect(),
        facts: facts(&person),
        api_path: preferences_path(kind, id),
        name,
    })
}

/// The page with what stops a change.
async fn refused(visit: &Visit, kind: &str, id: &str, refusal: &Refusal) -> Result<Response, Refusal> {
    let mut page = page(visit, kind, id).await?;
    page.faults = refusal.faults().into_iter().map(|fault| fault.detail).collect();
    if page.faults.is_empty() {
        page.faults.push(refusal.detail().to_owned());
    }
    page.shell.title = format!("Error: {}", page.shell.title);
    Ok(page.respond_with(StatusCode::UNPROCESSABLE_ENTITY))
}

/// What forbids all messages, or nothing.
fn barred(own: &Value, clock: &Clock) -> String {
    let reason = |name: &str| match own[name].as_str() {
        Some(reason) if !reason.is_empty() => format!(" “{reason}”"),
        _ => String::new(),
    };
    if own["doNotContact"] == true {
        return format!("Not to be contacted, by decision of the business.{}", reason("doNotContactReason"));
    }
    if own["optedOut"] == true {
        let at = own["optedOutAt"].as_str().and_then(|at| clock.short(at)).map_or(String::new(), |at| at.text);
        return format!("Opted out of all messages ({at}).{}", reason("optedOutReason"));
    }
    String::new()
}

fn changed(own: &Value, clock: &Clock) -> String {
    let Some(at) = own["updatedAt"].as_str().and_then(|at| clock.short(at)) else {
        return "nothing chosen yet; the defaults of the business apply".to_owned();
    };
    format!("last changed by {}, {}", words::actor(own["updatedBy"].as_str().unwrap_or_default()), at.text)
}

/// The rest of the picture: what was delivered and seen, their time of day, their quiet hours.
fn lede(effective: &Value, person: &Value, rows: &[Value], clock: &Clock) -> Vec<String> {
    let mut lede = Vec::new();
    if person["isRemoved"] == true {
        lede.push("Your other systems have removed this person.".to_owned());
    }
    let is = |row: &Value, statuses: &[&str]| statuses.contains(&row["status"].as_str().unwrap_or_default());
    let seen = rows.iter().filter(|row| is(row, &["opened", "read", "clicked"])).count();
    let delivered = seen + rows.iter().filter(|row| is(row, &["delivered"])).count();
    match (rows.len(), delivered) {
        (0, _) => lede.push("Nothing has been sent to this person yet.".to_owned()),
        (1, 0) => lede.push("Their only message is not known to be delivered.".to_owned()),
        (1, delivered) => lede.push(format!("Opened or read {seen} of {delivered} delivered.")),
        (sent, 0) => lede.push(format!("None of the newest {sent} messages is known to be delivered.")),
        (sent, delivered) => {
            lede.push(format!("Opened or read {seen} of {delivered} delivered, among the newest {sent} messages."));
        }
    }
    let quiet = &effective["quietHours"];
    let zone = quiet["timeZone"].as_str().or_else(|| person["timeZone"].as_str());
    if let Some(there) = zone.and_then(|zone| clock.time_in(zone)) {
        lede.push(format!("It is {there} for them."));
    }
    if let (Some(start), Some(end)) = (quiet["start"].as_str(), quiet["end"].as_str()) {
        lede.push(format!("Quiet hours are {start} to {end}."));
    }
    lede
}

fn quiet_hours(own: &Value, effective: &Value) -> QuietHours {
    let text = |name: &str| effective["quietHours"][name].as_str().unwrap_or_default().to_owned();
    QuietHours {
        start: text("start"),
        end: text("end"),
        time_zone: text("timeZone"),
        is_default: own["quietHours"].is_null() && !effective["quietHours"].is_null(),
    }
}

fn address(known: &Value) -> Address {
    let text = |name: &str| known[name].as_str().unwrap_or_default();
    let (channel, contact) = (text("channel"), text("contact"));
    let reason = known["suppressedFor"].as_str();
    let status = match reason {
        None => ("good", "s-delivered", "Not suppressed"),
        Some(_) => ("bad", "s-suppressed", "Suppressed"),
    };
    let source = match text("source") {
        "preferences" => "Preferred.",
        "events" => "From your other systems.",
        _ => "From messages to this person.",
    };
    Address {
        icon: show::icon(words::channel_icon(channel)),
        channel: words::channel(channel),
        contact: contact.to_owned(),
        status: StatusWord { tone: status.0, icon: status.1, word: status.2.to_owned() },
        is_suppressed: reason.is_some(),
        note: match reason {
            Some(reason) => format!("{} {}.", source, words::suppression_reason(reason)),
            None => source.to_owned(),
        },
        lookup: format!("/suppressions{}", Fields::default().with(&[("channel", channel), ("contact", contact)])),
    }
}

fn facts(person: &Value) -> Vec<(&'static str, String)> {
    let text = |name: &str| person[name].as_str().unwrap_or_default();
    let roles: Vec<&str> = person["roles"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let language = Some(text("locale")).filter(|tag| !tag.is_empty()).map(words::locale).unwrap_or_default();
    let all = [("Language", language), ("Time zone", text("timeZone").to_owned()), ("Roles", roles.join(", "))];
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}
