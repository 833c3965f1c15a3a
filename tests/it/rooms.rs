//! The house's own rules, read from its sources.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has sources");
    found
}

/// A crate's own dependencies, from its manifest.
fn dependencies(folder: &str) -> Vec<String> {
    let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
    let section = manifest.split("[dependencies]").nth(1).expect("dependencies");
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn arrows_run_one_way() {
    let ours = [
        "events",
        "domain",
        "infra",
        "application",
        "api",
        "deliver",
        "webhook",
        "schedule",
        "project",
        "dead-letter",
        "audit",
        "local",
    ];
    let of_ours = |folder: &str| {
        let mut found = dependencies(folder);
        found.retain(|name| ours.contains(&name.as_str()));
        found.sort();
        found
    };
    assert_eq!(of_ours("events"), [] as [&str; 0]);
    assert_eq!(of_ours("domain"), ["events"]);
    assert_eq!(of_ours("infra"), ["domain", "events"]);
    assert_eq!(of_ours("functions/application"), ["domain", "events"]);
    for door in ["api", "deliver", "webhook", "schedule", "project", "dead-letter", "audit"] {
        let found = of_ours(&format!("functions/{door}"));
        let allowed = ["domain", "events", "infra", "application"];
        assert!(found.iter().all(|name| allowed.contains(&name.as_str())), "{door}: {found:?}");
    }
}

#[test]
fn only_main_and_local_name_infra() {
    for (path, text) in sources("functions") {
        let is_main = path.ends_with("main.rs");
        let is_local = path.components().any(|part| part.as_os_str() == "local");
        assert!(is_main || is_local || !text.contains("infra::"), "{} names infra", path.display());
    }
}

#[test]
fn use_cases_of_messages_know_no_http() {
    for (path, text) in sources("functions/application/src/messages") {
        for forbidden in ["axum", "HeaderMap", "StatusCode", "crate::problem"] {
            assert!(!text.contains(forbidden), "{} uses {forbidden}", path.display());
        }
    }
}

#[test]
fn only_config_and_main_read_the_environment() {
    for folder in ["events", "domain", "infra", "functions"] {
        for (path, text) in sources(folder) {
            let wired = path.ends_with("main.rs");
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let reads = text.lines().any(|line| line.contains("env::var(") && !line.trim_start().starts_with("///"));
            assert!(wired || !reads, "{} reads the environment", path.display());
        }
    }
}

#[test]
fn the_domain_does_no_io() {
    for (path, text) in sources("domain/src") {
        for forbidden in ["std::fs", "std::net", "tokio::", "reqwest", "SystemTime", "Instant::now"] {
            assert!(!text.contains(forbidden), "{} uses {forbidden}", path.display());
        }
    }
}

#[test]
fn every_function_states_its_contract() {
    for door in ["api", "deliver", "webhook", "schedule", "project", "dead-letter", "audit"] {
        let text = fs::read_to_string(root().join(format!("functions/{door}/src/lib.rs"))).expect("a door");
        for beat in ["//! In: ", "//! May touch: ", "//! Never: "] {
            assert!(text.contains(beat), "{door} without {beat}");
        }
        assert!(text.contains("Out: "), "{door}");
    }
}

#[test]
fn every_event_is_in_the_catalogue() {
    let catalogue = fs::read_to_string(root().join("docs/events.md")).expect("docs/events.md");
    for name in events::all_event_types() {
        let section = catalogue.split(&format!("\n### {name}\n")).nth(1).unwrap_or_else(|| panic!("{name} is missing"));
        let section = section.split("\n### ").next().unwrap_or_default();
        let fixture = fs::read_to_string(root().join(format!("events/fixtures/{name}.v1.json"))).expect("a fixture");
        let fixture: serde_json::Value = serde_json::from_str(&fixture).expect("JSON");
        for field in fixture["data"].as_object().expect("data").keys() {
            assert!(section.contains(&format!("`{field}`")), "{name}.{field} is missing");
        }
    }
    let listed = catalogue.matches("\n### ").count();
    assert_eq!(listed, events::all_event_types().count(), "a section for something that is no event");
}

#[test]
fn every_setting_is_documented() {
    let documented = fs::read_to_string(root().join("docs/configuration.md")).expect("docs/configuration.md");
    let template = fs::read_to_string(root().join("template.yaml")).expect("template.yaml");
    for (path, text) in sources("functions") {
        if !path.ends_with("config.rs") && !path.ends_with("settings.rs") {
            continue;
        }
        for name in text.split('"').filter(|name| is_setting(name)) {
            assert!(documented.contains(&format!("`{name}`")), "{name} is not in docs/configuration.md");
            let optional = ["PROVIDER_TIMEOUT_MS", "RETENTION_DAYS", "RETENTION_SHORT_DAYS", "RETENTION_LONG_DAYS"]
                .contains(&name);
            assert!(optional || template.contains(&format!("{name}:")), "{name} is not in template.yaml");
        }
    }
}

fn is_setting(text: &str) -> bool {
    text.len() > 5 && text.contains('_') && text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}
