-- Each sealed file has a random key of its own, so that a new data key for the tenant needs this table written anew and
-- not the files. A file without a row was sealed before there was this table, with a key made from the data key.
create table file_key (
    file_id text primary key,
    raw blob not null check (length(raw) = 32),
    -- Empty where the key is older than the last data key.
    made_at text not null
) strict, without rowid;
create trigger document_leaves_no_key after delete on document begin
    delete from file_key where file_id = old.original_id; end;
create trigger upload_leaves_no_key after delete on upload begin
    delete from file_key where file_id = old.sealed_id; end;
create trigger export_leaves_no_key after delete on export begin
    delete from file_key where file_id = old.sealed_id; end;
create trigger read_upload_leaves_no_key after update of state on upload when new.state = 'done' begin
    delete from file_key where file_id = new.sealed_id; end;

-- One row: what the addresses of cited documents, form tokens and counters of attempts are made from. They stay the
-- same when the data key is rotated.
create table page_key (id integer primary key check (id = 1), raw blob not null check (length(raw) = 32)) strict;
