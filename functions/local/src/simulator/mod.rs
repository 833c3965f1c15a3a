//! Providers on loopback: they speak the real APIs, check what they get, and call back with real signatures.

mod faults;
mod inbox;
mod recipients;
mod sendgrid;
mod twilio;

pub use faults::{Fault, Kind};
pub use inbox::{Entry, Inbox};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use p256::ecdsa::SigningKey;
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::clock::Clock;
use faults::Faults;
use recipients::Behaviour;

/// An account that a simulated provider knows.
pub struct Known {
    /// Our name for it; faults are injected by it.
    pub config: &'static str,
    /// The provider's own name for it, where it has one.
    pub id: &'static str,
    pub secret: &'static str,
}

/// What our side is configured with.
pub const SENDGRID: [Known; 2] = [
    Known { config: "sendgrid", id: "", secret: "SG.simulator" },
    Known { config: "sendgrid-second", id: "", secret: "SG.simulator-second" },
];
pub const TWILIO: [Known; 2] = [
    Known { config: "twilio", id: "ACsimulator", secret: "simulator-token" },
    Known { config: "twilio-second", id: "ACsimulator2", secret: "simulator-token-2" },
];
pub const TWILIO_FROM: &str = "+15005550006";

/// A provider that hangs answers long after anybody waits.
const HANG: Duration = Duration::from_secs(120);

/// All providers of one process.
pub struct Simulator {
    pub inbox: Inbox,
    faults: Faults,
    /// How often a message was refused, by communication.
    refused: Mutex<HashMap<String, u32>>,
    /// Numbers that replied STOP.
    stopped: Mutex<std::collections::HashSet<String>>,
    clock: Arc<Clock>,
    signing: SigningKey,
    client: reqwest::Client,
    /// Where callbacks go; set once the address is known.
    target: std::sync::OnceLock<String>,
    outgoing: tokio::sync::mpsc::UnboundedSender<serde_json::Value>,
}

/// Marks an answer that never arrives: the connection is closed instead.
#[derive(Clone)]
struct Reset;

impl Simulator {
    /// `random`: the key that SendGrid's callbacks are signed with.
    pub fn new(clock: Arc<Clock>, random: [u128; 2], client: reqwest::Client) -> Arc<Self> {
        let bytes: Vec<u8> = random.iter().flat_map(|part| part.to_be_bytes()).collect();
        // All but one in 2^32 random numbers are keys.
        let signing = SigningKey::from_slice(&bytes)
            .or_else(|_| SigningKey::from_slice(&[1; 32]))
            .expect("a small number is a key");
        let (outgoing, events) = tokio::sync::mpsc::unbounded_channel();
        let simulator = Arc::new(Simulator {
            inbox: Inbox::default(),
            faults: Faults::default(),
            refused: Mutex::default(),
            stopped: Mutex::default(),
            clock,
            signing,
            client,
            target: std::sync::OnceLock::new(),
            outgoing,
        });
        tokio::spawn(sendgrid::call_back(simulator.clone(), events));
        simulator
    }

    /// Base64 of the public key, as SendGrid's settings show it.
    pub fn sendgrid_public_key(&self) -> String {
        sendgrid::public_key(&self.signing)
    }

    /// Sends callbacks to `url`, which has no slash at the end.
    pub fn call_back_to(&self, url: String) {
        let _ = self.target.set(url);
    }

    pub fn inject(&self, fault: Fault) {
        self.faults.add(fault);
    }

    /// Everything works again.
    pub fn mend(&self) {
        self.faults.clear();
    }

    /// Serves every provider's API until the process ends.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let router = Router::new().merge(sendgrid::router(self.clone())).merge(twilio::router(self.clone()));
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let router = router.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request: hyper::Request<Incoming>| {
                    let router = router.clone();
                    async move {
                        let response = router.oneshot(request.map(Body::new)).await.into_response();
                        match response.extensions().get::<Reset>() {
                            Some(Reset) => Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
                            None => Ok(response),
                        }
                    }
                });
                let mut http = hyper::server::conn::http1::Builder::new();
                // A connection that breaks is one of the things simulated.
                let _ = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    fn refused(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many times this communication was refused before this.
    fn refuse(&self, communication: &str) -> u32 {
        let mut refused = self.refused();
        let times = refused.entry(communication.to_owned()).or_insert(0);
        *times += 1;
        *times - 1
    }

    fn forget(&self, communication: &str) {
        self.refused().remove(communication);
    }

    /// What this request meets: an injected fault first, else what the recipient stands for.
    fn fate(&self, config: &str, behaviour: Behaviour, communication: &str) -> Fate {
        if let Some(kind) = self.faults.take(config) {
            return match kind {
                Kind::Timeout => Fate::Hang { accepted: false, silent: false },
                Kind::AcceptThenTimeout => Fate::Hang { accepted: true, silent: false },
                Kind::AcceptThenSilence => Fate::Hang { accepted: true, silent: true },
                Kind::Status402 => Fate::Refuse(StatusCode::PAYMENT_REQUIRED, None),
                Kind::Reset => Fate::Reset,
                Kind::Status429 => Fate::Refuse(StatusCode::TOO_MANY_REQUESTS, Some(2)),
                Kind::Status500 => Fate::Refuse(StatusCode::INTERNAL_SERVER_ERROR, None),
                Kind::Status503 => Fate::Refuse(StatusCode::SERVICE_UNAVAILABLE, None),
                Kind::Status400 => Fate::Refuse(StatusCode::BAD_REQUEST, None),
                Kind::Status401 => Fate::Refuse(StatusCode::UNAUTHORIZED, None),
            };
        }
        match behaviour {
            Behaviour::Throttled if self.refuse(communication) < 2 => {
                Fate::Refuse(StatusCode::TOO_MANY_REQUESTS, Some(2))
            }
            Behaviour::BounceSoft if self.refuse(communication) < 2 => {
                Fate::Refuse(StatusCode::SERVICE_UNAVAILABLE, None)
            }
            Behaviour::Down => Fate::Refuse(StatusCode::SERVICE_UNAVAILABLE, None),
            Behaviour::Timeout => Fate::Hang { accepted: true, silent: false },
            _ => {
                self.forget(communication);
                Fate::Accept
            }
        }
    }
}

enum Fate {
    Accept,
    Refuse(StatusCode, Option<u32>),
    /// No answer; `silent`: and nothing is ever reported either.
    Hang {
        accepted: bool,
        silent: bool,
    },
    Reset,
}

async fn hang() -> Response {
    tokio::time::sleep(HANG).await;
    StatusCode::GATEWAY_TIMEOUT.into_response()
}

fn reset() -> Response {
    let mut response = StatusCode::OK.into_response();
    response.extensions_mut().insert(Reset);
    response
}

fn refusal(status: StatusCode, retry_after: Option<u32>, body: serde_json::Value) -> Response {
    let mut response = (status, [("content-type", "application/json")], body.to_string()).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}
