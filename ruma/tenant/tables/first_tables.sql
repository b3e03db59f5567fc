create table ruma_identity (tenant_id text not null) strict;

create table agent (
    id integer primary key check (id = 1),
    name text not null, greeting text not null, instructions text not null, decline text not null,
    mode text not null, model text not null, questions text not null
) strict;

create table source (
    id integer primary key autoincrement,
    kind text not null, location text not null, added_at text not null,
    unique (kind, location)
) strict;

create table document (
    id integer primary key autoincrement,
    source_id integer not null references source (id),
    name text not null, title text not null, media_type text not null,
    content_hash text not null, reader text not null, size_bytes integer not null,
    original_id text not null unique, added_at text not null,
    unique (source_id, name)
) strict;

-- The chunks of a document tile it: joined in order, their texts are its whole text.
create table chunk (
    id integer primary key autoincrement,
    document_id integer not null references document (id),
    start integer not null, "end" integer not null,
    heading text not null, page integer, text text not null,
    sentences blob not null
) strict;
create index chunk_document on chunk (document_id);

-- Passage vectors lie apart from the others, so that loading all of them reads 13 times fewer pages.
create table vector (chunk_id integer primary key references chunk (id), vector blob not null) strict;
create table sentence_vector (chunk_id integer primary key references chunk (id), vectors blob not null) strict;

-- Without its own copy of the text; a delete hands the old values back. `secure-delete` takes a deleted
-- document's words out of the index at once, where FTS5 would else only mark them.
create virtual table chunk_fts using fts5 (
    title, heading, text, content='', tokenize="porter unicode61 remove_diacritics 2"
);
insert into chunk_fts (chunk_fts, rank) values ('secure-delete', 1);

-- One row: which model made the vectors, and a counter that every change of the index moves on.
create table search_index (
    id integer primary key check (id = 1), embedder_id text not null, dimension integer not null,
    revision integer not null
) strict;
insert into search_index values (1, '', 0, 0);

-- Deletions that still wait for a reader to leave before they are gone from the file.
create table pending_erasure (id integer primary key, asked_at text not null) strict;

create table conversation (id text primary key, started_at text not null) strict;
create table message (
    id integer primary key autoincrement,
    conversation_id text not null references conversation (id) on delete cascade,
    role text not null, text text not null, mode text not null, is_declined integer not null,
    created_at text not null
) strict;
create index message_conversation on message (conversation_id);

-- A citation holds no words of the document, only the place; when the document goes, so does the quote.
create table citation (
    message_id integer not null references message (id) on delete cascade,
    number integer not null,
    document_id integer references document (id) on delete set null,
    start integer not null, "end" integer not null,
    primary key (message_id, number)
) strict;
create index citation_document on citation (document_id);
