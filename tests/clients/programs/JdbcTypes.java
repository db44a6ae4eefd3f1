import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.*;
import java.time.*;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PSQLException;

/**
 * pgjdbc: every type as text and (after five executions) binary, fetch size, batches, transactions, cancel, COPY.
 *
 *   javac -cp postgresql.jar JdbcTypes.java && java -cp postgresql.jar:. JdbcTypes postgresql://user@host:port/database
 *
 * One line a check, the same on every correct server.
 */
public class JdbcTypes {
    interface Check { Object run() throws Exception; }

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

    static String state(Check check) throws Exception {
        try {
            return "no error: " + check.run();
        } catch (SQLException error) {
            return error.getSQLState() + " " + (error instanceof PSQLException p && p.getServerErrorMessage() != null
                ? p.getServerErrorMessage().getMessage() + " at " + p.getServerErrorMessage().getPosition() : error.getMessage());
        }
    }

    static String show(Object value) throws SQLException {
        if (value instanceof byte[] bytes) return Arrays.toString(bytes);
        if (value instanceof java.sql.Array array) return Arrays.deepToString((Object[]) array.getArray());
        return String.valueOf(value);
    }

    static String rows(ResultSet result) throws SQLException {
        StringBuilder out = new StringBuilder();
        int columns = result.getMetaData().getColumnCount();
        while (result.next()) {
            out.append('[');
            for (int i = 1; i <= columns; i++) out.append(i > 1 ? ", " : "").append(show(result.getObject(i)));
            out.append(']');
        }
        result.close();
        return out.toString();
    }

    static final String[][] LITERALS = {
        {"bool", "true", "null"}, {"int2", "'-32768'"}, {"int4", "2147483647"}, {"int8", "'-9223372036854775808'"},
        {"float4", "1.5", "'NaN'", "0.1"}, {"float8", "0.1", "'-Infinity'", "1e16", "5e-324"},
        {"numeric", "1.50", "-0.001", "12345678901234567890.123456789", "100000"}, {"numeric(10,2)", "1.005"},
        {"text", "''", "'ünï ⌘'"}, {"varchar(5)", "'abc'"}, {"char(5)", "'ab'"}, {"bytea", "'\\x00ff'", "'\\x'"},
        {"date", "'2024-02-29'", "'1969-12-31'"}, {"time", "'23:59:59'"},
        {"timestamp", "'2024-02-29 13:14:15.678901'", "'1969-12-31 23:59:59.999999'"}, {"timestamptz", "'2024-02-29 13:14:15+02'"},
        {"interval", "'1 year 2 mons 3 days 04:05:06.789'", "'-1 day'"}, {"uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"},
        {"json", "'{\"b\":  1}'"}, {"jsonb", "'{\"a\": [1, null]}'"}, {"int4[]", "'{1,NULL,3}'", "'{}'"}, {"text[]", "'{a,\"b c\",NULL}'"},
        {"numeric[]", "'{1.50}'"}, {"bool[]", "'{t,f}'"}, {"uuid[]", "'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"},
    };

    public static void main(String[] arguments) throws Exception {
        String url = arguments[0].replaceFirst("^postgresql://([^@]*)@(.*)$", "jdbc:postgresql://$2?user=$1");
        conn = DriverManager.getConnection(url);
        conn.createStatement().execute("set timezone to 'UTC'");
        literals();
        parameters();
        behaviour();
        conn.close();
        System.exit(failed > 0 ? 1 : 0);
    }

    /** Seven executions: the driver prepares on the server after five and asks for binary results then. */
    static void literals() throws Exception {
        for (String[] line : LITERALS)
            for (int i = 1; i < line.length; i++) {
                String sql = "select " + line[i] + "::" + line[0] + " as x";
                check(sql, () -> {
                    Set<String> seen = new LinkedHashSet<>();
                    String about = "";
                    try (PreparedStatement s = conn.prepareStatement(sql)) {
                        for (int k = 0; k < 7; k++) seen.add(rows(s.executeQuery()));
                        ResultSetMetaData m = s.executeQuery().getMetaData();
                        about = " " + m.getColumnTypeName(1) + " " + m.getColumnType(1) + " " + m.getPrecision(1) + " " + m.getScale(1)
                            + " " + m.getColumnDisplaySize(1) + " " + m.getColumnName(1);
                    }
                    return seen + about;
                });
            }
    }

    static void parameters() throws Exception {
        Map<String, Object> values = new LinkedHashMap<>();
        values.put("bool", true);
        values.put("int4", 42);
        values.put("int8", 5_000_000_000L);
        values.put("float8", 0.1);
        values.put("float4", 1.5f);
        values.put("numeric", new BigDecimal("-12345.6789"));
        values.put("text", "it''s a 'quoted' \\ ünï");
        values.put("bytea", new byte[] {0, 1, -1});
        values.put("date", LocalDate.of(2024, 2, 29));
        values.put("time", LocalTime.of(13, 14, 15));
        values.put("timestamp", LocalDateTime.of(2024, 2, 29, 13, 14, 15, 678_901_000));
        values.put("timestamptz", OffsetDateTime.of(2024, 2, 29, 13, 14, 15, 0, ZoneOffset.ofHours(2)));
        values.put("uuid", UUID.fromString("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"));
        for (var entry : values.entrySet())
            check("parameter " + entry.getKey(), () -> {
                Set<String> seen = new LinkedHashSet<>();
                try (PreparedStatement s = conn.prepareStatement("select ?::" + entry.getKey() + " as x")) {
                    for (int k = 0; k < 7; k++) {
                        s.setObject(1, entry.getValue());
                        seen.add(rows(s.executeQuery()));
                    }
                }
                return seen;
            });
        check("null parameter", () -> {
            PreparedStatement s = conn.prepareStatement("select ?::int4 is null, coalesce(?::text, 'x')");
            s.setNull(1, Types.INTEGER);
            s.setNull(2, Types.VARCHAR);
            return rows(s.executeQuery());
        });
        check("array parameter", () -> {
            PreparedStatement s = conn.prepareStatement("select ?::text[], 2 = any (?::int4[])");
            s.setArray(1, conn.createArrayOf("text", new String[] {"a", null, "b c"}));
            s.setArray(2, conn.createArrayOf("int4", new Integer[] {1, 2}));
            return rows(s.executeQuery());
        });
        check("wrong value", () -> state(() -> {
            PreparedStatement s = conn.prepareStatement("select ?::int4");
            s.setString(1, "x");
            return rows(s.executeQuery());
        }));
    }

    static void behaviour() throws Exception {
        Statement plain = conn.createStatement();
        plain.execute("drop table if exists jdbc_t");
        check("create", () -> plain.executeUpdate("create table jdbc_t (a int, b text, n numeric(10,2), d date, ts timestamp)"));
        check("batch", () -> {
            PreparedStatement s = conn.prepareStatement("insert into jdbc_t values (?, ?, ?, ?, ?)");
            for (int i = 0; i < 12; i++) {
                s.setInt(1, i);
                s.setString(2, "row " + i);
                s.setBigDecimal(3, new BigDecimal(i).movePointLeft(1));
                s.setObject(4, LocalDate.of(2024, 1, 1).plusDays(i));
                s.setTimestamp(5, Timestamp.valueOf("2024-01-01 10:20:30.5"));
                s.addBatch();
            }
            return Arrays.toString(s.executeBatch());
        });
        check("table", () -> rows(plain.executeQuery("select * from jdbc_t order by a")));
        check("comparisons with parameters", () -> {
            PreparedStatement s = conn.prepareStatement("select count(*) from jdbc_t where n > ? and a < ? and d >= ? and ts = ?");
            s.setDouble(1, 0.25);
            s.setLong(2, 10);
            s.setDate(3, java.sql.Date.valueOf("2024-01-02"));
            s.setTimestamp(4, Timestamp.valueOf("2024-01-01 10:20:30.5"));
            return rows(s.executeQuery());
        });
        conn.setAutoCommit(false);
        check("fetch size", () -> {
            Statement s = conn.createStatement();
            s.setFetchSize(5);
            ResultSet result = s.executeQuery("select a from jdbc_t order by a");
            int count = 0, sum = 0;
            while (result.next()) { count++; sum += result.getInt(1); }
            return count + " rows, sum " + sum;
        });
        check("rollback", () -> {
            plain.executeUpdate("insert into jdbc_t (a) values (100)");
            conn.rollback();
            return rows(plain.executeQuery("select count(*) from jdbc_t"));
        });
        check("failed transaction", () -> {
            List<String> states = new ArrayList<>();
            states.add(state(() -> plain.executeQuery("select nope")));
            states.add(state(() -> plain.executeQuery("select 1")));
            conn.rollback();
            return states;
        });
        conn.setAutoCommit(true);
        check("read only", () -> {
            conn.setReadOnly(true);
            conn.setAutoCommit(false);
            try {
                return state(() -> plain.executeUpdate("insert into jdbc_t (a) values (1)"));
            } finally {
                conn.rollback();
                conn.setAutoCommit(true);
                conn.setReadOnly(false);
            }
        });
        check("several statements", () -> {
            List<Object> out = new ArrayList<>();
            boolean more = plain.execute("select 1; insert into jdbc_t (a) values (200); select 2");
            while (true) {
                if (more) out.add(rows(plain.getResultSet()));
                else if (plain.getUpdateCount() < 0) break;
                else out.add(plain.getUpdateCount());
                more = plain.getMoreResults();
            }
            return out;
        });
        check("query timeout", () -> {
            Statement s = conn.createStatement();
            s.setQueryTimeout(1);
            return state(() -> s.executeQuery("select pg_sleep(60)"));
        });
        check("after the timeout", () -> rows(plain.executeQuery("select 1")));
        check("copy", () -> {
            CopyManager copy = conn.unwrap(PGConnection.class).getCopyAPI();
            long in = copy.copyIn("copy jdbc_t (a, b) from stdin (format csv)", new StringReader("300,\"x, y\"\n301,\n"));
            StringWriter out = new StringWriter();
            copy.copyOut("copy (select a, b from jdbc_t where a >= 300 order by a) to stdout", out);
            return in + " " + out.toString().replace("\n", "|");
        });
        check("copy of garbage", () -> state(() -> conn.unwrap(PGConnection.class).getCopyAPI()
            .copyIn("copy jdbc_t (a) from stdin", new StringReader("x\n"))));
        check("isolation", () -> {
            conn.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
            return conn.getTransactionIsolation();
        });
        check("valid", () -> conn.isValid(5));
        plain.execute("drop table jdbc_t");
    }
}
