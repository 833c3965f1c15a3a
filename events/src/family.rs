use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The events of one kind of stream.
pub trait EventFamily: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Every type that this build knows, in the order of the catalogue, with the version that it writes.
    const TYPES: &'static [(&'static str, u16)];

    /// The type as stored.
    fn name(&self) -> &'static str;

    /// Upcasts `data` of the type `name` from `version` to the newest version, one version at a time. Data that it
    /// cannot upcast is returned unchanged, and then fails to deserialise.
    fn upcast(name: &str, version: u16, data: Value) -> Value {
        let _ = (name, version);
        data
    }

    /// The version that this build writes. Returns `None` for an unknown type.
    fn version_of(name: &str) -> Option<u16> {
        Self::TYPES.iter().find(|(known, _)| *known == name).map(|(_, version)| *version)
    }
}

/// Implements [`EventFamily`] for an enum from its variants and the versions that this build writes. Once a type has
/// more than one version, a last argument names the upcaster.
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
