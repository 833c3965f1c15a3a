//! The time to render a template that is compiled once and, as the baseline, one that is compiled for each message.

use std::hint::black_box;
use std::time::Instant;

use domain::render::{CompiledTemplate, RenderInput, render};
use domain::templates::{SystemTemplate, all};
use events::{Channel, TemplateRef};
use serde_json::{Value, json};

const ROUNDS: u32 = 500;

pub fn measure() {
    let items: Vec<Value> = (0..20).map(|n| json!({ "name": format!("Item {n}"), "quantity": n })).collect();
    let variables = json!({
        "customerName": "Ada & Co", "businessName": "Acme", "invoiceNumber": "INV-7", "amount": 1500.5, "currency": "EUR",
        "dueDate": "2026-12-01", "paymentDate": "2026-11-21", "daysOverdue": 12, "locationName": "Nairobi",
        "itemCount": 20, "items": items, "shortLink": "https://s.example.com/7", "message": "Hello.",
        "paymentLink": "https://pay.example.com/7", "invitationLink": "https://app.example.com/join", "userName": "Bo",
    });
    println!("rendering each of the {} system templates {ROUNDS} times", all().len());
    measure_each("compiled each time (baseline)", |builtin| {
        let compiled = CompiledTemplate::new(builtin.subject, builtin.body).expect("a system template");
        render_template(builtin, Some(&compiled), &variables);
    });
    measure_each("compiled once", |builtin| render_template(builtin, None, &variables));
    println!();
}

fn render_template(builtin: &SystemTemplate, text: Option<&CompiledTemplate>, variables: &Value) {
    let template = TemplateRef { id: builtin.id.to_owned(), version: builtin.version, text: None };
    let draft = RenderInput {
        channel: builtin.channel.unwrap_or(Channel::Email),
        template: Some(&template),
        text,
        subject: None,
        content: None,
        variables: Some(variables),
        attachments: &[],
        locale: Some(builtin.locale),
    };
    black_box(render(&draft).expect("a message"));
}

fn measure_each(name: &str, render_template: impl Fn(&SystemTemplate)) {
    let mut times: Vec<(f64, &str)> = all()
        .iter()
        .map(|builtin| {
            let started = Instant::now();
            (0..ROUNDS).for_each(|_| render_template(builtin));
            (started.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS), builtin.id)
        })
        .collect();
    times.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (median, (slowest, id)) = (times[times.len() / 2].0, times[times.len() - 1]);
    println!("{name}: median {median:.0} µs, slowest {slowest:.0} µs ({id})");
}
