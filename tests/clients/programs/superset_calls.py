"""Superset without a browser: connect, browse, SQL Lab, estimate, dataset, chart, filter values.

superset.py has prepared its folder.
"""
import time

from superset.app import create_app

import target

URI = target.url("postgresql+psycopg2")
app = create_app()
app.config["WTF_CSRF_ENABLED"] = False
client = app.test_client()
report = target.Report()
login = client.post("/api/v1/security/login",
                    json={"username": "admin", "password": "admin", "provider": "db", "refresh": True}).get_json()
headers = {"Authorization": "Bearer " + login["access_token"]}


def call(method, path, **body):
    response = getattr(client, method)("/api/v1/" + path, headers=headers, json=body or None)
    answer = response.get_json(silent=True) or {}
    if response.status_code not in (200, 201):
        raise RuntimeError(f"{response.status_code} {answer}")
    return answer


database = call("post", "database/", sqlalchemy_uri=URI, database_name=f"staffa {time.time()}", expose_in_sqllab=True,
                allow_ctas=True)["id"]
for old in call("get", "dataset/?q=(page_size:100)")["result"]:  # SQLite allows one dataset of a name
    if old["table_name"] == "orders":
        call("delete", f"dataset/{old['id']}")
dataset = call("post", "dataset/", database=database, schema="sales", table_name="orders")["id"]


def sql(text):
    answer = call("post", "sqllab/execute/", database_id=database, sql=text, schema="sales", runAsync=False,
                  queryLimit=100, client_id=f"{time.time_ns() % 10**10:010d}")
    return [c["type"] for c in answer["columns"]], answer["data"][:2]


def chart():
    query = {
        "time_range": "No filter", "granularity": "ts", "filters": [{"col": "b", "op": "==", "val": True}],
        "extras": {"time_grain_sqla": "P1M", "having": "", "where": ""},
        "columns": [{"timeGrain": "P1M", "columnType": "BASE_AXIS", "sqlExpression": "ts", "label": "ts",
                     "expressionType": "SQL"}, "c"],
        "metrics": [{"expressionType": "SIMPLE", "column": {"column_name": "price"}, "aggregate": "SUM", "label": "s"},
                    {"expressionType": "SQL", "sqlExpression": "COUNT(DISTINCT customer_id)", "label": "cd"}],
        "orderby": [["s", False]], "row_limit": 100, "series_limit": 0}
    answer = call("post", "chart/data", datasource={"id": dataset, "type": "table"}, force=True,
                  result_format="json", result_type="full", queries=[query])["result"][0]
    return answer["rowcount"], answer["data"][:2]


def failing_sql(text):
    try:
        return sql(text)
    except RuntimeError as error:
        return str(error)[:160]


report.check("test connection", lambda: call("post", "database/test_connection/", sqlalchemy_uri=URI,
                                             database_name="staffa"))
report.check("catalogs", lambda: sorted(call("get", f"database/{database}/catalogs/?q=(force:!t)")["result"]))
report.check("schemas", lambda: sorted(call("get", f"database/{database}/schemas/?q=(force:!t)")["result"]))
report.check("tables", lambda: [(t["value"], t["type"]) for t in call(
    "get", f"database/{database}/tables/?q=(force:!t,schema_name:sales)")["result"]])
report.check("table metadata", lambda: [(c["name"], c["type"]) for c in call(
    "get", f"database/{database}/table_metadata/?name=orders&schema=sales")["columns"]])
report.check("SQL Lab", lambda: sql("select id, d, ts, price, b, iv from orders where id < 5 order by id"))
report.check("SQL Lab, column error", lambda: failing_sql("select nope from orders"))
report.check("SQL Lab, syntax error", lambda: failing_sql("select from where"))
report.check("estimate", lambda: bool(call("post", "sqllab/estimate/", database_id=database, schema="sales",
                                           sql="select * from sales.orders")["result"]))
report.check("chart", chart)
report.check("filter values", lambda: call("get", f"datasource/table/{dataset}/column/c/values/")["result"])
report.check("validate parameters", lambda: call(
    "post", "database/validate_parameters/", engine="postgresql", configuration_method="dynamic_form",
    database_name="x", parameters={"host": target.HOST, "port": target.PORT, "username": target.USER,
                                   "password": target.PASSWORD, "database": target.DATABASE}))
report.finish()
