//! The built-in messages, compiled in.

use events::{Channel, MessageType};

/// One version of a template. Subject and body are Handlebars.
#[derive(Debug, Clone, Copy)]
pub struct Builtin {
    pub id: &'static str,
    pub version: u32,
    pub name: &'static str,
    /// None: any channel.
    pub channel: Option<Channel>,
    pub kind: MessageType,
    pub subject: Option<&'static str>,
    pub body: &'static str,
    /// The body is HTML, else plain text.
    pub html: bool,
}

pub const BUILTINS: [Builtin; 3] = [
    Builtin {
        id: "tpl_invoice_email",
        version: 1,
        name: "Invoice Email",
        channel: Some(Channel::Email),
        kind: MessageType::Invoice,
        subject: Some("Invoice {{invoiceNumber}} from {{businessName}}"),
        body: include_str!("../templates/invoice_email.html"),
        html: true,
    },
    Builtin {
        id: "tpl_payment_link_sms",
        version: 1,
        name: "Payment Link SMS",
        channel: Some(Channel::Sms),
        kind: MessageType::PaymentLink,
        subject: None,
        body: "{{businessName}}: {{customerName}}, pay {{currency amount currency}} for {{invoiceNumber}} here: {{paymentLink}}",
        html: false,
    },
    Builtin {
        id: "tpl_general",
        version: 1,
        name: "General",
        channel: None,
        kind: MessageType::GeneralNotification,
        subject: Some("{{#if title}}{{title}}{{else}}A message from {{businessName}}{{/if}}"),
        body: "{{#if customerName}}Hello {{customerName}},\n\n{{/if}}{{message}}",
        html: false,
    },
];

/// The newest version of a built-in template.
pub fn find(id: &str) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|template| template.id == id)
}
