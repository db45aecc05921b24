"""TLS to the broker: which authority to trust, and the box's own certificate and key."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_VERSION, _UTC_TIME = 0xA0, 0x17  # tags of DER
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class CertificateError(ValueError):
    """Certificates that cannot be used: one line with the field, the file and the reason."""


@dataclass(frozen=True)
class Certificates:
    """PEM files. The authority is the system's ones where there is none; a client certificate is
    one (or a chain, its own first) with its key, which has no passphrase."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """With verification of the broker's certificate and name. Raises CertificateError."""
        for field in ("ca_file", "cert_file", "key_file"):
            _read(field, getattr(self, field))
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except ssl.SSLError:
            raise CertificateError(f"ca_file: {self.ca_file}: holds no certificate") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file is not None and self.key_file is not None:
            self._load(context, self.cert_file, self.key_file)
        return context

    def _load(self, context: ssl.SSLContext, cert_file: Path, key_file: Path) -> None:
        if not _PEM.search(_read("cert_file", cert_file)):
            raise CertificateError(f"cert_file: {cert_file}: holds no certificate")
        asked: list[bool] = []  # for a passphrase: without this, on the terminal

        def no_passphrase() -> str:
            asked.append(True)
            return ""

        try:
            context.load_cert_chain(cert_file, key_file, no_passphrase)
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", "") or ""
            if asked:
                raise CertificateError(f"key_file: {key_file}: has a passphrase") from None
            if "MISMATCH" in reason:
                raise CertificateError(f"key_file: {key_file}: not that of {cert_file}") from None
            raise CertificateError(f"key_file: {key_file}: holds no usable key") from None

    def problems(self, now_s: float, ahead_s: float = 0.0) -> list[str]:
        """What is wrong with them at a time (s since 1970), or will be `ahead_s` later, a line
        each."""
        try:
            self.context()
            dated = [(field, getattr(self, field)) for field in ("ca_file", "cert_file")]
            lines = [_out_of_date(field, path, now_s, ahead_s) for field, path in dated if path]
        except CertificateError as error:
            return [str(error)]
        return [line for line in lines if line]


def _read(field: str, path: Path | None) -> str:
    try:
        return "" if path is None else path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise CertificateError(f"{field}: {path}: {error.strerror}") from None


def _out_of_date(field: str, path: Path, now_s: float, ahead_s: float) -> str:
    """For a chain by its first certificate, for authorities where none is valid; "" if it is."""
    try:
        found = _PEM.findall(_read(field, path))
        spans = [validity(ssl.PEM_cert_to_DER_cert(pem)) for pem in found]
    except ValueError:
        raise CertificateError(f"{field}: {path}: holds a damaged certificate") from None
    if field == "cert_file":
        spans = spans[:1]
    if any(begin <= now_s <= end - ahead_s for begin, end in spans):
        return ""
    begin, end = max(spans, key=lambda span: span[1])
    if now_s < begin:
        return f"{field}: {path}: not valid before {_day(begin)}"
    return f"{field}: {path}: {'expired' if end < now_s else 'expires'} on {_day(end)}"


def _day(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M} UTC"


def validity(der: bytes) -> tuple[float, float]:
    """Since when and until when (s since 1970) a certificate is valid. Raises ValueError.

    RFC 5280, 4.1: Certificate ::= SEQUENCE { tbsCertificate, … }; in that: [0] version, serial
    number, signature, issuer, validity.
    """
    (_, certificate), *_ = _elements(der)
    (_, body), *_ = _elements(certificate)
    fields = [content for tag, content in _elements(body) if tag != _VERSION]
    if len(fields) < 4:
        raise ValueError("no certificate")
    begin, end = (_time(tag, content) for tag, content in _elements(fields[3]))
    return begin, end


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element of DER. Raises ValueError where it is cut off."""
    at = 0
    while at < len(content):
        head = content[at : at + 2]
        if len(head) < 2:
            raise ValueError("cut off")
        tag, length = head
        at += 2
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(content[at : at + count], "big")
            at += count
        if at + length > len(content):
            raise ValueError("cut off")
        yield tag, content[at : at + length]
        at += length


def _time(tag: int, content: bytes) -> float:
    text = content.decode("ascii")
    if tag == _UTC_TIME:  # years of two digits: 1950 to 2049
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
