"""Reads an export of Ruma with the standard library alone: lists what is in it, prints conversations and documents.

    python read_export.py acme.zip                  what is in it
    python read_export.py acme.zip conversations    everything that was said
    python read_export.py acme.zip documents        every text
    python read_export.py acme.zip check            whether it is whole

An export with a password is a file of age (https://age-encryption.org), which `age --decrypt` opens:

    age --decrypt acme.zip.age > acme.zip
"""

import json
import sys
import zipfile
from collections.abc import Iterator
from typing import Any


def read_rows(export: zipfile.ZipFile, start: str) -> Iterator[dict[str, Any]]:
    """Return the rows of every file whose name begins so, in order."""
    for name in sorted(export.namelist()):
        if name.startswith(start):
            with export.open(name) as file:
                yield from map(json.loads, file)


def show_contents(export: zipfile.ZipFile) -> None:
    """Print what the export says of itself."""
    about = json.loads(export.read("export.json"))
    print(f"{about['scope']['kind']} export of {about['tenant']}, made on {about['made_at']} by Ruma {about['ruma']}")
    for name, count in about["counts"].items():
        print(f"{count:8} {name}")
    for one in about["originals"]:
        print(f"{one['size_bytes']:8} bytes {one['file'] or one['problem']}: {one['name']}")


def show_conversations(export: zipfile.ZipFile) -> None:
    """Print everything that was said."""
    for row in read_rows(export, "data/conversations/"):
        who = " ".join(filter(None, (row["visitor_name"], row["visitor_email"])))
        print(f"Conversation {row['id']}, {row['started_at']}, {row['channel']}{f', {who}' if who else ''}")
        for message in row["messages"]:
            print(f"  {message['role']}: {message['text']}")
            for citation in message["citations"]:
                print(f"    [{citation['number']}] {citation['title'] or 'a document that is gone'}")


def show_documents(export: zipfile.ZipFile) -> None:
    """Print every text."""
    for row in read_rows(export, "data/documents/"):
        print(f"Document {row['id']}: {row['title']} ({row['name']})")
        print("".join(chunk["text"] for chunk in row["chunks"]))


def check(export: zipfile.ZipFile) -> None:
    """Compare what is there with what the export says of itself."""
    about = json.loads(export.read("export.json"))
    if (about["format"], about["version"]) != ("ruma-export", 1):
        sys.exit(f"This program reads version 1 of the format, and this is {about['format']} {about['version']}.")
    broken = export.testzip()
    if broken:
        sys.exit(f"{broken} is damaged.")
    for kind in ("conversations", "documents"):
        found, said = sum(1 for _ in read_rows(export, f"data/{kind}/")), about["counts"].get(kind, 0)
        if found != said:
            sys.exit(f"There are {found} {kind}, and there should be {said}.")
    missing = [one["file"] for one in about["originals"] if one["file"] and one["file"] not in export.namelist()]
    if missing:
        sys.exit(f"{missing[0]} is missing.")
    print("The export is whole.")


SHOWS = {"contents": show_contents, "conversations": show_conversations, "documents": show_documents, "check": check}

if __name__ == "__main__":
    if (
        len(sys.argv) not in (2, 3)
        or sys.argv[-1] in ("-h", "--help")
        or (sys.argv[2:] or ["contents"])[0] not in SHOWS
    ):
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as opened:
        if opened.read(22) == b"age-encryption.org/v1\n":
            sys.exit(f"{sys.argv[1]} opens with a password: age --decrypt {sys.argv[1]} > export.zip")
    with zipfile.ZipFile(sys.argv[1]) as archive:
        SHOWS[(sys.argv[2:] or ["contents"])[0]](archive)
