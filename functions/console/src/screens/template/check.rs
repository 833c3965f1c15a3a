//! What the API says about content: its faults, its warnings, and how it looks with sample data.

use serde_json::{Map, Value, json};

use crate::refusal::{FieldFault, Refusal};
use crate::session::Visit;

/// Content as it is being edited.
#[derive(Debug, Clone, Default)]
pub struct Content {
    pub subject: String,
    pub body: String,
}

impl Content {
    pub fn of(template: &Value) -> Content {
        let text = |name: &str| template[name].as_str().unwrap_or_default().to_owned();
        Content { subject: text("subjectTemplate"), body: text("bodyTemplate") }
    }

    /// The fields of the API. Only an email has a subject.
    pub fn fields(&self, channel: &str) -> Map<String, Value> {
        let subject = (channel == "email" && !self.subject.is_empty()).then(|| json!(self.subject));
        let subject = subject.map(|subject| ("subjectTemplate".to_owned(), subject));
        subject.into_iter().chain([("bodyTemplate".to_owned(), json!(self.body))]).collect()
    }

    /// Both parts as one text, for comparisons.
    pub fn whole(&self) -> String {
        match self.subject.as_str() {
            "" => self.body.clone(),
            subject => format!("Subject: {subject}\n{}", self.body),
        }
    }
}

/// A check, passed or not.
pub struct Check {
    pub tone: &'static str,
    pub icon: &'static str,
    pub text: String,
}

/// What was found.
#[derive(Default)]
pub struct Checked {
    pub subject: String,
    pub text: String,
    pub html: String,
    pub length: String,
    pub checks: Vec<Check>,
    /// The faults that must be mended before it is published.
    pub faults: Vec<FieldFault>,
    /// The lines of the body that faults and warnings name.
    pub bad_lines: Vec<usize>,
    pub variables: Vec<String>,
}

fn check(tone: &'static str, text: impl Into<String>) -> Check {
    let icon = match tone {
        "good" => "check",
        "bad" => "s-failed",
        _ => "warn",
    };
    Check { tone, icon, text: text.into() }
}

/// Variables for a preview without sample data: each is its own name.
fn placeholders(names: &[String]) -> Value {
    names.iter().map(|name| (name.clone(), json!(format!("[{name}]")))).collect::<Map<String, Value>>().into()
}

/// Asks the API about content. `known` are the variables that callers give.
pub async fn examine(
    visit: &Visit,
    template: &Value,
    content: &Content,
    sample: Option<&Value>,
    known: &[String],
) -> Result<Checked, Refusal> {
    let channel = template["channel"].as_str().unwrap_or("email");
    if content.body.trim().is_empty() {
        let detail = "Write a text first".to_owned();
        let fault = FieldFault { pointer: "/bodyTemplate".to_owned(), detail: detail.clone() };
        return Ok(Checked { faults: vec![fault], checks: vec![check("bad", detail)], ..Checked::default() });
    }
    let mut body = content.fields(channel);
    body.insert("channel".to_owned(), json!(channel));
    body.insert("availableVariables".to_owned(), json!(known));
    body.insert("variables".to_owned(), sample.cloned().unwrap_or_else(|| placeholders(known)));
    if let Some(locale) = template["locale"].as_str().filter(|locale| *locale != "default") {
        body.insert("locale".to_owned(), json!(locale));
    }
    let said = match visit.api.post("/api/communication-templates/validate", Value::Object(body)).await {
        Ok(said) => said,
        Err(refusal) if refusal.status.as_u16() == 422 => refusal.problem,
        Err(refusal) => return Err(refusal),
    };
    Ok(read(&said, channel == "email" && content.subject.is_empty(), sample.is_some()))
}

fn read(said: &Value, lacks_subject: bool, has_sample: bool) -> Checked {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut checked = Checked::default();
    let mut bad = Vec::new();
    if lacks_subject {
        let detail = "An email needs a subject".to_owned();
        checked.faults.push(FieldFault { pointer: "/subjectTemplate".to_owned(), detail });
    }
    for error in said["errors"].as_array().into_iter().flatten() {
        let fault = FieldFault { pointer: text(&error["pointer"]), detail: plain(&text(&error["detail"])) };
        if fault.pointer == "/variables" {
            let advice = if has_sample { "" } else { " Add sample data to see the message." };
            bad.push(check("warn", format!("{}{advice}", fault.detail)));
            continue;
        }
        checked.bad_lines.extend(line_of(&fault.detail).filter(|_| fault.pointer == "/bodyTemplate"));
        checked.faults.push(fault);
    }
    let is_compiled = said["availableVariables"].is_array();
    checked.checks.extend(checked.faults.iter().map(|fault| check("bad", fault.detail.clone())));
    checked.checks.append(&mut bad);
    let warnings = said["warnings"].as_array().map_or(&[][..], Vec::as_slice);
    for warning in warnings {
        let line = warning["line"].as_u64().filter(|_| warning["pointer"] == "/bodyTemplate");
        checked.bad_lines.extend(line.and_then(|line| usize::try_from(line).ok()));
        let at = line.map_or(String::new(), |line| format!("Line {line}: "));
        checked.checks.push(check("warn", format!("{at}{}", text(&warning["detail"]))));
    }
    if is_compiled {
        checked.checks.push(check("good", "All blocks are closed."));
        if !warnings.iter().any(|warning| warning["code"] == "insecure_link" || warning["code"] == "script_link") {
            checked.checks.push(check("good", "No link is insecure."));
        }
    }
    let names = said["availableVariables"].as_array().into_iter().flatten();
    checked.variables = names.map(text).collect();
    let rendered = &said["rendered"];
    if !rendered.is_null() {
        match (has_sample, checked.variables.is_empty()) {
            (_, true) => (),
            (true, false) => checked.checks.push(check("good", "All template variables have a value in the sample.")),
            (false, false) => {
                let text =
                    "There is no sample data, so the preview shows the names of variables in brackets.".to_owned();
                checked.checks.push(Check { tone: "wait", icon: "info", text });
            }
        }
        checked.subject = text(&rendered["subject"]);
        checked.text = text(&rendered["text"]);
        checked.html = text(&rendered["html"]);
        let segments = &rendered["segments"];
        checked.length = segments["count"].as_u64().map_or(String::new(), |count| length(count, &segments["encoding"]));
    }
    checked
}

/// The length of an SMS.
pub fn length(count: u64, encoding: &Value) -> String {
    let encoding = match encoding.as_str().unwrap_or_default() {
        "gsm7" | "GSM-7" => "GSM alphabet",
        "ucs2" | "UCS-2" => "Unicode, because of a character outside of the GSM alphabet",
        other => other,
    };
    format!("{count} {}, {encoding}", if count == 1 { "segment" } else { "segments" })
}

/// A detail of the API without the name of its field.
fn plain(detail: &str) -> String {
    let rest = ["bodyTemplate: ", "subjectTemplate: "].into_iter().find_map(|name| detail.strip_prefix(name));
    let mut letters = rest.unwrap_or(detail).chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// The line that a detail names: `Line 4, column 3: …`.
fn line_of(detail: &str) -> Option<usize> {
    let (_, rest) = detail.split_once("ine ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_their_lines_and_stop_a_publication() {
        let said = json!({
            "valid": false,
            "errors": [{ "pointer": "/bodyTemplate", "code": "template", "detail": "bodyTemplate: line 4, column 3: x." }],
        });
        let checked = read(&said, false, true);
        assert_eq!(
            (checked.bad_lines.as_slice(), checked.faults[0].detail.as_str()),
            (&[4][..], "Line 4, column 3: x.")
        );
        assert!(checked.checks.iter().all(|check| check.tone == "bad"));
    }

    #[test]
    fn missing_sample_data_is_no_fault_of_the_template() {
        let said = json!({
            "valid": false, "availableVariables": ["a"], "warnings": [],
            "errors": [{ "pointer": "/variables", "code": "missing", "detail": "a is missing." }],
        });
        let checked = read(&said, false, false);
        assert!(checked.faults.is_empty() && checked.checks[0].text.ends_with("Add sample data to see the message."));
    }
}
