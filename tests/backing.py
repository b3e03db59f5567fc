"""A home with a tenant that has something of everything, and a folder of backups for it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ruma.config import Settings
from ruma.privacy.backing_up import Made, back_up
from ruma.privacy.restoring import choose_snapshot
from ruma.tenant.copying.backup_folder import BackupFolder, Snapshot, init_folder, open_folder, open_with_secret
from ruma.tenant.home import Home
from ruma.tenant.keys.data_key import Key
from ruma.tenant.knowledge.documents import store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.knowledge.uploads import receive_upload
from ruma.tenant.people.members import create_member
from ruma.tenant.tenant import Tenant
from tests.filling import fill_inbox
from tests.making import EMBEDDER, make_document


@dataclass
class BackedUp:
    """A home with the tenant acme, and a folder of backups that it may write to."""

    settings: Settings
    folder: Path
    secret: Key

    @property
    def home(self) -> Home:
        """The home."""
        return Home(self.settings)

    def make(self, name: str = "acme") -> Made:
        """Make a backup."""
        with self.writing() as folder, self.home.open(name) as tenant:
            return back_up(tenant, folder)

    @contextmanager
    def writing(self) -> Iterator[BackupFolder]:
        """Give the folder to write to."""
        folder = open_folder(self.settings, self.folder)
        with folder.locked():
            yield folder

    def copy_to(self, root: Path) -> "BackedUp":
        """Return a copy of it all in another folder, to be changed."""
        for name in ("home", "backups"):
            shutil.copytree(self.folder.parent / name, root / name)
        return BackedUp(replace(self.settings, home=root / "home"), root / "backups", self.secret)

    def reading(self) -> BackupFolder:
        """Return the folder, opened with its secret."""
        return open_with_secret(self.folder, self.secret)


def make_backed_up(root: Path, *, documents: int = 6, conversations: int = 20) -> BackedUp:
    """Return a home whose tenant has documents, conversations, a member and an upload, and no backup yet."""
    settings = Settings(home=root / "home", key_source="machine")
    home = Home(settings)
    home.create("acme")
    with home.open("acme") as tenant:
        for number in range(documents):
            store_numbered(tenant, number)
        fill_inbox(tenant, conversations)
        create_member(tenant, email="ada@example.com", name="Ada", role="owner", password="correct horse battery 9")
        receive_upload(tenant, "late.txt", [b"Still to be read."], kind="upload", added_by="Ada", most_bytes=1000)
    _, secret = init_folder(settings, root / "backups")
    return BackedUp(settings, root / "backups", secret)


def store_numbered(tenant: Tenant, number: int) -> int:
    """Store a document of its own number."""
    source = add_source(tenant, "folder", "/made/up")
    texts = [f"Document {number} says in part {part} what it says. " * 4 for part in range(3)]
    return store_document(tenant, source.id, make_document(f"d{number}", *texts), embedder_id=EMBEDDER.id)


def newest(backed_up: BackedUp) -> Snapshot:
    """Return the newest backup."""
    return choose_snapshot(backed_up.reading().snapshots())
