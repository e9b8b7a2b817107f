//! Where each setting's value comes from: flag, variable, file, default, in this order.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::table::{SETTINGS, Setting, named};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Variable(String),
    File(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("configuration file {} cannot be read", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("configuration file {} is not valid TOML", path.display())]
    Toml {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error(
        "configuration file {} sets `{key}`, which is no setting: `esker serve --help` lists them",
        path.display()
    )]
    UnknownKey { path: PathBuf, key: String },
    #[error(
        "configuration file {}: `{key}` must be a text, a number or true/false",
        path.display()
    )]
    Kind { path: PathBuf, key: String },
}

/// Values of a TOML file, by setting.
pub(crate) fn read_file(path: &Path) -> Result<BTreeMap<String, String>, FileError> {
    let at = || path.to_owned();
    let text =
        std::fs::read_to_string(path).map_err(|source| FileError::Read { path: at(), source })?;
    let table: toml::Table = text.parse().map_err(|source| FileError::Toml {
        path: at(),
        source: Box::new(source),
    })?;
    let mut values = BTreeMap::new();
    for (key, value) in table {
        if named(&key).is_none() {
            return Err(FileError::UnknownKey { path: at(), key });
        }
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(value) => value.to_string(),
            _ => return Err(FileError::Kind { path: at(), key }),
        };
        values.insert(key, value);
    }
    Ok(values)
}

/// What the layers hold, before they are laid over one another.
pub(crate) struct Layers<'a> {
    /// Values of flags.
    pub(crate) flags: BTreeMap<String, String>,
    /// The environment, asked by name.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    /// The file, if one was named.
    pub(crate) file: Option<(PathBuf, BTreeMap<String, String>)>,
}

impl Layers<'_> {
    /// The value of each setting that has one.
    pub(crate) fn choose(&self) -> BTreeMap<&'static str, Chosen> {
        let chosen = |setting: &'static Setting| Some((setting.name, self.of(setting)?));
        SETTINGS.iter().filter_map(chosen).collect()
    }

    fn of(&self, setting: &Setting) -> Option<Chosen> {
        let chosen = |value: &String, origin| Chosen {
            value: value.clone(),
            origin,
        };
        if let Some(value) = self.flags.get(setting.name) {
            return Some(chosen(value, Origin::Flag));
        }
        let own = setting.variable();
        let variables = std::iter::once(own.as_str()).chain(setting.also.iter().copied());
        for name in variables {
            // An empty variable is what `NAME= command` leaves: as good as none.
            if let Some(value) = (self.variable)(name).filter(|value| !value.is_empty()) {
                return Some(chosen(&value, Origin::Variable(name.to_owned())));
            }
        }
        if let Some((path, values)) = &self.file
            && let Some(value) = values.get(setting.name)
        {
            return Some(chosen(value, Origin::File(path.clone())));
        }
        let value = setting.default?.to_owned();
        Some(chosen(&value, Origin::Default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
        let all = |name: &str| (name == "ESKER_LINGER_MS").then(|| "2".to_owned());
        let file = BTreeMap::from([("linger-ms".to_owned(), "3".to_owned())]);
        let mut layers = Layers {
            flags: BTreeMap::from([("linger-ms".to_owned(), "1".to_owned())]),
            variable: &all,
            file: Some((PathBuf::from("e.toml"), file)),
        };
        let value = |layers: &Layers<'_>| layers.choose()["linger-ms"].clone();

        assert_eq!(value(&layers).origin, Origin::Flag);
        layers.flags.clear();
        assert_eq!(value(&layers).value, "2");
        layers.variable = &|_| Some(String::new());
        assert_eq!(value(&layers).value, "3");
        layers.file = None;
        assert_eq!(value(&layers).origin, Origin::Default);
    }

    #[test]
    fn our_own_variable_beats_that_of_another_program() {
        let variable = |name: &str| match name {
            "ESKER_S3_REGION" => Some("ours".to_owned()),
            "AWS_REGION" | "AWS_ENDPOINT_URL" => Some("theirs".to_owned()),
            _ => None,
        };
        let layers = Layers {
            flags: BTreeMap::new(),
            variable: &variable,
            file: None,
        };

        let chosen = layers.choose();

        assert_eq!(chosen["s3-region"].value, "ours");
        assert_eq!(chosen["s3-endpoint"].value, "theirs");
        assert!(!chosen.contains_key("s3-path-style"));
    }

    #[test]
    fn a_file_with_an_unknown_key_or_a_list_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("esker.toml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_file(&path)
        };

        assert_eq!(read("linger-ms = 5").unwrap()["linger-ms"], "5");
        assert!(
            matches!(read("linger = 5"), Err(FileError::UnknownKey { key, .. }) if key == "linger")
        );
        assert!(matches!(read("role = [1]"), Err(FileError::Kind { .. })));
        assert!(matches!(read("role ="), Err(FileError::Toml { .. })));
        let missing = read_file(&directory.path().join("none"));
        assert!(matches!(missing, Err(FileError::Read { .. })));
    }
}
