//! Advice about content that compiles: what is allowed, and probably not meant.

use super::error::TemplatePart;

/// Maximum number of warnings.
const MAX_WARNINGS: usize = 20;

/// Something that is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    pub part: TemplatePart,
    pub code: &'static str,
    /// The first line that it concerns, from 1. `None` if no line contains it as a whole.
    pub line: Option<usize>,
    pub detail: String,
}

/// The warnings about content. `used` are its variables and `known` those that callers are known to give; an empty
/// `known` means that nobody knows.
pub fn lint(subject: Option<&str>, body: &str, used: &[String], known: &[String]) -> Vec<Warning> {
    let parts = [(TemplatePart::Subject, subject.unwrap_or_default()), (TemplatePart::Body, body)];
    let mut warnings = Vec::new();
    for name in used.iter().filter(|name| !known.is_empty() && !known.contains(name)) {
        let place = parts.iter().find_map(|(part, text)| Some((*part, line_of(text, name)?)));
        let (part, line) = place.map_or((TemplatePart::Body, None), |(part, line)| (part, Some(line)));
        let guess = nearest(name, known).map_or(String::new(), |near| format!(" Did you mean \u{201c}{near}\u{201d}?"));
        let detail = format!("\u{201c}{name}\u{201d} is a new variable.{guess}");
        warnings.push(Warning { part, code: "new_variable", line, detail });
    }
    for (part, text) in parts {
        for (index, line) in text.lines().enumerate() {
            let at = Some(index + 1);
            if line.contains("http://") {
                let detail = "A link uses http:// and can be read on its way.".to_owned();
                warnings.push(Warning { part, code: "insecure_link", line: at, detail });
            }
            if line.contains("javascript:") {
                let detail = "A link runs a script, which no mail program follows.".to_owned();
                warnings.push(Warning { part, code: "script_link", line: at, detail });
            }
        }
    }
    warnings.truncate(MAX_WARNINGS);
    warnings
}

/// The first line with a tag that mentions a variable.
fn line_of(text: &str, name: &str) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let mentions = |tag: &str| {
        let inside = tag.split("}}").next().unwrap_or_default();
        inside.split(|c| !is_part(c)).any(|word| word == name)
    };
    let found = text.lines().position(|line| line.split("{{").skip(1).any(mentions));
    found.map(|index| index + 1)
}

/// The known name that differs in at most two letters.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a String> {
    let near = known.iter().map(|other| (distance(name, other), other));
    near.filter(|(distance, _)| *distance <= 2).min_by_key(|(distance, _)| *distance).map(|(_, other)| other)
}

/// The number of letters to add, remove or replace. Names are cut, so that the time is bounded.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().take(64).enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = before + usize::from(a != *b);
            before = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(before + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(body: &str, used: &[&str], known: &[&str]) -> Vec<(&'static str, Option<usize>, String)> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let warnings = lint(None, body, &names(used), &names(known));
        warnings.into_iter().map(|one| (one.code, one.line, one.detail)).collect()
    }

    #[test]
    fn a_mistyped_variable_is_told_with_its_line() {
        let said = warned(
            "Hi {{customerName}}\n{{ paymentLnk }}",
            &["customerName", "paymentLnk"],
            &["customerName", "paymentLink"],
        );
        assert_eq!(said.len(), 1);
        assert_eq!((said[0].0, said[0].1), ("new_variable", Some(2)));
        assert!(said[0].2.ends_with("Did you mean \u{201c}paymentLink\u{201d}?"), "{}", said[0].2);
        assert!(warned("{{anything}}", &["anything"], &[]).is_empty(), "nobody knows the variables");
    }

    #[test]
    fn links_that_are_not_safe_are_told() {
        let said = warned("ok https://a.test\n<a href=\"http://a.test\">x</a>\n<a href='javascript:x'>", &[], &[]);
        assert_eq!(
            said.iter().map(|it| (it.0, it.1)).collect::<Vec<_>>(),
            [("insecure_link", Some(2)), ("script_link", Some(3))]
        );
        assert_eq!(warned(&"http://a\n".repeat(100), &[], &[]).len(), MAX_WARNINGS);
    }
}
