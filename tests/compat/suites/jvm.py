"""Apache Kafka's own tools, from the unmodified jars of `.ci/bootstrap jvm`."""

from harness.kit import cached, run

SECONDS_MAX = 120


class Jvm:
    """The tools, pointed at one broker; fails on an exit code that was not expected."""

    def __init__(self, context, kit="jvm", part="jvm"):
        self.context, self.bootstrap = context, context.bootstrap
        self.class_path = cached(f"{kit}/cp.txt", part).read_text().strip()
        self.logging = cached("jvm/log4j2.properties", "jvm")

    def command(self, main, *words):
        # Short-lived: the second compiler would only cost processor time.
        options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx512m"]
        options.append(f"-Dlog4j2.configurationFile={self.logging}")
        return ["java", *options, "-cp", self.class_path, main, *words]

    def main(self, name, *words, stdin="", good=True, errors=True, seconds=SECONDS_MAX):
        """Runs a main class with exactly these arguments."""
        log = self.context.scratch / f"{name.rsplit('.', 1)[-1]}.log"
        ran = run(self.command(name, *words), seconds, log, stdin, errors=errors)
        assert ran.good == good, ran.tail()
        return ran.out

    def __call__(self, tool, *words, **more):
        """A tool below `org.apache.kafka.tools`, told the broker."""
        name = f"org.apache.kafka.tools.{tool}"
        return self.main(name, "--bootstrap-server", self.bootstrap, *words, **more)
