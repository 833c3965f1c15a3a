//! Dependencies between the files of a crate, read from its sources.
//!
//! A scan, not a compiler: it follows `crate::`, `super::`, `self::` and child modules through `use` lines and paths,
//! and looks through re-exports. Macros, strings, comments and unit tests do not count. Nor does the crate's root,
//! which wires its modules and holds shared items.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

type ModulePath = Vec<String>;

/// One file and the names that it uses.
#[derive(Default)]
struct Module {
    /// The full path of each imported name.
    imports: BTreeMap<String, ModulePath>,
    /// Full paths that the file uses. Those that it only re-exports do not count.
    references: BTreeSet<ModulePath>,
}

/// Finds dependency cycles between the files of the crate whose sources are in `folder`. Each cycle lists the sorted
/// names of its files, relative to `folder`.
pub fn cycles(folder: &Path) -> Vec<Vec<String>> {
    let mut files = BTreeMap::new();
    collect_files(folder, &Vec::new(), &mut files);
    let known: BTreeSet<ModulePath> = files.keys().cloned().collect();
    let modules: BTreeMap<ModulePath, Module> =
        files.iter().map(|(path, (_, text))| (path.clone(), parse(path, text, &known))).collect();
    let uses: BTreeMap<&ModulePath, BTreeSet<ModulePath>> = modules
        .iter()
        .map(|(path, module)| {
            let used = module.references.iter().filter_map(|reference| resolve(reference, &modules, 0));
            (path, used.filter(|used| used != path && !used.is_empty() && !path.is_empty()).collect())
        })
        .collect();
    let reach: BTreeMap<&ModulePath, BTreeSet<ModulePath>> =
        uses.keys().map(|start| (*start, reachable(start, &uses))).collect();
    let mut found = BTreeSet::new();
    for (path, reached) in &reach {
        let cycle: BTreeSet<&ModulePath> = reached.iter().filter(|other| reach[*other].contains(*path)).collect();
        if cycle.len() > 1 {
            found.insert(cycle.iter().map(|path| files[*path].0.clone()).collect::<BTreeSet<String>>());
        }
    }
    found.into_iter().map(|cycle| cycle.into_iter().collect()).collect()
}

/// Collects the file name and text of each module. Binaries and unit tests are left out.
fn collect_files(folder: &Path, module: &ModulePath, files: &mut BTreeMap<ModulePath, (String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let child = || [module.clone(), vec![name.clone()]].concat();
        if path.is_dir() {
            collect_files(&path, &child(), files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !["main", "tests"].contains(&&*name) {
            let is_root = name == "mod" || name == "lib";
            let shown = [module.clone(), vec![name.clone()]].concat().join("/");
            let text = fs::read_to_string(&path).expect("a source");
            files.insert(if is_root { module.clone() } else { child() }, (shown, code_only(&text)));
        }
    }
}

fn reachable(start: &ModulePath, uses: &BTreeMap<&ModulePath, BTreeSet<ModulePath>>) -> BTreeSet<ModulePath> {
    let (mut found, mut open) = (BTreeSet::new(), vec![start.clone()]);
    while let Some(path) = open.pop() {
        open.extend(uses.get(&path).into_iter().flatten().filter(|used| found.insert((*used).clone())).cloned());
    }
    found
}

/// The module whose file defines the item at a full path.
fn resolve(path: &[String], modules: &BTreeMap<ModulePath, Module>, depth: usize) -> Option<ModulePath> {
    let length = (0..=path.len()).rev().find(|length| modules.contains_key(&path[..*length]))?;
    let (module, rest) = path.split_at(length);
    let imported = rest.first().and_then(|name| modules[module].imports.get(name));
    match imported {
        Some(target) if depth < 8 => resolve(&[&target[..], &rest[1..]].concat(), modules, depth + 1),
        _ => Some(module.to_owned()),
    }
}

fn parse(module: &ModulePath, text: &str, known: &BTreeSet<ModulePath>) -> Module {
    let mut parsed = Module::default();
    let tokens = tokens(text);
    let mut at = 0;
    while at < tokens.len() {
        let follows_path = at > 0 && tokens[at - 1] == "::";
        if tokens[at] == "use" {
            let is_public = at > 0 && (tokens[at - 1] == "pub" || tokens[at - 1] == ")");
            let end = at + tokens[at..].iter().position(|token| *token == ";").unwrap_or(tokens.len() - at);
            for (path, name) in use_tree(&tokens[at + 1..end], &[]) {
                let Some(path) = absolute(module, &path, known) else { continue };
                if !is_public {
                    parsed.references.insert(path.clone());
                }
                if path.len() != module.len() + 1 || path.last() != Some(&name) {
                    parsed.imports.insert(name, path);
                }
            }
            at = end;
        } else if !follows_path && tokens.get(at + 1) == Some(&"::") && is_name(tokens[at]) {
            let mut path = vec![tokens[at].to_owned()];
            while tokens.get(at + 1) == Some(&"::") && tokens.get(at + 2).is_some_and(|name| is_name(name)) {
                at += 2;
                path.push(tokens[at].to_owned());
            }
            parsed.references.extend(absolute(module, &path, known));
        }
        at += 1;
    }
    parsed
}

/// Each full path in a `use` declaration, with the name that it binds.
fn use_tree(tokens: &[&str], prefix: &[String]) -> Vec<(ModulePath, String)> {
    let mut path = prefix.to_vec();
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at] {
            "{" => {
                let inner = &tokens[at + 1..tokens.len().saturating_sub(1)];
                return split_list(inner).into_iter().flat_map(|branch| use_tree(branch, &path)).collect();
            }
            "as" => {
                let name = tokens.get(at + 1).copied().unwrap_or_default().to_owned();
                return vec![(path, name)];
            }
            "self" if !path.is_empty() => (),
            name if is_name(name) => path.push(name.to_owned()),
            _ => (),
        }
        at += 1;
    }
    let name = path.last().cloned().unwrap_or_default();
    if path.len() == prefix.len() && tokens != ["self"] { Vec::new() } else { vec![(path, name)] }
}

fn split_list<'a, 'b>(tokens: &'a [&'b str]) -> Vec<&'a [&'b str]> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 0 => {
                parts.push(&tokens[from..at]);
                from = at + 1;
            }
            _ => (),
        }
    }
    parts.push(&tokens[from..]);
    parts.retain(|part| !part.is_empty());
    parts
}

/// The path from the crate's root, or `None` if it leads to another crate.
fn absolute(module: &ModulePath, path: &[String], known: &BTreeSet<ModulePath>) -> Option<ModulePath> {
    let child = || [&module[..], &path[..1]].concat();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([&module[..], &path[1..]].concat()),
        "super" => {
            let up = path.iter().take_while(|name| *name == "super").count();
            let base = module.get(..module.len().checked_sub(up)?)?;
            Some([base, &path[up..]].concat())
        }
        _ if known.contains(&child()) => Some([&module[..], path].concat()),
        _ => None,
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn tokens(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if is_name(rest) {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        found.push(token);
        rest = after.trim_start();
    }
    found
}

/// The text without comments, strings and unit tests.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_in_name = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' {
            string_length(rest)
        } else if (rest.starts_with("r\"") || rest.starts_with("r#\"")) && !is_in_name {
            raw_string_length(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else if let Some(escaped) = rest.strip_prefix("'\\") {
            escaped.char_indices().skip(1).find(|(_, c)| *c == '\'').map_or(rest.len(), |(at, _)| at + 3)
        } else {
            0
        };
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    let mut kept = String::new();
    let mut parts = code.split("#[cfg(test)]");
    kept.push_str(parts.next().unwrap_or_default());
    for part in parts {
        // A test module in another file ends at its semicolon. One in this file is the last item.
        let end = part.find([';', '{']).filter(|end| part.as_bytes()[*end] == b';');
        kept.push_str(end.map_or("", |end| &part[end + 1..]));
    }
    kept
}

fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !is_escaped => return at + 1,
            _ => is_escaped = c == '\\' && !is_escaped,
        }
    }
    text.len()
}

fn raw_string_length(text: &str) -> usize {
    let end = if text.starts_with("r#") { "\"#" } else { "\"" };
    text[3..].find(end).map_or(text.len(), |at| at + 3 + end.len())
}
