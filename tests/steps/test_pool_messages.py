"""What a worker process may write into its pipe, and what of it is taken for a message."""

from __future__ import annotations

import json

import pytest

from bench.executors.pool import message_of

GOOD = (
    {"event": "progress", "done": 3, "total": 10},
    {"event": "done"},
    {"event": "done", "imported": ["numpy"]},
    {"event": "failed", "message": "x", "exit_code": 1, "damaged": None, "trace": "y"},
)


@pytest.mark.parametrize("message", GOOD)
def test_messages_are_taken_as_they_are(message: dict[str, object]) -> None:
    assert message_of(json.dumps(message) + "\n") == message


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        "no JSON",
        "\ufffd\ufffd",
        "[1]",
        "null",
        "{}",
        '{"event": 3}',
        '{"event": ["done"]}',
        '{"event": "stop"}',
        '{"event": "progress"}',
        '{"event": "progress", "done": "3", "total": 10}',
        '{"event": "progress", "done": true, "total": 10}',
        '{"event": "failed"}',
        '{"event": "failed", "message": 1, "exit_code": 1, "damaged": null, "trace": null}',
        '{"event": "failed", "message": "x", "exit_code": "1", "damaged": null, "trace": null}',
        '{"event": "done", "imported": "numpy"}',
        '{"event": "done", "imported": [1]}',
        "[" * 100_000,
    ],
)
def test_rubbish_is_no_message(line: str) -> None:
    assert message_of(line) is None
