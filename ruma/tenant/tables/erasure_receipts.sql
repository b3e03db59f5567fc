-- Who wrote it, as a number: a name can change, and belongs to whoever leaves. 0 is nobody who signs in.
alter table message add column author_id integer not null default 0;
alter table upload add column added_by_id integer not null default 0;
alter table api_key add column created_by_id integer not null default 0;
create index message_author on message (author_id) where author_id <> 0;

-- How a web server names the version of a page that was read: asked for again, an unchanged page need not be sent.
alter table document add column etag text not null default '';
alter table document add column last_modified text not null default '';

-- What was erased, and what was checked of it. A receipt holds numbers, counts and dates, and nothing of what it was.
create table erasure (
    id integer primary key autoincrement,
    asked_at text not null,
    -- The receipt, without what is known only in the end; what is erased in the same transaction is in no other state.
    draft text not null,
    -- Signed; null while something has still to be done or checked.
    receipt text,
    -- Fingerprints of what is to be found nowhere any more, and the secret that makes them.
    secret blob not null, pieces blob not null, terms blob not null,
    -- Sealed files that are to be taken away, by their place in the directory; none once that is done.
    files text not null
) strict;
-- One row: the key that signs the receipts of this tenant.
create table receipt_signer (id integer primary key check (id = 1), seed blob not null check (length(seed) = 32)) strict;
