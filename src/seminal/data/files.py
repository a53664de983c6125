"""One read-only view on a folder, a .zip or a .tar: the names of the files, and the bytes of one of them.

Nothing is ever written to disk, so a member called ``../../etc/passwd`` is a name like any other. A view keeps no open
file that a second thread or a forked worker could disturb, and can be pickled.
"""

from __future__ import annotations

import lzma
import os
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from seminal.core import UserError
from seminal.data.links import followed

# A compressed tar can only be read from its beginning to its end, so it is kept in memory, up to here.
IN_MEMORY = 2 << 30
# No file that a reader asks for as a whole is larger; an archive that says so is broken or hostile.
LARGEST_MEMBER = 1 << 30

_HIDDEN = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "$recycle.bin", "lost+found"}
_ENDINGS = (".zip", ".tar", ".tgz", ".txz", ".tbz2", ".gz", ".xz", ".bz2")
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError)


Content = TypeVar("Content")


class Tree(Protocol):
    """Files below one place. All names are relative, with ``/`` between their parts."""

    @property
    def where(self) -> str:
        """The place, as the user wrote it."""

    @property
    def names(self) -> tuple[str, ...]:
        """All files, sorted."""

    @property
    def empty_folders(self) -> tuple[str, ...]:
        """Folders that hold nothing, sorted: someone meant to put files there."""

    def read(self, name: str, limit: int | None = None) -> bytes:
        """The bytes of a file, or its first ``limit`` bytes. Raises `OSError` with a reason a user understands."""


def hidden(name: str) -> bool:
    """Whether an operating system put the file there: ``.DS_Store``, ``Thumbs.db``, ``__MACOSX/…`` and the like."""
    return any(part.startswith(".") or part.lower() in _HIDDEN for part in name.split("/"))


def open_tree(path: str | Path, *, descend: bool = True) -> Tree:
    """The view on a folder, .zip, .tar, .tar.gz, .tar.xz or .tar.bz2.

    With ``descend``, wrappers are left out: while the only entry is a folder that itself holds folders, as in an archive
    that unpacks to ``flowers/daisy/…``, names are given from inside it.

    Raises:
        UserError: there is nothing at ``path``, it may not be read, or it is no archive.
    """
    where, path = str(path), Path(path).expanduser()
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise UserError(f"`{where}` cannot be read: {error.strerror}.") from error
    if is_folder:
        return _open_folder(where, path, descend)
    if not is_file:
        raise UserError(f"there is no file or folder `{where}`: check the spelling, or give its full path.")
    try:
        if zipfile.is_zipfile(path):
            return _open_zip(where, path, descend)
        return _open_tar(where, path, descend)
    except PermissionError as error:
        raise UserError(f"`{where}` may not be read by you: try `chmod u+r {where}`.") from error


# ---------------------------------------------------------------------------------------------------------- a folder


@dataclass(frozen=True)
class FolderTree:
    """Files of a folder; symbolic links are followed."""

    where: str
    root: str
    names: tuple[str, ...]
    empty_folders: tuple[str, ...]

    def read(self, name: str, limit: int | None = None) -> bytes:
        with open(os.path.join(self.root, name), "rb", buffering=0) as file:  # small files: each microsecond counts
            return file.read(-1 if limit is None else limit)


def _open_folder(where: str, path: Path, descend: bool) -> Tree:
    try:
        found = list(_walk(str(path), "", (os.path.realpath(path),)))
    except OSError as error:
        raise UserError(
            f"the folder `{error.filename}` cannot be read: {error.strerror}. Give yourself the right to read it "
            f"(`chmod -R u+rX {where}`), or move it away."
        ) from error
    prefix, names, empty = _arranged(found, descend)
    return FolderTree(where, str(path / prefix), tuple(names), empty)


def _walk(folder: str, prefix: str, above: tuple[str, ...]) -> Iterator[str]:
    """Names of all files, and of empty folders with a ``/`` at their end."""
    with os.scandir(folder) as entries:
        listed = list(entries)
    if not listed and prefix:
        yield prefix
    for entry in listed:
        if entry.is_dir():
            real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(above[-1], entry.name)
            if real not in above:  # a link to a folder above would go round for ever
                yield from _walk(entry.path, f"{prefix}{entry.name}/", (*above, real))
        elif entry.is_file() or entry.is_symlink():  # a broken link is reported when it is read; a pipe would block
            yield prefix + entry.name


def _arranged(found: list[str], descend: bool) -> tuple[str, dict[str, str], tuple[str, ...]]:
    """The wrapper to leave out, the files below it (short name -> name as found), and the empty folders below it."""
    clean = {_clean(name): name for name in sorted(found)}
    files = {short: name for short, name in clean.items() if not name.endswith("/")}
    seen = [name for name in files if not hidden(name)]
    folders = {short[:-1] for short, name in clean.items() if name.endswith("/") and not hidden(short[:-1])}
    folders |= {_seen_part(name) for name in files.keys() - set(seen)}  # a folder with only .DS_Store is empty
    hollow = folders - _folders_of(seen) - {""}
    prefix = _wrapper([*seen, *(f"{folder}/" for folder in hollow)]) if descend else ""
    inside = sorted(short for short in files if short.startswith(prefix))
    empty = sorted(folder[len(prefix) :] for folder in hollow if folder.startswith(prefix))
    return prefix, {short[len(prefix) :]: files[short] for short in inside}, tuple(empty)


def _clean(name: str) -> str:
    """Archives write ``./a/b`` or ``/a/b`` where others write ``a/b``."""
    slash = "/" if name.endswith("/") else ""
    return "/".join(part for part in name.split("/") if part not in ("", ".")) + slash


def _seen_part(name: str) -> str:
    """The folder in which a hidden file or a hidden folder lies."""
    parts = name.split("/")
    return "/".join(parts[: [hidden(part) for part in parts].index(True)])


def _folders_of(names: list[str]) -> set[str]:
    """All folders that hold one of the files, at any depth."""
    folders: set[str] = set()
    parents = {name.rpartition("/")[0] for name in names}
    while parents:
        folders |= parents
        parents = {name.rpartition("/")[0] for name in parents} - folders
    return folders


def _wrapper(names: list[str]) -> str:
    """The folders around everything, while they hold further folders and nothing else."""
    prefix = ""
    while True:
        inside = [name[len(prefix) :] for name in names]
        first = {name.split("/", 1)[0] for name in inside}
        if len(first) != 1 or not any(name.count("/") >= 2 for name in inside):  # a/b.png: `a` may be a class
            return prefix
        prefix += first.pop() + "/"


# ------------------------------------------------------------------------------------------------------------- a zip


class ZipTree:
    """Members of a .zip, read at random."""

    def __init__(self, where: str, path: Path, members: Mapping[str, str], empty_folders: tuple[str, ...]) -> None:
        self.where = where
        self.names = tuple(members)
        self.empty_folders = empty_folders
        self._path, self._members = path, members
        self._opened: dict[int, zipfile.ZipFile] = {}  # per process: a forked worker would share the file's position
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"where": self.where, "path": self._path, "members": self._members, "empty_folders": self.empty_folders}

    def __setstate__(self, state: dict[str, Any]) -> None:
        ZipTree.__init__(self, state["where"], state["path"], state["members"], state["empty_folders"])

    def read(self, name: str, limit: int | None = None) -> bytes:
        with self._lock:
            if os.getpid() not in self._opened:
                self._opened[os.getpid()] = zipfile.ZipFile(self._path)
            archive = self._opened[os.getpid()]
        member = archive.getinfo(self._members[name])
        if limit is None and member.file_size > LARGEST_MEMBER:
            raise OSError(f"it would unpack to {member.file_size:,} bytes")
        try:
            with archive.open(member) as file:
                return file.read(-1 if limit is None else limit)
        except RuntimeError as error:  # also NotImplementedError: a password, or a method of compression Python lacks
            raise OSError(f"the archive does not give it: {error}") from error
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
            raise OSError("damaged in the archive") from error


def _open_zip(where: str, path: Path, descend: bool) -> Tree:
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.namelist()
    except _DAMAGED as error:
        raise _damaged(where, error) from error
    _, names, empty = _arranged(found, descend)
    return ZipTree(where, path, names, empty)


# ------------------------------------------------------------------------------------------------------------- a tar


@dataclass(frozen=True)
class TarTree:
    """Members of a .tar without compression, read at random from where they lie in it."""

    where: str
    path: Path
    names: tuple[str, ...]
    empty_folders: tuple[str, ...]
    places: Mapping[str, tuple[int, int] | str]  # name -> first byte, number of bytes; or why it cannot be read

    def read(self, name: str, limit: int | None = None) -> bytes:
        place = self.places[name]
        if isinstance(place, str):
            raise OSError(place)
        start, size = place
        with open(self.path, "rb") as file:
            file.seek(start)
            return file.read(size if limit is None else min(size, limit))


@dataclass(frozen=True)
class MemoryTree:
    """Files in memory: the members of a compressed .tar."""

    where: str
    files: Mapping[str, bytes | str]  # name -> what it holds; or why it cannot be read
    empty_folders: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.files)

    def read(self, name: str, limit: int | None = None) -> bytes:
        data = self.files[name]
        if isinstance(data, str):
            raise OSError(data)
        return data[:limit]


def _open_tar(where: str, path: Path, descend: bool) -> Tree:
    if not _is_plain_tar(path):
        return _open_compressed_tar(where, path, descend)
    try:
        with tarfile.open(path, "r:") as archive:
            members = archive.getmembers()
    except _DAMAGED as error:
        raise _damaged(where, error) from error
    size = path.stat().st_size
    if any(member.offset_data + member.size > size for member in members if member.isreg()):
        raise _damaged(where, EOFError("a file lies beyond its end"))
    found = _Members[tuple[int, int] | str]()
    for member in members:
        found.add(member, _place)
    places, empty = found.named(where, descend)
    return TarTree(where, path, tuple(places), empty, places)


def _place(member: tarfile.TarInfo) -> tuple[int, int] | str:
    if member.issparse():
        return "a file with holes, whose bytes do not lie in one piece: unpack the archive"
    return member.offset_data, member.size


@dataclass(frozen=True)
class _Members(Generic[Content]):
    """What a .tar holds, by clean names. Of several members with one name the last counts, as when it is unpacked."""

    files: dict[str, Content] = field(default_factory=dict)
    folders: dict[str, None] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)  # where they lead, from the folder in which they stand

    def add(self, member: tarfile.TarInfo, content: Callable[[tarfile.TarInfo], Content]) -> None:
        name, target = _clean(member.name), member.linkname
        if member.islnk():  # a hard link says where it leads from the beginning of the archive on
            target = _clean(target)
            if target == name and name in self.files:  # so tar writes a file that it was given twice
                return
            target = "../" * name.count("/") + target
        if member.isreg():
            self.links.pop(name, None)
            self.files[name] = content(member)
        elif member.isdir():
            self.folders[name] = None
        elif member.issym() or member.islnk():
            self.files.pop(name, None)
            self.links[name] = target

    def named(self, where: str, descend: bool) -> tuple[dict[str, Content | str], tuple[str, ...]]:
        """The content of each file, by the name that readers use, or why it has none; and the empty folders."""
        meant: dict[str, str] = {name: name for name in self.files}
        lost: dict[str, str] = {}
        if self.links:
            meant, lost = followed(where, self.files, self.folders, self.links)
        _, names, empty = _arranged([*meant, *lost, *(f"{folder}/" for folder in self.folders)], descend)
        contents: dict[str, Content | str] = {}
        for short, name in names.items():
            if name in meant:
                contents[short] = self.files[meant[name]]
            else:
                contents[short] = f"a link to `{lost[name]}`, which is no file of the archive"
        return contents, empty


def _is_plain_tar(path: Path) -> bool:
    try:
        with tarfile.open(path, "r:"):
            return True
    except tarfile.TarError:
        return False


def _open_compressed_tar(where: str, path: Path, descend: bool) -> Tree:
    found = _Members[bytes]()
    total = 0
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                total += member.size
                if total > IN_MEMORY:
                    raise UserError(
                        f"`{where}` holds more than {IN_MEMORY >> 30} GiB, and a compressed tar cannot be read at "
                        f"random: unpack it (`tar -xf {where}`) and give the folder."
                    )
                found.add(member, lambda member: _read(archive, member))
    except PermissionError:
        raise
    except _DAMAGED as error:
        if found.files or path.name.lower().endswith(_ENDINGS):
            raise _damaged(where, error) from error
        raise UserError(
            f"`{where}` is neither a folder nor an archive: give a folder, .zip, .tar, .tar.gz, .tar.xz or .tar.bz2."
        ) from error
    return MemoryTree(where, *found.named(where, descend))


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None, "a regular file has bytes"
    return file.read()


def _damaged(where: str, error: Exception) -> UserError:
    return UserError(f"the archive `{where}` is damaged or was cut off ({error}): copy or download it again.")
