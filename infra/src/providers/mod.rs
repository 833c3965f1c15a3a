//! Providers: one file each. A provider sends once and says honestly how that ended.

mod sendgrid;
mod twilio;

pub use sendgrid::SendGrid;
pub use twilio::Twilio;

use std::time::Duration;

use domain::communication::Answer;
use domain::ports::Sent;
use events::{DoubtCause, RefusalClass};
use reqwest::{Client, RequestBuilder, Response, StatusCode};

/// Bytes of a provider's answer that are read, at most.
const MAX_ANSWER: usize = 64 * 1024;

/// The one HTTP client of every provider: no redirects, no retries, Mozilla's roots compiled in.
pub fn http_client() -> Client {
    let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
    let roots = roots.filter_map(|der| reqwest::Certificate::from_der(der).ok());
    Client::builder()
        .tls_certs_only(roots)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(Duration::from_secs(3))
        .pool_idle_timeout(Duration::from_secs(30))
        .no_proxy()
        .user_agent(concat!("tidings/", env!("CARGO_PKG_VERSION")))
        .build()
        .expect("roots compiled in are certificates")
}

/// What came back, or how it failed to.
struct Exchange {
    status: StatusCode,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Exchange {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `Retry-After` in milliseconds; seconds are the only form that providers of ours use.
    fn retry_after_ms(&self) -> Option<i64> {
        self.header("retry-after")?.trim().parse::<i64>().ok().map(|seconds| seconds.saturating_mul(1_000))
    }
}

/// One request, one answer. Where the request may have been read and no answer came, that is a doubt.
async fn exchange(request: RequestBuilder, timeout_ms: u64) -> Result<Exchange, Answer> {
    let request = request.timeout(Duration::from_millis(timeout_ms));
    let mut response: Response = request.send().await.map_err(unanswered)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    // The status has come: a body that breaks off takes nothing away from it.
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if MAX_ANSWER < body.len() {
            break;
        }
    }
    Ok(Exchange { status, headers, body })
}

fn unanswered(error: reqwest::Error) -> Answer {
    if error.is_connect() || error.is_builder() {
        refused(RefusalClass::Unavailable, "connect", None)
    } else if error.is_timeout() {
        Answer::InDoubt(DoubtCause::Timeout)
    } else {
        Answer::InDoubt(DoubtCause::ConnectionLost)
    }
}

fn refused(class: RefusalClass, code: impl Into<String>, retry_after_ms: Option<i64>) -> Answer {
    Answer::Refused { class, code: code.into(), retry_after_ms }
}

fn plain(answer: Answer) -> Sent {
    Sent { answer, opted_out: false }
}

/// What an HTTP status means where the body says nothing better; none for success.
fn by_status(exchange: &Exchange, code: &str) -> Option<Answer> {
    let after = exchange.retry_after_ms();
    Some(match exchange.status.as_u16() {
        200..=299 => return None,
        401 | 403 => refused(RefusalClass::Auth, code, None),
        402 => refused(RefusalClass::Balance, code, None),
        408 => refused(RefusalClass::Transient, code, after),
        429 => refused(RefusalClass::Throttled, code, after),
        503 => refused(RefusalClass::Unavailable, code, after),
        500..=599 => Answer::InDoubt(DoubtCause::ServerError),
        _ => refused(RefusalClass::Permanent, code, None),
    })
}
