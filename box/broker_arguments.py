"""`--broker` and its certificates, for commands that talk to boxes from afar."""

from __future__ import annotations

import argparse

from uplink.configuration import ConfigError, convert
from uplink.connection import BrokerConfig


def add_broker_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--broker", required=True, metavar="URL", help="mqtt[s]://[user:pass@]host[:port]"
    )
    for name, what in (
        ("ca", "authorities to trust"),
        ("cert", "own certificate"),
        ("key", "its key"),
    ):
        parser.add_argument(f"--{name}-file", metavar="FILE", help=f"of the broker: {what}; PEM")


def broker_config(args: argparse.Namespace) -> BrokerConfig:
    """Raises ConfigError."""
    fields = {"url": args.broker}
    for name in ("ca_file", "cert_file", "key_file"):
        if (value := getattr(args, name)) is not None:
            fields[name] = value
    try:
        return convert(fields, BrokerConfig)
    except ConfigError as error:
        raise ConfigError([f"--broker: {problem}" for problem in error.problems]) from None
