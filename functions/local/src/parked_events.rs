//! `tidings events`: looks after business events that are parked in a deployment, such as those that name no tenant. It
//! calls the deployment's API with the key of their tenant.

use axum::http::Method;
use serde_json::{Value, json};

use crate::api_call::call;

/// Number of events of one page.
const PAGE: usize = 100;
const PARKED: &str = "parked";
const DISCARDED: &str = "discarded";

/// An API, and the key of the tenant under which events are parked.
pub struct ParkedEvents {
    pub url: String,
    pub key: String,
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("-")
}

impl ParkedEvents {
    fn at(&self, path: &str) -> String {
        format!("{}/api/business-events{path}", self.url.trim_end_matches('/'))
    }

    /// The parked events, newest first, one in each line.
    ///
    /// # Errors
    ///
    /// A text for people.
    pub async fn list(&self, limit: usize) -> Result<Vec<String>, String> {
        let (mut lines, mut cursor) = (Vec::new(), String::new());
        while lines.len() < limit {
            let size = PAGE.min(limit - lines.len());
            let page =
                call(Method::GET, &self.at(&format!("?status=parked&size={size}{cursor}")), &self.key, None).await?;
            for event in page["results"].as_array().into_iter().flatten() {
                let fields = ["id", "receivedAt", "reason", "source", "type", "eventId"];
                lines.push(fields.map(|name| text(event, name)).join("  "));
            }
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        Ok(lines)
    }

    /// Sends an event again, to the tenant that it is for, and then discards the parked one. Repeating it changes nothing,
    /// because the event keeps its id and its source.
    ///
    /// # Errors
    ///
    /// A text for people.
    pub async fn replay(&self, id: &str, tenant_key: &str) -> Result<String, String> {
        let event = call(Method::GET, &self.at(&format!("/{id}?raw=true")), &self.key, None).await?;
        let status = text(&event, "status");
        if ![PARKED, DISCARDED].contains(&status) {
            return Err(format!("{id} is {status}, not parked"));
        }
        if event["data"].is_null() {
            return Err(format!("the data of {id} was erased, or is older than 30 days"));
        }
        let again = json!({
            "id": event["eventId"], "source": event["source"], "type": event["type"], "time": event["occurredAt"],
            "data": event["data"],
        });
        let url = format!("{}/api/events", self.url.trim_end_matches('/'));
        let taken = call(Method::POST, &url, tenant_key, Some(&again)).await?;
        let taken = format!("{} {}", text(&taken, "id"), text(&taken, "status"));
        if status == PARKED {
            self.discard(id, Some("sent again to its tenant")).await?;
        }
        Ok(taken)
    }

    /// Decides that an event will not be handled.
    ///
    /// # Errors
    ///
    /// A text for people.
    pub async fn discard(&self, id: &str, reason: Option<&str>) -> Result<String, String> {
        let body = json!({ "reason": reason });
        let event = call(Method::POST, &self.at(&format!("/{id}/discard")), &self.key, Some(&body)).await?;
        Ok(format!("{id} {}", text(&event, "status")))
    }
}
