//! Writes an invoice to the file that is named, with the number of lines that follows, and says how long it took.
//! `cargo run --release -p pdf --example measure -- /tmp/invoice.pdf 8 es`

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use pdf::print;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let lines = arguments.get(1).map_or(8, |lines| lines.parse().expect("a number of lines"));
    let mut invoice = support::invoice(lines);
    if let Some(locale) = arguments.get(2) {
        invoice.locale.clone_from(locale);
    }
    let first = Instant::now();
    let document = print(&invoice).expect("a document");
    let first = first.elapsed();
    const ROUNDS: u32 = 100;
    let rounds = Instant::now();
    for _ in 0..ROUNDS {
        print(&invoice).expect("a document");
    }
    println!("{lines} lines: {} bytes, first {first:.2?}, then {:.2?}", document.len(), rounds.elapsed() / ROUNDS);
    if let Some(path) = arguments.first() {
        std::fs::write(path, document).expect("the file is written");
    }
}
