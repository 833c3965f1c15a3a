//! Formatters that are kept, since making one takes longer than using it a hundred times.

use std::cell::RefCell;
use std::thread::LocalKey;

/// Maximum number of formatters of a kind that a thread keeps.
const MAX_KEPT: usize = 32;

/// The formatters of one kind that a thread used last, by what they were made from.
pub(crate) type Kept<K, F> = RefCell<Vec<(K, F)>>;

/// Uses the formatter that `is` finds, or else makes it and keeps it in place of the oldest.
pub(crate) fn with<K, F, R, E>(
    kept: &'static LocalKey<Kept<K, F>>,
    is: impl Fn(&K) -> bool,
    make: impl FnOnce() -> Result<(K, F), E>,
    format: impl FnOnce(&F) -> R,
) -> Result<R, E> {
    kept.with_borrow_mut(|kept| {
        let found = match kept.iter().position(|(key, _)| is(key)) {
            Some(found) => found,
            None => {
                let made = make()?;
                if kept.len() == MAX_KEPT {
                    kept.remove(0);
                }
                kept.push(made);
                kept.len() - 1
            }
        };
        Ok(format(&kept[found].1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! { static NUMBERS: Kept<usize, usize> = const { RefCell::new(Vec::new()) }; }

    #[test]
    fn a_formatter_is_made_once_until_newer_ones_take_its_place() {
        let get = |number: usize, made: &mut usize| {
            let make = || {
                *made += 1;
                if number == 99 { Err("cannot be made") } else { Ok((number, number * 10)) }
            };
            with(&NUMBERS, |key| *key == number, make, |formatter| formatter + 1)
        };
        let mut made = 0;
        assert_eq!((get(7, &mut made), get(7, &mut made), made), (Ok(71), Ok(71), 1));
        assert_eq!((get(99, &mut made), made), (Err("cannot be made"), 2));
        for number in 100..100 + MAX_KEPT {
            assert_eq!(get(number, &mut made), Ok(number * 10 + 1));
        }
        made = 0;
        assert_eq!((get(7, &mut made), made), (Ok(71), 1));
        assert_eq!(NUMBERS.with_borrow(Vec::len), MAX_KEPT);
    }
}
