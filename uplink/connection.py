"""Where the broker is, and how patiently to come back to it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import unquote, urlsplit

import aiomqtt

_PORTS = {"mqtt": 1883, "mqtts": 8883}


class BrokerURLError(ValueError):
    """A broker URL that is not one: one line that names it, without its credentials."""


@dataclass(frozen=True)
class BrokerAddress:
    """Host, port and credentials of a broker. Credentials are in neither `str` nor `repr`."""

    host: str
    port: int
    tls: bool = False
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> BrokerAddress:
        """From `mqtt[s]://[user:pass@]host[:port]`. Raises BrokerURLError.

        User and password are percent-decoded. The port is 1883, or 8883 for mqtts, where it is
        left out.
        """
        shown = url.replace(url.split("//", 1)[-1].rpartition("@")[0] + "@", "")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:  # whose message may quote the password
            raise BrokerURLError(f"broker: {shown!r} has no valid host and port") from None
        if parts.scheme not in _PORTS:
            raise BrokerURLError(f"broker: {shown!r} does not begin with mqtt:// or mqtts://")
        if not parts.hostname:
            raise BrokerURLError(f"broker: {shown!r} names no host")
        if port == 0 or parts.path.strip("/") or parts.query or parts.fragment:
            raise BrokerURLError(f"broker: {shown!r} is not mqtt[s]://[user:pass@]host[:port]")
        return cls(
            host=parts.hostname,
            port=port or _PORTS[parts.scheme],
            tls=parts.scheme == "mqtts",
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    def client(self, identifier: str, **options: Any) -> aiomqtt.Client:
        """A client for one connection. `options` are those of aiomqtt.Client."""
        return aiomqtt.Client(
            self.host,
            self.port,
            identifier=identifier,
            username=self.username,
            password=self.password,
            tls_context=ssl.create_default_context() if self.tls else None,
            **options,
        )


def backoff(random: Random, first_s: float = 1.0, longest_s: float = 60.0) -> Iterator[float]:
    """Delays before the next attempts, without end: anything up to a ceiling that doubles.

    "Full jitter" of Brooker (2015), Exponential backoff and jitter: after an outage, boxes that
    lost their broker together don't come back together.
    """
    ceiling = first_s
    while True:
        yield random.uniform(0.0, ceiling)
        ceiling = min(longest_s, 2 * ceiling)
