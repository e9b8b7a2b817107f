//! Creates a bucket with one signed request (AWS Signature Version 4): `object_store` cannot.

use std::time::Duration;

use anyhow::{Context as _, bail};
use esker_types::Date;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Response, StatusCode};
use sha2::{Digest as _, Sha256};

/// A store that has just started says 503 for so long at most.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Who signs.
#[derive(Clone, Copy, Debug)]
pub struct StoreKeys {
    /// Access key id.
    pub key_id: &'static str,
    /// Secret access key.
    pub secret: &'static str,
}

/// The identity that every test's store knows.
pub const STORE_KEYS: StoreKeys = StoreKeys {
    key_id: "eskertest",
    secret: "eskertestsecret",
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sign(key: &[u8], text: &str) -> anyhow::Result<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).context("key of a signature")?;
    mac.update(text.as_bytes());
    Ok(mac.finalize().into_bytes().to_vec())
}

/// `YYYYMMDD'T'HHMMSS'Z'` of seconds since 1970.
fn basic_time(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let date = Date::of_days(days);
    let (year, month, day) = (date.year(), date.month(), date.day());
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Creates `bucket` at `endpoint` (path style, region `us-east-1`); one that exists is fine. A
/// store that says it is not ready (503) is asked again for a while.
///
/// # Errors
/// The store refuses or does not answer.
pub async fn create_bucket(endpoint: &str, bucket: &str, keys: StoreKeys) -> anyhow::Result<()> {
    let clock = esker_env::Env::system().clock;
    let deadline = clock.now().after(READY_WITHIN);
    loop {
        let response = asked(endpoint, bucket, keys).await?;
        let status = response.status();
        if status.is_success() || status == StatusCode::CONFLICT {
            return Ok(());
        }
        if status != StatusCode::SERVICE_UNAVAILABLE || clock.now() > deadline {
            let text = response.text().await.unwrap_or_default();
            bail!("store answered {status}: {text}");
        }
        clock.sleep(Duration::from_millis(50)).await;
    }
}

async fn asked(endpoint: &str, bucket: &str, keys: StoreKeys) -> anyhow::Result<Response> {
    let seconds = esker_env::Env::system().clock.wall().millis() / 1000;
    let time = basic_time(seconds);
    let (date, _) = time.split_once('T').context("a time has a date")?;
    let host = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, host)| host);
    let host = host.trim_end_matches('/');
    let nothing = hex(&Sha256::digest(b""));
    let signed = "host;x-amz-content-sha256;x-amz-date";
    let canonical = format!(
        "PUT\n/{bucket}\n\nhost:{host}\nx-amz-content-sha256:{nothing}\nx-amz-date:{time}\n\n\
         {signed}\n{nothing}"
    );
    let scope = format!("{date}/us-east-1/s3/aws4_request");
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        hex(&Sha256::digest(&canonical))
    );
    let mut key = format!("AWS4{}", keys.secret).into_bytes();
    for part in [date, "us-east-1", "s3", "aws4_request"] {
        key = sign(&key, part)?;
    }
    let signature = hex(&sign(&key, &to_sign)?);
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}",
        keys.key_id
    );
    let request = reqwest::Client::new()
        .put(format!("http://{host}/{bucket}"))
        .header("x-amz-content-sha256", nothing)
        .header("x-amz-date", time)
        .header("authorization", authorization);
    request.send().await.context("send the request")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_signatures_want_it() {
        assert_eq!(basic_time(0), "19700101T000000Z");
        assert_eq!(basic_time(1_709_210_096), "20240229T123456Z");
        assert_eq!(basic_time(1_798_761_599), "20261231T235959Z");
    }

    #[tokio::test]
    async fn a_signed_request_makes_a_bucket_and_a_wrong_secret_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let seaweed = crate::SeaweedServer::start(directory.path()).await.unwrap();
        let minio = crate::MinioServer::start(directory.path()).await.unwrap();
        let wrong = StoreKeys {
            secret: "wrong-secret",
            ..STORE_KEYS
        };

        for endpoint in [seaweed.endpoint(), minio.endpoint()] {
            let made = create_bucket(endpoint, "esker-test", STORE_KEYS).await;
            let again = create_bucket(endpoint, "esker-test", STORE_KEYS).await;
            let refused = create_bucket(endpoint, "esker-other", wrong).await;

            assert!(made.is_ok() && again.is_ok(), "{made:?} {again:?}");
            assert!(refused.is_err());
        }
    }
}
