//! kcat (librdkafka): produces with any codec, and reads records back byte for byte.

use std::net::SocketAddr;

use anyhow::Context as _;

use crate::program::{Program, Ran};

/// One line of facts, then key and value with nothing between them: binary-safe.
const FORMAT: &str = "%p %o %T %K %S %h\\n%k%s\\n";
/// Ends a record on stdin; long and odd enough never to be part of one.
const RECORD_END: &str = "<|record-end|>";
/// Between key and value on stdin.
const KEY_END: &str = "<|key-end|>";

/// kcat, pointed at one broker.
#[derive(Clone, Debug)]
pub struct Kcat {
    bootstrap: String,
}

/// A record as kcat read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KcatRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// `name=value`, separated by commas, in the bytes they have.
    pub headers: Vec<u8>,
}

fn sized<'a>(rest: &mut &'a [u8], length: i64) -> anyhow::Result<Option<&'a [u8]>> {
    let Ok(length) = usize::try_from(length) else {
        return Ok(None);
    };
    let (taken, left) = rest
        .split_at_checked(length)
        .context("kcat's output is cut")?;
    *rest = left;
    Ok(Some(taken))
}

fn parse(mut rest: &[u8]) -> anyhow::Result<Vec<KcatRecord>> {
    let mut records = Vec::new();
    while !rest.is_empty() {
        let end = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .context("no line end")?;
        let (line, left) = rest.split_at(end);
        rest = left.get(1..).unwrap_or_default();
        let mut words = line.splitn(6, |byte| *byte == b' ');
        let mut number = || -> anyhow::Result<i64> {
            let word = std::str::from_utf8(words.next().context("a word is missing")?)?;
            word.parse()
                .with_context(|| format!("{word:?} is no number"))
        };
        let (partition, offset, timestamp) = (number()?, number()?, number()?);
        let (key, value) = (number()?, number()?);
        let headers = words.next().unwrap_or_default().to_vec();
        let key = sized(&mut rest, key)?.map(<[u8]>::to_vec);
        let value = sized(&mut rest, value)?.map(<[u8]>::to_vec);
        rest = rest.strip_prefix(b"\n").context("a record does not end")?;
        records.push(KcatRecord {
            partition: i32::try_from(partition)?,
            offset,
            timestamp,
            key,
            value,
            headers,
        });
    }
    Ok(records)
}

impl Kcat {
    /// kcat that talks to `kafka`.
    #[must_use]
    pub fn new(kafka: SocketAddr) -> Self {
        Self {
            bootstrap: kafka.to_string(),
        }
    }

    /// kcat with the broker given.
    #[must_use]
    pub fn program(&self, arguments: &[&str]) -> Program {
        // No librdkafka default of a home directory's kcat.conf.
        let program = Program::new("kcat").variable("KCAT_CONFIG", "/dev/null");
        program.args(["-b", &self.bootstrap]).args(arguments)
    }

    /// Produces records with keys, in order; an empty key or value is sent as null.
    ///
    /// # Errors
    /// kcat fails: something was not acknowledged.
    pub async fn produce(
        &self,
        topic: &str,
        records: &[(Vec<u8>, Vec<u8>)],
        more: &[&str],
    ) -> anyhow::Result<Ran> {
        let mut input = Vec::new();
        for (key, value) in records {
            input.extend_from_slice(key);
            input.extend_from_slice(KEY_END.as_bytes());
            input.extend_from_slice(value);
            input.extend_from_slice(RECORD_END.as_bytes());
        }
        let arguments = ["-P", "-Z", "-t", topic, "-D", RECORD_END, "-K", KEY_END];
        let program = self.program(&arguments).args(more).stdin(input);
        program.succeed().await
    }

    /// Reads `count` records of a partition (`more` may say otherwise) from `offset`.
    ///
    /// # Errors
    /// kcat fails, or says what cannot be parsed.
    pub async fn consume(
        &self,
        topic: &str,
        offset: &str,
        more: &[&str],
    ) -> anyhow::Result<Vec<KcatRecord>> {
        let arguments = ["-C", "-t", topic, "-o", offset, "-e", "-f", FORMAT];
        // The default of half a second is how long an empty reply may keep kcat from its end.
        let quick = ["-X", "fetch.wait.max.ms=20", "-X", "check.crcs=true"];
        let ran = self
            .program(&arguments)
            .args(quick)
            .args(more)
            .succeed()
            .await?;
        parse(&ran.stdout).with_context(|| ran.tell())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_records_nulls_and_headers_are_read_from_the_output() {
        let output = b"0 7 1000 2 3 a=1,b=2\n\n\xffx\ny\n1 8 1001 -1 -1 \n\n2 9 5 0 0 \n\n";

        let records = parse(output).unwrap();

        assert_eq!(records.len(), 3);
        assert_eq!(records[0].key.as_deref(), Some(&b"\n\xff"[..]));
        assert_eq!(records[0].value.as_deref(), Some(&b"x\ny"[..]));
        assert_eq!(records[0].headers, b"a=1,b=2");
        assert_eq!(
            (records[1].key.clone(), records[1].value.clone()),
            (None, None)
        );
        assert_eq!(records[2].value.as_deref(), Some(&b""[..]));
        assert!(parse(b"0 7 1000 2 9 \nab").is_err());
    }
}
