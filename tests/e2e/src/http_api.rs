//! Esker's HTTP API as any client would use it: JSON over HTTP/1.1, bytes as text or base64.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The API of one process.
#[derive(Clone, Debug)]
pub struct HttpApi {
    base: String,
    client: reqwest::Client,
}

/// Status and body of an answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// JSON, or null.
    pub body: Value,
    /// As it came.
    pub text: String,
}

/// A record; equal to another if everything but the timestamp is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRecord {
    /// Its offset; ignored on append.
    pub offset: u64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

fn to_json(bytes: &Option<Vec<u8>>) -> Value {
    let encoded = |bytes: &Vec<u8>| match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    };
    bytes.as_ref().map_or(Value::Null, encoded)
}

fn from_json(value: &Value) -> anyhow::Result<Option<Vec<u8>>> {
    Ok(match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into_bytes()),
        value => {
            let text = value["base64"]
                .as_str()
                .context("neither text nor base64")?;
            Some(STANDARD.decode(text)?)
        }
    })
}

impl HttpRecord {
    /// A record of a key and a value.
    #[must_use]
    pub fn new(key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        Self {
            offset: 0,
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers: Vec::new(),
        }
    }

    fn parse(value: &Value) -> anyhow::Result<Self> {
        let headers = value["headers"].as_array().context("no headers")?;
        let header = |row: &Value| {
            let name = row["name"].as_str().context("a header has no name")?;
            anyhow::Ok((name.to_owned(), from_json(&row["value"])?))
        };
        Ok(Self {
            offset: value["offset"].as_u64().context("no offset")?,
            key: from_json(&value["key"])?,
            value: from_json(&value["value"])?,
            headers: headers.iter().map(header).collect::<Result<_, _>>()?,
        })
    }
}

impl HttpApi {
    /// The API at `http`.
    #[must_use]
    pub fn new(http: SocketAddr) -> Self {
        Self {
            base: format!("http://{http}"),
            client: reqwest::Client::new(),
        }
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn answer(request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, body, text })
    }

    /// GET.
    ///
    /// # Errors
    /// No answer came.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        Self::answer(self.client.get(self.url(path))).await
    }

    /// POST of JSON.
    ///
    /// # Errors
    /// No answer came.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        Self::answer(self.client.post(self.url(path)).json(body)).await
    }

    /// PATCH of JSON.
    ///
    /// # Errors
    /// No answer came.
    pub async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        Self::answer(self.client.patch(self.url(path)).json(body)).await
    }

    /// POST of any bytes.
    ///
    /// # Errors
    /// No answer came.
    pub async fn post_bytes(&self, path: &str, body: Vec<u8>) -> anyhow::Result<Answer> {
        Self::answer(self.client.post(self.url(path)).body(body)).await
    }

    /// POST of any bytes with headers.
    ///
    /// # Errors
    /// No answer came.
    pub async fn post_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> anyhow::Result<Answer> {
        let mut request = self.client.post(self.url(path)).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Self::answer(request).await
    }

    /// GET with headers; the body as it comes.
    ///
    /// # Errors
    /// No answer came.
    pub async fn open(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<reqwest::Response> {
        let mut request = self.client.get(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request.send().await?)
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// It is refused.
    pub async fn create_topic(&self, name: &str, partitions: u32) -> anyhow::Result<()> {
        let body = json!({ "name": name, "partitions": partitions });
        let answer = self.post("/api/v1/topics", &body).await?;
        ensure!(
            answer.status == 201,
            "topic {name} was not created: {answer:?}"
        );
        Ok(())
    }

    /// Appends records; partition and offset of each. Without a partition the key decides.
    ///
    /// # Errors
    /// They are not acknowledged.
    pub async fn append(
        &self,
        topic: &str,
        partition: Option<u32>,
        records: &[HttpRecord],
    ) -> anyhow::Result<Vec<(u32, u64)>> {
        let rows = records.iter().map(|record| {
            let headers = record.headers.iter();
            let headers =
                headers.map(|(name, value)| json!({ "name": name, "value": to_json(value) }));
            let headers: Vec<Value> = headers.collect();
            json!({ "partition": partition, "key": to_json(&record.key),
                "value": to_json(&record.value), "headers": headers })
        });
        let body = json!({ "records": rows.collect::<Vec<_>>() });
        let answer = self
            .post(&format!("/api/v1/topics/{topic}/records"), &body)
            .await?;
        ensure!(answer.status == 200, "append failed: {answer:?}");
        let places = answer.body["records"].as_array().context("no places")?;
        let place = |row: &Value| {
            let partition = row["partition"].as_u64().context("no partition")?;
            let offset = row["offset"].as_u64().context("no offset")?;
            Ok((u32::try_from(partition)?, offset))
        };
        places.iter().map(place).collect()
    }

    /// Reads records of a partition; `query` such as `offset=5&limit=1`.
    ///
    /// # Errors
    /// The read fails.
    pub async fn read(
        &self,
        topic: &str,
        partition: u32,
        query: &str,
    ) -> anyhow::Result<Vec<HttpRecord>> {
        let path = format!("/api/v1/topics/{topic}/partitions/{partition}/records?{query}");
        let answer = self.get(&path).await?;
        if answer.status != 200 {
            bail!("read of {path} failed: {answer:?}");
        }
        let rows = answer.body["records"].as_array().context("no records")?;
        rows.iter().map(HttpRecord::parse).collect()
    }
}
