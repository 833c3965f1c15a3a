//! Checks the architecture rules against the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::harness::Scratch;
use tests::module_graph::cycles;

const MAX_LINES: usize = 500;

/// Sources that are still too long. Entries must only be removed.
const LONG_FILES: &[&str] = &[];

/// Dependency cycles that are still allowed: a crate's folder, and the cycle's files or, ending in `/`, their folder.
/// Entries must only be removed.
const ALLOWED_CYCLES: &[(&str, &[&str])] = &[];

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
    found.retain(|(path, _)| !path.components().any(|part| part.as_os_str() == "target"));
    found
}

/// Folders of the workspace's crates, as the root manifest lists them.
fn members() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the root manifest");
    let list = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).expect("members");
    let mut found = Vec::new();
    for member in list.split('"').skip(1).step_by(2) {
        let Some(parent) = member.strip_suffix("/*") else {
            found.push(member.to_owned());
            continue;
        };
        for entry in fs::read_dir(root().join(parent)).expect("a folder of crates") {
            let path = entry.expect("an entry").path();
            if path.join("Cargo.toml").is_file() {
                found.push(format!("{parent}/{}", path.file_name().expect("a name").to_string_lossy()));
            }
        }
    }
    found.sort();
    found
}

/// The name of the crate in a folder.
fn crate_name(folder: &str) -> &str {
    folder.rsplit('/').next().unwrap_or(folder)
}

/// A crate's own dependencies, from its manifest.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
    let section = manifest.split("[dependencies]").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The functions that are deployed: crates with a binary in the crate `lambda`.
fn functions() -> Vec<String> {
    let programs = root().join("functions/lambda/src/bin");
    let is_deployed = |folder: &String| programs.join(format!("{}.rs", crate_name(folder))).is_file();
    members().into_iter().filter(is_deployed).collect()
}

/// The workspace crates that a crate may depend on. `None` means any.
fn allowed(folder: &str) -> Option<&'static [&'static str]> {
    match folder {
        "events" => Some(&[]),
        "domain" => Some(&["events"]),
        "infra" | "infra/pdf" | "functions/application" | "functions/simulator" => Some(&["domain", "events"]),
        "functions/lambda" | "functions/local" | "tests" => None,
        "functions/problem" => Some(&["application", "domain"]),
        "functions/api" | "functions/webhook" | "functions/pages" => {
            Some(&["application", "domain", "events", "problem"])
        }
        function if function.starts_with("functions/") => Some(&["application", "domain", "events"]),
        other => panic!("{other} has no layer: add the crates that it may depend on"),
    }
}

#[test]
fn dependencies_point_down_the_layers() {
    let folders = members();
    let names: BTreeSet<&str> = folders.iter().map(|folder| crate_name(folder)).collect();
    assert!(names.contains("domain") && functions().len() >= 7, "the manifest was read: {folders:?}");
    for folder in &folders {
        let Some(allowed) = allowed(folder) else { continue };
        let ours = dependencies(folder).into_iter().filter(|name| names.contains(name.as_str()));
        let forbidden: Vec<String> = ours.filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(forbidden.is_empty(), "{folder} depends on {forbidden:?}");
    }
}

/// Binaries contain only wiring. A test in one would not run, because their `Cargo.toml` disables tests of binaries.
#[test]
fn binaries_have_no_tests() {
    for (path, text) in sources("functions") {
        let is_program = path.ends_with("main.rs") || path.components().any(|part| part.as_os_str() == "bin");
        assert!(!is_program || !text.contains("#[cfg(test)]"), "{} has tests", path.display());
    }
}

#[test]
fn the_quick_start_builds_no_cloud_crates() {
    let listed = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "-p", "local", "-e", "normal,build", "--prefix", "none"])
        .current_dir(root())
        .output()
        .expect("cargo tree runs");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let crates = String::from_utf8(listed.stdout).expect("text");
    let crates: BTreeSet<&str> = crates.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(crates.contains("deliver") && crates.contains("rusqlite"), "the tree was read: {crates:?}");
    let is_cloud = |name: &&&str| name.starts_with("aws-sdk-") || name.contains("lambda");
    let cloud: Vec<_> = crates.iter().filter(is_cloud).collect();
    assert!(cloud.is_empty(), "`cargo run` builds {cloud:?}");
}

#[test]
fn use_cases_do_not_depend_on_http() {
    let manifest = dependencies("functions/application");
    assert!(!manifest.contains("axum") && !manifest.contains("http"), "{manifest:?}");
    for (path, text) in sources("functions/application/src") {
        for forbidden in ["axum", "HeaderMap", "StatusCode"] {
            assert!(!text.contains(forbidden), "{} uses {forbidden}", path.display());
        }
    }
}

#[test]
fn only_config_and_main_read_the_environment() {
    for folder in ["events", "domain", "infra", "functions"] {
        for (path, text) in sources(folder) {
            let is_wiring = path.ends_with("main.rs") || path.ends_with("lambda/src/adapters.rs");
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let reads = text.lines().any(|line| line.contains("env::var(") && !line.trim_start().starts_with("///"));
            assert!(is_wiring || !reads, "{} reads the environment", path.display());
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
    for folder in functions() {
        let text = fs::read_to_string(root().join(&folder).join("src/lib.rs")).expect("a function's library");
        for heading in ["//! In: ", "Out: ", "//! May touch: ", "//! Never: "] {
            assert!(text.contains(heading), "{folder} does not state \"{heading}\"");
        }
    }
}

#[test]
fn the_source_scan_finds_cycles_and_follows_re_exports() {
    let scratch = Scratch::new();
    let write = |name: &str, text: &str| fs::write(scratch.0.join(name), text).expect("written");
    fs::create_dir(scratch.0.join("part")).expect("a folder");
    write("lib.rs", "mod part;\nmod user;\npub use part::Part;\npub use user::run;\n");
    write("part/mod.rs", "mod inner;\npub use inner::{Part, Piece as Renamed};\n");
    write("part/inner.rs", "pub struct Part;\npub struct Piece;\n");
    write("user.rs", "use crate::{Part, part::Renamed};\npub fn run(_: Part, _: Renamed) {}\n");
    assert!(cycles(&scratch.0).is_empty(), "{:?}", cycles(&scratch.0));
    write("part/inner.rs", "// crate::user::other\npub struct Part;\nfn call() { crate::run(\"\") }\n");
    assert_eq!(cycles(&scratch.0), [["part/inner", "user"]]);
    write("part/inner.rs", "pub struct Part;\n#[cfg(test)]\nmod tests { use crate::user::run; }\n");
    assert!(cycles(&scratch.0).is_empty());
}

#[test]
fn the_files_of_a_crate_have_no_dependency_cycles() {
    let (mut needed, mut new) = (BTreeSet::new(), Vec::new());
    for folder in members() {
        let sources = root().join(&folder).join("src");
        let found = if sources.is_dir() { cycles(&sources) } else { Vec::new() };
        for cycle in found {
            let is_part_of = |(of, files): &(&str, &[&str])| {
                let names = |file: &String| {
                    files.iter().any(|name| file == name || name.ends_with('/') && file.starts_with(name))
                };
                *of == folder && cycle.iter().all(names)
            };
            match ALLOWED_CYCLES.iter().position(is_part_of) {
                Some(index) => drop(needed.insert(index)),
                None => new.push(format!("{folder}: {cycle:?}")),
            }
        }
    }
    assert!(new.is_empty(), "dependency cycles between files: {new:#?}");
    for (index, (folder, files)) in ALLOWED_CYCLES.iter().enumerate() {
        assert!(needed.contains(&index), "{folder} no longer has a cycle of {files:?}: remove it from ALLOWED_CYCLES");
    }
}

#[test]
fn no_source_is_longer_than_500_lines() {
    let mut long = BTreeSet::new();
    for folder in members() {
        for (path, text) in sources(&folder) {
            if text.lines().count() > MAX_LINES {
                long.insert(path.strip_prefix(root()).expect("below the root").display().to_string());
            }
        }
    }
    let known: BTreeSet<String> = LONG_FILES.iter().map(|path| (*path).to_owned()).collect();
    let new: Vec<_> = long.difference(&known).collect();
    assert!(new.is_empty(), "longer than {MAX_LINES} lines: {new:?}");
    let fixed: Vec<_> = known.difference(&long).collect();
    assert!(fixed.is_empty(), "not longer than {MAX_LINES} lines: remove them from LONG_FILES: {fixed:?}");
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
    assert_eq!(
        listed,
        events::all_event_types().count(),
        "docs/events.md has a section for something that is not an event"
    );
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
