select sum(r), max(k) from (select row_number() over (partition by l_suppkey order by l_shipdate, l_orderkey, l_linenumber) r, l_comment k from lineitem) t where r % 3 = 0
