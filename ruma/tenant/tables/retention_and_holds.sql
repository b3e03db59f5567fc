-- One row: what the operator and the owner have decided, and how far time is known to have gone.
create table retention (
    id integer primary key check (id = 1),
    plan text not null default 'standard',
    -- The days of that plan when it was last known: what was promised, should the plan go from the settings.
    promised text not null default '{}',
    -- The days that an owner made fewer.
    shortened text not null default '{}',
    -- The time in seconds since 1970 that is believed, and the machine's own count of seconds when it was noted.
    believed_at real not null default 0, boot text not null default '', boot_seconds real not null default 0,
    -- Since when, by that count, the clock says steadily that it is much later than that, and how far it is ahead.
    doubted_boot text not null default '', doubted_seconds real not null default 0, doubted_offset real not null default 0,
    ran_at real not null default 0, removed text not null default '{}'
) strict;
insert into retention (id) values (1);

-- One row: the number that Stripe gave the business, where it pays for its plan there. Nothing else of payments is kept.
create table billing (id integer primary key check (id = 1), customer text not null default '') strict;
insert into billing (id) values (1);

-- What there was at a time: whatever has no greater number is at least that old, whatever its own date says.
create table retention_mark (
    kind text not null, at real not null, last_id integer not null, primary key (kind, at)
) strict, without rowid;

-- What must be kept, whatever the plan or anybody says: one conversation, or everything where none is named.
create table hold (
    id integer primary key autoincrement,
    conversation_id integer references conversation (id) on delete cascade,
    reason text not null,
    set_by_kind text not null, set_by_id integer not null, set_at text not null,
    -- The day after which it ends by itself.
    until text,
    ended_at text
) strict;
create index hold_active on hold (conversation_id) where ended_at is null;

-- Whether words of deleted messages are only marked in the full-text index, and still to be taken out of it.
alter table pending_erasure add column has_marked_words integer not null default 0;
