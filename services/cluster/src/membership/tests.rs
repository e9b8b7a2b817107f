//! Claims about announcing, on virtual time.

use std::sync::Mutex;

use esker_metadata_api::{Endpoint, MetadataError, PodLease, Roles};
use esker_types::PodId;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::*;

/// Answers from a script, and keeps what it was told.
#[derive(Debug, Default)]
struct Script {
    answers: Mutex<Vec<Result<PodLease, AnnounceError>>>,
    heard: Mutex<Vec<Pod>>,
}

impl Pods for Script {
    fn announce(&self, pod: Pod) -> BoxFuture<'_, Result<PodLease, AnnounceError>> {
        self.heard.lock().unwrap().push(pod);
        let mut answers = self.answers.lock().unwrap();
        let next = match answers.is_empty() {
            true => Err(AnnounceError::Metadata(MetadataError::Unavailable)),
            false => answers.remove(0),
        };
        async move { next }.boxed()
    }
}

fn pod(process: u8, node_id: i32) -> Pod {
    Pod {
        pod: PodId::from_bytes([process; 16]),
        node_id,
        roles: Roles::ALL,
        zone: None,
        kafka: Some(Endpoint {
            host: "127.0.0.1".to_owned(),
            port: 9092,
        }),
        internal: None,
        version: "1".to_owned(),
        is_draining: false,
        sessions: Vec::new(),
    }
}

fn lease(is_settled: bool, pods: &[Pod]) -> PodLease {
    let pods = pods
        .iter()
        .map(|pod| (pod.node_id, Arc::new(pod.clone())))
        .collect();
    PodLease {
        lease: Duration::from_secs(5),
        table: Arc::new(PodTable { is_settled, pods }),
    }
}

fn nodes(membership: &Membership) -> Vec<i32> {
    membership.table().pods.keys().copied().collect()
}

/// Runs the task for `seconds` of virtual time.
async fn run(task: MembershipTask, seconds: u64) {
    let (trigger, shutdown) = Shutdown::new();
    let clock = Arc::clone(&task.env.clock);
    let running = task.run(shutdown);
    let stopping = async {
        clock.sleep(Duration::from_secs(seconds)).await;
        trigger.request();
    };
    futures::join!(running, stopping);
}

fn started(script: &Arc<Script>, is_node_id_fixed: bool) -> (Membership, MembershipTask) {
    let pods: Arc<dyn Pods> = script.clone();
    Membership::start(pod(1, 1), is_node_id_fixed, pods, Env::system())
}

#[tokio::test(start_paused = true)]
async fn others_are_heard_of_and_stay_while_nobody_answers() {
    let script = Arc::new(Script::default());
    script
        .answers
        .lock()
        .unwrap()
        .push(Ok(lease(true, &[pod(1, 1), pod(2, 2)])));
    let (membership, task) = started(&script, true);
    assert_eq!(
        nodes(&membership),
        [1],
        "this process is there from the start"
    );

    let seconds = 10 * POD_ANNOUNCE_EVERY.as_secs();
    run(task, seconds).await;

    assert_eq!(nodes(&membership), [1, 2]);
    let heard = script.heard.lock().unwrap().len();
    assert!((9..=11).contains(&heard), "{heard}: once each interval");
}

#[tokio::test(start_paused = true)]
async fn a_taken_node_id_is_drawn_again_but_a_set_one_is_kept() {
    for (is_fixed, drawn) in [(false, true), (true, false)] {
        let script = Arc::new(Script::default());
        script
            .answers
            .lock()
            .unwrap()
            .push(Err(AnnounceError::NodeIdTaken));
        let (membership, task) = started(&script, is_fixed);

        run(task, 3).await;

        let node_id = membership.here().node_id;
        assert_eq!(NODE_IDS_DRAWN.contains(&node_id), drawn, "{node_id}");
        assert_eq!(nodes(&membership), [node_id]);
        assert_eq!(
            script.heard.lock().unwrap().last().unwrap().node_id,
            node_id
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_drains_is_told_without_waiting_for_the_next_turn() {
    let script = Arc::new(Script::default());
    let (membership, task) = started(&script, true);
    let (trigger, shutdown) = Shutdown::new();
    let clock = Env::system().clock;
    let moment = Duration::from_millis(10);

    let draining = async {
        clock.sleep(moment).await;
        membership.drain();
        clock.sleep(moment).await;
        trigger.request();
    };
    futures::join!(task.run(shutdown), draining);

    assert!(script.heard.lock().unwrap().last().unwrap().is_draining);
}

#[tokio::test(start_paused = true)]
async fn who_stops_at_once_is_told_to_drain_all_the_same() {
    let script = Arc::new(Script::default());
    let (membership, task) = started(&script, true);
    let (trigger, shutdown) = Shutdown::new();
    let clock = Env::system().clock;

    let stopping = async {
        clock.sleep(Duration::from_millis(10)).await;
        membership.drain();
        trigger.request();
    };
    futures::join!(task.run(shutdown), stopping);

    assert!(script.heard.lock().unwrap().last().unwrap().is_draining);
}

#[test]
fn a_fixed_cluster_has_all_that_it_was_given() {
    let membership = Membership::fixed(pod(1, 1), [pod(2, 2), pod(3, 1)]);

    assert_eq!(nodes(&membership), [1, 2]);
    assert_eq!(membership.table().pods[&1].pod, pod(1, 1).pod);
}

#[tokio::test(start_paused = true)]
async fn a_new_session_is_told_at_once_and_one_past_the_limit_pushes_out_the_oldest() {
    let script = Arc::new(Script::default());
    let (membership, task) = started(&script, true);
    let (trigger, shutdown) = Shutdown::new();
    let clock = Env::system().clock;
    let session = |number: usize| SessionId::from_bytes([u8::try_from(number).unwrap(); 16]);

    let writing = async {
        clock.sleep(Duration::from_millis(10)).await;
        (0..=POD_SESSIONS_MAX).for_each(|number| membership.writes(session(number)));
        clock.sleep(Duration::from_millis(10)).await;
        trigger.request();
    };
    futures::join!(task.run(shutdown), writing);

    let heard = script.heard.lock().unwrap();
    let told: Vec<SessionId> = (1..=POD_SESSIONS_MAX).map(session).collect();
    assert_eq!(heard.last().unwrap().sessions, told);
    assert!(heard.last().unwrap().is_sound());
}
