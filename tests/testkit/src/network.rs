//! A network of namespaces that a test makes for itself: one host a process, all on one bridge, and
//! cuts between any two of them, in one direction or both. Frames that are cut off vanish in
//! silence, as on a broken line; nothing is refused.
//!
//! Needs root and the program `ip`. Everything ends with the value; what a killed test left behind
//! is cleared by the next one.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use esker_env::Rng;

/// Networks that are tried before none can be made.
const TRIES_MAX: u32 = 16;
/// Hosts of one network.
const HOSTS_MAX: u8 = 24;
/// Nobody has this hardware address: what is sent there is lost.
const NOBODY: &str = "02:00:de:ad:00:01";
/// Namespaces of ours are called so, then the test's process id, the network's tag, the host.
const PREFIX: &str = "esker-";

/// Where a process runs: the address it listens at, and what starts it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The address that others reach it by.
    pub address: IpAddr,
    /// Program and arguments before its own.
    pub wrapper: Vec<String>,
}

impl Default for Place {
    /// Loopback, without a network of its own.
    fn default() -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            wrapper: Vec::new(),
        }
    }
}

/// One end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The test itself, with its clients.
    Test,
    /// A host, by its number.
    Host(usize),
}

#[derive(Debug)]
struct Host {
    namespace: String,
    /// The bridge's end of its line.
    link: String,
    address: Ipv4Addr,
}

/// A network; it ends with this, when its processes have.
#[derive(Debug)]
pub struct Network {
    tag: String,
    /// 198.18.0.0/15 is set aside for measurements between networks: nothing else is there.
    subnet: [u8; 3],
    hosts: Vec<Host>,
    silenced: Vec<(End, End)>,
    unplugged: Vec<usize>,
}

fn ip(arguments: &str) -> anyhow::Result<String> {
    let ran = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .context("run ip (package iproute2)")?;
    let told = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "ip {arguments}: {}", told.trim());
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

/// Removes what tests that were killed have left.
fn clear_leftovers() -> anyhow::Result<()> {
    for line in ip("netns list")?.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let mut words = name.strip_prefix(PREFIX).unwrap_or_default().split('-');
        let (Some(id), Some(tag)) = (words.next(), words.next()) else {
            continue;
        };
        if id.parse::<u32>().is_ok() && !Path::new("/proc").join(id).exists() {
            // Another test may be at it too.
            let _ = ip(&format!("netns del {name}"));
            let _ = ip(&format!("link del {}", bridge(tag)));
        }
    }
    Ok(())
}

fn bridge(tag: &str) -> String {
    format!("ek{tag}b")
}

impl Network {
    /// An empty network.
    ///
    /// # Errors
    /// None can be made here: no rights, no `ip`, or a kernel without bridges.
    pub fn create() -> anyhow::Result<Self> {
        clear_leftovers()?;
        let rng = Rng::from_os();
        let mut refusal = None;
        for _ in 0..TRIES_MAX {
            let number = u16::try_from(rng.below(512))?;
            let tag = format!("{number:04x}");
            if let Err(error) = ip(&format!("link add {} type bridge", bridge(&tag))) {
                // Perhaps another test has this one.
                refusal = Some(error);
                continue;
            }
            let [high, low] = number.to_be_bytes();
            let network = Self {
                tag,
                subnet: [198, 18 + high, low],
                hosts: Vec::new(),
                silenced: Vec::new(),
                unplugged: Vec::new(),
            };
            network.open()?;
            return Ok(network);
        }
        Err(refusal.context("a network was tried")?)
    }

    /// Shows at once whether hosts can be had too.
    fn open(&self) -> anyhow::Result<()> {
        let bridge = bridge(&self.tag);
        ip(&format!("address add {}/24 dev {bridge}", self.address(1)))?;
        ip(&format!("link set {bridge} up"))?;
        let probe = self.namespace("probe");
        ip(&format!("netns add {probe}"))?;
        ip(&format!("netns del {probe}"))?;
        Ok(())
    }

    fn namespace(&self, name: &str) -> String {
        format!("{PREFIX}{}-{}-{name}", std::process::id(), self.tag)
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, last)
    }

    /// One more host; its number.
    ///
    /// # Errors
    /// The system refuses, or there are too many.
    pub fn add_host(&mut self, name: &str) -> anyhow::Result<usize> {
        let number = self.hosts.len();
        let last = u8::try_from(number).ok().filter(|last| *last < HOSTS_MAX);
        let last = last.context("a network has 24 hosts at most")? + 10;
        let host = Host {
            namespace: self.namespace(name),
            link: format!("ek{}h{number}", self.tag),
            address: self.address(last),
        };
        let (namespace, link, address) = (&host.namespace, &host.link, host.address);
        ip(&format!("netns add {namespace}"))?;
        let there = format!("link add {link} type veth peer name eth0 netns {namespace}");
        let made = ip(&there).and_then(|_| {
            ip(&format!("link set {link} master {} up", bridge(&self.tag)))?;
            ip(&format!("-n {namespace} address add {address}/24 dev eth0"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
            ip(&format!("-n {namespace} link set eth0 up"))
        });
        self.hosts.push(host);
        made?;
        Ok(number)
    }

    fn host(&self, number: usize) -> anyhow::Result<&Host> {
        let host = self.hosts.get(number);
        host.with_context(|| format!("no host {number}"))
    }

    /// How a process is started on a host.
    ///
    /// # Errors
    /// No such host.
    pub fn place(&self, number: usize) -> anyhow::Result<Place> {
        let host = self.host(number)?;
        let file = format!("--net=/run/netns/{}", host.namespace);
        Ok(Place {
            address: IpAddr::V4(host.address),
            wrapper: vec!["nsenter".to_owned(), file],
        })
    }

    fn of(&self, end: End) -> anyhow::Result<(String, Ipv4Addr)> {
        match end {
            End::Test => Ok((format!("dev {}", bridge(&self.tag)), self.address(1))),
            End::Host(number) => Ok(("dev eth0".to_owned(), self.host(number)?.address)),
        }
    }

    fn neighbour(&self, from: End, to: End, what: &str) -> anyhow::Result<()> {
        let ((device, _), (_, address)) = (self.of(from)?, self.of(to)?);
        let inside = match from {
            End::Test => String::new(),
            End::Host(number) => format!("-n {}", self.host(number)?.namespace),
        };
        let (verb, rest) = what.split_once(' ').unwrap_or((what, ""));
        ip(&format!("{inside} neigh {verb} {address} {rest} {device}"))?;
        Ok(())
    }

    /// From now on nothing that `from` sends arrives at `to`; the other way is as it was.
    ///
    /// # Errors
    /// The system refuses.
    pub fn silence(&mut self, from: End, to: End) -> anyhow::Result<()> {
        let lost = format!("replace lladdr {NOBODY} nud permanent");
        self.neighbour(from, to, &lost)?;
        self.silenced.push((from, to));
        Ok(())
    }

    /// The same in both directions.
    ///
    /// # Errors
    /// The system refuses.
    pub fn cut(&mut self, one: End, other: End) -> anyhow::Result<()> {
        self.silence(one, other)?;
        self.silence(other, one)
    }

    /// Pulls a host's cable.
    ///
    /// # Errors
    /// The system refuses.
    pub fn unplug(&mut self, number: usize) -> anyhow::Result<()> {
        ip(&format!("link set {} down", self.host(number)?.link))?;
        self.unplugged.push(number);
        Ok(())
    }

    /// Undoes every cut.
    ///
    /// # Errors
    /// The system refuses.
    pub fn heal(&mut self) -> anyhow::Result<()> {
        for number in std::mem::take(&mut self.unplugged) {
            ip(&format!("link set {} up", self.host(number)?.link))?;
        }
        for (from, to) in std::mem::take(&mut self.silenced) {
            self.neighbour(from, to, "del")?;
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What cannot be removed is cleared by the next test.
        for host in &self.hosts {
            let _ = ip(&format!("link del {}", host.link));
            let _ = ip(&format!("netns del {}", host.namespace));
        }
        let _ = ip(&format!("link del {}", bridge(&self.tag)));
    }
}

/// A network, or the reason why none can be had.
///
/// # Errors
/// Not here, although the variable `ESKER_NETWORK` is `required`.
pub fn network_or_reason() -> anyhow::Result<Result<Network, String>> {
    match Network::create() {
        Ok(network) => Ok(Ok(network)),
        Err(error) if crate::variable("ESKER_NETWORK").as_deref() == Some("required") => {
            bail!("no network of namespaces: {error:#}")
        }
        Err(error) => Ok(Err(format!("{error:#}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    /// Sends back what it hears, on port 7000 of a host.
    const ECHO: &str = "import socket, threading
s = socket.create_server(('', 7000))
def echo(c):
    while (d := c.recv(9)): c.sendall(d)
print('up', flush=True)
while True: threading.Thread(target=echo, args=s.accept()[:1], daemon=True).start()";

    struct Echo(std::process::Child);

    impl Echo {
        fn start(place: &Place) -> Self {
            let mut child = Command::new(&place.wrapper[0])
                .args(&place.wrapper[1..])
                .args(["python3", "-c", ECHO])
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let mut up = [0; 2];
            child.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
            Self(child)
        }
    }

    impl Drop for Echo {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn connect(place: &Place) -> std::io::Result<TcpStream> {
        let address = SocketAddr::from((place.address, 7000));
        let stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        Ok(stream)
    }

    fn echoes(stream: &mut TcpStream) -> bool {
        let mut back = [0];
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut back).is_ok()
    }

    #[test]
    fn cuts_are_silent_in_the_direction_that_was_named_and_heal() {
        let Ok(mut network) = network_or_reason().unwrap() else {
            return;
        };
        let host = network.add_host("echo").unwrap();
        let place = network.place(host).unwrap();
        let _echo = Echo::start(&place);
        let mut open = connect(&place).unwrap();
        assert!(echoes(&mut open));

        for (from, to) in [(End::Test, End::Host(host)), (End::Host(host), End::Test)] {
            network.silence(from, to).unwrap();
            assert!(!echoes(&mut open), "{from:?} is heard by {to:?}");
            assert!(connect(&place).is_err());
            network.heal().unwrap();
            open = connect(&place).unwrap();
            assert!(echoes(&mut open));
        }
        network.unplug(host).unwrap();
        assert!(!echoes(&mut open));
        network.heal().unwrap();
        // The kernel looks at cables that were plugged in once a second.
        assert!((0..6).any(|_| connect(&place).is_ok()));
        let names = ip("netns list").unwrap();
        let namespace = network.namespace("echo");
        assert!(names.contains(&namespace), "{names}");
        drop(network);
        assert!(!ip("netns list").unwrap().contains(&namespace));
        // A host's address is nobody's here.
        assert!(TcpListener::bind((place.address, 0)).is_err());
    }

    #[test]
    fn one_host_past_the_limit_is_refused() {
        let Ok(mut network) = network_or_reason().unwrap() else {
            return;
        };
        for number in 0..HOSTS_MAX {
            network.add_host(&format!("h{number}")).unwrap();
        }

        assert!(network.add_host("one-more").is_err());
        assert!(network.place(usize::from(HOSTS_MAX)).is_err());
    }
}
