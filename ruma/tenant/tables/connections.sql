-- The ledger: every connection that the program opened for this tenant, written down before it was opened.
create table connection (
    id integer primary key autoincrement,
    at text not null, purpose text not null, host text not null, port integer not null,
    -- Who acts, as in the audit log: the kind and the number.
    actor_kind text not null, actor_id integer not null,
    address text not null default '', outcome text not null default 'open', reason text not null default '',
    bytes_out integer not null default 0, bytes_in integer not null default 0, milliseconds integer not null default 0
) strict;
create index connection_time on connection (at);

-- Each text of the privacy policy that was ever in force, as Markdown.
create table policy_version (
    id integer primary key autoincrement, since text not null, text text not null, body_hash blob not null
) strict;

-- One row at most: what the last check of the policy found, as JSON.
create table policy_check (
    id integer primary key check (id = 1), checked_at text not null, findings text not null
) strict;
