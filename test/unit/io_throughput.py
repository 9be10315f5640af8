#!/usr/bin/env python3
"""Throughput and latency of todo_events_io producer alone: no PostgreSQL.

usage: io_throughput.py [--messages N] [--size BYTES] [--per-frame N] [--window FRAMES]
                        [--rate N --seconds S] [--option NAME=VALUE ...]

Feeds PUBLISH frames and prints one line: messages/s, the process's CPU per message, its
peak memory.  With --rate it paces single messages and prints the latency from frame to
ACK instead.  The broker is KAFKA_BOOTSTRAP, or the embedded one.
"""
import argparse
import os
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from io_worker import PUBLISH, Worker, frame, message  # noqa: E402


def start(options, topic):
    worker = Worker(stderr=None)
    settings = {"brokers": os.environ.get("KAFKA_BOOTSTRAP", "embedded")}
    for option in options:
        name, value = option.split("=", 1)
        settings["kafka." + name] = value
    worker.configure(**settings)
    worker.declare(0, topic, 3)
    worker.wait("the topic", lambda: worker.topic_state(0))
    worker.publish([message(0, b"first", [(0, b"k")])])
    worker.wait("the first ACK", lambda: 1 in worker.acked)
    return worker


def drain(args, topic):
    """As fast as it goes, with a bounded number of frames unacknowledged."""
    worker = start(args.option, topic)
    body = b"".join(
        message(i, b'{"p":"%s"}' % (b"x" * (args.size - 8)), [(0, b"key-%d" % (i % 5000))])
        for i in range(args.per_frame))
    frames = args.messages // args.per_frame
    tail = struct.pack("=I", args.per_frame) + body
    cpu = worker.cpu_seconds()
    began = time.monotonic()
    sent = acked = 0
    base = len(worker.acked)
    while acked < frames:
        while sent < frames and sent - acked < args.window and len(worker.unsent) < 1 << 20:
            worker.batch += 1
            worker.send_raw(frame(PUBLISH, struct.pack("=Q", worker.batch) + tail))
            sent += 1
        worker.pump(1)
        acked = len(worker.acked) - base
    seconds = time.monotonic() - began
    total = frames * args.per_frame
    cpu = worker.cpu_seconds() - cpu
    print("%d messages of %d B, %d a frame, window %d: %.0f/s, CPU %.2f us a message (%.0f %%), "
          "peak %.0f MB, latency p50 %d us" % (
              total, args.size, args.per_frame, args.window, total / seconds, cpu / total * 1e6,
              cpu / seconds * 100, worker.peak_rss_mb(), worker.stats[-1].p50 if worker.stats else 0))
    worker.close()


def pace(args, topic):
    """One message a frame at a fixed rate: frame written to ACK read."""
    worker = start(args.option, topic)
    taken = []
    cpu = worker.cpu_seconds()
    began = due = time.monotonic()
    for i in range(int(args.rate * args.seconds)):
        due += 1 / args.rate
        while time.monotonic() < due:
            worker.pump(max(0, due - time.monotonic()))
        at = time.monotonic()
        batch = worker.publish([message(i, b"x" * args.size, [(0, b"key-%d" % (i % 50))])])
        worker.wait("the ACK", lambda: batch in worker.acked)
        taken.append(time.monotonic() - at)
    seconds = time.monotonic() - began
    taken.sort()
    print("%d/s for %d s: frame to ACK p50 %.2f ms, p99 %.2f ms, CPU %.1f %%" % (
        args.rate, args.seconds, taken[len(taken) // 2] * 1e3, taken[len(taken) * 99 // 100] * 1e3,
        (worker.cpu_seconds() - cpu) / seconds * 100))
    worker.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=500000)
    parser.add_argument("--size", type=int, default=700)
    parser.add_argument("--per-frame", type=int, default=256)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--option", action="append", default=[])
    args = parser.parse_args()
    topic = "io-throughput-%d" % os.getpid()
    if args.rate:
        pace(args, topic)
    else:
        drain(args, topic)


if __name__ == "__main__":
    main()
