"""confluent-kafka from PyPI, driven by a script of ours."""

from harness.kit import HERE, cached
from suites.script import results

NAME = "confluent-kafka"
CLIENT = "confluent-kafka 2.16.0 (PyPI; librdkafka 2.16)"
ABOUT = (
    "`tests/compat/clients/confluent_client.py`: produce, consume, groups, admin,"
    " contents compared."
)
SHORT = True
TESTS = 21


def run(context):
    python = cached("compat-python/bin/python", "python_clients")
    script = HERE / "clients/confluent_client.py"
    yield from results(NAME, [python, script], context, TESTS)
