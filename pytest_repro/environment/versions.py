"""The order of version texts."""

from __future__ import annotations

import re

__all__ = ["VersionRank", "version_rank"]

VersionRank = tuple[tuple[int, ...], int, int, int, int, str]
"""Release numbers, stage, number of the stage, post, dev, and what is left."""

_VERSION = re.compile(
    r"v?(?P<release>[0-9]+(?:\.[0-9]+)*)"
    r"(?:[._-]?(?P<stage>alpha|beta|preview|pre|rc|a|b|c)[._-]?(?P<number>[0-9]*))?"
    r"(?:[._-]?post(?P<post>[0-9]+))?"
    r"(?:[._-]?dev(?P<dev>[0-9]+))?"
    r"(?P<rest>.*)"
)
_STAGES = {"alpha": 1, "a": 1, "beta": 2, "b": 2, "preview": 3, "pre": 3, "rc": 3, "c": 3}
_DEV_OF_A_RELEASE = 0
_FINAL = 4
_NO_POST = -1
_NO_DEV = 1 << 62


def version_rank(version: str) -> VersionRank:
    """What versions are compared by: the order of PEP 440, written short.

    ``2.9.0 < 2.10.0.dev1 < 2.10.0a1 < 2.10.0rc1 < 2.10.0 = 2.10 < 2.10.0.post1``; text that is no
    version comes before all versions.
    """
    found = _VERSION.fullmatch(version.strip().lower())
    if found is None:
        return ((), 0, 0, 0, 0, version)
    release = [int(part) for part in found["release"].split(".")]
    while len(release) > 1 and release[-1] == 0:
        release.pop()
    post = int(found["post"]) if found["post"] else _NO_POST
    dev = int(found["dev"]) if found["dev"] else _NO_DEV
    stage = _STAGES.get(found["stage"] or "", _FINAL)
    if stage == _FINAL and post == _NO_POST and dev != _NO_DEV:
        stage = _DEV_OF_A_RELEASE
    return (tuple(release), stage, int(found["number"] or 0), post, dev, found["rest"])
