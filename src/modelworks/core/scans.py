"""What was found in a file that can run code: the names that it asks for, and who knows them."""

from dataclasses import dataclass, field
from enum import StrEnum


class Danger(StrEnum):
    """What is known of a name, or of a whole file; the worst name decides."""

    CLEAN = "clean"  # every name is on the allow-list
    UNKNOWN = "unknown"  # on no list: opened only on the owner's word (`--trust`)
    DANGEROUS = "dangerous"  # known to run commands, open files..., or a trick: never opened
    UNREADABLE = "unreadable"  # damaged, or a scanner failed: never opened


@dataclass(frozen=True, slots=True)
class Finding:
    """One name in a file.

    Attributes:
        name: `module.name`.
        danger: what the lists say; never UNREADABLE.
        listed: the list that answered: of a framework, `dangerous`, or "" where none knows it.
        reason: of the entry; where none knows it, "".
        second: what the second scanner says: `innocuous`, `suspicious`, `dangerous` or "".
    """

    name: str
    danger: Danger
    listed: str = ""
    reason: str = ""
    second: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """What scanners say of a file; nothing of it was executed.

    Attributes:
        danger: of the whole.
        findings: every name, in order of first appearance.
        problem: what is wrong, in words; "" when clean.
        scanners: name -> version.
        opened: whether the owner's word opened what is unknown.
        refused: whether the problem is one of policy, not of damage.
    """

    danger: Danger
    findings: tuple[Finding, ...] = ()
    problem: str = ""
    scanners: dict[str, str] = field(default_factory=dict)
    opened: bool = False
    refused: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Every name."""
        return tuple(finding.name for finding in self.findings)

    def of(self, danger: Danger) -> tuple[Finding, ...]:
        """The findings of one kind."""
        return tuple(finding for finding in self.findings if finding.danger is danger)
