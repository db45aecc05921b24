"""RED-PAN for 30 s windows (Liao et al. 2022, doi 10.1109/TGRS.2022.3170783), a TFLite file."""

from __future__ import annotations

from converters.foreign.contract import Contract, Told

SHA256 = "e6568cb152eed348dbbb26587a4d9c2f6b59f60e450d9e11b856d27d1df00810"
RED_PAN = Contract(
    # It was trained on E N Z: in that order it agrees better with analysts.
    components=("E", "N", "Z"),
    outputs=(Told(labels=("P", "S", "noise")), Told(labels=("detection", "no detection"))),
    description="RED-PAN for 30 s (Liao et al. 2022, doi 10.1109/TGRS.2022.3170783)",
    licence="MIT (github.com/tso1257771/RED-PAN)",
)
