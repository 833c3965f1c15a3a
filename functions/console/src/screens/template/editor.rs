//! The editor's page, made from the template, its draft, its versions and its sample data.

use askama::Template;
use futures_util::future::try_join4;
use serde_json::{Value, json};

use super::check::{Check, Checked, Content, examine};
use super::diff::{Line, diff};
use super::paths::{page_of, path_of};
use crate::api_client::segment;
use crate::form::Fields;
use crate::refusal::{FieldFault, Refusal};
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show::{self, Icon};
use crate::time::Time;
use crate::words::{self, CHANNELS, TYPES};

/// The most lines whose numbers are shown.
const MAX_LINES: usize = 2_000;

#[derive(Template)]
#[template(path = "template.html")]
pub struct EditorPage {
    shell: Shell,
    id: String,
    name: String,
    description: String,
    code: String,
    kind: String,
    lede: String,
    is_own: bool,
    is_active: bool,
    is_email: bool,
    content: Content,
    lines: Vec<(usize, bool)>,
    base: u64,
    draft: u64,
    saved: String,
    next: u64,
    faults: Vec<Fault>,
    /// Whether the page answers a request that was refused.
    is_refused: bool,
    fault_heading: &'static str,
    channels: Vec<Choice>,
    locales: Vec<Choice>,
    variables: Vec<String>,
    changes: Vec<Line>,
    theirs: Option<Theirs>,
    versions: Vec<VersionRow>,
    samples: Vec<(String, bool)>,
    sample: String,
    sample_text: String,
    preview: Checked,
    note: Option<Note>,
    test_to: String,
    form_key: String,
    /// A newer version than the one that the draft was written from.
    newer: Option<u64>,
}

impl Page for EditorPage {}

/// What happened.
pub struct Note {
    pub text: &'static str,
    pub link: Option<String>,
}

impl Note {
    pub fn good(text: &'static str) -> Note {
        Note { text, link: None }
    }
}

struct Fault {
    field: &'static str,
    detail: String,
}

/// A channel or a language of the same code.
struct Choice {
    icon: Option<Icon>,
    label: String,
    href: String,
    is_current: bool,
}

/// The draft that somebody else saved meanwhile.
struct Theirs {
    by: String,
    at: Option<Time>,
    text: String,
    changes: Vec<Line>,
}

struct VersionRow {
    number: u64,
    author: String,
    at: Option<Time>,
    is_latest: bool,
}

/// What is in the editor.
#[derive(Default)]
pub struct Edited {
    pub content: Content,
    /// The number of the draft that it was begun from, or 0.
    pub draft: String,
    /// The version that it was begun from.
    pub base: String,
    pub sample: String,
    pub test_to: String,
}

impl Edited {
    pub fn of_form(form: &Fields) -> Edited {
        let number = |name: &str| form.get(name).parse::<u32>().unwrap_or(0).to_string();
        Edited {
            content: Content { subject: form.get("subjectTemplate").to_owned(), body: form.text("bodyTemplate") },
            draft: number("draft"),
            base: number("base"),
            sample: form.get("sample").to_owned(),
            test_to: form.get("testTo").to_owned(),
        }
    }

    /// The draft, or the version in use.
    pub fn stored(loaded: &Loaded) -> Edited {
        let source = loaded.draft.as_ref().unwrap_or(&loaded.template);
        let base = loaded.draft.as_ref().map_or(&loaded.template["version"], |draft| &draft["baseVersion"]);
        Edited {
            content: Content::of(source),
            draft: loaded.draft_number().to_string(),
            base: base.as_u64().unwrap_or(1).to_string(),
            ..Edited::default()
        }
    }
}

/// A template with everything that its page shows.
pub struct Loaded {
    id: String,
    pub template: Value,
    draft: Option<Value>,
    versions: Value,
    pub samples: Vec<Value>,
    siblings: Vec<Value>,
}

pub async fn load(visit: &Visit, id: &str) -> Result<Loaded, Refusal> {
    let path = path_of(id);
    let template = visit.api.get(path.as_str()).await?;
    let code = segment(template["code"].as_str().unwrap_or_default());
    let draft = async {
        match template["draft"].is_null() {
            true => Ok(Value::Null),
            false => visit.api.get(format!("{path}/draft")).await,
        }
    };
    let (draft, versions, samples, siblings) = try_join4(
        draft,
        visit.api.get(format!("{path}/versions")),
        visit.api.get(format!("{path}/samples")),
        visit.api.get(format!("/api/communication-templates?code={code}")),
    )
    .await?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    Ok(Loaded {
        id: id.to_owned(),
        draft: (!draft.is_null()).then_some(draft),
        versions: versions["versions"].clone(),
        samples: list(&samples["samples"]),
        siblings: list(&siblings["templates"]),
        template,
    })
}

impl Loaded {
    fn draft_number(&self) -> u64 {
        self.draft.as_ref().and_then(|draft| draft["number"].as_u64()).unwrap_or(0)
    }

    /// The variables of a sample, or of the first one.
    pub fn sample(&self, name: &str) -> Option<&Value> {
        let named = self.samples.iter().find(|sample| sample["name"] == name);
        named.or(self.samples.first()).map(|sample| &sample["variables"])
    }

    /// Whether a sample comes with Tidings.
    pub fn is_example(&self, sample: &Value) -> bool {
        sample["name"] == "Example" && self.samples.len() == 1
    }

    /// The variables that callers are known to give: those of the version in use, and of the sample data.
    fn known(&self) -> Vec<String> {
        let declared = self.template["availableVariables"].as_array().into_iter().flatten();
        let mut known: Vec<String> = declared.filter_map(Value::as_str).map(str::to_owned).collect();
        let sampled = self.samples.iter().filter_map(|sample| sample["variables"].as_object());
        for name in sampled.flat_map(|variables| variables.keys()) {
            if !known.contains(name) {
                known.push(name.clone());
            }
        }
        known
    }

    pub async fn examine(&self, visit: &Visit, edited: &Edited) -> Result<Checked, Refusal> {
        examine(visit, &self.template, &edited.content, self.sample(&edited.sample), &self.known()).await
    }

    /// The page after somebody else saved a draft: both are shown, and saving again replaces theirs.
    pub async fn stale_page(self, visit: &Visit, edited: Edited) -> Result<EditorPage, Refusal> {
        let other = self.draft.clone().unwrap_or_else(|| self.template.clone());
        let theirs = Content::of(&other).whole();
        let by = other["savedBy"].as_str().or(other["updatedBy"].as_str()).unwrap_or_default();
        let at = other["savedAt"].as_str().or(other["updatedAt"].as_str()).unwrap_or_default();
        let theirs = Theirs {
            by: words::actor(by),
            at: visit.clock().short(at),
            changes: diff(&theirs, &edited.content.whole()),
            text: theirs,
        };
        let edited = Edited { draft: self.draft_number().to_string(), ..edited };
        let mut page = self.page(visit, edited, None, Vec::new()).await?;
        page.theirs = Some(theirs);
        page.shell.title = format!("Error: {}", page.shell.title);
        Ok(page)
    }

    pub async fn page(
        self,
        visit: &Visit,
        edited: Edited,
        note: Option<Note>,
        faults: Vec<FieldFault>,
    ) -> Result<EditorPage, Refusal> {
        let clock = visit.clock();
        let template = &self.template;
        let text = |name: &str| template[name].as_str().unwrap_or_default().to_owned();
        let is_own = template["isSystem"] != true;
        let preview = self.examine(visit, &edited).await?;
        let version = template["version"].as_u64().unwrap_or(1);
        let is_refused = !faults.is_empty();
        let has_changes = edited.content.whole() != Content::of(template).whole();
        let stops = preview.faults.iter().filter(|_| is_own && has_changes);
        let faults: Vec<Fault> =
            if is_refused { faults.iter().map(fault).collect() } else { stops.map(fault).collect() };
        let base = edited.base.parse::<u64>().unwrap_or(version);
        let saved = self.draft.as_ref().map_or(String::new(), |draft| {
            let at = draft["savedAt"].as_str().and_then(|at| clock.short(at)).map_or(String::new(), |at| at.text);
            format!("Draft by {}, saved {at}", words::actor(draft["savedBy"].as_str().unwrap_or_default()))
        });
        let mut shell = visit.shell(&text("name"), "templates");
        if is_refused {
            shell.title = format!("Error: {}", shell.title);
        }
        let sample = self.samples.iter().find(|sample| sample["name"] == edited.sample.as_str());
        let sample = sample.or(self.samples.first());
        let sample_name = sample.map_or("", |sample| sample["name"].as_str().unwrap_or_default()).to_owned();
        let sample_text = match sample {
            Some(sample) => serde_json::to_string_pretty(&sample["variables"]).unwrap_or_default(),
            None => {
                let names = preview.variables.iter().map(|name| (name.clone(), json!("")));
                serde_json::to_string_pretty(&Value::Object(names.collect())).unwrap_or_default()
            }
        };
        let count = edited.content.body.lines().count().clamp(4, MAX_LINES) + 2;
        let changes = match is_own {
            true => diff(&Content::of(template).whole(), &edited.content.whole()),
            false => Vec::new(),
        };
        Ok(EditorPage {
            shell,
            name: text("name"),
            description: text("description"),
            code: text("code"),
            kind: text("type"),
            lede: self.lede(version, &faults, is_own, has_changes),
            is_own,
            is_active: template["isActive"] != false,
            is_email: template["channel"] == "email",
            lines: (1..=count).map(|line| (line, preview.bad_lines.contains(&line))).collect(),
            base: version,
            draft: edited.draft.parse().unwrap_or(0),
            saved,
            next: version + 1,
            faults,
            is_refused,
            fault_heading: if is_refused { "This cannot be done yet" } else { "This draft cannot be published yet" },
            channels: self.channels(),
            locales: self.locales(),
            variables: self.known(),
            changes,
            theirs: None,
            versions: self.version_rows(visit),
            samples: self
                .samples
                .iter()
                .map(|one| (one["name"].as_str().unwrap_or_default().to_owned(), one["name"] == sample_name.as_str()))
                .collect(),
            sample: sample_name,
            sample_text,
            preview,
            note,
            test_to: edited.test_to,
            form_key: visit.form_key.clone(),
            newer: (is_own && self.draft.is_some() && base < version).then_some(version),
            content: edited.content,
            id: segment(&self.id),
        })
    }

    fn lede(&self, version: u64, faults: &[Fault], is_own: bool, has_changes: bool) -> String {
        let template = &self.template;
        let channel = words::channel(template["channel"].as_str().unwrap_or_default());
        let locale = words::locale(template["locale"].as_str().unwrap_or_default());
        let mut lede = format!("{channel}, {locale}. ");
        if !is_own {
            return lede
                + "It comes with Tidings and cannot be changed. Your own template with the same code is used instead of it.";
        }
        lede += &match template["isActive"] == false {
            true => format!("Archived: new messages do not use it. The newest version is {version}."),
            false => format!("Version {version} is in use."),
        };
        match (faults.len(), has_changes) {
            (0, true) => lede += " Your draft is ready to publish.",
            (0, false) => (),
            (1, _) => lede += " Your draft has 1 error.",
            (count, _) => lede += &format!(" Your draft has {count} errors."),
        }
        lede
    }

    /// The template of the same code that a message would use, of those that fit.
    fn sibling(&self, fits: impl Fn(&Value) -> bool) -> Option<&Value> {
        let found = self.siblings.iter().filter(|one| fits(one));
        found.min_by_key(|one| (one["locale"] != self.template["locale"], one["isSystem"] == true))
    }

    fn channels(&self) -> Vec<Choice> {
        let current = self.template["channel"].as_str().unwrap_or_default();
        let choice = |(id, word): &(&'static str, &'static str)| {
            let found = self.sibling(|one| one["channel"] == *id);
            let href = match found.and_then(|one| one["id"].as_str()) {
                Some(other) => page_of(other),
                None => format!("/templates/new?from={}&channel={id}", segment(&self.id)),
            };
            let label = if found.is_some() { (*word).to_owned() } else { format!("Add {word}") };
            let icon = if found.is_some() { show::icon(words::channel_icon(id)) } else { show::icon("plus") };
            Choice { icon: Some(icon), label, href, is_current: *id == current }
        };
        if current.is_empty() { Vec::new() } else { CHANNELS.iter().map(choice).collect() }
    }

    fn locales(&self) -> Vec<Choice> {
        let mut names: Vec<&str> = self
            .siblings
            .iter()
            .filter(|one| one["channel"] == self.template["channel"])
            .filter_map(|one| one["locale"].as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        let choice = |locale: &str| {
            let is_current = self.template["locale"] == locale;
            let found = self
                .siblings
                .iter()
                .filter(|one| one["channel"] == self.template["channel"] && one["locale"] == locale);
            let found = found.min_by_key(|one| one["isSystem"] == true).and_then(|one| one["id"].as_str());
            let href = page_of(if is_current { &self.id } else { found.unwrap_or(&self.id) });
            Choice { icon: None, label: words::locale(locale), href, is_current }
        };
        names.into_iter().map(choice).collect()
    }

    fn version_rows(&self, visit: &Visit) -> Vec<VersionRow> {
        let clock = visit.clock();
        let row = |version: &Value| VersionRow {
            number: version["version"].as_u64().unwrap_or(0),
            author: version["createdBy"].as_str().map_or_else(|| "Tidings".to_owned(), words::actor),
            at: version["createdAt"].as_str().and_then(|at| clock.short(at)),
            is_latest: version["version"] == self.template["version"],
        };
        self.versions.as_array().into_iter().flatten().map(row).collect()
    }
}

fn fault(FieldFault { pointer, detail }: &FieldFault) -> Fault {
    let field = match pointer.as_str() {
        "/subjectTemplate" | "/subject" => "subject",
        "/testTo" => "test",
        "/sample" | "/templateVariables" => "sample-variables",
        "/name" | "/description" | "/type" => "name",
        _ => "body",
    };
    Fault { field, detail: detail.clone() }
}

impl EditorPage {
    fn sample_segment(&self) -> String {
        segment(&self.sample)
    }

    fn is_bad(&self, field: &str) -> bool {
        self.faults.iter().any(|fault| fault.field == field)
    }

    fn checks(&self) -> &[Check] {
        &self.preview.checks
    }
}
