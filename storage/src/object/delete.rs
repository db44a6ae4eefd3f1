//! Many objects removed at once: one request for hundreds of them where the store knows such.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt;
use object_store::ObjectStore;
use object_store::path::Path;

use super::Stores;
use crate::error::{Error, ErrorKind, Result};

/// How many are removed at once one by one.
const AT_ONCE_MAX: usize = 16;

/// The objects of one store, by their place among those asked for.
struct Batch {
    store: Arc<dyn ObjectStore>,
    paths: Vec<(usize, Path)>,
}

impl Stores {
    /// Removes objects; what became of each, in order, as [`delete`](Self::delete) tells it.
    pub async fn delete_all(&self, locations: &[String]) -> Vec<Result<()>> {
        let mut results: Vec<Result<()>> = locations.iter().map(|_| Ok(())).collect();
        let mut batches: HashMap<String, Batch> = HashMap::new();
        for (number, location) in locations.iter().enumerate() {
            match self.resolve(location) {
                Err(error) => results[number] = Err(error),
                Ok((url, store, path)) => {
                    let batch = batches.entry(url.as_str().to_owned());
                    let batch = batch.or_insert_with(|| Batch {
                        store,
                        paths: Vec::new(),
                    });
                    batch.paths.push((number, path));
                }
            }
        }
        for batch in batches.into_values() {
            let (left, error) = batch.run().await;
            match error {
                Some(error) => left
                    .into_iter()
                    .for_each(|number| results[number] = Err(error.clone().at(locations[number].as_str()))),
                // Some stores say what is not there for all of a request.
                None => {
                    let one_by_one = left
                        .into_iter()
                        .map(|number| async move { (number, self.delete(&locations[number]).await) });
                    let mut done = futures::stream::iter(one_by_one).buffer_unordered(AT_ONCE_MAX);
                    while let Some((number, result)) = done.next().await {
                        results[number] = result;
                    }
                }
            }
        }
        results
    }
}

impl Batch {
    /// Those that may not be gone, and what is wrong beyond that some are not there.
    async fn run(self) -> (Vec<usize>, Option<Error>) {
        let asked: Vec<_> = self.paths.iter().map(|(_, path)| Ok(path.clone())).collect();
        let mut answers = self.store.delete_stream(futures::stream::iter(asked).boxed());
        let (mut gone, mut failed) = (HashSet::new(), None);
        while let Some(answer) = answers.next().await {
            match answer.map_err(Error::from) {
                Ok(path) => {
                    gone.insert(path);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let left = self.paths.into_iter().filter(|(_, path)| !gone.contains(path));
        (left.map(|(number, _)| number).collect(), failed)
    }
}
