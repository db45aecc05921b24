"""Models on their way to a box: retained parts of 48 kB under the hash of the whole.

They are asked for over a connection of their own, which is closed again: picks never wait behind
them, and a box that has a model never hears of its parts.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterator

import aiomqtt

from uplink.connection import BrokerAddress
from uplink.topics import model_part

PART = 48 << 10  # bytes
_log = logging.getLogger(__name__)
_AGAIN_S = 2.0  # until the next attempt to connect


class PartsError(Exception):
    """A file that did not come as it should: one line says why."""


def cut(station_id: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Topic and payload of each part, to be published retained."""
    name = hashlib.sha256(content).hexdigest()
    for number, first in enumerate(range(0, len(content), PART)):
        yield model_part(station_id, name, number), content[first : first + PART]


async def fetch(
    address: BrokerAddress, station_id: str, sha256: str, size: int, patience_s: float
) -> bytes:
    """The file of a hash. Raises PartsError where it is another, or where for `patience_s` no part
    of it came."""
    count = -(-size // PART)
    parts: dict[int, bytes] = {}
    try:
        async with asyncio.timeout(patience_s) as patience:
            await _collect(address, station_id, sha256, count, parts, patience, patience_s)
    except TimeoutError:
        came = f"{len(parts)} of {count} parts of {sha256[:12]}… came"
        raise PartsError(f"{came}, and none for {patience_s:g} s") from None
    content = b"".join(parts[number] for number in range(count))
    if len(content) != size:
        raise PartsError(f"{sha256[:12]}…: {len(content)} bytes came, the document says {size}")
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise PartsError(f"sha256 is {found[:12]}…, the document says {sha256[:12]}…")
    return content


async def _collect(
    address: BrokerAddress,
    station_id: str,
    sha256: str,
    count: int,
    parts: dict[int, bytes],
    patience: asyncio.Timeout,
    patience_s: float,
) -> None:
    """Fill `parts`, over as many connections as it takes; each part renews the patience."""
    wanted = model_part(station_id, sha256, "+")
    while True:
        try:
            async with address.client(f"diting-{station_id}-model") as client:
                await client.subscribe(wanted, qos=1)
                async for message in client.messages:
                    number = message.topic.value.rsplit("/", 1)[1]
                    payload = bytes(message.payload)
                    if not number.isdecimal() or int(number) >= count or len(payload) > PART:
                        continue
                    if int(number) not in parts:
                        parts[int(number)] = payload
                        patience.reschedule(asyncio.get_running_loop().time() + patience_s)
                    if len(parts) == count:
                        return
        except aiomqtt.MqttError as error:
            _log.warning("broker %s: model: %s", address, error)
            await asyncio.sleep(_AGAIN_S)
