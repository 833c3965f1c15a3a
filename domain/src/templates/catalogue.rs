//! Which of a tenant's templates, and of the built-in ones, a message is given.

use std::collections::BTreeMap;

use events::{Channel, TemplateRef as Pinned};

use super::{DEFAULT_LOCALE, Template, builtin, find, template_id};

/// Every template that a tenant has, by its id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TemplateCatalogue {
    pub templates: BTreeMap<String, Template>,
}

impl FromIterator<Template> for TemplateCatalogue {
    fn from_iter<I: IntoIterator<Item = Template>>(templates: I) -> Self {
        let templates = templates.into_iter().map(|template| (template.id.clone(), template));
        TemplateCatalogue { templates: templates.collect() }
    }
}

/// `es-MX`, then `es`, then the one for everybody.
fn locales<'a>(locale: Option<&'a str>, last: &'static str) -> impl Iterator<Item = &'a str> {
    let language = locale.and_then(|locale| locale.split_once('-')).map(|(language, _)| language);
    [locale, language, Some(last)].into_iter().flatten()
}

impl TemplateCatalogue {
    /// The template that a message is given: by its id, or by its code in the best locale there is. The tenant's own
    /// come before the built-in ones.
    pub fn resolve(&self, reference: &str, channel: Channel, locale: Option<&str>) -> Option<Pinned> {
        if let Some(own) = self.templates.get(reference).filter(|own| own.is_active && own.channel == channel) {
            return Some(pinned(own));
        }
        let named = find(reference);
        // Of another channel: it says so itself, when it is rendered.
        if let Some(other) = named.filter(|named| named.channel.is_some_and(|of| of != channel)) {
            return Some(Pinned { id: other.id.to_owned(), version: other.version, text: None });
        }
        let code = named.map_or(reference, |builtin| builtin.code);
        let chain = locales(locale, DEFAULT_LOCALE).chain(["en"]);
        let own = chain.filter_map(|locale| self.templates.get(&template_id(code, channel, locale)));
        let own = own.filter(|own| own.is_active).map(pinned).next();
        let builtin = || {
            // One that was named with its locale is that one.
            let exact = named.filter(|builtin| builtin.id == reference && builtin.locale != "en");
            let best = locales(locale, "en").find_map(|locale| builtin::of(code, channel, locale));
            let found = exact.or(best).or(named)?;
            Some(Pinned { id: found.id.to_owned(), version: found.version, text: None })
        };
        own.or_else(builtin)
    }
}

fn pinned(own: &Template) -> Pinned {
    Pinned { id: own.id.clone(), version: own.latest.version, text: Some(own.latest.text.clone()) }
}
