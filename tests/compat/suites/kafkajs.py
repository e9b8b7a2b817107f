"""kafkajs from npm, driven by a script of ours."""

from harness.kit import HERE, cached
from suites.script import defined, results

NAME = "kafkajs"
CLIENT = "kafkajs 2.2.4 (npm)"
ABOUT = (
    "`tests/compat/clients/kafkajs_client.js`: produce, consume, groups, admin, contents compared."
)
SHORT = True


def run(context):
    modules = cached("compat-kafkajs/node_modules/kafkajs", "kafkajs").parent
    script = HERE / "clients/kafkajs_client.js"
    command = ["env", f"NODE_PATH={modules}", "node", script]
    yield from results(NAME, command, context, defined(script, "\n  async '"))
