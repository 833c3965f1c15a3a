//! One click unsubscribes (RFC 8058). Programs that look at links open them: opening changes nothing.

use axum::body::Body;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use domain::communication::DeliveryReport;
use domain::ports::CommunicationKey;
use events::ReportedStatus;
use problem::{Problem, ProblemKind};

use crate::page::page;
use crate::{Callback, Shared, Webhook};

/// In the languages that people are written to.
struct PageText {
    lang: &'static str,
    title: &'static str,
    question: &'static str,
    button: &'static str,
    done: &'static str,
}

const ENGLISH: PageText = PageText {
    lang: "en",
    title: "Unsubscribe",
    question: "Do you want to receive no more emails from this sender?",
    button: "Unsubscribe",
    done: "You will receive no more emails from this sender.",
};
const SPANISH: PageText = PageText {
    lang: "es",
    title: "Darse de baja",
    question: "¿Quiere dejar de recibir correos de este remitente?",
    button: "Darme de baja",
    done: "No recibirá más correos de este remitente.",
};

/// The page that a person sees: a question, and a button that posts.
pub(crate) async fn ask(State(webhook): Shared, uri: Uri) -> Result<Response, Problem> {
    let (_, words) = webhook.verify_link(&uri).await?;
    let PageText { lang, title, question, button, .. } = words;
    Ok(page(lang, title, &format!("<p>{question}</p>\n<form method=\"post\"><button>{button}</button></form>")))
}

/// What the button does, and a mail program by itself. Doing it twice is doing it once.
pub(crate) async fn unsubscribe(State(webhook): Shared, uri: Uri, _: Body) -> Result<Response, Problem> {
    let (key, words) = webhook.verify_link(&uri).await?;
    let event_id = Some("one-click".to_owned());
    let report = DeliveryReport {
        attempt: None,
        fact: ReportedStatus::Unsubscribed,
        event_id,
        at: webhook.host.now(),
        code: None,
    };
    webhook.record("unsubscribe", vec![Callback { key, report }]).await?;
    Ok(page(words.lang, words.title, &format!("<p role=\"status\">{}</p>", words.done)))
}

impl Webhook {
    /// The message that the link was in.
    async fn verify_link(&self, uri: &Uri) -> Result<(CommunicationKey, &'static PageText), Problem> {
        let none = || Problem::new(ProblemKind::NotFound, "This link is not complete. Open it from the email again.");
        let token = uri.path().strip_prefix("/unsubscribe/").unwrap_or_default();
        let key = application::hash::verify_unsubscribe_token(&self.contact_key, token).ok_or_else(none)?;
        let origin = application::CommandContext::function("webhook:unsubscribe");
        let executor = application::CommandExecutor { store: &*self.store, host: &*self.host, origin: &origin };
        let loaded = executor.load(&key).await?;
        let communication = loaded.state.requested().map_err(|_| none())?;
        let is_spanish = communication.request.locale.as_deref().is_some_and(|locale| locale.starts_with("es"));
        Ok((key, if is_spanish { &SPANISH } else { &ENGLISH }))
    }
}
