-- Who did what, and when. Each entry carries the hash of the one before, so that none can be changed, put in or taken
-- out unseen. Members, keys, conversations and documents are named by number: an entry holds nobody's name and no text.
create table audit (
    id integer primary key autoincrement,
    at text not null,
    actor_kind text not null check (actor_kind in ('operator', 'member', 'key', 'visitor', 'ruma')),
    -- The member's or the key's number; 0 for the others.
    actor_id integer not null,
    -- The network that it came from, shortened; empty for a command and for Ruma itself.
    address text not null,
    action text not null, subject text not null, details text not null,
    hash blob not null
) strict;
create index audit_action on audit (action);

-- One row: the last entry that retention removed, on which the oldest that is left rests.
-- And the log's own name, which goes into every hash: entries of another tenant fit nowhere, and a log that was
-- restored under another number still holds.
create table audit_start (
    id integer primary key check (id = 1), last_id integer not null, hash blob not null, log text not null
) strict;
insert into audit_start values (1, 0, zeroblob(32), lower(hex(randomblob(16))));

create trigger audit_is_final before update on audit begin
    select raise(abort, 'an entry of the audit log cannot be changed'); end;
create trigger audit_goes_oldest_first before delete on audit
    when old.id > (select last_id from audit_start) begin
    select raise(abort, 'an entry of the audit log cannot be taken out'); end;
