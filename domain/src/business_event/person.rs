//! People, as events of other business systems describe them.

use events::{Channel, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};

/// The addresses of a person, and how to write to them. A field that is `None` was not given; `Some(None)` removes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Contact {
    pub id: Option<String>,
    #[serde(deserialize_with = "given")]
    pub name: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    pub email: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    pub phone: Option<Option<String>>,
    /// `None` means the phone number.
    #[serde(deserialize_with = "given")]
    pub whatsapp: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    pub messenger_id: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    pub telegram_id: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    pub locale: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    pub time_zone: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    pub roles: Option<Option<Vec<String>>>,
}

/// Tells a field that is null from one that is absent.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// What is known of a person from events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Person {
    pub name: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub whatsapp: Option<String>,
    pub messenger_id: Option<String>,
    pub telegram_id: Option<String>,
    pub locale: Option<String>,
    pub time_zone: Option<String>,
    pub roles: Vec<String>,
    /// When the newest event about the person occurred.
    pub as_of: Option<Timestamp>,
    /// Whether that event removed the person. Earlier ones do not bring them back.
    pub is_removed: bool,
}

impl Person {
    /// A person of whom only the removal is known.
    pub fn removed(as_of: Option<Timestamp>) -> Person {
        Person { as_of, is_removed: true, ..Person::default() }
    }

    /// How a message addresses the person: by the name, or by what they are.
    pub fn salutation(&self) -> &str {
        let is_spanish = self.locale.as_deref().is_some_and(|locale| locale.starts_with("es"));
        self.name.as_deref().unwrap_or(if is_spanish { "cliente" } else { "customer" })
    }

    pub fn address(&self, channel: Channel) -> Option<&str> {
        match channel {
            Channel::Email => self.email.as_deref(),
            Channel::Sms => self.phone.as_deref(),
            Channel::Whatsapp => self.whatsapp.as_deref().or(self.phone.as_deref()),
            Channel::Messenger => self.messenger_id.as_deref(),
            Channel::Telegram => self.telegram_id.as_deref(),
        }
    }

    /// Applies what an event says. Of two events the one that occurred later decides, whichever arrives first; an
    /// earlier one only fills in what is not known.
    pub fn apply(&mut self, contact: &Contact, occurred_at: Timestamp) {
        let is_newest = self.as_of.is_none_or(|as_of| as_of <= occurred_at);
        if self.is_removed && (!is_newest || self.as_of == Some(occurred_at)) {
            return;
        }
        self.is_removed = false;
        let set = |known: &mut Option<String>, given: &Option<Option<String>>| {
            if let Some(given) = given
                && (is_newest || known.is_none())
            {
                known.clone_from(given);
            }
        };
        set(&mut self.name, &contact.name);
        set(&mut self.email, &contact.email);
        set(&mut self.phone, &contact.phone);
        set(&mut self.whatsapp, &contact.whatsapp);
        set(&mut self.messenger_id, &contact.messenger_id);
        set(&mut self.telegram_id, &contact.telegram_id);
        set(&mut self.locale, &contact.locale);
        set(&mut self.time_zone, &contact.time_zone);
        if let Some(roles) = &contact.roles
            && (is_newest || self.roles.is_empty())
        {
            self.roles = roles.clone().unwrap_or_default();
        }
        self.as_of = self.as_of.max(Some(occurred_at));
    }

    /// What an event says, over what is known of the person.
    pub fn with(&self, contact: &Contact) -> Person {
        let mut person = self.clone();
        person.apply(contact, Timestamp(i64::MAX));
        person
    }
}
