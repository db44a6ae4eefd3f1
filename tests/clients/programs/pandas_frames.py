"""pandas over SQLAlchemy: read, write with multi-row INSERT, reflect. Needs pandas, sqlalchemy, psycopg2-binary."""
import pandas as pd
import sqlalchemy as sa

import target

engine = sa.create_engine(target.url("postgresql+psycopg2"))
report = target.Report()


def read():
    frame = pd.read_sql("select * from sales.orders order by id", engine)
    return frame.shape, {name: str(kind) for name, kind in frame.dtypes.items()}, [bytes(v) if isinstance(v, memoryview) else v for v in frame.iloc[0].to_list()]


def write_and_reflect():
    frame = pd.read_sql("select id, d, price from sales.orders", engine)
    frame.to_sql("pd_t", engine, if_exists="replace", index=False, method="multi", chunksize=500)
    shape = pd.read_sql_table("pd_t", engine).shape
    with engine.begin() as conn:
        conn.execute(sa.text("drop table pd_t"))
    return shape


def aggregate():
    sql = "select date_trunc('month', d) as m, sum(price), count(*) from sales.orders group by 1 order by 1"
    return pd.read_sql(sql, engine).head(2).to_dict("records")


report.check("read", read)
report.check("write and reflect", write_and_reflect)
report.check("aggregate", aggregate)
report.finish()
