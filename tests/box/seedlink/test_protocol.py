"""SeedLink as a server, without a socket: what commands mean, and that no bytes can harm."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymseed import MS3Record

from box.record_store import Stream
from box.seedlink.info import ITEMS_3, ITEMS_4, Client, Info, Station
from box.seedlink.protocol import (
    LONGEST_LINE,
    MOST_REQUESTS,
    MOST_SELECTORS,
    Request,
    ServerSession,
    StationFilter,
    packet,
)
from box.seedlink.selectors import SelectorError, Selectors, parse_time
from ringbuffer.segment import NS

NEWEST = {"XX.ABC": 0x2000010, "XX.DEF": 7, "YY.ABC": 5}
OLDEST = {"XX.ABC": 0x1F00000, "XX.DEF": 1, "YY.ABC": 1}
CHANNELS = ["XX.ABC.00.HHZ", "XX.ABC.00.HHN", "XX.ABC..HHZ", "XX.ABC.10.BHZ"]


class Box:
    """What a session asks of a server."""

    organization = "a box"
    stations = tuple(NEWEST)

    def newest(self, station_id: str) -> int:
        return NEWEST[station_id]

    def oldest(self, station_id: str) -> int:
        return OLDEST[station_id]

    def info(
        self, protocol: int, item: str, wants: StationFilter, trusted: bool
    ) -> tuple[bytes, bool]:
        streams = {c: Stream(0, NS) for c in CHANNELS if wants.has_channel(c)}
        stations = [
            Station(s, OLDEST[s], NEWEST[s] + 1, streams) for s in filter(wants.has, NEWEST)
        ]
        clients = [Client("::1", 5, 0, "swarm/3", 2, 3)] if trusted else None
        return Info("a box", 0, NS, stations, clients).packets(protocol, item)


def session(*lines: str, trusted: bool = False) -> tuple[ServerSession, list[str]]:
    """A session after some commands, and the reply to each."""
    one = ServerSession(Box(), trusted)
    return one, [one.receive(f"{line}\r\n".encode()).decode("latin-1").strip() for line in lines]


def requested(*lines: str) -> Request:
    """What follows from the commands of one station."""
    one, replies = session(*lines)
    assert one.streaming, replies
    [request] = one.requests
    return request


def test_hello_says_what_is_spoken_in_two_lines_short_enough_for_old_clients() -> None:
    _, [reply] = session("HELLO")
    first, second = reply.split("\r\n")
    assert first.startswith("SeedLink v4.0 (diting-smart-box/")
    assert {"SLPROTO:3.1", "SLPROTO:4.0"} <= set(first.split("::")[1].split())
    assert second == "a box"
    assert len(first) < 100  # of libslink's buffer


def test_a_conversation_of_protocol_3_with_several_stations() -> None:
    one, replies = session(
        "HELLO",
        "STATION ABC XX",
        "SELECT 00HH?.D",
        "SELECT !00HHN",
        "DATA 00000F",
        "STATION NONE XX",
        "SELECT HHZ",
        "DATA",
        "STATION DEF XX",
        "FETCH",
        "END",
    )
    assert replies[1:] == ["OK"] * 4 + ["ERROR"] * 3 + ["OK"] * 2 + [""]
    assert one.streaming
    abc, other = one.requests
    assert [abc.selectors.match(c) for c in CHANNELS] == [True, False, False, False]
    assert abc.after == {"XX.ABC": 0x200000F - 1}
    assert other.after == {"XX.DEF": 0}
    assert (abc.dialup, other.dialup) == (False, True)


def test_a_conversation_of_protocol_4() -> None:
    one, replies = session(
        "HELLO",
        "SLPROTO 4.0",
        "USERAGENT slinktool/4.5 libslink/3.1",
        "STATION XX_NONE",
        "SELECT *",
        "STATION XX_ABC",
        "SELECT",
        "SELECT 00_*.2D",
        "SELECT !*_H_H_N",
        "SELECT *_B_*:native",
        "SELECT *:3",
        "DATA 33554433",
        "STATION *_ABC",
        "DATA 12",
        "DATA ALL 2019-07-04T16:50:00Z 2019-07-04T16:51:00.5Z",
        "END",
    )
    words = [[*reply.split(), "", ""][reply.startswith("ERROR")] for reply in replies[1:]]
    refused = {2: "ARGUMENTS", 3: "UNEXPECTED", 5: "ARGUMENTS", 9: "ARGUMENTS", 12: "ARGUMENTS"}
    assert words == [refused.get(i, "OK") for i in range(14)] + [""]
    assert one.agent == "slinktool/4.5 libslink/3.1"
    first, second = one.requests
    assert (first.stations, second.stations) == (["XX.ABC"], ["YY.ABC"])  # not twice
    assert first.after == {"XX.ABC": 33554432}
    assert [first.selectors.match(c) for c in CHANNELS] == [True, False, False, True]
    assert second.after == {"YY.ABC": 0}
    start_ns = 1562259000 * NS
    assert (second.start_ns, second.end_ns) == (start_ns, start_ns + 60 * NS + NS // 2)


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n", "\r\n\r\n \r\n"])
def test_lines_may_end_in_any_way_and_come_in_any_pieces(end: str) -> None:
    commands = end.join(["hello", "station ABC XX", "select HHZ", "data", "end", ""]).encode()
    whole = ServerSession(Box())
    replies = whole.receive(commands)
    for size in (1, 2, 7):
        torn = ServerSession(Box())
        parts = [torn.receive(commands[i : i + size]) for i in range(0, len(commands), size)]
        assert b"".join(parts) == replies
        assert torn.requests == whole.requests
    assert replies.endswith(b"a box\r\nOK\r\nOK\r\nOK\r\n")
    assert whole.bad == 0


def test_a_line_of_nothing_but_separators_is_none() -> None:
    one = ServerSession(Box())
    assert one.receive(b"\x1c\r\n \t\r\n\x1f\x0b\n") == b""
    assert one.bad == 0


def test_uni_station_mode_is_that_of_the_first_station_and_begins_at_once() -> None:
    one, replies = session("SELECT HHZ", "DATA 000010")
    assert replies == ["OK", ""]
    assert one.streaming
    [request] = one.requests
    assert request.after == {"XX.ABC": 0x200000F}
    assert request.selectors.match("XX.ABC.00.HHZ")
    assert not request.selectors.match("XX.ABC.00.HHN")


@pytest.mark.parametrize(
    ("command", "after"),
    [
        ("DATA", 0x2000010),
        ("DATA -1", 0x2000010),
        ("DATA 000011", 0x2000010),  # what a client asks that has everything
        ("DATA 000010", 0x200000F),
        ("DATA 0x10", 0x200000F),  # obspy
        ("DATA 0x1000010", 0x200000F),  # obspy, behind FFFFFF
        ("DATA FFFFFF", 0x1FFFFFE),
        ("DATA 000012", 0x1000011),  # never given: behind the ring, so all that there is
        ("FETCH", 0x1EFFFFF),
        ("TIME 2019,7,4,16,50,0", 0x1EFFFFF),
    ],
)
def test_sequence_numbers_of_24_bits_are_those_nearest_below_the_next(
    command: str, after: int
) -> None:
    assert requested("STATION ABC XX", command, "END").after == {"XX.ABC": after}


@pytest.mark.parametrize(
    ("command", "after"),
    [
        ("DATA", 7),
        ("DATA 8", 7),
        ("DATA 3", 2),
        ("DATA 0", -1),
        ("DATA 9000000000", 7),  # in the future: the next
        ("DATA ALL", 0),
        ("SELECT *", 7),  # nothing said
    ],
)
def test_sequence_numbers_of_64_bits(command: str, after: int) -> None:
    assert requested("SLPROTO 4.0", "STATION XX_DEF", command, "END").after == {"XX.DEF": after}


@pytest.mark.parametrize(
    ("text", "channels"),
    [
        ("HHZ", [0, 2]),
        ("00HHZ", [0]),
        ("00HHZ.D", [0]),
        ("HHZ.E", []),
        ("??HHZ", [0, 2]),
        ("--HHZ", [2]),
        ("?0HH?", [0, 1]),
        ("10:BHZ", [3]),
        (".D", [0, 1, 2, 3]),
        ("HH*", [0, 1, 2]),
        ("!HHZ", [1, 3]),
        ("!.L", [0, 1, 2, 3]),
    ],
)
def test_selectors_of_protocol_3(text: str, channels: list[int]) -> None:
    selectors = Selectors()
    selectors.add(text, 3)
    assert [i for i, channel in enumerate(CHANNELS) if selectors.match(channel)] == channels


@pytest.mark.parametrize(
    ("text", "channels"),
    [
        ("*", [0, 1, 2, 3]),
        ("_H_H_Z", [2]),
        ("*_H_H_Z", [0, 2]),
        ("00_H_H_?", [0, 1]),
        ("*.2", [0, 1, 2, 3]),
        ("*.3", []),
        ("*.?D:native", [0, 1, 2, 3]),
        ("!*_B_*", [0, 1, 2]),
        ("!*.2L", [0, 1, 2, 3]),
    ],
)
def test_selectors_of_protocol_4(text: str, channels: list[int]) -> None:
    selectors = Selectors()
    selectors.add(text, 4)
    assert [i for i, channel in enumerate(CHANNELS) if selectors.match(channel)] == channels


@pytest.mark.parametrize("text", ["", "!", "HH", "HHZZZZ", "(.*)", "HHZ.Q", "..", "[HHZ]"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(SelectorError):
        Selectors().add(text, 3)


def test_times_are_read_to_the_nanosecond_and_nonsense_is_refused() -> None:
    time = datetime(2019, 7, 4, 16, 50, 5, tzinfo=UTC)
    seconds = int(time.timestamp()) * NS
    for text, beyond in {
        "2019,07,04,16,50,05": 0,
        "2019,7,4,16,50,5": 0,
        "2019,7,4,16,50,5.25": NS // 4,
        "2019-07-04T16:50:05Z": 0,
        "2019-07-04T16:50:05.000000001Z": 1,
    }.items():
        assert parse_time(text) == seconds + beyond
    for text in (
        "2019",
        "2019,13,1,0,0,0",
        "2019,1,1,0,0,60",
        "now",
        "2019-02-30T00:00:00Z",
        "٢٠١٩",
    ):
        with pytest.raises(SelectorError):
            parse_time(text)


@pytest.mark.parametrize("separator", [" ", ","])
def test_a_window_of_protocol_3(separator: str) -> None:
    window = f"2019,7,4,16,50,0{separator}2019,7,4,16,51,0"
    request = requested("STATION ABC XX", f"TIME {window}", "END")
    assert (request.start_ns, request.end_ns) == (1562259000 * NS, 1562259060 * NS)
    assert not request.dialup


def test_nothing_but_info_and_goodbye_is_heard_while_data_flow() -> None:
    one, _ = session("STATION ABC XX", "DATA", "END")
    for line in ("HELLO", "STATION DEF XX", "DATA 1", "END", "nonsense"):
        assert one.receive(f"{line}\r\n".encode()) == b""
    assert one.bad == 5
    assert one.receive(b"INFO ID\r\n").startswith(b"SLINFO  ")
    assert not one.closed
    one.receive(b"BYE\r\nINFO ID\r\n")
    assert one.closed


def test_in_batch_mode_there_are_no_replies() -> None:
    one, replies = session("BATCH", "STATION NONE XX", "STATION ABC XX", "SELECT X", "DATA", "END")
    assert replies == ["OK", "", "", "", "", ""]
    assert [request.stations for request in one.requests] == [["XX.ABC"]]


def test_what_is_not_there_is_refused_with_its_code() -> None:
    _, replies = session(
        "SLPROTO 5.0",
        "SLPROTO 4.0",
        "AUTH USERPASS me secret",
        "CAT",
        "DATA",
        "END",
        "STATION",
        "STATION XX_ABC XX_DEF",
        "STATION (.*)",
        "STATION XX_ABC",
        "DATA soon",
        "DATA ALL yesterday",
        "DATA ALL 2019-07-04T16:50:00Z 2019-07-04T16:50:00Z 2019-07-04T16:50:00Z",
        "SLPROTO 3.1",
    )
    assert replies[0] == "ERROR"
    codes = [reply.split()[1] for reply in replies[2:9]]
    unsupported, unexpected, arguments = "UNSUPPORTED", "UNEXPECTED", "ARGUMENTS"
    assert codes == [unsupported, unsupported, unexpected, unexpected, *[arguments] * 3]
    assert [reply.split()[1] for reply in replies[10:]] == [*[arguments] * 3, unexpected]
    assert "secret" not in "".join(replies)


def test_the_numbers_of_stations_and_selectors_are_limited() -> None:
    one, replies = session("SLPROTO 4.0", *["STATION XX_*"] * (MOST_REQUESTS + 1))
    assert [r for r in replies if r != "OK"] == ["ERROR LIMIT too many stations"]
    assert [s for r in one.requests for s in r.stations] == ["XX.ABC", "XX.DEF"]
    _, replies = session("SLPROTO 4.0", "STATION XX_*", *["SELECT *"] * (MOST_SELECTORS + 1))
    assert [r for r in replies if r != "OK"] == ["ERROR LIMIT too many selectors"]


def test_a_line_without_an_end_is_cut_off() -> None:
    for rubbish in (b"x" * (LONGEST_LINE + 1), b"x" * (LONGEST_LINE + 1) + b"\r\n"):
        one = ServerSession(Box())
        assert one.receive(rubbish) == b"ERROR\r\n"
        assert (one.closed, one.bad) == (True, 1)
    one = ServerSession(Box())
    assert one.receive(b"AUTH JWT " + b"x" * (LONGEST_LINE - 9) + b"\r\n") == b"ERROR\r\n"
    assert not one.closed


def log_text(packets: str) -> tuple[str, list[str]]:
    """The text in log records, and the headers of their packets."""
    raw = packets.encode("latin-1").ljust(520, b"\0")
    text, heads = b"", []
    for i in range(0, len(raw), 520):
        heads.append(raw[i : i + 8].decode())
        record = MS3Record.parse(raw[i + 8 : i + 520].ljust(512, b"\0"), unpack_data=True)
        text += bytes(record.np_datasamples.tobytes())
    return text.decode(), heads


@pytest.mark.parametrize("item", ITEMS_3)
def test_info_of_protocol_3_is_xml_in_log_records(item: str) -> None:
    one = ServerSession(Box(), trusted=True)
    text, heads = log_text(one.receive(f"INFO {item}\r".encode()).decode("latin-1"))
    assert heads == ["SLINFO *"] * (len(heads) - 1) + ["SLINFO  "]
    root = ElementTree.fromstring(text)
    assert root.get("organization") == "a box"
    names = {node.tag for node in root.iter()} - {"seedlink"}
    wanted = {
        "ID": set(),
        "CAPABILITIES": {"capability"},
        "STATIONS": {"station"},
        "CONNECTIONS": {"station", "connection"},
    }
    assert names == wanted.get(item, {"station", "stream"})


@pytest.mark.parametrize("item", ITEMS_4)
def test_info_of_protocol_4_is_one_packet_of_json(item: str) -> None:
    one = ServerSession(Box(), trusted=True)
    one.receive(b"SLPROTO 4.0\r\n")
    raw = one.receive(f"INFO {item} *_ABC *_H_H_Z.2D\r\n".encode())
    signature, kind, length, sequence, name = struct.unpack_from("<2s2sIQB", raw)
    assert (signature, kind, length, sequence, name) == (b"SE", b"JI", len(raw) - 17, 0, 0)
    told = json.loads(raw[17:])
    assert told["organization"] == "a box"
    if item in ("STATIONS", "STREAMS"):
        assert [s["id"] for s in told["station"]] == ["XX_ABC", "YY_ABC"]
        assert [s["start_seq"] for s in told["station"]] == [0x1F00000, 1]
    if item == "STREAMS":
        assert [s["id"] for s in told["station"][0]["stream"]] == ["00_H_H_Z", "_H_H_Z"]


def test_who_is_connected_is_told_on_this_machine_alone() -> None:
    one = ServerSession(Box(), trusted=False)
    assert b"swarm" not in one.receive(b"INFO CONNECTIONS\r\n")
    one.receive(b"SLPROTO 4.0\r\n")
    answer = one.receive(b"INFO CONNECTIONS\r\n")
    assert answer[2:4] == b"JE"
    assert json.loads(answer[17:])["error"]["code"] == "UNAUTHORIZED"
    answer = one.receive(b"INFO EVERYTHING\r\n")
    assert json.loads(answer[17:])["error"]["code"] == "ARGUMENTS"


def test_packets_carry_their_numbers() -> None:
    record = bytes(range(256)) * 2
    assert packet(3, "XX.ABC", 0x1ABCDEF, record) == b"SLABCDEF" + record
    raw = packet(4, "XX.ABC", (1 << 64) - 3, record)
    assert struct.unpack_from("<2s2sIQB", raw) == (b"SE", b"2D", 512, (1 << 64) - 3, 6)
    assert raw[17:] == b"XX_ABC" + record


NAMES = "HELLO STATION SELECT DATA FETCH TIME END INFO CAT BATCH AUTH SLPROTO BYE ENDFETCH"
ARGUMENTS = (
    "ABC XX XX_ABC XX_* * ??? HHZ 00HH?.D !HHZ *_H_H_Z.2D 4.0 3.1 ALL -1 0x1F FFFFFF ( \x00 ٣ "
    "2019,7,4,16,50,0 2019-07-04T16:50:00Z STREAMS GAPS 999999999999999999999999999999"
)
WORDS = st.sampled_from(f"{NAMES} {ARGUMENTS}".split())
LINES = st.lists(WORDS, max_size=5).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(LINES.map(str.encode), st.binary(max_size=60)), max_size=20), st.data())
def test_no_bytes_can_harm_a_session(lines: list[bytes], data: st.DataObject) -> None:
    """Nothing is raised, what is kept is bounded, and pieces make no difference."""
    content = b"\r\n".join(lines) + b"\r\n"
    whole, torn = ServerSession(Box(), True), ServerSession(Box(), True)
    replies = whole.receive(content)
    cut = data.draw(st.integers(0, len(content)))
    assert torn.receive(content[:cut]) + torn.receive(content[cut:]) == replies
    assert whole.requests == torn.requests
    assert len(whole._buffer) <= LONGEST_LINE
    for request in whole.requests if whole.streaming else []:
        assert set(request.after) == set(request.stations) <= set(NEWEST)
        assert all(-1 <= after <= NEWEST[s] for s, after in request.after.items())
