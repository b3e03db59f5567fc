from ruma.tenant.audit import list_audit
from ruma.tenant.copying.backups import BackupInfo, begin_backup, finish_backup, keep_backups, list_backups
from ruma.tenant.tenant import Tenant

FIRST = BackupInfo("000001-acme", "t1", "/mnt/backup", "2026-01-01T00:00:00Z", is_whole=False)
SECOND = BackupInfo("000002-acme", "t1", "/mnt/backup", "2026-01-02T00:00:00Z", is_whole=False)


def test_a_backup_is_known_before_it_is_whole(tenant: Tenant) -> None:
    """From the moment it begins to read until it is removed, a backup is listed; the log tells of whole ones only."""
    begin_backup(tenant, SECOND)
    begin_backup(tenant, FIRST)
    finish_backup(tenant, FIRST, size_bytes=5)

    listed = [(one.snapshot, one.is_whole) for one in list_backups(tenant)]
    removed = [
        keep_backups(tenant, "t2", []),
        keep_backups(tenant, "t1", [FIRST.snapshot]),
        keep_backups(tenant, "t1", []),
    ]

    assert listed == [("000001-acme", True), ("000002-acme", False)]
    assert removed == [0, 1, 1]
    assert list_backups(tenant) == []
    assert [entry.action for entry in list_audit(tenant)] == ["backup.removed", "backup.made", "tenant.created"]
