"""`diting waveform`: fetch a cut of a station's waveforms from its box, over MQTT."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from typing import TextIO

import aiomqtt

from box.broker_arguments import add_broker_arguments, broker_config
from box.cli import BAD_ANSWER, OK, UsageError
from uplink.connection import BrokerAddress, UplinkError, backoff
from uplink.packets import PacketError, decode_presence
from uplink.topics import parse, topic
from uplink.waveforms import RECORD, WaveformRequest, decode_part, encode_request


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("station", metavar="NET.STA")
    parser.add_argument("start", metavar="START", help="ISO 8601 in UTC: 2026-01-31T12:00:00Z")
    parser.add_argument("end", metavar="END", help="the same; the box says how long a cut may be")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.mseed")
    parser.add_argument(
        "--channels", metavar="LIST", help="HHZ or 00.HHZ, several with commas between; all"
    )
    add_broker_arguments(parser)
    parser.add_argument(
        "--timeout", type=float, default=120.0, metavar="S", help="without a part of it; 120 s"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document and nothing else")


def run(args: argparse.Namespace) -> int:
    fetch = Fetch(args.station, _request(args), broker_config(args).address(), args.timeout)
    if not args.out.parent.is_dir():
        raise UsageError(f"--out: {args.out.parent}: no such folder")
    if not args.json and sys.stderr.isatty():
        fetch.progress = sys.stderr
    asyncio.run(fetch.run())
    content = b"".join(fetch.parts[number] for number in sorted(fetch.parts))
    if not fetch.trouble:
        draft = args.out.with_name(args.out.name + ".part")
        draft.write_bytes(content)
        draft.replace(args.out)
    told = {
        "station_id": args.station,
        "file": None if fetch.trouble else str(args.out),
        "records": len(content) // RECORD,
        "trouble": fetch.trouble,
    }
    if args.json:
        print(json.dumps(told))
    elif fetch.trouble:
        print(f"diting: {args.station}: {fetch.trouble}", file=sys.stderr)
    else:
        print(f"{args.out}: {told['records']} records of {RECORD} bytes")
    return BAD_ANSWER if fetch.trouble else OK


def _request(args: argparse.Namespace) -> WaveformRequest:
    try:
        topic(args.station, "presence")
    except ValueError as error:
        raise UsageError(str(error)) from None
    start, end = _time("START", args.start), _time("END", args.end)
    if end <= start:
        raise UsageError("END: not behind START")
    channels = args.channels.split(",") if args.channels else []
    id = f"{SystemRandom().getrandbits(64):016x}"
    return WaveformRequest(id=id, start=start, end=end, channels=channels)


def _time(name: str, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{name}: {text!r} is not ISO 8601") from None
    if time.tzinfo is None:
        raise UsageError(f"{name}: {text!r} has no zone; UTC ends in Z")
    return time.astimezone(UTC)


class Fetch:
    """Asks, and takes in what comes. The box knows a request by its id: it is asked again after
    each connection of ours, and of the box."""

    def __init__(
        self, station_id: str, request: WaveformRequest, address: BrokerAddress, patience_s: float
    ) -> None:
        """patience_s: how long no part may come."""
        self.parts: dict[int, bytes] = {}
        self.trouble = ""  # why there is no file
        self.progress: TextIO | None = None
        self._station_id = station_id
        self._request = request
        self._address = address
        self._patience_s = patience_s
        self._connected = False
        self._online: bool | None = None  # what the broker says of the box

    async def run(self) -> None:
        """Until everything is there, the box refuses, or nothing comes any more.

        Raises UplinkError where the broker cannot be reached.
        """
        reason = ""
        try:
            async with asyncio.timeout(self._patience_s) as self._timeout:
                for delay_s in backoff(SystemRandom()):
                    try:
                        async with self._address.client("") as client:
                            return await self._converse(client)
                    except aiomqtt.MqttError as error:
                        reason = str(error.__cause__ or error)
                    await asyncio.sleep(delay_s)
        except TimeoutError:
            if not self._connected:
                reason = reason or f"no answer within {self._patience_s:g} s"
                raise UplinkError(f"broker {self._address}: {reason}") from None
            self.trouble = self._why_nothing_came()
        finally:
            if self.progress is not None:
                print(file=self.progress)

    def _why_nothing_came(self) -> str:
        waited = f"within {self._patience_s:g} s"
        if self.parts:
            return f"{len(self.parts)} of {self._count} parts came, and no more {waited}"
        if self._online is None:
            return f"no answer {waited}; the broker knows no such box"
        return f"no answer {waited}" + ("" if self._online else "; the box is offline")

    async def _converse(self, client: aiomqtt.Client) -> None:
        for kind in ("waveform/data", "presence"):
            await client.subscribe(topic(self._station_id, kind), qos=1)
        self._connected = True
        await self._ask(client)
        async for message in client.messages:
            _, kind = parse(message.topic.value) or ("", "")
            with suppress(PacketError):
                if kind == "presence":
                    self._online = decode_presence(bytes(message.payload)).online
                    if self._online and not message.retain:  # it has forgotten what waited
                        await self._ask(client)
                elif self._take(bytes(message.payload)):
                    return

    async def _ask(self, client: aiomqtt.Client) -> None:
        name = topic(self._station_id, "waveform/request")
        await client.publish(name, encode_request(self._request), qos=1)

    def _take(self, payload: bytes) -> bool:
        """Whether that was all."""
        part = decode_part(payload)
        if part.id != self._request.id:
            return False
        if not part.parts:
            self.trouble = part.reason
            return True
        self._count = part.parts
        self.parts[part.part] = part.records
        self._timeout.reschedule(asyncio.get_running_loop().time() + self._patience_s)
        if self.progress is not None:
            print(f"\r{len(self.parts)} of {part.parts} parts", end="", file=self.progress)
        return len(self.parts) == part.parts
