"""librdkafka's own test-runner, built unmodified by .ci/bootstrap from the crate rdkafka-sys."""
import re
from concurrent.futures import ThreadPoolExecutor

from harness.kit import cached, run as run_program
from harness.report import Row

NAME = "librdkafka"
VERSION = "2.12.1"
CLIENT = f"librdkafka {VERSION} (crate rdkafka-sys 4.10.0)"
ABOUT = (
    "Its own test-runner, without quick mode (which leaves subtests out). The rows are the tests"
    " that need a broker; those on librdkafka's own mock broker, the socket emulation and the"
    " manual ones are not run."
)
SHORT = False
SECONDS_MAX = 600
AT_ONCE = 3
ELSEWHERE = ("TEST_F_LOCAL", "TEST_F_MANUAL", "TEST_F_SOCKEM")
# The scripts that some tests call, as classes of the unmodified jars.
SCRIPTS = {
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
}
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
SUMMARY = re.compile(r"^\| (\w+) +\| +(PASSED|FAILED|SKIPPED) \| +([\d.]+)s \|(.*)", re.M)
REASON = re.compile(r"^### Test .*? failed at (.*?) at .*?###\s*\n(.*)", re.M)
STATUS = {"PASSED": "pass", "FAILED": "fail", "SKIPPED": "skip"}


def broker_tests(source):
    """The names in the runner's table without a flag that needs no broker."""
    table = source.split("struct test tests[] = {", 1)[1].split("\n};", 1)[0]
    for name, flags in re.findall(r"_TEST\((\w+),\s*([^,)]+)", table):
        if not any(flag in flags for flag in ELSEWHERE):
            yield name


def scripts(context):
    """A KAFKA_PATH with the scripts that the tests call."""
    home = context.scratch / "kafka"
    (home / "bin").mkdir(parents=True)
    class_path = cached("jvm/cp.txt", "jvm").read_text().strip()
    for name, main in SCRIPTS.items():
        path = home / "bin" / name
        path.write_text(f'#!/bin/sh\nexec java -XX:TieredStopAtLevel=1 -cp "{class_path}" {main} "$@"\n')
        path.chmod(0o755)
    return home


def run(context):
    home = cached(f"librdkafka-{VERSION}/tests/test-runner", "librdkafka").parents[1]
    names = list(broker_tests((home / "tests/test.c").read_text()))
    settings = context.scratch / "test.conf"
    settings.write_text(f"bootstrap.servers={context.bootstrap}\n")
    env = {
        "LD_LIBRARY_PATH": f"{home}/src:{home}/src-cpp",
        "RDKAFKA_TEST_CONF": str(settings),
        "KAFKA_PATH": str(scripts(context)),
        "BROKERS": context.bootstrap,
        "KAFKA_VERSION": "4.2.0",
    }

    def one(number):
        where = context.scratch / number
        where.mkdir()
        command = [home / "tests/test-runner", "-p1", "-E", "-V", "4.2.0.0"]
        log = context.scratch / f"{number}.log"
        return run_program(command, SECONDS_MAX, log, env={**env, "TESTS": number}, cwd=where)

    numbers = sorted({name[:4] for name in names})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number, ran in zip(numbers, pool.map(one, numbers)):
            yield from rows([name for name in names if name.startswith(number)], ran)


def rows(names, ran):
    """The runner prints no summary when it dies of a failure: then each of its tests failed."""
    out = COLOUR.sub("", ran.out)
    found = {name: (STATUS[word], float(s), why) for name, word, s, why in SUMMARY.findall(out)}
    failed = REASON.search(out)
    reason = f"{failed[1]}: {failed[2]}" if failed else ran.tail(400)
    for name in names:
        status, seconds, why = found.get(name, ("fail", 0.0, ""))
        if status == "fail":
            why = reason
        yield Row(NAME, name, status, "" if status == "pass" else why.strip(), seconds)
