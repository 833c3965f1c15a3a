//! Signing in and out.

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use domain::ports::SignInError;

use crate::Console;
use crate::api_client::segment;
use crate::assets::{ICON, STYLES, TOKENS};
use crate::form::{Fields, Form};
use crate::refusal::Refusal;
use crate::session::Sessions;
use crate::shell::Page;
use crate::show;
use crate::sign_in::{ATTEMPT, ATTRIBUTES, Attempt, SESSION, SignIn};

#[derive(Template)]
#[template(path = "sign-in.html")]
struct SignInPage {
    heading: &'static str,
    detail: String,
    /// The page that was asked for, as part of an address.
    to: String,
    is_fault: bool,
}

impl Page for SignInPage {}

impl SignInPage {
    fn tokens(&self) -> &'static str {
        TOKENS.address()
    }

    fn styles(&self) -> &'static str {
        STYLES.address()
    }

    fn icon(&self) -> &'static str {
        ICON.address()
    }
}

fn sign_in_of(console: &Console) -> Option<&SignIn> {
    match &console.sessions {
        Sessions::SignIn(sign_in) => Some(sign_in),
        Sessions::Local(_) => None,
    }
}

/// Asks a person to sign in.
pub async fn show(State(console): State<Arc<Console>>, RawQuery(query): RawQuery) -> Response {
    let query = Fields::of_query(query.as_deref());
    if sign_in_of(&console).is_none() {
        return Redirect::to("/").into_response();
    }
    let (heading, detail) = match query.has("out") {
        true => ("You are signed out", "Close this page, or sign in again."),
        false => ("Sign in to Tidings", "You are led to your organisation\u{2019}s sign-in page, and then back here."),
    };
    let to = segment(query.get("to"));
    SignInPage { heading, detail: detail.to_owned(), to, is_fault: false }.respond()
}

/// Leads the browser to the identity provider.
pub async fn start(State(console): State<Arc<Console>>, RawQuery(query): RawQuery) -> Response {
    let Some(sign_in) = sign_in_of(&console) else { return Redirect::to("/").into_response() };
    let query = Fields::of_query(query.as_deref());
    let attempt = Attempt::new(&*console.host, query.get("to"));
    match sign_in.address(&attempt).await {
        Ok(address) => {
            let headers = [(header::LOCATION, address), (header::SET_COOKIE, attempt.cookie())];
            (StatusCode::SEE_OTHER, headers).into_response()
        }
        Err(error) => refuse(&error, &attempt.to),
    }
}

/// Takes the browser back from the identity provider.
pub async fn finish(State(console): State<Arc<Console>>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let Some(sign_in) = sign_in_of(&console) else { return Redirect::to("/").into_response() };
    let query = Fields::of_query(query.as_deref());
    let attempt = Attempt::of(&headers).filter(|attempt| attempt.is_answered_by(query.get("state")));
    let Some(attempt) = attempt else {
        let why = "This sign-in was not begun in this browser, or took longer than ten minutes";
        return refuse(&SignInError::Refused(why.to_owned()), "/");
    };
    if query.has("error") {
        return refuse(&SignInError::Refused("The identity provider did not let you in".to_owned()), &attempt.to);
    }
    match sign_in.begin(&attempt, query.get("code"), &*console.host).await {
        Ok(session) => {
            // The browser has one session at a time.
            if let Err(error) = sign_in.end(&headers).await {
                tracing::warn!(%error, "an earlier session was not ended; it ends by itself");
            }
            let done = format!("{ATTEMPT}=; {ATTRIBUTES}; Max-Age=0");
            let cookies = AppendHeaders([(header::SET_COOKIE, session), (header::SET_COOKIE, done)]);
            (StatusCode::SEE_OTHER, [(header::LOCATION, attempt.to)], cookies).into_response()
        }
        Err(error) => refuse(&error, &attempt.to),
    }
}

fn refuse(error: &SignInError, to: &str) -> Response {
    tracing::warn!(%error, "somebody could not sign in");
    let (status, heading) = match error {
        SignInError::Refused(_) => (StatusCode::FORBIDDEN, "You are not signed in"),
        SignInError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "Signing in is not available right now"),
    };
    let detail = match error {
        SignInError::Refused(why) => {
            format!("{}. Try again, or ask who looks after your account.", why.trim_end_matches('.'))
        }
        SignInError::Unavailable(_) => {
            "The identity provider did not answer. Nothing was changed; try again.".to_owned()
        }
    };
    SignInPage { heading, detail, to: segment(to), is_fault: true }.respond_with(status)
}

/// Ends the session.
pub async fn end(State(console): State<Arc<Console>>, headers: HeaderMap, Form(_): Form) -> Result<Response, Refusal> {
    let unavailable = |error| {
        tracing::error!(%error, "a session could not be ended");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "The session could not be ended. You are still signed in.")
    };
    if let Some(sign_in) = sign_in_of(&console) {
        sign_in.end(&headers).await.map_err(unavailable)?;
    }
    let cookie = format!("{SESSION}=; {ATTRIBUTES}; Max-Age=0");
    let headers = [(header::LOCATION, "/session/sign-in?out=1".to_owned()), (header::SET_COOKIE, cookie)];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}
