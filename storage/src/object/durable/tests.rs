use std::collections::HashSet;

use object_store::ObjectStoreExt;

use super::*;
use crate::error::ErrorKind;

/// Writes down what was made durable, and fails on request.
#[derive(Debug, Default)]
struct Recorder {
    events: Mutex<Vec<String>>,
    fail_file: bool,
    fail_directory: bool,
}

impl Recorder {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.events.lock())
    }
}

impl Sync for Recorder {
    fn file(&self, file: &File, path: &FsPath) -> io::Result<()> {
        let name = path.file_name().unwrap().to_str().unwrap();
        let target = path.with_file_name(name.split('.').next().unwrap());
        let visible = if target.exists() { "visible" } else { "hidden" };
        self.events
            .lock()
            .push(format!("file {} bytes {visible}", file.metadata()?.len()));
        if self.fail_file {
            Err(io::Error::from_raw_os_error(libc::EIO))
        } else {
            Ok(())
        }
    }

    fn directory(&self, path: &FsPath) -> io::Result<()> {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        self.events.lock().push(format!("directory {name}"));
        if self.fail_directory {
            Err(io::Error::from_raw_os_error(libc::EIO))
        } else {
            Ok(())
        }
    }
}

struct Fixture {
    _dir: tempfile::TempDir,
    root: PathBuf,
    recorder: Arc<Recorder>,
    store: DurableLocal,
}

fn fixture(recorder: Recorder) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap().join("root");
    std::fs::create_dir(&root).unwrap();
    let roots = Roots::new(std::slice::from_ref(&root), &[], &[]).unwrap();
    let recorder = Arc::new(recorder);
    let store = DurableLocal::with_sync(roots, Arc::clone(&recorder) as Arc<dyn Sync>);
    Fixture {
        _dir: dir,
        root,
        recorder,
        store,
    }
}

impl Fixture {
    fn path(&self, name: &str) -> Path {
        Path::parse(self.root.join(name).to_str().unwrap()).unwrap()
    }

    fn files(&self) -> HashSet<String> {
        fn walk(dir: &FsPath, found: &mut HashSet<String>) {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found);
                } else {
                    found.insert(path.file_name().unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        let mut found = HashSet::new();
        walk(&self.root, &mut found);
        found
    }
}

#[tokio::test]
async fn syncs_the_file_before_its_name_and_the_directories_after() {
    let f = fixture(Recorder::default());
    f.store.put(&f.path("t/data/x"), "12345".into()).await.unwrap();
    assert_eq!(
        f.recorder.take(),
        ["file 5 bytes hidden", "directory data", "directory t", "directory root"]
    );
    // The directories are known by now.
    f.store.put(&f.path("t/data/y"), "1".into()).await.unwrap();
    assert_eq!(f.recorder.take(), ["file 1 bytes hidden", "directory data"]);
    // One that vanished and was made again is not.
    f.store.delete(&f.path("t/data/x")).await.unwrap();
    f.store.delete(&f.path("t/data/y")).await.unwrap();
    assert!(!f.root.join("t").exists());
    f.store.put(&f.path("t/z"), "1".into()).await.unwrap();
    assert_eq!(
        f.recorder.take(),
        ["file 1 bytes hidden", "directory t", "directory root"]
    );
}

#[tokio::test]
async fn an_upload_in_parts_is_synced_once_and_whole() {
    let f = fixture(Recorder::default());
    let mut upload = f.store.put_multipart(&f.path("t/x")).await.unwrap();
    let parts = [
        upload.put_part("abc".into()),
        upload.put_part("defg".into()),
        upload.put_part("h".into()),
    ];
    // In another order than they were asked for.
    for part in parts.into_iter().rev() {
        part.await.unwrap();
    }
    assert!(f.recorder.take().is_empty() && !f.root.join("t/x").exists());
    upload.complete().await.unwrap();
    assert_eq!(
        f.recorder.take(),
        ["file 8 bytes hidden", "directory t", "directory root"]
    );
    assert_eq!(std::fs::read_to_string(f.root.join("t/x")).unwrap(), "abcdefgh");
    assert_eq!(f.files(), HashSet::from(["x".to_owned()]));
    assert!(upload.complete().await.is_err());
}

#[tokio::test]
async fn an_upload_dropped_or_aborted_leaves_nothing() {
    let f = fixture(Recorder::default());
    let mut upload = f.store.put_multipart(&f.path("x")).await.unwrap();
    upload.put_part("abc".into()).await.unwrap();
    drop(upload);
    let mut upload = f.store.put_multipart(&f.path("x")).await.unwrap();
    upload.abort().await.unwrap();
    assert!(f.files().is_empty());
}

#[tokio::test]
async fn a_failed_fsync_fails_the_put_and_removes_the_file() {
    for recorder in [
        Recorder {
            fail_file: true,
            ..Default::default()
        },
        Recorder {
            fail_directory: true,
            ..Default::default()
        },
    ] {
        let f = fixture(recorder);
        let error = Error::from(f.store.put(&f.path("x"), "1".into()).await.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.path().unwrap().ends_with("/root/x"));
        let mut upload = f.store.put_multipart(&f.path("x")).await.unwrap();
        upload.put_part("abc".into()).await.unwrap();
        assert!(upload.complete().await.is_err());
        drop(upload);
        assert!(f.files().is_empty());
    }
}

#[tokio::test]
async fn a_crash_leaves_a_visible_part() {
    use futures::TryStreamExt;
    let f = fixture(Recorder::default());
    let mut upload = f.store.put_multipart(&f.path("t/txn-1")).await.unwrap();
    upload.put_part("abc".into()).await.unwrap();
    let listed: Vec<ObjectMeta> = f.store.list(Some(&f.path("t"))).try_collect().await.unwrap();
    assert!(listed[0].location.as_ref().contains("/t/txn-1."), "{listed:?}");
}

#[tokio::test]
async fn create_never_replaces() {
    let f = fixture(Recorder::default());
    let create = || PutOptions {
        mode: PutMode::Create,
        ..Default::default()
    };
    f.store.put_opts(&f.path("x"), "1".into(), create()).await.unwrap();
    let error = f.store.put_opts(&f.path("x"), "2".into(), create()).await.unwrap_err();
    assert!(matches!(error, object_store::Error::AlreadyExists { .. }), "{error:?}");
    assert!(f.store.copy_if_not_exists(&f.path("x"), &f.path("x")).await.is_err());
    f.store.copy(&f.path("x"), &f.path("y")).await.unwrap();
    f.store.rename(&f.path("y"), &f.path("d/z")).await.unwrap();
    assert_eq!(f.files(), HashSet::from(["x".to_owned(), "z".to_owned()]));
    assert_eq!(std::fs::read_to_string(f.root.join("x")).unwrap(), "1");
}

#[tokio::test]
async fn puts_and_sweeps_of_one_directory_do_not_lose_files() {
    let f = Arc::new(fixture(Recorder::default()));
    let tasks = (0..8).map(|task| {
        let f = Arc::clone(&f);
        tokio::spawn(async move {
            for n in 0..30 {
                let path = f.path(&format!("d/e/{task}-{n}"));
                f.store.put(&path, "1".into()).await.unwrap();
                f.store.delete(&path).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert!(f.files().is_empty());
}
