//! What functions of a statement do to their session, while operators run: the session takes it over when they are done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use staffa_catalog::Access;
use staffa_planner::{AdvisoryKey, AdvisoryLock, Error, ErrorKind, Result, SessionActions};

use crate::activity::Activity;
use crate::advisory::LockOwner;
use crate::outcome::Notice;
use crate::random::Random;
use crate::settings::Settings;

/// One session's.
#[derive(Debug)]
pub(crate) struct Actions {
    activity: Arc<Activity>,
    /// The session's number.
    backend: i32,
    pub(crate) locks: LockOwner,
    /// Settings as `set_config()` leaves them.
    asked: Mutex<Asked>,
    notices: Mutex<Vec<Notice>>,
    /// Roles as the statement sees them, and whose rights it has.
    access: Mutex<Option<(Access, String)>>,
    /// How many savepoints there are.
    level: AtomicUsize,
    random: Mutex<Random>,
}

#[derive(Debug)]
struct Asked {
    settings: Settings,
    changed: bool,
}

impl Actions {
    pub(crate) fn new(activity: Arc<Activity>, backend: i32, locks: LockOwner, settings: Settings) -> Self {
        Self {
            activity,
            backend,
            locks,
            asked: Mutex::new(Asked {
                settings,
                changed: false,
            }),
            notices: Mutex::default(),
            access: Mutex::default(),
            level: AtomicUsize::new(0),
            random: Mutex::default(),
        }
    }

    /// Who may stop what a session runs: those who have its role's privileges or pg_signal_backend's, of a superuser's only superusers.
    fn check_signal(&self, backend: i32, end: bool) -> Result<()> {
        let access = self.access.lock();
        let Some((access, user)) = &*access else {
            return Err(Error::internal("a statement of nobody"));
        };
        let Some(target) = self.activity.user_of(backend) else {
            return Ok(());
        };
        if access.may_signal(user, &target) {
            return Ok(());
        }
        let target = access.role(&target);
        let message = match (target.is_some_and(|target| !target.superuser), end) {
            (true, true) => {
                "must be a member of the role whose process is being terminated or member of pg_signal_backend"
            }
            (true, false) => {
                "must be a member of the role whose query is being canceled or member of pg_signal_backend"
            }
            (false, true) => "must be a superuser to terminate superuser process",
            (false, false) => "must be a superuser to cancel superuser query",
        };
        Err(Error::new(ErrorKind::InsufficientPrivilege, message))
    }

    /// A statement starts with these rights.
    pub(crate) fn act_as(&self, access: &Access, user: &str) {
        *self.access.lock() = Some((access.clone(), user.to_owned()));
    }

    /// A statement starts with these settings.
    pub(crate) fn begin(&self, settings: &Settings, level: usize) {
        let mut asked = self.asked.lock();
        if !asked.changed {
            asked.settings = settings.clone();
        }
        self.level.store(level, Ordering::Relaxed);
    }

    /// The settings, if functions have changed some.
    pub(crate) fn take_settings(&self) -> Option<Settings> {
        let mut asked = self.asked.lock();
        std::mem::take(&mut asked.changed).then(|| asked.settings.clone())
    }

    pub(crate) fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut self.notices.lock())
    }
}

#[async_trait]
impl SessionActions for Actions {
    fn set(&self, name: &str, value: Option<&str>, local: bool) -> Result<String> {
        let mut asked = self.asked.lock();
        asked.settings.set(name, value, local)?;
        asked.changed = true;
        Ok(asked.settings.show(name)?.to_owned())
    }

    fn signal(&self, backend: i32, end: bool) -> Result<bool> {
        self.check_signal(backend, end)?;
        let known = self.activity.signal(backend, end);
        if !known {
            let message = format!("PID {backend} is not a PostgreSQL backend process");
            self.notices.lock().push(Notice::warning("01000", message));
        }
        Ok(known)
    }

    async fn lock(&self, lock: AdvisoryLock) -> Result<()> {
        let patience = self.asked.lock().settings.timeout("lock_timeout");
        self.activity.waits_for(self.backend, Some(("Lock", "advisory")));
        let level = self.level.load(Ordering::Relaxed);
        let locked = self.locks.lock(lock, level, patience).await;
        self.activity.waits_for(self.backend, None);
        locked
    }

    fn seed(&self, seed: f64) {
        *self.random.lock() = Random::seeded(seed);
    }

    fn random(&self, count: usize) -> Vec<f64> {
        let mut random = self.random.lock();
        (0..count).map(|_| random.next()).collect()
    }

    fn try_lock(&self, lock: AdvisoryLock) -> Result<bool> {
        self.locks.try_lock(lock, self.level.load(Ordering::Relaxed))
    }

    fn unlock(&self, key: AdvisoryKey, shared: bool) -> bool {
        let held = self.locks.unlock(key, shared);
        if !held {
            let kind = if shared { "ShareLock" } else { "ExclusiveLock" };
            let message = format!("you don't own a lock of type {kind}");
            self.notices.lock().push(Notice::warning("01000", message));
        }
        held
    }

    fn unlock_all(&self) {
        self.locks.unlock_all();
    }
}
