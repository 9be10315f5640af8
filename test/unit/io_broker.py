#!/usr/bin/env python3
"""todo_events_io producer against a real Kafka that the test starts, stops, freezes and changes."""
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from io_kafka import Kafka, missing  # noqa: E402
from io_tap import run, test  # noqa: E402
from io_worker import (  # noqa: E402
    ERROR, EXIT_EOF, INFO, OK, RETRY_TOPICS, T_CREATED, T_DIFFERS, T_MISSING, T_OK, WARNING, Worker,
    message)

DAY = 86400000
kafka = None


def start(*topics, **settings):
    """A process with these topics declared (name, or keyword arguments) and looked at."""
    worker = Worker()
    worker.configure(**(settings or {"brokers": kafka.bootstrap}))
    for number, topic in enumerate(topics):
        if isinstance(topic, str):
            topic = {"name": topic}
        worker.declare(number, **topic)
    worker.wait("READY", lambda: worker.ready)
    worker.wait("the topics", lambda: all(worker.topic_state(n) for n in range(len(topics))))
    return worker


def settled(worker, *batches):
    worker.wait("ACKs of %s" % (batches,), lambda: worker.acked.issuperset(batches))


def by_key(rows):
    keys = {}
    for _, key, value, _ in rows:
        keys.setdefault(key, []).append(value)
    return keys


def numbered(first, count, keys, size=200):
    """Messages "key:n:padding"; n rises by one for each key."""
    return [message(i, (b"k%d:%d:" % (i % keys, i // keys)).ljust(size, b"."),
                    [(0, b"k%d" % (i % keys))]) for i in range(first, first + count)]


def check_order(rows, count, keys, repeats=False):
    """Every message of numbered(0, count, keys) is there, in order for each key."""
    found = by_key(rows)
    assert len(found) == keys, sorted(found)
    for k in range(keys):
        values = [int(v.split(":")[1]) for v in found["k%d" % k]]
        seen = list(dict.fromkeys(values)) if repeats else values
        assert seen == list(range((count - k + keys - 1) // keys)), (k, values[:50])


@test
def messages_arrive_once_in_order_per_key():
    worker = start("order")
    for first in range(0, 20000, 250):
        worker.publish(numbered(first, 250, 50))
    settled(worker, *range(1, 81))
    check_order(kafka.consume("order"), 20000, 50)
    assert not worker.refused
    worker.wait("final STATS", lambda: worker.stats and worker.stats[-1].acked == 20000)
    assert worker.stats[-1].sent == 20000 and worker.stats[-1].queued == 0
    assert 0 < worker.stats[-1].p50 <= worker.stats[-1].p99
    assert worker.close() == EXIT_EOF


@test
def one_value_goes_to_several_topics_with_their_own_keys():
    worker = start("both-a", "both-b")
    worker.publish([
        message(1, b"v1", [(0, b"task"), (1, b"user")], [("h", b"x"), ("null", None)]),
        message(2, None, [(0, b"task")]),
        message(3, b"", [(1, None)], content_type=None)])
    settled(worker, 1)
    a, b = kafka.consume("both-a"), kafka.consume("both-b")
    assert [row[1:3] for row in a] == [("task", "v1"), ("task", None)], a
    assert sorted(str(row[1:3]) for row in b) == ["('user', 'v1')", "(None, '')"], b
    assert a[0][3] == "content-type=application/cloudevents+json; charset=UTF-8,h=x,null=NULL", a
    worker.close()


def murmur2(data):
    """Kafka's own, as Java's client partitions by."""
    mask = 0xFFFFFFFF
    length = len(data)
    h = (0x9747B28C ^ length) & mask
    for i in range(0, length - length % 4, 4):
        k = int.from_bytes(data[i:i + 4], "little") * 0x5BD1E995 & mask
        k = (k ^ k >> 24) * 0x5BD1E995 & mask
        h = (h * 0x5BD1E995 & mask) ^ k
    rest = data[length - length % 4:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * 0x5BD1E995 & mask
    h = (h ^ h >> 13) * 0x5BD1E995 & mask
    return (h ^ h >> 15) & 0x7FFFFFFF


@test
def keys_go_to_the_partitions_that_java_would_choose():
    worker = start("partitions")
    keys = [b"%d" % i for i in range(60)] + [b"0b7f4c1e-8a52-4f0e-9a57-2f5a1d3c6e%02d" % i
                                            for i in range(40)]
    worker.publish([message(i, b"v", [(0, key)]) for i, key in enumerate(keys)])
    settled(worker, 1)
    for partition, key, _, _ in kafka.consume("partitions"):
        assert partition == murmur2(key.encode()) % 3, (key, partition)
    worker.close()


@test
def topics_are_created_compared_and_differences_told():
    worker = start({"name": "made", "partitions": 5, "retention": 7 * DAY},
                   {"name": "defaults", "partitions": -1, "retention": -1})
    made = worker.topic_state(0)
    assert (made.state, made.partitions, made.retention, made.difference) == (
        T_CREATED, 5, 7 * DAY, ""), made
    assert made.max_bytes == 1048588, made
    assert worker.topic_state(1).state == T_CREATED and worker.topic_state(1).partitions >= 1
    worker.close()

    worker = start({"name": "made", "partitions": 5, "retention": 7 * DAY},
                   {"name": "defaults", "partitions": 6, "retention": -1},
                   {"name": "made", "partitions": 3, "retention": 36 * 3600000})
    assert worker.topic_state(0).state == T_OK, worker.topic_state(0)
    assert worker.topic_state(1).state == T_DIFFERS, worker.topic_state(1)
    other = worker.topic_state(2)
    assert (other.state, other.difference) == (
        T_DIFFERS, "5 partitions instead of 3; retention 7 d instead of 36 h"), other
    worker.publish([message(1, b"anyway", [(2, b"k")])])
    settled(worker, 1)
    assert [row[2] for row in kafka.consume("made")] == ["anyway"]
    worker.close()


@test
def a_topic_that_was_mended_is_noticed_without_being_asked():
    kafka.create_topic("mended", retention_ms=60000)
    worker = start({"name": "mended", "partitions": 1, "retention": 120000},
                   {"name": "appears", "create": False, "partitions": 1, "retention": -1})
    assert worker.topic_state(0).state == T_DIFFERS, worker.topic_state(0)
    assert worker.topic_state(1).state == T_MISSING, worker.topic_state(1)
    kafka.alter_topic("mended", retention_ms=120000)
    kafka.create_topic("appears")
    worker.wait("both topics to be fine",
                lambda: all(worker.topic_state(n).state == T_OK for n in (0, 1)))
    assert not worker.refused
    worker.close()


@test
def a_missing_topic_that_is_not_to_be_created_refuses_and_harms_nobody():
    worker = start("there", {"name": "absent", "create": False})
    state = worker.topic_state(1)
    assert state.state == T_MISSING and "does not exist" in state.difference, state
    worker.publish([message(1, b"a", [(0, b"k")]), message(2, b"b", [(1, b"k")]),
                    message(3, b"c", [(0, b"k"), (1, b"k")])])
    settled(worker, 1)
    assert [(r.batch, r.event, r.topic, r.name, r.attempts) for r in worker.refused] == [
        (1, 2, 1, "UNKNOWN_TOPIC_OR_PART", 1), (1, 3, 1, "UNKNOWN_TOPIC_OR_PART", 1)]
    assert [row[2] for row in kafka.consume("there")] == ["a", "c"]

    kafka.create_topic("absent")
    worker.send(RETRY_TOPICS)
    worker.wait("the topic to be found", lambda: worker.topic_state(1).state != T_MISSING)
    worker.publish([message(4, b"d", [(1, b"k")])])
    settled(worker, 2)
    assert [row[2] for row in kafka.consume("absent")] == ["d"] and len(worker.refused) == 2
    worker.close()


@test
def an_impossible_topic_name_refuses():
    worker = start({"name": "no spaces allowed"})
    assert worker.topic_state(0).state == T_MISSING, worker.topic_state(0)
    worker.publish([message(1, b"x", [(0, b"k")])])
    settled(worker, 1)
    assert worker.refused[0].code != 0 and worker.refused[0].reason
    worker.close()


def mixed(count, every, large, small=900):
    """count messages of one key, each every-th too large."""
    return [message(i, b"%d:" % i + b"y" * (large if i % every == every - 1 else small),
                    [(0, b"k")]) for i in range(count)]


def check_mixed(worker, rows, count, every, repeats=False):
    refused = [i for i in range(count) if i % every == every - 1]
    assert sorted(r.event for r in worker.refused) == refused, worker.refused
    for refusal in worker.refused:
        assert refusal.name == "MSG_SIZE_TOO_LARGE" and refusal.attempts >= 1, refusal
    values = [int(row[2].split(":")[0]) for row in rows]
    if repeats:
        values = list(dict.fromkeys(values))
    assert values == [i for i in range(count) if i not in set(refused)], values[:60]


@test
def what_is_over_the_topics_limit_is_refused_and_the_rest_arrives_in_order():
    kafka.create_topic("small-limit", partitions=1, max_message_bytes=20000)
    worker = start("small-limit", "beside")
    assert worker.topic_state(0).max_bytes == 20000
    # batches of several hundred kilobytes would be refused as a whole
    worker.publish(mixed(2000, 100, 25000))
    worker.publish([message(1, b"z" * 900000, [(1, b"k")])])
    settled(worker, 1, 2)
    check_mixed(worker, kafka.consume("small-limit"), 2000, 100)
    assert "20000" in worker.refused[0].reason, worker.refused[0]
    worker.close()


@test
def messages_about_as_large_as_the_limit_are_judged_one_by_one():
    worker = start("small-limit-2")
    worker.close()
    kafka.alter_topic("small-limit-2", max_message_bytes=20000)
    worker = start("small-limit-2")
    worker.publish([message(i, b"%05d" % i + b"x" * (19700 + i), [(0, b"k")])
                    for i in range(400)])
    settled(worker, 1)
    values = [int(row[2][:5]) for row in kafka.consume("small-limit-2")]
    refused = [r.event for r in worker.refused]
    assert 0 < len(refused) < 400 and values == list(range(len(values))), values
    assert refused == list(range(len(values), 400)), refused
    worker.close()


@test
def a_limit_lowered_while_running_refuses_only_what_is_too_large():
    kafka.create_topic("lowered", partitions=1)
    worker = start("lowered", "innocent")
    kafka.alter_topic("lowered", max_message_bytes=20000)
    worker.publish(mixed(2000, 100, 25000))
    worker.publish([message(i, b"innocent %d" % i, [(1, b"k")]) for i in range(500)])
    settled(worker, 1, 2)
    check_mixed(worker, kafka.consume("lowered"), 2000, 100, repeats=True)
    values = [row[2] for row in kafka.consume("innocent")]
    assert list(dict.fromkeys(values)) == ["innocent %d" % i for i in range(500)]
    # and it goes on, with batches that fit
    worker.publish(mixed(1000, 100, 25000))
    settled(worker, 3)
    assert worker.topic_state(0).max_bytes == 20000
    assert len([r for r in worker.refused if r.batch == 3]) == 10
    worker.close()


@test
def a_raised_limit_is_noticed():
    kafka.create_topic("raised", partitions=1, max_message_bytes=20000)
    worker = start("raised")
    kafka.alter_topic("raised", max_message_bytes=2000000)
    worker.send(RETRY_TOPICS)
    worker.wait("the new limit", lambda: worker.topic_state(0).max_bytes == 2000000)
    worker.publish([message(1, b"x" * 1500000, [(0, b"k")])])
    settled(worker, 1)
    assert not worker.refused and len(kafka.consume("raised")) == 1
    worker.close()


@test
def a_compressed_message_may_be_larger_than_the_limit():
    kafka.create_topic("compressed", partitions=1, max_message_bytes=20000)
    worker = start("compressed", brokers=kafka.bootstrap, kafka__compression_codec="lz4")
    noise = os.urandom(50000).hex().encode()
    worker.publish([message(1, b"x" * 100000, [(0, b"k")]), message(2, noise, [(0, b"k")]),
                    message(3, b"y" * 100000, [(0, b"k")])])
    settled(worker, 1)
    assert [r.event for r in worker.refused] == [2], worker.refused
    assert [row[2][0] for row in kafka.consume("compressed")] == ["x", "y"]
    worker.close()


@test
def a_record_the_broker_finds_invalid_does_not_harm_its_neighbours():
    """A compacted topic takes no message without a key."""
    kafka.create_topic("compacted", partitions=1, cleanup_policy="compact")
    worker = start("compacted")
    worker.publish([message(i, b"%d" % i, [(0, None if i == 50 else b"k%d" % i)])
                    for i in range(100)])
    settled(worker, 1)
    assert [(r.event, r.name) for r in worker.refused] == [(50, "INVALID_RECORD")], worker.refused
    values = [int(row[2]) for row in kafka.consume("compacted")]
    assert list(dict.fromkeys(values)) == [i for i in range(100) if i != 50], values
    worker.close()


@test
def a_topic_deleted_while_running_is_created_again():
    worker = start("deleted")
    worker.publish(numbered(0, 30, 3))
    settled(worker, 1)
    kafka.delete_topic("deleted")
    for first in range(30, 90, 10):
        worker.publish(numbered(first, 10, 3))
    settled(worker, *range(2, 8))
    assert worker.topic_state(0).state == T_CREATED
    rows = by_key(kafka.consume("deleted"))
    for k in range(3):
        values = [int(v.split(":")[1]) for v in rows["k%d" % k]]
        # what the old topic took before the brokers knew of its end went with it
        assert 10 <= values[0] < 28 and values == list(range(values[0], 30)), values
    assert not worker.refused
    worker.close()


def status_lines(worker):
    return [(s.level, s.message) for s in worker.statuses]


@test
def a_broker_that_is_away_costs_one_line_and_nothing_else():
    worker = start("outage")
    worker.publish(numbered(0, 100, 5))
    settled(worker, 1)
    assert worker.status().level == OK
    told = len(worker.statuses)
    kafka.run("stop")
    worker.publish(numbered(100, 100, 5))
    worker.wait("the status", lambda: worker.status().level == ERROR)
    assert "todo_events.brokers" in repr(worker.status()), worker.status()
    cpu = worker.cpu_seconds()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        worker.pump(deadline - time.monotonic())
    assert worker.cpu_seconds() - cpu < 0.25, worker.cpu_seconds() - cpu
    worker.publish(numbered(200, 100, 5))
    kafka.run("start")
    up = time.monotonic()
    settled(worker, 2, 3)
    print("# acknowledged %.2f s after the broker answered again" % (time.monotonic() - up))
    assert time.monotonic() - up < 2
    worker.wait("OK again", lambda: worker.status().level == OK)
    lines = status_lines(worker)[told:]
    assert len([line for line in lines if line[0] == OK]) == 1 and len(lines) <= 3, lines
    check_order(kafka.consume("outage"), 300, 5)
    worker.close()


@test
def an_idle_process_notices_the_broker_going_and_coming():
    worker = start("idle-outage")
    kafka.run("stop")
    worker.wait("the status", lambda: worker.status().level == ERROR)
    kafka.run("start")
    worker.wait("OK again", lambda: worker.status().level == OK)
    worker.close()


@test
def a_frozen_broker_is_told_apart_and_loses_nothing():
    worker = start("frozen")
    worker.publish(numbered(0, 10, 2))
    settled(worker, 1)
    kafka.run("freeze")
    try:
        worker.publish(numbered(10, 10, 2))
        worker.wait("the status", lambda: worker.status().level == WARNING)
        assert "acknowledged nothing" in worker.status().message, worker.status()
    finally:
        kafka.run("thaw")
    settled(worker, 2)
    worker.wait("OK again", lambda: worker.status().level == OK)
    check_order(kafka.consume("frozen"), 20, 2)
    worker.close()


@test
def killed_under_load_nothing_is_lost_and_order_is_kept():
    """The next life sends again what has no ACK; the same worker's batches, in order."""
    batches = {n: numbered((n - 1) * 100, 100, 10) for n in range(1, 1001)}
    acked = set()
    for life in range(4):
        worker = start("killed")
        todo = [n for n in sorted(batches) if n not in acked]
        assert len(todo) > 20, "the kills came too late to prove anything"
        number = {}
        for n in todo:
            number[worker.publish(batches[n])] = n
        if life < 3:
            worker.wait("some ACKs", lambda: len(worker.acked) >= 20)
            worker.process.kill()
            worker.process.wait()
            while not worker.eof:
                worker.pump(1)
        else:
            settled(worker, *number)
        acked.update(number[b] for b in worker.acked)
    check_order(kafka.consume("killed"), 100000, 10, repeats=True)
    worker.close()


@test
def a_new_process_publishes_within_200_ms():
    start("again").close()
    best = None
    for _ in range(5):
        began = time.monotonic()
        worker = Worker()
        worker.configure(brokers=kafka.bootstrap)
        worker.declare(0, "again")
        worker.publish([message(1, b"x", [(0, b"k")])])
        settled(worker, 1)
        taken = time.monotonic() - began
        best = min(best or taken, taken)
        worker.close()
    print("# first ACK %.0f ms after the start" % (best * 1e3))
    assert best < 0.2, best


def tls(**settings):
    return dict({"ca_file": kafka.env["KAFKA_CA"]}, **settings)


def login(mechanism, **settings):
    return tls(brokers=kafka.env["KAFKA_SASL_BOOTSTRAP"], sasl_mechanism=mechanism,
               sasl_username=kafka.env["KAFKA_USER"],
               **(settings or {"sasl_password_file": kafka.env["KAFKA_PASSWORD_FILE"]}))


@test
def logs_in_by_every_mechanism_and_by_certificate():
    ways = {
        "scram256": login("SCRAM-SHA-256"),
        "scram512": login("SCRAM-SHA-512"),
        "plain": login("PLAIN", sasl_password=kafka.env["KAFKA_PASSWORD"]),
        "scram-without-tls": dict(login("SCRAM-SHA-512"), tls="off",
                                  brokers=kafka.env["KAFKA_SASL_PLAINTEXT_BOOTSTRAP"]),
        "tls": tls(brokers=kafka.env["KAFKA_TLS_BOOTSTRAP"]),
        "mtls": tls(brokers=kafka.env["KAFKA_MTLS_BOOTSTRAP"],
                    cert_file=kafka.env["KAFKA_CLIENT_CERT"],
                    key_file=kafka.env["KAFKA_CLIENT_KEY"]),
    }
    for name, settings in ways.items():
        worker = start("login-" + name, **settings)
        worker.publish([message(1, name.encode(), [(0, b"k")])])
        settled(worker, 1)
        assert worker.status().level == OK
        assert [row[2] for row in kafka.consume("login-" + name)] == [name]
        worker.close()


@test
def each_refusal_to_connect_is_one_line_that_names_its_setting():
    e = kafka.env
    cases = [
        (login("SCRAM-SHA-512", sasl_password="wrong-one"), "todo_events.sasl_password_file"),
        (login("PLAIN", sasl_password="wrong-one"), "todo_events.sasl_username"),
        (tls(brokers=e["KAFKA_TLS_BOOTSTRAP"], sasl_mechanism="PLAIN", sasl_username="u",
             sasl_password="wrong-one"), "todo_events.sasl_mechanism"),
        ({"brokers": e["KAFKA_TLS_BOOTSTRAP"], "ca_file": e["KAFKA_WRONG_CA"]},
         "unknown CA.*todo_events.ca_file"),
        ({"brokers": e["KAFKA_TLS_BOOTSTRAP"], "tls": "on"}, "unknown CA.*todo_events.ca_file"),
        (tls(brokers=e["KAFKA_EXPIRED_BOOTSTRAP"]), "expired.*todo_events.ca_file"),
        (tls(brokers=e["KAFKA_MTLS_BOOTSTRAP"]), "todo_events.cert_file"),
        (tls(brokers=e["KAFKA_MTLS_BOOTSTRAP"], cert_file=e["KAFKA_WRONG_CERT"],
             key_file=e["KAFKA_WRONG_KEY"]), "todo_events.cert_file"),
        (tls(brokers=kafka.bootstrap), "does not speak TLS.*todo_events.tls"),
        ({"brokers": e["KAFKA_TLS_BOOTSTRAP"]}, "todo_events.tls"),
        ({"brokers": e["KAFKA_SASL_PLAINTEXT_BOOTSTRAP"]}, "todo_events.sasl_mechanism"),
        (tls(brokers=e["KAFKA_SASL_BOOTSTRAP"]), "todo_events.sasl_mechanism"),
    ]
    workers = []
    for settings, words in cases:
        worker = Worker()
        worker.configure(**settings)
        worker.declare(0, "never")
        workers.append((worker, settings, words))
    for worker, settings, words in workers:
        worker.wait("a status for %s" % settings, lambda: (worker.status() or [0])[0] == ERROR)
    # all of them go on trying meanwhile; none may say it again
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        for worker, _, _ in workers:
            worker.pump(0.01)
    for worker, settings, words in workers:
        told = [s for s in worker.statuses if s.level == ERROR]
        assert len(told) == 1, (settings, told)
        assert re.search(words, told[0].message + " " + told[0].hint), (words, told)
        assert "wrong-one" not in repr((worker.statuses, worker.logs))
        assert len(worker.logs) <= 2, worker.logs
        assert not worker.topic_states
        worker.close()


@test
def a_full_queue_of_the_librarys_own_only_slows_down():
    worker = start("full-queue", brokers=kafka.bootstrap, kafka__queue_buffering_max_messages="100")
    worker.publish(numbered(0, 2000, 10))
    worker.publish(numbered(2000, 2000, 10))
    settled(worker, 1, 2)
    assert not worker.refused
    check_order(kafka.consume("full-queue"), 4000, 10)
    worker.close()


@test
def the_librarys_debug_lines_come_when_asked_for():
    worker = start("debug", brokers=kafka.bootstrap, kafka__debug="broker")
    assert any("librdkafka: " in text for level, text in worker.logs if level == INFO), worker.logs
    worker.close()


@test
def a_backlog_of_500000_events_stays_under_100_MB():
    """And while it waits for a broker that is slower than its worker."""
    worker = start("backlog")
    body = b"".join(message(i, b"x" * 700, [(0, b"key-%d" % i)], [("traceparent", b"0" * 55)])
                    for i in range(250))
    sent = 0
    began = time.monotonic()
    while len(worker.acked) < 2000:
        if sent < 2000 and len(worker.unsent) < 1 << 20:
            worker.publish_raw(body, 250)
            sent += 1
        else:
            worker.pump(1)
    print("# %.0f messages/s, peak %.0f MB" % (
        500000 / (time.monotonic() - began), worker.peak_rss_mb()))
    # ASan keeps what is freed for a while
    if "asan" not in os.environ.get("TE_IO_PROGRAM", "") and "address" not in os.environ.get("TE_SANITIZE", ""):
        assert worker.peak_rss_mb() < 100, worker.peak_rss_mb()
    worker.close()


def main():
    global kafka
    reason = missing()
    if reason:
        print("1..0 # SKIP %s" % reason)
        return 0
    kafka = Kafka("--sasl", "--tls")
    try:
        return run()
    finally:
        kafka.remove()


sys.exit(main())
