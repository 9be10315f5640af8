#!/usr/bin/env python3
"""todo_events_io as a process: what it leaves behind, what it refuses, how it ends.

Needs no broker: it uses the embedded one, or none.
"""
import os
import signal
import struct
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from io_kafka import consume  # noqa: E402
from io_tap import Skip, run, test  # noqa: E402
from io_worker import (  # noqa: E402
    CONFIG, ERROR, EXIT_EOF, EXIT_ERROR, EXIT_WIRE, HELLO, INFO, PUBLISH, RETRY_TOPICS, T_CREATED,
    TOPIC, WARNING, WIRE_VERSION, Worker, frame, message, put_str, version)

NOWHERE = "127.0.0.1:1"
SECRET = "correct-horse-battery"
SANITIZED = "asan" in os.environ.get("TE_IO_PROGRAM", "")


def started(**settings):
    worker = Worker()
    worker.configure(**(settings or {"brokers": "embedded"}))
    worker.wait("READY", lambda: worker.ready)
    return worker


@test
def says_hello_with_version_build_and_libraries():
    worker = Worker()
    worker.wait("HELLO", lambda: worker.hello)
    assert worker.hello[:2] == (WIRE_VERSION, version()), worker.hello
    assert worker.hello[2].startswith("librdkafka "), worker.hello
    assert worker.close() == EXIT_EOF


@test
def start_line_names_the_library_and_what_it_lacks():
    worker = started()
    level, text = worker.logs[0]
    assert level == INFO and worker.hello[2] in text and version() in text, text
    worker.close()


@test
def is_independent_of_its_worker():
    """Own session, no inherited descriptor, easy for the kernel to kill, a title without a secret."""
    leak = os.open("/dev/null", os.O_RDONLY)
    os.dup2(leak, 77, inheritable=True)
    worker = started(brokers=NOWHERE, sasl_mechanism="PLAIN", sasl_username="u",
                     sasl_password=SECRET)
    pid = worker.process.pid
    os.close(77)
    assert os.getsid(pid) == pid
    assert "77" not in os.listdir("/proc/%d/fd" % pid)
    for fd in "0", "1":
        assert os.readlink("/proc/%d/fd/%s" % (pid, fd)) == "/dev/null"
    assert worker.proc("oom_score_adj").strip() == "500"
    assert worker.proc("comm").strip() == "te_io_producer"
    assert SECRET not in worker.proc("cmdline") + worker.proc("environ")
    worker.close()


@test
def ignores_what_a_terminal_or_service_manager_sends():
    worker = started()
    for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE:
        worker.process.send_signal(number)
    worker.declare(0, "still-here")
    worker.wait("an answer after the signals", lambda: worker.topic_state(0))
    assert worker.close() == EXIT_EOF


@test
def leaves_at_once_at_the_end_of_the_pair_with_messages_unsent():
    worker = started(brokers=NOWHERE)
    worker.declare(0, "t")
    worker.publish([message(i, b"x", [(0, b"k")]) for i in range(1000)])
    worker.pump(0.1)
    began = time.monotonic()
    assert worker.close() == EXIT_EOF
    assert time.monotonic() - began < (2 if SANITIZED else 0.2)


@test
def leaves_at_the_end_of_the_pair_while_it_does_not_read():
    worker = started(brokers=NOWHERE)
    worker.declare(0, "t")
    fill_window(worker)
    assert worker.close() == EXIT_EOF


@test
def refuses_another_build():
    for first in (struct.pack("=I", WIRE_VERSION + 1) + put_str(version()) + put_str("producer"),
                  struct.pack("=I", WIRE_VERSION) + put_str("0.0.0") + put_str("producer")):
        worker = Worker(greet=False)
        worker.send(HELLO, first)
        assert worker.exit_status() == EXIT_WIRE
        status = worker.status("configuration")
        assert status.level == ERROR and "do not match" in status.message, status


def bad_frames():
    one = message(1, b"v", [(0, b"k")])
    lie = struct.pack("=QI", 1, 0xFFFFFFF0) + one
    return {
        "nonsense": b"GET / HTTP/1.1\r\n\r\n",
        "too long": struct.pack("=IHH", 65 * 1024 * 1024, PUBLISH, 0),
        "reserved bits": struct.pack("=IHH", 0, RETRY_TOPICS, 1),
        "unknown type": frame(99),
        "a frame of the other direction": frame(21, struct.pack("=Q", 1)),
        "second HELLO": frame(HELLO, struct.pack("=I", 1) + put_str("x") + put_str("y")),
        "second CONFIG": frame(CONFIG, struct.pack("=I", 0)),
        "TOPIC cut short": frame(TOPIC, struct.pack("=H", 0) + put_str("t")),
        "TOPIC without name": frame(TOPIC, struct.pack("=H", 0) + put_str(None) +
                                    struct.pack("=iqB", 1, 1, 1)),
        "TOPIC renamed": frame(TOPIC, struct.pack("=H", 7) + put_str("other") +
                               struct.pack("=iqB", 1, 1, 1)),
        "RETRY_TOPICS with body": frame(RETRY_TOPICS, b"x"),
        "PUBLISH cut short": frame(PUBLISH, struct.pack("=QI", 1, 1) + one[:-1]),
        "PUBLISH with bytes left over": frame(PUBLISH, struct.pack("=QI", 1, 1) + one + b"x"),
        "PUBLISH that lies about its count": frame(PUBLISH, lie),
        "PUBLISH to an undeclared topic": frame(PUBLISH, struct.pack("=QI", 1, 1) +
                                                message(1, b"v", [(3, b"k")])),
        "PUBLISH out of turn": frame(PUBLISH, struct.pack("=QI", 5, 0)),
        "header without name": frame(PUBLISH, struct.pack("=QI", 1, 1) +
                                     message(1, b"v", [(0, b"k")], [(None, b"x")])),
    }


@test
def a_bad_frame_ends_the_conversation():
    for name, data in bad_frames().items():
        worker = started()
        worker.declare(0, "zero")
        worker.declare(7, "seven")
        worker.wait("the topics", lambda: worker.topic_state(7))
        worker.send_raw(data)
        assert worker.exit_status() == EXIT_WIRE, name
        assert any(level == ERROR and "bad frame" in text for level, text in worker.logs), name


@test
def frames_before_their_turn_end_the_conversation():
    worker = Worker(greet=False)
    worker.send(CONFIG, struct.pack("=I", 0))
    assert worker.exit_status() == EXIT_WIRE
    worker = Worker()
    worker.send(PUBLISH, struct.pack("=QI", 1, 0))
    assert worker.exit_status() == EXIT_WIRE


@test
def a_frame_that_only_claims_to_be_long_takes_no_memory():
    worker = started()
    before = worker.peak_rss_mb()
    worker.send_raw(struct.pack("=IHH", 64 * 1024 * 1024, PUBLISH, 0) + b"x" * 100000)
    worker.wait("the bytes to be taken", lambda: not worker.unsent)
    worker.pump(0.1)
    assert worker.process.poll() is None
    if not SANITIZED:
        assert worker.peak_rss_mb() - before < 4, (before, worker.peak_rss_mb())
    worker.close()


def fill_window(worker, limit=400 << 20):
    """Feeds until the process stops reading; returns the bytes it took."""
    body = b"".join(message(i, b"x" * 700, [(0, b"key-%d" % i)]) for i in range(256))
    given = quiet = 0
    while given < limit:
        if not worker.unsent:
            worker.publish_raw(body, 256)
            given += len(body)
        left = len(worker.unsent)
        worker.pump(0.02)
        quiet = quiet + 1 if left and left == len(worker.unsent) else 0
        if quiet == 25:
            return given - left
    raise AssertionError("it took %d bytes and did not stop reading" % given)


@test
def stops_reading_when_its_window_is_full_and_stays_small():
    worker = started(brokers=NOWHERE)
    worker.declare(0, "t")
    taken = fill_window(worker)
    assert 8 << 20 < taken < 48 << 20, taken
    if not SANITIZED:
        assert worker.peak_rss_mb() < 100, worker.peak_rss_mb()
    assert not worker.acked
    worker.close()


@test
def an_idle_process_uses_no_cpu_and_says_nothing():
    worker = started()
    worker.declare(0, "idle")
    worker.wait("the topic", lambda: worker.topic_state(0))
    worker.publish([message(1, b"x", [(0, b"k")])])
    worker.wait("STATS after the ACK", lambda: worker.stats and worker.stats[-1].acked == 1)
    cpu = worker.cpu_seconds()
    said = (len(worker.stats), len(worker.logs), len(worker.statuses), len(worker.topic_states))
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        worker.pump(deadline - time.monotonic())
    assert worker.cpu_seconds() - cpu <= 0.01, worker.cpu_seconds() - cpu
    assert said == (len(worker.stats), len(worker.logs), len(worker.statuses),
                    len(worker.topic_states))
    worker.close()


@test
def a_bad_configuration_names_the_setting():
    with tempfile.NamedTemporaryFile() as empty, tempfile.NamedTemporaryFile() as garbage:
        garbage.write(b"this is no certificate\n")
        garbage.flush()
        sasl = {"brokers": NOWHERE, "sasl_mechanism": "PLAIN", "sasl_username": "u"}
        cases = [
            ({"brokers": ""}, "todo_events.brokers"),
            ({"brokers": NOWHERE, "tls": "maybe"}, "todo_events.tls"),
            ({"brokers": NOWHERE, "sasl_mechanism": "GSSAPI"}, "todo_events.sasl_mechanism"),
            ({"brokers": NOWHERE, "sasl_mechanism": "PLAIN"}, "todo_events.sasl_username"),
            (dict(sasl), "todo_events.sasl_password_file"),
            (dict(sasl, sasl_password_file="/nonexistent/password"),
             "todo_events.sasl_password_file"),
            (dict(sasl, sasl_password_file=empty.name), "todo_events.sasl_password_file"),
            (dict(sasl, sasl_password_file="/"), "todo_events.sasl_password_file"),
            ({"brokers": NOWHERE, "ca_file": "/nonexistent/ca"}, "todo_events.ca_file"),
            ({"brokers": NOWHERE, "ca_file": garbage.name}, "todo_events.ca_file"),
            ({"brokers": NOWHERE, "cert_file": garbage.name}, "todo_events.key_file"),
            ({"brokers": NOWHERE, "key_file": garbage.name}, "todo_events.cert_file"),
            ({"brokers": NOWHERE, "kafka__linger_ms": "soon"}, "linger.ms"),
            ({"brokers": NOWHERE, "kafka__no_such": "1"}, "no.such"),
            ({"brokers": NOWHERE, "kafka__enable_idempotence": "false"}, "enable.idempotence"),
            ({"brokers": NOWHERE, "kafka__acks": "1"}, "acks"),
            ({"brokers": NOWHERE, "kafka__sasl_password": SECRET}, "todo_events.sasl_password_file"),
            ({"brokers": NOWHERE, "tls": "on", "kafka__ssl_key_pem": SECRET}, "ssl.key"),
            ({"brokers": NOWHERE, "no_such_name": "1"}, "no_such_name"),
        ]
        for settings, named in cases:
            worker = Worker()
            worker.configure(**settings)
            assert worker.exit_status() == EXIT_ERROR, settings
            status = worker.status("configuration")
            assert status.level == ERROR and not worker.ready, settings
            assert named in status.message + status.hint, (named, status)
            if any(name.startswith("kafka__") for name in settings):
                assert "todo_events.kafka_options" in status.message + status.hint, status
            assert SECRET not in repr((worker.statuses, worker.logs)), status


@test
def a_malformed_CONFIG_is_a_bad_frame():
    for body in (b"", struct.pack("=I", 1), struct.pack("=I", 1) + put_str("brokers"),
                 struct.pack("=I", 0) + b"x",
                 struct.pack("=I", 1) + put_str("brokers\0") + put_str("x"),
                 struct.pack("=I", 1) + put_str(None) + put_str("x")):
        worker = Worker()
        worker.send(CONFIG, body)
        assert worker.exit_status() == EXIT_WIRE, body


@test
def an_unreachable_broker_is_one_line_that_names_the_setting():
    for brokers, words in ((NOWHERE, "Connection refused"),
                           ("no-such-host.invalid:9092", "unknown host")):
        worker = started(brokers=brokers)
        worker.declare(0, "t")
        worker.wait("the broker's status", lambda: worker.status().level == ERROR)
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            worker.pump(deadline - time.monotonic())
        told = [s for s in worker.statuses if s.level >= WARNING]
        assert len(told) == 1, told
        assert words in told[0].message and "todo_events.brokers" in repr(told[0]), told
        assert len(worker.logs) == 1, worker.logs
        worker.close()


@test
def the_embedded_broker_serves_a_real_client():
    worker = started()
    worker.declare(0, "demo", partitions=2)
    worker.wait("the topic", lambda: worker.topic_state(0))
    assert worker.topic_state(0).state == T_CREATED and worker.topic_state(0).partitions == 2
    address = [text for level, text in worker.logs if level == WARNING][0].split()[4]
    worker.publish([message(i, b"value-%d" % i, [(0, b"k%d" % (i % 7))], [("traceparent", b"00-1")])
                    for i in range(100)])
    worker.wait("the ACK", lambda: 1 in worker.acked)
    status = worker.status()
    assert (status.level, status.message) == (WARNING, "degraded: demo broker, memory only"), status
    try:
        rows = consume(address, "demo", 100)
    except FileNotFoundError:
        raise Skip("kcat is not installed")
    assert sorted(row[2] for row in rows) == sorted("value-%d" % i for i in range(100))
    assert {row[3] for row in rows} == {
        "content-type=application/cloudevents+json; charset=UTF-8,traceparent=00-1"}
    worker.close()


@test
def a_batch_without_messages_is_acknowledged():
    worker = started()
    worker.publish([])
    worker.publish([message(1, b"goes nowhere", [])])
    worker.wait("both ACKs", lambda: worker.acked == {1, 2})
    worker.close()


sys.exit(run())
