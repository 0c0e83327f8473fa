"""PostgreSQL refuses to run as root, and containers often are root: run it as another user, and change nothing else.

The usual way opens every parent folder (`/root` too) to all users and adds an account to the system. Here the program
runs as `nobody`, or as whoever owns its data already, and keeps one ambient capability, CAP_DAC_OVERRIDE, by which it
reaches its binaries and data wherever they lie. `setpriv` of util-linux, which every Debian has, does that. For an
ordinary user a command stays as it is.
"""

import os
import pwd
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

from recipe_api.dev.errors import DevError


def check_owner(data: Path) -> None:
    """See that this process may use the folder `data`.

    Raises:
        DevError: It is another user's.
    """
    owner = data.stat().st_uid
    if os.geteuid() not in {0, owner}:
        raise DevError(f"{data} belongs to another user (uid {owner}); remove it, or name another folder with --data")


def unprivileged(command: Sequence[str], *, data: Path, dies_by: signal.Signals) -> list[str]:
    """`command` as the owner of the folder `data`, which becomes `nobody` where that is root.

    `dies_by` is the signal that the kernel sends it when its parent ends: a change of user clears that of the parent.

    Raises:
        DevError: This is root, and the system has no `setpriv`.
    """
    if os.geteuid() != 0:
        return list(command)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise DevError("PostgreSQL does not run as root, and there is no setpriv (util-linux); use an ordinary user")
    if data.stat().st_uid == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(data, nobody.pw_uid, nobody.pw_gid)
    owner = data.stat()
    return [
        *(setpriv, f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"),
        *("--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"),
        f"--pdeathsig={dies_by.name.removeprefix('SIG')}",
        *command,
    ]
