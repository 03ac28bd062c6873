"""Users and groups by name or number."""

from __future__ import annotations

import grp
import os
import pwd

from attrs import frozen
from orchestrion.runtime_interface import ConfigUnsupported, StartFailed


@frozen
class User:
    """Whom to run as.

    Attributes:
        user_id: The user.
        group_id: The main group.
        group_ids: The supplementary groups.
    """

    user_id: int
    group_id: int
    group_ids: tuple[int, ...]


def find_user(text: str | None) -> User | None:
    """Return whom `name`, `number`, `name:group` and so on stand for; None for this program's own user. It blocks.

    Raises:
        StartFailed: There is no such user or group.
        ConfigUnsupported: This program may not become another user.
    """
    if text is None:
        return None
    name, colon, group = text.partition(":")
    user_id, group_id, login = _find_login(name, text)
    if colon:
        group_id = _find_group(group, text)
    if group_id is None:
        msg = f"user {text!r}: number {user_id} has no entry that tells its group; write {user_id}:GROUP"
        raise StartFailed(msg)
    if os.geteuid() != 0:
        if (user_id, group_id) == (os.geteuid(), os.getegid()):
            return None
        msg = f"user {text!r}: only root can start processes of other users"
        raise ConfigUnsupported(msg)
    groups = tuple(os.getgrouplist(login, group_id)) if login else (group_id,)
    return User(user_id, group_id, groups)


def _find_login(name: str, text: str) -> tuple[int, int | None, str]:
    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except KeyError as err:
        if name.isdigit():
            return int(name), None, ""
        msg = f"user {text!r}: there is no user {name!r} on this machine"
        raise StartFailed(msg) from err
    return entry.pw_uid, entry.pw_gid, entry.pw_name


def _find_group(group: str, text: str) -> int:
    if group.isdigit():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as err:
        msg = f"user {text!r}: there is no group {group!r} on this machine"
        raise StartFailed(msg) from err
