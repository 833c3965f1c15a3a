//! What a data folder holds, and what damage to it is refused.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use local::{Data, Local, Options};
use serde_json::json;
use tests::harness::Scratch;
use tests::server::TestServer;

fn options(folder: &Path) -> Options {
    Options { data: Data::Folder(folder.to_owned()), ..TestServer::options() }
}

async fn refusal(folder: &Path) -> String {
    let Err(error) = Local::start(options(folder)).await else { panic!("started with a damaged folder") };
    error.to_string()
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("a file").permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_key_is_refused() {
    let scratch = Scratch::new();
    drop(TestServer::with(options(&scratch.0)).await);
    for name in ["contact.key", "secrets.key", "links.key"] {
        let path = scratch.0.join(name);
        let key = std::fs::read(&path).expect("a key");
        assert_eq!(key.len(), 32);
        for damaged in [&b""[..], &key[..5], &[&key[..], b"\n"].concat()] {
            std::fs::write(&path, damaged).expect("written");
            let refusal = refusal(&scratch.0).await;
            assert!(refusal.contains(name) && refusal.contains("instead of 32"), "{refusal}");
        }
        std::fs::remove_file(&path).expect("removed");
        // An unfinished file of a start that was killed.
        std::fs::write(scratch.0.join(format!("{name}.new")), &key[..7]).expect("written");
        if name == "links.key" {
            drop(TestServer::with(options(&scratch.0)).await);
            assert_ne!(std::fs::read(&path).expect("a new key"), key);
        } else {
            let refusal = refusal(&scratch.0).await;
            assert!(refusal.contains(name) && refusal.contains("missing"), "{refusal}");
            std::fs::write(&path, &key).expect("written");
        }
    }
    drop(TestServer::with(options(&scratch.0)).await);
    for name in ["tidings.db-wal", "tidings.db-shm"] {
        let _ = std::fs::remove_file(scratch.0.join(name));
    }
    std::fs::write(scratch.0.join("tidings.db"), b"").expect("written");
    let refusal = refusal(&scratch.0).await;
    assert!(refusal.contains("tidings.db is empty"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_used_is_named() {
    let refusal = refusal(Path::new("/proc/tidings")).await;
    assert!(refusal.contains("/proc/tidings"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_key_of_another_folder_is_refused() {
    let scratch = Scratch::new();
    drop(TestServer::with(options(&scratch.0)).await);
    for (name, is_bound) in [("contact.key", true), ("secrets.key", true), ("links.key", false)] {
        let path = scratch.0.join(name);
        let key = std::fs::read(&path).expect("a key");
        std::fs::write(&path, b"0123456789abcdef0123456789abcdef").expect("written");
        if is_bound {
            let refusal = refusal(&scratch.0).await;
            assert!(refusal.contains(name) && refusal.contains("not the key"), "{refusal}");
        } else {
            drop(TestServer::with(options(&scratch.0)).await);
        }
        for repeated in [[0; 32], [b'0'; 32]] {
            std::fs::write(&path, repeated).expect("written");
            let refusal = refusal(&scratch.0).await;
            assert!(refusal.contains(name) && refusal.contains("no key"), "{refusal}");
        }
        std::fs::write(&path, &key).expect("written");
    }
    drop(TestServer::with(options(&scratch.0)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_can_read_the_data() {
    let scratch = Scratch::new();
    let folder = scratch.0.join("nested/data");
    let server = TestServer::with(options(&folder)).await;
    let file = json!({ "filename": "a.pdf", "contentType": "application/pdf", "sizeBytes": 9 });
    let upload = server.post("/api/attachments", file).await;
    let put =
        server.client.put(upload.text("/upload/url")).header("content-type", "application/pdf").body("%PDF-1.7\n");
    assert!(put.send().await.expect("an answer").status().is_success());
    server.send(tests::server::email("delivered@sim.test")).await;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("files")), 0o700);
    let entries =
        |folder: &Path| std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let files: Vec<_> = entries(&folder).chain(entries(&folder.join("files"))).filter(|path| path.is_file()).collect();
    assert!(8 <= files.len(), "{files:?}");
    for path in files {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    drop(server);
    // Permissions that an earlier version or a copy left.
    for path in [folder.clone(), folder.join("tidings.db")] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("set");
    }
    drop(TestServer::with(options(&folder)).await);
    assert_eq!((mode(&folder), mode(&folder.join("tidings.db"))), (0o700, 0o600));
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_killed_processes_left_in_memory_are_removed() {
    let parent = Path::new("/dev/shm");
    let parent = if parent.is_dir() { parent.to_owned() } else { std::env::temp_dir() };
    let left = |name: &str, is_private: bool| {
        let folder = parent.join(format!("tidings-scratch-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let mode = if is_private { 0o700 } else { 0o755 };
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(mode)).expect("set");
        std::fs::write(folder.join("lock"), b"").expect("written");
        folder
    };
    let (abandoned, foreign, used) = (left("abandoned", true), left("foreign", false), left("used", true));
    let lock = std::fs::File::open(used.join("lock")).expect("a lock");
    lock.try_lock().expect("locked");
    let server = TestServer::new().await;
    assert!(!abandoned.exists());
    assert!(used.exists() && foreign.exists());
    drop(server);
    for folder in [used, foreign] {
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
