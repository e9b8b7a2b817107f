//! The S3 bucket against a real store. Set `ESKER_TEST_S3_ENDPOINT` (and, if they differ from
//! MinIO's defaults, `ESKER_TEST_S3_BUCKET`, `_KEY`, `_SECRET`); without it they say so and pass.

use esker_env::Env;

use super::*;
use crate::{DurableBucket, DurableConfig, ProbeError, probe};

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told about a store by the environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn config(test: &str) -> Option<S3Config> {
    let Some(endpoint) = variable("ESKER_TEST_S3_ENDPOINT") else {
        println!("SKIPPED: {test} needs ESKER_TEST_S3_ENDPOINT");
        return None;
    };
    let or = |name, default: &str| variable(name).unwrap_or_else(|| default.to_owned());
    Some(S3Config {
        bucket: or("ESKER_TEST_S3_BUCKET", "esker-test"),
        prefix: format!("object-tests/{}", esker_env::Rng::from_os().write_id()),
        endpoint: Some(endpoint),
        access_key_id: Some(or("ESKER_TEST_S3_KEY", "minioadmin")),
        secret_access_key: Some(or("ESKER_TEST_S3_SECRET", "minioadmin")),
        ..S3Config::default()
    })
}

async fn open(config: S3Config) -> S3Bucket {
    S3Bucket::open(config, Env::system()).await.unwrap()
}

#[tokio::test]
async fn an_s3_bucket_keeps_the_contract_raw_and_durable() {
    let Some(config) = config("the S3 contract") else {
        return;
    };
    let raw = open(config.clone()).await;
    let durable_config = DurableConfig::default();
    let inner = Arc::new(open(config).await);

    crate::conformance(&raw).await;
    crate::conformance(&DurableBucket::new(inner, durable_config, Env::system())).await;
}

#[tokio::test]
async fn a_sound_s3_store_passes_the_probe() {
    let Some(config) = config("the S3 probe") else {
        return;
    };
    let bucket = open(config).await;

    let report = probe(&bucket, &Env::system()).await.unwrap();

    println!("probe took {:?}", report.elapsed);
    let below = ObjectKey::from_listing("probe/").unwrap();
    assert_eq!(bucket.list_after(&below, None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn wrong_credentials_and_a_missing_bucket_are_told_apart() {
    let Some(config) = config("S3 refusals") else {
        return;
    };
    let secret = Some("not-the-secret".to_owned());
    let wrong_secret = open(S3Config {
        secret_access_key: secret,
        ..config.clone()
    })
    .await;
    let no_bucket = open(S3Config {
        bucket: "esker-no-such-bucket".to_owned(),
        ..config
    })
    .await;
    let env = Env::system();

    let denied = probe(&wrong_secret, &env).await;
    let missing = probe(&no_bucket, &env).await;
    let read = no_bucket.get(&ObjectKey::cluster(), ReadRange::Full).await;

    assert!(matches!(denied, Err(ProbeError::Denied(_))), "{denied:?}");
    assert!(
        matches!(missing, Err(ProbeError::NoBucket(_))),
        "{missing:?}"
    );
    assert!(matches!(read, Err(error) if error.kind == StoreErrorKind::NoBucket));
}

#[tokio::test]
async fn a_store_that_is_not_there_has_surely_taken_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let bucket = open(S3Config {
        bucket: "b".to_owned(),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        access_key_id: Some("id".to_owned()),
        secret_access_key: Some("secret".to_owned()),
        ..S3Config::default()
    })
    .await;

    let outcome = bucket
        .put_if_absent(&ObjectKey::cluster(), Bytes::new())
        .await;

    assert!(
        matches!(&outcome, PutOutcome::Refused(error) if error.kind == StoreErrorKind::Retry),
        "{outcome:?}"
    );
}

/// The head of one upload with that checksum, as the store gets it.
#[expect(
    clippy::disallowed_methods,
    reason = "a store that blocks, for one request, beside the client"
)]
async fn upload_head(upload_checksum: UploadChecksum) -> String {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let store = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(socket);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head).unwrap();
        }
        let mut body = [0; 9];
        reader.read_exact(&mut body).unwrap();
        let answer = b"HTTP/1.1 200 OK\r\netag: \"e\"\r\ncontent-length: 0\r\n\r\n";
        reader.get_mut().write_all(answer).unwrap();
        head.to_lowercase()
    });
    let bucket = open(S3Config {
        bucket: "b".to_owned(),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        access_key_id: Some("id".to_owned()),
        secret_access_key: Some("secret".to_owned()),
        upload_checksum,
        ..S3Config::default()
    })
    .await;
    let body = Bytes::from_static(b"123456789");
    let outcome = bucket.put_if_absent(&ObjectKey::cluster(), body).await;
    assert!(matches!(outcome, PutOutcome::Created), "{outcome:?}");
    store.join().unwrap()
}

#[tokio::test]
async fn uploads_carry_the_checksum_that_was_asked_for() {
    let crc = upload_head(UploadChecksum::Crc64Nvme).await;
    let sha = upload_head(UploadChecksum::Sha256).await;

    // The catalogue's check value of CRC-64/NVME, ae8b14860a799888.
    assert!(
        crc.contains("x-amz-checksum-crc64nvme: rosuhgp5mig="),
        "{crc}"
    );
    assert!(
        crc.contains("x-amz-content-sha256: unsigned-payload"),
        "{crc}"
    );
    assert!(sha.contains("x-amz-checksum-sha256: "), "{sha}");
    assert!(!sha.contains("unsigned-payload"), "{sha}");
}
