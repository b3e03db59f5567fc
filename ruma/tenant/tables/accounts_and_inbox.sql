alter table agent add column tone text not null default 'friendly';
alter table agent add column language text not null default '';
alter table agent add column strictness text not null default 'balanced';
alter table agent add column accent text not null default '#0d6b5b';
alter table agent add column theme text not null default 'auto';
alter table agent add column position text not null default 'right';
alter table agent add column websites text not null default '[]';
alter table agent add column is_published integer not null default 0;
alter table agent add column offers_person integer not null default 1;

-- One row: the business itself, and where mail about it goes.
create table profile (
    id integer primary key check (id = 1),
    business_name text not null default '', website text not null default '',
    contact_email text not null default '', notify_email text not null default ''
) strict;
insert into profile (id) values (1);

create table member (
    id integer primary key autoincrement,
    email text not null unique, name text not null,
    role text not null check (role in ('owner', 'editor', 'viewer')),
    password_hash text not null,
    totp_secret text, totp_last_step integer not null default 0,
    -- Goes up when every session of the member must end.
    session_epoch integer not null default 0,
    is_disabled integer not null default 0,
    created_at text not null, last_seen_at text
) strict;
create table recovery_code (
    member_id integer not null references member (id) on delete cascade, code_hash blob not null,
    primary key (member_id, code_hash)
) strict;

-- Times are seconds since 1970: they are compared, and bounded above as well, so that a clock that was set back
-- revives nothing. Of every secret only the SHA-256 is kept.
create table session (
    id integer primary key autoincrement,
    secret_hash blob not null unique,
    member_id integer not null references member (id) on delete cascade,
    epoch integer not null, started_at real not null, seen_at real not null,
    browser text not null, address text not null
) strict;
create index session_member on session (member_id);
create table link (
    secret_hash blob primary key,
    purpose text not null check (purpose in ('setup', 'invitation', 'reset', 'second-step')),
    member_id integer references member (id) on delete cascade,
    email text not null default '', role text not null default '',
    started_at real not null, ends_at real not null
) strict;
create table api_key (
    id integer primary key autoincrement,
    name text not null, secret_hash blob not null unique, beginning text not null, scopes text not null,
    created_by text not null, created_at text not null, last_used_at text
) strict;

-- Failed tries at a secret, by what was tried and from where (hashed). The wait that is left is stored, not its
-- end: neither a restart nor a clock that jumps shortens it.
create table attempt (
    subject blob primary key, failures integer not null, wait_seconds real not null, noted_at text not null
) strict;

-- What was handed over to be read, and what became of it: files, texts, and addresses of web pages and sites. The bytes
-- lie sealed in `uploads/` until then. Of an address that was read, the reason says what of it could not be.
create table upload (
    id integer primary key autoincrement,
    kind text not null check (kind in ('upload', 'text', 'page', 'site')), name text not null, size_bytes integer not null,
    sealed_id text not null unique,
    state text not null check (state in ('waiting', 'reading', 'done', 'failed')),
    reason text not null default '',
    -- How often reading it was begun: one that takes the server down must not do so for ever.
    tries integer not null default 0,
    document_id integer references document (id) on delete set null,
    added_by text not null, added_at text not null, ended_at text
) strict;
create index upload_state on upload (state);
create index upload_document on upload (document_id);
create index upload_address on upload (name) where kind in ('page', 'site');
-- An address is no document's name, so what is known of it goes with its source, however that goes.
create trigger source_removed after delete on source when old.kind in ('page', 'site') begin
    delete from upload where kind = old.kind and name = old.location and kind in ('page', 'site'); end;

-- A conversation's number is for members; a visitor needs its secret, of which only the hash is kept.
alter table citation rename to old_citation;
alter table message rename to old_message;
alter table conversation rename to old_conversation;
drop index message_conversation;
drop index citation_document;
create table conversation (
    id integer primary key autoincrement,
    secret_hash blob unique,
    channel text not null check (channel in ('page', 'widget', 'api', 'terminal', 'trial')),
    website text not null default '', language text not null default '',
    started_at text not null, last_at text not null,
    visitor_name text not null default '', visitor_email text not null default '',
    wants_person_since text, answered_at text,
    is_read integer not null default 0, is_closed integer not null default 0,
    -- Counted as messages come, so that a list of ten thousand needs no look at their messages.
    questions integer not null default 0, declined integer not null default 0,
    helpful integer not null default 0, unhelpful integer not null default 0
) strict;
-- Holds all that the inbox filters by: a count over ten thousand reads this and no conversation.
create index conversation_inbox on conversation (
    last_at desc, id desc, channel, is_closed, is_read, wants_person_since, answered_at,
    questions, declined, helpful, unhelpful
);
create index conversation_waiting on conversation (channel)
    where wants_person_since is not null and answered_at is null and is_closed = 0;
create index conversation_named on conversation (visitor_name, visitor_email)
    where visitor_name <> '' or visitor_email <> '';
create table message (
    id integer primary key autoincrement,
    conversation_id integer not null references conversation (id) on delete cascade,
    role text not null check (role in ('visitor', 'agent', 'person')),
    text text not null, mode text not null, is_declined integer not null, author text not null default '',
    created_at text not null
) strict;
create index message_conversation on message (conversation_id);
create index message_time on message (created_at, role, is_declined, conversation_id);
create index message_declined on message (created_at) where is_declined = 1;
create table citation (
    message_id integer not null references message (id) on delete cascade,
    number integer not null,
    document_id integer references document (id) on delete set null,
    start integer not null, "end" integer not null,
    primary key (message_id, number)
) strict;
create index citation_document on citation (document_id);
create table feedback (
    message_id integer primary key references message (id) on delete cascade,
    is_helpful integer not null, comment text not null default '', given_at text not null
) strict;

-- Finds conversations by their words. An entry goes with its message, and at once.
create virtual table message_fts using fts5 (
    text, content='message', content_rowid='id', tokenize="porter unicode61 remove_diacritics 2"
);
insert into message_fts (message_fts, rank) values ('secure-delete', 1);
create trigger message_added after insert on message begin
    insert into message_fts (rowid, text) values (new.id, new.text); end;
create trigger message_removed after delete on message begin
    insert into message_fts (message_fts, rowid, text) values ('delete', old.id, old.text); end;
create trigger message_changed after update of text on message begin
    insert into message_fts (message_fts, rowid, text) values ('delete', old.id, old.text);
    insert into message_fts (rowid, text) values (new.id, new.text); end;

-- The answers to writes that named an idempotency key, for a day.
create table kept_response (
    key_hash blob primary key, request_hash blob not null, status integer not null, body blob not null,
    kept_at real not null
) strict;
