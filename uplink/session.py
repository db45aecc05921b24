"""A box's connection to its broker, kept up for ever, that empties the outbox."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from random import Random
from typing import Any, NamedTuple

import aiomqtt
import msgspec

from uplink.certificates import Certificates
from uplink.connection import BrokerAddress, Connection
from uplink.outbox import Kind, Outbox, Packet
from uplink.packets import PacketError, Presence, Uplink, decode_presence, encode_json
from uplink.sending import Dispatcher, Pace
from uplink.tasks import end
from uplink.topics import parse, topic

_log = logging.getLogger(__name__)
MOST_WAITING = 1000  # messages from the broker that wait to be handled; further ones are lost
EXPIRES_SOON_S = 21 * 86_400.0  # in which an operator can come by
LAST_SESSION = 2**52  # far beyond any clock: a greater number in a presence is nonsense


@lru_cache(maxsize=8)  # looked at once an hour for all stations of a daemon
def _certificate_problems(certificates: Certificates, now_h: int) -> list[str]:
    found = certificates.problems((now_h + 1) * 3600.0, EXPIRES_SOON_S)  # one may be new
    return [f"broker.{line}" for line in found]


class Subscription(NamedTuple):
    """What is done with messages of one kind that are sent to this station.

    The subscription is of QoS 1 and made anew with each connection; the broker keeps nothing
    meanwhile, so that what has to reach a box that is away is published retained. A message may
    come twice.
    """

    handle: Callable[[bytes, bool], None]  # payload, and whether it is retained; must not block.
    # PacketError is told in the log and forgotten; anything else that it raises ends the session
    most_bytes: int = 65_536  # longer payloads are refused unread


class Session:
    """Publishes what is put in an outbox, with QoS 1, and forgets it on the broker's PUBACK.

    In which order and how fast: see `uplink/sending.py`.

    Each connection has a session number greater than the last. The birth message (presence,
    retained) carries it, and so does the Will, by which the cloud knows the Will of a connection
    that is long replaced. A lost connection is made again for ever, with jittered backoff, and
    what was in flight is sent again: the cloud knows packets by their id.

    `publish` may be called at any time, connected or not. With `async with` the session is started
    and, at the end, stopped.
    """

    def __init__(
        self,
        address: BrokerAddress,
        station_id: str,
        outbox: Outbox,
        *,
        birth: Presence,
        now_ns: Callable[[], int],
        subscriptions: Mapping[str, Subscription] | None = None,
        acknowledged: Callable[[Packet, int], None] = lambda packet, time_ns: None,
        pace: Pace = Pace(),  # noqa: B008 - it cannot be changed
        in_flight: int = 16,
        timeout_s: float = 10.0,
        client_id: str = "",
        random: Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            birth: what the box says of itself; `online` and `session` are filled in here.
            now_ns: the box's clock.
            subscriptions: what this station listens to, by kind ("config/desired").
            acknowledged: called with each packet and the time of the broker's acknowledgement.
            pace: of what is not urgent.
            in_flight: packets on their way at most, before the first is acknowledged.
            timeout_s: without an acknowledgement for so long, the connection is given up.
            client_id: for the broker; by default the station's own.
            random, sleep: of the backoff.
            seconds: the clock of the pace.
        """
        self.connection = Connection(address, random or Random(), sleep)
        self._address = address
        self._station_id = station_id
        self._outbox = outbox
        self._birth = birth
        self._now_ns = now_ns
        self._subscriptions = dict(subscriptions or {})
        self._acknowledged = acknowledged
        self._in_flight = in_flight
        self._dispatcher = Dispatcher(outbox, pace, in_flight, now_ns, seconds)
        self._timeout_s = timeout_s
        self._client_id = client_id or f"diting-{station_id}"
        self._number = 0  # of the connection
        self._wake = asyncio.Event()  # there is something to do for the publishing loop
        self._statements: dict[str, bytes] = {}
        self._stated = asyncio.Event()  # there is a new one
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    @property
    def position(self) -> int:
        """The last position that was published. Raises OutboxError."""
        return self._outbox.position

    @property
    def picks_waiting(self) -> int:
        """Picks that the broker has not acknowledged."""
        return self._outbox.count(Kind.PICK)

    @property
    def problems(self) -> list[str]:
        """What is wrong with the outbox and with certificates, a line each."""
        lines = self._outbox.problems
        now_h = self._now_ns() // 3_600_000_000_000
        if self._address.tls:
            lines = [*lines, *_certificate_problems(self._address.certificates, now_h)]
        return lines

    def answered(self, request: str) -> bool:
        """Whether a request has been answered; see `Packet.answers`. Raises OutboxError."""
        return self._outbox.answered(request)

    def state(self) -> Uplink:
        """How far behind it is, for health. Raises OutboxError."""
        oldest_ns = self._outbox.oldest_ns
        return Uplink(
            waiting=len(self._outbox),
            waiting_bytes=self._outbox.size,
            oldest_s=0 if oldest_ns is None else max(0, self._now_ns() - oldest_ns) // 10**9,
            dropped=self._outbox.dropped + self._outbox.expired,
            session=self._number,
            connections=self.connection.count,
            trouble=self.connection.trouble,
        )

    def subscribe(self, kind: str, subscription: Subscription) -> None:
        """Listen to one more kind of message, from the next connection on: call before `start`."""
        self._subscriptions[kind] = subscription

    def publish(self, packets: Iterable[Packet], position: int = 0) -> list[int]:
        """Put packets in the outbox, to be sent from there. Returns their `seq`.

        A packet that does not say when it was made was made now.

        position: place in the box's ring of what they came from. Raises OutboxError.
        """
        self._check()
        now_ns = self._now_ns()
        made = [p if p.created_ns else replace(p, created_ns=now_ns) for p in packets]
        seqs = self._outbox.put(made, position)
        self._wake.set()
        return seqs

    def state_retained(self, kind: str, payload: bytes) -> None:
        """Have the broker hold this as the newest of its kind: told now, or as soon as there is a
        connection, and anew with each further one. Nothing of it is kept for the next start."""
        self._statements[kind] = payload
        self._stated.set()

    def start(self) -> None:
        self._task = asyncio.create_task(self.connection.keep(self._client, self._serve))

    async def first_connection(self, timeout_s: float) -> None:
        """Wait until the broker has taken the birth message. Raises UplinkError."""
        try:
            await self.connection.first(timeout_s)
        finally:
            self._check()

    async def stop(self, drain_s: float) -> int:
        """Send what is left, but for waveforms, say goodbye, disconnect. Returns the number of
        packets left behind.

        Takes `drain_s` at most, and a second for the goodbye.
        """
        if self._task is None:
            return len(self._outbox)
        self._stopping = True
        self._wake.set()
        nothing_to_do = not self.connection.up and not len(self._outbox)
        await asyncio.wait({self._task}, timeout=0 if nothing_to_do else drain_s)
        task, self._task = self._task, None
        await end([task])
        if not task.cancelled():
            task.result()  # raises what has ended it
        return len(self._outbox)

    async def __aenter__(self) -> Session:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop(drain_s=self._timeout_s)

    def _check(self) -> None:
        if self._task is not None and self._task.done():
            self._task.result()  # raises what has ended it

    def _client(self) -> aiomqtt.Client:
        self._number = self._outbox.next_session(self._now_ns() // 1_000_000_000)
        client = self._address.client(
            self._client_id,
            will=aiomqtt.Will(**self._presence(online=False)),
            timeout=self._timeout_s,
            keepalive=30,
            max_inflight_messages=self._in_flight + 3,  # and a birth or a goodbye, and a statement
            max_queued_incoming_messages=MOST_WAITING,
        )
        client.pending_calls_threshold = self._in_flight + 3
        return client

    def _presence(self, *, online: bool) -> dict[str, Any]:
        presence = Presence(online=False, session=self._number)
        if online:
            presence = msgspec.structs.replace(self._birth, online=True, session=self._number)
        name = topic(self._station_id, "presence")
        return {"topic": name, "payload": encode_json(presence), "qos": 1, "retain": True}

    async def _serve(self, client: aiomqtt.Client) -> None:
        """Publish until told to stop. Raises MqttError when the connection is lost."""
        await self._subscribe(client)
        await client.publish(**self._presence(online=True))
        self.connection.established()
        loops = [
            asyncio.create_task(self._publish_loop(client)),
            asyncio.create_task(self._receive_loop(client)),
            asyncio.create_task(self._state_loop(client)),
        ]
        try:
            done, _ = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
            for loop in done:
                loop.result()
        finally:
            await end(loops)
            # a clean disconnection makes the broker drop the Will: say it ourselves
            with suppress(aiomqtt.MqttError):
                await client.publish(**self._presence(online=False), timeout=1.0)

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        """Picks go out even where the broker lets nothing in."""
        kinds = ["presence", *self._subscriptions]
        codes = await client.subscribe([(topic(self._station_id, kind), 1) for kind in kinds])
        for kind, code in zip(kinds, codes, strict=False):
            number: Any = getattr(code, "value", code)
            if number >= 0x80:
                _log.warning("broker %s: refuses the subscription to %s", self._address, kind)

    async def _state_loop(self, client: aiomqtt.Client) -> None:
        told: dict[str, bytes] = {}
        while True:
            self._stated.clear()
            for kind, payload in list(self._statements.items()):
                if told.get(kind) != payload:
                    name = topic(self._station_id, kind)
                    await client.publish(name, payload, qos=1, retain=True)
                    told[kind] = payload
            await self._stated.wait()

    async def _receive_loop(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:  # ends with the connection
            _, kind = parse(message.topic.value) or ("", "")
            payload = bytes(message.payload)
            try:
                if kind == "presence":
                    await self._own_presence(client, decode_presence(payload), message.retain)
                elif (subscription := self._subscriptions.get(kind)) is not None:
                    if len(payload) > subscription.most_bytes:
                        raise PacketError(f"{kind}: {len(payload)} bytes")
                    subscription.handle(payload, message.retain)
            except PacketError as error:
                _log.warning("%s: refused: %s", self._station_id, error)

    async def _own_presence(self, client: aiomqtt.Client, said: Presence, retained: bool) -> None:
        """Contradict what is wrong in what the broker tells of us, as Sparkplug B has it.

        The Will of a connection that was replaced may come late and overwrite the birth message.
        And where the outbox was lost while the clock was wrong, the numbers began anew below
        those that the cloud has seen: then it's for a connection with a greater one.
        """
        if self._number < said.session <= LAST_SESSION:
            self._outbox.next_session(said.session)
            raise aiomqtt.MqttError(f"session {self._number} is older than {said.session}")
        if not retained and not said.online and not self._stopping:
            await client.publish(**self._presence(online=True))

    async def _publish_loop(self, client: aiomqtt.Client) -> None:
        flying: dict[asyncio.Task[int], Packet] = {}
        self._dispatcher.restart()
        try:
            while True:
                self._wake.clear()
                self._settle(flying)
                for packet in self._dispatcher.take(ending=self._stopping):
                    task = asyncio.create_task(self._deliver(client, packet))
                    task.add_done_callback(lambda _: self._wake.set())
                    flying[task] = packet
                if self._stopping and not flying and self._dispatcher.wait_s is None:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._dispatcher.wait_s):
                        await self._wake.wait()
        finally:
            await end(flying)

    async def _deliver(self, client: aiomqtt.Client, packet: Packet) -> int:
        """Publish one packet. Returns the time of its acknowledgement."""
        await client.publish(packet.topic, packet.payload, qos=1)
        return self._now_ns()

    def _settle(self, flying: dict[asyncio.Task[int], Packet]) -> None:
        """Forget what has been acknowledged; raise what went wrong with any other."""
        landed = [task for task in flying if task.done()]
        self._dispatcher.landed({flying[task].seq for task in landed})
        good = [(flying[task], task.result()) for task in landed if task.exception() is None]
        if good:
            self._outbox.acknowledge(packet.seq for packet, _ in good)
        for packet, time_ns in good:
            self._acknowledged(packet, time_ns)
        for task in landed:
            del flying[task]
            task.result()
