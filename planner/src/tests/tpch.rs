//! All queries of TPC-H plan to operators.

use super::fixture::Fixture;

const TABLES: &[&str] = &[
    "create table region (r_regionkey integer not null, r_name char(25) not null, r_comment varchar(152))",
    "create table nation (n_nationkey integer not null, n_name char(25) not null, n_regionkey integer not null, \
     n_comment varchar(152))",
    "create table part (p_partkey bigint not null, p_name varchar(55) not null, p_mfgr char(25) not null, \
     p_brand char(10) not null, p_type varchar(25) not null, p_size integer not null, p_container char(10) not null, \
     p_retailprice decimal(15,2) not null, p_comment varchar(23) not null)",
    "create table supplier (s_suppkey bigint not null, s_name char(25) not null, s_address varchar(40) not null, \
     s_nationkey integer not null, s_phone char(15) not null, s_acctbal decimal(15,2) not null, \
     s_comment varchar(101) not null)",
    "create table partsupp (ps_partkey bigint not null, ps_suppkey bigint not null, ps_availqty integer not null, \
     ps_supplycost decimal(15,2) not null, ps_comment varchar(199) not null)",
    "create table customer (c_custkey bigint not null, c_name varchar(25) not null, c_address varchar(40) not null, \
     c_nationkey integer not null, c_phone char(15) not null, c_acctbal decimal(15,2) not null, \
     c_mktsegment char(10) not null, c_comment varchar(117) not null)",
    "create table orders (o_orderkey bigint not null, o_custkey bigint not null, o_orderstatus char(1) not null, \
     o_totalprice decimal(15,2) not null, o_orderdate date not null, o_orderpriority char(15) not null, \
     o_clerk char(15) not null, o_shippriority integer not null, o_comment varchar(79) not null) \
     partition by (month(o_orderdate))",
    "create table lineitem (l_orderkey bigint not null, l_partkey bigint not null, l_suppkey bigint not null, \
     l_linenumber integer not null, l_quantity decimal(15,2) not null, l_extendedprice decimal(15,2) not null, \
     l_discount decimal(15,2) not null, l_tax decimal(15,2) not null, l_returnflag char(1) not null, \
     l_linestatus char(1) not null, l_shipdate date not null, l_commitdate date not null, l_receiptdate date not null, \
     l_shipinstruct char(25) not null, l_shipmode char(10) not null, l_comment varchar(44) not null) \
     partition by (month(l_shipdate)) sorted by (l_shipdate)",
];

const QUERIES: [&str; 22] = [
    include_str!("tpch/q01.sql"),
    include_str!("tpch/q02.sql"),
    include_str!("tpch/q03.sql"),
    include_str!("tpch/q04.sql"),
    include_str!("tpch/q05.sql"),
    include_str!("tpch/q06.sql"),
    include_str!("tpch/q07.sql"),
    include_str!("tpch/q08.sql"),
    include_str!("tpch/q09.sql"),
    include_str!("tpch/q10.sql"),
    include_str!("tpch/q11.sql"),
    include_str!("tpch/q12.sql"),
    include_str!("tpch/q13.sql"),
    include_str!("tpch/q14.sql"),
    include_str!("tpch/q15.sql"),
    include_str!("tpch/q16.sql"),
    include_str!("tpch/q17.sql"),
    include_str!("tpch/q18.sql"),
    include_str!("tpch/q19.sql"),
    include_str!("tpch/q20.sql"),
    include_str!("tpch/q21.sql"),
    include_str!("tpch/q22.sql"),
];

#[tokio::test]
async fn every_query_plans_and_runs_over_empty_tables() {
    let fixture = Fixture::new().await;
    for table in TABLES {
        fixture.change(table).await;
    }
    for (index, query) in QUERIES.iter().enumerate() {
        let planned = fixture.query(query.trim().trim_end_matches(';')).await;
        assert!(!planned.columns.is_empty(), "query {}", index + 1);
        assert!(planned.parameters.is_empty());
        let rows = fixture
            .run(&planned, &[])
            .await
            .unwrap_or_else(|error| panic!("query {}: {error}", index + 1));
        // An aggregate without groups yields one row over nothing.
        assert!(rows.len() <= 1, "query {}: {rows:?}", index + 1);
    }
}

#[tokio::test]
async fn output_names_and_types_are_those_of_postgres() {
    let fixture = Fixture::new().await;
    for table in TABLES {
        fixture.change(table).await;
    }
    let planned = fixture.query(QUERIES[0].trim().trim_end_matches(';')).await;
    let names: Vec<&str> = planned.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(
        &names[..4],
        ["l_returnflag", "l_linestatus", "sum_qty", "sum_base_price"]
    );
    assert_eq!(planned.columns[0].ty.to_string(), "character(1)");
    let plain = fixture.query("select l_shipmode, l_tax from lineitem").await;
    assert_eq!(plain.columns[1].ty.to_string(), "numeric(15,2)");
}
