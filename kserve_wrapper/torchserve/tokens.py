"""Token authorization: the keys that TorchServe (0.11.1 and later) writes to key_file.json, and their renewal.

TorchServe writes the file into its working directory, mode 0600. The inference and the management key expire
(``token_expiration_min``, 60 minutes unless set otherwise); the API key, which renews them, does not. A renewed key
replaces the former at once, so several wrapper processes must not each renew: a lock file beside it lets one do it.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Optional, Tuple

NAME = "key_file.json"
#: Where the wrapper looks, when set: a path, or an empty text for "authorization is off".
VARIABLE = "TS_KSERVE_KEY_FILE"
_PURPOSES = ("inference", "management", "API")
_MAX_BYTES = 65536


@dataclass(frozen=True)
class Key:
    """One key. ``expires`` and ``seen`` are seconds since the epoch; a key without the first does not expire."""

    text: str
    expires: Optional[float]
    seen: float = field(default_factory=time.time, compare=False)

    def expiring(self, now: float) -> bool:
        """Whether the last quarter of its time has begun, or the last minute if that is less."""
        return self.expires is not None and self.expires - now < min(60.0, (self.expires - self.seen) / 4)

    def __repr__(self) -> str:
        return f"Key(…, expires={self.expires})"


class KeyFile:
    """The keys as they stand in the file; without a file there are none, and requests go without.

    Args:
        path: the file, which may appear later; None where authorization is off.
    """

    def __init__(self, path: Optional[Path]) -> None:
        self.path = path
        #: Why the file, though there, gave no keys; for the log. Never holds a key.
        self.problem: Optional[str] = None
        self._keys: Dict[str, Key] = {}
        self._stamp: Optional[Tuple[int, int, int]] = None
        self.refresh()

    def key(self, purpose: str) -> Optional[str]:
        """The key for ``inference``, ``management`` or ``API`` as it is now (one stat), or None."""
        self.refresh()
        found = self._keys.get(purpose)
        return found.text if found else None

    def headers(self, purpose: str) -> Dict[str, str]:
        """What a request for this purpose carries: ``Authorization``, or nothing."""
        key = self.key(purpose)
        return {"Authorization": f"Bearer {key}"} if key else {}

    def refresh(self, force: bool = False) -> bool:
        """Reads the file if it changed (one stat otherwise). True when the keys are others than before."""
        if self.path is None:
            return False
        try:
            status = self.path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp == self._stamp and not force:
                return False
            with self.path.open("rb") as file:
                keys = parse(file.read(_MAX_BYTES))
            self._stamp, self.problem = stamp, None
        except FileNotFoundError:
            keys, self._stamp, self.problem = {}, None, None
        except (OSError, ValueError) as error:
            # TorchServe may be writing it just now: keep what there is and look again at the next call.
            self._stamp, self.problem = None, f"{self.path}: {error}"
            return False
        changed = keys != self._keys
        # A key that stays keeps the moment it was first seen.
        self._keys = {p: self._keys[p] if self._keys.get(p) == key else key for p, key in keys.items()}
        return changed

    def expiring(self) -> Tuple[str, ...]:
        """Purposes whose key soon ends, or has ended."""
        now = time.time()
        return tuple(purpose for purpose, key in self._keys.items() if key.expiring(now))

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Yields True to the one process that may renew now."""
        if self.path is None:
            yield False
            return
        try:
            handle = os.open(str(self.path) + ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError:
            # A directory that only TorchServe may write: renew without the lock.
            yield True
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield True
        except BlockingIOError:
            yield False
        finally:
            os.close(handle)


def parse(raw: bytes) -> Dict[str, Key]:
    """Keys by purpose.

    Raises:
        ValueError: not what TorchServe writes. The message quotes nothing of the content.
    """
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    return {purpose: _key(purpose, value[purpose]) for purpose in _PURPOSES if purpose in value}


def _key(purpose: str, fields: Any) -> Key:
    text = fields.get("key") if isinstance(fields, dict) else None
    # The key goes into a header: nothing but visible ASCII.
    if not isinstance(text, str) or not text or any(not "!" <= c <= "~" for c in text):
        raise ValueError(f"{purpose}.key is not a key")
    return Key(text, _expiry(purpose, fields))


def _expiry(purpose: str, fields: Mapping[str, Any]) -> Optional[float]:
    text = fields.get("expiration time")
    if text is None:
        return None
    try:
        # Java writes up to nine decimals; Python 3.9 reads whole seconds.
        moment = datetime.strptime(str(text)[:19], "%Y-%m-%dT%H:%M:%S")
        return moment.replace(tzinfo=timezone.utc).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"{purpose}.expiration time is not a time") from None


def find(environ: Mapping[str, str], disabled: bool) -> KeyFile:
    """The key file of the TorchServe beside this process.

    TS_KSERVE_KEY_FILE names it; otherwise it lies in the working directory, which the stock image's entry point
    shares with TorchServe.

    Args:
        disabled: config.properties or its environment turn authorization off.
    """
    named = environ.get(VARIABLE)
    if disabled or named == "":
        return KeyFile(None)
    return KeyFile(Path(named) if named else Path.cwd() / NAME)
