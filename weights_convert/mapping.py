"""The mapping between two namings of the same weights: explicit, strict, both ways.

A table of rules defines where every tensor goes. Each key of the source belongs to
exactly one rule, each target is filled exactly once, and shapes agree; whatever does
not is listed in one error. Every rule has an inverse, so the same table converts back.
"""

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property

import numpy as np
from jaxtyping import Shaped

from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.transforms import KEEP, Transform

Shape = tuple[int, ...]

_LISTED = 20  # offenders of a kind that an error names
_FIELD = re.compile(r"\{(\w+)(?::([^{}]+))?\}")


@dataclass(frozen=True)
class Pattern:
    r"""A name with captures: `blocks.{i}.norm{n:1|2}.weight`.

    `{i}` matches a number; `{n:REGEX}` what the expression matches. All other
    characters match themselves, and the whole name must match.
    """

    template: str

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the captures, in alphabetical order."""
        return tuple(sorted(match[1] for match in _FIELD.finditer(self.template)))

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        parts, end = [], 0
        for match in _FIELD.finditer(self.template):
            parts.append(re.escape(self.template[end : match.start()]))
            parts.append(f"(?P<{match[1]}>{match[2] or '[0-9]+'})")
            end = match.end()
        return re.compile("".join(parts) + re.escape(self.template[end:]))

    def match(self, key: str) -> dict[str, str] | None:
        """The captures, or None if `key` is another name."""
        found = self._regex.fullmatch(key)
        return found and found.groupdict()

    def fill(self, captures: Mapping[str, str]) -> str:
        """The name with these captures."""
        return _FIELD.sub(lambda match: captures[match[1]], self.template)


@dataclass(frozen=True)
class Rule:
    """Where tensors of one kind go; made by `rule` and `drop`.

    Several sources are joined along the first axis, and several targets are its equal
    parts, in order: PyTorch's `in_proj_weight` is three projections in one tensor.

    Attributes:
      sources: names before.
      targets: names after; none if the tensor is dropped.
      transform: layout change of every target, its `forward` leading there.
      reason: why a dropped tensor is not needed.
      backwards: the rule runs from the layout after to the layout before.
    """

    sources: tuple[Pattern, ...]
    targets: tuple[Pattern, ...]
    transform: Transform = KEEP
    reason: str = ""
    backwards: bool = False

    def __post_init__(self) -> None:
        names = {pattern.names for pattern in (*self.sources, *self.targets)}
        if len(names) > 1 or any(len(set(n)) < len(n) for n in names):
            raise ValueError(
                f"got the captures {sorted(names)} in {self}, expected the same, each "
                "once, in every name of a rule"
            )

    @property
    def inverse(self) -> "Rule":
        """The rule that undoes this one exactly."""
        return replace(
            self,
            sources=self.targets,
            targets=self.sources,
            backwards=not self.backwards,
        )

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Turns one array per source into one array per target."""
        if self.backwards:
            arrays = [self.transform.backward(array) for array in arrays]
        whole = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        parts = (
            [whole] if len(self.targets) == 1 else np.split(whole, len(self.targets))
        )
        return parts if self.backwards else [*map(self.transform.forward, parts)]


def rule(
    source: str | tuple[str, ...],
    target: str | tuple[str, ...],
    transform: Transform = KEEP,
) -> Rule:
    """One line of a mapping table; names are templates, see `Pattern`.

    A capture's expression is written once, in any of the names, and holds in all.
    """
    sides = [(side,) if isinstance(side, str) else side for side in (source, target)]
    fields = [
        match for side in sides for name in side for match in _FIELD.finditer(name)
    ]
    kinds = {match[1]: match[2] for match in fields if match[2]}
    if clash := {m[0] for m in fields if m[2] not in (None, kinds.get(m[1]))}:
        raise ValueError(f"got another expression in {clash} of a rule: write it once")

    def pattern(template: str) -> Pattern:
        spelled = {name: f"{{{name}:{kind}}}" for name, kind in kinds.items()}
        return Pattern(_FIELD.sub(lambda m: spelled.get(m[1], m[0]), template))

    sources, targets = (tuple(map(pattern, side)) for side in sides)
    return Rule(sources, targets, transform)


def drop(source: str, reason: str) -> Rule:
    """A tensor that the target has no place for, and why that is right."""
    return Rule((Pattern(source),), (), reason=reason)


def invert(rules: Sequence[Rule]) -> list[Rule]:
    """The table of the way back; what the table drops is not restored."""
    return [each.inverse for each in rules if each.targets]


@dataclass(frozen=True)
class Move:
    """One rule with its captures filled in."""

    rule: Rule
    sources: tuple[str, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What a table does to one file.

    Attributes:
      moves: every conversion, in the file's order.
      dropped: dropped keys and the reason.
      unused: keys that only `allow_unused` lets pass.
    """

    moves: tuple[Move, ...]
    dropped: dict[str, str]
    unused: tuple[str, ...]


def run_shapes(rule: Rule, shapes: Sequence[Shape]) -> list[Shape]:
    """What `Rule.run` makes of arrays of these shapes.

    Raises:
      ValueError: the rule does not apply to them.
    """
    # Arrays of one repeated byte: shapes without memory.
    byte = np.zeros((), np.uint8)
    made = rule.run([np.broadcast_to(byte, shape) for shape in shapes])
    return [array.shape for array in made]


def find_moves(key: str, rules: Sequence[Rule]) -> list[Move]:
    """Every rule that `key` belongs to, filled in: one in a sound table."""
    moves = []
    for each in rules:
        found = [pattern.match(key) for pattern in each.sources]
        for captures in (match for match in found if match is not None):
            names = [
                [p.fill(captures) for p in s] for s in (each.sources, each.targets)
            ]
            moves.append(Move(each, *map(tuple, names)))
    return moves


def plan_moves(
    source_shapes: Mapping[str, Shape],
    rules: Sequence[Rule],
    target_shapes: Mapping[str, Shape] | None,
    allow_unused: Sequence[str] = (),
) -> Plan:
    """Decides where every tensor goes, without reading any.

    Args:
      source_shapes: all tensors of the file.
      rules: the mapping table.
      target_shapes: all tensors wanted; None if whatever the table gives is wanted.
      allow_unused: globs (`backbone.mask_*`) of keys that need not lead to a target.

    Raises:
      ValueError: lists all keys with no rule or several, targets not filled, unknown
        or filled twice, and shapes that disagree.
    """
    moves: dict[Move, None] = {}
    problems = _Problems()
    dropped, unused = {}, []
    for key in source_shapes:
        found = find_moves(key, rules)
        optional = any(fnmatchcase(key, glob) for glob in allow_unused)
        known = target_shapes is None or any(
            target in target_shapes for move in found for target in move.targets
        )
        if len(found) > 1:
            problems.several.append(key)
        elif found and not found[0].targets:
            dropped[key] = found[0].rule.reason
        elif optional and not (found and known):
            unused.append(key)
        elif found:
            moves[found[0]] = None
        else:
            problems.unmatched.append(key)
    problems.check(list(moves), source_shapes, rules, target_shapes)
    return Plan(tuple(moves), dropped, tuple(unused))


def apply_rules(
    source: Mapping[str, LazyTensor],
    rules: Sequence[Rule],
    target_shapes: Mapping[str, Shape] | None,
    allow_unused: Sequence[str] = (),
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Converts a file's tensors, one at a time, after `plan_moves` finds no fault.

    Args:
      source: all tensors of the file.
      rules: the mapping table, or `invert(table)` for the way back.
      target_shapes: see `plan_moves`.
      allow_unused: see `plan_moves`.

    Returns:
      Contiguous arrays of the source's types by target name.

    Raises:
      ValueError: see `plan_moves`; or a tensor cannot be read.
    """
    shapes = {key: tensor.shape for key, tensor in source.items()}
    filled = {}
    for move in plan_moves(shapes, rules, target_shapes, allow_unused).moves:
        arrays = move.rule.run([source[key].read() for key in move.sources])
        for target, array in zip(move.targets, arrays, strict=True):
            filled[target] = np.asarray(array, order="C")
    return filled


@dataclass
class _Problems:
    """Everything wrong with a plan, by kind."""

    several: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    unfilled: list[str] = field(default_factory=list)

    def check(
        self,
        moves: Sequence[Move],
        source_shapes: Mapping[str, Shape],
        rules: Sequence[Rule],
        target_shapes: Mapping[str, Shape] | None,
    ) -> None:
        """Completes the lists and raises if any is not empty."""
        filled = Counter(target for move in moves for target in move.targets)
        self.twice = [target for target, count in filled.items() if count > 1]
        missing = {}
        for move in moves:
            absent = [key for key in move.sources if key not in source_shapes]
            if absent:
                self.incomplete += [f"{key} (for {move.targets[0]})" for key in absent]
                missing |= dict.fromkeys(absent)
            else:
                self._compare(move, source_shapes, target_shapes)
        if target_shapes is not None:
            self.unknown = [target for target in filled if target not in target_shapes]
            unfilled = [target for target in target_shapes if not filled[target]]
            back = invert(rules)
            wanted = {target: _targets(target, back) for target in unfilled}
            self.unfilled = [_from(*item) for item in wanted.items()]
            missing |= dict.fromkeys(key for keys in wanted.values() for key in keys)
        self._raise(list(missing))

    def _compare(
        self,
        move: Move,
        source_shapes: Mapping[str, Shape],
        target_shapes: Mapping[str, Shape] | None,
    ) -> None:
        shapes = [source_shapes[key] for key in move.sources]
        came = " and ".join(f"{k} {source_shapes[k]}" for k in move.sources)
        try:
            made = run_shapes(move.rule, shapes)
        except ValueError as error:
            self.shapes.append(f"{came} → {', '.join(move.targets)}: {error}")
            return
        for target, shape in zip(move.targets, made, strict=True):
            wanted = (target_shapes or {}).get(target, shape)
            if tuple(wanted) != shape:
                self.shapes.append(
                    f"{came} → {target} {shape}, expected {tuple(wanted)}"
                )

    def _raise(self, missing: list[str]) -> None:
        kinds = {
            "match no rule": [_near(k, missing) for k in self.unmatched[:_LISTED]]
            + self.unmatched[_LISTED:],
            "match several rules": self.several,
            "are missing from the file": self.incomplete,
            "are not part of the target": self.unknown,
            "would be filled twice": self.twice,
            "have another shape": self.shapes,
            "are not filled": self.unfilled,
        }
        report = [_section(title, names) for title, names in kinds.items() if names]
        if report:
            raise ValueError(
                "got weights that do not fit the mapping, expected every tensor to "
                "have its place: check that file and architecture belong together, or "
                "name what may be ignored with --allow-unused\n" + "\n".join(report)
            )


def _targets(key: str, rules: Sequence[Rule]) -> list[str]:
    return [target for move in find_moves(key, rules) for target in move.targets]


def _from(target: str, sources: list[str]) -> str:
    return f"{target} (from {', '.join(sources)})" if sources else f"{target} (no rule)"


def _near(key: str, missing: list[str]) -> str:
    near = difflib.get_close_matches(key, missing, 1)
    return f"{key} (did you mean {near[0]}?)" if near else key


def _section(title: str, names: list[str]) -> str:
    more = [f"  … and {len(names) - _LISTED} more"] if len(names) > _LISTED else []
    lines = [f"  {name}" for name in names[:_LISTED]] + more
    return "\n".join([f"{len(names)} {title}:", *lines])
