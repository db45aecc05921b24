"""TLS to the broker, with a certificate of our own; and what is told of certificates."""

from __future__ import annotations

import asyncio
import logging
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from box.check import check
from cloud.ingest import Subscriber
from uplink.certificates import Certificates, validity
from uplink.configuration import ConfigError, load_config
from uplink.connection import BrokerAddress, BrokerConfig, UplinkError
from uplink.outbox import Outbox, Packet
from uplink.packets import Presence
from uplink.session import Session

if TYPE_CHECKING:
    from conftest import Authority, Mosquitto

PATIENCE_S = 20.0
PICK = "diting/v1/XX/AAA/pick"


def session(address: BrokerAddress, outbox: Outbox, timeout_s: float = 10.0) -> Session:
    return Session(
        address,
        "XX.AAA",
        outbox,
        birth=Presence(online=True, session=0),
        now_ns=lambda: 100_000_000_000,
        random=Random(1),
        sleep=lambda _: asyncio.sleep(0.02),
        timeout_s=timeout_s,
    )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)


def test_a_pick_goes_from_box_to_cloud_by_certificates(
    tmp_path: Path, mosquitto: Mosquitto, authority: Authority
) -> None:
    mosquitto.stop()
    mosquitto.require_certificate(authority)
    mosquitto.start()
    heard: list[bytes] = []

    def address(name: str) -> BrokerAddress:
        cert, key = authority.issue(name)
        files = {"ca_file": str(authority.cert), "cert_file": str(cert), "key_file": str(key)}
        return BrokerConfig(url=mosquitto.url, **files).address()

    async def scenario() -> None:
        outbox = Outbox(tmp_path / "o.sqlite")
        cloud = Subscriber(address("cloud"), lambda message: heard.append(bytes(message.payload)))
        listening = asyncio.create_task(cloud.run())
        await cloud.connection.first(PATIENCE_S)
        async with session(address("box"), outbox) as box:
            await box.first_connection(PATIENCE_S)
            box.publish([Packet(PICK, b"a pick")])
            await until(lambda: b"a pick" in heard and len(outbox) == 0)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    asyncio.run(scenario())


@pytest.mark.parametrize("mine", ["none", "of a foreign authority"])
def test_a_box_the_broker_does_not_know_keeps_its_picks_and_goes_on_trying(
    tmp_path: Path, mosquitto: Mosquitto, authority: Authority, mine: str
) -> None:
    mosquitto.stop()
    mosquitto.require_certificate(authority)
    mosquitto.start()
    certificates = Certificates(authority.cert)
    if mine != "none":
        foreign = type(authority)(tmp_path, "foreign")
        certificates = Certificates(authority.cert, *foreign.issue("box"))

    async def scenario() -> None:
        outbox = Outbox(tmp_path / "o.sqlite")
        box = session(BrokerAddress.parse(mosquitto.url, certificates), outbox, timeout_s=0.5)
        async with box:
            box.publish([Packet(PICK, b"a pick")])
            await until(lambda: bool(box.connection.trouble))
            assert (box.connection.count, len(outbox)) == (0, 1)
            await box.stop(0)

    asyncio.run(scenario())


def test_a_broker_of_a_foreign_authority_is_not_spoken_to(
    tmp_path: Path, mosquitto: Mosquitto, authority: Authority
) -> None:
    mosquitto.stop()
    mosquitto.require_certificate(authority)
    mosquitto.start()
    foreign = type(authority)(tmp_path, "foreign")

    async def scenario() -> None:
        address = BrokerAddress.parse(mosquitto.url, Certificates(foreign.cert))
        async with session(address, Outbox(tmp_path / "o.sqlite")) as box:
            with pytest.raises(UplinkError, match=r"CERTIFICATE_VERIFY_FAILED") as caught:
                await box.first_connection(1.0)
            assert "\n" not in str(caught.value)
            await box.stop(0)

    asyncio.run(scenario())


def test_a_certificate_that_comes_while_the_box_runs_is_used(
    tmp_path: Path, mosquitto: Mosquitto, authority: Authority
) -> None:
    mosquitto.stop()
    mosquitto.require_certificate(authority)
    mosquitto.start()
    cert, key = authority.issue("box")
    later = tmp_path / "later.pem"
    certificates = Certificates(authority.cert, later, key)

    async def scenario() -> None:
        address = BrokerAddress.parse(mosquitto.url, certificates)
        async with session(address, Outbox(tmp_path / "o.sqlite")) as box:
            await until(lambda: "No such file" in box.connection.trouble)
            cert.rename(later)
            await until(lambda: box.connection.up)

    asyncio.run(scenario())


def now_s(authority: Authority) -> float:
    begin, _ = validity(ssl.PEM_cert_to_DER_cert(authority.cert.read_text()))
    return begin + 60.0


def test_good_certificates_have_no_problems_until_they_expire(authority: Authority) -> None:
    certificates = Certificates(authority.cert, *authority.issue("box"))
    now = now_s(authority)
    assert certificates.problems(now) == []
    (line,) = certificates.problems(now + 20 * 86_400)
    assert line.startswith(f"cert_file: {certificates.cert_file}: expired on 20")
    assert len(certificates.problems(now + 40 * 86_400)) == 2
    assert all("not valid before" in line for line in certificates.problems(0.0))
    assert Certificates().problems(now) == []
    (line,) = certificates.problems(now, ahead_s=20 * 86_400)
    assert line.startswith(f"cert_file: {certificates.cert_file}: expires on 20")


def test_a_box_says_in_time_that_its_certificate_expires(
    tmp_path: Path, authority: Authority
) -> None:
    cert, key = authority.issue("box")  # for ten days
    address = BrokerAddress.parse("mqtts://b", Certificates(authority.cert, cert, key))
    box = Session(
        address,
        "XX.AAA",
        Outbox(tmp_path / "o.sqlite"),
        birth=Presence(online=True, session=0),
        now_ns=lambda: int(now_s(authority) * 1e9),
    )
    (line,) = box.problems
    assert line.startswith(f"broker.cert_file: {cert}: expires on 20")


def test_dates_of_a_certificate_are_those_that_openssl_says(authority: Authority) -> None:
    cert, _ = authority.issue("box")
    told = subprocess.run(
        ["openssl", "x509", "-in", cert, "-noout", "-dates"], capture_output=True, text=True
    ).stdout.split("\n")
    dates = [ssl.cert_time_to_seconds(line.split("=")[1]) for line in told if line]
    assert list(validity(ssl.PEM_cert_to_DER_cert(cert.read_text()))) == dates


@given(st.binary(max_size=60))
def test_what_is_no_certificate_is_a_value_error(noise: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any reason will do
        validity(noise)


def test_each_fault_of_a_file_is_one_line_that_names_it(authority: Authority) -> None:
    cert, key = authority.issue("box")
    other_key = authority.issue("other")[1]
    noise = authority.folder / "noise.pem"
    noise.write_text("-----BEGIN NONSENSE-----\n")
    gone = authority.folder / "gone.pem"
    locked = authority.folder / "locked.key"
    command = ["openssl", "ec", "-in", key, "-out", locked, "-aes256", "-passout", "pass:secret"]
    subprocess.run(command, check=True, capture_output=True)
    ca = authority.cert
    found = {
        Certificates(gone): f"ca_file: {gone}: No such file or directory",
        Certificates(noise): f"ca_file: {noise}: holds no certificate",
        Certificates(ca, gone, key): f"cert_file: {gone}: No such file or directory",
        Certificates(ca, noise, key): f"cert_file: {noise}: holds no certificate",
        Certificates(ca, cert, gone): f"key_file: {gone}: No such file or directory",
        Certificates(ca, cert, noise): f"key_file: {noise}: holds no usable key",
        Certificates(ca, cert, other_key): f"key_file: {other_key}: not that of {cert}",
        Certificates(ca, cert, locked): f"key_file: {locked}: has a passphrase",
        Certificates(authority.folder): f"ca_file: {authority.folder}: Is a directory",
    }
    for certificates, line in found.items():
        assert certificates.problems(now_s(authority)) == [line]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("url: mqtts://b\ncert_file: c.pem", "cert_file, key_file: one needs the other"),
        ("url: mqtt://b\nca_file: c.pem", "url: certificates need mqtts://"),
    ],
)
def test_certificates_that_would_not_be_used_are_refused(
    tmp_path: Path, fields: str, message: str
) -> None:
    path = tmp_path / "broker.yaml"
    path.write_text(fields)
    with pytest.raises(ConfigError, match=message):
        load_config(path, BrokerConfig)


@pytest.mark.parametrize(
    "content",
    [
        "url: mqtts://box:s3cret@host\n\tca_file: x",
        'url: "mqtts://box:s3cret@host\nca_file: x',
        "url: http://box:s3cret@host",
        "url: http://box:a/s3cret@host",
        "url: http://box:a@s3cret@host",
        "url: [mqtts://box:s3cret@host]",
        "url: *s3cret",
        "url: !s3cret x",
        "url: mqtt://box:s3cret@host\nca_file: x",
    ],
)
def test_a_password_is_in_no_error_of_a_configuration(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broker.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path, BrokerConfig)
    assert "s3cret" not in str(caught.value)


def test_neither_password_nor_key_is_in_a_log(
    tmp_path: Path,
    mosquitto: Mosquitto,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mosquitto.stop()
    mosquitto.require_certificate(authority)
    mosquitto.start()
    cert, key = authority.issue("box")
    files = {"ca_file": str(authority.cert), "cert_file": str(cert), "key_file": str(key)}
    config = BrokerConfig(url=mosquitto.url.replace("//", "//box:s3cret@"), **files)

    async def scenario() -> None:
        async with session(config.address(), Outbox(tmp_path / "o.sqlite")) as box:
            await box.first_connection(PATIENCE_S)
            mosquitto.stop()
            await until(lambda: not box.connection.up and bool(box.connection.trouble))
            assert "s3cret" not in repr(box.__dict__) + str(config.address())
            await box.stop(0)

    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "uplink.connection"):
        asyncio.run(scenario())
    secret = key.read_text().splitlines()[1]
    assert "broker mqtts://127.0.0.1" in caplog.text
    assert "s3cret" not in caplog.text
    assert secret not in caplog.text


def test_check_names_the_certificate_that_is_wrong_for_box_and_cloud(
    tmp_path: Path, authority: Authority
) -> None:
    cert, _ = authority.issue("box")
    _, key = authority.issue("other")
    broker = f"{{url: 'mqtts://b', ca_file: {authority.cert}, cert_file: {cert}, key_file: {key}}}"
    station = "{id: XX.AAA, latitude: 1, longitude: 2}"
    for name, content in {
        "box": f"station: {station}\nsource: {{path: {tmp_path}}}\n",
        "cloud": "dashboard: {port: 0}\n",
    }.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"{content}broker: {broker}\ndata_dir: {tmp_path}\n")
        line = f"{path}: broker.key_file: {key}: not that of {cert}"
        assert line in check(path)
