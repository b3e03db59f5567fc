-- What its visitor does not let us keep goes when the chat is over, and is in no inbox until then; what is not counted
-- is in no statistics.
alter table conversation add column is_kept integer not null default 1;
alter table conversation add column is_counted integer not null default 1;
-- When the visitor's browser said that it leaves a chat that is not kept; null while it is there.
alter table conversation add column left_at text;
drop index conversation_inbox;
create index conversation_inbox on conversation (
    last_at desc, id desc, channel, is_closed, is_read, wants_person_since, answered_at,
    questions, declined, helpful, unhelpful, is_kept, is_counted
);
create index conversation_passing on conversation (last_at) where is_kept = 0;

-- What visitors agreed to and took back: rows are added, and go with their conversation.
create table consent (
    id integer primary key autoincrement,
    conversation_id integer not null references conversation (id) on delete cascade,
    purpose text not null check (purpose in ('keep', 'analytics')),
    is_given integer not null,
    -- Which words they were shown: the version of the text, and its language.
    text_version text not null, language text not null,
    at text not null
) strict;
create index consent_conversation on consent (conversation_id);

-- One row: whether conversations are kept where the visitor agrees, or unless the visitor refuses.
create table consent_setting (
    id integer primary key check (id = 1),
    keeping text not null default 'agreed' check (keeping in ('agreed', 'unless_refused')),
    -- Whether anybody ever asked through the widget: with conversations that pass, nothing else would tell.
    is_widget_used integer not null default 0
) strict;
insert into consent_setting (id) values (1);

-- The terms that members accepted, as they were then.
create table terms (version text primary key, text text not null, url text not null, first_at text not null) strict;
create table terms_acceptance (
    member_id integer not null references member (id) on delete cascade,
    version text not null references terms (version),
    accepted_at text not null,
    primary key (member_id, version)
) strict;

-- What people ask about their data and a person must answer, by a date.
create table rights_request (
    id integer primary key autoincrement,
    kind text not null check (kind in ('access', 'correction', 'deletion', 'export', 'withdrawal', 'objection')),
    origin text not null check (origin in ('visitor', 'member', 'operator')),
    contact text not null default '', note text not null default '',
    conversation_id integer references conversation (id) on delete set null,
    received_on text not null, due_on text not null,
    extended_because text not null default '',
    state text not null default 'open' check (state in ('open', 'done', 'refused')),
    closed_at text, outcome text not null default '',
    is_reminded integer not null default 0
) strict;
create index rights_request_due on rights_request (state, due_on);
create index rights_request_conversation on rights_request (conversation_id);
create table rights_request_step (
    id integer primary key autoincrement,
    request_id integer not null references rights_request (id) on delete cascade,
    at text not null, by text not null, what text not null, note text not null default ''
) strict;
create index rights_request_step_request on rights_request_step (request_id);

-- One-time links by which visitors prove an e-mail address, and then reach all conversations that have it.
create table visitor_link (
    secret_hash blob primary key, email text not null, started_at real not null, ends_at real not null
) strict;
