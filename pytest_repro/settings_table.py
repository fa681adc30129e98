"""Every setting once, as a table: `--help`, the ini keys and the reference page are made from it.

Read at every start of pytest, also where nothing of ours is used, so it makes and imports little.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DISTURBANCE_SEED", "TABLE", "Setting"]

DISTURBANCE_SEED = 20_260
"""Seed of the signs of the first disturbed run where nobody names one; any number would do."""


class Setting(NamedTuple):
    """One row of the table.

    Attributes:
        name: Name without the prefix: option ``--repro-<name>``, ini key ``repro_<name>``.
        default: The text that stands when nobody says anything.
        help: The consequence of setting it, one or two sentences.
        metavar: What the option's value is called in ``--help``; ``""`` for a flag.
        kind: Name of the enum in `words` that holds its words, if they are closed.
        ini: Whether an ini key exists.
        flag_values: Literal spellings ``--repro-<name>=<word>`` of a flag that may carry a word.
    """

    name: str
    default: str
    help: str
    metavar: str = ""
    kind: str = ""
    ini: bool = True
    flag_values: tuple[str, ...] = ()

    @property
    def option(self) -> str:
        return f"--repro-{self.name}"

    @property
    def ini_key(self) -> str:
        return f"repro_{self.name.replace('-', '_')}"

    @property
    def choices(self) -> tuple[str, ...]:
        """Allowed words, if closed."""
        if not self.kind:
            return ()
        from pytest_repro.model import words

        return tuple(str(member.value) for member in getattr(words, self.kind))


TABLE: tuple[Setting, ...] = (
    Setting(
        "update",
        "none",
        "Record baselines for this machine's key: `missing` only new ones, `drifted` (the bare "
        "option) also those that differ, `all` measures every selected one again, `ask` shows what "
        "changes and asks on the terminal. Bitwise unchanged entries are left untouched.",
        ini=False,
        flag_values=("missing", "drifted", "all", "ask"),
    ),
    Setting("seed", "0", "Seed of `repro_generator` where the marker names none.", metavar="N"),
    Setting(
        "baselines",
        "baselines",
        "Folder of the baselines, relative to the root folder.",
        metavar="DIR",
    ),
    Setting(
        "reference",
        "any",
        "How far away a reference may be: `own` (this key), `release` (same hardware, another "
        "framework version) or `any` (other hardware of the same kind).",
        metavar="DISTANCE",
        kind="Distance",
    ),
    Setting(
        "weights",
        "seeded",
        "Weights of `repro_ddim` and `repro_unclip`: `seeded` (made from a seed, no network), "
        "`hub@REVISION` (the Hub, safetensors only) or a folder.",
        metavar="SOURCE",
    ),
    Setting(
        "rng",
        "error",
        "What unseeded or global randomness in a marked test does: `error`, `warn` or `off`.",
        metavar="MODE",
        kind="RngMode",
    ),
    Setting(
        "noise",
        "draw",
        "`draw` draws; `store` (with --repro-update) also stores every draw as a tensor; `replay` "
        "feeds the stored draws instead of drawing.",
        metavar="MODE",
        kind="NoiseMode",
    ),
    Setting(
        "runs",
        "2",
        "How many runs must agree bitwise before anything is recorded or called drift.",
        metavar="N",
    ),
    Setting(
        "isolate",
        "off",
        "The second run happens in a fresh process, which has other hash seeds and none of this "
        "one's caches and modules; the runs of `--repro-runs` in this process follow.",
        kind="Switch",
        flag_values=("on",),
    ),
    Setting(
        "envelope",
        "4",
        "How many runs with noise disturbed by one ULP measure the tolerance while recording, at "
        "least. Fewer than 4 cannot show whether they move the result alike; where 4 do not, 16 "
        "are made. 0 measures none.",
        metavar="K",
    ),
    Setting(
        "envelope-seed",
        str(DISTURBANCE_SEED),
        "Seed of the random signs of the first disturbed run; each further one adds 1. Another "
        "seed measures the same envelope again, independently.",
        metavar="N",
    ),
    Setting(
        "trace",
        "steps",
        "What is recorded of a watched pipeline: `off`, `steps` or `cells`.",
        metavar="LEVEL",
        kind="TraceLevel",
    ),
    Setting(
        "framework",
        "auto",
        "Framework in the key: `auto` (MindSpore where installed), `mindspore` or `numpy`.",
        metavar="NAME",
        kind="Framework",
    ),
    Setting(
        "devices",
        "",
        "A device for each worker, e.g. `0-7`: `ASCEND_RT_VISIBLE_DEVICES` is set before MindSpore "
        "is imported; one process takes the first. Without an Ascend the cores are divided into as "
        "many equal shares, and the number of cores in the key becomes that of a share.",
        metavar="LIST",
        ini=False,
    ),
    Setting(
        "report",
        "",
        "Write a report of the run into this folder: report.json, a page to look at, and the "
        "observed tensors of every check that was not exact, which `pytest-repro accept` takes. "
        "A missing check runs again, as a drifted one does.",
        metavar="DIR",
        ini=False,
    ),
    Setting(
        "msprobe",
        "",
        "Run the first watched pipeline under msprobe's debugger with this config.json, which the "
        "report of a drift on an Ascend device holds. For one test: msprobe dumps once a process.",
        metavar="FILE",
        ini=False,
    ),
    Setting(
        "summary",
        "",
        "Write a Markdown summary of the run into this file, for the page of a CI job.",
        metavar="FILE",
        ini=False,
    ),
)
