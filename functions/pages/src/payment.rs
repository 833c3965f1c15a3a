//! The page of a payment link, for tenants without a payment page of their own.

use application::CommandContext;
use application::links::verify_payment_token;
use application::payment_links::{LinkReader, ReadLink};
use axum::extract::{Path, State};
use axum::http::{Extensions, HeaderMap, Method, header};
use axum::response::Response;
use domain::money;
use domain::payment_link::PaymentLinkStatus;
use domain::ports::StoreError;
use events::{Mode, TenantId};
use problem::{Problem, ProblemKind};

use crate::Shared;
use crate::page::{escape, page};

/// The actor of what the page changes.
const ACTOR: &str = "pages:payment";
/// Parts of the names of programs that open links to show a preview or to check them, in lower case.
const PREVIEWS: [&str; 11] = [
    "bot",
    "crawler",
    "spider",
    "preview",
    "facebookexternalhit",
    "whatsapp/",
    "skypeuri",
    "googleimageproxy",
    "google-safety",
    "bingpreview",
    "headlesschrome",
];

/// The texts of the page in one language.
struct PageText {
    lang: &'static str,
    title: &'static str,
    invoice: &'static str,
    owed: &'static str,
    expired: &'static str,
    settled: &'static str,
    void: &'static str,
    revoked: &'static str,
}

const ENGLISH: PageText = PageText {
    lang: "en",
    title: "Payment",
    invoice: "Invoice",
    owed: "To pay",
    expired: "This link has expired. Ask for a new one.",
    settled: "This invoice is paid. Thank you!",
    void: "This invoice is no longer valid. There is nothing to pay.",
    revoked: "This link is no longer valid.",
};
const SPANISH: PageText = PageText {
    lang: "es",
    title: "Pago",
    invoice: "Factura",
    owed: "Por pagar",
    expired: "Este enlace ha caducado. Solicite uno nuevo.",
    settled: "Esta factura está pagada. ¡Gracias!",
    void: "Esta factura ya no es válida. No hay nada que pagar.",
    revoked: "Este enlace ya no es válido.",
};

/// Shows what can be paid. A person who opens the page is counted; programs that preview or check links are not.
pub(crate) async fn show(
    State(pages): Shared,
    method: Method,
    headers: HeaderMap,
    extensions: Extensions,
    Path((tenant, token)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let is_opening = method == Method::GET && !is_preview(&headers);
    let missing = || Problem::new(ProblemKind::NotFound, "This link is incomplete or does not exist.");
    let tenant = tenant.parse::<TenantId>().map_err(|_| missing())?;
    // A token that is not valid takes no read and no count.
    verify_payment_token(&pages.link_keys, &tenant, Mode::ALL, &token).ok_or_else(missing)?;
    pages.limit(&tenant, (pages.client)(&extensions)).await?;
    let found = pages.open_payment_link(&tenant, &token, is_opening).await?;
    Ok(render(page_text(&headers), &found.ok_or_else(missing)?))
}

impl crate::PagesHandler {
    async fn open_payment_link(
        &self,
        tenant: &TenantId,
        token: &str,
        is_opening: bool,
    ) -> Result<Option<ReadLink>, StoreError> {
        let reader = LinkReader { store: &*self.store, host: &*self.host, link_keys: &self.link_keys };
        reader.open(&CommandContext::function(ACTOR), (tenant, Mode::ALL), token, is_opening).await
    }
}

fn is_preview(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let agent = text(header::USER_AGENT.as_str()).to_ascii_lowercase();
    let is_ahead = ["purpose", "sec-purpose", "x-purpose", "x-moz"]
        .iter()
        .any(|name| ["prefetch", "preview"].iter().any(|kind| text(name).to_ascii_lowercase().contains(kind)));
    is_ahead || PREVIEWS.iter().any(|name| agent.contains(name))
}

/// The texts in the browser's first language.
fn page_text(headers: &HeaderMap) -> &'static PageText {
    let language = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    if language.is_some_and(|language| language.starts_with("es")) { &SPANISH } else { &ENGLISH }
}

fn render(text: &PageText, found: &ReadLink) -> Response {
    let number = found.invoice.facts.terms().number.unwrap_or_default();
    let invoice = format!("<p>{} {}</p>\n", text.invoice, escape(&number));
    let state = match found.status {
        PaymentLinkStatus::Open => {
            let owed = found.owed().map(|(minor, currency)| {
                let shown = money::format_minor(minor, &currency, text.lang);
                shown.unwrap_or_else(|_| format!("{} {currency}", money::decimal(minor, &currency)))
            });
            format!("<p>{}: <strong>{}</strong></p>", text.owed, escape(&owed.unwrap_or_default()))
        }
        PaymentLinkStatus::Expired => format!("<p role=\"status\">{}</p>", text.expired),
        PaymentLinkStatus::Settled => format!("<p role=\"status\">{}</p>", text.settled),
        PaymentLinkStatus::Void => format!("<p role=\"status\">{}</p>", text.void),
        PaymentLinkStatus::Revoked => format!("<p role=\"status\">{}</p>", text.revoked),
    };
    page(text.lang, text.title, &format!("{invoice}{state}"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn is_preview_of(name: &'static str, value: &'static str) -> bool {
        is_preview(&HeaderMap::from_iter([(header::HeaderName::from_static(name), HeaderValue::from_static(value))]))
    }

    #[test]
    fn programs_that_preview_links_are_known() {
        for agent in [
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
            "WhatsApp/2.23.20.0 A",
            "TelegramBot (like TwitterBot)",
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5",
            "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        ] {
            assert!(is_preview_of("user-agent", agent), "{agent}");
        }
        assert!(is_preview_of("sec-purpose", "prefetch;prerender"));
        for agent in [
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Version/17.0 Mobile Safari/604.1",
            "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/440.0]",
            "",
        ] {
            assert!(!is_preview_of("user-agent", agent), "{agent}");
        }
    }
}
