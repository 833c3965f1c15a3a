//! Places the texts of an invoice on pages of A4, in reading order.

use domain::printable_invoice::{InvoiceTexts, Party, PrintError};
use krilla::tagging::{TableHeaderScope, Tag, TagKind};

use crate::fonts::{Line, Weight};

pub(crate) const PAGE_WIDTH: f32 = 595.28;
pub(crate) const PAGE_HEIGHT: f32 = 841.89;
const MARGIN: f32 = 52.0;
const RIGHT: f32 = PAGE_WIDTH - MARGIN;
/// Content ends here, above the footer.
const BOTTOM: f32 = PAGE_HEIGHT - 72.0;
const FOOTER: f32 = PAGE_HEIGHT - 40.0;

/// The distance between two lines, as a multiple of the size of the text.
const LEADING: f32 = 1.4;
const SMALL: f32 = 8.5;
const BODY: f32 = 9.5;

/// The right ends of quantity, unit price and amount. The description is on their left.
const COLUMN_ENDS: [f32; 3] = [338.0, 438.0, RIGHT];
const COLUMN_WIDTHS: [f32; 3] = [60.0, 94.0, 100.0];
const DESCRIPTION_WIDTH: f32 = 338.0 - 60.0 - 10.0 - MARGIN;

/// Where the labels of details and totals begin.
const LABELS: f32 = 330.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Ink,
    Grey,
    Accent,
    Rule,
    Tint,
}

/// A step of drawing a page. Elements of the structure begin and end on any page.
#[derive(Debug)]
pub(crate) enum Step {
    Begin(TagKind),
    End,
    Text(Mark),
    /// The last text of the payment link, which leads to an address.
    Link(Mark, String),
    /// A text that is not part of the content, such as the number of the page.
    Artifact(Mark),
    Rectangle {
        x: f32,
        y: f32,
        width: f32,
        height: f32,
        colour: Colour,
    },
}

/// A line of text at its place.
#[derive(Debug)]
pub(crate) struct Mark {
    pub x: f32,
    pub baseline: f32,
    pub colour: Colour,
    pub line: Line,
}

#[derive(Debug, Clone, Copy)]
struct Style {
    weight: Weight,
    size: f32,
    colour: Colour,
}

const fn style(weight: Weight, size: f32, colour: Colour) -> Style {
    Style { weight, size, colour }
}

const TITLE: Style = style(Weight::Bold, 22.0, Colour::Accent);
const NAME: Style = style(Weight::Bold, 12.0, Colour::Ink);
const LABEL: Style = style(Weight::Regular, SMALL, Colour::Grey);
const TEXT: Style = style(Weight::Regular, BODY, Colour::Ink);
const STRONG: Style = style(Weight::Bold, BODY, Colour::Ink);
const BALANCE: Style = style(Weight::Bold, 12.0, Colour::Accent);

#[derive(Debug, Clone, Copy)]
enum Align {
    Left(f32),
    /// The text ends here.
    Right(f32),
}

struct Layout<'a> {
    texts: &'a InvoiceTexts,
    pages: Vec<Vec<Step>>,
    /// The top of what comes next.
    y: f32,
}

/// Places an invoice on pages.
///
/// # Errors
///
/// [`PrintError::NoGlyph`] names the first character that the fonts do not have.
pub(crate) fn pages(texts: &InvoiceTexts) -> Result<Vec<Vec<Step>>, PrintError> {
    let mut layout = Layout { texts, pages: vec![Vec::new()], y: MARGIN };
    layout.head()?;
    layout.parties()?;
    layout.table()?;
    layout.totals()?;
    layout.payment()?;
    layout.footers()?;
    Ok(layout.pages)
}

impl Layout<'_> {
    fn push(&mut self, step: Step) {
        self.pages.last_mut().expect("there is a page").push(step);
    }

    fn begin(&mut self, tag: impl Into<TagKind>) {
        self.push(Step::Begin(tag.into()));
    }

    fn end(&mut self) {
        self.push(Step::End);
    }

    fn rule(&mut self, x: f32, y: f32, height: f32, colour: Colour) {
        self.push(Step::Rectangle { x, y, width: RIGHT - x, height, colour });
    }

    /// Writes a text from `y` down, in lines no wider than `width`. Returns the end of the last line.
    fn write(&mut self, text: &str, style: Style, align: Align, width: f32, y: f32) -> Result<f32, PrintError> {
        let lines = Line::wrap(text, style.weight, style.size, width)?;
        Ok(self.write_lines(lines, style, align, y))
    }

    fn write_lines(&mut self, lines: Vec<Line>, style: Style, align: Align, mut y: f32) -> f32 {
        for line in lines.into_iter().filter(|line| !line.text.is_empty()) {
            self.push(Step::Text(mark(line, style, align, y)));
            y += style.size * LEADING;
        }
        y
    }

    /// An element with one text.
    fn element(
        &mut self,
        tag: impl Into<TagKind>,
        text: &str,
        style: Style,
        align: Align,
        width: f32,
        y: f32,
    ) -> Result<f32, PrintError> {
        self.begin(tag);
        let end = self.write(text, style, align, width, y);
        self.end();
        end
    }

    /// The seller on the left and the heading on its right.
    fn head(&mut self) -> Result<(), PrintError> {
        let texts = self.texts;
        let heading = Tag::Hn(std::num::NonZeroU16::MIN, Some(texts.heading.clone()));
        let width = RIGHT - LABELS;
        let beside = self.element(heading, &texts.heading, TITLE, Align::Left(LABELS), width, self.y - 6.0)?;
        let below = self.party(&texts.seller, NAME, self.y)?;
        self.y = below.max(beside) + 28.0;
        Ok(())
    }

    fn party(&mut self, party: &Party, name: Style, y: f32) -> Result<f32, PrintError> {
        let width = LABELS - 24.0 - MARGIN;
        let mut y = self.element(Tag::P, &party.name, name, Align::Left(MARGIN), width, y)?;
        for line in &party.address {
            y = self.element(Tag::P, line, TEXT, Align::Left(MARGIN), width, y)?;
        }
        Ok(y)
    }

    /// The customer on the left and the details of the invoice on their right.
    fn parties(&mut self) -> Result<(), PrintError> {
        let (texts, top) = (self.texts, self.y);
        let y = self.element(Tag::P, texts.customer_label, LABEL, Align::Left(MARGIN), DESCRIPTION_WIDTH, top)?;
        let below = self.party(&texts.customer, STRONG, y + 2.0)?;
        self.begin(Tag::Table);
        let mut y = top;
        for (label, value) in &texts.details {
            y = self.labelled((label, value), LABEL, TEXT, y)? + 3.0;
        }
        self.end();
        self.y = below.max(y) + 28.0;
        Ok(())
    }

    /// A row of a table with a label and its value.
    fn labelled(&mut self, row: (&str, &str), label: Style, value: Style, y: f32) -> Result<f32, PrintError> {
        let lowered = y + (value.size - label.size) * 1.05;
        self.begin(Tag::TR);
        self.element(Tag::TH(TableHeaderScope::Row), row.0, label, Align::Left(LABELS), 100.0, lowered)?;
        let end = self.element(Tag::TD, row.1, value, Align::Right(RIGHT), RIGHT - LABELS - 84.0, y)?;
        self.end();
        Ok(end)
    }

    fn table(&mut self) -> Result<(), PrintError> {
        let texts = self.texts;
        self.begin(Tag::Table);
        self.begin(Tag::THead);
        self.begin(Tag::TR);
        for step in self.table_head()? {
            let is_label = matches!(step, Step::Text(_));
            if is_label {
                self.begin(Tag::TH(TableHeaderScope::Column));
            }
            self.push(step);
            if is_label {
                self.end();
            }
        }
        self.end();
        self.end();
        self.begin(Tag::TBody);
        for row in &texts.rows {
            self.row(row)?;
        }
        self.end();
        self.end();
        Ok(())
    }

    /// The labels of the columns and the rule below them.
    fn table_head(&mut self) -> Result<Vec<Step>, PrintError> {
        let mut steps = Vec::new();
        for (column, label) in self.texts.columns.iter().enumerate() {
            let align = column.checked_sub(1).map_or(Align::Left(MARGIN), |number| Align::Right(COLUMN_ENDS[number]));
            steps.push(Step::Text(mark(Line::new(label, LABEL.weight, LABEL.size)?, LABEL, align, self.y)));
        }
        let y = self.y + SMALL * LEADING + 4.0;
        steps.push(Step::Rectangle { x: MARGIN, y, width: RIGHT - MARGIN, height: 1.0, colour: Colour::Accent });
        self.y = y + 1.0;
        Ok(steps)
    }

    fn row(&mut self, [description, numbers @ ..]: &[String; 4]) -> Result<(), PrintError> {
        let mut cells = vec![(Line::wrap(description, TEXT.weight, BODY, DESCRIPTION_WIDTH)?, Align::Left(MARGIN))];
        for ((number, end), width) in numbers.iter().zip(COLUMN_ENDS).zip(COLUMN_WIDTHS) {
            cells.push((Line::wrap(number, TEXT.weight, BODY, width)?, Align::Right(end)));
        }
        let lines = cells.iter().map(|(lines, _)| lines.len()).max().unwrap_or_default();
        let height = lines as f32 * BODY * LEADING + 9.0;
        if self.start_page_unless_fits(height)? {
            // The labels again, for the eye alone.
            for step in self.table_head()? {
                self.push(match step {
                    Step::Text(mark) => Step::Artifact(mark),
                    other => other,
                });
            }
        }
        self.begin(Tag::TR);
        for (lines, align) in cells {
            self.begin(Tag::TD);
            self.write_lines(lines, TEXT, align, self.y + 4.5);
            self.end();
        }
        self.end();
        self.y += height;
        self.rule(MARGIN, self.y, 0.5, Colour::Rule);
        Ok(())
    }

    fn totals(&mut self) -> Result<(), PrintError> {
        let texts = self.texts;
        self.start_page_unless_fits(130.0)?;
        self.y += 14.0;
        self.begin(Tag::Table);
        for (label, value) in &texts.totals {
            self.y = self.labelled((label, value), TEXT, TEXT, self.y)? + 5.0;
        }
        let band = BALANCE.size * LEADING + 14.0;
        let x = LABELS - 10.0;
        self.push(Step::Rectangle { x, y: self.y, width: RIGHT + 10.0 - x, height: band, colour: Colour::Tint });
        self.labelled((texts.balance.0, &texts.balance.1), STRONG, BALANCE, self.y + 7.0)?;
        self.end();
        self.y += band + 16.0;
        Ok(())
    }

    /// The payment link: its label, which is a link, and the address for those who read it on paper.
    fn payment(&mut self) -> Result<(), PrintError> {
        let Some((label, url)) = &self.texts.payment else { return Ok(()) };
        let style = style(Weight::Bold, BODY, Colour::Accent);
        let address = Line::wrap(url, LABEL.weight, LABEL.size, RIGHT - MARGIN)?;
        self.start_page_unless_fits(BODY * LEADING + address.len().min(20) as f32 * SMALL * LEADING)?;
        self.begin(Tag::P);
        self.begin(Tag::Link);
        let text = mark(Line::new(label, style.weight, style.size)?, style, Align::Left(MARGIN), self.y);
        self.push(Step::Link(text, url.clone()));
        self.end();
        self.end();
        self.y += BODY * LEADING;
        self.begin(Tag::P);
        for line in address {
            self.start_page_unless_fits(SMALL * LEADING)?;
            self.y = self.write_lines(vec![line], LABEL, Align::Left(MARGIN), self.y);
        }
        self.end();
        Ok(())
    }

    /// Starts a page if there is less room on this one. Returns true if it did.
    fn start_page_unless_fits(&mut self, height: f32) -> Result<bool, PrintError> {
        if self.y + height <= BOTTOM {
            return Ok(false);
        }
        self.pages.push(Vec::new());
        self.y = MARGIN;
        let heading = Line::wrap(&self.texts.heading, STRONG.weight, BODY, RIGHT - MARGIN)?.swap_remove(0);
        self.push(Step::Artifact(mark(heading, STRONG, Align::Left(MARGIN), self.y)));
        self.y += 30.0;
        Ok(true)
    }

    fn footers(&mut self) -> Result<(), PrintError> {
        let count = self.pages.len();
        for (index, page) in self.pages.iter_mut().enumerate() {
            let number = Line::new(&self.texts.page(index + 1, count), LABEL.weight, SMALL)?;
            page.push(Step::Artifact(mark(number, LABEL, Align::Right(RIGHT), FOOTER - SMALL)));
        }
        Ok(())
    }
}

/// Places a line whose top is at `y`.
fn mark(line: Line, style: Style, align: Align, y: f32) -> Mark {
    let x = match align {
        Align::Left(start) => start,
        Align::Right(end) => end - line.width,
    };
    Mark { x, baseline: y + style.size * 1.05, colour: style.colour, line }
}
