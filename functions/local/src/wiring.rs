//! The adapters of one process, and the handlers that use them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use api::Api;
use api::config::{ConsoleClient, Jwt};
use api::rate::RequestLimiter;
use application::App;
use application::consent::DefaultPreferences;
use application::directory::{ProviderDirectory, TenantPorts, build_deployment_providers};
use application::links::LinkKeys;
use application::retention::RetentionPeriods;
use application::settings::DeploymentProviderConfig;
use application::templates::TemplateCache;
use console::{Console, LocalSession, Sessions, SignIn};
use dead_letter::DeadLetterHandler;
use deliver::{DeliverHandler, WorkerCache};
use domain::ports::{Principal, Provider, ProviderConfig, ProviderFactory};
use domain::provider::{InvalidSetting, ProviderKind};
use events::{Mode, RateLimit};
use infra::embedded::{
    Database, FolderObjectStore, LocalKeyCipher, LogAlertSink, MemoryWorkQueue, SqliteUnmatchedQueue,
};
use infra::providers::{HttpClients, HttpIdentityProvider, HttpJwksSource, HttpProviderFactory, REGISTRY, http_client};
use intake::{EventSources, IntakeHandler};
use pages::PagesHandler;
use pdf::PdfPrinter;
use project::ProjectHandler;
use reconcile::ReconcileHandler;
use schedule::SweepHandler;
use simulator::{RegisteredConfig, Simulator, deployment, examples};
use webhook::WebhookHandler;

use crate::clock::Clock;
use crate::data::DataFolder;
use crate::dev::Dev;
use crate::files::SimulatedFiles;
use crate::hourly::HourlyCheck;
use crate::server::client_address;
use crate::workers::INVOCATION_MS;
use crate::{DEV_ACCOUNT, DEV_TENANT, Options};

/// How long a received hint is invisible, in milliseconds. AWS recommends six times the function's timeout.
const VISIBILITY_MS: i64 = 6 * INVOCATION_MS;
/// The rate limit of a simulated provider. It is higher than what one machine can send.
const NO_LIMIT: RateLimit = RateLimit { burst: 1_000_000, per_second: 100_000 };

/// Every adapter of one process.
pub struct Wiring {
    pub store: Arc<Database>,
    pub clock: Arc<Clock>,
    pub simulator: Arc<Simulator>,
    pub queue: Arc<MemoryWorkQueue>,
    pub objects: Arc<FolderObjectStore>,
    pub unmatched: Arc<SqliteUnmatchedQueue>,
    pub check: Arc<HourlyCheck>,
    providers: Vec<Arc<dyn Provider>>,
    tenant_ports: TenantPorts,
    contact_key: Vec<u8>,
    link_keys: LinkKeys,
    directory: Arc<ProviderDirectory>,
    library: Arc<TemplateCache>,
    printer: Arc<PdfPrinter>,
    defaults: Arc<DefaultPreferences>,
}

impl Wiring {
    /// Builds the adapters. `url` is the address of this process, `providers_url` that of the providers.
    pub fn new(
        folder: &DataFolder,
        database: Database,
        clock: Arc<Clock>,
        simulator: Arc<Simulator>,
        url: &str,
        providers_url: &str,
        rate: Option<RateLimit>,
    ) -> io::Result<Wiring> {
        let factory =
            Arc::new(SimulatedProviderFactory { http: provider_factory(providers_url), simulator: simulator.clone() });
        let providers = deployment_providers(&simulator, &*factory, url, rate.unwrap_or(NO_LIMIT));
        let store = Arc::new(database);
        let tenant_ports = TenantPorts {
            store: store.clone(),
            documents: store.clone(),
            sealer: Arc::new(LocalKeyCipher(folder.keys.credentials)),
            connector: factory,
            host: clock.clone(),
            public_url: url.to_owned(),
        };
        let links = folder.keys.links.clone();
        let objects = FolderObjectStore { folder: folder.files(), url: url.to_owned(), key: links.clone() };
        let reconcile = ReconcileHandler {
            store: store.clone(),
            views: store.clone(),
            documents: store.clone(),
            alerts: Arc::new(LogAlertSink),
            host: clock.clone(),
        };
        let unmatched = SqliteUnmatchedQueue { database: (*store).clone(), host: clock.clone() };
        Ok(Wiring {
            queue: Arc::new(MemoryWorkQueue::new(clock.clone(), clock.scaled(VISIBILITY_MS))),
            objects: Arc::new(objects),
            unmatched: Arc::new(unmatched),
            check: Arc::new(HourlyCheck::new(reconcile, clock.clone())),
            store,
            clock,
            simulator,
            providers,
            tenant_ports,
            contact_key: folder.keys.contact.clone(),
            link_keys: LinkKeys::new(links),
            directory: Arc::default(),
            library: Arc::new(TemplateCache::of_one_process()),
            printer: Arc::default(),
            defaults: Arc::default(),
        })
    }

    pub fn schedule(&self) -> SweepHandler {
        SweepHandler {
            store: self.store.clone(),
            queue: self.queue.clone(),
            limits: self.store.clone(),
            host: self.clock.clone(),
        }
    }

    pub fn deliver(&self, provider_timeout_ms: u64) -> DeliverHandler {
        DeliverHandler {
            store: self.store.clone(),
            vault: self.store.clone(),
            queue: self.queue.clone(),
            providers: self.providers.clone(),
            tenant_ports: self.tenant_ports.clone(),
            documents: self.store.clone(),
            files: Arc::new(SimulatedFiles),
            objects: self.objects.clone(),
            link_keys: Some(self.link_keys.clone()),
            limits: self.store.clone(),
            tenant_rate: None,
            global_rate: None,
            cache: Arc::new(WorkerCache::sharing(self.directory.clone(), self.library.clone(), self.defaults.clone())),
            alerts: Arc::new(LogAlertSink),
            host: self.clock.clone(),
            provider_timeout_ms,
        }
    }

    /// The use cases, shared by everything that calls them.
    pub fn app(&self) -> Arc<App> {
        Arc::new(App {
            store: self.store.clone(),
            vault: self.store.clone(),
            queue: self.queue.clone(),
            views: self.store.clone(),
            keys: self.store.clone(),
            limits: self.store.clone(),
            alerts: Arc::new(LogAlertSink),
            tenant_ports: self.tenant_ports.clone(),
            directory: self.directory.clone(),
            library: self.library.clone(),
            defaults: self.defaults.clone(),
            has_sandbox: true,
            sms_countries: None,
            tenant_rate: None,
            accounts: self.providers.iter().map(|provider| provider.config().clone()).collect(),
            objects: self.objects.clone(),
            printer: Some(self.printer.clone()),
            host: self.clock.clone(),
            contact_key: self.contact_key.clone(),
            link_keys: self.link_keys.clone(),
            payment_url: None,
            retention: RetentionPeriods::days(7, 400, 2_557),
            principals: Default::default(),
        })
    }

    pub fn api(&self, app: Arc<App>, options: &Options) -> Api {
        Api {
            app,
            requests: RequestLimiter::new(options.request_rate),
            health: Default::default(),
            issuer: options.jwt.clone().map(|jwt| {
                let url = jwt.keys_url.clone();
                jwt.connect(Arc::new(HttpJwksSource { client: http_client(), url }))
            }),
        }
    }

    /// Everybody who reaches this process is its developer.
    pub fn console(&self, api: Arc<Api>, dev: axum::Router, options: &Options) -> Console {
        let sessions = match (&options.console, &options.jwt) {
            (Some(client), Some(jwt)) => Sessions::SignIn(self.sign_in(client, jwt)),
            (None, _) | (_, None) => {
                let tenant = DEV_TENANT.parse().expect("the name of a tenant");
                let principal = Principal { is_user: true, ..Principal::admin(tenant, "developer", Mode::Test) };
                Sessions::Local(LocalSession::new(principal, &*self.clock))
            }
        };
        // Who may do what in development is not decided by roles.
        let dev = matches!(sessions, Sessions::Local(_)).then_some(dev);
        Console { api: api::router_for_principals(api), dev, sessions, host: self.clock.clone() }
    }

    fn sign_in(&self, ConsoleClient { id, secret }: &ConsoleClient, jwt: &Jwt) -> SignIn {
        let issuer = jwt.issuer.clone();
        let keys = HttpJwksSource { client: http_client(), url: jwt.keys_url.clone() };
        SignIn {
            provider: Arc::new(HttpIdentityProvider::new(http_client(), issuer, id.clone(), secret.clone())),
            tokens: Arc::new(jwt.for_client(id).connect(Arc::new(keys))),
            documents: self.tenant_ports.documents.clone(),
            client_id: id.clone(),
            url: self.tenant_ports.public_url.clone(),
        }
    }

    pub fn webhook(&self) -> WebhookHandler {
        WebhookHandler {
            store: self.store.clone(),
            host: self.clock.clone(),
            vault: self.store.clone(),
            documents: self.store.clone(),
            unmatched: self.unmatched.clone(),
            providers: self.providers.clone(),
            tenant_ports: self.tenant_ports.clone(),
            directory: self.directory.clone(),
            queue: self.queue.clone(),
            contact_key: self.contact_key.clone(),
            views: self.store.clone(),
            deployment_tenant: DEV_TENANT.parse().ok(),
        }
    }

    pub fn pages(&self) -> PagesHandler {
        PagesHandler {
            store: self.store.clone(),
            vault: self.store.clone(),
            documents: self.store.clone(),
            tenant_ports: self.tenant_ports.clone(),
            queue: self.queue.clone(),
            objects: self.objects.clone(),
            link_keys: self.link_keys.clone(),
            contact_key: self.contact_key.clone(),
            limits: self.store.clone(),
            client: client_address,
            host: self.clock.clone(),
        }
    }

    pub fn dead_letter(&self) -> DeadLetterHandler {
        DeadLetterHandler { store: self.store.clone(), alerts: Arc::new(LogAlertSink), host: self.clock.clone() }
    }

    pub fn project(&self) -> ProjectHandler {
        ProjectHandler { store: self.store.clone(), views: self.store.clone(), host: self.clock.clone() }
    }

    pub fn dev(&self, app: Arc<App>) -> Dev {
        Dev {
            intake: intake(app),
            simulator: self.simulator.clone(),
            clock: self.clock.clone(),
            jump: Default::default(),
            queue: self.queue.clone(),
            schedule: self.schedule(),
            check: self.check.clone(),
            database: (*self.store).clone(),
            objects: self.objects.clone(),
        }
    }
}

/// Takes events with the bus's envelope. All sources of one account may speak for the tenant of this process.
fn intake(app: Arc<App>) -> IntakeHandler {
    let tenant = |name: &str| name.parse().expect("the name of a tenant");
    let sources = EventSources::all_of(DEV_ACCOUNT, tenant(DEV_TENANT), Mode::Test);
    IntakeHandler { app, sources, unassigned: tenant("unassigned") }
}

/// Creates the factory of providers whose requests all go to one address, in live mode too, so that none leaves this
/// machine.
fn provider_factory(providers_url: &str) -> HttpProviderFactory {
    let at = |provider: &str| (provider.to_owned(), providers_url.to_owned());
    HttpProviderFactory {
        http: HttpClients::new(),
        simulators: examples("").iter().map(|(provider, ..)| at(provider)).collect(),
        bases: REGISTRY.iter().map(|entry| at(entry.kind.name)).collect(),
    }
}

/// Creates providers that call the simulator, and registers every configuration with it.
struct SimulatedProviderFactory {
    http: HttpProviderFactory,
    simulator: Arc<Simulator>,
}

impl ProviderFactory for SimulatedProviderFactory {
    fn kinds(&self) -> Vec<&'static ProviderKind> {
        self.http.kinds()
    }

    fn create(
        &self,
        account: ProviderConfig,
        settings: &BTreeMap<String, String>,
        callback_url: &str,
    ) -> Result<Arc<dyn Provider>, InvalidSetting> {
        let registered = RegisteredConfig {
            provider: account.provider.clone(),
            config: account.id.clone(),
            channel: account.channel,
            settings: settings.clone(),
            callback_url: callback_url.to_owned(),
        };
        let provider = self.http.create(account, settings, callback_url)?;
        self.simulator.register(registered);
        Ok(provider)
    }
}

/// Creates the providers of the deployment, for tenants without configurations of their own.
fn deployment_providers(
    simulator: &Simulator,
    factory: &dyn ProviderFactory,
    public_url: &str,
    rate: RateLimit,
) -> Vec<Arc<dyn Provider>> {
    let configured = deployment(&simulator.sendgrid_public_key()).into_iter();
    let configured = configured.map(|(config, provider, channel, settings)| {
        let (config, provider) = (config.to_owned(), provider.to_owned());
        let callback_path = application::settings::callback_path(&provider, channel);
        let account = ProviderConfig { id: config, provider, channel, mode: Mode::Test, rate, prices: None };
        DeploymentProviderConfig { account, settings, callback_path }
    });
    build_deployment_providers(factory, configured.collect(), public_url)
}
