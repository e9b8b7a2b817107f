//! Claims about the checked configuration.

use super::*;

fn parse(flags: &[(&str, &str)]) -> Result<ServeConfig, Mistakes> {
    let flags = flags
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let layers = Layers {
        flags,
        variable: &|_| None,
        file: None,
    };
    ServeConfig::parse(&layers.choose())
}

#[test]
fn the_defaults_are_a_directory_and_the_usual_ports() {
    let config = parse(&[]).unwrap();

    assert_eq!(
        config.store,
        StoreUrl::Directory(PathBuf::from("./esker-data"))
    );
    assert_eq!(config.kafka_listen.port(), 9092);
    assert_eq!(config.http_listen.port(), 8080);
    assert!(config.auto_create_topics);
    assert_eq!(config.s3, S3Settings::default());
}

#[test]
fn every_mistake_is_told_at_once_with_its_origin() {
    let mistakes = parse(&[
        ("store", "ftp://x"),
        ("kafka-listen", "localhost:9092"),
        ("segment-bytes", "8388609"),
        ("segments-in-flight", "65"),
        ("default-partitions", "10001"),
        ("role", "ingest,lead"),
        ("cluster-id", "xyz"),
        ("kafka-connections", "0"),
        ("kafka-connections-per-address", "many"),
        ("kafka-idle-timeout-ms", "999"),
        ("linger-ms", "10001"),
    ])
    .unwrap_err();

    let settings: Vec<_> = mistakes.0.iter().map(|mistake| mistake.setting).collect();
    assert_eq!(settings.len(), 11, "{mistakes}");
    assert!(mistakes.0.iter().all(|row| row.origin == Origin::Flag));
    assert!(mistakes.to_string().contains("ftp://x"));
}

#[test]
fn clients_see_all_those_of_a_role_or_one_broker_at_the_address_of_all() {
    let seen = |chosen: &[_]| parse(chosen).map(|config| config.clients_see);

    assert_eq!(seen(&[]).unwrap(), ClientsSee::All);
    let role = [("clients-see", "role")];
    let both = Roles::INGEST.and(Roles::FETCH);
    assert_eq!(seen(&role).unwrap(), ClientsSee::Within(both));
    let single = ("clients-see", "single");
    let at = ("advertise", "kafka.example.com:9092");
    assert_eq!(seen(&[single, at]).unwrap(), ClientsSee::Single);
    let mistakes = seen(&[single]).unwrap_err().to_string();
    assert!(
        mistakes.contains("advertise") && mistakes.contains("single"),
        "{mistakes}"
    );
    assert!(seen(&[("clients-see", "nobody")]).is_err());
    let inside = [
        single,
        ("role", "metadata"),
        ("internal-listen", "127.0.0.1:9094"),
    ];
    assert_eq!(
        seen(&inside).unwrap(),
        ClientsSee::Single,
        "it takes no clients"
    );
}

#[test]
fn the_longest_linger_is_that_of_the_produce_path() {
    let config = parse(&[("linger-ms", "10000")]).unwrap();

    assert_eq!(config.linger, LINGER_MAX);
    assert!(parse(&[("linger-ms", "10001")]).is_err());
}

#[test]
fn stores_are_told_by_their_url() {
    let s3 = |bucket: &str, prefix: &str| StoreUrl::S3 {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
    };

    assert_eq!(parse_store("s3://b/p/q/"), Some(s3("b", "p/q")));
    assert_eq!(parse_store("s3://b"), Some(s3("b", "")));
    assert_eq!(parse_store("s3:///p"), None);
    assert_eq!(parse_store("file://"), None);
    assert_eq!(parse_store("memory:"), Some(StoreUrl::Memory));
}

#[test]
fn an_advertised_address_may_be_a_name_or_an_ipv6_address() {
    let advertised = |text| parse_advertised(text).map(|found| (found.host, found.port));

    assert_eq!(advertised("kafka.x:1"), Some(("kafka.x".into(), 1)));
    assert_eq!(advertised("[::1]:2"), Some(("::1".into(), 2)));
    assert_eq!(advertised("host"), None);
    assert_eq!(advertised("host:0"), None);
    assert_eq!(advertised(":1"), None);
}

#[test]
fn the_address_for_other_processes_is_an_authority_also_with_ipv6() {
    let address = |text| {
        let config = parse(&[("http-advertise", text)]).unwrap();
        config.http_address()
    };

    assert_eq!(address("10.0.0.7:8080"), "10.0.0.7:8080");
    assert_eq!(address("[fd00::7]:8080"), "[fd00::7]:8080");
    assert_eq!(address("fd00::7:8080"), "[fd00::7]:8080");
    assert_eq!(parse(&[]).unwrap().http_address(), "127.0.0.1:8080");
}

#[test]
fn secrets_are_not_printed() {
    let flags = BTreeMap::from([("s3-secret-access-key".to_owned(), "hunter2".to_owned())]);
    let layers = Layers {
        flags,
        variable: &|_| None,
        file: None,
    };
    let chosen = layers.choose();

    let shown = format!("{:?} {:?}", describe(&chosen), ServeConfig::parse(&chosen));

    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn roles_in_processes_of_their_own_must_find_each_other() {
    let settings = |flags| {
        let mistakes: Mistakes = parse(flags).unwrap_err();
        let names = mistakes.0.iter().map(|mistake| mistake.setting);
        names.collect::<Vec<_>>()
    };

    assert_eq!(settings(&[("role", "ingest")]), ["metadata"]);
    assert_eq!(settings(&[("role", "metadata")]), ["internal-listen"]);
    assert_eq!(
        settings(&[("internal-tls-cert", "a.pem")]),
        ["internal-tls-cert"]
    );
    assert_eq!(
        settings(&[("internal-tls-name", "pod.example")]),
        ["internal-tls-name"]
    );
    assert_eq!(settings(&[("zone", "a,b")]), ["zone"]);
    let addresses = vec!["h:1"; METADATA_ADDRESSES_MAX + 1].join(",");
    assert_eq!(settings(&[("metadata", &addresses)]), ["metadata"]);

    let pod = parse(&[
        ("role", "ingest, fetch"),
        ("metadata", "a:1, [::1]:2"),
        ("zone", "eu-1a"),
    ])
    .unwrap();
    assert_eq!(pod.roles, Roles::INGEST.and(Roles::FETCH));
    assert_eq!(pod.internal.metadata[1].host, "::1");
    assert_eq!(pod.node_id, None, "drawn");
    assert_eq!(parse(&[]).unwrap().node_id, Some(1));
}

#[test]
fn certificates_of_others_are_for_the_name_that_is_set() {
    let files = |name| {
        parse(&[
            ("internal-tls-cert", "a.pem"),
            ("internal-tls-key", "b.pem"),
            ("internal-tls-ca", "c.pem"),
            ("internal-tls-name", name),
        ])
    };

    let sound = files("pod.example").unwrap();
    let mistakes = files("*.example").unwrap_err();

    let name = sound.internal.tls.unwrap().name;
    assert!(name.is_some() && name == PeerName::parse("pod.example"));
    assert_eq!(mistakes.0.len(), 1);
    assert_eq!(mistakes.0[0].setting, "internal-tls-name");
}

#[test]
fn a_zone_map_is_taken_whole_or_its_first_mistake_is_told() {
    let sound = parse(&[("zone-map", "10.0.1.0/24=eu-1a,10.0.0.0/16=eu-1b")]).unwrap();
    let mistakes = parse(&[("zone-map", "10.0.1.0/24=eu-1a,10.0.1.9/24=eu-1b")]).unwrap_err();

    let zone = sound.zone_map.zone_of([10, 0, 1, 7].into());
    assert_eq!(zone, Some("eu-1a"));
    let told = mistakes.to_string();
    assert_eq!(mistakes.0.len(), 1);
    assert!(
        told.contains("10.0.1.9/24=eu-1b") && told.contains("10.0.1.0/24"),
        "{told}"
    );
    assert_eq!(parse(&[]).unwrap().zone_map, Arc::default());
}
