//! The system templates, which are compiled in and available to every tenant in English and Spanish.

use std::sync::OnceLock;

use events::{Channel, MessageType};

/// One version of a template. Subject and body are Handlebars.
#[derive(Debug, Clone, Copy)]
pub struct SystemTemplate {
    /// Such as `tpl_invoice_email`, or `tpl_invoice_email.es` in Spanish.
    pub id: &'static str,
    pub code: &'static str,
    pub version: u32,
    pub name: &'static str,
    /// `None` means any channel.
    pub channel: Option<Channel>,
    pub locale: &'static str,
    pub kind: MessageType,
    pub subject: Option<&'static str>,
    pub body: &'static str,
    /// Whether the body is HTML rather than plain text.
    pub html: bool,
}

macro_rules! email {
    ($code:literal, $kind:ident, $name:literal, $en:literal, $es:literal) => {
        [
            SystemTemplate {
                id: concat!("tpl_", $code, "_email"),
                code: $code,
                version: 1,
                name: $name,
                channel: Some(Channel::Email),
                locale: "en",
                kind: MessageType::$kind,
                subject: Some($en),
                body: include_str!(concat!("../../templates/", $code, "_email.html")),
                html: true,
            },
            SystemTemplate {
                id: concat!("tpl_", $code, "_email.es"),
                code: $code,
                version: 1,
                name: $name,
                channel: Some(Channel::Email),
                locale: "es",
                kind: MessageType::$kind,
                subject: Some($es),
                body: include_str!(concat!("../../templates/", $code, "_email.es.html")),
                html: true,
            },
        ]
    };
}

macro_rules! text {
    ($code:literal, $channel:ident, $suffix:literal, $kind:ident, $name:literal, $en:expr, $es:expr) => {
        [
            SystemTemplate {
                id: concat!("tpl_", $code, "_", $suffix),
                code: $code,
                version: 1,
                name: $name,
                channel: Some(Channel::$channel),
                locale: "en",
                kind: MessageType::$kind,
                subject: None,
                body: $en,
                html: false,
            },
            SystemTemplate {
                id: concat!("tpl_", $code, "_", $suffix, ".es"),
                code: $code,
                version: 1,
                name: $name,
                channel: Some(Channel::$channel),
                locale: "es",
                kind: MessageType::$kind,
                subject: None,
                body: $es,
                html: false,
            },
        ]
    };
}

/// The same content for WhatsApp, Messenger and Telegram.
macro_rules! chat {
    ($code:literal, $kind:ident, $name:literal, $en:expr, $es:expr) => {
        [
            text!($code, Whatsapp, "whatsapp", $kind, $name, $en, $es),
            text!($code, Messenger, "messenger", $kind, $name, $en, $es),
            text!($code, Telegram, "telegram", $kind, $name, $en, $es),
        ]
    };
}

const EMAIL: [[SystemTemplate; 2]; 7] = [
    email!(
        "invoice",
        Invoice,
        "Invoice Email",
        "Invoice {{invoiceNumber}} from {{businessName}}",
        "Factura {{invoiceNumber}} de {{businessName}}"
    ),
    email!(
        "payment_link",
        PaymentLink,
        "Payment Link Email",
        "Pay {{currency amount currency}} to {{businessName}}",
        "Pague {{currency amount currency}} a {{businessName}}"
    ),
    email!(
        "payment_confirmation",
        PaymentConfirmation,
        "Payment Confirmation Email",
        "We received your payment of {{currency amount currency}}",
        "Recibimos su pago de {{currency amount currency}}"
    ),
    email!(
        "collection_notice",
        CollectionNotice,
        "Collection Notice Email",
        "Invoice {{invoiceNumber}} is {{#if (gt daysOverdue 0)}}{{daysOverdue}} {{#if (eq daysOverdue 1)}}day{{else}}days{{/if}} overdue{{else}}due{{#if dueDate}} on {{date dueDate}}{{/if}}{{/if}}",
        "La factura {{invoiceNumber}} {{#if (gt daysOverdue 0)}}venció hace {{daysOverdue}} {{#if (eq daysOverdue 1)}}día{{else}}días{{/if}}{{else}}vence{{#if dueDate}} el {{date dueDate}}{{/if}}{{/if}}"
    ),
    email!(
        "collection_notice_many",
        CollectionNotice,
        "Collection Notice Email for Several Invoices",
        "Overdue invoices from {{businessName}}",
        "Facturas vencidas de {{businessName}}"
    ),
    email!(
        "low_stock_alert",
        LowStockAlert,
        "Low Stock Alert Email",
        "Low stock at {{locationName}}: {{itemCount}} items",
        "Existencias bajas en {{locationName}}: {{itemCount}} artículos"
    ),
    email!(
        "user_invitation",
        UserInvitation,
        "User Invitation Email",
        "{{businessName}} invites you to join",
        "{{businessName}} le invita a unirse"
    ),
];

const SMS: [[SystemTemplate; 2]; 7] = [
    text!(
        "invoice",
        Sms,
        "sms",
        Invoice,
        "Invoice SMS",
        "{{businessName}}: {{customerName}}, your invoice {{invoiceNumber}} of {{currency amount currency}} is ready.{{#if shortLink}} {{shortLink}}{{else}}{{#if paymentLink}} Pay here: {{paymentLink}}{{/if}}{{/if}}",
        "{{businessName}}: {{customerName}}, su factura {{invoiceNumber}} de {{currency amount currency}} esta lista.{{#if shortLink}} {{shortLink}}{{else}}{{#if paymentLink}} Pague en: {{paymentLink}}{{/if}}{{/if}}"
    ),
    text!(
        "payment_link",
        Sms,
        "sms",
        PaymentLink,
        "Payment Link SMS",
        "{{businessName}}: {{customerName}}, pay {{currency amount currency}} for {{invoiceNumber}} here: {{paymentLink}}",
        "{{businessName}}: {{customerName}}, pague {{currency amount currency}} de {{invoiceNumber}} en: {{paymentLink}}"
    ),
    text!(
        "payment_confirmation",
        Sms,
        "sms",
        PaymentConfirmation,
        "Payment Confirmation SMS",
        "{{businessName}}: we received {{currency amount currency}} for {{invoiceNumber}}. Thank you, {{customerName}}.",
        "{{businessName}}: recibimos {{currency amount currency}} por {{invoiceNumber}}. Gracias, {{customerName}}."
    ),
    text!(
        "collection_notice",
        Sms,
        "sms",
        CollectionNotice,
        "Collection Notice SMS",
        "{{businessName}}: {{currency amount currency}} for invoice {{invoiceNumber}} {{#if (gt daysOverdue 0)}}was due {{daysOverdue}} {{#if (eq daysOverdue 1)}}day{{else}}days{{/if}} ago{{else}}is due{{#if dueDate}} on {{date dueDate}}{{/if}}{{/if}}.{{#if paymentLink}} Pay here: {{paymentLink}}{{/if}}",
        "{{businessName}}: factura {{invoiceNumber}}, {{currency amount currency}} {{#if (gt daysOverdue 0)}}pendientes desde hace {{daysOverdue}} d{{else}}vence{{#if dueDate}} el {{date dueDate}}{{/if}}{{/if}}.{{#if paymentLink}} Pague en: {{paymentLink}}{{/if}}"
    ),
    text!(
        "collection_notice_many",
        Sms,
        "sms",
        CollectionNotice,
        "Collection Notice SMS for Several Invoices",
        "{{businessName}}: overdue invoices ({{count}}), in all{{#each sums}} {{currency amount currency}}{{/each}}.",
        "{{businessName}}: facturas vencidas ({{count}}), en total{{#each sums}} {{currency amount currency}}{{/each}}."
    ),
    text!(
        "low_stock_alert",
        Sms,
        "sms",
        LowStockAlert,
        "Low Stock Alert SMS",
        "Low stock at {{locationName}}: {{itemCount}} items.",
        "Existencias bajas en {{locationName}}: {{itemCount}} articulos."
    ),
    text!(
        "user_invitation",
        Sms,
        "sms",
        UserInvitation,
        "User Invitation SMS",
        "{{businessName}} invites you to join: {{invitationLink}}",
        "{{businessName}} le invita a unirse: {{invitationLink}}"
    ),
];

const CHAT: [[[SystemTemplate; 2]; 3]; 7] = [
    chat!(
        "invoice",
        Invoice,
        "Invoice Message",
        "Hello {{customerName}},\n\nyour invoice {{invoiceNumber}} of {{currency amount currency}} from {{businessName}} is ready.{{#if dueDate}} It is due on {{date dueDate}}.{{/if}}{{#if paymentLink}}\n\nPay here: {{paymentLink}}{{/if}}",
        "Hola {{customerName}}:\n\nsu factura {{invoiceNumber}} de {{currency amount currency}} de {{businessName}} está lista.{{#if dueDate}} Vence el {{date dueDate}}.{{/if}}{{#if paymentLink}}\n\nPague aquí: {{paymentLink}}{{/if}}"
    ),
    chat!(
        "payment_link",
        PaymentLink,
        "Payment Link Message",
        "Hello {{customerName}},\n\nhere is the link to pay {{currency amount currency}} to {{businessName}}{{#if invoiceNumber}} for {{invoiceNumber}}{{/if}}: {{paymentLink}}",
        "Hola {{customerName}}:\n\neste es el enlace para pagar {{currency amount currency}} a {{businessName}}{{#if invoiceNumber}} por {{invoiceNumber}}{{/if}}: {{paymentLink}}"
    ),
    chat!(
        "payment_confirmation",
        PaymentConfirmation,
        "Payment Confirmation Message",
        "Hello {{customerName}},\n\nwe received your payment of {{currency amount currency}}{{#if invoiceNumber}} for {{invoiceNumber}}{{/if}}. Thank you!\n\n{{businessName}}",
        "Hola {{customerName}}:\n\nrecibimos su pago de {{currency amount currency}}{{#if invoiceNumber}} por {{invoiceNumber}}{{/if}}. ¡Gracias!\n\n{{businessName}}"
    ),
    chat!(
        "collection_notice",
        CollectionNotice,
        "Collection Notice Message",
        "Hello {{customerName}},\n\ninvoice {{invoiceNumber}} of {{currency amount currency}} {{#if (gt daysOverdue 0)}}was due {{daysOverdue}} {{#if (eq daysOverdue 1)}}day{{else}}days{{/if}} ago{{else}}is due{{#if dueDate}} on {{date dueDate}}{{/if}}{{/if}}.{{#if paymentLink}} You can pay here: {{paymentLink}}{{/if}}\n\nIf you have paid already, please ignore this message.\n\n{{businessName}}",
        "Hola {{customerName}}:\n\nla factura {{invoiceNumber}} de {{currency amount currency}} {{#if (gt daysOverdue 0)}}venció hace {{daysOverdue}} {{#if (eq daysOverdue 1)}}día{{else}}días{{/if}}{{else}}vence{{#if dueDate}} el {{date dueDate}}{{/if}}{{/if}}.{{#if paymentLink}} Puede pagarla aquí: {{paymentLink}}{{/if}}\n\nSi ya la pagó, no haga caso de este mensaje.\n\n{{businessName}}"
    ),
    chat!(
        "collection_notice_many",
        CollectionNotice,
        "Collection Notice Message for Several Invoices",
        "Hello {{customerName}},\n\nthis is overdue:\n{{#each invoices}}- {{invoiceNumber}}: {{currency amount currency}}, due {{date dueDate}}{{#if paymentLink}}, pay here: {{paymentLink}}{{/if}}\n{{/each}}{{#each sums}}\nOpen in all: {{currency amount currency}}{{/each}}\n\nIf you have paid already, please ignore this message.\n\n{{businessName}}",
        "Hola {{customerName}}:\n\nlo siguiente está vencido:\n{{#each invoices}}- {{invoiceNumber}}: {{currency amount currency}}, vencía el {{date dueDate}}{{#if paymentLink}}, pague aquí: {{paymentLink}}{{/if}}\n{{/each}}{{#each sums}}\nPendiente en total: {{currency amount currency}}{{/each}}\n\nSi ya las pagó, no haga caso de este mensaje.\n\n{{businessName}}"
    ),
    chat!(
        "low_stock_alert",
        LowStockAlert,
        "Low Stock Alert Message",
        "Low stock at {{locationName}}: {{itemCount}} items are at or below the quantity at which they should be ordered.{{#each items}}\n- {{this.name}}: {{this.quantity}}{{/each}}",
        "Existencias bajas en {{locationName}}: {{itemCount}} artículos han llegado a la cantidad en que conviene pedirlos.{{#each items}}\n- {{this.name}}: {{this.quantity}}{{/each}}"
    ),
    chat!(
        "user_invitation",
        UserInvitation,
        "User Invitation Message",
        "Hello{{#if userName}} {{userName}}{{/if}},\n\n{{#if inviterName}}{{inviterName}} of {{/if}}{{businessName}} invites you to work together{{#if role}} as {{role}}{{/if}}: {{invitationLink}}\n\nIf you did not expect this, you can ignore it.",
        "Hola{{#if userName}} {{userName}}{{/if}}:\n\n{{#if inviterName}}{{inviterName}}, de {{/if}}{{businessName}}{{#if inviterName}},{{/if}} le invita a trabajar juntos{{#if role}} como {{role}}{{/if}}: {{invitationLink}}\n\nSi no lo esperaba, no haga caso de este mensaje."
    ),
];

const GENERAL: [SystemTemplate; 2] = [
    SystemTemplate {
        id: "tpl_general",
        code: "general",
        version: 1,
        name: "General",
        channel: None,
        locale: "en",
        kind: MessageType::GeneralNotification,
        subject: Some("{{#if title}}{{title}}{{else}}A message from {{businessName}}{{/if}}"),
        body: "{{#if customerName}}Hello {{customerName}},\n\n{{/if}}{{message}}",
        html: false,
    },
    SystemTemplate {
        id: "tpl_general.es",
        code: "general",
        version: 1,
        name: "General",
        channel: None,
        locale: "es",
        kind: MessageType::GeneralNotification,
        subject: Some("{{#if title}}{{title}}{{else}}Un mensaje de {{businessName}}{{/if}}"),
        body: "{{#if customerName}}Hola {{customerName}}:\n\n{{/if}}{{message}}",
        html: false,
    },
];

/// All system templates.
pub fn all() -> &'static [SystemTemplate] {
    static ALL: OnceLock<Vec<SystemTemplate>> = OnceLock::new();
    ALL.get_or_init(|| {
        let chat = CHAT.iter().flatten();
        EMAIL.iter().chain(&SMS).chain(chat).flatten().chain(&GENERAL).copied().collect()
    })
}

/// Finds a system template by its id.
pub fn find(id: &str) -> Option<&'static SystemTemplate> {
    all().iter().find(|builtin| builtin.id == id)
}

/// Finds a system template by code, channel and locale.
pub(super) fn find_for(code: &str, channel: Channel, locale: &str) -> Option<&'static SystemTemplate> {
    let is_match = |builtin: &&SystemTemplate| {
        builtin.code == code && builtin.locale == locale && builtin.channel.is_none_or(|of| of == channel)
    };
    all().iter().find(is_match)
}
