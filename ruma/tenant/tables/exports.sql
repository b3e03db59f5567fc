-- Exports that were asked for, and what became of them. The file lies sealed in `exports/`, as long as the row says so.
create table export (
    id integer primary key autoincrement,
    kind text not null check (kind in ('tenant', 'member', 'visitor')),
    -- A member's number, or a list of conversations' numbers in JSON.
    member_id integer not null default 0, conversations text not null default '[]',
    state text not null check (state in ('waiting', 'making', 'done', 'failed')),
    reason text not null default '',
    -- How often making it was begun: one that takes the server down must not do so for ever.
    tries integer not null default 0,
    sealed_id text not null unique,
    size_bytes integer not null default 0,
    -- The head of a file with a password and the key that the password wraps; the key goes as soon as the file is made.
    has_password integer not null, envelope_head blob, envelope_key blob,
    asked_by text not null, asked_at text not null, made_at text
) strict;
create index export_state on export (state);
