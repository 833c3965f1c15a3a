//! The documents for developers only refer to things that exist: paths, names in code style, links between documents,
//! and the id of the first message in the README.

use std::fs;
use std::path::{Path, PathBuf};

use events::{CommunicationId, TenantId};

/// Marks text about code that is not on the main branch yet. Its list item or paragraph is not checked.
const NOT_YET: &str = "<!-- core -->";

/// Rust keywords, which need not be in the files that a step names.
const KEYWORDS: [&str; 3] = ["match", "mod", "_"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Markdown files of a folder, but not of its subfolders.
fn pages(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// The documents whose paths are checked.
fn developer_pages() -> Vec<PathBuf> {
    let named = ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/extending.md"];
    named.iter().map(|name| root().join(name)).chain(pages("docs/decisions")).collect()
}

/// The text without its code blocks.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// Paragraphs, table rows and list items.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in prose(text).lines() {
        let is_item = line.starts_with("- ") || line.split_once(". ").is_some_and(|(n, _)| n.parse::<u32>().is_ok());
        if line.is_empty() || line.starts_with('|') || is_item {
            blocks.push(String::new());
        }
        let block = blocks.last_mut().expect("one block at least");
        block.push_str(line);
        block.push('\n');
    }
    blocks.retain(|block| !block.contains(NOT_YET));
    blocks
}

/// The names in code style, without commands, patterns and API paths.
fn names(block: &str) -> Vec<&str> {
    let in_backticks = block.split('`').skip(1).step_by(2);
    in_backticks.filter(|name| !name.starts_with(['/', '-']) && !name.contains([' ', '<', '{', '*', '\n'])).collect()
}

fn is_path(name: &str) -> bool {
    let is_below_root = name.split_once('/').is_some_and(|(first, _)| root().join(first).exists());
    is_below_root || root().join(name).is_file()
}

fn is_identifier(name: &str) -> bool {
    let name = name.strip_suffix('!').unwrap_or(name);
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// The text of a file, or of all sources in a folder.
fn sources(path: &Path) -> String {
    if !path.is_dir() {
        return read(path);
    }
    let entries = fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path());
    let is_source = |path: &PathBuf| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs");
    entries.filter(is_source).map(|path| sources(&path)).collect()
}

fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let word = word.trim_end_matches('!');
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part))
}

#[test]
fn every_name_in_a_step_of_extending_is_in_the_steps_files() {
    let page = read(&root().join("docs/extending.md"));
    let mut wrong = Vec::new();
    let mut checked = 0;
    for block in blocks(&page) {
        let names = names(&block);
        let paths = names.iter().filter(|name| is_path(name)).map(|name| root().join(name));
        let code: String = paths.filter(|path| path.exists()).map(|path| sources(&path)).collect();
        for name in names.into_iter().filter(|name| !is_path(name) && !KEYWORDS.contains(name)) {
            checked += 1;
            if !is_identifier(name) || !has_word(&code, name) {
                wrong.push(format!("`{name}` is not in the files of: {}", block.lines().next().unwrap_or_default()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 40, "{checked} names: the page was read");
}

#[test]
fn every_path_in_the_documents_for_developers_exists() {
    let mut missing = Vec::new();
    for page in developer_pages() {
        for block in blocks(&read(&page)) {
            let gone = names(&block).into_iter().filter(|name| is_path(name) && !root().join(name).exists());
            missing.extend(gone.map(|name| format!("{}: {name}", page.display())));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_link_between_documents_has_a_target() {
    let mut broken = Vec::new();
    for page in [pages("."), pages("docs"), pages("docs/decisions")].concat() {
        let text = prose(&read(&page));
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains(':') && !target.starts_with(['#', '/'])) {
            let file = target.split('#').next().unwrap_or_default();
            if !page.parent().expect("a folder").join(file).exists() {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The README contains the id of its first message, so that readers can copy its commands unchanged.
#[test]
fn the_readme_contains_the_id_of_its_first_message() {
    let tenant: TenantId = local::DEV_TENANT.parse().expect("a tenant");
    let id = CommunicationId::from_idempotency_key(&tenant, "test\0first-invoice");
    let readme = read(&root().join("README.md"));
    assert!(readme.contains("'idempotency-key: first-invoice'"));
    assert!(readme.contains(&format!("/api/communications/{id}/explain")), "the id is {id}");
}
