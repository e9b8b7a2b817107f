//! Each fault of the vocabulary, seen to strike, through Esker's own S3 client and a fake store.

mod fake_store;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use esker_env::Env;
use esker_object::{
    Bucket as _, DurableBucket, DurableConfig, KeyClass, ObjectKey, ProbeError, PutOutcome,
    ReadRange, S3Bucket, S3Config, StoreErrorKind, conformance, probe,
};

use super::*;
use crate::{STORE_KEYS, SeaweedServer};
use fake_store::FakeStore;

struct World {
    fake: FakeStore,
    shaper: ShaperHandle,
    bucket: S3Bucket,
    env: Env,
}

async fn bucket_at(endpoint: String) -> S3Bucket {
    let config = S3Config {
        bucket: "tests".to_owned(),
        prefix: "pre/fix".to_owned(),
        endpoint: Some(endpoint),
        access_key_id: Some(STORE_KEYS.key_id.to_owned()),
        secret_access_key: Some(STORE_KEYS.secret.to_owned()),
        ..S3Config::default()
    };
    S3Bucket::open(config, Env::system()).await.unwrap()
}

async fn world(rules: Vec<Rule>) -> World {
    let fake = FakeStore::start().await;
    let config = ShaperConfig {
        rules,
        ..ShaperConfig::before(fake.address)
    };
    let shaper = Shaper::start(config).await.unwrap();
    let bucket = bucket_at(shaper.endpoint()).await;
    World {
        fake,
        shaper,
        bucket,
        env: Env::system(),
    }
}

async fn struck_by(fault: ShapedFault) -> World {
    world(vec![Rule {
        times: Some(1),
        ..Rule::new(fault)
    }])
    .await
}

fn key() -> ObjectKey {
    ObjectKey::from_listing("c/sessions/aa/s/1").unwrap()
}

fn body() -> Bytes {
    Bytes::from_static(b"sixteen bytes ok")
}

impl World {
    async fn put(&self) -> PutOutcome {
        let key = key();
        let put = self.bucket.put_if_absent(&key, body());
        let limit = Duration::from_millis(400);
        match esker_env::timeout(self.env.clock.as_ref(), limit, put).await {
            Ok(outcome) => outcome,
            Err(elapsed) => {
                let error = esker_object::StoreError::new("put", &key, StoreErrorKind::Retry);
                PutOutcome::Unknown(error.caused_by(elapsed))
            }
        }
    }

    fn stored(&self) -> bool {
        self.fake.has(key().as_str())
    }

    /// Waits for something that happens by itself soon.
    async fn eventually(&self, happened: impl Fn(&Self) -> bool) {
        for _ in 0..500 {
            if happened(self) {
                return;
            }
            self.env.clock.sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not happen within 5 s");
    }
}

fn is_unknown(outcome: &PutOutcome, kind: StoreErrorKind) -> bool {
    matches!(outcome, PutOutcome::Unknown(error) if error.kind == kind)
}

#[tokio::test]
async fn without_rules_the_proxy_only_counts() {
    let world = world(Vec::new()).await;

    conformance(&world.bucket).await;
    let _ = world.put().await;
    let again = world.put().await;

    assert!(matches!(again, PutOutcome::Exists));
    let report = world.shaper.report();
    assert_eq!(report.count("put", Some(KeyClass::Session)), 2);
    let refused = report
        .requests
        .iter()
        .find(|row| row.status == 412 && row.class == "session");
    assert_eq!(
        refused.map(|row| (row.count, row.size.as_str())),
        Some((1, "<=1KiB"))
    );
    assert!(report.count("list", None) >= 4 && report.latency("put").unwrap().count > 0);
    world.shaper.stop().await.unwrap();
}

#[tokio::test]
async fn fb_fails_before_the_store() {
    for (reply, kind) in [
        (Reply::Code(503), StoreErrorKind::Throttled),
        (Reply::Code(500), StoreErrorKind::Retry),
        (Reply::Rst, StoreErrorKind::Retry),
        (Reply::Hang, StoreErrorKind::Retry),
    ] {
        let world = struck_by(ShapedFault::Fb { reply }).await;

        let outcome = world.put().await;

        assert!(is_unknown(&outcome, kind), "{reply:?}: {outcome:?}");
        assert!(!world.stored());
        assert_eq!(world.shaper.report().struck("FB"), 1);
    }
}

#[tokio::test]
async fn fa_does_it_and_loses_the_reply() {
    for reply in [Reply::Code(500), Reply::Rst, Reply::Hang] {
        let world = struck_by(ShapedFault::Fa { reply }).await;

        let outcome = world.put().await;

        assert!(
            is_unknown(&outcome, StoreErrorKind::Retry),
            "{reply:?}: {outcome:?}"
        );
        assert!(world.stored());
        assert_eq!(world.shaper.report().struck("FA"), 1);
    }
}

#[tokio::test]
async fn a_lost_reply_ends_as_already_ours_in_the_dependable_bucket() {
    let world = struck_by(ShapedFault::Fa { reply: Reply::Rst }).await;
    let inner = Arc::new(bucket_at(world.shaper.endpoint()).await);
    let durable = DurableBucket::new(inner, DurableConfig::default(), Env::system());

    let outcome = durable.put_if_absent(&key(), body()).await;

    assert!(matches!(outcome, PutOutcome::AlreadyOurs), "{outcome:?}");
    assert_eq!(world.shaper.report().struck("FA"), 1);
}

#[tokio::test]
async fn hold_delivers_when_the_client_has_long_gone() {
    let world = struck_by(ShapedFault::Hold {
        millis: 600,
        reply: Reply::Hang,
    })
    .await;

    let outcome = world.put().await;
    let stored_at_once = world.stored();
    world.eventually(World::stored).await;

    assert!(is_unknown(&outcome, StoreErrorKind::Retry));
    assert!(!stored_at_once);
    assert_eq!(world.shaper.report().struck("HOLD"), 1);
}

#[tokio::test]
async fn dup_delivers_twice() {
    let world = struck_by(ShapedFault::Dup { millis: 30 }).await;

    let outcome = world.put().await;
    world.eventually(|world| world.fake.puts() == 2).await;

    assert!(matches!(outcome, PutOutcome::Created));
    assert_eq!(world.shaper.report().struck("DUP"), 1);
}

#[tokio::test]
async fn slow_waits_and_thins() {
    let fault = ShapedFault::Slow {
        latency_millis: 50,
        bytes_per_second: Some(160),
    };
    let world = struck_by(fault).await;
    let start = world.env.clock.now();

    let outcome = world.put().await;

    assert!(matches!(outcome, PutOutcome::Created), "{outcome:?}");
    assert!(world.env.clock.now().since(start) >= Duration::from_millis(150));
    assert_eq!(world.shaper.report().struck("SLOW"), 1);
}

#[tokio::test]
async fn trunc_is_caught_by_checksum_on_the_way_in_and_by_length_on_the_way_out() {
    let world = struck_by(ShapedFault::Trunc).await;

    let cut = world.put().await;
    let stored = world.stored();
    let whole = world.put().await;
    world.shaper.set_rules(vec![Rule {
        times: Some(1),
        ..Rule::new(ShapedFault::Trunc)
    }]);
    let read = world.bucket.get(&key(), ReadRange::Full).await;

    assert!(is_unknown(&cut, StoreErrorKind::Retry), "{cut:?}");
    assert!(!stored && matches!(whole, PutOutcome::Created));
    assert!(matches!(read, Err(error) if error.kind == StoreErrorKind::Retry));
    assert_eq!(world.shaper.report().struck("TRUNC"), 1);
}

#[tokio::test]
async fn flip_changes_a_bit_of_what_is_read() {
    let world = world(Vec::new()).await;
    let _ = world.put().await;
    world.shaper.set_rules(vec![Rule::new(ShapedFault::Flip)]);

    let read = world
        .bucket
        .get(&key(), ReadRange::Full)
        .await
        .unwrap()
        .unwrap();

    let changed = read
        .bytes
        .iter()
        .zip(body())
        .filter(|(left, right)| *left != right)
        .count();
    assert_eq!((changed, read.bytes.len()), (1, body().len()));
    assert_eq!(world.shaper.report().struck("FLIP"), 1);
}

#[tokio::test]
async fn short_leaves_out_half_and_says_so_and_the_decision_is_logged() {
    let world = world(Vec::new()).await;
    let _ = world.put().await;
    world.shaper.set_rules(vec![Rule::new(ShapedFault::Short)]);

    let read = world.bucket.get(&key(), ReadRange::Full).await;

    // Whoever knows how long the object is sees it; the client cannot.
    let half = body().len() / 2;
    let bytes = read.unwrap().unwrap().bytes;
    assert_eq!(bytes, body().slice(..half));
    let log = world.shaper.decisions();
    assert_eq!((log.seed, log.forgotten), (1, 0));
    let told = log
        .decisions
        .first()
        .map(|one| (one.kind.as_str(), one.method.as_str()));
    assert_eq!(told, Some(("SHORT", "GET")));
    assert!(
        log.decisions
            .iter()
            .all(|one| one.key.ends_with(key().as_str()))
    );
}

#[tokio::test]
async fn unordlist_deals_the_keys_of_a_page_anew() {
    let world = world(Vec::new()).await;
    for number in 0..9 {
        let key = ObjectKey::from_listing(&format!("c/sessions/aa/s/{number}")).unwrap();
        let _ = world.bucket.put_if_absent(&key, body()).await;
    }
    let prefix = ObjectKey::from_listing("c/").unwrap();
    let fresh = world.bucket.list_after(&prefix, None, 10).await.unwrap();
    world.shaper.set_rules(vec![Rule {
        operation: Some(StoreOperation::List),
        ..Rule::new(ShapedFault::UnordList)
    }]);

    let dealt = world.bucket.list_after(&prefix, None, 10).await.unwrap();

    assert_eq!((fresh.len(), dealt.len()), (9, 9));
    assert_eq!(world.shaper.report().struck("UNORDLIST"), 1);
}

#[tokio::test]
async fn stalelist_hides_what_was_put_lately() {
    let world = world(Vec::new()).await;
    let _ = world.put().await;
    let prefix = ObjectKey::from_listing("c/").unwrap();
    let fresh = world.bucket.list_after(&prefix, None, 10).await.unwrap();
    world.shaper.set_rules(vec![Rule {
        operation: Some(StoreOperation::List),
        ..Rule::new(ShapedFault::StaleList { millis: 60_000 })
    }]);

    let stale = world.bucket.list_after(&prefix, None, 10).await.unwrap();

    assert_eq!((fresh.len(), stale.len()), (1, 0));
    assert_eq!(world.shaper.report().struck("STALELIST"), 1);
}

#[tokio::test]
async fn clock_makes_a_store_whose_time_is_off() {
    let world = world(vec![Rule::new(ShapedFault::Clock { seconds: -900 })]).await;
    assert_eq!(world.bucket.clock_ahead_ms(), None);

    let outcome = world.put().await;

    let ahead = world.bucket.clock_ahead_ms().unwrap();
    assert!(matches!(outcome, PutOutcome::Created), "{outcome:?}");
    assert!((-902_000..=-898_000).contains(&ahead), "{ahead}");
}

#[tokio::test]
async fn nocond_makes_a_store_that_the_probe_refuses() {
    let world = world(vec![Rule::new(ShapedFault::NoCond)]).await;

    let outcome = probe(&world.bucket, &world.env).await;

    assert!(
        matches!(outcome, Err(ProbeError::NoConditionalCreate { .. })),
        "{outcome:?}"
    );
    assert!(world.shaper.report().struck("NOCOND") > 1);
}

#[tokio::test]
async fn c409_is_unknown_with_and_without_effect() {
    for effect in [false, true] {
        let world = struck_by(ShapedFault::C409 { effect }).await;

        let outcome = world.put().await;

        assert!(is_unknown(&outcome, StoreErrorKind::Retry), "{outcome:?}");
        assert_eq!(world.stored(), effect);
        assert_eq!(world.shaper.report().struck("C409"), 1);
    }
}

#[tokio::test]
async fn okerr_is_no_success() {
    let world = struck_by(ShapedFault::OkErr).await;

    let outcome = world.put().await;

    assert!(is_unknown(&outcome, StoreErrorKind::Retry), "{outcome:?}");
    assert!(!world.stored());
    assert_eq!(world.shaper.report().struck("OKERR"), 1);
}

#[tokio::test]
async fn cred_is_denied_and_nothing_is_stored() {
    for expired in [false, true] {
        let world = struck_by(ShapedFault::Cred { expired }).await;

        let outcome = world.put().await;

        let denied =
            matches!(&outcome, PutOutcome::Refused(error) if error.kind == StoreErrorKind::Denied);
        assert!(denied, "{outcome:?}");
        assert!(!world.stored());
        assert_eq!(world.shaper.report().struck("CRED"), 1);
    }
}

#[tokio::test]
async fn a_fixed_latency_is_kept_and_reported() {
    let fake = FakeStore::start().await;
    let profile = Profile::Latency(Duration::from_millis(80));
    let config = ShaperConfig {
        profile,
        ..ShaperConfig::before(fake.address)
    };
    let shaper = Shaper::start(config).await.unwrap();
    let bucket = bucket_at(shaper.endpoint()).await;

    let outcome = bucket.put_if_absent(&key(), body()).await;

    assert!(matches!(outcome, PutOutcome::Created));
    let report = shaper.report();
    let put = report.latency("put").unwrap();
    assert!(put.p50_millis >= 80.0 && put.p99_millis < 500.0, "{put:?}");
}

#[tokio::test]
async fn rules_report_and_reset_work_over_http() {
    let world = world(Vec::new()).await;
    let url = |path: &str| format!("{}/__shaper/{path}", world.shaper.endpoint());
    let client = reqwest::Client::new();
    let rules = r#"[{"name":"down","method":"PUT","fault":{"kind":"fb","reply":{"code":500}}}]"#;

    let set = client.post(url("rules")).body(rules).send().await.unwrap();
    let wrong = client.post(url("rules")).body("[{}]").send().await.unwrap();
    let _ = world.put().await;
    let report: ShaperReport = client
        .get(url("report"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    client.post(url("reset")).send().await.unwrap();

    assert_eq!((set.status().as_u16(), wrong.status().as_u16()), (200, 400));
    assert_eq!(
        (report.faults[0].name.as_str(), report.faults[0].struck),
        ("down", 1)
    );
    assert_eq!((report.count("put", None), report.seed), (1, 1));
    assert_eq!(world.shaper.report().count("put", None), 0);
}

#[tokio::test]
async fn a_real_store_behind_the_proxy_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let store = SeaweedServer::start(directory.path()).await.unwrap();
    store.create_bucket("tests").await.unwrap();
    let upstream = store
        .endpoint()
        .trim_start_matches("http://")
        .parse()
        .unwrap();
    let shaper = Shaper::start(ShaperConfig::before(upstream)).await.unwrap();
    let bucket = bucket_at(shaper.endpoint()).await;

    conformance(&bucket).await;
    let probed = probe(&bucket, &Env::system()).await;

    assert!(probed.is_ok(), "{probed:?}");
    assert!(shaper.report().count("put", Some(KeyClass::Probe)) >= 18);
}
