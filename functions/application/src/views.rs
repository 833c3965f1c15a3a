//! Lists of rows of a view.

use domain::ports::{RowRange, StoreError, ViewRow, ViewScope, ViewStore, parse_row};

/// The most rows that are examined for one page.
const MAX_EXAMINED: usize = 500;
/// Number of rows that are read at once when the first ones did not fill the page.
const BATCH: usize = 100;

/// One page, newest first. A page may be short and still have a `next`.
#[derive(Debug, Clone, PartialEq)]
pub struct RowPage<R> {
    pub rows: Vec<R>,
    /// The argument `after` of the next call. `None` at the end.
    pub next: Option<String>,
}

/// One page of the rows of a range in the store's order. `next` is the `before` of the next page's range.
///
/// # Errors
///
/// [`StoreError`]
pub async fn page<R: ViewRow>(
    views: &dyn ViewStore,
    scope: &ViewScope,
    range: &RowRange,
    size: usize,
) -> Result<RowPage<R>, StoreError> {
    let stored = views.list(scope, range, size).await?;
    let next = stored.last().filter(|_| stored.len() == size).map(|(key, _)| key.clone());
    let rows = stored.iter().map(|(_, body)| parse_row::<R>(body)).collect::<Result<_, _>>()?;
    Ok(RowPage { rows, next })
}

/// The rows of some ranges that match, newest first, behind the key `after`. No row may be in two of the ranges.
///
/// # Errors
///
/// [`StoreError`]
pub async fn list<R: ViewRow>(
    views: &dyn ViewStore,
    scope: &ViewScope,
    ranges: Vec<RowRange>,
    after: Option<&str>,
    size: usize,
    matches: impl Fn(&R) -> bool,
) -> Result<RowPage<R>, StoreError> {
    let (mut rows, mut next) = (Vec::new(), None::<String>);
    for range in ranges {
        let page = list_range(views, scope, range, after, size, &matches).await?;
        rows.extend(page.rows);
        next = next.max(page.next);
    }
    // Behind `next` a range may have rows that were not examined.
    rows.retain(|row: &R| next.as_ref().is_none_or(|next| *next <= row.key()));
    rows.sort_by_key(|row| std::cmp::Reverse(row.key()));
    if size < rows.len() {
        rows.truncate(size);
        next = rows.last().map(ViewRow::key);
    }
    Ok(RowPage { rows, next })
}

async fn list_range<R: ViewRow>(
    views: &dyn ViewStore,
    scope: &ViewScope,
    mut range: RowRange,
    after: Option<&str>,
    size: usize,
    matches: &impl Fn(&R) -> bool,
) -> Result<RowPage<R>, StoreError> {
    if let Some(after) = after.filter(|after| *after < range.before.as_str()) {
        after.clone_into(&mut range.before);
    }
    let (mut rows, mut examined, mut batch) = (Vec::new(), 0, size);
    loop {
        let stored = views.list(scope, &range, batch).await?;
        let is_last = stored.len() < batch;
        for (key, body) in stored {
            examined += 1;
            let row = parse_row::<R>(&body)?;
            if matches(&row) {
                rows.push(row);
            }
            if rows.len() == size || examined == MAX_EXAMINED {
                return Ok(RowPage { rows, next: Some(key) });
            }
            range.before = key;
        }
        if is_last {
            return Ok(RowPage { rows, next: None });
        }
        batch = BATCH.max(size);
    }
}
