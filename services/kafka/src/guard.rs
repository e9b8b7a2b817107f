//! The guard: walks a request before the codec sees it, with a cursor and without allocating.
//!
//! The codec reserves memory for whatever count the wire names, so every count, length and tag is
//! compared here, against the bytes that are left and against our limits. What passes decodes
//! without an error, ends at the last byte, and takes at most the memory that is stated.
//! Called by `connection` for every frame.

mod shape;
mod table;

use esker_types::{ByteReader, ShortBytes};

use crate::limits;
use crate::versions::Api;
use shape::{Field, Format, Kind, Shape};

/// A request that passed the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardedFrame {
    /// What is asked.
    pub api: Api,
    /// In which version; served.
    pub version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// Bytes of the request header; the body follows.
    pub header_bytes: usize,
    /// Upper bound of the memory that decoding header and body takes beyond the frame itself.
    pub memory_bytes: usize,
}

/// Why a frame is refused. All but `ApiVersions` in an unsupported version close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// The API is not served.
    #[error("api key {key} is not served")]
    UnknownApi {
        /// The key asked for.
        key: i16,
    },
    /// The API is served, but not in this version.
    #[error("version {version} of {api} is not served")]
    UnsupportedVersion {
        /// The API asked for.
        api: Api,
        /// The version asked for.
        version: i16,
        /// For `ApiVersions`, which is answered all the same.
        correlation_id: i32,
    },
    /// The frame ends before a value does, or a count cannot fit what is left.
    #[error("{field} does not fit the {remaining} bytes left")]
    Short {
        /// Kafka's name of the field.
        field: &'static str,
        /// Bytes left in the frame, or in the tagged field.
        remaining: usize,
    },
    /// A length or count is negative.
    #[error("{field} has a negative length")]
    Negative {
        /// Kafka's name of the field.
        field: &'static str,
    },
    /// Null where the version has no null.
    #[error("{field} must not be null")]
    Null {
        /// Kafka's name of the field.
        field: &'static str,
    },
    /// A length or count is above its limit.
    #[error("{field} has {found} elements or bytes, at most {most} are taken")]
    TooMany {
        /// Kafka's name of the field.
        field: &'static str,
        /// What the wire says.
        found: usize,
        /// The limit.
        most: usize,
    },
    /// A variable-length number is longer than five bytes or does not fit 32 bits.
    #[error("{field} has a length that is no 32-bit number")]
    Varint {
        /// Kafka's name of the field.
        field: &'static str,
    },
    /// A string is not UTF-8.
    #[error("{field} is not valid UTF-8")]
    Text {
        /// Kafka's name of the field.
        field: &'static str,
    },
    /// A tagged field's content is longer or shorter than its stated size, or not of this version.
    #[error("tagged field {tag} does not have its stated size or does not belong to this version")]
    Tag {
        /// The tag.
        tag: u32,
    },
    /// Decoded, the request would take too much memory for its size.
    #[error("the request would take {needed} bytes of memory, {most} are allowed")]
    Memory {
        /// The estimate so far.
        needed: usize,
        /// 8 times the frame plus 1 MiB.
        most: usize,
    },
}

/// Checks one frame, its 4-byte length not included.
///
/// # Errors
/// [`GuardError`]: close the connection; `UnsupportedVersion` of `ApiVersions` is answered first.
pub fn guard_frame(frame: &[u8]) -> Result<GuardedFrame, GuardError> {
    let mut walk = Walk::over(frame);
    let key = walk.number("request_api_key", ByteReader::i16)?;
    let version = walk.number("request_api_version", ByteReader::i16)?;
    let correlation_id = walk.number("correlation_id", ByteReader::i32)?;
    let api = Api::from_key(key).ok_or(GuardError::UnknownApi { key })?;
    if !api.serves(version) {
        return Err(GuardError::UnsupportedVersion {
            api,
            version,
            correlation_id,
        });
    }
    let layout = table::layout(api);
    let flexible = version >= layout.flexible_from;
    walk.elements_max = layout.elements_max;
    // The client id keeps its 2-byte length in every header.
    walk.format = Format {
        version,
        flexible: false,
    };
    walk.text(&CLIENT_ID)?;
    walk.format.flexible = flexible;
    if flexible {
        walk.tags(&REQUEST_HEADER)?;
    }
    let header_bytes = walk.reader.position();
    walk.charge(layout.root.memory_bytes)?;
    walk.structure(layout.root)?;
    // Bytes behind the last field are not looked at, as in Kafka: librdkafka leaves three there
    // when it asks for the metadata of all topics (confluentinc/librdkafka#5049).
    Ok(GuardedFrame {
        api,
        version,
        correlation_id,
        header_bytes,
        memory_bytes: walk.memory_bytes,
    })
}

const CLIENT_ID: Field = Field::new("client_id", Kind::Text, 0, i16::MAX).nullable(0, i16::MAX);
const REQUEST_HEADER: Shape = Shape {
    memory_bytes: 0,
    fields: &[],
};
/// Memory of the first unknown tagged field of a struct: one leaf of the codec's ordered map.
const TAGGED_FIRST_BYTES: usize = 512;
/// Memory of each unknown tagged field, beyond the leaf that the first one pays.
const TAGGED_EACH_BYTES: usize = 128;
/// Bookkeeping of the shared frame buffer, and the header's struct.
const FRAME_MEMORY_BYTES: usize =
    256 + size_of::<kafka_protocol::messages::request_header::RequestHeader>();

/// The cursor and what has been counted.
struct Walk<'a> {
    reader: ByteReader<'a>,
    format: Format,
    memory_bytes: usize,
    memory_bytes_max: usize,
    elements: usize,
    elements_max: usize,
}

impl<'a> Walk<'a> {
    fn over(frame: &'a [u8]) -> Self {
        let allowed = frame.len().saturating_mul(limits::DECODED_FACTOR);
        Self {
            reader: ByteReader::new(frame),
            format: Format {
                version: 0,
                flexible: false,
            },
            memory_bytes: FRAME_MEMORY_BYTES,
            memory_bytes_max: allowed.saturating_add(limits::DECODED_SLACK_BYTES),
            elements: 0,
            elements_max: limits::REQUEST_ELEMENTS_MAX,
        }
    }

    fn number<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut ByteReader<'a>) -> Result<T, ShortBytes>,
    ) -> Result<T, GuardError> {
        let remaining = self.reader.remaining();
        read(&mut self.reader).map_err(|_| GuardError::Short { field, remaining })
    }

    fn skip(&mut self, field: &'static str, bytes: usize) -> Result<&'a [u8], GuardError> {
        self.number(field, |reader| reader.take(bytes))
    }

    fn charge(&mut self, bytes: usize) -> Result<(), GuardError> {
        self.memory_bytes = self.memory_bytes.saturating_add(bytes);
        if self.memory_bytes > self.memory_bytes_max {
            return Err(GuardError::Memory {
                needed: self.memory_bytes,
                most: self.memory_bytes_max,
            });
        }
        Ok(())
    }

    /// An unsigned number of 7 bits per byte, at most 5 bytes and 32 bits.
    fn varint(&mut self, field: &'static str) -> Result<u32, GuardError> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.number(field, ByteReader::u8)?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(GuardError::Varint { field })
    }

    /// A length or count as the format writes it; `None` is null.
    fn length(&mut self, field: &Field, wide: bool) -> Result<Option<usize>, GuardError> {
        let name = field.name;
        let signed = if self.format.flexible {
            i64::from(self.varint(name)?) - 1
        } else if wide {
            i64::from(self.number(name, ByteReader::i32)?)
        } else {
            i64::from(self.number(name, ByteReader::i16)?)
        };
        match usize::try_from(signed) {
            Ok(length) => Ok(Some(length)),
            Err(_) if signed < -1 => Err(GuardError::Negative { field: name }),
            Err(_) if field.nullable.contain(self.format.version) => Ok(None),
            Err(_) => Err(GuardError::Null { field: name }),
        }
    }

    fn text(&mut self, field: &Field) -> Result<(), GuardError> {
        let Some(bytes) = self.length(field, false)? else {
            return Ok(());
        };
        at_most(field.name, bytes, limits::STRING_BYTES_MAX)?;
        let text = self.skip(field.name, bytes)?;
        match std::str::from_utf8(text) {
            Ok(_) => Ok(()),
            Err(_) => Err(GuardError::Text { field: field.name }),
        }
    }

    fn value(&mut self, field: &Field, kind: Kind) -> Result<(), GuardError> {
        match kind {
            Kind::Fixed(bytes) => self.skip(field.name, bytes).map(drop),
            Kind::Text => self.text(field),
            Kind::Blob => match self.length(field, true)? {
                Some(bytes) => self.skip(field.name, bytes).map(drop),
                None => Ok(()),
            },
            Kind::Struct(shape) => self.structure(shape),
            Kind::List(element) => self.list(field, *element),
        }
    }

    fn list(&mut self, field: &Field, element: Kind) -> Result<(), GuardError> {
        let Some(count) = self.length(field, true)? else {
            return Ok(());
        };
        let remaining = self.reader.remaining();
        let smallest = element.smallest_bytes(self.format).max(1);
        if count > remaining / smallest {
            return Err(GuardError::Short {
                field: field.name,
                remaining,
            });
        }
        at_most(field.name, count, limits::LIST_ELEMENTS_MAX)?;
        self.elements = self.elements.saturating_add(count);
        at_most(field.name, self.elements, self.elements_max)?;
        self.charge(count.saturating_mul(element.memory_bytes()))?;
        if let Kind::Fixed(bytes) = element {
            return self.skip(field.name, bytes.saturating_mul(count)).map(drop);
        }
        // An element of a list is never null, whatever the list itself may be.
        let one = Field::new(field.name, element, 0, i16::MAX);
        for _ in 0..count {
            self.value(&one, element)?;
        }
        Ok(())
    }

    fn structure(&mut self, shape: &Shape) -> Result<(), GuardError> {
        for field in shape.fields {
            if !field.is_fixed_in(self.format.version) {
                continue;
            }
            let absent = match field.kind {
                Kind::Struct(_) if field.nullable.contain(self.format.version) => {
                    self.number(field.name, ByteReader::i8)? != 1
                }
                _ => false,
            };
            if !absent {
                self.value(field, field.kind)?;
            }
        }
        if self.format.flexible {
            self.tags(shape)?;
        }
        Ok(())
    }

    /// The tagged fields of one struct: known ones by their own rows, unknown ones by their size.
    fn tags(&mut self, shape: &Shape) -> Result<(), GuardError> {
        const NAME: &str = "tagged fields";
        let count = usize::try_from(self.varint(NAME)?).unwrap_or(usize::MAX);
        at_most(NAME, count, limits::TAGGED_FIELDS_MAX)?;
        let mut unknown = 0_usize;
        for _ in 0..count {
            let tag = self.varint(NAME)?;
            if i32::try_from(tag).is_err() {
                // Kafka reads tags as signed numbers; the codec could not write such a tag again.
                return Err(GuardError::Tag { tag });
            }
            let bytes = usize::try_from(self.varint(NAME)?).unwrap_or(usize::MAX);
            let content = self.skip(NAME, bytes)?;
            let known = shape.fields.iter().find(|field| field.tag == Some(tag));
            match known {
                Some(field) => self.known_tag(field, tag, content)?,
                None => {
                    let first = usize::from(unknown == 0) * TAGGED_FIRST_BYTES;
                    self.charge(first + TAGGED_EACH_BYTES)?;
                    unknown += 1;
                }
            }
        }
        Ok(())
    }

    fn known_tag(&mut self, field: &Field, tag: u32, content: &'a [u8]) -> Result<(), GuardError> {
        if !field.versions.contain(self.format.version) {
            return Err(GuardError::Tag { tag });
        }
        let outer = std::mem::replace(&mut self.reader, ByteReader::new(content));
        let walked = self.value(field, field.kind);
        let inner = std::mem::replace(&mut self.reader, outer);
        walked?;
        match inner.remaining() {
            0 => Ok(()),
            _ => Err(GuardError::Tag { tag }),
        }
    }
}

fn at_most(field: &'static str, found: usize, most: usize) -> Result<(), GuardError> {
    match found <= most {
        true => Ok(()),
        false => Err(GuardError::TooMany { field, found, most }),
    }
}

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
