"""An MQTT broker inside this process, for the demo, replays and tests."""

from __future__ import annotations

import asyncio
import logging

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType


class EmbeddedBroker:
    """amqtt on a port of this machine's loopback, open to anyone there.

    It keeps everything in memory and forgets what it holds for a client that is not connected, so
    subscribe before you publish. It also gives a message up when its subscriber is silent for 5 s:
    the loop that they share must not be blocked for so long. For anything that has to last, run
    mosquitto.
    """

    def __init__(self, port: int = 0) -> None:
        """On `port`, or, with 0, on one that the system chooses."""
        self.port = port

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    async def __aenter__(self) -> EmbeddedBroker:
        """Start. Raises OSError where the port is taken."""
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._broker = Broker(
            BrokerConfig(
                # the sockets are ours: amqtt does not tell which port the system chose
                listeners={"default": ListenerConfig(type=ListenerType.EXTERNAL)},
                plugins={"amqtt.plugins.authentication.AnonymousAuthPlugin": {}},
            )
        )
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        await self._broker.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._broker.shutdown()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._broker.external_connected(
            StreamReaderAdapter(reader), StreamWriterAdapter(writer), "default"
        )
