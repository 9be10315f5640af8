"""Plays the worker: starts todo_events_io over a socketpair and speaks the frames of src/wire.h.

Used by io_producer.py (tests) and by io_throughput.py (figures).
"""
import collections
import os
import select
import socket
import struct
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("TE_IO_PROGRAM", os.path.join(TOP, "build", "io", "todo_events_io"))

WIRE_VERSION = 1
(HELLO, CONFIG, TOPIC, PUBLISH, RETRY_TOPICS) = range(1, 6)
(READY, ACK, REFUSED, STATUS, TOPIC_STATE, LOG, STATS) = range(20, 27)
OK, INFO, WARNING, ERROR = range(4)
T_UNKNOWN, T_OK, T_CREATED, T_DIFFERS, T_MISSING, T_DENIED = range(6)
EXIT_EOF, EXIT_ERROR, EXIT_WIRE, EXIT_RESTART = range(4)
CONTENT_TYPE = b"application/cloudevents+json; charset=UTF-8"

Refusal = collections.namedtuple("Refusal", "batch event topic code name reason attempts")
Status = collections.namedtuple("Status", "level component message hint")
TopicState = collections.namedtuple(
    "TopicState", "number state partitions retention max_bytes difference")
Stats = collections.namedtuple("Stats", "sent acked refused bytes queued p50 p99")


def version():
    with open(os.path.join(TOP, "todo_events.control")) as control:
        for line in control:
            if line.startswith("default_version"):
                return line.split("'")[1]
    raise AssertionError("todo_events.control names no default_version")


def put_str(value):
    if value is None:
        return struct.pack("=I", 0xFFFFFFFF)
    if isinstance(value, str):
        value = value.encode()
    return struct.pack("=I", len(value)) + value


def frame(kind, body=b""):
    return struct.pack("=IHH", len(body), kind, 0) + body


def message(event, value, targets, headers=(), content_type=CONTENT_TYPE):
    """One message of a PUBLISH frame; targets are (topic number, key)."""
    parts = [struct.pack("=Q", event), put_str(value), put_str(content_type),
             struct.pack("=B", len(headers))]
    for name, text in headers:
        parts += [put_str(name), put_str(text)]
    parts.append(struct.pack("=B", len(targets)))
    for topic, key in targets:
        parts += [struct.pack("=H", topic), put_str(key)]
    return b"".join(parts)


class In:
    """Reads a body field by field."""

    def __init__(self, body):
        self.body, self.at = body, 0

    def take(self, fmt):
        size = struct.calcsize("=" + fmt)
        (value,) = struct.unpack_from("=" + fmt, self.body, self.at)
        self.at += size
        return value

    def text(self):
        length = self.take("I")
        if length == 0xFFFFFFFF:
            return None
        value = self.body[self.at:self.at + length]
        self.at += length
        return value.decode()


class Worker:
    """One todo_events_io process and what it said."""

    def __init__(self, role="producer", program=PROGRAM, env=None, greet=True, stderr=None):
        ours, theirs = socket.socketpair()
        fd = theirs.fileno()
        self.log_file = stderr

        def place_pair():
            os.dup2(fd, 3, inheritable=True)

        self.process = subprocess.Popen(
            [program, role], close_fds=False, preexec_fn=place_pair, env=env,
            stdin=subprocess.DEVNULL, stderr=stderr)
        theirs.close()
        ours.setblocking(False)
        self.socket = ours
        self.unsent = bytearray()
        self.received = bytearray()
        self.eof = False
        self.ready = False
        self.hello = None
        self.acked = set()
        self.refused = []
        self.statuses = []
        self.topic_states = []
        self.logs = []
        self.stats = []
        self.batch = 0
        if greet:
            self.send(HELLO, struct.pack("=I", WIRE_VERSION) + put_str(version()) + put_str(role))

    # ---- sending

    def send_raw(self, data):
        self.unsent += data
        self.pump(0)

    def send(self, kind, body=b""):
        self.send_raw(frame(kind, body))

    def configure(self, **settings):
        """Names as in todo_events.*; "kafka__linger_ms" is kafka.linger.ms."""
        pairs = []
        for name, value in settings.items():
            if name.startswith("kafka__"):
                name = "kafka." + name[len("kafka__"):].replace("_", ".")
            pairs.append(put_str(name) + put_str(value))
        self.send(CONFIG, struct.pack("=I", len(pairs)) + b"".join(pairs))

    def declare(self, number, name, partitions=3, retention=86400000, create=True):
        self.send(TOPIC, struct.pack("=H", number) + put_str(name) +
                  struct.pack("=iqB", partitions, retention, create))

    def publish(self, messages):
        self.batch += 1
        self.send(PUBLISH, struct.pack("=QI", self.batch, len(messages)) + b"".join(messages))
        return self.batch

    def publish_raw(self, messages, count):
        """The same from messages already packed."""
        self.batch += 1
        self.send(PUBLISH, struct.pack("=QI", self.batch, count) + messages)
        return self.batch

    # ---- receiving

    def pump(self, timeout):
        """Writes and reads what goes; waits at most so long for something to read."""
        if self.eof:
            return
        readable, writable, _ = select.select(
            [self.socket], [self.socket] if self.unsent else [], [], timeout)
        if writable:
            try:
                sent = self.socket.send(memoryview(self.unsent)[:1 << 20])
                del self.unsent[:sent]
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                self.unsent.clear()
        if readable:
            try:
                data = self.socket.recv(1 << 18)
            except BlockingIOError:
                return
            except ConnectionResetError:
                data = b""
            if not data:
                self.eof = True
            self.received += data
            self.parse()

    def parse(self):
        at = 0
        while len(self.received) - at >= 8:
            length, kind, zero = struct.unpack_from("=IHH", self.received, at)
            assert zero == 0
            if len(self.received) - at - 8 < length:
                break
            self.handle(kind, bytes(self.received[at + 8:at + 8 + length]))
            at += 8 + length
        del self.received[:at]

    def handle(self, kind, body):
        body = In(body)
        if kind == ACK:
            self.acked.add(body.take("Q"))
        elif kind == REFUSED:
            self.refused.append(Refusal(
                body.take("Q"), body.take("Q"), body.take("H"), body.take("i"), body.text(),
                body.text(), body.take("I")))
        elif kind == STATUS:
            self.statuses.append(Status(body.take("B"), body.text(), body.text(), body.text()))
        elif kind == TOPIC_STATE:
            self.topic_states.append(TopicState(
                body.take("H"), body.take("B"), body.take("i"), body.take("q"), body.take("q"),
                body.text()))
        elif kind == LOG:
            self.logs.append((body.take("B"), body.text()))
        elif kind == STATS:
            self.stats.append(Stats(*[body.take("Q") for _ in range(4)],
                                    *[body.take("I") for _ in range(3)]))
        elif kind == READY:
            self.ready = True
        elif kind == HELLO:
            self.hello = (body.take("I"), body.text(), body.text())
        else:
            raise AssertionError("frame of unknown type %d" % kind)
        assert body.at == len(body.body), "frame %d has bytes left over" % kind

    def wait(self, what, condition, timeout=30):
        """Pumps until the condition holds; says what it waited for if it never does."""
        deadline = time.monotonic() + timeout
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0 or (self.eof and not condition()):
                raise AssertionError("waiting for %s: %s; statuses %s, topics %s, logs %s" % (
                    what, "the process left" if self.eof else "timeout", self.statuses[-5:],
                    self.topic_states[-5:], self.logs[-5:]))
            self.pump(min(left, 1))

    def status(self, component="broker"):
        for status in reversed(self.statuses):
            if status.component == component:
                return status
        return None

    def topic_state(self, number):
        for state in reversed(self.topic_states):
            if state.number == number:
                return state
        return None

    # ---- the end

    def exit_status(self, timeout=10):
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "the process did not leave in time"
            if self.eof:
                time.sleep(0.002)
            else:
                self.pump(0.01)
        while not self.eof:
            self.pump(0.1)
        return self.process.returncode

    def close(self, timeout=10):
        """Ends the pair; returns the exit status."""
        if self.socket.fileno() >= 0:
            self.socket.close()
        self.eof = True
        return self.process.wait(timeout)

    def proc(self, name):
        with open("/proc/%d/%s" % (self.process.pid, name)) as file:
            return file.read()

    def peak_rss_mb(self):
        for line in self.proc("status").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
        return 0

    def cpu_seconds(self):
        fields = self.proc("stat").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
