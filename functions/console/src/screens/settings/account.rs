//! One account at a provider: are its credentials valid, and what does it send with?

use askama::Template;
use axum::extract::RawQuery;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::future::try_join;
use serde_json::{Map, Value, json};

use super::providers;
use crate::api_client::segment;
use crate::faults::FormFaults;
use crate::form::{Fields, Form};
use crate::path::Path;
use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show::{self, ChannelName};
use crate::time::Time;
use crate::words::{self, StatusWord};

/// The beginning of the names of fields for settings.
const SETTING: &str = "s.";
/// Settings that accounts of every provider have.
const COMMON: [(&str, &str); 3] = [
    ("defaultRegion", "Country of numbers without a country code, such as NL"),
    ("allowedCountries", "Further countries that may be sent to, such as NL,BE, or * for all"),
    ("prices", "What messages cost, as JSON, where the provider does not say"),
];

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    shell: Shell,
    heading: String,
    lede: String,
    done: &'static str,
    provider: String,
    provider_id: String,
    faults: FormFaults,
    name: String,
    burst: String,
    per_second: String,
    settings: Vec<SettingField>,
    common: Vec<SettingField>,
    channels: Vec<ChannelChoice>,
    /// What is known of an account that was saved before.
    saved: Option<Saved>,
    test_to: String,
    test_text: String,
}

impl Page for AccountPage {}

struct SettingField {
    id: String,
    name: String,
    about: String,
    value: String,
    is_secret: bool,
    is_required: bool,
    /// Whether a secret is saved, which is never shown.
    is_saved: bool,
}

struct ChannelChoice {
    id: String,
    word: &'static str,
    is_chosen: bool,
}

struct Saved {
    id: String,
    channel: ChannelName,
    status: StatusWord,
    callback: String,
    signed: String,
    version: u64,
    by: String,
    at: Option<Time>,
    tells_balance: bool,
    /// The result of a check that was just made.
    check: Option<Check>,
}

struct Check {
    tone: &'static str,
    icon: &'static str,
    text: String,
}

fn check(tone: &'static str, text: String) -> Check {
    Check { tone, icon: if tone == "good" { "check" } else { "warn" }, text }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

async fn kind_of(visit: &Visit, provider: &str) -> Result<Value, Refusal> {
    let kinds = visit.api.get("/api/channels/kinds").await?;
    let mut kinds = kinds["providers"].as_array().into_iter().flatten();
    let kind = kinds.find(|kind| kind["provider"] == provider).cloned();
    kind.ok_or_else(|| Refusal::not_found("No provider has this name."))
}

/// The fields of a kind of provider, filled from the account or from what was typed.
fn fields(kind: &Value, config: &Value, given: Option<&Fields>) -> (Vec<SettingField>, Vec<SettingField>) {
    let value = |name: &str, is_secret: bool| match given {
        Some(given) if !is_secret => given.raw(&format!("{SETTING}{name}")).to_owned(),
        _ => text_of(&config["settings"][name]),
    };
    let is_saved = |name: &str| config["credentials"].as_array().is_some_and(|saved| saved.iter().any(|s| s == name));
    let own = kind["settings"].as_array().into_iter().flatten().map(|setting| {
        let (name, is_secret) = (text_of(&setting["name"]), setting["secret"] == true);
        SettingField {
            id: format!("f-settings-{name}"),
            about: text_of(&setting["about"]),
            value: value(&name, is_secret),
            is_secret,
            is_required: setting["required"] == true,
            is_saved: is_saved(&name),
            name,
        }
    });
    let own: Vec<SettingField> = own.collect();
    let common = COMMON.iter().filter(|(name, _)| !own.iter().any(|field| field.name == *name));
    let common = common.map(|(name, about)| SettingField {
        id: format!("f-settings-{name}"),
        name: (*name).to_owned(),
        about: (*about).to_owned(),
        value: value(name, false),
        is_secret: false,
        is_required: false,
        is_saved: false,
    });
    let common = common.collect();
    (own, common)
}

impl AccountPage {
    fn new(visit: &Visit, kind: &Value, config: &Value, given: Option<&Fields>) -> AccountPage {
        let (settings, common) = fields(kind, config, given);
        let typed = |field: &str, saved: String| given.map_or(saved, |given| given.get(field).to_owned());
        let rate = |name: &str| config["rate"][name].as_u64().map_or(String::new(), |rate| rate.to_string());
        let provider = text_of(&kind["title"]);
        let channels = kind["channels"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let chosen = typed("channel", String::new());
        let channel = |id: &str| ChannelChoice { id: id.to_owned(), word: words::channel(id), is_chosen: id == chosen };
        AccountPage {
            shell: visit.shell(&format!("New account at {provider}"), "providers"),
            heading: format!("New account at {provider}"),
            lede: "It is used for new messages as soon as it is added. Nothing is sent now.".to_owned(),
            done: "",
            faults: FormFaults::default(),
            name: typed("name", text_of(&config["name"])),
            burst: typed("burst", rate("burst")),
            per_second: typed("perSecond", rate("perSecond")),
            settings,
            common,
            channels: channels.map(channel).collect(),
            saved: None,
            provider_id: text_of(&kind["provider"]),
            provider,
            test_to: String::new(),
            test_text: String::new(),
        }
    }

    fn with_faults(mut self, faults: FormFaults) -> AccountPage {
        if !faults.is_empty() {
            self.shell.title = format!("Error: {}", self.shell.title);
        }
        self.faults = faults;
        self
    }

    fn of_saved(visit: &Visit, kind: &Value, config: &Value, given: Option<&Fields>) -> AccountPage {
        let mut page = AccountPage::new(visit, kind, config, given);
        let name = text_of(&config["name"]);
        page.shell = visit.shell(&name, "providers");
        let is_enabled = config["enabled"] == true;
        page.heading = match (is_enabled, config["state"].as_str()) {
            (false, _) => format!("{name} is disabled"),
            (true, Some("closed")) => format!("{name} is in use"),
            (true, _) => format!("{name} is paused"),
        };
        page.lede = format!("An account at {} for {}.", page.provider, words::channel(&text_of(&config["channel"])));
        page.saved = Some(Saved {
            id: segment(&text_of(&config["id"])),
            channel: ChannelName(text_of(&config["channel"])),
            status: words::provider_state(is_enabled, config["state"].as_str().unwrap_or_default()),
            callback: text_of(&config["webhookUrl"]),
            signed: text_of(&config["callbacksSigned"]),
            version: config["credentialsVersion"].as_u64().unwrap_or(0),
            by: words::actor(config["updatedBy"].as_str().unwrap_or_default()),
            at: visit.clock().short(config["updatedAt"].as_str().unwrap_or_default()),
            tells_balance: config["capabilities"]["balance"] == true,
            check: None,
        });
        page
    }
}

/// The form of a new account at a provider.
pub async fn show_new(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Fields::of_query(query.as_deref());
    if !query.has("provider") {
        return Ok(Redirect::to("/settings/providers#aa").into_response());
    }
    let kind = kind_of(&visit, query.get("provider")).await?;
    Ok(AccountPage::new(&visit, &kind, &Value::Null, None).respond())
}

/// What a form changes, as the API takes it. `config` is the account before.
fn body_of(form: &Fields, kind: &Value, config: &Value) -> Map<String, Value> {
    let is_secret = |name: &str| {
        kind["settings"].as_array().into_iter().flatten().any(|s| s["name"] == name && s["secret"] == true)
    };
    // An empty field removes a setting, but a secret that was not typed stays.
    let given = form.under(SETTING).filter(|(name, value)| {
        let was = config["settings"][*name].as_str().unwrap_or_default();
        if is_secret(name) { !value.is_empty() } else { value.trim() != was }
    });
    let setting = |name: &str, value: &str| if is_secret(name) { json!(value) } else { json!(value.trim()) };
    let settings: Map<String, Value> = given.map(|(name, value)| (name.to_owned(), setting(name, value))).collect();
    let mut body = Map::new();
    body.insert("settings".to_owned(), Value::Object(settings));
    if form.has("name") {
        body.insert("name".to_owned(), json!(form.get("name")));
    }
    if form.has("channel") {
        body.insert("channel".to_owned(), json!(form.get("channel")));
    }
    if form.has("burst") || form.has("perSecond") {
        let number = |name: &str| form.get(name).parse::<u64>().map_or_else(|_| json!(form.get(name)), Value::from);
        body.insert("rate".to_owned(), json!({ "burst": number("burst"), "perSecond": number("perSecond") }));
    }
    body
}

/// Adds an account.
pub async fn create(visit: Visit, Form(form): Form) -> Result<Response, Refusal> {
    let kind = kind_of(&visit, form.get("provider")).await?;
    let mut body = body_of(&form, &kind, &Value::Null);
    body.insert("provider".to_owned(), kind["provider"].clone());
    match visit.api.post("/api/channels", Value::Object(body)).await {
        Ok(added) => {
            let id = segment(added["id"].as_str().unwrap_or_default());
            Ok(Redirect::to(&format!("/settings/providers/{id}?done=added")).into_response())
        }
        Err(refusal) if refusal.status.is_client_error() => {
            let page = AccountPage::new(&visit, &kind, &Value::Null, Some(&form));
            let page = page.with_faults(FormFaults::of(&refusal, "f-name"));
            Ok(page.respond_with(StatusCode::UNPROCESSABLE_ENTITY))
        }
        Err(refusal) => Err(refusal),
    }
}

fn path_of(id: &str) -> String {
    format!("/api/channels/{}", segment(id))
}

async fn load(visit: &Visit, id: &str) -> Result<(Value, Value), Refusal> {
    let config = visit.api.get(path_of(id)).await?;
    let kind = kind_of(visit, config["provider"].as_str().unwrap_or_default()).await?;
    Ok((kind, config))
}

/// One account. `check` in the address asks the provider.
pub async fn show(visit: Visit, Path(id): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Fields::of_query(query.as_deref());
    let ((kind, config), found) = try_join(load(&visit, &id), ask(&visit, &id, query.get("check"))).await?;
    let mut page = AccountPage::of_saved(&visit, &kind, &config, None);
    page.done = match query.get("done") {
        "added" => "Account added. Enter the callback URL at the provider, so that deliveries are reported.",
        "saved" => "Saved. Workers notice within 15 seconds.",
        _ => "",
    };
    if let Some(saved) = &mut page.saved {
        saved.check = found;
    }
    Ok(page.respond())
}

/// Asks the provider about the account.
async fn ask(visit: &Visit, id: &str, about: &str) -> Result<Option<Check>, Refusal> {
    let found = match about {
        "credentials" => {
            let health = visit.api.get(format!("{}/health", path_of(id))).await?;
            let code = health["code"].as_str().map_or(String::new(), |code| format!(" ({code})"));
            match health["credentials"].as_str().unwrap_or_default() {
                "valid" => check("good", "The provider accepts these credentials.".to_owned()),
                "invalid" => check("bad", format!("The provider rejected these credentials{code}.")),
                "not_checkable" => check("wait", "This provider has no way to check credentials.".to_owned()),
                _ => check("warn", format!("The provider did not answer{code}, so it is not known.")),
            }
        }
        "balance" => match visit.api.get(format!("{}/balance?refresh=true", path_of(id))).await {
            Ok(found) => {
                let balance = format!("{} {}", text_of(&found["balance"]), text_of(&found["unit"]));
                check("good", format!("{balance} left, reported by the provider just now."))
            }
            Err(refusal) if [StatusCode::CONFLICT, StatusCode::SERVICE_UNAVAILABLE].contains(&refusal.status) => {
                check("warn", refusal.detail().to_owned())
            }
            Err(refusal) => return Err(refusal),
        },
        _ => return Ok(None),
    };
    Ok(Some(found))
}

/// Saves the settings of an account.
pub async fn submit(visit: Visit, Path(id): Path<String>, Form(form): Form) -> Result<Response, Refusal> {
    let (kind, config) = load(&visit, &id).await?;
    let body = body_of(&form, &kind, &config);
    match visit.api.call(Method::PATCH, path_of(&id)).json(Value::Object(body)).send().await {
        Ok(_) => Ok(Redirect::to(&format!("/settings/providers/{}?done=saved", segment(&id))).into_response()),
        Err(refusal) if refusal.status.is_client_error() => {
            let page = AccountPage::of_saved(&visit, &kind, &config, Some(&form));
            let page = page.with_faults(FormFaults::of(&refusal, "f-name"));
            Ok(page.respond_with(StatusCode::UNPROCESSABLE_ENTITY))
        }
        Err(refusal) => Err(refusal),
    }
}

/// Sends a test message through this account alone.
pub async fn test(visit: Visit, Path(id): Path<String>, Form(form): Form) -> Result<Response, Refusal> {
    let mut body = json!({ "to": form.get("to") });
    if form.has("text") {
        body["text"] = json!(form.raw("text"));
    }
    match visit.api.post(format!("{}/test", path_of(&id)), body).await {
        Ok(sent) => {
            let message = segment(sent["id"].as_str().unwrap_or_default());
            Ok(Redirect::to(&format!("/messages/{message}")).into_response())
        }
        Err(refusal) if refusal.status.is_client_error() => {
            let (kind, config) = load(&visit, &id).await?;
            let page = AccountPage::of_saved(&visit, &kind, &config, None);
            let mut page = page.with_faults(FormFaults::of(&refusal, "f-to"));
            page.test_to = form.get("to").to_owned();
            page.test_text = form.raw("text").to_owned();
            Ok(page.respond_with(StatusCode::UNPROCESSABLE_ENTITY))
        }
        Err(refusal) => Err(refusal),
    }
}

pub async fn delete(visit: Visit, Path(id): Path<String>, Form(_): Form) -> Result<Response, Refusal> {
    visit.api.call(Method::DELETE, path_of(&id)).send().await?;
    Ok(providers::back("deleted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_was_not_typed_stays_and_an_empty_setting_is_removed() {
        let kind = json!({ "settings": [
            { "name": "authToken", "secret": true }, { "name": "from", "secret": false }, { "name": "region", "secret": false },
        ]});
        let config = json!({ "settings": { "from": "+44", "region": "eu" } });
        let form = Fields::of_query(Some("s.authToken=&s.from=&s.region=eu&name=Main&burst=x&perSecond=5"));
        let expected = json!({ "settings": { "from": "" }, "name": "Main", "rate": { "burst": "x", "perSecond": 5 } });
        assert_eq!(Value::Object(body_of(&form, &kind, &config)), expected);
    }
}
