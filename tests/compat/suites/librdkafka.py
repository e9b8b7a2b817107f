"""librdkafka's own test-runner, built unmodified by .ci/bootstrap from the crate rdkafka-sys."""

import re
from concurrent.futures import ThreadPoolExecutor

from harness.kit import cached, run as run_program
from harness.report import Row
from harness.server import esker

NAME = "librdkafka"
VERSION = "2.12.1"
CLIENT = f"librdkafka {VERSION} (crate rdkafka-sys 4.10.0)"
ABOUT = (
    "Its own test-runner, without quick mode (which leaves subtests out). The rows are the tests"
    " that need a broker; those on librdkafka's own mock broker, the socket emulation and the"
    " manual ones are not run. Three run at once; one that fails (some bound milliseconds) is run"
    " a second time alone, and a pass then says so. Tests of the scenario `noautocreate` get an"
    " Esker with `--auto-create-topics false`."
)
SHORT = False
SECONDS_MAX = 900  # 0113 alone takes 570
AT_ONCE = 3
NO_AUTO_CREATE = "noautocreate"
SERVER = ["--default-partitions", "4"]  # the default delay of a first rebalance: some rely on it
# 0081 ends at its first failure, in the ACLs; its other parts are rows of their own.
PARTS = (
    "CreateTopics DeleteTopics CreatePartitions AlterConfigs IncrementalAlterConfigs"
    " DescribeConfigs DeleteRecords ListConsumerGroups DescribeConsumerGroups DescribeTopics"
    " DescribeCluster DeleteGroups DeleteConsumerGroupOffsets ListOffsets"
    " AlterConsumerGroupOffsets ListConsumerGroupOffsets UserScramCredentials"
)
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
    """(name, scenario) of those in the runner's table without a flag that needs no broker."""
    table = source.split("struct test tests[] = {", 1)[1].split("\n};", 1)[0]
    for entry in re.split(r"(?=_TEST\()", table)[1:]:
        name, flags = re.match(r"_TEST\((\w+),\s*([^,)]+)", entry).groups()
        if not any(flag in flags for flag in ELSEWHERE):
            yield name, NO_AUTO_CREATE if f'"{NO_AUTO_CREATE}"' in entry else "default"


def scripts(context):
    """A KAFKA_PATH with the scripts that the tests call."""
    home = context.scratch / "kafka"
    (home / "bin").mkdir(parents=True)
    class_path = cached("jvm/cp.txt", "jvm").read_text().strip()
    for name, main in SCRIPTS.items():
        path = home / "bin" / name
        java = f'java -XX:TieredStopAtLevel=1 -cp "{class_path}" {main}'
        path.write_text(f'#!/bin/sh\nexec {java} "$@"\n')
        path.chmod(0o755)
    return home


class Runner:
    """The test-runner, pointed at one broker."""

    def __init__(self, context, kafka_path, bootstrap, scenario):
        self.home = cached(f"librdkafka-{VERSION}/tests/test-runner", "librdkafka").parents[1]
        self.scratch, self.scenario = context.scratch / scenario, scenario
        self.expected = context.expected
        self.scratch.mkdir()
        (self.scratch / "src").symlink_to(self.home / "src")  # one reads a schema there
        settings = self.scratch / "test.conf"
        settings.write_text(f"bootstrap.servers={bootstrap}\n")
        self.env = {
            "LD_LIBRARY_PATH": f"{self.home}/src:{self.home}/src-cpp",
            "RDKAFKA_TEST_CONF": str(settings),
            "KAFKA_PATH": str(kafka_path),
            "BROKERS": bootstrap,
            "KAFKA_VERSION": "4.2.0",
        }

    def number(self, number, names, again=False, part=""):
        """Runs the tests of one number; of them the rows of `names`."""
        where = self.scratch / (number + part + ("-again" if again else ""))
        where.mkdir()
        command = [self.home / "tests/test-runner", "-p1", "-E", "-V", "4.2.0.0"]
        command += ["-s", self.scenario]
        env = {**self.env, "TESTS": number}
        if part:
            env["SUBTESTS"] = f"do_test_{part}"
        return rows(names, run_program(command, SECONDS_MAX, where / "log", env=env, cwd=where))

    def all(self, names):
        numbers = sorted({name[:4] for name in names})
        groups = [[name for name in names if name.startswith(number)] for number in numbers]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            ended = list(pool.map(self.number, numbers, groups))
        for number, group, found in zip(numbers, groups, ended):
            if any(row.status == "fail" and row.test not in self.expected for row in found):
                found = self.number(number, group, again=True)
                for row in found:
                    row.reason = row.reason or "passed alone, at the second try"
            yield from found

    def parts(self):
        """0081 part by part."""
        for part in PARTS.split():
            for row in self.number("0081", ["0081_admin"], part=part):
                row.test += f": {part}"
                yield row


def rows(names, ran):
    """The runner prints no summary when it dies of a failure: then each of its tests failed."""
    out = COLOUR.sub("", ran.out)
    found = {name: (STATUS[word], float(s), why) for name, word, s, why in SUMMARY.findall(out)}
    failed = REASON.search(out)
    reason = f"{failed[1]}: {failed[2]}" if failed else ran.tail(400)
    made = []
    for name in names:
        status, seconds, why = found.get(name, ("fail", 0.0, ""))
        why = {"pass": "", "fail": reason, "skip": why.strip()}[status]
        made.append(Row(NAME, name, status, why, seconds))
    return made


def run(context):
    home = cached(f"librdkafka-{VERSION}/tests/test-runner", "librdkafka").parent
    tests = dict(broker_tests((home / "test.c").read_text()))
    path = scripts(context)
    names = [name for name, scenario in tests.items() if scenario == "default"]
    runner = Runner(context, path, context.bootstrap, "default")
    yield from runner.all(names)
    yield from runner.parts()
    names = [name for name, scenario in tests.items() if scenario == NO_AUTO_CREATE]
    with esker(
        context.store, context.scratch / "second", ["--auto-create-topics", "false"]
    ) as second:
        yield from Runner(context, path, second, NO_AUTO_CREATE).all(names)
