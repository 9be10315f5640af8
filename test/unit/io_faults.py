#!/usr/bin/env python3
"""todo_events_io producer against a broker that answers with chosen errors (io_mock_broker.c)."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from io_kafka import consume  # noqa: E402
from io_tap import run, test  # noqa: E402
from io_worker import (  # noqa: E402
    ERROR, EXIT_RESTART, OK, RETRY_TOPICS, T_DENIED, T_OK, TOP, Worker, message)

(INVALID_MSG, UNKNOWN_TOPIC, LEADER_NOT_AVAILABLE, NOT_LEADER, TIMED_OUT, TOO_LARGE, NOT_ENOUGH,
 DENIED, OUT_OF_ORDER, INVALID_RECORD) = (2, 3, 5, 6, 7, 10, 19, 29, 45, 87)
INIT_PRODUCER_ID = 22


class Mock:
    def __init__(self):
        self.process = subprocess.Popen(
            [os.path.join(TOP, "build", "unit", "io_mock_broker")], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()

    def say(self, *words):
        self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer == "ok\n", (words, answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)


def start(mock, *topics, **settings):
    """A process whose topics exist, and are known to; the first message is through."""
    for topic in topics:
        mock.say("create", topic, 1)
    worker = Worker()
    worker.configure(brokers=mock.address, **settings)
    for number, topic in enumerate(topics):
        worker.declare(number, topic, partitions=1, create=False)
    for number in range(len(topics)):
        worker.wait("the topic", lambda: worker.topic_state(number))
        assert worker.topic_state(number).state == T_OK, worker.topic_state(number)
        batch = worker.publish([message(0, b"first", [(number, b"k")])])
        worker.wait("the first ACK", lambda: batch in worker.acked)
    return worker


def values(mock, topic):
    return [row[2] for row in consume(mock.address, topic)]


@test
def what_is_wrong_for_now_is_tried_again_and_never_refused():
    with Mock() as mock:
        worker = start(mock, "t")
        expected = ["first"]
        for code in NOT_LEADER, TIMED_OUT, NOT_ENOUGH, LEADER_NOT_AVAILABLE, INVALID_MSG:
            mock.say("produce", code, code)
            batch = worker.publish([message(code, b"%d-%d" % (code, i), [(0, b"k")])
                                    for i in range(20)])
            worker.wait("the ACK after %d" % code, lambda: batch in worker.acked)
            expected += ["%d-%d" % (code, i) for i in range(20)]
        assert not worker.refused
        assert values(mock, "t") == expected
        worker.close()


@test
def what_follows_a_failed_batch_does_not_take_its_place():
    """A broker accepts any sequence of a producer that it does not know on a partition (its first
    there, or after a day without any): a later request that succeeds says nothing of an earlier one."""
    with Mock() as mock:
        worker = start(mock, "t")
        mock.say("delay", 200)
        mock.say("produce", NOT_LEADER)
        for i in range(3):
            worker.publish([message(i, b"%d" % i, [(0, b"k")])])
            worker.pump(0.05)
        worker.wait("all ACKs", lambda: worker.acked.issuperset(range(1, 5)))
        assert not worker.refused
        assert values(mock, "t") == ["first", "0", "1", "2"]
        worker.close()


@test
def a_refused_batch_is_tried_message_by_message():
    """Nobody says which of its messages was the cause, or that any still is."""
    for code in TOO_LARGE, INVALID_RECORD:
        with Mock() as mock:
            worker = start(mock, "t", "other")
            assert worker.topic_state(0).max_bytes == -1, "the mock cannot tell its limits"
            mock.say("produce", code, code)
            worker.publish([message(i, b"%d" % i, [(i % 2, b"k")]) for i in range(100)])
            worker.wait("the ACK", lambda: 3 in worker.acked)
            assert not worker.refused, worker.refused
            # sets: this mock accepts what a real broker would have turned away in between
            assert set(values(mock, "t")) == {"first"} | {str(i) for i in range(0, 100, 2)}
            assert set(values(mock, "other")) == {"first"} | {str(i) for i in range(1, 100, 2)}
            worker.close()


@test
def a_denied_topic_refuses_and_recovers_when_allowed_again():
    with Mock() as mock:
        worker = start(mock, "t", "other")
        mock.say("produce", DENIED)
        mock.say("topic", "t", DENIED)
        worker.publish([message(1, b"a", [(0, b"k")])])
        worker.wait("the refusal", lambda: worker.refused)
        assert worker.refused[0].name == "TOPIC_AUTHORIZATION_FAILED", worker.refused
        worker.wait("the topic's state", lambda: worker.topic_state(0).state == T_DENIED)
        worker.publish([message(2, b"b", [(0, b"k")]), message(3, b"c", [(1, b"k")])])
        worker.wait("the next", lambda: 4 in worker.acked)
        assert [r.event for r in worker.refused] == [1, 2]
        mock.say("topic", "t", 0)
        worker.send(RETRY_TOPICS)
        worker.wait("the topic to be allowed", lambda: worker.topic_state(0).state == T_OK)
        worker.publish([message(4, b"d", [(0, b"k")])])
        worker.wait("the ACK", lambda: 5 in worker.acked)
        assert [r.event for r in worker.refused] == [1, 2], worker.refused
        assert values(mock, "t") == ["first", "d"]
        worker.close()


@test
def a_broken_producer_leaves_to_be_started_again():
    with Mock() as mock:
        worker = start(mock, "t")
        mock.say("produce", OUT_OF_ORDER)
        worker.publish([message(1, b"a", [(0, b"k")])])
        assert worker.exit_status() == EXIT_RESTART
        assert worker.status().level == ERROR and "start afresh" in worker.status().message
        assert worker.acked == {1} and not worker.refused
        # the next life has no such trouble
        worker = Worker()
        worker.configure(brokers=mock.address)
        worker.declare(0, "t", create=False)
        worker.publish([message(1, b"a", [(0, b"k")])])
        worker.wait("the ACK", lambda: 1 in worker.acked)
        worker.close()


@test
def connections_lost_with_requests_under_way_lose_nothing():
    with Mock() as mock:
        worker = start(mock, "t")
        mock.say("delay", 50)
        for round in range(5):
            worker.publish([message(i, b"%d-%d" % (round, i), [(0, b"k")]) for i in range(20)])
            worker.pump(0.02)
            mock.say("down")
            mock.say("up")
        worker.wait("all ACKs", lambda: worker.acked.issuperset(range(1, 7)))
        assert not worker.refused
        got = list(dict.fromkeys(values(mock, "t")))
        assert got == ["first"] + ["%d-%d" % (r, i) for r in range(5) for i in range(20)], got
        worker.wait("OK", lambda: worker.status().level == OK)
        worker.close()


sys.exit(run())
