import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.*;
import java.time.LocalDateTime;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.PGResultSetMetaData;
import org.postgresql.copy.CopyManager;

/**
 * pgjdbc: session calls, every DatabaseMetaData call, parameters of all types in text and (after five executions)
 * binary, fetch size, savepoints, query timeout, batches, COPY.
 *
 *   javac -cp postgresql.jar Jdbc.java && java -cp postgresql.jar:. Jdbc [connect|meta|query ...]
 *
 * Connects to PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE. The jar is in Debian's libpostgresql-jdbc-java.
 */
public class JdbcCalls {
    interface Check { Object run() throws Exception; }
    interface Mode { void run() throws Exception; }

    static Connection conn;
    static int failed;

    static void check(String name, Check check) {
        try {
            line("ok", name, String.valueOf(check.run()));
        } catch (Throwable error) {
            failed++;
            line("FAIL", name, String.valueOf(error.getMessage()));
        }
    }

    static void line(String... parts) {
        StringJoiner line = new StringJoiner("\t");
        for (String part : parts) line.add(part.replace("\t", "\\t").replace("\n", "\\n"));
        System.out.println(line);
    }

    /** Reads every value; gives the number of rows and the first row. */
    static String drain(ResultSet result) throws SQLException {
        int rows = 0, columns = result.getMetaData().getColumnCount();
        List<String> first = new ArrayList<>();
        while (result.next()) {
            for (int i = 1; i <= columns; i++) {
                Object value = result.getObject(i);
                if (rows == 0) first.add(value instanceof byte[] b ? Arrays.toString(b) : String.valueOf(value));
            }
            rows++;
        }
        result.close();
        return rows + " rows " + first;
    }

    public static void main(String[] arguments) throws Exception {
        String url = arguments[0].replaceFirst("^postgresql://([^@]*)@(.*)$", "jdbc:postgresql://$2?user=$1");
        for (Mode mode : List.<Mode>of(JdbcCalls::connect, JdbcCalls::meta, JdbcCalls::query)) {
            conn = DriverManager.getConnection(url);
            mode.run();
            conn.close();
        }
        System.exit(failed > 0 ? 1 : 0);
    }

    static void connect() {
        check("valid", () -> conn.isValid(5));
        check("session", () -> List.of(conn.getSchema(), conn.getCatalog(), conn.getTransactionIsolation(),
            conn.isReadOnly()));
        check("settings", () -> {
            conn.setSchema("sales");
            conn.setReadOnly(true);
            conn.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
            conn.setNetworkTimeout(Runnable::run, 5000);
            return drain(conn.createStatement().executeQuery("select count(*) from orders"));
        });
        check("write refused when read only", () -> {
            conn.setAutoCommit(false);
            String state = sqlState("insert into public.t values (1, 'x')");
            conn.rollback();
            return state;
        });
    }

    static void meta() throws SQLException {
        DatabaseMetaData m = conn.getMetaData();
        check("product", () -> List.of(m.getDatabaseProductName(), m.getDatabaseMajorVersion(),
            m.getSQLKeywords().length(), m.getMaxColumnNameLength(), m.getDefaultTransactionIsolation()));
        Map<String, Check> calls = new LinkedHashMap<>();
        calls.put("getCatalogs", () -> m.getCatalogs());
        calls.put("getSchemas", () -> m.getSchemas(null, "sal%"));
        calls.put("getTableTypes", () -> m.getTableTypes());
        calls.put("getTypeInfo", () -> m.getTypeInfo());
        calls.put("getTables", () -> m.getTables(null, "sales", "%", null));
        calls.put("getTables of types", () -> m.getTables("staffa", "sales", "%",
            new String[] {"TABLE", "VIEW", "MATERIALIZED VIEW", "PARTITIONED TABLE", "FOREIGN TABLE"}));
        calls.put("getTables of the system", () -> m.getTables(null, null, "%",
            new String[] {"SYSTEM TABLE", "SYSTEM VIEW"}));
        calls.put("getColumns", () -> m.getColumns(null, "sales", "orders", "%"));
        calls.put("getColumns of all", () -> m.getColumns(null, null, "%", "%"));
        calls.put("getPrimaryKeys", () -> m.getPrimaryKeys(null, "sales", "orders"));
        calls.put("getImportedKeys", () -> m.getImportedKeys(null, "sales", "orders"));
        calls.put("getExportedKeys", () -> m.getExportedKeys(null, "sales", "customer"));
        calls.put("getCrossReference", () -> m.getCrossReference(null, "sales", "customer", null, "sales", "orders"));
        calls.put("getIndexInfo", () -> m.getIndexInfo(null, "sales", "orders", false, false));
        calls.put("getBestRowIdentifier", () -> m.getBestRowIdentifier(null, "sales", "orders",
            DatabaseMetaData.bestRowSession, true));
        calls.put("getVersionColumns", () -> m.getVersionColumns(null, "sales", "orders"));
        calls.put("getTablePrivileges", () -> m.getTablePrivileges(null, "sales", "%"));
        calls.put("getColumnPrivileges", () -> m.getColumnPrivileges(null, "sales", "orders", "%"));
        calls.put("getProcedures", () -> m.getProcedures(null, "sales", "%"));
        calls.put("getProcedureColumns", () -> m.getProcedureColumns(null, "sales", "%", "%"));
        calls.put("getFunctions", () -> m.getFunctions(null, "sales", "%"));
        calls.put("getFunctionColumns", () -> m.getFunctionColumns(null, "sales", "%", "%"));
        calls.put("getUDTs", () -> m.getUDTs(null, "sales", "%", null));
        calls.put("getClientInfoProperties", () -> m.getClientInfoProperties());
        for (var call : calls.entrySet()) check(call.getKey(), () -> drain((ResultSet) call.getValue().run()));
        check("ResultSetMetaData", () -> {
            ResultSet result = conn.createStatement().executeQuery("select * from sales.orders where id = 1");
            ResultSetMetaData r = result.getMetaData();
            StringBuilder out = new StringBuilder();
            for (int i = 1; i <= r.getColumnCount(); i++)
                out.append(String.format("%n     %s %s %d precision %d scale %d width %d null %d %s %s.%s.%s",
                    r.getColumnName(i), r.getColumnTypeName(i), r.getColumnType(i), r.getPrecision(i), r.getScale(i),
                    r.getColumnDisplaySize(i), r.isNullable(i), r.getColumnClassName(i), r.getSchemaName(i),
                    r.getTableName(i), ((PGResultSetMetaData) r).getBaseColumnName(i)));
            return out;
        });
    }

    static void query() throws SQLException {
        conn.setAutoCommit(false);
        check("fetch size, seven executions", () -> {
            PreparedStatement s = conn.prepareStatement("select id, name, balance, created, tags, doc, u"
                + " from sales.customer where id <= ? and balance > ? and name like ? and created < ? and balance <= ?"
                + " order by id");
            s.setFetchSize(100);
            s.setInt(1, 500);
            s.setDouble(2, 1.0);
            s.setString(3, "n%");
            s.setTimestamp(4, Timestamp.valueOf("2030-01-01 00:00:00"));
            s.setBigDecimal(5, new BigDecimal("700.5"));
            return sevenTimes(s);
        });
        PreparedStatement all = conn.prepareStatement("select * from sales.orders where d = ? and ts > ? and b = ?"
            + " and s = ? and r < ? and price > ? and i = any(?) and t = ? and by is not null order by id");
        check("every type", () -> {
            all.setDate(1, java.sql.Date.valueOf("2024-01-02"));
            all.setObject(2, LocalDateTime.of(2020, 1, 1, 0, 0));
            all.setBoolean(3, false);
            all.setShort(4, (short) 1);
            all.setFloat(5, 1e6f);
            all.setDouble(6, 0);
            all.setArray(7, conn.createArrayOf("int4", new Integer[] {1, 2, 3}));
            all.setTime(8, Time.valueOf("10:00:00"));
            return sevenTimes(all);
        });
        check("ParameterMetaData", () -> {
            ParameterMetaData p = all.getParameterMetaData();
            StringJoiner types = new StringJoiner(" ");
            for (int i = 1; i <= p.getParameterCount(); i++) types.add(p.getParameterTypeName(i));
            return types;
        });
        check("savepoint", () -> {
            Savepoint savepoint = conn.setSavepoint("s1");
            String state = sqlState("select nope");
            conn.rollback(savepoint);
            conn.releaseSavepoint(savepoint);
            conn.commit();
            return state;
        });
        check("query timeout", () -> {
            try (Statement s = conn.createStatement()) {
                s.setQueryTimeout(1);
                s.execute("select pg_sleep(10)");
                return "not cancelled";
            } catch (SQLException error) {
                return error.getSQLState();
            } finally {
                conn.rollback();
            }
        });
        conn.setAutoCommit(true);
        check("batch with RETURNING", () -> {
            PreparedStatement s = conn.prepareStatement("insert into public.t values (?, ?)",
                Statement.RETURN_GENERATED_KEYS);
            for (int i = 0; i < 3; i++) {
                s.setInt(1, 500 + i);
                s.setString(2, "b" + i);
                s.addBatch();
            }
            return Arrays.toString(s.executeBatch()) + " " + drain(s.getGeneratedKeys());
        });
        check("COPY", () -> {
            CopyManager copy = conn.unwrap(PGConnection.class).getCopyAPI();
            long in = copy.copyIn("COPY public.t FROM STDIN WITH (FORMAT csv)", new StringReader("577,x\n578,y\n"));
            StringWriter text = new StringWriter();
            long out = copy.copyOut("COPY (select * from public.t where a >= 500 order by a) TO STDOUT", text);
            return in + " in, " + out + " out " + text.toString().replace('\n', ';');
        });
        check("delete", () -> conn.createStatement().executeUpdate("delete from public.t where a >= 500"));
    }

    static String sevenTimes(PreparedStatement s) throws SQLException {
        Set<String> results = new LinkedHashSet<>();
        for (int i = 0; i < 7; i++) results.add(drain(s.executeQuery()));
        return String.join(" BUT THEN ", results);
    }

    static String sqlState(String sql) {
        try (Statement s = conn.createStatement()) {
            s.execute(sql);
            return "no error";
        } catch (SQLException error) {
            return error.getSQLState() + " " + error.getMessage().replace('\n', ' ');
        }
    }
}
