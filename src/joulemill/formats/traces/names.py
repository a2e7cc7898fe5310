"""What traces call their columns: arrival time with its unit, lengths, sessions, waits, hashes of prefix blocks.

Names are compared without case, spaces, dots and underscores, so that ``ContextTokens``, ``context_tokens`` and
``Context tokens`` are one. Dialects are data: a name that is met in the wild is one more entry here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Time of arrival whose unit the name says.
TIME_UNITS: dict[str, float] = {
    "times": 1.0, "arrivaltimes": 1.0, "arrivals": 1.0, "timestamps": 1.0, "starttimes": 1.0,
    "requeststarts": 1.0, "timesec": 1.0, "arrivaltimesec": 1.0, "timestampsec": 1.0,
    "timems": 1e-3, "arrivaltimems": 1e-3, "timestampms": 1e-3, "starttimems": 1e-3, "arrivalms": 1e-3,
    "timeus": 1e-6, "arrivaltimeus": 1e-6, "timestampus": 1e-6, "arrivalus": 1e-6,
    "timens": 1e-9, "arrivaltimens": 1e-9, "timestampns": 1e-9, "requeststartns": 1e-9, "startns": 1e-9,
    "arrivalns": 1e-9,
}  # fmt: skip
#: Time of arrival that is in seconds by custom, unless the numbers contradict.
TIME_SECONDS = ("time", "t", "arrivaltime", "arrivedat", "arrival", "starttime", "requeststarttime", "creationtime")
#: Time of arrival in an unit that only evidence tells.
TIME_OPEN = ("timestamp", "ts", "date", "datetime", "createdat")
INPUT = (
    "inputtokens",
    "inputtok",
    "inputtoks",
    "inputlength",
    "inputlen",
    "inputsequencelength",
    "prompttokens",
    "prompttoks",
    "prompttokencount",
    "promptlength",
    "promptlen",
    "prompttok",
    "contexttokens",
    "numprefilltokens",
    "prefilltokens",
    "isl",
    "requesttokens",
    "ninputtokens",
    "numinputtokens",
    "inputtokencount",
    "nprompttokens",
    "inputsize",
)
OUTPUT = (
    "outputtokens",
    "outputtok",
    "outputtoks",
    "outputlength",
    "outputlen",
    "outputsequencelength",
    "completiontokens",
    "completiontoks",
    "completiontokencount",
    "completionlength",
    "generatedtokens",
    "generationtokens",
    "numdecodetokens",
    "decodetokens",
    "osl",
    "responsetokens",
    "noutputtokens",
    "numoutputtokens",
    "outputtokencount",
    "outputsize",
    "expectedoutputlen",
)
SESSION = ("session", "sessionid", "conversation", "conversationid", "chatid")
#: Wait between the end of the turn before and this one → its unit. ``delay`` is AIPerf's, in ms.
WAIT: dict[str, float] = {
    "delay": 1e-3, "delayms": 1e-3, "thinktimems": 1e-3, "thinkms": 1e-3, "toolwaitms": 1e-3,
    "thinks": 1.0, "thinktime": 1.0, "thinktimes": 1.0, "toolwaits": 1.0, "toolwait": 1.0, "delays": 1.0,
}  # fmt: skip
HASHES = ("hashids", "blockhashes", "prefixhashes", "hashes", "prefixblocks")
BLOCK = ("blocksize", "hashblocksize", "blocktokens", "blocktok")
#: Mooncake's own names: beside them ``timestamp`` is in ms.
MOONCAKE = ("inputlength", "outputlength", "hashids")


def plain_name(name: str) -> str:
    """``name`` as it is compared.

    >>> plain_name("Context Tokens"), plain_name("arrival_time_ms")
    ('contexttokens', 'arrivaltimems')
    """
    return re.sub(r"[^a-z0-9]", "", name.lower())


def column_of(columns: Iterable[str], wanted: Iterable[str]) -> str | None:
    """The first of the ``wanted`` names that ``columns`` have, as the file writes it."""
    plain = {plain_name(c): c for c in columns}
    return next((plain[w] for w in wanted if w in plain), None)
