#!/usr/bin/env python3
"""Writes a few well-formed conversations as seeds for io_frames: io_seeds.py DIRECTORY"""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "unit"))
from io_worker import CONFIG, HELLO, PUBLISH, RETRY_TOPICS, TOPIC, frame, message, put_str  # noqa: E402


def publish(number, messages):
    return frame(PUBLISH, struct.pack("=QI", number, len(messages)) + b"".join(messages))


def main():
    one = message(1, b"value", [(0, b"key"), (1, None)], [("name", b"text"), ("null", None)])
    config = struct.pack("=I", 3) + b"".join(
        put_str(text) for text in ("brokers", "embedded", "kafka.linger.ms", "5", "tls", None))
    seeds = {
        "start": frame(HELLO, struct.pack("=I", 1) + put_str("0.1.0") + put_str("producer")) +
        frame(CONFIG, config) +
        frame(TOPIC, struct.pack("=H", 0) + put_str("t") + struct.pack("=iqB", 3, 1, 1)),
        "publish": publish(1, [one]) + publish(2, [one, message(2, None, [])]) + publish(3, []),
        "large": publish(1, [message(i, b"x" * 700, [(0, b"k")]) for i in range(100)]) +
        frame(RETRY_TOPICS),
    }
    for name, data in seeds.items():
        for piece in (3, 16):
            with open(os.path.join(sys.argv[1], "%s-%d" % (name, piece)), "wb") as file:
                file.write(bytes([piece]) + data)


main()
