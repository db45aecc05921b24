"""Documents of a remote configuration: who may write them, and what is not one."""

from __future__ import annotations

import msgspec
import pytest

from uplink.remote import (
    Desired,
    Envelope,
    Refused,
    digest,
    new_keys,
    redacted,
    seal,
    unseal,
)

STATION = "XX.AAA"
DOCUMENT = Desired(version=3, changes={"picking": {"p_threshold": 0.4}})


def test_a_signed_document_comes_out_as_it_went_in() -> None:
    private, public = new_keys()
    assert unseal(seal(DOCUMENT, STATION, private), STATION, public) == DOCUMENT
    assert unseal(seal(DOCUMENT, STATION), STATION) == DOCUMENT


def test_a_signature_is_worth_nothing_by_another_key_for_another_station_or_another_text() -> None:
    private, public = new_keys()
    stranger, _ = new_keys()
    envelope = msgspec.json.decode(seal(DOCUMENT, STATION, private), type=Envelope)
    forged = [
        seal(DOCUMENT, STATION, stranger),
        seal(DOCUMENT, "XX.BBB", private),
        msgspec.json.encode(Envelope(envelope.body.replace("0.4", "0.3"), envelope.signature)),
        msgspec.json.encode(Envelope(envelope.body, envelope.signature[:-4])),
        msgspec.json.encode(Envelope(envelope.body, "no base64 ä")),
        seal(DOCUMENT, STATION),
    ]
    for payload in forged:
        with pytest.raises(Refused, match="signature: ") as caught:
            unseal(payload, STATION, public)
        assert caught.value.version is None  # so that no stranger can use the numbers up


def test_every_mistake_of_a_document_is_told_at_once() -> None:
    body = '{"version": 8, "trial_s": 1, "changess": {}, "models": {"oracle": {}}}'
    with pytest.raises(Refused) as caught:
        unseal(msgspec.json.encode(Envelope(body)), STATION)
    assert [line.split(":")[0] for line in caught.value.problems] == [
        "changess",
        "models",
        "trial_s",
    ]
    assert caught.value.version == 8


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"{",
        b"[]",
        b'{"body": 5}',
        b'{"body": "{"}',
        b'{"body": "[]"}',
        b'{"body": "{}"}',
        b'{"body": "{\\"version\\": 0}"}',
        b'{"body": "{\\"version\\": true}"}',
        b'{"body": "{\\"version\\": 1e99}"}',
        b'{"body": "{\\"version\\": NaN}"}',
        b'{"body": "' + b"[" * 5000 + b'"}',
        b"[" * 5000,
        msgspec.json.encode(Envelope('{"version": 1, "models": ' + "[" * 900 + "]" * 900 + "}")),
    ],
)
def test_garbage_is_refused_in_words(payload: bytes) -> None:
    with pytest.raises(Refused) as caught:
        unseal(payload, STATION)
    assert all(caught.value.problems)
    assert caught.value.version in (None, 1)


def test_no_secret_is_told() -> None:
    content = {
        "broker": {"url": "mqtts://me:pass/word@host:8883", "password": "a", "key_password": "b"},
        "source": [{"host": "h", "token": "c", "user": "u", "password": None}],
    }
    assert redacted(content) == {
        "broker": {"url": "mqtts://***@host:8883", "password": "***", "key_password": "***"},
        "source": [{"host": "h", "token": "***", "user": "u", "password": None}],
    }


def test_documents_have_other_digests() -> None:
    assert digest(b"a") != digest(b"b")
