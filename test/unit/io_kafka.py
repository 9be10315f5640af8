"""A private Kafka (scripts/kafka/kafka.sh) and a real client for the tests of todo_events_io."""
import os
import shutil
import subprocess
import tempfile

from io_worker import TOP

LIB = os.environ.get("KAFKA_LIB", os.path.join(TOP, "build", "deps", "kafka", "lib"))
SCRIPT = os.path.join(TOP, "scripts", "kafka", "kafka.sh")


def missing():
    """Why the tests against a real broker cannot run, or None."""
    if not os.path.isdir(LIB):
        return "no Kafka in %s (make deps)" % os.path.relpath(LIB, TOP)
    for tool in ("java", "kcat", "openssl"):
        if shutil.which(tool) is None:
            return "%s is not installed" % tool
    return None


class Kafka:
    def __init__(self, *options):
        self.dir = tempfile.mkdtemp(prefix="io-kafka-")
        self.run("start", *options)
        self.env = {}
        with open(os.path.join(self.dir, "env")) as env:
            for line in env:
                name, value = line.strip().split("=", 1)
                self.env[name] = value.strip("'")
        self.bootstrap = self.env["KAFKA_BOOTSTRAP"]

    def run(self, verb, *options):
        result = subprocess.run([SCRIPT, verb, self.dir, *options], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, close_fds=True, timeout=120)
        if result.returncode != 0:
            raise AssertionError("kafka.sh %s: %s" % (verb, result.stdout.decode()))

    def remove(self):
        self.run("kill")
        shutil.rmtree(self.dir)

    def tool(self, name, *arguments):
        """One of Kafka's own command-line tools."""
        result = subprocess.run(
            ["java", "-XX:TieredStopAtLevel=1", "-cp", LIB + "/*", name,
             "--bootstrap-server", self.bootstrap, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        assert result.returncode == 0, result.stdout.decode()
        return result.stdout.decode()

    def create_topic(self, name, partitions=1, **config):
        options = []
        for option, value in config.items():
            options += ["--config", "%s=%s" % (option.replace("_", "."), value)]
        self.tool("org.apache.kafka.tools.TopicCommand", "--create", "--topic", name,
                  "--partitions", str(partitions), *options)

    def delete_topic(self, name):
        self.tool("org.apache.kafka.tools.TopicCommand", "--delete", "--topic", name)

    def alter_topic(self, name, **config):
        self.tool("kafka.admin.ConfigCommand", "--alter", "--entity-type", "topics",
                  "--entity-name", name, "--add-config",
                  ",".join("%s=%s" % (o.replace("_", "."), v) for o, v in config.items()))

    def consume(self, topic):
        """Everything in a topic now: (partition, key, value, headers), as kcat reads it."""
        return consume(self.bootstrap, topic)


def consume(bootstrap, topic, count=None):
    result = subprocess.run(
        ["kcat", "-b", bootstrap, "-C", "-q", "-t", topic, "-o", "beginning",
         *(["-c", str(count)] if count else ["-e"]),
         "-f", "%p\\t%K\\t%k\\t%S\\t%s\\t%h\\n"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert result.returncode == 0, result.stderr.decode()
    rows = []
    for line in result.stdout.decode().splitlines():
        partition, key_len, key, value_len, value, headers = line.split("\t")
        rows.append((int(partition), None if key_len == "-1" else key,
                     None if value_len == "-1" else value, headers))
    return rows
