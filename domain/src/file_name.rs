//! Names of files that callers send.

/// Maximum number of characters of a name.
const MAX_CHARACTERS: usize = 255;

/// The types of file that can be uploaded, with the ends of their names.
const EXTENSIONS: [(&str, &[&str]); 16] = [
    ("application/pdf", &["pdf"]),
    ("image/png", &["png"]),
    ("image/jpeg", &["jpg", "jpeg", "jpe", "jfif"]),
    ("image/gif", &["gif"]),
    ("image/webp", &["webp"]),
    ("video/mp4", &["mp4", "m4v", "mp4v"]),
    ("audio/mpeg", &["mp3", "mpga", "mpeg"]),
    ("audio/ogg", &["ogg", "oga", "opus", "spx"]),
    ("audio/mp4", &["m4a", "mp4", "mp4a", "aac"]),
    ("audio/amr", &["amr", "3ga"]),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", &["docx"]),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", &["xlsx"]),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation", &["pptx"]),
    ("text/plain", &["txt", "text", "log", "md"]),
    ("text/csv", &["csv"]),
    ("text/calendar", &["ics", "ical", "ifb", "icalendar"]),
];

/// Whether a character changes the direction of text or cannot be seen, so that `exe.pdf` can be shown for `fdp.exe`.
fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{61c}' | '\u{feff}')
}

/// The name without the folders before it. Returns `None` if what is left is not a name that can be shown.
pub fn last_segment(text: &str) -> Option<&str> {
    let name = text.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    let is_name = !name.is_empty()
        && name.chars().count() <= MAX_CHARACTERS
        && !name.chars().any(|c| c.is_control() || is_deceptive(c))
        && name.chars().any(|c| c != '.');
    is_name.then_some(name)
}

/// The end of the name after its last dot, in lower case.
fn extension(name: &str) -> Option<String> {
    let (stem, extension) = name.rsplit_once('.')?;
    (!stem.is_empty() && !extension.is_empty()).then(|| extension.to_ascii_lowercase())
}

/// The ends that the name of a file of this type can have. Empty for a type that cannot be uploaded.
pub fn extensions(mime: &str) -> &'static [&'static str] {
    EXTENSIONS.iter().find(|(name, _)| *name == mime).map_or(&[], |(_, extensions)| *extensions)
}

/// Whether the name has the end of a file of this type. Programs decide by it what opens the file.
pub fn fits(name: &str, mime: &str) -> bool {
    extension(name).is_some_and(|extension| extensions(mime).contains(&extension.as_str()))
}

/// The types of file whose names have the end of this name. `None` if the name has no end.
fn types(name: &str) -> Option<Vec<&'static str>> {
    let is_end = |end: &String| end.len() <= 10 && end.bytes().all(|b| b.is_ascii_alphanumeric());
    let end = extension(name).filter(is_end).filter(|end| end.bytes().any(|b| b.is_ascii_alphabetic()))?;
    Some(EXTENSIONS.iter().filter(|(_, ends)| ends.contains(&end.as_str())).map(|(mime, _)| *mime).collect())
}

/// Whether a file at an address with this path can have the name: one without an end, or with that of a type that could
/// be uploaded, which is the type of the path if that says one.
pub fn fits_path(name: &str, path: &str) -> bool {
    let Some(named) = types(name) else { return true };
    let at_path = types(path).filter(|types| !types.is_empty());
    at_path.map_or(!named.is_empty(), |at_path| named.iter().any(|mime| at_path.contains(mime)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_last_segment() {
        for (text, name) in [
            ("invoice.pdf", "invoice.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\ada\\Factura ñ.pdf", "Factura ñ.pdf"),
            (" /tmp/a.pdf ", "a.pdf"),
            (".hidden.pdf", ".hidden.pdf"),
        ] {
            assert_eq!(last_segment(text), Some(name), "{text}");
        }
        let long = format!("{}.pdf", "a".repeat(252));
        let bad = [
            "",
            " ",
            "..",
            ".",
            "a/",
            "a/..",
            "a\u{202e}fdp.exe",
            "a\u{200b}.pdf",
            "a\u{2066}.pdf",
            "a\n.pdf",
            "a\0.pdf",
        ];
        for text in bad.into_iter().chain([long.as_str()]) {
            assert_eq!(last_segment(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_name_ends_like_its_type() {
        assert!(fits("a.pdf", "application/pdf") && fits("A.PDF", "application/pdf") && fits("a.b.jpeg", "image/jpeg"));
        for name in ["a.exe", "a.pdf.exe", "pdf", ".pdf", "a.", "a.pdf.", "a.pd"] {
            assert!(!fits(name, "application/pdf"), "{name}");
        }
        assert!(!fits("a.zip", "application/zip"), "a type that cannot be uploaded");
    }

    #[test]
    fn a_name_fits_the_path_of_its_file() {
        for (name, path) in
            [("a.pdf", "/a.PDF"), ("a.pdf", "/get"), ("Invoice", "/a.pdf"), ("No. 5", "/x.png"), ("a.m4v", "/b.mp4")]
        {
            assert!(fits_path(name, path), "{name} {path}");
        }
        for (name, path) in [("a.exe", "/a.pdf"), ("a.exe", "/get"), ("a.pdf", "/a.png"), ("a.pdf.js", "/a.pdf")] {
            assert!(!fits_path(name, path), "{name} {path}");
        }
    }
}
