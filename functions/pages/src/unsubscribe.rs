//! Unsubscribing with one click (RFC 8058).

use application::hint::try_send_if_fallback_due;
use application::suppression::{SuppressionEntry, SuppressionRegister};
use application::{CommandContext, CommandExecutor, ExecuteError, Loaded};
use axum::body::Body;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use domain::communication::{Command, DeliveryReport};
use domain::ports::{AddressKey, CommunicationKey, ContentKey};
use events::ReportedStatus;
use problem::{Problem, ProblemKind};

use crate::page::page;
use crate::{PagesHandler, Shared};

/// The actor of what the page changes.
const ACTOR: &str = "pages:unsubscribe";

/// The texts of the page in one language.
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

/// Shows a page with a button that posts the confirmation. GET changes nothing, because programs that check links open
/// them.
pub(crate) async fn show_confirmation(State(pages): Shared, uri: Uri) -> Result<Response, Problem> {
    let (_, loaded) = pages.load_linked_message(&uri).await?;
    let PageText { lang, title, question, button, .. } = page_text(&loaded)?;
    Ok(page(lang, title, &format!("<p>{question}</p>\n<form method=\"post\"><button>{button}</button></form>")))
}

/// Unsubscribes the recipient of the message. Mail programs post here by themselves, and repeating it changes nothing.
pub(crate) async fn unsubscribe(State(pages): Shared, uri: Uri, _: Body) -> Result<Response, Problem> {
    let (key, loaded) = pages.load_linked_message(&uri).await?;
    let text = page_text(&loaded)?;
    pages.record_unsubscribe(&key, loaded).await.map_err(|error| {
        tracing::error!(id = %key.id, %error, "an unsubscribe could not be stored");
        Problem::new(ProblemKind::Unavailable, "The request could not be stored. Send it again.")
    })?;
    Ok(page(text.lang, text.title, &format!("<p role=\"status\">{}</p>", text.done)))
}

fn invalid_link() -> Problem {
    Problem::new(ProblemKind::NotFound, "This link is incomplete. Open it from the email again.")
}

/// Returns the texts in the language of the message.
fn page_text(loaded: &Loaded) -> Result<&'static PageText, Problem> {
    let communication = loaded.state.requested().map_err(|_| invalid_link())?;
    let is_spanish = communication.request.locale.as_deref().is_some_and(|locale| locale.starts_with("es"));
    Ok(if is_spanish { &SPANISH } else { &ENGLISH })
}

impl PagesHandler {
    /// Loads the message that contained the link.
    async fn load_linked_message(&self, uri: &Uri) -> Result<(CommunicationKey, Loaded), Problem> {
        let token = uri.path().strip_prefix("/unsubscribe/").unwrap_or_default();
        let key = application::links::verify_unsubscribe_token(&self.link_keys, token).ok_or_else(invalid_link)?;
        let context = CommandContext::function(ACTOR);
        let executor = CommandExecutor { store: &*self.store, host: &*self.host, origin: &context };
        let loaded = executor.load(&key).await?;
        Ok((key, loaded))
    }

    /// Suppresses the address, then appends the report, so that a second click repairs a crash in between.
    async fn record_unsubscribe(&self, key: &CommunicationKey, loaded: Loaded) -> Result<(), ExecuteError> {
        let now = self.host.now();
        let communication = loaded.state.requested()?;
        let contact = AddressKey {
            tenant: key.tenant.clone(),
            channel: communication.request.channel,
            contact_hash: communication.request.contact_hash.clone(),
        };
        let content = ContentKey::for_request(key, &communication.request, &communication.content_id);
        let status = ReportedStatus::Unsubscribed;
        let context = CommandContext::function(ACTOR);
        let entry = SuppressionEntry {
            channel: contact.channel,
            contact: self.vault.get(&content, now).await?.map(|content| content.recipient_contact),
            reason: status.as_str().to_owned(),
            at: now,
            by: context.actor.clone(),
            communication: Some(key.id),
        };
        SuppressionRegister { store: &*self.store, documents: &*self.documents }.add(&contact, &entry).await?;
        let event_id = Some("one-click".to_owned());
        let report = DeliveryReport { attempt: None, fact: status, event_id, at: now, code: None };
        let executor = CommandExecutor { store: &*self.store, host: &*self.host, origin: &context };
        let updated = executor.execute_loaded(key, loaded, Command::Report(vec![report])).await?;
        try_send_if_fallback_due(&*self.queue, &*self.host, key, &updated).await;
        Ok(())
    }
}
