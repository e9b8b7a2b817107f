"""The image: what is in it, and that it serves as its user, without privileges, on a root that cannot be written."""

import ctypes
import json
import os
import subprocess
import tarfile
import time
import urllib.request
from pathlib import Path

import pytest

ARCHIVE = Path(os.environ["IMAGE"])
USER = 65532
SIZE_MAX = 64 << 20
DEVICES = (b"null", b"random", b"urandom")
CLONE_NEWNS, MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 1, 32, 4096, 16384, 1 << 18


@pytest.fixture(scope="module")
def manifest() -> dict:
    with tarfile.open(ARCHIVE) as archive:
        [entry] = json.load(archive.extractfile("manifest.json"))
        return {**entry, "config": json.load(archive.extractfile(entry["Config"]))}


@pytest.fixture(scope="module")
def root(manifest, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("root")
    place.chmod(0o755)
    with tarfile.open(ARCHIVE) as archive:
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=archive.extractfile(layer)) as files:
                files.extractall(place, filter="tar")
    return place


def test_it_holds_a_binary_and_the_roots_of_tls(root):
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())

    assert files == ["esker", "etc/ssl/certs/ca-certificates.crt"]
    assert (root / files[1]).read_text().count("BEGIN CERTIFICATE") > 100
    assert (root / "esker").stat().st_mode & 0o7777 == 0o755


def test_the_binary_is_static_and_stripped(root):
    told = subprocess.run(["readelf", "--program-headers", "--dynamic", "--sections", root / "esker"],
                          capture_output=True, text=True, check=True).stdout  # fmt: skip

    assert "INTERP" not in told and "(NEEDED)" not in told
    assert ".symtab" not in told and ".debug_info" not in told


def test_it_is_small(root):
    assert (root / "esker").stat().st_size < SIZE_MAX


def test_it_runs_as_nobody_and_says_what_it_is(manifest):
    config = manifest["config"]["config"]

    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"] == ["/esker"]
    assert set(config["ExposedPorts"]) == {"9092/tcp", "8080/tcp"}
    labels = config["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert manifest["RepoTags"] == [f"localhost/esker:{labels['org.opencontainers.image.version']}"]


def confine(root: Path):
    """In the child: a mount namespace whose root is the image, read-only; then its user, and no capability.

    The devices are of those that the OCI runtime specification has every runtime supply (Linux, Default Devices).
    """
    (root / "dev").mkdir(exist_ok=True)
    for name in DEVICES:
        (root / "dev" / name.decode()).touch()

    def enter():
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        place = str(root).encode()
        calls = [
            (None, b"/", MS_REC | MS_PRIVATE),
            (place, place, MS_BIND),
            (None, place, MS_BIND | MS_REMOUNT | MS_RDONLY),
            *((b"/dev/" + name, place + b"/dev/" + name, MS_BIND) for name in DEVICES),
        ]
        for source, target, flags in calls:
            if libc.mount(source, target, None, flags, None) != 0:
                raise OSError(ctypes.get_errno(), "mount")
        os.chroot(root)
        os.chdir("/")
        os.setgroups([])
        os.setgid(USER)
        os.setuid(USER)
        if libc.prctl(38, 1, 0, 0, 0) != 0:  # PR_SET_NO_NEW_PRIVS
            raise OSError(ctypes.get_errno(), "prctl")

    return enter


def esker(root: Path, *arguments: str, **more) -> subprocess.Popen:
    return subprocess.Popen(["/esker", *arguments], env={}, preexec_fn=confine(root), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)  # fmt: skip


def done(process: subprocess.Popen, text: str | None = None) -> str:
    out, error = process.communicate(text, timeout=60)
    assert process.returncode == 0, error
    return out


@pytest.fixture(scope="module")
def confinable():
    if os.getuid() != 0:
        pytest.fail("a mount namespace needs root here")


def test_it_says_its_version_on_a_read_only_root(root, confinable):
    assert done(esker(root, "--version")).startswith("esker 0.")


def test_it_serves_and_its_own_client_uses_it(root, confinable):
    kafka, http = "127.0.0.1:19292", "127.0.0.1:18282"
    server = esker(root, "serve", "--store=memory:", f"--kafka-listen={kafka}", f"--http-listen={http}")
    try:
        limit = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"http://{http}/readyz", timeout=2)
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < limit, "it did not become ready"
                time.sleep(0.1)
        with open(f"/proc/{server.pid}/status") as status:
            facts = dict(line.split(":\t", 1) for line in status.read().splitlines() if ":\t" in line)
        assert facts["Uid"].split() == [str(USER)] * 4
        assert int(facts["CapEff"], 16) == 0 and facts["NoNewPrivs"] == "1"
        done(esker(root, "produce", "t", f"--bootstrap={kafka}", stdin=subprocess.PIPE), "a\nb\n")
        told = done(esker(root, "consume", "t", f"--bootstrap={kafka}", "--from=earliest", "--format=%v\n"))
        assert told == "a\nb\n"
        server.terminate()
        assert server.wait(30) == 0
    finally:
        if server.poll() is None:
            server.kill()
        server.communicate()


def test_a_trial_on_its_own_root_is_refused_because_it_cannot_be_written(root, confinable):
    server = esker(root, "serve", "--kafka-listen=127.0.0.1:19293", "--http-listen=127.0.0.1:18283")
    _, error = server.communicate(timeout=30)

    assert server.returncode == 1
    assert "Read-only file system" in error or "Permission denied" in error
