"""Atomic writes of files and folders: a reader sees the old content or the new, never a part of it.

Everything that the project writes in place of something else goes through this module, by one policy:

- The content goes into a temporary beside its target, `.NAME-RANDOM.part`, which then takes the target's name.
- The temporary is flushed to the disk before the rename, and the folder around it afterwards. A power cut leaves the
  old content or the new, and what was written when a function returns stays written.
- If anything fails, the temporary is removed and the target stays as it was. A killed process leaves its temporary,
  which clean-up code recognises by the name.
- A new file or folder has the permissions that the umask allows; one that replaces another keeps the other's. It
  belongs to the user that writes it.
- A symbolic link stays, and what it points to is replaced.

A caller with another need says so by an argument. The package atomicwrites, which is no longer maintained, keeps
neither permissions nor links, and writes no folders.
"""

import ctypes
import errno
import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

_LONGEST_NAME = 200
"""Maximum bytes of a target's name in its temporary file's name; file systems allow 255 in total."""
_FLUSHES = 16
"""Number of files to flush at the same time: disks combine flushes, which takes a tenth of the time."""
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
"""Error numbers of file systems that cannot flush a folder, such as some network file systems."""
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""Error numbers of file systems without hard links, such as those of memory cards."""
_AT_WORKING_FOLDER, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux


@contextmanager
def atomic_file(
    path: Path | str,
    mode: str = "wb",
    *,
    permissions: int | None = None,
    replace: bool = True,
    one_writer: bool = False,
    durable: bool = True,
    attributes_of: Path | str | None = None,
    **text: Any,
) -> Iterator[IO[Any]]:
    """Open a file for writing that takes the name `path` at the end of the context.

    mode: "wb", or "w" with `text`: encoding, errors and newline, as of `open`.
    permissions: of the file from its creation on, for secrets and private photos; default: see the policy.
    replace: False refuses a name that is taken, so that one of several processes creates the file.
    one_writer: nothing else writes this file at the same time. The temporary's name is then the same each time, and the
    next write removes what a killed one left, where no clean-up code does.
    durable: False leaves out the flush of the folder, for files that are written often and matter only to a running
    process: after a power cut, the file is complete but may be the earlier one.
    attributes_of: a file whose times, permissions and extended attributes the new one gets, as it is a copy of it.
    Raises OSError; FileExistsError if the name is taken and `replace` is False.
    """
    path = Path(os.path.realpath(path))
    temporary = _temporary(path, one_writer)
    if one_writer:
        temporary.unlink(missing_ok=True)
    final_mode = _permissions_of(path) if permissions is None else permissions
    initial_mode = 0o666 if final_mode is None and attributes_of is None else 0o600  # no more readers than at the end

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags, initial_mode)

    try:
        with open(temporary, mode.replace("w", "x"), opener=opener, **text) as file:
            if final_mode is not None:
                os.chmod(temporary, final_mode)
            yield file
            file.flush()
            if attributes_of is not None:
                shutil.copystat(attributes_of, temporary)
            os.fsync(file.fileno())
        if replace:
            os.replace(temporary, path)
        else:
            _rename_to_free_name(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def write_atomically(path: Path | str, content: bytes | str, **options: Any) -> None:
    """Write a file of bytes, or of text in UTF-8. options: as of `atomic_file`."""
    with atomic_file(path, **options) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, value: Any, indent: int | None = None, durable: bool = True) -> None:
    """Write a value as JSON. indent: spaces for each level, for people. durable: as of `atomic_file`.

    A file's name need not be text: its bytes that are not become escapes, which `read_json` turns back.
    """
    content = json.dumps(value, ensure_ascii=False, indent=indent)
    write_atomically(path, content.encode("utf-8", "backslashreplace"), durable=durable)


def read_json(path: Path, if_missing: Any = None) -> Any:
    """Read a JSON file; return `if_missing` if it does not exist. Raises ValueError if it is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return if_missing


@contextmanager
def atomic_folder(folder: Path | str, *, one_writer: bool = False) -> Iterator[Path]:
    """Create an empty folder that takes the name `folder`, and the place of a folder there, at the end of the context.

    The folders around it are created. one_writer: as of `atomic_file`.
    Raises OSError; NotADirectoryError if `folder` is a file.
    """
    folder = Path(os.path.realpath(folder))
    temporary = _temporary(folder, one_writer)
    if one_writer and temporary.exists():
        shutil.rmtree(temporary)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        permissions = _permissions_of(folder)
        if permissions is not None:
            os.chmod(temporary, permissions)
        sync_tree(temporary)
        replace_folder(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(new: Path, folder: Path) -> None:
    """Rename a folder that was flushed; a folder that has the name already gets the name of `new` in the same instant.

    Where folders cannot be exchanged, there is an instant between two renames. Raises NotADirectoryError if `folder` is
    a file.
    """
    if not folder.exists():
        os.rename(new, folder)
    elif not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    elif not _exchange_folders(new, folder):
        old = _temporary(folder, one_writer=False)
        os.rename(folder, old)
        try:
            os.rename(new, folder)
        except BaseException:
            os.rename(old, folder)
            raise
        os.rename(old, new)
    sync_folder(folder.parent)


def sync_tree(folder: Path) -> None:
    """Flush a folder and all its contents to the disk."""
    folders, files = [], []
    for root, _, names in os.walk(folder, topdown=False):
        folders.append(Path(root))
        paths = (os.path.join(root, name) for name in names)
        files += [path for path in paths if stat.S_ISREG(os.lstat(path).st_mode)]
    with ThreadPoolExecutor(_FLUSHES) as threads:
        list(threads.map(_sync, files))
    for path in folders:
        sync_folder(path)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, if its file system can do that."""
    try:
        _sync(folder)
    except PermissionError:  # a folder that may be written to, but not read
        return
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def _sync(path: Path | str) -> None:
    if os.name != "posix":  # elsewhere, only what is open for writing can be flushed
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(path: Path, one_writer: bool) -> Path:
    """Return the temporary path beside a path for its new content."""
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return path.with_name(f".{name}.part" if one_writer else f".{name}-{uuid.uuid4().hex}.part")


def _rename_to_free_name(temporary: Path, path: Path) -> None:
    """Give a file a name that nothing has. Raises FileExistsError."""
    try:
        os.link(temporary, path)  # a rename would replace
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))  # only one process creates it, and replaces it
        os.replace(temporary, path)


def _permissions_of(path: Path) -> int | None:
    """Return the permissions of a file or folder; None if it does not exist."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None


def _exchange_folders(first: Path, second: Path) -> bool:
    """Exchange the names of two folders atomically. Return False if the system or file system does not support it."""
    # `os.rename` replaces an empty folder only. Python has no function for renameat2 of Linux, and the one package for
    # it compiles the same call in C and has had no release since 2022.
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # no glibc
        return False
    paths = _AT_WORKING_FOLDER, os.fsencode(first), _AT_WORKING_FOLDER, os.fsencode(second)
    return renameat2(*paths, _EXCHANGE) == 0
