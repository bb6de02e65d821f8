"""Whose scans are in which split: the same person in two is refused, and nobody can read from a data set who it was.

The splits of a data set may be written by several commands, so it has to remember patients. A digest of an ID with its
salt beside it is no secret: there are few enough IDs to try them all. The digests are therefore keyed (HMAC-SHA-256)
with a random key that stays in the user's account, and lie in the working folder .translate, not in the manifest.
Whoever gets the data set alone, the manifest and .translate included, can tell nothing but how many patients there are.
The price: a split that was written from another account or machine cannot be compared, and is refused.
"""

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import uuid
from pathlib import Path
from typing import Any

from translate.data.scans import ScanError

LEDGER = "patients.json"  # in the working folder of the data set
ADVICE = "write all splits with one command, --val-patients says who is in val"


class Ledger:
    """The patients of each split of a data set, as keyed digests.

    Args:
        folder: the working folder of the data set; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LEDGER
        self.key = _key()
        self.splits: dict[str, list[str]] = {}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # none, or damaged: as if nothing was noted
            noted = json.loads(self.path.read_text())
            if self.key is not None and noted["key"] == _name_of(self.key):
                self.splits = {str(split): list(digests) for split, digests in noted["splits"].items()}

    def check(self, patients: dict[str, set[str]], kept: set[str]) -> None:
        """Raise ScanError if a patient is in another split already, or if it cannot be told.

        Args:
            patients: of each split that is about to be written.
            kept: the other splits of the data set, which stay as they are.
        """
        ours = {split: self._digests(names) for split, names in patients.items()}
        for other in sorted(kept):
            if other not in self.splits:
                raise ScanError(
                    f"it cannot be told whether patients are in {other} already: that split was written by another "
                    f"task, or on another machine or account; {ADVICE}"
                )
            for split, digests in ours.items():
                if shared := digests & set(self.splits[other]):
                    raise ScanError(
                        f"{len(shared)} of {len(digests)} patients of {split} are in {other} already: a model would be "
                        f"measured on people that it was trained on; leave their scans out, or {ADVICE}"
                    )

    def claim(self, patients: dict[str, set[str]], kept: set[str]) -> None:
        """Note patients before the first of their slices is written; what an earlier run wrote may still be there."""
        ours = {split: self._digests(names) for split, names in patients.items()}
        self._save({split: sorted(digests | set(self.splits.get(split, ()))) for split, digests in ours.items()}, kept)

    def settle(self, patients: dict[str, set[str]], kept: set[str]) -> None:
        """Note who is in the splits now that they are written."""
        self._save({split: sorted(self._digests(names)) for split, names in patients.items()}, kept)

    def _digests(self, patients: set[str]) -> set[str]:
        if self.key is None:
            return set()
        key = self.key
        return {hmac.new(key, os.fsencode(name), hashlib.sha256).hexdigest()[:32] for name in patients}

    def _save(self, splits: dict[str, list[str]], kept: set[str]) -> None:
        if self.key is None:
            self.path.unlink(missing_ok=True)
            return
        self.splits = {split: digests for split, digests in self.splits.items() if split in kept} | splits
        noted: dict[str, Any] = {"key": _name_of(self.key), "splits": self.splits}
        aside = self.path.with_name(f"aside-{self.path.name}")
        aside.write_text(json.dumps(noted))
        os.replace(aside, self.path)


def _key() -> bytes | None:
    """The key of this account, made when it is needed first; None where the account has no place for it."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    path = Path(state).expanduser() / "translate" / "patients.key"
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{uuid.uuid4().hex}")
            try:
                with open(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                    file.write(secrets.token_bytes(32))
                with contextlib.suppress(FileExistsError):  # another command was quicker
                    os.link(aside, path)
            finally:
                aside.unlink(missing_ok=True)
        return path.read_bytes()
    except (OSError, RuntimeError):  # expanduser raises RuntimeError where there is no home
        return None


def _name_of(key: bytes) -> str:
    return hashlib.sha256(b"name of " + key).hexdigest()[:16]
