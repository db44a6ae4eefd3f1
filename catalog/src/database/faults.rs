//! A database and objects that fail at a chosen step. Every statement, commit, put, delete and listing is one.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use roaring::RoaringTreemap;
use uuid::Uuid;

use super::sql::statements::{Argument, Row, Statements};
use super::sql::{Backend, Connection, Need};
use crate::error::{Error, ErrorKind, Result};
use crate::file::DeleteContent;
use crate::objects::Objects;

/// What happens at the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not done, and an error says so.
    Error,
    /// It is done, and its answer is lost.
    LostReply,
    /// It is not done, and nothing works any more afterwards.
    Down,
    /// The process ends instead.
    Kill,
}

/// Counts steps, and knows which one fails.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    steps: AtomicUsize,
    /// Statements since a swap took its number last.
    numbered: AtomicUsize,
    planned: Mutex<Option<(usize, Fault)>>,
}

impl Faults {
    /// The step with this number from now on, counted from 0, fails.
    pub(crate) fn plan(&self, step: usize, fault: Fault) {
        self.steps.store(0, Ordering::SeqCst);
        *self.planned.lock() = Some((step, fault));
    }

    /// No more faults. Gives whether there was one.
    pub(crate) fn end(&self) -> bool {
        let planned = self.planned.lock().take();
        planned.is_some_and(|(step, _)| step < self.steps.load(Ordering::SeqCst))
    }

    /// How many statements came after the last swap had taken its number, when all others wait.
    pub(crate) fn after_number(&self) -> usize {
        self.numbered.load(Ordering::SeqCst)
    }

    fn next(&self) -> Option<Fault> {
        let number = self.steps.fetch_add(1, Ordering::SeqCst);
        match *self.planned.lock() {
            Some((step, fault)) if step == number => Some(fault),
            Some((step, Fault::Down)) if step < number => Some(Fault::Down),
            _ => None,
        }
    }

    async fn around<T>(&self, step: impl Future<Output = Result<T>>) -> Result<T> {
        match self.next() {
            None => step.await,
            Some(Fault::Kill) => std::process::abort(),
            Some(Fault::Error | Fault::Down) => Err(injected()),
            Some(Fault::LostReply) => {
                step.await?;
                Err(injected())
            }
        }
    }
}

fn injected() -> Error {
    Error::new(ErrorKind::Io, "injected")
}

#[derive(Debug)]
pub(super) struct FaultyBackend {
    pub(super) inner: Box<dyn Backend>,
    pub(super) faults: Arc<Faults>,
}

#[async_trait]
impl Backend for FaultyBackend {
    async fn connection(&self, need: Need) -> Result<Box<dyn Connection>> {
        Ok(Box::new(FaultyConnection {
            inner: self.inner.connection(need).await?,
            faults: self.faults.clone(),
        }))
    }

    fn may_lose_notes(&self) -> bool {
        self.inner.may_lose_notes()
    }

    async fn change_token(&self) -> Result<i64> {
        self.faults.around(self.inner.change_token()).await
    }

    async fn sign_of_life(&self) -> Result<Box<dyn Statements + '_>> {
        self.inner.sign_of_life().await
    }

    async fn is_held(&self, server_id: Uuid) -> Result<Option<bool>> {
        self.inner.is_held(server_id).await
    }

    fn may_lose_sign(&self) -> bool {
        self.inner.may_lose_sign()
    }

    async fn close(self: Box<Self>) {
        self.inner.close().await;
    }

    fn forget_server(&self, server_id: Uuid) {
        self.inner.forget_server(server_id);
    }
}

struct FaultyConnection {
    inner: Box<dyn Connection>,
    faults: Arc<Faults>,
}

#[async_trait]
impl Statements for FaultyConnection {
    async fn execute(&mut self, sql: &'static str, arguments: &[Argument<'_>]) -> Result<u64> {
        self.faults.numbered.fetch_add(1, Ordering::SeqCst);
        self.faults.around(self.inner.execute(sql, arguments)).await
    }

    async fn rows(&mut self, sql: &'static str, arguments: &[Argument<'_>]) -> Result<Vec<Row>> {
        self.faults.around(self.inner.rows(sql, arguments)).await
    }
}

#[async_trait]
impl Connection for FaultyConnection {
    async fn begin(&mut self) -> Result<()> {
        self.faults.around(self.inner.begin()).await
    }

    async fn commit(&mut self) -> Result<()> {
        match self.faults.around(self.inner.commit()).await {
            // As of a database that is asked over a network: nobody knows.
            Err(error) if error.message() == "injected" => Err(Error::outcome_unknown(error)),
            result => result,
        }
    }

    async fn rollback(&mut self) {
        self.inner.rollback().await;
    }

    async fn begin_swap(&mut self, changes_names: bool) -> Result<()> {
        self.faults.around(self.inner.begin_swap(changes_names)).await
    }

    async fn take_number(&mut self) -> Result<i64> {
        self.faults.numbered.store(0, Ordering::SeqCst);
        self.faults.around(self.inner.take_number()).await
    }

    fn is_transient(&self, error: &Error) -> bool {
        self.inner.is_transient(error)
    }
}

/// Objects that fail with the same plan.
pub(crate) struct FaultyObjects {
    pub(crate) inner: Arc<dyn Objects>,
    pub(crate) faults: Arc<Faults>,
}

impl fmt::Debug for FaultyObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl Objects for FaultyObjects {
    async fn get(&self, location: &str) -> Result<Bytes> {
        self.faults.around(self.inner.get(location)).await
    }

    async fn put(&self, location: &str, bytes: Bytes) -> Result<()> {
        self.faults.around(self.inner.put(location, bytes)).await
    }

    async fn delete(&self, location: &str) -> Result<()> {
        self.faults.around(self.inner.delete(location)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.faults.around(self.inner.list(prefix)).await
    }

    fn encode_deletes(&self, data_file: &str, rows: &RoaringTreemap, vector: bool) -> Result<(Bytes, DeleteContent)> {
        self.inner.encode_deletes(data_file, rows, vector)
    }

    async fn decode_deletes(&self, bytes: Bytes, content: &DeleteContent, data_file: &str) -> Result<RoaringTreemap> {
        self.inner.decode_deletes(bytes, content, data_file).await
    }
}
