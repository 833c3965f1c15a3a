//! A DynamoDB emulator in this process, with the tables of `template.yaml`. The real SDK calls it over HTTP.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType,
};
use infra::aws::{Aws, DynamoStore, DynamoViewStore};

/// An emulator. Each test starts its own.
pub struct Dynamo {
    pub aws: Aws,
    pub store: DynamoStore,
    pub views: DynamoViewStore,
}

impl Dynamo {
    pub async fn start() -> Dynamo {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let database = dynoxide::Database::memory().expect("a database");
        tokio::spawn(dynoxide::server::serve_on(listener, database));
        let aws = at(&url);
        let client = aws.dynamodb();
        create_tables(&client).await;
        Dynamo { aws, store: store(client.clone()), views: views(client) }
    }
}

/// The SDK, configured for an emulator.
pub fn at(url: &str) -> Aws {
    let var = |name: &str| match name {
        "AWS_ENDPOINT_URL" => Some(url.to_owned()),
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
        _ => None,
    };
    Aws::from_env(var).expect("settings")
}

pub fn store(client: Client) -> DynamoStore {
    let [events_table, vault_table, limits_table] = ["events", "vault", "limits"].map(str::to_owned);
    DynamoStore { client, events_table, vault_table, limits_table }
}

pub fn views(client: Client) -> DynamoViewStore {
    DynamoViewStore { client, table: "views".to_owned() }
}

type Index<'a> = (&'a str, &'a str, &'a str, ProjectionType, &'a [&'a str]);

async fn create_tables(client: &Client) {
    let work = ("work", "shard", "wake", ProjectionType::Include, &["lane", "hints"][..]);
    let by_recipient = ("by_recipient", "rpk", "sk", ProjectionType::KeysOnly, &[][..]);
    let by_entity = ("by_entity", "epk", "sk", ProjectionType::KeysOnly, &[][..]);
    let dead_letters = ("dead_letters", "dpk", "sk", ProjectionType::KeysOnly, &[][..]);
    let by_provider_message = ("by_provider_message", "mpk", "sk", ProjectionType::KeysOnly, &[][..]);
    let by_due = ("by_due", "upk", "due", ProjectionType::KeysOnly, &[][..]);
    create(client, "events", Some("sk"), &["shard", "wake"], &[work]).await;
    create(client, "vault", Some("sk"), &[], &[]).await;
    let views = [by_recipient, by_entity, dead_letters, by_provider_message, by_due];
    create(client, "views", Some("sk"), &[], &views).await;
    create(client, "limits", None, &[], &[]).await;
}

fn key(name: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build().expect("a key")
}

async fn create(client: &Client, table: &str, range: Option<&str>, numbers: &[&str], indexes: &[Index<'_>]) {
    let mut names: Vec<&str> = ["pk"].into_iter().chain(range).collect();
    names.extend(indexes.iter().flat_map(|index| [index.1, index.2]));
    names.sort_unstable();
    names.dedup();
    let mut create = client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("pk", KeyType::Hash))
        .set_global_secondary_indexes(None);
    if let Some(range) = range {
        create = create.key_schema(key(range, KeyType::Range));
    }
    for name in names {
        let kind = if numbers.contains(&name) { ScalarAttributeType::N } else { ScalarAttributeType::S };
        let attribute = AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
        create = create.attribute_definitions(attribute.expect("an attribute"));
    }
    for (name, hash, range, projection, included) in indexes {
        let included: Vec<String> = included.iter().map(|name| (*name).to_owned()).collect();
        let projection = Projection::builder()
            .projection_type(projection.clone())
            .set_non_key_attributes(Some(included).filter(|names| !names.is_empty()))
            .build();
        let index = GlobalSecondaryIndex::builder()
            .index_name(*name)
            .key_schema(key(hash, KeyType::Hash))
            .key_schema(key(range, KeyType::Range))
            .projection(projection)
            .build();
        create = create.global_secondary_indexes(index.expect("an index"));
    }
    create.send().await.expect("a table");
}
