//! Starts each job as the future of a real handler.

use std::future::Future;
use std::pin::Pin;

use crate::actions::{Action, contact, person, tenant};
use crate::scheduler::{Job, Task, TaskResult};
use crate::simulation::Simulation;
use crate::world::{Callback, TENANT_CONFIG, TENANTS, as_current_version};
use crate::{INVOCATION_MS, PROCESSES};
use application::StreamImage;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use domain::ports::{AddressKey, EventStore, Stream};
use domain::provider::{MessageRef, ProviderReport};
use events::{Channel, Timestamp};
use serde_json::{Value, json};
use tower::ServiceExt;
use webhook::{UnmatchedReports, WebhookError};

impl Simulation {
    pub fn start(&mut self, job: Job) {
        let now = self.world.state().now;
        let future: Pin<Box<dyn Future<Output = TaskResult>>> = match job.clone() {
            Job::ApiCall(action) => self.call(action),
            Job::Sweep => {
                let schedule = self.schedule.clone();
                Box::pin(async move { schedule.sweep().await.map_or(TaskResult::Retry, |_| TaskResult::Done) })
            }
            Job::Resume => {
                let schedule = self.schedule.clone();
                Box::pin(async move { schedule.resume().await.map_or(TaskResult::Retry, |_| TaskResult::Done) })
            }
            Job::CallBack(Callback { key, report, by, .. }) => {
                let webhook = self.webhook[self.version()].clone();
                let Some(by) = by else {
                    let callback = webhook::StreamReport { key, report };
                    return self.start_webhook(job, async move {
                        webhook.append_reports("sim", vec![callback]).await.map(drop)
                    });
                };
                let name = format!("{:016x}", self.world.state().next_id());
                self.start_webhook(job, async move {
                    let reports = vec![ProviderReport { message: MessageRef::ProviderMessageId(by), report }];
                    let (matched, reports) =
                        webhook.match_reports(Some(&key.tenant), (TENANT_CONFIG, "sim"), reports).await?;
                    webhook.append_reports("sim", matched).await?;
                    let unmatched =
                        UnmatchedReports { config: TENANT_CONFIG.to_owned(), provider: "sim".to_owned(), reports };
                    Ok(webhook.store_unmatched(&key.tenant, &name, &unmatched, 0).await?)
                });
                return;
            }
            Job::RetryUnmatched(retry) => {
                let webhook = self.webhook[self.version()].clone();
                return self.start_webhook(job, async move { webhook.retry_unmatched(retry).await });
            }
            Job::DeadLetter { id } => {
                let dead_letter = self.dead_letter[self.version()].clone();
                Box::pin(async move { dead_letter.record(&id).await.map_or(TaskResult::Retry, |()| TaskResult::Done) })
            }
            Job::Project { shard, count } => {
                let project = self.project.clone();
                let as_current = |image: &StreamImage| {
                    let lines = image.stream.lines.iter().map(|line| as_current_version(line)).collect();
                    StreamImage { id: image.id.clone(), stream: Stream { lines, ..image.stream.clone() } }
                };
                let images = self.world.state().feed[shard].iter().take(count).map(as_current).collect();
                Box::pin(async move { project.project(images).await.map_or(TaskResult::Retry, |()| TaskResult::Done) })
            }
            Job::Deliver { messages } => {
                let state = self.world.state();
                let found = state.messages.iter().filter(|message| messages.contains(&message.id));
                let batch: Vec<_> = found
                    .map(|message| application::hint::QueueMessage {
                        id: message.id.to_string(),
                        body: message.hint.body(),
                    })
                    .collect();
                drop(state);
                let processes = &self.deliver[self.version()];
                let deliver = processes[self.world.state().rng.below(PROCESSES) as usize].clone();
                let deadline = Timestamp(now + INVOCATION_MS);
                Box::pin(async move { TaskResult::RetryItems(deliver::handle_batch(&deliver, batch, deadline).await) })
            }
        };
        self.tasks.push(Task { job, future, resume_at: now, deadline: now + INVOCATION_MS });
    }

    /// Starts a job of the webhook function.
    fn start_webhook(&mut self, job: Job, work: impl Future<Output = Result<(), WebhookError>> + 'static) {
        let now = self.world.state().now;
        let future = Box::pin(async move { work.await.map_or(TaskResult::Retry, |()| TaskResult::Done) });
        self.tasks.push(Task { job, future, resume_at: now, deadline: now + INVOCATION_MS });
    }

    fn call(&self, action: Action) -> Pin<Box<dyn Future<Output = TaskResult>>> {
        let id = |n: usize| self.accepted.get(&n).map(|key| key.id);
        let n = match &action {
            Action::Send { n, .. } | Action::Cancel { n } | Action::Reschedule { n, .. } | Action::OptOut { n } => *n,
            Action::Resend { n, .. } | Action::Erase { n } | Action::PersonOptsOut { n } => *n,
            Action::Redrive { tenant: n } | Action::Pause { tenant: n, .. } => *n,
        };
        let (method, path, key, body) = match action {
            Action::Send { body, .. } => (Method::POST, "/send".to_owned(), Some(format!("n-{n}")), body),
            Action::Cancel { n } => match id(n) {
                Some(id) => (Method::POST, format!("/{id}/cancel"), None, json!({})),
                None => return Box::pin(async { TaskResult::Done }),
            },
            Action::Reschedule { n, at } => match id(n) {
                Some(id) => {
                    let at = api::fields::show_time(Timestamp(at));
                    (Method::PATCH, format!("/{id}"), None, json!({ "scheduledAt": at }))
                }
                None => return Box::pin(async { TaskResult::Done }),
            },
            Action::Resend { n, copy } => match id(n) {
                Some(id) => (Method::POST, format!("/{id}/resend"), Some(format!("n-{copy}")), json!({})),
                None => return Box::pin(async { TaskResult::Done }),
            },
            Action::Pause { tenant, is_paused: true } => {
                let path = "/../limits/channels/email/pause".to_owned();
                return self.request(tenant, Method::POST, path, None, json!({ "reason": "wrong texts" }));
            }
            Action::Pause { tenant, is_paused: false } => {
                let path = "/../limits/channels/email/resume".to_owned();
                return self.request(tenant, Method::POST, path, None, json!({}));
            }
            Action::Redrive { tenant } => {
                let path = "/../dead-letters/redrive".to_owned();
                return self.request(tenant, Method::POST, path, None, json!({ "perSecond": 5 }));
            }
            Action::PersonOptsOut { n } => {
                let path = format!("/../communication-preferences/{}", person(n).replace(':', "/"));
                let body = json!({ "preferredEmail": contact(n), "optedOut": true });
                return self.request(n, Method::PATCH, path, None, body);
            }
            Action::Erase { n } => {
                let Some(id) = id(n) else { return Box::pin(async { TaskResult::Done }) };
                let world = self.world.clone();
                return Box::pin(async move { world.erase(id).await.map_or(TaskResult::Retry, |()| TaskResult::Done) });
            }
            Action::OptOut { n } => {
                let (store, tenant) = (self.world.clone(), tenant(n));
                let hash = application::hash::contact_hash(&[7; 32], &tenant, &contact(n));
                let contact = AddressKey { tenant, channel: Channel::Email, contact_hash: hash };
                return Box::pin(async move {
                    let done = store.suppress(&contact, "opted_out", Timestamp(0)).await;
                    done.map_or(TaskResult::Retry, |()| TaskResult::Done)
                });
            }
        };
        self.request(n, method, path, key, body)
    }

    /// A request of the tenant that `n` belongs to.
    fn request(
        &self,
        n: usize,
        method: Method,
        path: String,
        key: Option<String>,
        body: Value,
    ) -> Pin<Box<dyn Future<Output = TaskResult>>> {
        let router = self.router.clone();
        let path = match path.strip_prefix("/..") {
            Some(path) => format!("/api{path}"),
            None => format!("/api/communications{path}"),
        };
        let api_key = TENANTS[n % 2].0;
        Box::pin(async move {
            let mut request = Request::builder().method(method).uri(path);
            request = request.header("authorization", format!("Bearer {api_key}"));
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            let request = request.body(Body::from(body.to_string())).expect("a request");
            let answer = router.oneshot(request).await.expect("an answer");
            let status = answer.status();
            let body = to_bytes(answer.into_body(), usize::MAX).await.expect("a body");
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            match status.as_u16() {
                201 => TaskResult::Accepted(body["id"].as_str().expect("an id").parse().expect("an id")),
                503 => TaskResult::Retry,
                200..=499 => TaskResult::Done,
                // The next version has written to the stream, so this version refuses to read it.
                500 if body["detail"] == "Stored data could not be read." => TaskResult::Done,
                _ => panic!("{status}: {body}"),
            }
        })
    }
}
