//! Makes record batches by hand, sound or not, for the tests of this crate: every field can be
//! set, the checksum is right. Knows nothing of the crate under test.

use std::io::Write as _;

use bytes::Bytes;

pub(crate) const PLAIN: i16 = 0;
pub(crate) const GZIP: i16 = 1;
pub(crate) const SNAPPY: i16 = 2;
pub(crate) const LZ4: i16 = 3;
pub(crate) const ZSTD: i16 = 4;

/// A batch in parts.
#[derive(Clone, Debug)]
pub(crate) struct Forged {
    pub(crate) base_offset: i64,
    /// Added to the true length.
    pub(crate) length_error: i32,
    pub(crate) magic: i8,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) record_count: i32,
    pub(crate) body: Vec<u8>,
}

impl Forged {
    /// A plain batch of `count` records without headers, keyless, of one byte each.
    pub(crate) fn plain(count: i32) -> Self {
        let body = (0..count).flat_map(|delta| record(0, delta, None, Some(b"v"), &[]));
        Self {
            base_offset: 0,
            length_error: 0,
            magic: 2,
            attributes: PLAIN,
            last_offset_delta: count - 1,
            base_timestamp: 1000,
            max_timestamp: 1000,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: count,
            body: body.collect(),
        }
    }

    /// `count` records in these (compressed) bytes.
    pub(crate) fn packed(codec: i16, count: i32, body: Vec<u8>) -> Self {
        Self {
            attributes: codec,
            body,
            record_count: count,
            last_offset_delta: count - 1,
            ..Self::plain(1)
        }
    }

    pub(crate) fn bytes(&self) -> Bytes {
        let length = i32::try_from(self.body.len()).unwrap() + 49 + self.length_error;
        let mut checked = Vec::new();
        checked.extend_from_slice(&self.attributes.to_be_bytes());
        checked.extend_from_slice(&self.last_offset_delta.to_be_bytes());
        checked.extend_from_slice(&self.base_timestamp.to_be_bytes());
        checked.extend_from_slice(&self.max_timestamp.to_be_bytes());
        checked.extend_from_slice(&self.producer_id.to_be_bytes());
        checked.extend_from_slice(&self.producer_epoch.to_be_bytes());
        checked.extend_from_slice(&self.base_sequence.to_be_bytes());
        checked.extend_from_slice(&self.record_count.to_be_bytes());
        checked.extend_from_slice(&self.body);
        let mut batch = Vec::new();
        batch.extend_from_slice(&self.base_offset.to_be_bytes());
        batch.extend_from_slice(&length.to_be_bytes());
        batch.extend_from_slice(&0_i32.to_be_bytes());
        batch.extend_from_slice(&self.magic.to_be_bytes());
        batch.extend_from_slice(&esker_types::crc32c(&checked).to_be_bytes());
        batch.extend_from_slice(&checked);
        Bytes::from(batch)
    }
}

/// Zigzag and seven bits a byte.
pub(crate) fn varint(value: i64) -> Vec<u8> {
    let mut left = (value << 1 ^ value >> 63).cast_unsigned();
    let mut bytes = Vec::new();
    while left >= 0x80 {
        bytes.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
        left >>= 7;
    }
    bytes.push(u8::try_from(left).unwrap());
    bytes
}

fn nullable(value: Option<&[u8]>) -> Vec<u8> {
    let length = value.map_or(-1, |value| i64::try_from(value.len()).unwrap());
    [&varint(length), value.unwrap_or_default()].concat()
}

/// A record with its length in front. Headers come with their count unless there are none.
pub(crate) fn record(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(&[u8], Option<&[u8]>)],
) -> Vec<u8> {
    let mut body = vec![0];
    body.extend(varint(timestamp_delta));
    body.extend(varint(i64::from(offset_delta)));
    body.extend(nullable(key));
    body.extend(nullable(value));
    body.extend(varint(i64::try_from(headers.len()).unwrap()));
    for (key, value) in headers {
        body.extend(nullable(Some(key)));
        body.extend(nullable(*value));
    }
    framed(&body)
}

/// A record's length, then the bytes.
pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    let length = i64::try_from(body.len()).unwrap();
    [varint(length), body.to_vec()].concat()
}

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(plain, 3).unwrap()
}

/// One raw block, as librdkafka writes it.
pub(crate) fn snappy(plain: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(plain).unwrap()
}

/// A frame with the given first descriptor byte and block size code; nothing optional is added.
pub(crate) fn lz4_frame(flags: u8, blocks: u8, plain: &[u8]) -> Vec<u8> {
    let descriptor = [flags, blocks << 4];
    let checksum = xxhash_rust::xxh32::xxh32(&descriptor, 0).to_le_bytes()[1];
    let mut frame = vec![0x04, 0x22, 0x4d, 0x18];
    frame.extend_from_slice(&descriptor);
    frame.push(checksum);
    let block_bytes = 1 << (8 + 2 * u32::from(blocks));
    for block in plain.chunks(block_bytes) {
        let packed = lz4_flex::block::compress(block);
        frame.extend_from_slice(&u32::try_from(packed.len()).unwrap().to_le_bytes());
        frame.extend_from_slice(&packed);
    }
    frame.extend_from_slice(&[0; 4]);
    frame
}

pub(crate) fn lz4(plain: &[u8]) -> Vec<u8> {
    lz4_frame(0x60, 7, plain)
}

/// The named hex dumps of a file: `# name` lines, then hex.
pub(crate) fn dumps(text: &str) -> Vec<(String, Bytes)> {
    let mut dumps: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("# ") {
            Some(name) => dumps.push((name.to_owned(), String::new())),
            None => dumps.last_mut().unwrap().1.push_str(line),
        }
    }
    dumps.retain(|(_, hex)| !hex.is_empty());
    dumps
        .into_iter()
        .map(|(name, hex)| (name, Bytes::from(unhex(&hex))))
        .collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// The dump called `name`.
pub(crate) fn dump(text: &str, name: &str) -> Bytes {
    let found = dumps(text).into_iter().find(|(found, _)| found == name);
    found.unwrap().1
}
