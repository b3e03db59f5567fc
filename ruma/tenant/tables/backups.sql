-- The backups that hold this tenant. A row is written before a backup reads anything, so that whatever is erased
-- later knows of it.
create table backup (
    snapshot text primary key,
    target_id text not null, folder text not null,
    made_at text not null,
    is_whole integer not null default 0
) strict;
