"""SeedLink's handshake and packets, without a socket."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from box.sources.live import SourceLost
from box.sources.seedlink_session import Credentials, Packet, Session, Wanted
from ringbuffer.segment import NS

HELLO_3 = "SeedLink v3.3 (2018.001)"
HELLO_4 = "SeedLink v4.0 (2024.001 RingServer) :: SLPROTO:4.0 SLPROTO:3.1 TIME"
SINCE_NS = 1_562_259_599_400_000_000  # 2019-07-04T16:59:59.4
ONE = Wanted("CI.CLC", (".HHZ", "00.HNZ"), 0xFF890C, SINCE_NS)
TWO = Wanted("PB.B917", ("10.EHZ",))


def talk(session: Session, hello: str, answers: dict[str, str] | None = None) -> list[str]:
    """Answer the session's commands, all that are not in `answers` with OK; returns them."""
    commands = []
    while data := session.outgoing():
        assert data.endswith(b"\r\n")
        command = data.decode().strip()
        commands.append(command)
        if command == "HELLO":
            session.receive(f"{hello}\r\nsomewhere\r\n".encode())
        elif command != "END":
            session.receive(f"{(answers or {}).get(command, 'OK')}\r\n".encode())
    return commands


def packet_3(sequence: int, payload: bytes) -> bytes:
    return b"SL%06X" % sequence + payload


def packet_4(sequence: int, payload: bytes, kind: bytes = b"2D", name: bytes = b"CI_CLC") -> bytes:
    return struct.pack("<2s2sIQB", b"SE", kind, len(payload), sequence, len(name)) + name + payload


def streaming(hello: str) -> Session:
    session = Session([ONE])
    talk(session, hello)
    assert session.streaming
    return session


def test_protocol_3_is_spoken_as_its_servers_understand_it() -> None:
    session = Session([ONE, TWO])
    assert talk(session, HELLO_3) == [
        "HELLO",
        "STATION CLC CI",
        "SELECT HHZ.D",
        "SELECT 00HNZ.D",
        "DATA FF890D",
        "STATION B917 PB",
        "SELECT 10EHZ.D",
        "DATA",
        "END",
    ]
    assert (session.protocol, session.streaming, session.refused) == (3, True, [])


def test_protocol_4_is_spoken_as_the_fdsn_writes_it() -> None:
    session = Session([ONE, TWO], credentials=Credentials("me", "secret"))
    assert talk(session, HELLO_4) == [
        "HELLO",
        "SLPROTO 4.0",
        "USERAGENT diting-smart-box",
        "AUTH USERPASS me secret",
        "STATION CI_CLC",
        "SELECT _H_H_Z",
        "SELECT 00_H_N_Z",
        f"DATA {0xFF890D}",
        "STATION PB_B917",
        "SELECT 10_E_H_Z",
        "DATA",
        "END",
    ]
    assert session.protocol == 4


def test_a_token_takes_the_place_of_a_password() -> None:
    session = Session([TWO], credentials=Credentials(token="a.b.c"))
    assert "AUTH JWT a.b.c" in talk(session, HELLO_4)


def test_protocol_3_can_be_insisted_upon_and_4_too() -> None:
    session = Session([TWO], protocol=3)
    assert "SLPROTO 4.0" not in talk(session, HELLO_4)
    with pytest.raises(SourceLost, match="does not speak SeedLink 4"):
        talk(Session([TWO], protocol=4), HELLO_3)


def test_a_sequence_number_wraps_where_protocol_3_does() -> None:
    session = Session([Wanted("CI.CLC", (".HHZ",), 0xFFFFFF)])
    assert "DATA 000000" in talk(session, HELLO_3)


@pytest.mark.parametrize(
    ("hello", "by_sequence", "by_time"),
    [
        (HELLO_3, "DATA FF890D", "TIME 2019,07,04,16,59,59"),
        (HELLO_4, f"DATA {0xFF890D}", "DATA ALL 2019-07-04T16:59:59Z"),
    ],
)
def test_without_a_sequence_number_that_is_accepted_time_says_where_to_go_on(
    hello: str, by_sequence: str, by_time: str
) -> None:
    session = Session([ONE])
    commands = talk(session, hello, {by_sequence: "ERROR LIMIT too old"})
    assert commands[-3:] == [by_sequence, by_time, "END"]
    assert session.refused == [f"{by_sequence}: ERROR LIMIT too old"]
    session = Session([ONE])
    commands = talk(session, hello, {by_sequence: "ERROR", by_time: "ERROR"})
    assert commands[-4:] == [by_sequence, by_time, "DATA", "END"]
    assert by_time in talk(Session([Wanted("CI.CLC", (".HHZ",), None, SINCE_NS)]), hello)


def test_a_station_that_is_refused_costs_no_other() -> None:
    session = Session([ONE, TWO])
    commands = talk(session, HELLO_3, {"STATION CLC CI": "ERROR"})
    assert commands[2:] == ["STATION B917 PB", "SELECT 10EHZ.D", "DATA", "END"]
    assert session.refused == ["STATION CLC CI: ERROR"]
    with pytest.raises(SourceLost, match="gives nothing: STATION B917 PB: ERROR"):
        talk(Session([TWO]), HELLO_3, {"STATION B917 PB": "ERROR"})


def test_a_refused_password_is_told_without_the_password() -> None:
    session = Session([TWO], credentials=Credentials("me", "secret"))
    refusal = {"AUTH USERPASS me secret": "ERROR AUTH who are you"}
    with pytest.raises(SourceLost, match="refuses AUTH: ERROR AUTH who are you") as caught:
        talk(session, HELLO_4, refusal)
    assert "secret" not in str(caught.value) + repr(Credentials("me", "secret"))
    with pytest.raises(SourceLost, match="SeedLink 3 has no AUTH"):
        talk(Session([TWO], credentials=Credentials("me", "secret")), HELLO_3)


@pytest.mark.parametrize("hello", [HELLO_3, HELLO_4])
@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_packets_come_out_whole_however_they_are_torn(hello: str, piece: int) -> None:
    payloads = [bytes([n]) * 512 for n in range(3)]
    if hello == HELLO_3:
        info = b"SLINFO *" + b"x" * 512
        stream = packet_3(0xFFFFFE, payloads[0]) + info + packet_3(0xFFFFFF, payloads[1])
        stream += packet_3(0, payloads[2])
        sequences = [0xFFFFFE, 0xFFFFFF, 0]
    else:
        payloads[1] = payloads[1][:77]
        stream = packet_4(2**40, payloads[0]) + packet_4(0, b"{}", b"JI", b"")
        stream += packet_4(2**40 + 1, payloads[1], b"3D") + packet_4(2**40 + 9, payloads[2])
        sequences = [2**40, 2**40 + 1, 2**40 + 9]
    session = streaming(hello)
    packets = []
    for first in range(0, len(stream), piece):
        session.receive(stream[first : first + piece])
        packets += session.packets()
    assert packets == [Packet(s, p) for s, p in zip(sequences, payloads, strict=True)]


@pytest.mark.parametrize(
    ("hello", "stream"),
    [
        (HELLO_3, b"ERROR\r\nxxxxxxxxxxxxxxx"),
        (HELLO_3, b"SL00000g" + b"x" * 512),
        (HELLO_3, b"END"),
        (HELLO_4, b"SL000000" + b"x" * 512),
        (HELLO_4, struct.pack("<2s2sIQB", b"SE", b"2D", 2**31, 1, 0)),
    ],
)
def test_what_is_no_packet_ends_the_session_after_those_before_it(
    hello: str, stream: bytes
) -> None:
    session = streaming(hello)
    good = packet_3(5, b"r" * 512) if hello == HELLO_3 else packet_4(5, b"r" * 512)
    session.receive(good + stream)
    came = []
    with pytest.raises(SourceLost):
        came.extend(session.packets())
    assert [packet.sequence for packet in came] == [5]


def test_a_sign_of_life_is_asked_for_only_while_data_flow() -> None:
    session = Session([ONE])
    session.outgoing()
    session.keep_alive()
    assert session.outgoing() == b""
    session = streaming(HELLO_3)
    session.keep_alive()
    assert session.outgoing() == b"INFO ID\r\n"


@given(
    st.lists(st.binary(max_size=300) | st.sampled_from([b"\r\n", b"OK\r\n", b"SE2D", b"SL00000A"])),
    st.sampled_from([None, HELLO_3, HELLO_4]),
)
def test_no_bytes_raise_anything_but_the_end_of_the_session(
    pieces: list[bytes], hello: str | None
) -> None:
    session = Session([ONE]) if hello is None else streaming(hello)
    try:
        for piece in pieces:
            session.receive(piece)
            for packet in session.packets():
                assert isinstance(packet.payload, bytes)
    except SourceLost:
        return


def test_times_are_whole_seconds_that_have_begun() -> None:
    session = Session([Wanted("CI.CLC", (".HHZ",), None, 10 * NS - 1)])
    assert "TIME 1970,01,01,00,00,09" in talk(session, HELLO_3)
