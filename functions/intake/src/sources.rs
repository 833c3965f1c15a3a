//! Who may send events for whom. A bus has no credentials, so the deployment lists the sources and accounts that it
//! trusts. AWS sets the account of an event.

use std::collections::BTreeMap;

use events::{Mode, ParkReason, TenantId};
use serde::Deserialize;
use serde_json::Value;

/// Matches every source of an account.
const ANY: &str = "*";

/// How an event names its tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TenantRule {
    /// The one tenant of the source.
    is: Option<TenantId>,
    /// JSON Pointer into the detail.
    at: Option<String>,
    /// The tenants by the values at the pointer. Without it, the value is the tenant. Values that are not in it are
    /// nobody's.
    table: Option<BTreeMap<String, TenantId>>,
}

/// A source that is trusted when its events come from an account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventSource {
    source: String,
    account: String,
    tenant: TenantRule,
    #[serde(default = "live")]
    mode: Mode,
}

fn live() -> Mode {
    Mode::Live
}

/// The trusted sources.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct EventSources(Vec<EventSource>);

impl EventSources {
    /// Reads a JSON list such as `[{"source": "flowpos", "account": "123456789012", "tenant": {"at": "/businessId"}}]`.
    ///
    /// # Errors
    ///
    /// A text for the log.
    pub fn parse(text: &str) -> Result<EventSources, String> {
        let sources: EventSources = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let is_sound =
            |rule: &TenantRule| rule.is.is_some() != rule.at.is_some() && (rule.at.is_some() || rule.table.is_none());
        match sources.0.iter().find(|entry| !is_sound(&entry.tenant)) {
            Some(entry) => Err(format!("the tenant of {} must have either is or at", entry.source)),
            None => Ok(sources),
        }
    }

    /// All events belong to one tenant, for a single machine.
    pub fn all_of(account: &str, tenant: TenantId, mode: Mode) -> EventSources {
        let tenant = TenantRule { is: Some(tenant), ..TenantRule::default() };
        EventSources(vec![EventSource { source: ANY.to_owned(), account: account.to_owned(), tenant, mode }])
    }

    /// The tenant and the mode of an event.
    ///
    /// # Errors
    ///
    /// The reason to park it: nobody is trusted with this source and account, or the event names no tenant of theirs.
    pub fn owner(&self, source: &str, account: &str, detail: &Value) -> Result<(TenantId, Mode), ParkReason> {
        let is_trusted =
            |entry: &&EventSource| entry.account == account && (entry.source == source || entry.source == ANY);
        let entry = self.0.iter().find(is_trusted).ok_or(ParkReason::UnknownSource)?;
        let TenantRule { is, at, table } = &entry.tenant;
        let named = || {
            let value = detail.pointer(at.as_deref()?)?;
            let name = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            match table {
                Some(table) => table.get(&name).cloned(),
                None => name.parse().ok(),
            }
        };
        let tenant = is.clone().or_else(named).ok_or(ParkReason::TenantUnknown)?;
        Ok((tenant, entry.mode))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tenant(name: &str) -> TenantId {
        name.parse().expect("a tenant")
    }

    #[test]
    fn an_event_belongs_to_a_tenant_that_its_source_may_speak_for() {
        let sources = EventSources::parse(
            r#"[{"source":"flowpos","account":"1","tenant":{"at":"/businessId"}},
                {"source":"erp","account":"2","tenant":{"is":"acme"},"mode":"test"},
                {"source":"till","account":"1","tenant":{"at":"/shop/no","table":{"17":"north"}}}]"#,
        )
        .expect("sources");
        let owner = |source, account, detail: Value| sources.owner(source, account, &detail);
        assert_eq!(owner("flowpos", "1", json!({ "businessId": "b-7" })), Ok((tenant("b-7"), Mode::Live)));
        assert_eq!(owner("erp", "2", json!({ "businessId": "b-7" })), Ok((tenant("acme"), Mode::Test)));
        assert_eq!(owner("till", "1", json!({ "shop": { "no": 17 } })), Ok((tenant("north"), Mode::Live)));
        for (source, account, detail, reason) in [
            ("flowpos", "2", json!({ "businessId": "b-7" }), ParkReason::UnknownSource),
            ("other", "1", json!({}), ParkReason::UnknownSource),
            ("flowpos", "1", json!({}), ParkReason::TenantUnknown),
            ("flowpos", "1", json!({ "businessId": "No Tenant#" }), ParkReason::TenantUnknown),
            ("till", "1", json!({ "shop": { "no": 18 } }), ParkReason::TenantUnknown),
        ] {
            assert_eq!(owner(source, account, detail.clone()), Err(reason), "{source} {account} {detail}");
        }
    }

    #[test]
    fn a_list_that_is_not_clear_is_refused() {
        for text in [
            "{}",
            r#"[{"source":"a","account":"1","tenant":{}}]"#,
            r#"[{"source":"a","account":"1","tenant":{"is":"acme","at":"/x"}}]"#,
            r#"[{"source":"a","account":"1","tenant":{"is":"acme","table":{}}}]"#,
            r#"[{"source":"a","account":"1","tenant":{"is":"Not A Tenant"}}]"#,
            r#"[{"source":"a","tenant":{"is":"acme"}}]"#,
        ] {
            assert!(EventSources::parse(text).is_err(), "{text}");
        }
    }
}
