use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The events of one kind of stream.
pub trait EventFamily: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Every type that this build knows, in the order of the catalogue, with the version that it writes.
    const TYPES: &'static [(&'static str, u16)];

    /// The type as stored.
    fn name(&self) -> &'static str;

    /// Lifts `data` of the type `name` from `version` to the newest, one version at a time. Total: what it cannot lift
    /// is left as it is, and fails to deserialise.
    fn upcast(name: &str, version: u16, data: Value) -> Value {
        let _ = (name, version);
        data
    }

    /// The version that this build writes; none for a type that it does not know.
    fn version_of(name: &str) -> Option<u16> {
        Self::TYPES.iter().find(|(known, _)| *known == name).map(|(_, version)| *version)
    }
}

/// Implements [`EventFamily`] for an enum: each variant and the version that is written today. A third argument is the
/// upcaster, once a type has more than one version.
#[macro_export]
macro_rules! event_family {
    ($events:ident { $($variant:ident: $version:literal),* $(,)? } $(, $upcast:path)?) => {
        impl $events {
            /// Every type and the version that this build writes.
            pub const TYPES: &'static [(&'static str, u16)] = &[$((stringify!($variant), $version)),*];

            /// The type as stored.
            pub fn name(&self) -> &'static str {
                match self { $($events::$variant { .. } => stringify!($variant)),* }
            }
        }

        impl $crate::EventFamily for $events {
            const TYPES: &'static [(&'static str, u16)] = $events::TYPES;

            fn name(&self) -> &'static str {
                $events::name(self)
            }

            $(fn upcast(name: &str, version: u16, data: serde_json::Value) -> serde_json::Value {
                $upcast(name, version, data)
            })?
        }
    };
}
