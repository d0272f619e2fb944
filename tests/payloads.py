"""Payloads that are malformed, each with what a message must name."""

from __future__ import annotations

import json
from typing import Any

from tests.samples import release, webhook

GOOD = release("card", "qa")


def _third(key: str, value: Any) -> bytes:
    return webhook(GOOD, GOOD, GOOD, {**GOOD, key: value})


def _without(key: str) -> bytes:
    return webhook({name: value for name, value in GOOD.items() if name != key})


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


MALFORMED: list[tuple[bytes, str]] = [
    (b"", "empty"),
    (b" \r\n", "empty"),
    (b"\xff\xfe{\0", "not UTF-8 (byte 0)"),
    (b"no json", "line 1, column 1"),
    (webhook(GOOD)[:-2], "not JSON"),
    (webhook(GOOD) + b"{}", "extra data"),
    (b'{"releases": [NaN]}', "NaN"),
    (b"[" * 50_000, "nested too deeply"),
    (b'{"a":' * 50_000, "nested too deeply"),
    (b"[" + b"9" * 5000 + b"]", "a number that is too long"),
    (b"null", "is null, not an object"),
    (b"true", "is true or false, not an object"),
    (b"17", "is a number, not an object"),
    (b'"releases"', "is a string, not an object"),
    (b"[]", "array of releases is empty"),
    (b"{}", "no known form"),
    (_json({"ref": "refs/heads/main", "commits": []}), "no known form"),
    (_json({"schedule": "daily"}), "no known form"),
    (b'{"releases": [], "releases": []}', "'releases' appears twice"),
    (_json({"event": 7}), "event is a number"),
    (_json({"event": ""}), "event is empty"),
    (_json({"event": "components.deployed", "data": None}), "data is null"),
    (_json({"event": "components.deployed", "data": [GOOD]}), "data is an array"),
    (_json({"event": "components.deployed", "timestamp": 7}), "timestamp is a number"),
    (_json({"event": "components.deployed", "organizationId": []}), "organizationId is an array"),
    (_json({"event": "components.deployed", "data": {"releases": {}}}), "data.releases is an obj"),
    (_json({"event": "components.deployed", "data": {"fullSync": "yes"}}), "data.fullSync is a st"),
    (_json({"client_payload": [GOOD]}), "client_payload is an array"),
    (_json({"client_payload": {"releases": "[]"}}), "client_payload.releases is a string"),
    (_json({"releases": [GOOD, None]}), "releases[1] is null"),
    (_json([GOOD, "card"]), "[1] is a string"),
    (_without("componentId"), "data.releases[0].componentId is missing"),
    (_without("environment"), "data.releases[0].environment is missing"),
    (_third("environment", ""), "data.releases[3].environment is empty"),
    (_third("environment", "  "), "data.releases[3].environment is blank"),
    (_third("environment", None), "data.releases[3].environment is not a string"),
    (_third("environment", 7), "data.releases[3].environment is not a string"),
    (_third("environment", ".."), "data.releases[3].environment is '..'"),
    (_third("environment", "../../etc"), "data.releases[3].environment holds a slash"),
    (_third("environment", "a\\b"), "data.releases[3].environment holds a backslash"),
    (_third("environment", "a\0b"), "data.releases[3].environment holds a NUL"),
    (_third("environment", "a\nb"), "data.releases[3].environment holds a control"),
    (_third("environment", "x" * 201), "data.releases[3].environment is 201 bytes"),
    (_third("componentId", "."), "data.releases[3].componentId is '.'"),
    (_third("componentId", "/etc/passwd"), "data.releases[3].componentId holds a slash"),
    (_third("componentId", {"id": 1}), "data.releases[3].componentId is not a string"),
    (_third("variantId", 7), "data.releases[3].variantId is not a string"),
    (_third("environmentId", ""), "data.releases[3].environmentId is empty"),
    (b'[{"componentId": "card", "environment": "a\\ud800"}]', "[0].environment holds half"),
]
