"""kcat of Debian (librdkafka 2.0.2: also the case of an old librdkafka)."""

import json
import shutil

from harness.cases import Cases
from harness.kit import Missing, run as run_program

NAME = "kcat"
CLIENT = "kcat 1.7.1 (Debian; librdkafka 2.0.2)"
ABOUT = "`tests/compat/suites/kcat.py`: its modes, outputs compared."
SHORT = True
CASES = Cases(NAME)


class Kcat:
    def __init__(self, context):
        self.context, self.bootstrap = context, context.bootstrap

    def __call__(self, *words, stdin="", errors=False, good=True):
        command = ["kcat", "-b", self.bootstrap, *words]
        ran = run_program(command, 60, stdin=stdin, errors=errors)
        assert ran.good == good, ran.tail()
        return ran.out


@CASES.case("-L: brokers and topics, also as JSON", short=True)
def listing(kcat):
    kcat("-P", "-t", "kcat-list", stdin="x\n")
    assert 'topic "kcat-list" with 4 partitions' in kcat("-L")
    found = json.loads(kcat("-L", "-J"))
    assert len(found["brokers"]) == 1
    assert "kcat-list" in [topic["topic"] for topic in found["topics"]]


@CASES.case("-P and -C: keys, headers, nulls, exact formats", short=True)
def exact(kcat):
    topic = "kcat-exact"
    kcat("-P", "-t", topic, "-p", "0", "-K", "|", "-H", "h=1", "-H", "h=2", stdin="a|one\nb|two\n")
    kcat("-P", "-t", topic, "-p", "0", "-K", "|", "-Z", stdin="c|\n")
    got = kcat("-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-f", "%o %k %s %S %h\n")
    assert got == "0 a one 3 h=1,h=2\n1 b two 3 h=1,h=2\n2 c  -1 \n", got


@CASES.case("-z: every codec", short=True)
def codecs(kcat):
    sent = "".join(f"line {i}\n" for i in range(1000))
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        topic = f"kcat-{codec}"
        kcat("-P", "-t", topic, "-p", "1", "-z", codec, stdin=sent)
        assert kcat("-C", "-t", topic, "-p", "1", "-e", "-q") == sent, codec


@CASES.case("-o: from an offset, from the end, by timestamp", short=True)
def offsets(kcat):
    topic = "kcat-offsets"
    kcat("-P", "-t", topic, "-p", "0", stdin="".join(f"{i}\n" for i in range(10)))
    assert kcat("-C", "-t", topic, "-p", "0", "-o", "7", "-e", "-q") == "7\n8\n9\n"
    assert kcat("-C", "-t", topic, "-p", "0", "-o", "-2", "-e", "-q") == "8\n9\n"
    assert kcat("-C", "-t", topic, "-p", "0", "-o", "s@1000", "-c", "1", "-q") == "0\n"
    assert kcat("-C", "-t", topic, "-p", "0", "-o", "s@99999999999999", "-e", "-q") == ""


@CASES.case("-Q: offsets by timestamp", short=True)
def query(kcat):
    topic = "kcat-query"
    kcat("-P", "-t", topic, "-p", "0", stdin="x\n")
    assert kcat("-Q", "-t", f"{topic}:0:-2").split() == [topic, "[0]", "offset", "0"]
    assert kcat("-Q", "-t", f"{topic}:0:-1").split() == [topic, "[0]", "offset", "1"]


@CASES.case("-G: a group reads all partitions, and goes on where it stopped", short=True)
def group(kcat):
    topic, sent = "kcat-group", [f"r{i}" for i in range(100)]
    kcat("-P", "-t", topic, stdin="".join(f"{line}\n" for line in sent))
    more = ["-X", "auto.offset.reset=earliest", "-e", "-q"]
    assert sorted(kcat("-G", "kcat-g", *more, topic).split()) == sorted(sent)
    kcat("-P", "-t", topic, stdin="later\n")
    assert kcat("-G", "kcat-g", *more, topic) == "later\n"


@CASES.case("-X enable.idempotence=true, acks=0 and 1", short=True)
def producers(kcat):
    topic = "kcat-producers"
    for option in ("enable.idempotence=true", "acks=0", "acks=1"):
        kcat("-P", "-t", topic, "-p", "0", "-X", option, stdin=f"{option}\n")
    got = kcat("-C", "-t", topic, "-p", "0", "-c", "3", "-q")
    assert got == "enable.idempotence=true\nacks=0\nacks=1\n", got


@CASES.case("-E: a topic that does not exist is an error when consumed", short=True)
def unknown(kcat):
    out = kcat("-C", "-t", "kcat-unknown", "-e", "-E", errors=True, good=False)
    assert "nknown topic" in out, out


def run(context):
    if not shutil.which("kcat"):
        raise Missing("kcat is missing: run .ci/bootstrap kcat")
    yield from CASES.rows(Kcat(context))
