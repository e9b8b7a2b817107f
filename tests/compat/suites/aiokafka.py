"""aiokafka from PyPI, driven by a script of ours."""

from harness.kit import HERE, cached
from suites.script import results

NAME = "aiokafka"
CLIENT = "aiokafka 0.14.0 (PyPI)"
ABOUT = (
    "`tests/compat/clients/aiokafka_client.py`: produce, consume, groups, admin, contents compared."
)
SHORT = True
TESTS = 20


def run(context):
    python = cached("compat-python/bin/python", "python_clients")
    script = HERE / "clients/aiokafka_client.py"
    yield from results(NAME, [python, script], context, TESTS)
