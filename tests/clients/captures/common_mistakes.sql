-- The sixty mistakes that people make most: one error each, in order of what they are about.
-- What they are made on
create table people (id int not null, name varchar(10), age smallint, born date, pay numeric(6,2), constraint grown check (age >= 0));
insert into people values (1, 'Ann', 30, '1990-01-01', 10.5), (2, 'Bob', 40, '1980-05-05', 20.25);
create table visits (id int, person_id int, at timestamp, note text);
insert into visits values (1, 1, '2024-01-01 10:00', 'first'), (2, 1, '2024-01-02 10:00', 'second');
create role guest;
-- Names
select nmae from people;
select p.nmae from people p;
select * from peple;
select * from sals.customer;
select people.id from people p;
select v.id from people;
select id from people join visits on people.id = visits.person_id;
select * from people p, visits p;
select "Name" from people;
select name from people where name = "Ann";
select name as n from people where n = 'Ann';
-- Functions and operators
select uper(name) from people;
select upper(id) from people;
select name + 1 from people;
select id = name from people;
select * from people where id = 'x';
-- Aggregates, windows, subqueries, sets
select name, count(*) from people;
select name, age, count(*) from people group by name;
select * from people where count(*) > 1;
select id from people where row_number() over (order by id) = 1;
select * from (select id from people);
select (select id from people);
select * from people where id = (select id, name from people limit 1);
select id from people union select name from people;
select id, name from people union select id from people;
select * from people limit -1;
-- Values
select 2147483647 + 1;
select '12a'::int;
select 'abc'::date;
select '2024-02-30'::date;
select '{"a": }'::jsonb;
select '{1,a}'::int[];
select 'abc'::uuid;
select born::int from people;
-- Syntax
selct 1;
select * form people;
select id, from people;
select * from people where id = ;
select * from people where name = 'O'Brien';
select 'abc;
-- Changes of rows
insert into people (id, name) values (1);
insert into people values (3, 'Cid', 1, current_date, 1, 2);
insert into people (id, nmae) values (3, 'Cid');
insert into people (name) values ('Cid');
insert into people (id, age) values (3, -1);
insert into people (id, name) values (3, 'a name that is too long');
insert into people (id, age) values (3, 40000);
update people set age = name;
copy people (id, name) from stdin;
x	Cid
\.
-- Definitions
create table people (id int);
create table x (id int, id text);
create table x (id nosuchtype);
drop table peple;
alter table people add column name text;
-- Sessions
begin;
select 1 / 0;
select 1;
rollback;
execute nosuch;
fetch nosuch;
set nosuch = 1;
set role guest;
select * from people;
reset role;
-- Afterwards
drop table people, visits;
drop role guest;
