//! The suppression list, as people keep it: shown, added to, taken from, brought in and out as CSV.

use application::hash::contact_hash;
use application::problem::{Kind, Problem};
use application::suppression::{Entry, List};
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::address;
use domain::ports::{AddressKey, Principal};
use events::Channel;
use serde_json::{Value, json};

use crate::fields::{Fields, missing, show_time};
use crate::read::Query;
use crate::{Api, Shared, json, read_body};

const PAGE: usize = 100;
/// Rows of one import, at most.
const MAX_ROWS: usize = 1_000;
/// Rows of one export, at most.
const MAX_EXPORT: usize = 10_000;
/// Why, where nobody says.
const BY_HAND: &str = "manual";

impl Api {
    fn list(&self) -> List<'_> {
        List { store: &*self.store, documents: &*self.tenant_ports.documents }
    }

    pub(crate) fn contact(&self, caller: &Principal, channel: Channel, address: &str) -> AddressKey {
        let contact_hash = contact_hash(&self.contact_key, &caller.tenant, address);
        AddressKey { tenant: caller.tenant.clone(), channel, contact_hash }
    }

    async fn suppress(
        &self,
        caller: &Principal,
        channel: Channel,
        address: String,
        reason: String,
    ) -> Result<Entry, Problem> {
        let contact = self.contact(caller, channel, &address);
        let by = caller.actor_id();
        let entry = Entry { channel, contact: Some(address), reason, at: self.host.now(), by, communication: None };
        self.list().add(&contact, &entry).await?;
        Ok(entry)
    }

    /// An erased person's address, where the list shows it.
    pub(crate) async fn forget_address(&self, contact: &AddressKey) -> Result<(), Problem> {
        Ok(self.list().forget_address(contact, self.host.now()).await?)
    }
}

fn show(entry: &Entry) -> Value {
    json!({
        "channel": entry.channel,
        "contact": entry.contact,
        "reason": entry.reason,
        "createdAt": show_time(entry.at),
        "createdBy": entry.by,
        "communicationId": entry.communication,
    })
}

/// A reason is a word of the caller's.
fn is_reason(text: &str) -> bool {
    !text.is_empty() && text.len() <= 100 && !text.chars().any(char::is_control)
}

pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::parse(query)?;
    let channel = query.choice("channel", &Channel::names());
    let before = query.text("cursor");
    query.finish()?;
    let page = api.list().page(&caller.tenant, before.as_deref(), PAGE, api.host.now()).await?;
    let next = page.last().filter(|_| page.len() == PAGE).map(|(name, _)| name.clone());
    let is_asked = |entry: &Entry| channel.as_deref().is_none_or(|channel| channel == entry.channel.as_str());
    let shown: Vec<Value> = page.iter().filter(|(_, entry)| is_asked(entry)).map(|(_, entry)| show(entry)).collect();
    Ok(json(StatusCode::OK, &json!({ "suppressions": shown, "nextCursor": next })))
}

pub(crate) async fn add(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = Fields::parse(&read_body(body).await?)?;
    let channel: Option<Channel> = fields.required("channel", |f| f.choice("channel", &Channel::names()));
    let given = fields.required("contact", |f| f.text("contact", 320));
    let reason = fields.reference("reason", 100).unwrap_or_else(|| BY_HAND.to_owned());
    let address = channel.zip(given).and_then(|(channel, given)| match address::normalise(channel, &given, None) {
        Ok(address) => Some(address),
        Err(error) => {
            fields.wrong("contact", "not_an_address", format!("contact {error}."));
            None
        }
    });
    fields.finish()?;
    let (Some(channel), Some(address)) = (channel, address) else {
        return Err(missing());
    };
    let hash = api.contact(&caller, channel, &address).contact_hash;
    let data = json!({ "channel": channel, "contactHash": hash, "reason": reason });
    api.note(&caller, "suppressions", "SuppressionAdded", data).await?;
    Ok(json(StatusCode::CREATED, &show(&api.suppress(&caller, channel, address, reason).await?)))
}

/// It may be written to again.
pub(crate) async fn remove(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    query: RawQuery,
) -> Result<StatusCode, Problem> {
    let mut query = Query::parse(query)?;
    let (channel, given) = (query.choice("channel", &Channel::names()), query.text("contact"));
    query.finish()?;
    let missing = || Problem::new(Kind::Malformed, "Say which: ?channel=email&contact=ada@example.com.");
    let channel: Channel = channel.and_then(|channel| channel.parse().ok()).ok_or_else(missing)?;
    let given = given.ok_or_else(missing)?;
    let address = address::normalise(channel, &given, None);
    let address = address.map_err(|error| Problem::new(Kind::Malformed, format!("contact {error}.")))?;
    let contact = api.contact(&caller, channel, &address);
    if api.store.suppression(&contact).await?.is_none() {
        return Err(Problem::new(Kind::NotFound, "This address is not on the list."));
    }
    let data = json!({ "channel": channel, "contactHash": contact.contact_hash });
    api.note(&caller, "suppressions", "SuppressionRemoved", data).await?;
    api.list().remove(&contact).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `channel,contact,reason` with a header line. Rows that are wrong are told, and do not hold up the others.
pub(crate) async fn import(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    body: Body,
) -> Result<Response, Problem> {
    let body = read_body(body).await?;
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(&*body);
    let malformed = |error: csv::Error| Problem::new(Kind::Malformed, format!("Not CSV: {error}."));
    let names = reader.headers().map_err(malformed)?.clone();
    let column = |name: &str| names.iter().position(|known| known.eq_ignore_ascii_case(name));
    let (Some(of_channel), Some(of_contact)) = (column("channel"), column("contact")) else {
        return Err(Problem::new(Kind::Malformed, "The first line names the columns: channel, contact and reason."));
    };
    let of_reason = column("reason");
    api.note(&caller, "suppressions", "SuppressionsImported", json!({ "bytes": body.len() })).await?;
    let (mut added, mut refused) = (0, Vec::new());
    for (place, row) in reader.records().enumerate() {
        let line = place + 2;
        if MAX_ROWS <= place {
            return Err(Problem::new(Kind::TooLarge, format!("{MAX_ROWS} rows at once; {added} are added.")));
        }
        let row = row.map_err(malformed)?;
        let cell = |column: usize| row.get(column).unwrap_or_default();
        let reason = of_reason.map(cell).filter(|reason| is_reason(reason)).unwrap_or(BY_HAND).to_owned();
        let channel = cell(of_channel).parse::<Channel>().map_err(|()| "is no channel".to_owned());
        let address = channel.and_then(|channel| {
            let address = address::normalise(channel, cell(of_contact), None);
            address.map(|address| (channel, address)).map_err(|error| error.to_string())
        });
        match address {
            Ok((channel, address)) => {
                api.suppress(&caller, channel, address, reason).await?;
                added += 1;
            }
            Err(detail) => refused.push(json!({ "line": line, "detail": detail })),
        }
    }
    Ok(json(StatusCode::OK, &json!({ "added": added, "refused": refused })))
}

/// The same columns, and when and by whom.
pub(crate) async fn export(State(api): Shared, Extension(caller): Extension<Principal>) -> Result<Response, Problem> {
    api.note(&caller, "suppressions", "SuppressionsExported", json!({})).await?;
    let mut writer = csv::Writer::from_writer(Vec::new());
    let broken = |error: csv::Error| Problem::new(Kind::Internal, error.to_string());
    writer.write_record(["channel", "contact", "reason", "createdAt", "createdBy"]).map_err(broken)?;
    let (mut before, mut rows) = (None::<String>, 0);
    loop {
        let page = api.list().page(&caller.tenant, before.as_deref(), PAGE, api.host.now()).await?;
        before = page.last().map(|(name, _)| name.clone());
        for (_, entry) in page.iter().filter(|(_, entry)| entry.contact.is_some()) {
            let contact = entry.contact.as_deref().unwrap_or_default();
            let at = show_time(entry.at);
            writer.write_record([entry.channel.as_str(), contact, &entry.reason, &at, &entry.by]).map_err(broken)?;
            rows += 1;
        }
        if page.len() < PAGE || MAX_EXPORT <= rows {
            break;
        }
    }
    let bytes = writer.into_inner().map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"suppressions.csv\""),
    ];
    Ok((StatusCode::OK, headers, bytes).into_response())
}
