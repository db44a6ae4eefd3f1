// node-postgres, which leaves every parameter's type to the server: queries, prepared statements, cursors, errors, transactions.
import { createRequire } from "node:module";
import { homedir } from "node:os";

const cache = process.env.XDG_CACHE_HOME || `${homedir()}/.cache`;
const require = createRequire(`${cache}/staffa/node/`);
const { Client, Pool } = require("pg");
const Cursor = require("pg-cursor");
const URL = process.argv[2];
let failed = 0;

function line(...parts) {
  console.log(parts.map((part) => part.replaceAll("\t", "\\t").replaceAll("\n", "\\n")).join("\t"));
}

async function check(name, run) {
  const client = new Client(URL);
  await client.connect();
  try {
    line("ok", name, JSON.stringify(await run(client)));
  } catch (error) {
    failed++;
    line("FAIL", name, `${error.code} ${error.message}`);
  }
  await client.end();
}

async function rows(client, sql, parameters) {
  const result = await client.query(sql, parameters);
  return [result.command, result.rowCount, result.fields.map((f) => [f.name, f.dataTypeID, f.dataTypeModifier]), result.rows];
}

await check("parameters", (c) => rows(c,
  "select id, balance, created, tags, doc, u from sales.customer where id = $1 and balance > $2 and name like $3", [5, "1.5", "n%"]));
await check("every type", (c) => rows(c,
  "select * from sales.orders where d = $1 and i = any($2) and b = $3", ["2024-01-02", [1, 2, 3], false]));
await check("named statement", async (c) => {
  const seen = [];
  for (let i = 1; i <= 3; i++)
    seen.push((await c.query({ name: "p", text: "select name from sales.customer where id = $1", values: [i] })).rows);
  return seen;
});
await check("cursor", async (c) => {
  const cursor = c.query(new Cursor("select id from sales.orders where id > $1 order by id", [0]));
  const sizes = [];
  for (let batch; (batch = await cursor.read(300)).length; ) sizes.push(batch.length);
  await cursor.close();
  return sizes;
});
await check("several statements", async (c) => (await c.query("select 1 as a; select 2 as b")).map((r) => r.rows));
await check("rowMode array", (c) => c.query({ text: "select 1 as a, 2 as a", rowMode: "array" }).then((r) => r.rows));
await check("transaction", async (c) => {
  await c.query("begin");
  const inserted = await rows(c, "insert into t values ($1, $2) returning a", [900, "n"]);
  await c.query("rollback");
  return [inserted, (await c.query("select count(*) from t where a = 900")).rows];
});
await check("untyped parameters", (c) => rows(c, "select $1 as a, $2::int + 1 as b, coalesce($3, 'x') as c", ["t", 4, null]));
await check("json", (c) => rows(c, "select $1::jsonb as j", [{ a: [1, null] }]));
await check("error", async (c) => {
  try {
    await c.query("select nope");
  } catch (error) {
    return [error.code, error.message, error.position, error.severity, (await c.query("select 1 as x")).rows];
  }
});
await check("pool", async () => {
  const pool = new Pool({ connectionString: URL, max: 3 });
  const all = await Promise.all([1, 2, 3, 4, 5, 6].map((i) => pool.query("select $1::int as i", [i])));
  await pool.end();
  return all.map((r) => r.rows[0].i);
});
process.exit(failed ? 1 : 0);
