"""What the benchmarks share: a private cluster, a private Kafka, one line a figure."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parent.parent
TOOLS = TOP / "build" / "bench"
BINDIR = pathlib.Path(os.environ.get("PGBINDIR") or subprocess.run(
    [os.environ.get("PG_CONFIG", "pg_config"), "--bindir"],
    capture_output=True, text=True, check=True).stdout.strip())
USER = os.environ.get("TE_RUN_USER", "postgres")


def line(figure, measured, against, ratio, goal):
    print(f"{figure} | {measured} | {against} | {ratio} | {goal}", flush=True)


def as_user(command):
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", USER, "--", *map(str, command)] if os.getuid() == 0 else list(map(str, command))


def run(command, **options):
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    if result.returncode != 0:
        sys.exit(f"bench: {command[0]} failed: {result.stderr.strip() or result.stdout.strip()}")
    return result.stdout


class Cluster:
    """A cluster with the extension preloaded, defaults otherwise but for room to write."""

    def __init__(self, directory, settings=()):
        self.directory = pathlib.Path(directory)
        self.data = self.directory / "data"
        self.log = self.directory / "log"
        self.settings = settings
        self.environment = {**os.environ, "PGHOST": str(self.directory), "PGPORT": "5432",
                            "PGUSER": USER if os.getuid() == 0 else os.environ.get("USER", "postgres"),
                            "PGDATABASE": "postgres"}

    def __enter__(self):
        if os.getuid() == 0:
            shutil.chown(self.directory, USER)
        os.chmod(self.directory, 0o755)
        run(as_user([BINDIR / "initdb", "-D", self.data, "-A", "trust", "-N"]), cwd=self.directory)
        with open(self.data / "postgresql.conf", "a", encoding="ascii") as f:
            f.write(f"listen_addresses = ''\nunix_socket_directories = '{self.directory}'\n"
                    "shared_preload_libraries = 'todo_events, pg_stat_statements'\n"
                    "todo_events.allowed_networks = '127.0.0.0/8, ::1/128'\n"
                    "max_wal_size = 4GB\nshared_buffers = 512MB\nmax_prepared_transactions = 10\n"
                    + "".join(f"{s}\n" for s in self.settings))
        self.control("start")
        return self

    def __exit__(self, *_):
        self.control("stop", "-m", "immediate", check=False)

    def control(self, command, *options, check=True):
        result = subprocess.run(as_user([BINDIR / "pg_ctl", "-D", self.data, "-l", self.log, "-w",
                                         *options, command]), cwd=self.directory,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if check and result.returncode != 0:
            sys.exit(f"bench: pg_ctl {command} failed:\n{self.log.read_text()[-2000:]}")

    def psql(self, sql, database="postgres"):
        return run([BINDIR / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-"],
                   input=sql, env=self.environment).strip()

    def wait(self, what, sql, expected="t", seconds=120, database="postgres"):
        import time
        end = time.monotonic() + seconds
        while self.psql(sql, database) != expected:
            if time.monotonic() > end:
                sys.exit(f"bench: timed out waiting until {what}")
            time.sleep(0.05)


class Session:
    """One psql that stays: a look at a running system must not cost a process each."""

    def __init__(self, cluster, database="postgres"):
        self.psql = subprocess.Popen([BINDIR / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database],
                                     env=cluster.environment, text=True, bufsize=1,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def value(self, sql):
        """The one value of a query of one row."""
        self.psql.stdin.write(f"{sql};\n")
        answer = self.psql.stdout.readline()
        if not answer:
            sys.exit(f"bench: psql left at: {sql}")
        return answer.rstrip("\n")

    def close(self):
        self.psql.stdin.close()
        self.psql.wait()


@contextlib.contextmanager
def kafka():
    """A broker; yields its environment."""
    with tempfile.TemporaryDirectory(prefix="te-bench-kafka-") as directory:
        script = TOP / "scripts" / "kafka" / "kafka.sh"
        where = os.path.join(directory, "broker")
        # not captured: the broker would hold the pipe open
        subprocess.run([script, "start", where, "--heap", "1g"], check=True, stdout=subprocess.DEVNULL)
        try:
            text = pathlib.Path(where, "env").read_text(encoding="ascii")
            yield dict(re.findall(r"^(\w+)='?([^'\n]*)'?$", text, re.M))
        finally:
            subprocess.run([script, "stop", where], check=False, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def cluster(settings=()):
    with tempfile.TemporaryDirectory(prefix="te-bench-pg-") as directory:
        with Cluster(directory, settings) as c:
            yield c


def percentile(values, p):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))]


def rss_mb(pid):
    """Memory of a process that is its own: shared buffers do not count."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        fields = dict(re.findall(r"^(\w+):\s+(\d+)", f.read(), re.M))
    return (int(fields["RssAnon"]) + int(fields["RssFile"])) / 1024


def end(process):
    process.send_signal(signal.SIGTERM)
    process.wait()
