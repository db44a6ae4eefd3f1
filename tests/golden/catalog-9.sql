-- A catalog database as version 9 made it.
-- Pointers: exactly what pyiceberg's SqlCatalog and Java's JdbcCatalog (schema V1) make, so that they can share it.
create table if not exists iceberg_tables(
  catalog_name varchar(255) not null, table_namespace varchar(255) not null, table_name varchar(255) not null,
  metadata_location varchar(1000), previous_metadata_location varchar(1000),
  iceberg_type varchar(5),                        -- 'TABLE' | 'VIEW'; null is a table
  primary key(catalog_name, table_namespace, table_name));
create table if not exists iceberg_namespace_properties(
  catalog_name varchar(255) not null, namespace varchar(255) not null,
  property_key varchar(255) not null, property_value varchar(1000) not null,
  primary key(catalog_name, namespace, property_key));

-- What all servers of the catalog have in common.
create table staffa_setting(name varchar(255) primary key, value varchar(2000) not null);
create table staffa_database(name varchar(255) primary key);
create table staffa_role(name varchar(255) primary key, verifier text not null);  -- before there were grants
-- Roles and grants; a null definition is one that is gone. See access.rs.
create table staffa_access(object varchar(1000) primary key, definition text, csn bigint not null);
create index staffa_access_csn on staffa_access(csn);

-- Append-only journal of pointers; a null location is one that was dropped or renamed away.
create table staffa_version(
  csn bigint not null,
  catalog_name varchar(255) not null, table_namespace varchar(255) not null, table_name varchar(255) not null,
  metadata_location varchar(1000), committed_ms bigint not null,
  primary key(catalog_name, table_namespace, table_name, csn));
create index staffa_version_csn on staffa_version(csn);
create table staffa_head(one integer primary key check(one=1), csn integer not null, batch integer not null);
insert into staffa_head values(1,0,0);

create table staffa_txn(txn_id char(36) primary key, server_id char(36) not null, kind smallint not null, -- 0 write, 1 long reader
  base_csn bigint not null, started_ms bigint not null, heartbeat_ms bigint not null,
  state smallint not null,                        -- 0 open, 1 committed, 2 aborted
  commit_csn bigint);
-- Rows stay until the transaction committed or its leftovers are deleted.
create table staffa_txn_table(txn_id char(36), table_location varchar(1000), primary key(txn_id, table_location));
-- A negative after_csn is that of the batch, staffa_gc_commit.
create table staffa_gc(path varchar(2000) primary key, after_csn bigint not null, not_before_ms bigint not null,
  tried_ms bigint);                               -- when its deletion was begun last
create index staffa_gc_after on staffa_gc(after_csn);
create table staffa_gc_commit(batch bigint primary key, csn bigint not null);
create table staffa_server(server_id char(36) primary key, url varchar(500), heartbeat_ms bigint,
  oldest_csn bigint);                             -- it will never look at an older state
-- Clones: the table at one location has files below the other.
create table staffa_share(table_location varchar(1000) not null, owner_location varchar(1000) not null,
  primary key(table_location, owner_location));
create table staffa_sequence(id varchar(36) primary key, taken bigint not null, origin bigint);  -- numbers that are given
create table staffa_object(name varchar(500) primary key, number bigint not null);  -- numbers of objects
create table staffa_load(                         -- which sources COPY has loaded already
  catalog_name varchar(255), table_namespace varchar(255), table_name varchar(255), source varchar(1000), etag varchar(200), csn bigint,
  primary key(catalog_name, table_namespace, table_name, source, etag));

-- The triggers run in the SQLite of whichever program writes: only old functions (no unixepoch('subsec')).
-- A commit of ours sets batch=1 with its own number; a statement of another program takes a number by itself.
create trigger staffa_ins after insert on iceberg_tables begin
  update staffa_head set csn=csn+1 where batch=0;
  insert or replace into staffa_version select csn,new.catalog_name,new.table_namespace,new.table_name,new.metadata_location,
    cast((julianday('now')-2440587.5)*86400000 as integer) from staffa_head;
end;
create trigger staffa_upd after update of catalog_name,table_namespace,table_name,metadata_location on iceberg_tables begin
  update staffa_head set csn=csn+1 where batch=0;
  insert or replace into staffa_version select csn,old.catalog_name,old.table_namespace,old.table_name,null,
    cast((julianday('now')-2440587.5)*86400000 as integer) from staffa_head;
  insert or replace into staffa_version select csn,new.catalog_name,new.table_namespace,new.table_name,new.metadata_location,
    cast((julianday('now')-2440587.5)*86400000 as integer) from staffa_head;
end;
create trigger staffa_del after delete on iceberg_tables begin
  update staffa_head set csn=csn+1 where batch=0;
  insert or replace into staffa_version select csn,old.catalog_name,old.table_namespace,old.table_name,null,
    cast((julianday('now')-2440587.5)*86400000 as integer) from staffa_head;
end;
PRAGMA user_version=9;
