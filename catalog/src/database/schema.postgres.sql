-- The catalog database on PostgreSQL (13 or newer), version 1. The same tables as on SQLite at its version 3.
-- Pointers: exactly what pyiceberg's SqlCatalog and Java's JdbcCatalog (schema V1) make, so that they can share it.
create table if not exists iceberg_tables(
  catalog_name varchar(255) not null, table_namespace varchar(255) not null, table_name varchar(255) not null,
  metadata_location varchar(1000), previous_metadata_location varchar(1000),
  iceberg_type varchar(5),                        -- 'TABLE' | 'VIEW'; null is a table
  primary key(catalog_name, table_namespace, table_name));
-- An old pyiceberg catalog (schema V0) has no such column.
alter table iceberg_tables add column if not exists iceberg_type varchar(5);
create table if not exists iceberg_namespace_properties(
  catalog_name varchar(255) not null, namespace varchar(255) not null,
  property_key varchar(255) not null, property_value varchar(1000) not null,
  primary key(catalog_name, namespace, property_key));

create table staffa_format(one int primary key check(one=1), version bigint not null);
insert into staffa_format values(1,1);
create table staffa_setting(name varchar(255) primary key, value varchar(2000) not null);
create table staffa_database(name varchar(255) primary key);
create table staffa_role(name varchar(255) primary key, verifier text not null);

-- Append-only journal of pointers; a null location is one that was dropped or renamed away.
create table staffa_version(
  csn bigint not null,
  catalog_name varchar(255) not null, table_namespace varchar(255) not null, table_name varchar(255) not null,
  metadata_location varchar(1000), committed_ms bigint not null,
  primary key(catalog_name, table_namespace, table_name, csn));
create index staffa_version_csn on staffa_version(csn);
create table staffa_head(one int primary key check(one=1), csn bigint not null, last_xact xid8);
insert into staffa_head values(1,0,null);

create table staffa_txn(txn_id varchar(36) primary key, server_id varchar(36) not null, kind bigint not null, -- 0 write, 1 long reader
  base_csn bigint not null, started_ms bigint not null, heartbeat_ms bigint not null,
  state bigint not null,                          -- 0 open, 1 committed, 2 aborted
  commit_csn bigint);
create index staffa_txn_open on staffa_txn(server_id) where state=0;
-- Rows stay until the transaction committed or its leftovers are deleted.
create table staffa_txn_table(txn_id varchar(36), table_location varchar(1000), primary key(txn_id, table_location));
create table staffa_gc(path varchar(2000) primary key, after_csn bigint not null, not_before_ms bigint not null);
create table staffa_server(server_id varchar(36) primary key, url varchar(500), heartbeat_ms bigint,
  oldest_csn bigint);                             -- it will never look at an older state
-- Clones: the table at one location has files below the other.
create table staffa_share(table_location varchar(1000) not null, owner_location varchar(1000) not null,
  primary key(table_location, owner_location));
create table staffa_load(                         -- which sources COPY has loaded already
  catalog_name varchar(255), table_namespace varchar(255), table_name varchar(255), source varchar(1000), etag varchar(200), csn bigint,
  primary key(catalog_name, table_namespace, table_name, source, etag));

-- A SQL transaction takes one number, whoever runs it. The row is locked until the transaction ends, so numbers are in the
-- order of commits.
create function staffa_number() returns bigint language sql security definer set search_path from current as $$
  update staffa_head set csn = csn + (last_xact is distinct from pg_current_xact_id())::int,
                         last_xact = pg_current_xact_id() returning csn
$$;

-- Deferred, so that every transaction, also another program's, locks the head last: there is no deadlock.
create function staffa_journal() returns trigger language plpgsql security definer set search_path from current as $$
declare s bigint; ms bigint := (extract(epoch from clock_timestamp())*1000)::bigint;
begin
  s := staffa_number();
  if tg_op<>'INSERT' then
    insert into staffa_version values(s,old.catalog_name,old.table_namespace,old.table_name,null,ms)
      on conflict (catalog_name,table_namespace,table_name,csn) do update set metadata_location=null;
  end if;
  if tg_op<>'DELETE' then
    insert into staffa_version values(s,new.catalog_name,new.table_namespace,new.table_name,new.metadata_location,ms)
      on conflict (catalog_name,table_namespace,table_name,csn) do update set metadata_location=excluded.metadata_location;
  end if;
  return null;
end $$;
create constraint trigger staffa_journal after insert or delete or update on iceberg_tables
  deferrable initially deferred for each row execute function staffa_journal();

-- Namespaces are not in the journal, but a change of them is one of the catalog.
create function staffa_namespace() returns trigger language plpgsql security definer set search_path from current as $$
begin
  perform staffa_number();
  return null;
end $$;
create constraint trigger staffa_namespace after insert or delete or update on iceberg_namespace_properties
  deferrable initially deferred for each row execute function staffa_namespace();
