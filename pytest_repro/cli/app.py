"""The table of subcommands: a new one is a new row."""

from __future__ import annotations

from pytest_repro.analysis.doctor import MEANINGS
from pytest_repro.cli import accept, arguments, machine, migrate, renaming
from pytest_repro.cli import keep as keeping
from pytest_repro.cli import look as looking
from pytest_repro.cli.context import Command, Example
from pytest_repro.errors import ExitCode

_UNREADABLE = (ExitCode.BASELINE, "a baseline cannot be read; pytest-repro verify names all")
_DONE = ((ExitCode.OK, "done"), _UNREADABLE)


COMMANDS: tuple[Command, ...] = (
    Command(
        "env",
        "Print this machine's key and every fact.",
        "Print the key under which this machine records and looks for baselines, and every fact\n"
        "that is stored beside them. Facts that are known to change results are marked.",
        arguments.env,
        looking.env,
        (
            Example("pytest-repro env", "The key and the facts, as a table."),
            Example("pytest-repro env --json", "The same for a program."),
            Example("ONEDNN_MAX_CPU_ISA=AVX pytest-repro env", "The key with fewer SIMD levels."),
        ),
        ((ExitCode.OK, "done"),),
    ),
    Command(
        "list",
        "List the checks that have baselines.",
        "List the checks that have baselines, and how many keys hold each; with --report the\n"
        "checks of a run, with their verdicts.",
        arguments.list_,
        looking.list_,
        (
            Example("pytest-repro list", "All checks."),
            Example("pytest-repro list ddim", "The checks with ddim in their id."),
            Example("pytest-repro list --report report --verdict drift", "What drifted in a run."),
        ),
        _DONE,
    ),
    Command(
        "show",
        "Show everything that is stored of one check.",
        "Show everything that is stored of one check: digests, statistics, noise, envelope, when,\n"
        "where and with which facts it was recorded.",
        arguments.show,
        looking.show,
        (
            Example("pytest-repro show tests/test_ddim.py::test_ddim::image", "Under every key."),
            Example("pytest-repro show ddim::image --key avx2", "Under the keys with avx2."),
            Example("pytest-repro show ddim::image --json", "The same for a program."),
        ),
        _DONE,
    ),
    Command(
        "diff",
        "Compare the baselines of two keys, or two runs.",
        "Compare the baselines of two keys, or what two runs saw (their report folders), check\n"
        "by check. Where a tensor is absent the distance is estimated from the sketch and marked\n"
        "with '~'.",
        arguments.diff,
        looking.diff,
        (
            Example(
                "pytest-repro diff avx2-2c/mindspore-2.9.0 avx2-2c/mindspore-2.10.0",
                "Two MindSpore versions on one hardware.",
            ),
            Example(
                "pytest-repro diff sse41-2c/mindspore-2.10.0 avx2-2c/mindspore-2.10.0",
                "Two SIMD levels.",
            ),
            Example(
                "pytest-repro diff report-of-a report-of-b --check unclip",
                "Two runs, the UnCLIP checks only.",
            ),
        ),
        (
            (ExitCode.OK, "every check is exact"),
            (ExitCode.DIFFERENT, "a check differs or is on one side only"),
            _UNREADABLE,
        ),
    ),
    Command(
        "matrix",
        "Show which environments agree on which checks.",
        "Show for every check which keys hold equal bits, and over all checks how often two\n"
        "framework versions and two kinds of hardware agree; with --far also how far they are\n"
        "apart, and whether that is within the tolerance.",
        arguments.matrix,
        looking.matrix,
        (
            Example("pytest-repro matrix", "All checks under all keys; reads index lines only."),
            Example("pytest-repro matrix --check ddim --far", "With distances, for some checks."),
            Example("pytest-repro matrix --far --html matrix.html", "As a heat map to look at."),
        ),
        _DONE,
    ),
    Command(
        "history",
        "Follow one check over framework versions.",
        "Follow one check over framework versions, from the oldest, hardware by hardware: where\n"
        "its bits changed, and by how much.",
        arguments.show,
        looking.history,
        (
            Example("pytest-repro history ddim::image", "Over all versions and hardware."),
            Example("pytest-repro history ddim::image --key avx2-2c", "On one hardware."),
            Example("pytest-repro history ddim::image --json", "The same for a program."),
        ),
        _DONE,
    ),
    Command(
        "sensitivity",
        "Show how much every check amplifies its noise.",
        "Show for every check with an envelope how far its result moves when the noise moves by\n"
        "one unit in the last place: the amplification (relative movement of the result over that\n"
        "of the noise, means over the runs), and how many significant digits survive in every run.",
        arguments.sensitivity,
        looking.sensitivity,
        (
            Example("pytest-repro sensitivity", "All checks, the fewest digits first."),
            Example("pytest-repro sensitivity --check unclip", "The UnCLIP checks."),
            Example(
                "pytest-repro sensitivity --key avx2-2c/mindspore-2.10.0 --json",
                "One key, as JSON.",
            ),
        ),
        _DONE,
    ),
    Command(
        "kernels",
        "Show which kernels compute equal bits under which keys.",
        "Each baseline is recorded with the bits of the operators that diffusion models use,\n"
        "computed on fixed inputs. Rows are operators, columns are keys; equal letters in a row\n"
        "are equal bits. With keys only the operators that differ are listed.",
        arguments.kernels,
        machine.kernels,
        (
            Example("pytest-repro kernels", "The kernels of all keys that recorded them."),
            Example(
                "pytest-repro kernels avx2-2c/mindspore-2.9.0 avx2-2c/mindspore-2.10.0",
                "Which kernels changed bits between two MindSpore versions.",
            ),
            Example("pytest-repro kernels --here avx2-2c", "This machine against a recorded key."),
        ),
        _DONE,
    ),
    Command(
        "doctor",
        "Examine this machine: facts, kernels, noise, store, Hub.",
        "Show every fact and where it is read, whether deterministic computation is in effect,\n"
        "whether each kernel repeats itself (twice in this process, once in a fresh one), whether\n"
        "numpy draws the recorded bits, the nearest stored environment and the kernels that\n"
        "differ from it, whether the store can be written, and whether the Hub answers. If\n"
        "several things are wrong, the exit code is that of the first in the list below.",
        arguments.doctor,
        machine.doctor,
        (
            Example("pytest-repro doctor", "Examine this machine."),
            Example("pytest-repro doctor --json", "The same for a program or a bug report."),
            Example("pytest-repro doctor --framework numpy", "Without MindSpore."),
        ),
        ((ExitCode.OK, "nothing is wrong"), _UNREADABLE, *MEANINGS.items()),
    ),
    Command(
        "policy explain",
        "Say which rule decides about a check, and why.",
        "Say which rule of policy.yaml decides the tolerance, reference, factor and ceiling of a\n"
        "check, and which rules it overrides.",
        arguments.policy_explain,
        keeping.policy_explain,
        (
            Example("pytest-repro policy explain ddim::image", "A stored check, by a part of it."),
            Example(
                "pytest-repro policy explain tests/test_new.py::test_new::image",
                "A check that was never recorded, by its whole id.",
            ),
            Example("pytest-repro policy explain ddim::image --json", "The same for a program."),
        ),
        _DONE,
    ),
    Command(
        "policy check",
        "Find rules that match no stored check.",
        "Read policy.yaml and find rules that match no stored check: misspelt, or left over.",
        arguments.verify,
        keeping.policy_check,
        (
            Example("pytest-repro policy check", "Name the rules without a match."),
            Example("pytest-repro policy check --json", "The same for a program."),
            Example("pytest-repro policy check --baselines tests/baselines", "Of another folder."),
        ),
        (
            (ExitCode.OK, "every rule matches a check"),
            (ExitCode.DIFFERENT, "a rule matches none"),
            _UNREADABLE,
        ),
    ),
    Command(
        "verify",
        "Check the integrity of every manifest and tensor.",
        "Read every manifest and tensor and compare them with each other: digests of values and\n"
        "noise, dtype, shape, statistics, absent tensors, git-lfs pointers, stray files.",
        arguments.verify,
        keeping.verify_,
        (
            Example("pytest-repro verify", "Check the folder baselines."),
            Example("pytest-repro verify --json", "The same for a program."),
            Example("pytest-repro verify --baselines tests/baselines", "Check another folder."),
        ),
        (
            (ExitCode.OK, "everything is whole"),
            (ExitCode.DIFFERENT, "a tensor is absent or was not pulled, or a file is stray"),
            (ExitCode.BASELINE, "a manifest or tensor is broken or untrue"),
        ),
    ),
    Command(
        "accept",
        "Take over what another machine observed.",
        "Take a report folder from another machine, check that it is what the run wrote and that\n"
        "every value was seen bitwise alike at least twice, show what would change, and write the\n"
        "values as baselines of the machine that computed them, never of this one. Shows first;\n"
        "--yes writes.",
        accept.add_arguments,
        accept.accept_,
        (
            Example("pytest-repro accept report", "Show what accepting would change."),
            Example("pytest-repro accept report --check ddim --yes", "Accept some checks."),
            Example("pytest-repro accept report --interactive", "Ask about each check."),
        ),
        (
            (ExitCode.OK, "done, or shown"),
            (ExitCode.DIFFERENT, "a check was refused; the others are done, or shown"),
            (ExitCode.BASELINE, "the report was changed after the run, or cannot be read"),
        ),
    ),
    Command(
        "rename",
        "Let baselines follow a test to its new name or place.",
        "Give the stored checks of a test that was renamed or moved their new ids, under all\n"
        "keys, so that machines which are not at hand need not record again. What is stored stays\n"
        "as it is. Names rules of policy.yaml that are left behind. Shows first; --yes renames.",
        arguments.rename,
        renaming.rename_,
        (
            Example(
                "pytest-repro rename tests/test_ddim.py::test_ddim tests/test_ddim.py::test_image",
                "A test got another name: all its parameters and checks.",
            ),
            Example(
                "pytest-repro rename tests/test_ddim.py tests/ddim/test_ddim.py --yes",
                "A module was moved.",
            ),
            Example("pytest-repro rename tests/models tests/pipelines --yes", "A folder was."),
        ),
        ((ExitCode.OK, "done, or shown"), _UNREADABLE),
    ),
    Command(
        "migrate",
        "Move baselines of schema 1 to their complete keys.",
        "Write every manifest of schema 1 anew under the complete key that its recorded facts\n"
        "give. Tensors and records stay as they are. Shows first; --yes migrates.",
        arguments.migrate,
        migrate.migrate_,
        (
            Example("pytest-repro migrate", "Show what would be migrated."),
            Example("pytest-repro migrate --yes", "Migrate it."),
            Example("pytest-repro migrate --baselines tests/baselines --yes", "Another folder."),
        ),
        ((ExitCode.OK, "done, or shown"), _UNREADABLE),
    ),
    Command(
        "prune",
        "Delete baselines whose test is gone.",
        "Collect the tests with pytest and delete the baselines whose test is gone, under the\n"
        "keys of this machine's kind of hardware: tests for other hardware may be collected only\n"
        "there. --key selects keys of any hardware. Refuses if the collection had errors or was\n"
        "narrowed; keeps what belongs to a module or test that exists but was not collected.\n"
        "With --check delete the checks that are named.\n"
        "Shows first; --yes deletes.",
        arguments.prune,
        keeping.prune,
        (
            Example("pytest-repro prune", "Show what would be deleted."),
            Example("pytest-repro prune --yes", "Delete it."),
            Example(
                "pytest-repro prune --check 'tests/test_ddim.py::test_ddim::*' --yes",
                "Delete every check of a test, whether or not it is there.",
            ),
        ),
        ((ExitCode.OK, "done, or shown"), _UNREADABLE),
    ),
    Command(
        "gc",
        "Delete tensors that no manifest names.",
        "Delete tensors that no manifest names, and temporary files that a killed run left.\n"
        "Shows first; --yes deletes.",
        arguments.gc,
        keeping.gc,
        (
            Example("pytest-repro gc", "Show what would be deleted."),
            Example("pytest-repro gc --yes", "Delete it."),
            Example("pytest-repro gc --older-than-s 0", "Count files of this very moment too."),
        ),
        ((ExitCode.OK, "done, or shown"), _UNREADABLE),
    ),
    Command(
        "completion",
        "Print a completion script for a shell.",
        "Print a script that completes this command in bash, zsh or fish.",
        arguments.completion,
        keeping.completion,
        (
            Example('eval "$(pytest-repro completion bash)"', "Complete in this bash."),
            Example("pytest-repro completion zsh > ~/.pytest-repro.zsh", "Keep it for zsh."),
            Example("pytest-repro completion fish | source", "Complete in this fish."),
        ),
        ((ExitCode.OK, "done"),),
    ),
)
"""Every subcommand, in the order of the help."""
