//! Printed invoices: their bytes, their text, their structure, and what cannot be printed.

mod support;

use std::path::Path;
use std::process::Command;

use domain::printable_invoice::{MAX_LINES, PrintError};
use pdf::print;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use support::invoice;

fn contains(document: &[u8], text: &str) -> bool {
    document.windows(text.len()).any(|window| window == text.as_bytes())
}

/// What a program prints about a document. Returns `None` if the program is not installed.
fn run(program: &str, before: &[&str], document: &[u8], after: &[&str]) -> Option<String> {
    let name = format!("{program}-{}.pdf", std::thread::current().name().expect("tests have names"));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, document).expect("the document is written");
    let Ok(output) = Command::new(program).args(before).arg(&path).args(after).output() else {
        eprintln!("skipped: {program} is not installed");
        return None;
    };
    assert!(output.status.success(), "{program}: {output:?}");
    Some(String::from_utf8(output.stdout).expect("text"))
}

fn text(document: &[u8]) -> Option<String> {
    run("pdftotext", &["-layout"], document, &["-"])
}

/// Messages pin the hash of their attachment, so an invoice that is printed again must have the same bytes. A change of
/// the layout or of a library changes this hash.
#[test]
fn the_same_invoice_always_has_the_same_bytes() {
    let document = print(&invoice(8)).expect("a document");
    assert_eq!(document, print(&invoice(8)).expect("a document"));
    let hash: String = Sha256::digest(&document).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, include_str!("golden.sha256").trim());
}

#[test]
fn an_invoice_is_a_small_tagged_archive() {
    let document = print(&invoice(8)).expect("a document");
    assert!(document.starts_with(b"%PDF-1.7") && document.len() < 40_000, "{} bytes", document.len());
    for part in [
        "<pdfaid:part>2</pdfaid:part>",
        "<pdfaid:conformance>A</pdfaid:conformance>",
        "<dc:title>",
        "Invoice INV-2026-1042",
        "/Lang(en-GB)",
        "/Marked true",
        "/StructTreeRoot",
    ] {
        assert!(contains(&document, part), "{part}");
    }
}

#[test]
fn text_can_be_read_in_order() {
    let mut spanish = invoice(8);
    spanish.locale = "es-ES".to_owned();
    for (invoice, expected) in [
        (invoice(8), ["INV-2026-1042", "20 December 2026", "Mooring rope", "€49.98", "Balance due", "Pay online"]),
        (spanish, ["Factura", "20 de noviembre de 2026", "Ελαιόλαδο", "49,98 €", "Saldo pendiente", "Pagar en"]),
    ] {
        let document = print(&invoice).expect("a document");
        let Some(text) = text(&document) else { return };
        let text = text.replace('\u{a0}', " ");
        for part in expected {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(text.contains("Стальной карабин") && text.contains("Beatriz Núñez"), "{text}");
    }
}

#[test]
fn the_structure_has_headings_tables_and_the_link() {
    let document = print(&invoice(2)).expect("a document");
    let Some(structure) = run("pdfinfo", &["-struct-text"], &document, &[]) else { return };
    for part in ["H1", "Table", "THead", "TBody", "TR", "TH", "TD", "Link"] {
        assert!(structure.lines().any(|line| line.trim().starts_with(part)), "{part} in {structure}");
    }
    let place = |text: &str| structure.find(text).unwrap_or_else(|| panic!("{text} in {structure}"));
    assert!(place("Invoice INV") < place("Bill to") && place("Description") < place("Mooring rope"), "{structure}");
    assert!(place("Balance due") < place("Pay online"), "{structure}");
}

#[test]
fn a_long_invoice_has_numbered_pages_with_its_labels() {
    let document = print(&invoice(MAX_LINES)).expect("a document");
    assert!(document.len() < 600_000, "{} bytes", document.len());
    let Some(text) = text(&document) else { return };
    let pages: Vec<&str> = text.trim_end_matches('\u{c}').split('\u{c}').collect();
    assert!(pages.len() > 10);
    for (index, page) in pages.iter().enumerate() {
        assert!(page.contains(&format!("Page {} of {}", index + 1, pages.len())), "{page}");
        let has_lines = page.contains("€49.98");
        assert!(page.contains("INV-2026-1042") && page.contains("Unit price") == has_lines, "{page}");
    }
    assert_eq!(text.matches("€49.98").count(), MAX_LINES);

    let result = print(&invoice(MAX_LINES + 1));
    assert_eq!(result, Err(PrintError::TooManyLines));
}

#[test]
fn a_character_without_a_glyph_is_named() {
    let mut unknown = invoice(3);
    unknown.lines[1].description = "Green tea 緑茶".to_owned();
    assert_eq!(print(&unknown), Err(PrintError::NoGlyph('緑')));
    unknown.lines[1].description = "Green tea \u{202e}\u{0}\u{feff}".to_owned();
    assert!(print(&unknown).is_ok());
}

#[test]
fn documents_are_well_formed() {
    for lines in [0, 1, 40, MAX_LINES] {
        let document = print(&invoice(lines)).expect("a document");
        if run("qpdf", &["--check"], &document, &[]).is_none() {
            return;
        }
    }
}

#[test]
fn a_line_can_have_a_description_alone() {
    let mut blank = invoice(2);
    (blank.lines[1].quantity, blank.lines[1].unit_price, blank.lines[1].amount) = (None, None, None);
    blank.customer.name = String::new();
    let document = print(&blank).expect("a document");
    if let Some(valid) = run("qpdf", &["--check"], &document, &[]) {
        assert!(!valid.contains("WARNING"), "{valid}");
    }
}

/// Characters that have confused layouts before, and any others.
fn hostile() -> impl Strategy<Value = String> {
    let parts = prop_oneof![
        any::<char>().prop_map(String::from),
        "[a-zа-яα-ω ]{0,40}",
        "[\\u{0}-\\u{1f}\\u{200b}-\\u{200f}\\u{202a}-\\u{202e}\\u{2066}-\\u{2069}\\u{300}-\\u{36f}]{1,8}",
        Just("W".repeat(5_000)),
        Just("\u{301}".repeat(5_000)),
        Just(String::from("\u{ffff}\u{e000}\u{fb01}\u{1f468}\u{200d}\u{1f469}()\\<</S/URI>>")),
    ];
    prop::collection::vec(parts, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn hostile_text_is_printed_or_named(texts in prop::collection::vec(hostile(), 5), amount in any::<i64>()) {
        let mut hostile = invoice(2);
        let [number, name, address, description, seller] = texts.try_into().expect("five texts");
        hostile.number = number;
        hostile.customer.name = name;
        hostile.customer.address = vec![address; 20];
        hostile.lines[0].description = description;
        hostile.lines[1].amount = Some(amount);
        hostile.seller.name = seller;
        match print(&hostile) {
            Ok(document) => prop_assert!(document.len() < 200_000),
            Err(error) => prop_assert!(["no_glyph", "invalid_amount"].contains(&error.code()), "{error:?}"),
        }
    }
}
