"""Links in an archive: the files that they stand for.

A .tar keeps a further name of a file, hard or symbolic, without its bytes. Names have ``/`` between their parts, and links
are followed as a file system would, but never out of the archive.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from seminal.core import UserError

IN_A_ROW = 40  # links that one name may lead through, as Linux has it; only circles are longer
ADDED = 1 << 20  # names that links to folders may add: an archive made to harm could hold more than fit into memory


def followed(
    where: str, files: Collection[str], folders: Collection[str], links: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """All names under which a file can be read, with the file that is meant; and those of links that lead to no file of the
    archive, with where they lead. A link to a folder above it is left out, as it would go round for ever.

    Args:
        where: the archive, as the user wrote it.
        files, folders: their names.
        links: where each link leads, from the folder in which it stands.

    Raises:
        UserError: links to folders within such folders lead to names without number.
    """
    inside = _inside([*files, *links], folders)
    found: dict[str, str] = {}
    lost: dict[str, str] = {}
    steps = ADDED + len(files) + len(folders) + len(links)
    # How a folder is called, where it stands without links, and where those stand that are above it.
    to_do: list[tuple[str, str, tuple[str, ...]]] = [("", "", ("",))]
    while to_do:
        shown, folder, above = to_do.pop()
        for part in inside[folder]:
            steps -= 1
            name = f"{folder}/{part}" if folder else part
            target = _target(name, links) if name in links else name
            if target is None or not (target in inside or target in files):
                lost[shown + part] = links[name]
            elif target in files:
                found[shown + part] = target
            elif target not in above:
                to_do.append((f"{shown}{part}/", target, (*above, target)))
        if steps < 0:
            raise UserError(
                f"`{where}` has links to folders that lead to more than {ADDED:,} further names, so its files cannot be "
                "listed: unpack it, take those links out, and give the folder."
            )
    return {name: name for name in files} | found, lost


def _inside(names: Collection[str], folders: Collection[str]) -> dict[str, dict[str, None]]:
    """What stands in each folder, in order and once; some may be empty."""
    inside: dict[str, dict[str, None]] = {folder: {} for folder in ("", *folders)}
    for name in (*names, *(folder for folder in folders if folder)):
        folder = ""
        for part in name.split("/")[:-1]:
            inside[folder][part] = None
            folder = f"{folder}/{part}" if folder else part
            inside.setdefault(folder, {})
        inside[folder][name.rpartition("/")[2]] = None
    return inside


def _target(name: str, links: Mapping[str, str]) -> str | None:
    """Where a name leads when all links are followed, the folders of its path included. None: out of the archive, or round
    in a circle."""
    done: list[str] = []
    to_do = name.split("/")[::-1]
    left = IN_A_ROW
    while to_do:
        part = to_do.pop()
        if part == ".." and not done:
            return None
        if part == "..":
            done.pop()
        elif part not in ("", "."):
            done.append(part)
            if link := links.get("/".join(done)):
                left -= 1
                if link.startswith("/") or not left:
                    return None
                done.pop()
                to_do += link.split("/")[::-1]
    return "/".join(done)
