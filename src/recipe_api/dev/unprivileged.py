"""Runs PostgreSQL as another user if this process is root, as in many containers: PostgreSQL refuses to run as root.

The usual way makes every parent folder (`/root` too) accessible to all users and adds an account to the system. Here
the program runs as `nobody`, or as the user who already owns its data, and keeps one ambient capability,
CAP_DAC_OVERRIDE, with which it can read its binaries and data anywhere. The command of an ordinary user is unchanged.

PostgreSQL's programs also check their binaries with `access(2)`, which ignores the capabilities of a process that is
not root, unless SECBIT_NO_SETUID_FIXUP is set (`access_override_creds` in Linux's fs/open.c). Without that bit initdb
reports "program postgres is needed by initdb but was not found" in a folder that only root may enter.

`setpriv` from util-linux, which is part of every Debian, sets all of this.
"""

import os
import pwd
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

from recipe_api.dev.errors import DevError


def check_owner(data: Path) -> None:
    """Check that this process may use the folder `data`.

    Raises:
        DevError: The folder belongs to another user.
    """
    owner = data.stat().st_uid
    if os.geteuid() not in {0, owner}:
        raise DevError(f"{data} belongs to another user (uid {owner}); remove it, or choose another folder with --data")


def unprivileged(command: Sequence[str], *, data: Path, parent_death_signal: signal.Signals) -> list[str]:
    """Wrap `command` so that it runs as the owner of the folder `data`; if that is root, `nobody` becomes the owner.

    The kernel sends the program `parent_death_signal` when its parent exits. This has to be set again here, because a
    change of user clears it.

    Raises:
        DevError: This process is root, and the system has no `setpriv`.
    """
    if os.geteuid() != 0:
        return list(command)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise DevError(
            "PostgreSQL does not run as root, and setpriv (util-linux) is missing; run this as an ordinary user"
        )
    if data.stat().st_uid == 0:
        _give_to_nobody(data)
    owner = data.stat()
    return [
        *(setpriv, f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"),
        *("--securebits=+no_setuid_fixup", "--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"),
        f"--pdeathsig={parent_death_signal.name.removeprefix('SIG')}",
        *command,
    ]


def _give_to_nobody(data: Path) -> None:
    """Change the owner of `data` and of everything in it, because all of a copy made by root belongs to root."""
    nobody = pwd.getpwnam("nobody")
    for folder, _, files in os.walk(data):
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        for name in files:
            os.chown(Path(folder, name), nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
