//! Where files are after a warehouse was restored in another place.
//!
//! Iceberg's metadata holds absolute locations. What lay in the warehouse lies in the new one under the same name; what lay
//! elsewhere (tables of other engines that were registered) below `elsewhere/` in it.

/// From one warehouse to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocation {
    from: String,
    to: String,
}

/// The directory of what lay outside the warehouse.
const ELSEWHERE: &str = "elsewhere";

impl Relocation {
    /// The warehouses' locations; where they are the same, what is inside stays as it is.
    pub fn new(from: &str, to: &str) -> Relocation {
        let plain = |location: &str| location.trim_end_matches('/').to_owned();
        Relocation {
            from: plain(from),
            to: plain(to),
        }
    }

    /// Whether what lies in the warehouse stays where it is.
    pub fn is_in_place(&self) -> bool {
        self.from == self.to
    }

    /// Where something in the warehouse is now, or the warehouse itself; `None` for all else.
    pub fn inside(&self, text: &str) -> Option<String> {
        let rest = text.strip_prefix(&self.from)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{}{rest}", self.to))
    }

    /// Where a file or directory is now. A text that is no location, such as the definition of a sequence, stays.
    pub fn location(&self, location: &str) -> String {
        match self.path(location) {
            Some(path) => format!("{}/{path}", self.to),
            None => self.inside(location).unwrap_or_else(|| location.to_owned()),
        }
    }

    /// The path of a file relative to the new warehouse, which is also its name in a backup; `None` for the warehouse itself and
    /// what is no location.
    pub fn path(&self, location: &str) -> Option<String> {
        if let Some(inside) = location
            .strip_prefix(&self.from)
            .and_then(|rest| rest.strip_prefix('/'))
        {
            return Some(inside.to_owned());
        }
        let (scheme, path) = match location.split_once(":/") {
            Some((scheme, path)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => (scheme, path),
            None if location.starts_with('/') => ("file", location),
            _ => return None,
        };
        let is_warehouse = location.trim_end_matches('/') == self.from;
        (!is_warehouse).then(|| format!("{ELSEWHERE}/{scheme}/{}", path.trim_start_matches('/')))
    }

    /// Whether a path of [`Relocation::path`] is of something that may have been outside the warehouse.
    pub fn came_in(path: &str) -> bool {
        path.split('/').next() == Some(ELSEWHERE)
    }

    /// The same of a bound of locations, which may be cut short: one that no longer says in which directory bounds nothing.
    pub(crate) fn bound(&self, bound: &str, is_upper: bool) -> String {
        // Of an upper bound that was cut the last character is the next one.
        let cut = bound.char_indices().next_back().map_or(0, |(last, _)| last);
        let is_cut = bound.len() <= self.from.len() && self.from.starts_with(&bound[..cut]);
        match (is_cut, is_upper) {
            (true, false) => String::new(),
            (true, true) => char::MAX.to_string(),
            (false, _) => self.location(bound),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inside_keeps_its_name_and_the_rest_comes_in() {
        let moved = Relocation::new("file:///a/w/", "s3://b/p");
        for (before, after) in [
            ("file:///a/w", "s3://b/p"),
            ("file:///a/w/s/t-1/data/x.parquet", "s3://b/p/s/t-1/data/x.parquet"),
            ("file:///a/wider/x", "s3://b/p/elsewhere/file/a/wider/x"),
            ("/other/x", "s3://b/p/elsewhere/file/other/x"),
            ("s3://c/k", "s3://b/p/elsewhere/s3/c/k"),
            ("{\"table\": \"://\"}", "{\"table\": \"://\"}"),
            ("staffa-counter:1", "staffa-counter:1"),
        ] {
            assert_eq!(moved.location(before), after);
        }
        assert_eq!(moved.path("file:///a/w/s/t"), Some("s/t".to_owned()));
        assert_eq!(moved.inside("plain text"), None);
    }

    #[test]
    fn a_bound_that_was_cut_in_the_old_directory_bounds_nothing() {
        let moved = Relocation::new("file:///a/w", "file:///new");
        assert_eq!(moved.bound("file:///a/w/t/x", false), "file:///new/t/x");
        assert_eq!(moved.bound("file:///a/", false), "");
        assert_eq!(moved.bound("file:///a0", true), char::MAX.to_string());
    }
}
