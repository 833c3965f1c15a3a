//! Templates: which texts do we have, on which channels and in which languages?

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::RawQuery;
use axum::http::Method;
use axum::response::Response;
use serde_json::Value;

use crate::api_client::segment;
use crate::form::Fields;
use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show::{self, Icon};
use crate::time::{Clock, Time};
use crate::words::{self, CHANNELS, TYPES};

/// The filters, as the address and the API name them.
const FILTERS: [&str; 5] = ["channel", "type", "locale", "code", "isActive"];

#[derive(Template)]
#[template(path = "templates.html")]
struct TemplatesPage {
    shell: Shell,
    heading: String,
    done: &'static str,
    rows: Vec<CodeRow>,
    filters: Fields,
    is_filtered: bool,
}

impl Page for TemplatesPage {}

/// The templates of one code.
struct CodeRow {
    code: String,
    name: String,
    kind: String,
    chips: Vec<Chip>,
    is_own: bool,
    edited: Option<Time>,
    editor: String,
    /// The first of them, which its name leads to.
    first: String,
}

/// One template of a code.
struct Chip {
    id: String,
    icon: Icon,
    /// For readers who do not see the icon.
    channel: &'static str,
    label: String,
    note: &'static str,
}

pub async fn list(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let filters = Fields::of_query(query.as_deref());
    let parameters = FILTERS.iter().map(|name| (*name, filters.get(name)));
    let call = visit.api.call(Method::GET, "/api/communication-templates").query(parameters);
    let found = call.send().await?.body;
    let all = found["templates"].as_array().map_or(&[][..], Vec::as_slice);
    let rows = rows(all, &visit.clock());
    let drafts = all.iter().filter(|template| !template["draft"].is_null()).count();
    let mut heading = match rows.len() {
        1 => "1 template".to_owned(),
        count => format!("{count} templates"),
    };
    match drafts {
        0 => (),
        1 => heading.push_str(", 1 with a draft"),
        drafts => heading.push_str(&format!(", {drafts} with a draft")),
    }
    let page = TemplatesPage {
        shell: visit.shell("Templates", "templates"),
        heading,
        done: if filters.is("done", "deleted") { "Template deleted." } else { "" },
        rows,
        is_filtered: FILTERS.iter().any(|name| filters.has(name)),
        filters,
    };
    Ok(page.respond())
}

fn rows(all: &[Value], clock: &Clock) -> Vec<CodeRow> {
    let text = |template: &Value, name: &str| template[name].as_str().unwrap_or_default().to_owned();
    let mut codes: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for template in all {
        codes.entry(text(template, "code")).or_default().push(template);
    }
    let row = |(code, mut templates): (String, Vec<&Value>)| {
        // The tenant's own ones first: they are used instead of the system's.
        templates
            .sort_by_key(|template| (template["isSystem"] == true, channel_place(template), text(template, "locale")));
        let newest = templates.iter().max_by_key(|template| text(template, "updatedAt"))?;
        let first = templates.first()?;
        Some(CodeRow {
            name: name_of(first),
            kind: words::kind(&text(first, "type")),
            is_own: first["isSystem"] == false,
            edited: newest["updatedAt"].as_str().and_then(|at| clock.short(at)),
            editor: newest["updatedBy"].as_str().map(words::actor).unwrap_or_default(),
            first: text(first, "id"),
            chips: templates.iter().map(|template| chip(template)).collect(),
            code,
        })
    };
    codes.into_iter().filter_map(row).collect()
}

fn channel_place(template: &Value) -> usize {
    CHANNELS.iter().position(|(id, _)| template["channel"] == *id).unwrap_or(CHANNELS.len())
}

/// The name of a template without its channel: `Invoice Email` is Invoice.
fn name_of(template: &Value) -> String {
    let name = template["name"].as_str().unwrap_or_default();
    if template["isSystem"] != true {
        return name.to_owned();
    }
    words::sentence_case(template["code"].as_str().unwrap_or(name))
}

fn chip(template: &Value) -> Chip {
    let text = |name: &str| template[name].as_str().unwrap_or_default();
    let locale = if text("locale") == "default" { "all" } else { text("locale") };
    Chip {
        id: segment(text("id")),
        icon: show::icon(words::channel_icon(text("channel"))),
        channel: words::channel(text("channel")),
        label: match template["isSystem"] == true {
            true => locale.to_owned(),
            false => format!("{locale} v{}", template["version"].as_u64().unwrap_or(0)),
        },
        note: match (&template["isActive"], &template["draft"]) {
            (Value::Bool(false), _) => "archived",
            (_, Value::Null) => "",
            _ => "draft",
        },
    }
}

#[cfg(test)]
mod tests {
    use events::Timestamp;
    use jiff::tz::TimeZone;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_code_is_one_row_with_the_tenants_own_first() {
        let template = |id: &str, code: &str, channel: &str, is_system: bool| {
            json!({
                "id": id, "code": code, "name": "Our invoice", "channel": channel, "locale": "en", "type": "invoice",
                "version": 2, "isSystem": is_system, "isActive": true, "draft": null,
            })
        };
        let all = [
            template("tpl_invoice_email", "invoice", "email", true),
            template("tpl_invoice.sms.en", "invoice", "sms", false),
            template("tpl_general", "general", "", true),
        ];
        let rows = rows(&all, &Clock { now: Timestamp(0), zone: TimeZone::UTC });
        let shown: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.first.as_str(), row.chips.len())).collect();
        assert_eq!(shown, [("General", "tpl_general", 1), ("Our invoice", "tpl_invoice.sms.en", 2)]);
        assert_eq!((rows[1].chips[0].label.as_str(), rows[1].chips[1].label.as_str()), ("en v2", "en"));
    }
}
