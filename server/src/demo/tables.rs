//! The eight tables of TPC-H (specification 3, clause 1.4): columns, comments, generators and how many rows they make.

use arrow::array::RecordBatch;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

/// One table of the demo.
pub(super) struct DemoTable {
    pub(super) name: &'static str,
    comment: &'static str,
    /// Name, SQL type and comment, in the generator's order.
    columns: &'static [(&'static str, &'static str, &'static str)],
    partition_by: Option<&'static str>,
    /// Rows at a scale factor.
    pub(super) rows: fn(f64) -> u64,
    /// All rows at a scale factor, batch by batch.
    pub(super) batches: fn(f64) -> Box<dyn Iterator<Item = RecordBatch> + Send>,
}

impl DemoTable {
    pub(super) fn is_partitioned(&self) -> bool {
        self.partition_by.is_some()
    }

    pub(super) fn create(&self) -> String {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|(name, ty, _)| format!("    {name} {ty} NOT NULL"))
            .collect();
        let partition = self
            .partition_by
            .map(|by| format!(" PARTITION BY ({by})"))
            .unwrap_or_default();
        format!("CREATE TABLE {} (\n{}\n){partition}", self.name, columns.join(",\n"))
    }

    /// A comment on the table and on each of its columns.
    pub(super) fn comments(&self) -> impl Iterator<Item = String> {
        let quote = |text: &str| text.replace('\'', "''");
        let table = format!("COMMENT ON TABLE {} IS '{}'", self.name, quote(self.comment));
        let columns = self.columns.iter().map(move |(column, _, comment)| {
            format!("COMMENT ON COLUMN {}.{column} IS '{}'", self.name, quote(comment))
        });
        std::iter::once(table).chain(columns)
    }
}

fn rows(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// Each order has one to seven lines; the generator's own random numbers say how many.
fn lineitem_rows(scale: f64) -> u64 {
    let mut lines = OrderGenerator::create_line_count_random();
    (0..OrderGenerator::calculate_row_count(scale, 1, 1))
        .map(|_| {
            let count = lines.next_value();
            lines.row_finished();
            rows(i64::from(count))
        })
        .sum()
}

const MONEY: &str = "numeric(15,2)";

/// Small tables first, so that something is there to look at while the large ones load.
pub(super) const TABLES: &[DemoTable] = &[
    DemoTable {
        name: "region",
        comment: "Regions of the world",
        columns: &[
            ("r_regionkey", "bigint", "Number of the region"),
            ("r_name", "text", "Name of the region"),
            ("r_comment", "text", "Free text"),
        ],
        partition_by: None,
        rows: |_| 5,
        batches: |scale| Box::new(RegionArrow::new(RegionGenerator::new(scale, 1, 1))),
    },
    DemoTable {
        name: "nation",
        comment: "Nations, each in a region",
        columns: &[
            ("n_nationkey", "bigint", "Number of the nation"),
            ("n_name", "text", "Name of the nation"),
            ("n_regionkey", "bigint", "Its region: region.r_regionkey"),
            ("n_comment", "text", "Free text"),
        ],
        partition_by: None,
        rows: |_| 25,
        batches: |scale| Box::new(NationArrow::new(NationGenerator::new(scale, 1, 1))),
    },
    DemoTable {
        name: "supplier",
        comment: "Companies that sell parts",
        columns: &[
            ("s_suppkey", "bigint", "Number of the supplier"),
            ("s_name", "text", "Name"),
            ("s_address", "text", "Street address"),
            ("s_nationkey", "bigint", "Its nation: nation.n_nationkey"),
            ("s_phone", "text", "Telephone number"),
            ("s_acctbal", MONEY, "Balance of its account"),
            ("s_comment", "text", "Free text, sometimes about complaints"),
        ],
        partition_by: None,
        rows: |scale| rows(SupplierGenerator::calculate_row_count(scale, 1, 1)),
        batches: |scale| Box::new(SupplierArrow::new(SupplierGenerator::new(scale, 1, 1))),
    },
    DemoTable {
        name: "customer",
        comment: "Companies that order parts",
        columns: &[
            ("c_custkey", "bigint", "Number of the customer"),
            ("c_name", "text", "Name"),
            ("c_address", "text", "Street address"),
            ("c_nationkey", "bigint", "Its nation: nation.n_nationkey"),
            (
                "c_phone",
                "text",
                "Telephone number; the first two digits are the country code",
            ),
            ("c_acctbal", MONEY, "Balance of its account"),
            ("c_mktsegment", "text", "Market segment, one of five"),
            ("c_comment", "text", "Free text"),
        ],
        partition_by: None,
        rows: |scale| rows(CustomerGenerator::calculate_row_count(scale, 1, 1)),
        batches: |scale| Box::new(CustomerArrow::new(CustomerGenerator::new(scale, 1, 1))),
    },
    DemoTable {
        name: "part",
        comment: "Parts that are sold",
        columns: &[
            ("p_partkey", "bigint", "Number of the part"),
            ("p_name", "text", "Name: five colours"),
            ("p_mfgr", "text", "Manufacturer"),
            ("p_brand", "text", "Brand of the manufacturer"),
            ("p_type", "text", "Finish and material"),
            ("p_size", "integer", "Size, 1 to 50"),
            ("p_container", "text", "What it is packed in"),
            ("p_retailprice", MONEY, "Price in a shop"),
            ("p_comment", "text", "Free text"),
        ],
        partition_by: None,
        rows: |scale| rows(PartGenerator::calculate_row_count(scale, 1, 1)),
        batches: |scale| Box::new(PartArrow::new(PartGenerator::new(scale, 1, 1))),
    },
    DemoTable {
        name: "partsupp",
        comment: "Which supplier sells which part: four for each part",
        columns: &[
            ("ps_partkey", "bigint", "The part: part.p_partkey"),
            ("ps_suppkey", "bigint", "The supplier: supplier.s_suppkey"),
            ("ps_availqty", "integer", "Pieces in stock"),
            ("ps_supplycost", MONEY, "Price the supplier asks for a piece"),
            ("ps_comment", "text", "Free text"),
        ],
        partition_by: None,
        // The generator counts parts; each has four suppliers.
        rows: |scale| 4 * rows(PartSuppGenerator::calculate_row_count(scale, 1, 1)),
        batches: |scale| Box::new(PartSuppArrow::new(PartSuppGenerator::new(scale, 1, 1))),
    },
    DemoTable {
        name: "orders",
        comment: "Orders of customers, 1992 to 1998",
        columns: &[
            ("o_orderkey", "bigint", "Number of the order; not all numbers are used"),
            ("o_custkey", "bigint", "The customer: customer.c_custkey"),
            ("o_orderstatus", "text", "F all lines shipped, O none, P some"),
            ("o_totalprice", MONEY, "Sum of the lines with tax and discount"),
            ("o_orderdate", "date", "Day of the order"),
            ("o_orderpriority", "text", "1-URGENT to 5-LOW"),
            ("o_clerk", "text", "Who took the order"),
            ("o_shippriority", "integer", "Always 0"),
            ("o_comment", "text", "Free text"),
        ],
        partition_by: Some("month(o_orderdate)"),
        rows: |scale| rows(OrderGenerator::calculate_row_count(scale, 1, 1)),
        batches: |scale| Box::new(OrderArrow::new(OrderGenerator::new(scale, 1, 1))),
    },
    DemoTable {
        name: "lineitem",
        comment: "Lines of the orders, one to seven for each",
        columns: &[
            ("l_orderkey", "bigint", "The order: orders.o_orderkey"),
            ("l_partkey", "bigint", "The part: part.p_partkey"),
            ("l_suppkey", "bigint", "The supplier: supplier.s_suppkey"),
            ("l_linenumber", "integer", "Number of the line in its order"),
            ("l_quantity", MONEY, "Pieces"),
            ("l_extendedprice", MONEY, "Price of all pieces before discount and tax"),
            ("l_discount", MONEY, "Share taken off the price, 0.00 to 0.10"),
            ("l_tax", MONEY, "Share of tax, 0.00 to 0.08"),
            ("l_returnflag", "text", "R returned, A accepted, N not yet delivered"),
            ("l_linestatus", "text", "F shipped, O not yet"),
            ("l_shipdate", "date", "Day it was shipped"),
            ("l_commitdate", "date", "Day it was promised for"),
            ("l_receiptdate", "date", "Day it was received"),
            ("l_shipinstruct", "text", "How to deliver"),
            ("l_shipmode", "text", "What it is shipped by"),
            ("l_comment", "text", "Free text"),
        ],
        partition_by: Some("month(l_shipdate)"),
        rows: lineitem_rows,
        batches: |scale| Box::new(LineItemArrow::new(LineItemGenerator::new(scale, 1, 1))),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generators_make_as_many_rows_as_we_say() {
        for table in TABLES {
            let made: usize = (table.batches)(0.001).map(|batch| batch.num_rows()).sum();
            assert_eq!((table.rows)(0.001), made as u64, "{}", table.name);
        }
    }

    /// TPC-H specification 3.0.1, clause 4.2.5.1, table 3; lineitem as dbgen makes it.
    #[test]
    fn rows_at_scale_1_are_those_of_the_specification() {
        let expected = [
            ("region", 5),
            ("nation", 25),
            ("supplier", 10_000),
            ("customer", 150_000),
            ("part", 200_000),
            ("partsupp", 800_000),
            ("orders", 1_500_000),
            ("lineitem", 6_001_215),
        ];
        let found: Vec<(&str, u64)> = TABLES.iter().map(|table| (table.name, (table.rows)(1.0))).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn columns_are_those_of_the_generator() {
        for table in TABLES {
            let batch = (table.batches)(0.001).next().expect("at least one batch");
            let generated: Vec<String> = batch
                .schema()
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect();
            let ours: Vec<&str> = table.columns.iter().map(|(name, ..)| *name).collect();
            assert_eq!(ours, generated);
        }
    }

    #[test]
    fn statements_read_like_this() {
        let region = &TABLES[0];
        assert_eq!(
            region.create(),
            "CREATE TABLE region (\n    r_regionkey bigint NOT NULL,\n    r_name text NOT NULL,\n    r_comment text NOT NULL\n)"
        );
        assert!(TABLES[7].create().ends_with(") PARTITION BY (month(l_shipdate))"));
        assert_eq!(
            region.comments().next().as_deref(),
            Some("COMMENT ON TABLE region IS 'Regions of the world'")
        );
        assert_eq!(region.comments().count(), 4);
    }
}
