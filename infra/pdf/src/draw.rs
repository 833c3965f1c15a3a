//! Draws pages with krilla, and builds the structure of the document from the same steps.

use domain::printable_invoice::{InvoiceTexts, PrintError};
use krilla::action::LinkAction;
use krilla::annotation::{Annotation, LinkAnnotation, Target};
use krilla::color::rgb;
use krilla::configure::{Archival, ConfigurationBuilder};
use krilla::geom::{PathBuilder, Point, Rect};
use krilla::metadata::{DateTime, Metadata};
use krilla::num::NormalizedF32;
use krilla::page::PageSettings;
use krilla::paint::Fill;
use krilla::surface::Surface;
use krilla::tagging::{Artifact, ArtifactType, ContentTag, Node, SpanTag, Tag, TagGroup, TagTree};
use krilla::{Document, SerializeSettings};

use crate::layout::{Colour, Mark, PAGE_HEIGHT, PAGE_WIDTH, Step};

/// Draws the pages of an invoice. The date of the document is that of the invoice, so that its bytes do not depend on
/// when it is drawn.
///
/// # Errors
///
/// [`PrintError::Invalid`] if the document is not valid PDF/A-2a.
pub(crate) fn draw(
    pages: &[Vec<Step>],
    texts: &InvoiceTexts,
    issued_on: jiff::civil::Date,
) -> Result<Vec<u8>, PrintError> {
    let configuration = ConfigurationBuilder::new().with_archival_validator(Archival::A2_A).finish();
    let configuration = configuration.map_err(|error| invalid(&error))?;
    let mut document = Document::new_with(SerializeSettings { configuration, ..SerializeSettings::default() });
    document.set_metadata(metadata(texts, issued_on));
    let mut open = vec![TagGroup::new(Tag::Div)];
    for steps in pages {
        draw_page(&mut document, steps, &mut open);
    }
    let mut tree = TagTree::new().with_lang(Some(texts.locale.clone()));
    tree.children = open.swap_remove(0).children;
    document.set_tag_tree(tree);
    document.finish().map_err(|error| invalid(&error))
}

fn invalid(error: &impl std::fmt::Debug) -> PrintError {
    // Without the invoice's texts, which an error can contain.
    let shown = format!("{error:?}");
    PrintError::Invalid(shown.split(['(', '[', '{']).next().unwrap_or_default().to_owned())
}

fn metadata(texts: &InvoiceTexts, issued_on: jiff::civil::Date) -> Metadata {
    let date = DateTime::new(issued_on.year().unsigned_abs())
        .month(issued_on.month().unsigned_abs())
        .day(issued_on.day().unsigned_abs());
    Metadata::new()
        .title(texts.heading.clone())
        .authors(vec![texts.seller.name.clone()])
        .creator("Tidings".to_owned())
        .language(texts.locale.clone())
        .creation_date(date)
}

/// Draws one page. `open` are the elements that have begun and not ended, the root first.
fn draw_page(document: &mut Document, steps: &[Step], open: &mut Vec<TagGroup>) {
    let settings = PageSettings::from_wh(PAGE_WIDTH, PAGE_HEIGHT).expect("the size of a page is valid");
    let mut page = document.start_page_with(settings);
    // Annotations belong to the page and not to its surface, so they come first.
    let links = steps.iter().filter_map(|step| match step {
        Step::Link(mark, url) => Some(link(mark, url)),
        _ => None,
    });
    let mut links = links.map(|link| page.add_tagged_annotation(link)).collect::<Vec<_>>().into_iter();
    let mut surface = page.surface();
    for step in steps {
        match step {
            Step::Begin(tag) => open.push(TagGroup::new(tag.clone())),
            Step::End => {
                let ended = open.pop().expect("what ends has begun");
                push(open, ended);
            }
            Step::Text(mark) => {
                let text = write(&mut surface, ContentTag::Span(SpanTag::empty()), mark);
                push(open, text);
            }
            Step::Link(mark, _) => {
                let text = write(&mut surface, ContentTag::Span(SpanTag::empty()), mark);
                push(open, text);
                push(open, links.next().expect("each link has its annotation"));
            }
            Step::Artifact(mark) => {
                write(&mut surface, artifact(ArtifactType::PaginationOther), mark);
            }
            Step::Rectangle { x, y, width, height, colour } => {
                let mut path = PathBuilder::new();
                path.push_rect(Rect::from_xywh(*x, *y, *width, *height).expect("rectangles have a size"));
                surface.start_tagged(artifact(ArtifactType::Layout));
                surface.set_fill(Some(fill(*colour)));
                surface.draw_path(&path.finish().expect("a rectangle is a path"));
                surface.end_tagged();
            }
        }
    }
    surface.finish();
    page.finish();
}

fn push(open: &mut [TagGroup], child: impl Into<Node>) {
    open.last_mut().expect("the root never ends").push(child);
}

fn artifact(kind: ArtifactType) -> ContentTag<'static> {
    ContentTag::Artifact(Artifact::with_kind(kind))
}

fn write(surface: &mut Surface, tag: ContentTag, mark: &Mark) -> krilla::tagging::Identifier {
    let identifier = surface.start_tagged(tag);
    let line = &mark.line;
    surface.set_fill(Some(fill(mark.colour)));
    let start = Point::from_xy(mark.x, mark.baseline);
    surface.draw_glyphs(start, &line.glyphs, line.weight.font(), &line.text, line.size, false);
    surface.end_tagged();
    identifier
}

fn link(mark: &Mark, url: &str) -> Annotation {
    let (top, height) = (mark.baseline - mark.line.size, mark.line.size * 1.3);
    let place = Rect::from_xywh(mark.x, top, mark.line.width, height).expect("a text has a size");
    let target = Target::Action(LinkAction::new(url.to_owned()).into());
    Annotation::new_link(LinkAnnotation::new(place, target), Some(mark.line.text.clone()))
}

fn fill(colour: Colour) -> Fill {
    let colour = match colour {
        Colour::Ink => rgb::Color::new(28, 32, 38),
        Colour::Grey => rgb::Color::new(92, 99, 110),
        Colour::Accent => rgb::Color::new(23, 72, 110),
        Colour::Rule => rgb::Color::new(214, 219, 225),
        Colour::Tint => rgb::Color::new(235, 242, 248),
    };
    Fill { paint: colour.into(), opacity: NormalizedF32::ONE, ..Fill::default() }
}
