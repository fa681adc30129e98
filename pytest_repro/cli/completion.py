"""Completion scripts for bash, zsh and fish, made from the parser itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True, slots=True)
class _Words:
    """What may follow a (sub)command.

    Attributes:
        path: Words that lead here, e.g. ``("policy", "explain")``.
        words: Options, subcommands and choices.
        help: A line about the command.
    """

    path: tuple[str, ...]
    words: tuple[str, ...]
    help: str


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script that completes ``parser``'s program in ``shell`` (one of `SHELLS`)."""
    commands = list(_walk(parser, (), ""))
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](parser.prog, commands)


def _walk(parser: argparse.ArgumentParser, path: tuple[str, ...], text: str) -> Iterator[_Words]:
    words: list[str] = []
    below: list[_Words] = []
    for action in parser._actions:  # noqa: SLF001  argparse shows its actions nowhere else
        words += [option for option in action.option_strings if option.startswith("--")]
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            about = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
            for name, one in action.choices.items():
                words.append(name)
                below += _walk(one, (*path, name), about.get(name, ""))
        elif action.choices:
            words += [str(choice) for choice in action.choices]
    yield _Words(path, tuple(words), text)
    yield from below


def _bash(program: str, commands: list[_Words]) -> str:
    cases = "\n".join(
        f'        "{" ".join(one.path)}") words="{" ".join(one.words)}" ;;' for one in commands
    )
    paths = " ".join(f'"{" ".join(one.path)}"' for one in commands if one.path)
    return f"""# {program} completion for bash: eval "$({program} completion bash)"
_{_identifier(program)}() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" path="" words="" word known
    for word in "${{COMP_WORDS[@]:1:$((COMP_CWORD - 1))}}"; do
        for known in {paths}; do
            if [[ "${{path:+$path }}$word" == "$known" ]]; then path="$known"; break; fi
        done
    done
    case "$path" in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _{_identifier(program)} {program}"""


def _zsh(program: str, commands: list[_Words]) -> str:
    return f"""# {program} completion for zsh: eval "$({program} completion zsh)"
autoload -U +X compinit && compinit
autoload -U +X bashcompinit && bashcompinit
{_bash(program, commands).partition(chr(10))[2]}"""


def _fish(program: str, commands: list[_Words]) -> str:
    lines = [f"# {program} completion for fish: {program} completion fish | source"]
    about = {one.path: one.help for one in commands}
    for one in commands:
        condition = _fish_condition(one)
        for word in one.words:
            text = about.get((*one.path, word), "").replace("'", "")
            shown = f" -d '{text}'" if text else ""
            kind = f"-l {word[2:]}" if word.startswith("--") else f"-f -a {word}"
            lines.append(f"complete -c {program} -n '{condition}' {kind}{shown}")
    return "\n".join(lines)


def _fish_condition(one: _Words) -> str:
    if not one.path:
        return "__fish_use_subcommand"
    return "; and ".join(f"__fish_seen_subcommand_from {word}" for word in one.path)


def _identifier(program: str) -> str:
    return program.replace("-", "_")
