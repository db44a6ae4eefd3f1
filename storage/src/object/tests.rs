use std::os::unix::fs::symlink;
use std::path::Path;

use bytes::Bytes;
use url::Url;

use super::{S3Options, Secret, StoreOptions, Stores};
use crate::error::{Error, ErrorKind};

struct Fixture {
    _dir: tempfile::TempDir,
    base: String,
    stores: Stores,
}

/// `base/allowed` and `base/also` are allowed; `base/secret/file` exists and is not.
fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().canonicalize().unwrap().to_str().unwrap().to_owned();
    for name in ["allowed", "also", "secret", "allowed-not"] {
        std::fs::create_dir(format!("{base}/{name}")).unwrap();
    }
    std::fs::write(format!("{base}/secret/file"), "s").unwrap();
    std::fs::write(format!("{base}/allowed-not/file"), "s").unwrap();
    let s3 = S3Options {
        region: "x".into(),
        ..Default::default()
    };
    let stores = Stores::new(StoreOptions {
        local_roots: vec![format!("{base}/allowed").into(), format!("{base}/also").into()],
        remote_roots: vec!["s3://b/wh".into(), "s3://whole".into()],
        s3: Some(s3),
        ..Default::default()
    })
    .unwrap();
    Fixture {
        _dir: dir,
        base,
        stores,
    }
}

fn kind(stores: &Stores, location: &str) -> Option<ErrorKind> {
    stores.resolve(location).err().map(|e| e.kind())
}

#[test]
fn private_places_below_a_root_do_not_resolve() {
    let Fixture { base, .. } = &fixture();
    let at = |name: &str| format!("{base}/allowed/{name}");
    std::fs::create_dir_all(at("audit/inside")).unwrap();
    symlink(at("audit"), at("link")).unwrap();
    let stores = Stores::new(StoreOptions {
        local_roots: vec![at("").into(), at("audit/inside").into()],
        private_paths: vec![base.into(), at("link").into(), at("catalog.db").into()],
        ..Default::default()
    })
    .unwrap();
    for name in ["audit", "audit/x/metadata", "link/x", "catalog.db", "catalog.db/x"] {
        assert_eq!(kind(&stores, &at(name)), Some(ErrorKind::Forbidden), "{name}");
    }
    for name in ["audits", "x/audit", "catalog.db2", "audit/inside/x"] {
        assert_eq!(kind(&stores, &at(name)), None, "{name}");
    }
}

#[test]
fn nothing_outside_the_roots_resolves() {
    let Fixture { base, stores, .. } = &fixture();
    symlink(format!("{base}/secret"), format!("{base}/allowed/link")).unwrap();
    symlink("../secret/file", format!("{base}/allowed/relative")).unwrap();
    symlink(format!("{base}/secret/new"), format!("{base}/allowed/dangling")).unwrap();
    symlink("loop", format!("{base}/allowed/loop")).unwrap();
    let attacks = [
        "/etc/passwd".to_owned(),
        "file:///etc/passwd".into(),
        "FILE:///etc/passwd".into(),
        "file:/etc/passwd".into(),
        "file:etc/passwd".into(),
        "file://etc/passwd".into(),
        // Below a file: whether there is one is not told either.
        "/etc/passwd/x".into(),
        "file://localhost/etc/passwd".into(),
        "file://otherhost/etc/passwd".into(),
        "file:////etc/passwd".into(),
        "//etc/passwd".into(),
        "etc/passwd".into(),
        "../secret/file".into(),
        "./file".into(),
        "".into(),
        "/".into(),
        "file:///".into(),
        "~/file".into(),
        format!("{base}/secret/file"),
        format!("{base}/allowed/../secret/file"),
        format!("file://{base}/allowed/../secret/file"),
        format!("file://{base}/allowed/x/../../secret/file"),
        format!("{base}/allowed/.."),
        format!("{base}/allowed-not/file"),
        format!("{base}/allowed/link/file"),
        format!("{base}/allowed/link/new"),
        format!("{base}/allowed/relative"),
        format!("{base}/allowed/dangling"),
        format!("{base}/allowed/dangling/below"),
        format!("{base}/allowed/file\0.parquet"),
        format!("{base}/allowed/file\n.parquet"),
    ];
    for attack in attacks {
        assert_eq!(kind(stores, &attack), Some(ErrorKind::Forbidden), "{attack:?}");
    }
    assert!(kind(stores, &format!("{base}/allowed/loop/x")).is_some());
}

#[test]
fn percent_signs_are_only_characters() {
    let Fixture { base, stores, .. } = &fixture();
    for name in [
        "%2e%2e/secret/file",
        "..%2fsecret%2ffile",
        "%2e%2e%2fsecret",
        "a%20b",
        "x?y",
        "a b",
        "åäö",
        "...",
    ] {
        for scheme in ["", "file://"] {
            let (_, _, path) = stores.resolve(&format!("{scheme}{base}/allowed/{name}")).unwrap();
            assert_eq!(format!("/{path}"), format!("{base}/allowed/{name}"));
        }
    }
}

#[test]
fn remote_locations_stay_in_their_bucket_and_prefix() {
    let stores = &fixture().stores;
    for fine in [
        "s3://b/wh/data/x.parquet",
        "s3a://b/wh/x",
        "S3://b/wh",
        "s3://whole/any/thing",
    ] {
        assert_eq!(kind(stores, fine), None, "{fine}");
    }
    for attack in [
        "s3://b/other/x",
        "s3://b/wh-not/x",
        "s3://b",
        "s3://b/wh/../other/x",
        "s3://b/wh//x",
        "s3://other/wh/x",
        "s3://user@b/wh/x",
        "s3://b:80/wh/x",
        "s3://b?x/wh/x",
        "s3:///wh/x",
        "s3:b/wh/x",
    ] {
        assert_eq!(kind(stores, attack), Some(ErrorKind::Forbidden), "{attack}");
    }
    for unknown in [
        "http://169.254.169.254/latest",
        "https://b/wh",
        "ftp://b/wh",
        "data://x",
        "abc://b/wh",
    ] {
        assert_eq!(kind(stores, unknown), Some(ErrorKind::Unsupported), "{unknown}");
    }
    let none = Stores::new(StoreOptions::default()).unwrap();
    assert_eq!(kind(&none, "s3://b/wh/x"), Some(ErrorKind::Forbidden));
    assert_eq!(kind(&none, "/tmp/x"), Some(ErrorKind::Forbidden));
}

#[tokio::test]
async fn datafusions_door_is_as_narrow() {
    use object_store::ObjectStoreExt;
    let Fixture { base, stores, .. } = &fixture();
    let registry = stores.registry();
    for url in ["http://x/", "s3://other/", "gs://b/", "memory:///"] {
        let error = registry.get_store(&Url::parse(url).unwrap()).unwrap_err();
        assert_eq!(
            Error::find_in(&error).map(Error::kind),
            Some(ErrorKind::Forbidden),
            "{url}"
        );
    }
    let local = registry.get_store(&Url::parse("file:///").unwrap()).unwrap();
    let path = |text: String| object_store::path::Path::parse(text).unwrap();
    for secret in [format!("{base}/secret/file"), "etc/passwd".to_owned()] {
        let error = Error::from(local.get(&path(secret.clone())).await.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Forbidden, "{secret}");
        let error = Error::from(local.put(&path(secret.clone()), "x".into()).await.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Forbidden, "{secret}");
        let error = Error::from(local.delete(&path(secret)).await.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Forbidden);
    }
    let copied = local
        .copy(
            &path(format!("{base}/secret/file")),
            &path(format!("{base}/allowed/file")),
        )
        .await;
    assert_eq!(Error::from(copied.unwrap_err()).kind(), ErrorKind::Forbidden);
    let bucket = registry.get_store(&Url::parse("s3://b/").unwrap()).unwrap();
    let error = Error::from(bucket.get(&path("other/x".into())).await.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn objects_come_back_and_listings_repeat_the_prefix() {
    let Fixture { base, stores, .. } = &fixture();
    for prefix in [format!("file://{base}/allowed/t"), format!("{base}/also/t")] {
        assert!(stores.list(&prefix).await.unwrap().is_empty());
        let mut names = [
            format!("{prefix}/a"),
            format!("{prefix}/deep/er/b%20c"),
            format!("{prefix}/deep/c"),
        ];
        for name in &names {
            stores.put(name, Bytes::from_static(b"one")).await.unwrap();
            stores.put(name, Bytes::from_static(b"second")).await.unwrap();
            assert_eq!(stores.get(name).await.unwrap(), "second");
            assert_eq!(stores.size(name).await.unwrap(), 6);
        }
        let mut listed = stores.list(&format!("{prefix}/")).await.unwrap();
        listed.sort();
        names.sort();
        assert_eq!(listed, names);
        for name in &names {
            stores.delete(name).await.unwrap();
            assert_eq!(stores.get(name).await.unwrap_err().kind(), ErrorKind::NotFound);
            assert_eq!(stores.delete(name).await.unwrap_err().kind(), ErrorKind::NotFound);
        }
        // What deleting left empty is gone, the root is not.
        assert!(!Path::new(prefix.trim_start_matches("file://")).exists());
    }
    assert!(Path::new(&format!("{base}/allowed")).exists());
}

#[tokio::test]
async fn many_objects_go_at_once_and_each_has_its_own_answer() {
    let Fixture { base, stores, .. } = &fixture();
    let mut names: Vec<String> = (0..40)
        .map(|number| format!("file://{base}/allowed/t/{number}"))
        .collect();
    for name in names.iter().step_by(2) {
        stores.put(name, Bytes::from_static(b"one")).await.unwrap();
    }
    names.push(format!("{base}/secret"));
    names.push("nowhere://a/b".to_owned());
    let answers = stores.delete_all(&names).await;
    assert_eq!(answers.len(), names.len());
    for (number, answer) in answers[..40].iter().enumerate() {
        let kind = answer.as_ref().err().map(Error::kind);
        assert_eq!(kind, (number % 2 == 1).then_some(ErrorKind::NotFound), "{number}");
    }
    assert_eq!(answers[40].as_ref().unwrap_err().kind(), ErrorKind::Forbidden);
    assert!(answers[41].is_err());
    assert!(stores.list(&format!("{base}/allowed")).await.unwrap().is_empty());
}

#[test]
fn secrets_are_not_printed() {
    let s3 = S3Options {
        access_key: Secret::new("canary"),
        secret_key: Secret::new("canary"),
        ..Default::default()
    };
    let options = StoreOptions {
        s3: Some(s3),
        ..Default::default()
    };
    let stores = Stores::new(options.clone()).unwrap();
    assert!(!format!("{options:?} {stores:?}").contains("canary"));
}

#[test]
fn a_service_that_cannot_be_reached_is_named() {
    for (root, message) in [
        ("s3://bucket/wh", "S3 is not configured"),
        #[cfg(not(feature = "gcs"))]
        ("gs://bucket/wh", "this build has no Google Cloud Storage support"),
        #[cfg(not(feature = "azure"))]
        ("az://container/wh", "this build has no Azure support"),
    ] {
        let error = Stores::new(StoreOptions {
            remote_roots: vec![root.into()],
            ..Default::default()
        })
        .unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn a_missing_root_is_named() {
    let error = Stores::new(StoreOptions {
        local_roots: vec!["/no/such/root".into()],
        ..Default::default()
    })
    .unwrap_err();
    assert_eq!(
        (error.kind(), error.path()),
        (ErrorKind::NotFound, Some("/no/such/root"))
    );
}
