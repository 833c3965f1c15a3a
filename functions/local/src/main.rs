//! `tidings`: the command line.

mod verify_callbacks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use api::config::{ConsoleClient, Jwt, keys_of};
use clap::{Args, Parser, Subcommand, ValueEnum};
use domain::ports::{ClockAndRng, Principal};
use events::{Mode, RateLimit, TenantId};
use infra::SystemClockAndRng;
use local::{DEV_KEY, Data, Local, Options, ParkedEvents};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// A fifth of the time of a message goes to the allocator of the system, and a tenth to this one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Business messages with a complete record. Without a command it runs everything in one process, and nothing leaves
/// this machine.
#[derive(Parser)]
#[command(name = "tidings", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    start: Start,
}

#[derive(Args)]
struct Start {
    /// Port on 127.0.0.1. 0 picks a free one. If the port is in use, the next one is taken.
    #[arg(long, default_value_t = 7070)]
    port: u16,
    /// Folder for the data, or `memory` to keep nothing.
    #[arg(long, default_value = ".tidings")]
    data: String,
    /// How fast the clock runs: with `60x` an hour takes a minute.
    #[arg(long, default_value = "1x", value_parser = parse_factor)]
    clock: u32,
    /// Start although the machine's clock is more than a day before, or 31 days after, the last use of the folder.
    #[arg(long)]
    accept_clock: bool,
    /// How long a call to a provider may take, in milliseconds.
    #[arg(long, default_value_t = 10_000)]
    provider_timeout_ms: u64,
    /// Rate limit of each provider, as `burst,perSecond`. A deployment limits SendGrid to `100,10`.
    #[arg(long, value_parser = parse_rate)]
    rate: Option<RateLimit>,
    /// Rate limit of each API key, as `burst,perSecond`. A deployment allows `500,50`.
    #[arg(long, value_parser = parse_rate)]
    request_rate: Option<RateLimit>,
    /// Accept tokens of this identity provider in addition to API keys.
    #[arg(long, requires = "jwt_audience")]
    jwt_issuer: Option<String>,
    /// Audience that the tokens must have.
    #[arg(long, requires = "jwt_issuer")]
    jwt_audience: Option<String>,
    /// Address of its keys. Default: /.well-known/jwks.json of the issuer.
    #[arg(long, requires = "jwt_issuer")]
    jwks_url: Option<String>,
    /// Ask people to sign in to the console, by the identity provider of --jwt-issuer, as this client of it. The
    /// secret of the client is TIDINGS_CONSOLE_CLIENT_SECRET. Without it, everybody on this machine is signed in.
    #[arg(long, requires = "jwt_issuer")]
    console_client_id: Option<String>,
    /// Call providers at this address instead of the simulated ones, such as `http://127.0.0.1:9000` for tests with
    /// your own.
    #[arg(long, value_parser = parse_loopback_url)]
    providers: Option<String>,
    /// Print only errors.
    #[arg(long)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Manages the API keys of a deployment.
    #[command(subcommand)]
    Key(Key),
    /// Tells a story of invoices, reminders and payments in 20 seconds, with a clock that is moved and data in memory.
    /// Each line is checked; exits with 1 if one does not come true.
    Demo {
        /// Go on running afterwards, so that the story can be looked at.
        #[arg(long)]
        keep: bool,
        /// Port on 127.0.0.1. If it is in use, the next one is taken.
        #[arg(long, default_value_t = 7070)]
        port: u16,
    },
    /// Checks the streams, timers, rows and counters of a folder for contradictions, also while a process uses it.
    /// Changes nothing. Exits with 1 if it finds a difference.
    Audit {
        /// The folder of the data.
        #[arg(long, default_value = ".tidings")]
        data: PathBuf,
    },
    /// Rebuilds the rows and counters of a folder from its streams, and audits them. No process may use the folder.
    Rebuild {
        /// The folder of the data.
        #[arg(long, default_value = ".tidings")]
        data: PathBuf,
    },
    /// Looks after business events that are parked, such as those that name no tenant. TIDINGS_KEY is a key of their
    /// tenant, which is `unassigned` unless the deployment names another one: `tidings key new --tenant unassigned`.
    #[command(subcommand)]
    Events(Events),
    /// Works with callbacks of providers.
    #[command(subcommand)]
    Webhook(Webhook),
}

#[derive(Args)]
struct Deployment {
    /// Address of the API, such as https://api.example.com.
    #[arg(long, default_value = "http://127.0.0.1:7070")]
    url: String,
}

#[derive(Subcommand)]
enum Events {
    /// Lists parked events, newest first: id, time, reason, source, type and the source's id.
    List {
        #[command(flatten)]
        deployment: Deployment,
        /// Number of events.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Sends an event again to the tenant that it is for, and discards the parked one. TIDINGS_TENANT_KEY is a key of
    /// that tenant.
    Replay {
        #[command(flatten)]
        deployment: Deployment,
        id: String,
    },
    /// Decides that an event will not be handled.
    Discard {
        #[command(flatten)]
        deployment: Deployment,
        id: String,
        /// Why. Everybody who can see the event sees it.
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Subcommand)]
enum Webhook {
    /// Prints for each request in a file whether its signature is valid, and if not, why. Exits with 0 if all of them
    /// could be checked.
    Verify {
        /// JSON: one request, a list of them, or an object with a list named `vectors`. docs/webhooks.md has the
        /// fields.
        file: PathBuf,
    },
}

#[derive(Subcommand)]
enum Key {
    /// Creates a key, shows it once, and prints the command that stores its hash in a deployment's vault.
    New {
        /// Tenant of the key: a-z, 0-9 and -.
        #[arg(long)]
        tenant: String,
        /// Name of the key's user, which every event shows.
        #[arg(long)]
        actor: String,
        #[arg(long, value_enum, default_value_t = KeyMode::Live)]
        mode: KeyMode,
        /// The deployment's vault table.
        #[arg(long, default_value = "tidings-dev-vault")]
        table: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum KeyMode {
    Live,
    Test,
}

fn parse_factor(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('x').unwrap_or(text).parse().ok();
    let factor = number.filter(|factor| (1..=3_600).contains(factor));
    factor.ok_or_else(|| "a factor from 1x to 3600x".to_owned())
}

fn parse_rate(text: &str) -> Result<RateLimit, String> {
    RateLimit::parse(text).ok_or_else(|| "a rate such as 100,10: a burst of 100, then 10 a second".to_owned())
}

fn parse_loopback_url(text: &str) -> Result<String, String> {
    let is_local = ["http://127.0.0.1:", "http://localhost:"].iter().any(|prefix| text.starts_with(prefix));
    is_local.then(|| text.trim_end_matches('/').to_owned()).ok_or_else(|| {
        "an address of this machine, such as http://127.0.0.1:9000; nothing else is ever called".to_owned()
    })
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Key(Key::New { tenant, actor, mode, table })) => new_key(&tenant, actor, mode, &table),
        Some(Command::Demo { keep, port }) => demo(keep, port).await,
        Some(Command::Audit { data }) => audit(&data).await,
        Some(Command::Rebuild { data }) => rebuild(&data).await,
        Some(Command::Events(command)) => events(command).await,
        Some(Command::Webhook(Webhook::Verify { file })) => verify_callbacks::verify_file(&file),
        None => run(cli.start).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("tidings: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn events(command: Events) -> Result<(), String> {
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} must be set to an API key"));
    let parked = |Deployment { url }| Ok::<_, String>(ParkedEvents { url, key: variable("TIDINGS_KEY")? });
    match command {
        Events::List { deployment, limit } => {
            parked(deployment)?.list(limit).await?.iter().for_each(|line| println!("{line}"));
        }
        Events::Replay { deployment, id } => {
            println!("{}", parked(deployment)?.replay(&id, &variable("TIDINGS_TENANT_KEY")?).await?);
        }
        Events::Discard { deployment, id, reason } => {
            println!("{}", parked(deployment)?.discard(&id, reason.as_deref()).await?);
        }
    }
    Ok(())
}

async fn demo(keep: bool, port: u16) -> Result<(), String> {
    let options = Options { port, data: Data::Memory, ..Options::default() };
    let local = Local::start(options).await.map_err(|error| error.to_string())?;
    let untrue = local::tell_demo(&local).await?;
    if keep {
        println!("\nLook at it:  {}/  Ctrl-C ends it.", local.url);
        wait_for_stop().await.map_err(|error| error.to_string())?;
    }
    match untrue {
        0 => Ok(()),
        untrue => Err(format!("{untrue} lines of the story did not come true")),
    }
}

async fn run(start: Start) -> Result<(), String> {
    let level = if start.quiet { "error" } else { "warn" };
    let filter = std::env::var("TIDINGS_LOG").ok().filter(|filter| !filter.is_empty());
    let filter: Targets =
        filter.as_deref().unwrap_or(level).parse().map_err(|error| format!("TIDINGS_LOG is not a filter: {error}"))?;
    let stderr = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(stderr).with(filter).init();
    let data = match start.data.as_str() {
        "memory" => Data::Memory,
        folder => Data::Folder(PathBuf::from(folder)),
    };
    let options = Options {
        port: start.port,
        data,
        clock_factor: start.clock,
        accept_clock: start.accept_clock,
        provider_timeout_ms: start.provider_timeout_ms,
        rate: start.rate,
        request_rate: start.request_rate,
        jwt: start.jwt_issuer.clone().zip(start.jwt_audience.clone()).map(|(issuer, audience)| Jwt {
            keys_url: start.jwks_url.clone().unwrap_or_else(|| keys_of(&issuer)),
            tenant_claim: "tenant".to_owned(),
            role_claim: "role".to_owned(),
            issuer,
            audience,
        }),
        console: start.console_client_id.clone().map(|id| {
            let secret = std::env::var("TIDINGS_CONSOLE_CLIENT_SECRET").ok();
            ConsoleClient { id, secret: secret.filter(|secret| !secret.is_empty()) }
        }),
        providers_url: start.providers.clone(),
    };
    let local = Local::start(options).await.map_err(|error| error.to_string())?;
    if !start.quiet {
        if start.port != 0 && start.port != local.port {
            println!("tidings: port {} is taken, so this is {}", start.port, local.port);
        }
        println!("{}", banner(&local, &start));
    }
    let stopped = wait_for_stop().await;
    // There is nothing to flush. What callers got an answer for is on disk, and the next start resumes the rest.
    drop(local);
    stopped.map_err(|error| error.to_string())
}

/// Waits for Ctrl-C, or for the signal with which service managers and containers stop a process.
#[cfg(unix)]
async fn wait_for_stop() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        stopped = tokio::signal::ctrl_c() => stopped,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn wait_for_stop() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}

fn banner(local: &Local, start: &Start) -> String {
    let Local { url, port, .. } = local;
    let location = match start.data.as_str() {
        "memory" => "in memory, gone when this ends".to_owned(),
        folder => format!("{}/  (delete to reset; --data memory to keep nothing)", folder.trim_end_matches('/')),
    };
    let clock = if start.clock == 1 { String::new() } else { format!("\n  Clock     {} times as fast", start.clock) };
    let sign_in = if start.console_client_id.is_some() {
        "sign in by the identity provider"
    } else {
        "no sign-in on this machine"
    };
    let body = r#"{"channel":"email","type":"invoice","recipientContact":"delivered@sim.test","templateId":"tpl_invoice_email","templateVariables":{"customerName":"Ada","invoiceNumber":"INV-1","amount":1500,"businessName":"Acme"}}"#;
    format!(
        "tidings: nothing leaves this machine
  Console   {url}/  ({sign_in})
  API       {url}/api         key  {DEV_KEY}
  Inbox     {url}/_dev/inbox  what the simulated providers received
  Data      {location}{clock}
Try:  curl -s localhost:{port}/api/communications/send -H 'authorization: Bearer {DEV_KEY}' -H 'content-type: application/json' -d '{body}'"
    )
}

async fn rebuild(data: &Path) -> Result<(), String> {
    let (rebuilt, report) = local::rebuild(data).await.map_err(|error| error.to_string())?;
    println!("{} rows rebuilt, {} streams skipped", rebuilt.streams, rebuilt.skipped);
    print_report(&report)
}

async fn audit(data: &Path) -> Result<(), String> {
    print_report(&local::audit(data).await.map_err(|error| error.to_string())?)
}

fn print_report(report: &audit::Report) -> Result<(), String> {
    println!("{report}");
    if report.findings.is_empty() {
        Ok(())
    } else {
        Err("the store contradicts itself; docs/reliability.md says what each invariant means".to_owned())
    }
}

fn new_key(tenant: &str, actor: String, mode: KeyMode, table: &str) -> Result<(), String> {
    let tenant: TenantId = tenant.parse().map_err(|error: events::IdError| error.to_string())?;
    let (mode, name) = match mode {
        KeyMode::Live => (Mode::Live, "live"),
        KeyMode::Test => (Mode::Test, "test"),
    };
    let key = format!("td_{name}_{:032x}", SystemClockAndRng.random());
    let hash = application::hash::key_hash(&key);
    let body = serde_json::to_string(&Principal::admin(tenant, actor, mode)).map_err(|error| error.to_string())?;
    let item = serde_json::json!({
        "pk": { "S": format!("key#{hash}") }, "sk": { "S": "principal" }, "body": { "S": body },
    });
    println!("{key}\n\nShown once. Store its hash:\n\naws dynamodb put-item --table-name {table} --item '{item}'");
    Ok(())
}
