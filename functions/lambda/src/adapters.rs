//! The adapters for AWS, built from a function's settings.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use application::App;
use application::directory::TenantPorts;
use application::settings::{AppConfig, TableNames};
use domain::ports::QueueId;
use infra::SystemClockAndRng;
use infra::aws::{
    Aws, DynamoStore, DynamoViewStore, EventBridgeBus, KmsCipher, MissingSetting, ParameterError, REFERENCE,
    S3ObjectStore, SnsAlertSink, SqsRepairQueue, SqsUnmatchedQueue, SqsWorkQueue, init_logs,
};
use infra::providers::{HttpClients, HttpProviderFactory};

/// Reads an environment variable.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Builds the adapters of one function.
pub struct Adapters {
    aws: Aws,
}

/// The environment of a function. A variable such as `ssm:/tidings/prod/contact-key` stands for that secret.
pub struct Environment {
    secrets: BTreeMap<String, String>,
}

impl Environment {
    /// Reads a variable, or the secret that it stands for.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.secrets.get(name).cloned().or_else(|| variable(name))
    }
}

impl Adapters {
    /// Starts logging and configures the AWS clients from the environment.
    ///
    /// # Errors
    ///
    /// [`MissingSetting`]: Lambda did not set a variable.
    pub fn from_env() -> Result<Self, MissingSetting> {
        init_logs(variable);
        Ok(Adapters { aws: Aws::from_env(variable)? })
    }

    /// Reads the secrets that the environment refers to, in one call. Without any there is no call.
    ///
    /// # Errors
    ///
    /// [`ParameterError`]
    pub async fn environment(&self, http: &HttpClients) -> Result<Environment, ParameterError> {
        let reference = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.to_str()?.strip_prefix(REFERENCE)?.to_owned()))
        };
        let references: Vec<(String, String)> = std::env::vars_os().filter_map(reference).collect();
        let names: Vec<&str> = references.iter().map(|(_, parameter)| parameter.as_str()).collect();
        let values = self.aws.parameters(http.client.clone()).read(&names).await?;
        let secret = |(name, parameter)| Some((name, values.get(&parameter)?.clone()));
        Ok(Environment { secrets: references.into_iter().filter_map(secret).collect() })
    }

    pub fn store(&self, tables: TableNames) -> Arc<DynamoStore> {
        Arc::new(DynamoStore {
            client: self.aws.dynamodb(),
            events_table: tables.events,
            vault_table: tables.vault,
            limits_table: tables.limits,
        })
    }

    pub fn views(&self, table: String) -> Arc<DynamoViewStore> {
        Arc::new(DynamoViewStore { client: self.aws.dynamodb(), table })
    }

    pub fn queue(&self, urls: Vec<(QueueId, String)>) -> Arc<SqsWorkQueue> {
        Arc::new(SqsWorkQueue { client: self.aws.sqs(), urls: urls.into_iter().collect() })
    }

    pub fn unmatched(&self, url: String) -> Arc<SqsUnmatchedQueue> {
        Arc::new(SqsUnmatchedQueue { client: self.aws.sqs(), url })
    }

    pub fn repairs(&self, url: String) -> Arc<SqsRepairQueue> {
        Arc::new(SqsRepairQueue { client: self.aws.sqs(), url })
    }

    pub fn bus(&self, name: String) -> Arc<EventBridgeBus> {
        Arc::new(EventBridgeBus { client: self.aws.eventbridge(), bus: name })
    }

    pub fn alerts(&self, topic_arn: String) -> Arc<SnsAlertSink> {
        Arc::new(SnsAlertSink { client: self.aws.sns(), topic_arn })
    }

    pub fn objects(&self, http: &HttpClients, bucket: String) -> Arc<S3ObjectStore> {
        Arc::new(self.aws.s3(http.client.clone(), bucket))
    }

    /// Builds the ports of the tenants' provider configurations.
    pub fn tenant_ports(
        &self,
        store: &Arc<DynamoStore>,
        factory: Arc<HttpProviderFactory>,
        secrets_key: String,
        public_url: String,
    ) -> TenantPorts {
        TenantPorts {
            store: store.clone(),
            documents: store.clone(),
            sealer: Arc::new(KmsCipher { client: self.aws.kms(), key_id: secrets_key }),
            connector: factory,
            host: Arc::new(SystemClockAndRng),
            public_url,
        }
    }
}

impl Adapters {
    /// Builds the use cases with all their ports.
    pub fn app(&self, http: &HttpClients, config: AppConfig) -> App {
        let store = self.store(config.tables);
        let factory = provider_factory(http, BTreeMap::new());
        App {
            store: store.clone(),
            vault: store.clone(),
            keys: store.clone(),
            limits: store.clone(),
            alerts: self.alerts(config.alerts_topic),
            tenant_ports: self.tenant_ports(&store, factory, config.secrets_key, config.public_url),
            directory: Default::default(),
            library: Default::default(),
            defaults: Default::default(),
            has_sandbox: true,
            accounts: config.accounts,
            sms_countries: Some(config.sms_countries),
            tenant_rate: config.tenant_rate,
            queue: self.queue(config.queues),
            views: self.views(config.views_table),
            objects: self.objects(http, config.files_bucket),
            printer: None,
            host: Arc::new(SystemClockAndRng),
            contact_key: config.contact_key,
            link_keys: config.link_keys,
            payment_url: config.payment_url,
            retention: config.retention,
            principals: Default::default(),
        }
    }
}

/// Creates providers that call their public addresses, except for those that `bases` replaces.
pub fn provider_factory(http: &HttpClients, bases: BTreeMap<String, String>) -> Arc<HttpProviderFactory> {
    Arc::new(HttpProviderFactory { http: http.clone(), simulators: BTreeMap::new(), bases })
}
