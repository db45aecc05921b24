"""Broker URLs, and how long to wait before coming back."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uplink.connection import BrokerAddress, BrokerURLError, backoff


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://broker", BrokerAddress("broker", 1883)),
        ("mqtts://broker", BrokerAddress("broker", 8883, tls=True)),
        ("mqtt://10.0.0.1:1234/", BrokerAddress("10.0.0.1", 1234)),
        ("mqtt://[::1]:1234", BrokerAddress("::1", 1234)),
        ("mqtts://box:p%40ss%2F@b:1", BrokerAddress("b", 1, True, "box", "p@ss/")),
    ],
)
def test_a_broker_url_is_understood(url: str, address: BrokerAddress) -> None:
    found = BrokerAddress.parse(url)
    assert (found, found.username, found.password) == (address, address.username, address.password)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "broker",
        "broker:1883",
        "http://broker",
        "mqtt://",
        "mqtt://:1883",
        "mqtt://b:port",
        "mqtt://b:0",
        "mqtt://b:99999",
        "mqtt://b/topic",
        "mqtt://b?x",
        "mqtt://[::1",
    ],
)
def test_what_is_no_broker_url_is_said_in_one_line(url: str) -> None:
    with pytest.raises(BrokerURLError) as caught:
        BrokerAddress.parse(url)
    assert repr(url) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://box:s3cret@b",
        "http://box:s3cret@b",
        "mqtt://box:s3cret@b:x",
        "mqtt://box:s3cret@",
        "mqtt://box:s3cret/x@b",
        "mqtt:box:s3cret@b",
        "box:s3cret@b",
    ],
)
def test_a_password_is_never_shown(url: str) -> None:
    try:
        shown = repr(BrokerAddress.parse(url)) + str(BrokerAddress.parse(url))
    except BrokerURLError as error:
        shown = str(error)
    assert "s3cret" not in shown


@given(st.text())
def test_any_text_is_an_address_or_an_error(url: str) -> None:
    try:
        address = BrokerAddress.parse(f"mqtt://{url}")
    except BrokerURLError:
        return
    assert 0 < address.port < 65536


def test_the_delay_grows_to_a_limit_and_never_agrees_with_the_neighbours() -> None:
    delays = list(islice(backoff(Random(1), first_s=1.0, longest_s=60.0), 200))
    for attempt, delay in enumerate(delays):
        assert 0.0 <= delay <= min(60.0, 2.0 ** min(attempt, 10))
    assert max(delays) > 50.0
    assert delays[:5] != list(islice(backoff(Random(2)), 5))
