"""What a verification found, and what that means for its exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from dicom_etl.checks.flags import SEVERITIES
from dicom_etl.checks.limits import VerifyOptions
from dicom_etl.records import Issue

DONE, DAMAGED, FINDINGS = 0, 1, 3
"""Exit codes: nothing that counts; the bytes are not those that were sealed; findings."""


@dataclass(slots=True, repr=False)
class Outcome:
    """What a verification found; checks are noted as they run.

    Attributes
    ----------
    ok : bool
        Nothing was found that counts.
    file : str
        The dataset, as it was named.
    options : VerifyOptions
        What was asked for.
    source : str
        The SOURCE it was compared with; "" for none.
    sha256 : str
        Of the whole file; "" when the seal is broken.
    samples : int
        Rows looked at.
    damaged : bool
        The bytes are not those that were sealed, or not those expected.
    findings : list of Issue
        What was found; what a person decided to keep is a note.
    notices : list of str
        What a person should mend, though it harms no result.
    """

    file: str
    options: VerifyOptions
    source: str = ""
    sha256: str = ""
    samples: int = 0
    damaged: bool = False
    findings: list[Issue] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    _checks: dict[str, list[Any]] = field(default_factory=dict)

    def note(self, check: Callable[..., Any], issues: Iterable[Issue]) -> bool:
        """Take what a check found; its docstring is the rule that it checks. Return whether it found nothing."""
        found = list(issues)
        name = check.__name__.removeprefix("check_").replace("_", "-")
        if name not in self._checks:
            self._checks[name] = [*_rule(check), 0]
        self._checks[name][2] += len(found)
        self.findings += found
        return not found

    def run(self, check: Callable[..., Iterable[Issue]], *args: Any) -> bool:
        """Run a check and take what it finds; return whether that is nothing."""
        return self.note(check, check(*args))

    @property
    def checks(self) -> int:
        """How many checks were run."""
        return len(self._checks)

    def __repr__(self) -> str:
        counts = Counter(issue.severity for issue in self.findings)
        words = [f"{counts[severity]} {severity}s" for severity in SEVERITIES if counts[severity]]
        state = "damaged" if self.damaged else "ok" if self.ok else "not ok"
        return f"<{self.file}: {state}, {', '.join(words) or 'no findings'} in {self.samples} samples>"

    @property
    def ok(self) -> bool:
        """Whether nothing was found that counts."""
        return self.exit_code == DONE

    @property
    def exit_code(self) -> int:
        """Return 0, 1 for a damaged file, or 3 when a finding is as severe as ``fail_on``."""
        if self.damaged:
            return DAMAGED
        counted = SEVERITIES[: SEVERITIES.index(self.options.fail_on) + 1]
        return FINDINGS if any(issue.severity in counted for issue in self.findings) else DONE

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints."""
        names = ("ok", "file", "sha256", "samples", "source")
        return {name: getattr(self, name) for name in names} | {
            "options": asdict(self.options),
            "checks": [
                {"name": name, "code": code, "rule": rule, "findings": count}
                for name, (code, rule, count) in self._checks.items()
            ],
            "findings": [issue.to_json() for issue in self.findings],
        }


def reading_order(issue: Issue) -> tuple[int, int, str, str]:
    """Return the place of a finding in the order in which a person reads them: severity, sample, code."""
    sample = -1 if issue.sample is None else issue.sample
    return SEVERITIES.index(issue.severity), sample, issue.code, issue.path


def _rule(check: Callable[..., Any]) -> tuple[str, str]:
    """Return the code of a check's findings and its rule: the first paragraph of its docstring, at the colon."""
    paragraph = " ".join((check.__doc__ or "").strip().split("\n\n")[0].split())
    code, _, rule = paragraph.partition(": ")
    return code, rule
